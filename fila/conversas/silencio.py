"""Silence with one person: Julia writes them nothing until a person lifts it (the manual's "rollback" of a phone).

The state is the key `agent_pause_state` of `conversation_context`, as the manual's own SQL writes it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core.audit import services as audit
from core.clientes.models import Cliente
from core.database import rows
from core.integrations.redaction import scrub
from fila.conversas.opt_out import PersonNotFound


@dataclass(frozen=True, slots=True)
class Silence:
    """`por` and `desde` are empty when it was written by hand, in SQL."""

    por: str = ""
    desde: str = ""


def standing(cliente: Cliente) -> Silence | None:
    """By the unique index of `lead_phone`."""
    found = rows(
        """SELECT context_data->'agent_pause_state' AS pausa FROM conversation_context
           WHERE lead_phone = %s AND context_data->'agent_pause_state'->>'paused' = 'true'""",
        [cliente.telefone],
    )
    if not found:
        return None
    state = found[0]["pausa"]
    return Silence(str(state.get("by") or ""), str(state.get("at") or ""))


def silence(cliente_id: UUID, *, actor: audit.Actor, motivo: str, now: datetime, ip: str | None = None) -> bool:
    """Nothing of Julia's reaches this person from now on, replies included. False: it was so already.

    Raises PersonNotFound and MotivoMissing.
    """
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        phone = _phone(cliente_id)
        changed = rows(
            """INSERT INTO conversation_context (lead_phone, context_data)
               VALUES (%(phone)s, jsonb_build_object('agent_pause_state', jsonb_build_object('paused', true,
                   'reason', %(motivo)s::text, 'by', %(by)s::text, 'at', %(at)s::text)))
               ON CONFLICT (lead_phone) DO UPDATE SET context_data = jsonb_set(conversation_context.context_data,
                   '{agent_pause_state}', excluded.context_data->'agent_pause_state')
               WHERE coalesce(conversation_context.context_data->'agent_pause_state'->>'paused', '') <> 'true'
               RETURNING id""",
            {"phone": phone, "motivo": scrub(motivo), "by": audit.name_of(actor), "at": now.isoformat()},
        )
        if changed:
            audit.record("julia_silenciada", "cliente", cliente_id, usuario=actor, motivo=motivo, ip=ip)
    return bool(changed)


def lift(cliente_id: UUID, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> bool:
    """Julia may write to this person again, as far as everything else permits. False: there was no silence.

    Raises PersonNotFound and MotivoMissing.
    """
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        phone = _phone(cliente_id)
        changed = rows(
            """UPDATE conversation_context SET context_data = context_data - 'agent_pause_state'
               WHERE lead_phone = %s AND context_data->'agent_pause_state'->>'paused' = 'true' RETURNING id""",
            [phone],
        )
        if changed:
            audit.record("julia_liberada", "cliente", cliente_id, usuario=actor, motivo=motivo, ip=ip)
    return bool(changed)


def _phone(cliente_id: UUID) -> str:
    found = rows("SELECT telefone FROM clientes WHERE id = %s FOR NO KEY UPDATE", [cliente_id])
    if not found:
        raise PersonNotFound(f"não há médico {cliente_id}")
    return str(found[0]["telefone"])
