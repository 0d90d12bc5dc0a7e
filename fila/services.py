"""What people do to messages in the fila."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core.audit import services as audit
from core.database import rows
from fila.choices import Evento
from fila.returns import Event, record_events

MOTIVO_MIN = 10


class MotivoInsuficiente(ValueError):
    """A change by hand needs a motivo of at least 10 characters."""


def cancel(ids: Collection[UUID], *, actor: str, motivo: str, now: datetime) -> int:
    """Cancel those that are still `pendente`; what is on the wire finishes. Returns how many were cancelled.

    Locks the rows' campaigns first, then the rows, each by id. The audit entry commits with the change.
    """
    if len(motivo.strip()) < MOTIVO_MIN:
        raise MotivoInsuficiente(f"Diga o motivo com pelo menos {MOTIVO_MIN} caracteres.")
    with transaction.atomic():
        rows(
            """SELECT id FROM campanhas WHERE id IN (SELECT campanha_id FROM fila_mensagens WHERE id = ANY(%s))
               ORDER BY id FOR SHARE""",
            [list(ids)],
        )
        cancelled = rows(
            """UPDATE fila_mensagens SET status = 'cancelada', outcome_reason_code = 'cancelada_por_operador',
                   outcome_at = %s
               WHERE id IN (SELECT id FROM fila_mensagens WHERE id = ANY(%s) AND status = 'pendente'
                            ORDER BY id FOR UPDATE) AND status = 'pendente'
               RETURNING id""",
            [now, list(ids)],
        )
        record_events(
            [
                Event(row["id"], Evento.CANCELADA, None, "cancelada_por_operador", detalhes={"por": actor})
                for row in cancelled
            ]
        )
        audit.record(
            "fila_limpa",
            "fila_mensagens",
            "",
            usuario=actor,
            motivo=motivo,
            detalhes={"canceladas": len(cancelled), "pedidas": len(ids)},
        )
    return len(cancelled)
