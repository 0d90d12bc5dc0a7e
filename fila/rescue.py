"""Leases that ran out: what was claimed and never attempted goes back, what may be on the wire becomes `incerta`."""

from typing import Any
from uuid import UUID

from django.db import transaction

from core.database import execute, rows, wait_briefly_for_locks
from fila.choices import Evento
from fila.returns import Event, record_events

BATCH = 500


def rescue_expired_leases() -> dict[str, int]:
    """One look. `devolvidas`: back to `pendente`. `incertas`: their attempt is unknown from now on.

    A consumer that still lives and holds such a row writes its result later all the same: attempts only move forward.
    """
    with transaction.atomic():
        wait_briefly_for_locks()
        expired = rows(
            """SELECT id, campanha_id, cliente_id FROM fila_mensagens
               WHERE status = 'processando' AND (lease_ate < agora()
                   OR (lease_ate IS NULL AND updated_at < agora() - interval '2 minutes')) LIMIT %s""",
            [BATCH],
        )
        expired = _reachable(expired) if expired else []
        held = rows(
            """SELECT id, tentativa_aberta_id FROM fila_mensagens
               WHERE id = ANY(%s) AND status = 'processando' AND coalesce(lease_ate, '-infinity') < agora() ORDER BY id
               FOR UPDATE SKIP LOCKED""",
            [[row["id"] for row in expired]],
        )
        unknown = [row for row in held if row["tentativa_aberta_id"] is not None]
        _become_unknown(unknown)
        back = [row["id"] for row in held if row["tentativa_aberta_id"] is None]
        _go_back(back)
        stray = _close_stray_attempts()
    return {"devolvidas": len(back), "incertas": len(unknown), "tentativas_sem_dono": stray}


def _reachable(expired: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose campaign and person nobody else holds, both locked: one that is held does not slow the others."""
    ids = sorted({row["campanha_id"] for row in expired if row["campanha_id"] is not None})
    campaigns = {
        row["id"]
        for row in rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED", [ids])
    }
    people = {
        row["cliente_id"]
        for row in rows(
            """SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id
               FOR SHARE SKIP LOCKED""",
            [sorted({row["cliente_id"] for row in expired})],
        )
    }
    return [
        row
        for row in expired
        if row["cliente_id"] in people and (row["campanha_id"] is None or row["campanha_id"] in campaigns)
    ]


def _become_unknown(held: list[dict[str, object]]) -> None:
    if not held:
        return
    ids = [row["id"] for row in held]
    execute(
        """UPDATE fila_mensagens SET status = 'incerta', lease_ate = NULL, lease_owner = '',
               outcome_reason_code = 'lease_expirado', erro = 'o processo que enviava parou antes do resultado'
           WHERE id = ANY(%s)""",
        [ids],
    )
    execute(
        """UPDATE envios_tentativas SET resultado = 'desconhecido', encerrado_em = agora(), codigo = 'lease_expirado',
               error_kind = 'desconhecido' WHERE id = ANY(%s) AND resultado = 'iniciado'""",
        [[row["tentativa_aberta_id"] for row in held]],
    )
    record_events([Event(each, Evento.INCERTA, None, "lease_expirado") for each in ids if isinstance(each, UUID)])


def _go_back(ids: list[UUID]) -> None:
    if not ids:
        return
    execute(
        """UPDATE fila_mensagens SET status = 'pendente', processando_desde = NULL, lease_ate = NULL, lease_owner = ''
           WHERE id = ANY(%s)""",
        [ids],
    )
    record_events([Event(each, Evento.RETOMADA, None, "lease_expirado") for each in ids])


def _close_stray_attempts() -> int:
    """Attempts still open whose row was moved by hand (raw SQL): after the wire deadline nobody will settle them."""
    return execute(
        """UPDATE envios_tentativas t SET resultado = 'desconhecido', encerrado_em = agora(), codigo = 'sem_dono',
               error_kind = 'desconhecido'
           WHERE t.resultado = 'iniciado' AND t.origem = 'fila' AND t.iniciado_em < agora() - interval '150 seconds'
               AND NOT EXISTS (SELECT 1 FROM fila_mensagens m WHERE m.id = t.origem_id
                   AND m.status = 'processando' AND m.lease_ate > agora())"""
    )
