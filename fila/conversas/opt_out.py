"""Leaving: one truth, one transaction. After it commits no attempt for that person does."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from core.audit import services as audit
from core.database import execute, rows
from core.outcomes import SendOutcome
from fila.choices import Evento
from fila.enqueue import URGENT, enqueue
from fila.kinds import REPLY_TIPOS
from fila.returns import Event, record_events

COOLING_OFF = timedelta(days=30)  # "não tenho interesse", a bare "chega"
CONFIRMATION = "Tudo certo: você não vai mais receber nossas mensagens. Se mudar de ideia, é só escrever por aqui."


class PersonNotFound(LookupError):
    """There is no such cliente."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """`already`: the person had left before; nothing but the audit entry is new. `bloqueadas`: pending rows ended."""

    already: bool
    bloqueadas: int


def opt_out(
    cliente_id: UUID, *, origem: str, motivo: str, actor: str, now: datetime, confirm_in: UUID | None = None
) -> OptOut:
    """Record that a person leaves, end their pending rows as `bloqueada`, and confirm once in that conversation.

    Locks the person's `doctor_state` (an attempt transaction holds the same lock: commit order decides), then their
    messages. `origem` is `mensagem`, `operador` or `api`. Raises PersonNotFound.
    """
    with transaction.atomic():
        before = rows("SELECT permission_state FROM doctor_state WHERE cliente_id = %s FOR NO KEY UPDATE", [cliente_id])
        if not before:
            raise PersonNotFound(f"não há médico {cliente_id}")
        already = before[0]["permission_state"] == "opted_out"
        if not already:
            execute(
                """UPDATE doctor_state SET permission_state = 'opted_out', opted_out_at = %s, opted_out_reason = %s,
                   cooling_off_until = NULL, active_objection = 'opt_out', objection_severity = 'grave',
                   objection_detected_at = %s WHERE cliente_id = %s""",
                [now, motivo[:200], now, cliente_id],
            )
            execute("UPDATE clientes SET status = 'optout', stage_jornada = 'opt_out' WHERE id = %s", [cliente_id])
        blocked = _end_pending(cliente_id)
        audit.record(
            "cliente_optout",
            "cliente",
            str(cliente_id),
            usuario=actor,
            motivo=motivo[:500],
            detalhes={"origem": origem, "ja_estava_fora": already, "mensagens_bloqueadas": blocked},
        )
        if not already and confirm_in is not None:
            enqueue(
                cliente_id,
                CONFIRMATION,
                tipo="confirmacao_opt_out",
                prioridade=URGENT,
                conversa_id=confirm_in,
                idempotency_key=f"optout:{cliente_id}:{now.isoformat()}",
            )
    return OptOut(already=already, bloqueadas=blocked)


def cool_off(cliente_id: UUID, *, motivo: str, actor: str, now: datetime, length: timedelta = COOLING_OFF) -> None:
    """No proactive message for `length`. Somebody who left stays out; a longer pause is not shortened."""
    with transaction.atomic():
        changed = execute(
            """UPDATE doctor_state SET permission_state = 'cooling_off',
               cooling_off_until = greatest(cooling_off_until, %s), active_objection = 'sem_interesse',
               objection_severity = 'medium', objection_detected_at = %s
               WHERE cliente_id = %s AND permission_state <> 'opted_out'""",
            [now + length, now, cliente_id],
        )
        if changed:
            audit.record("cliente_em_pausa", "cliente", str(cliente_id), usuario=actor, motivo=motivo[:500])


def _end_pending(cliente_id: UUID) -> int:
    ended = rows(
        """UPDATE fila_mensagens SET status = 'bloqueada', outcome = 'BLOCKED_OPTED_OUT',
               outcome_reason_code = 'opted_out', outcome_at = agora()
           WHERE id IN (SELECT id FROM fila_mensagens WHERE cliente_id = %s AND status = 'pendente'
                        AND NOT tipo = ANY(%s) ORDER BY id FOR UPDATE)
           RETURNING id""",
        [cliente_id, REPLY_TIPOS],
    )
    record_events([Event(row["id"], Evento.BLOQUEADA, SendOutcome.BLOCKED_OPTED_OUT, "opted_out") for row in ended])
    return len(ended)
