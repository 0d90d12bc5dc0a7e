"""Housekeeping jobs of the fila: what is stuck goes back, what is too old ends, what a race left behind is mended."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from core.database import execute, rows, wait_briefly_for_locks
from core.jobs.deadline import Deadline
from core.jobs.registry import job
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila import policy
from fila.campanhas import upkeep
from fila.choices import Evento, Status
from fila.kinds import kind_of
from fila.rescue import Held, become_unknown, held_rows, lock_reachable, returned
from fila.returns import Event, record_events, to_dlq
from guardrails.policy import held_kinds

log = get_logger("fila.manutencao")

STUCK_MINUTES, MOST_MINUTES = 60, 1440  # S-36 T01.1
LEAST_MINUTES = 5  # what the manual's own statement waits
EXPIRY_HOURS, MOST_HOURS = 24, 720  # S-36 T01.2
CANCELLED = "campanha_cancelada"
ANOTHER_DAY = timedelta(hours=24)
BATCH = 1000


@job(
    "resetar_fila_travada",
    cron="*/15 * * * *",
    sla=timedelta(minutes=45),
    longest=timedelta(seconds=270),
    ensaio=True,
)
def resetar_fila_travada(now: datetime, deadline: Deadline, timeout_minutos: int = STUCK_MINUTES) -> dict[str, int]:
    """Puts back what has been in `processando` for over `timeout_minutos` (5 to 1440), with one attempt counted, and
    mends leftovers.

    With its attempts used up a row ends as `erro` in the DLQ; one whose attempt is open becomes `incerta` and is never
    sent again by this. Also ends what still waits for a cancelled campaign, and opens ended campaigns that have open
    messages. `processados` counts the stuck rows.
    """
    _check("timeout_minutos", timeout_minutos, LEAST_MINUTES, MOST_MINUTES)
    counts = {"devolvidas": 0, "esgotadas": 0, "incertas": 0, "encerradas": 0}
    passed: list[UUID] = []
    while not deadline.passed:
        after = timedelta(minutes=timeout_minutos)
        found = rows(_STUCK, {"after": after, "passed": passed, "limit": BATCH})
        if not found:
            break
        passed += [row["id"] for row in found]
        for key, count in _reset(found, timeout_minutos).items():
            counts[key] += count
    stuck = sum(counts.values())
    orphans = _cancel_orphans(deadline)
    reopened = upkeep.reopen_stranded()
    if stuck or orphans or reopened:
        log.warning("fila travada: linhas resetadas", resetadas=stuck, canceladas=orphans, reabertas=reopened, **counts)
    return {"processados": stuck, **counts, "canceladas": orphans, "campanhas_reabertas": reopened}


# fila_leases holds every `processando` row: no more than consumers have senders.
_STUCK = """
SELECT id, campanha_id, cliente_id FROM fila_mensagens
WHERE status = 'processando' AND coalesce(processando_desde, updated_at) < agora() - %(after)s
    AND NOT id = ANY(%(passed)s::uuid[])
LIMIT %(limit)s
"""


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} vai de {least} a {most}")


def _reset(found: Sequence[dict[str, Any]], minutes: int) -> dict[str, int]:
    motivo = f"travada_{minutes}min" if minutes == STUCK_MINUTES else f"travada:{minutes}min"
    with transaction.atomic():
        wait_briefly_for_locks()
        condition = f"coalesce(processando_desde, updated_at) < agora() - interval '{minutes:d} minutes'"
        held = held_rows(lock_reachable(found), condition)
        unknown = [row for row in held if row.tentativa is not None]
        become_unknown(unknown, motivo=motivo)
        became = _count_and_return([row for row in held if row.tentativa is None], motivo, minutes)
    return {
        "incertas": len(unknown),
        "devolvidas": sum(status == Status.PENDENTE for status in became),
        "esgotadas": sum(status == Status.ERRO for status in became),
        "encerradas": sum(status in (Status.CANCELADA, Status.BLOQUEADA) for status in became),
    }


def _count_and_return(held: Sequence[Held], motivo: str, minutes: int) -> list[str]:
    """One attempt more; `pendente` at once, or `erro` / FAILED_TIMEOUT with a row in the DLQ. The statuses."""
    if not held:
        return []
    found = rows(
        """UPDATE fila_mensagens SET tentativas = tentativas + 1,
               status = CASE WHEN tentativas + 1 >= max_tentativas THEN 'erro' ELSE 'pendente' END,
               outcome = CASE WHEN tentativas + 1 >= max_tentativas THEN 'FAILED_TIMEOUT' ELSE outcome END,
               outcome_at = CASE WHEN tentativas + 1 >= max_tentativas THEN agora() ELSE outcome_at END,
               outcome_reason_code = %(motivo)s, erro = %(erro)s, processando_desde = NULL,
               lease_ate = NULL, lease_owner = '', agendar_para = least(agendar_para, agora())
           WHERE id = ANY(%(ids)s) RETURNING id, status""",
        {
            "motivo": motivo,
            "erro": f"ficou mais de {minutes} minutos em envio sem resultado",
            "ids": [row.id for row in held],
        },
    )
    became = {row["id"]: str(row["status"]) for row in found}
    spent = [row for row in held if became[row.id] == Status.ERRO]
    to_dlq([row.id for row in spent])
    record_events(
        [Event(row.id, Evento.FALHA, SendOutcome.FAILED_TIMEOUT, motivo) for row in spent]
        + [returned(row, became[row.id], motivo=motivo) for row in held if row not in spent]
    )
    return list(became.values())


def _cancel_orphans(deadline: Deadline) -> int:
    """Rows that wait for a cancelled campaign: enqueued or put back by raw SQL behind its cancelling."""
    cancelled = 0
    while not deadline.passed:
        with transaction.atomic():
            wait_briefly_for_locks()
            # fila_due_of_campanha, one probe per cancelled campaign
            found = rows(
                """SELECT f.id, f.campanha_id FROM campanhas k CROSS JOIN LATERAL (
                       SELECT m.id, m.campanha_id FROM fila_mensagens m
                       WHERE m.campanha_id = k.id AND m.status = 'pendente' LIMIT %s) f
                   WHERE k.status = 'cancelada' LIMIT %s""",
                [BATCH, BATCH],
            )
            ended = _end(found, campaigns="= 'cancelada'", outcome=None, motivo=CANCELLED)
        cancelled += ended
        if ended < BATCH:
            break
    return cancelled


def _end(
    found: Sequence[dict[str, Any]],
    *,
    campaigns: str,
    outcome: SendOutcome | None,
    motivo: str,
    where: str = "true",
    sooner: timedelta = timedelta(0),
) -> int:
    """`pendente` → `cancelada` for those whose campaign's status is still so and that still fulfil `where` (SQL).

    Locks campaigns, then messages, each by id; rows that somebody holds are left for the next time.
    """
    ids = sorted({row["campanha_id"] for row in found if row["campanha_id"] is not None})
    held = {
        row["id"]
        for row in rows(
            f"SELECT id FROM campanhas WHERE id = ANY(%s) AND status {campaigns} ORDER BY id FOR SHARE SKIP LOCKED",  # noqa: S608 (constants of this module)
            [ids],
        )
    }
    wanted = [row["id"] for row in found if row["campanha_id"] is None or row["campanha_id"] in held]
    ended = rows(
        f"""UPDATE fila_mensagens m SET status = 'cancelada', outcome = coalesce(%(outcome)s, m.outcome),
                outcome_reason_code = %(motivo)s, outcome_at = agora()
            FROM (SELECT id FROM fila_mensagens f WHERE id = ANY(%(ids)s) AND status = 'pendente' AND {where}
                  ORDER BY id FOR UPDATE SKIP LOCKED) v
            WHERE m.id = v.id RETURNING m.id""",  # noqa: S608 (constants of this module)
        {"outcome": outcome.value if outcome else None, "motivo": motivo, "ids": wanted, "sooner": sooner},
    )
    record_events([Event(row["id"], Evento.CANCELADA, outcome, motivo) for row in ended])
    return len(ended)


@job("limpar_fila_antiga", cron="0 3 * * *", sla=timedelta(hours=25), longest=timedelta(seconds=270), ensaio=True)
def limpar_fila_antiga(now: datetime, deadline: Deadline, max_idade_horas: int = EXPIRY_HOURS) -> dict[str, int]:
    """Ends messages that waited `max_idade_horas` (1 to 720) beyond their planned time as `cancelada` / FAILED_EXPIRED.

    Waiting for capacity, hours or a switch has moved that instant already. What a paused campaign or a switch holds at
    this moment gets another day instead, and what is scheduled for later is left alone. Campaigns without open messages
    conclude. `processados` counts the messages that ended.
    """
    _check("max_idade_horas", max_idade_horas, 1, MOST_HOURS)
    sooner = timedelta(hours=EXPIRY_HOURS - max_idade_horas)
    motivo = f"expired_after_{EXPIRY_HOURS}h" if not sooner else f"expired:{max_idade_horas}h"
    held = held_kinds(policy.read().policy.switches)
    expired = prolonged = 0
    last: tuple[datetime | str, UUID] = ("-infinity", UUID(int=0))
    while not deadline.passed:
        page = rows(_EXPIRED, {"em": last[0], "id": last[1], "limit": BATCH, "sooner": sooner})
        if not page:
            break
        last = (page[-1]["expira_em"], page[-1]["id"])
        with transaction.atomic():
            wait_briefly_for_locks()
            waiting = {row["id"] for row in page if row["pausada"] or kind_of(row["tipo"]) in held}
            prolonged += _prolong(sorted(waiting), sooner)
            expired += _end(
                [row for row in page if row["id"] not in waiting],
                campaigns="<> 'pausada'",
                outcome=SendOutcome.FAILED_EXPIRED,
                motivo=motivo,
                where=_TOO_OLD,
                sooner=sooner,
            )
    concluded = upkeep.conclude_finished(now=now)
    if expired:
        log.warning("fila antiga limpa", canceladas=expired, prolongadas=prolonged)
    return {"processados": expired, "prolongadas": prolonged, "campanhas_concluidas": concluded}


# A row in the middle of a retry has a date a few minutes ahead; a date that somebody set is another matter.
# `expira_em` is the planned time and 24 h: another age is that much sooner, or later.
_TOO_OLD = "f.expira_em < agora() + %(sooner)s AND (f.agendar_para <= agora() OR f.tentativas > 0)"

# A range of fila_expiring, page by page: rows that are left alone are not read again.
_EXPIRED = f"""
SELECT f.id, f.expira_em, f.campanha_id, f.tipo, coalesce(k.status = 'pausada', false) AS pausada
FROM fila_mensagens f LEFT JOIN campanhas k ON k.id = f.campanha_id
WHERE f.status = 'pendente' AND {_TOO_OLD} AND f.expira_em >= %(em)s::timestamptz
    AND (f.expira_em, f.id) > (%(em)s::timestamptz, %(id)s::uuid)
ORDER BY f.expira_em, f.id LIMIT %(limit)s
"""  # noqa: S608 (constants of this module)


def _prolong(ids: Sequence[UUID], sooner: timedelta) -> int:
    return execute(
        """UPDATE fila_mensagens m SET expira_em = agora() + %s
           FROM (SELECT id FROM fila_mensagens WHERE id = ANY(%s) AND status = 'pendente' AND expira_em < agora() + %s
                 ORDER BY id FOR UPDATE SKIP LOCKED) v WHERE m.id = v.id""",
        [ANOTHER_DAY, list(ids), sooner],
    )
