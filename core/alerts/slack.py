"""Carries the outbox to Slack: one message per second, again after every failure, until Slack has taken it.

The promise: at least once, each kind of alert in the order written, never lost. A message arrives twice only where
nobody can know better: Slack took it and its answer did not come, or this process died between the answer and the mark.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import httpx
from django.conf import settings
from django.db import transaction

from core import flags
from core.alerts import lease, wire
from core.alerts.messages import plain
from core.circuits import guard
from core.circuits.names import SLACK
from core.database import execute, rows
from core.integrations.http import describe
from core.logging import get_logger

PACE = timedelta(seconds=1)  # Slack's limit for incoming webhooks
RETAKEN_AFTER = timedelta(seconds=60)  # longer than a post and its marks can take
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
BLOCKED_PAUSE = timedelta(seconds=30)
UNWANTED_AFTER = timedelta(hours=24)
CHANNEL = "slack:canal"
REMEMBERED = 200
_BAD_REQUEST, _TOO_MANY = 400, 429

log = get_logger("alertas.slack")


class Outcome(StrEnum):
    """What became of one attempt to deliver."""

    SENT = "enviada"
    EMPTY = "nada_a_enviar"
    PACED = "aguarda_o_ritmo"
    PAUSED = "pausado"
    LATER = "tenta_de_novo"
    BLOCKED = "circuito_aberto"


@dataclass(frozen=True, slots=True)
class _Taken:
    id: str
    token: str
    body: dict[str, Any]
    attempts: int
    motivo: str


class Deliverer:
    """One life of a deliverer; what it sent and could not mark it marks later instead of sending it again."""

    def __init__(self, owner: str, *, pace: timedelta = PACE) -> None:
        self._owner = owner
        self._pace = pace
        self._sent: list[str] = []

    def deliver(self) -> Outcome:
        """At most one message, outside of any transaction. Raises django.db.Error; nothing is lost by it."""
        if not settings.SLACK_WEBHOOK_URL:
            _without_channel()
            return Outcome.EMPTY
        if not flags.get(flags.SLACK_NOTIFICACOES):
            return Outcome.PAUSED
        taken = self._take()
        if isinstance(taken, Outcome):
            return taken
        if taken.id not in self._sent:
            outcome = self._post(taken)
            if outcome is not Outcome.SENT:
                return outcome
            self._sent = [*self._sent[-REMEMBERED:], taken.id]
        _mark_sent(taken)
        return Outcome.SENT

    def _take(self) -> _Taken | Outcome:
        """The pace first: it is a lease that nobody renews, so that two deliverers keep it together."""
        with transaction.atomic():
            if not _anything_due():
                return Outcome.EMPTY
            if not lease.take(CHANNEL, self._owner, self._pace, renews=False):
                return Outcome.PACED
            return _claim(f"{self._owner[:60]} {uuid.uuid4().hex[:8]}") or Outcome.EMPTY

    def _post(self, taken: _Taken) -> Outcome:
        # What Slack refused to read goes without its form: the words matter more.
        body = plain(str(taken.body.get("text", ""))) if taken.motivo == f"http_{_BAD_REQUEST}" else taken.body
        try:
            guard.call(SLACK, lambda: wire.post_json(settings.SLACK_WEBHOOK_URL, body), owner=self._owner)
        except guard.CircuitOpen as closed:
            _give_back(taken, self._owner, closed.retry_at)
            return Outcome.BLOCKED
        except httpx.HTTPStatusError as refusal:
            self._refused(taken, refusal)
            return Outcome.LATER
        except httpx.HTTPError as error:
            _later(taken, describe(error), _pause(taken.attempts))
            return Outcome.LATER
        return Outcome.SENT

    def _refused(self, taken: _Taken, refusal: httpx.HTTPStatusError) -> None:
        status = refusal.response.status_code
        pause = wire.retry_after(refusal) if status == _TOO_MANY else None
        with transaction.atomic():
            if status == _TOO_MANY:
                pause = pause or _pause(taken.attempts)
                lease.hold_until_later(CHANNEL, self._owner, pause)
            _later(taken, f"http_{status}", pause or _pause(taken.attempts))


def backlog() -> tuple[int, datetime | None]:
    """How many messages wait for Slack (at most 1,000 are counted), and since when the oldest does."""
    (row,) = rows(
        """SELECT count(*) AS n, min(created_at) AS desde FROM (SELECT created_at FROM alerta_entregas
           WHERE situacao IN ('pendente', 'enviando') ORDER BY created_at LIMIT 1000) waiting"""
    )
    return int(row["n"]), row["desde"]


def discard_unwanted() -> int:
    """Messages that Slack did not take before their alerts were over for a day; how many."""
    return execute(
        """UPDATE alerta_entregas m SET situacao = 'descartada', motivo = 'alerta_encerrado'
           WHERE m.situacao = 'pendente' AND m.created_at < agora() - %(after)s AND NOT EXISTS (
               SELECT 1 FROM alerta_avisos v JOIN alertas a ON a.id = v.alerta_id WHERE v.entrega_id = m.id
                   AND (a.resolvido_em IS NULL OR a.resolvido_em > agora() - %(after)s))""",
        {"after": UNWANTED_AFTER},
    )


def _pause(attempts: int) -> timedelta:
    """5, 10, 20 … s, at most 10 min."""
    return min(FIRST_PAUSE * 2 ** min(max(attempts - 1, 0), 20), LONGEST_PAUSE)


def _without_channel() -> None:
    execute("UPDATE alerta_entregas SET situacao = 'sem_canal' WHERE situacao = 'pendente'")


def _anything_due() -> bool:
    return bool(
        rows(
            "SELECT 1 FROM alerta_entregas WHERE situacao IN ('pendente', 'enviando') AND proxima_em <= agora() LIMIT 1"
        )
    )


def _claim(token: str) -> _Taken | None:
    """The oldest that is due, unless an older one of its kind still waits. Served by alerta_entregas_waiting."""
    found = rows(
        """UPDATE alerta_entregas SET situacao = 'enviando', tentativas = tentativas + 1, tentada_em = agora(),
               dono = %(token)s
           WHERE id = (
               SELECT c.id FROM alerta_entregas c WHERE c.situacao IN ('pendente', 'enviando')
                   AND c.proxima_em <= agora() AND (c.situacao = 'pendente' OR c.tentada_em < agora() - %(after)s)
                   AND NOT EXISTS (SELECT 1 FROM alerta_entregas o WHERE o.situacao IN ('pendente', 'enviando')
                       AND o.tipo = c.tipo AND (o.created_at, o.id) < (c.created_at, c.id))
               ORDER BY c.created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id, corpo, tentativas, motivo""",
        {"token": token, "after": RETAKEN_AFTER},
    )
    if not found:
        return None
    row = found[0]
    body = row["corpo"] if isinstance(row["corpo"], dict) else json.loads(row["corpo"])
    return _Taken(str(row["id"]), token, body, row["tentativas"], row["motivo"])


def _mark_sent(taken: _Taken) -> None:
    with transaction.atomic():
        execute(
            """UPDATE alerta_entregas SET situacao = 'enviada', enviada_em = agora(), motivo = ''
               WHERE id = %s AND situacao = 'enviando'""",
            [taken.id],
        )
        execute(
            """UPDATE alertas SET notificado = true, notificado_em = coalesce(notificado_em, agora())
               WHERE id IN (SELECT v.alerta_id FROM alerta_avisos v JOIN alertas a ON a.id = v.alerta_id
                            WHERE v.entrega_id = %s AND v.especie <> 'resolvido' ORDER BY a.id FOR UPDATE OF a)""",
            [taken.id],
        )


def _later(taken: _Taken, motivo: str, pause: timedelta) -> None:
    log.warning("aviso não entregue, tenta de novo", motivo=motivo, tentativa=taken.attempts, em_s=pause.seconds)
    execute(
        """UPDATE alerta_entregas SET situacao = 'pendente', motivo = left(%s, 120), proxima_em = agora() + %s
           WHERE id = %s AND dono = %s AND situacao = 'enviando'""",
        [motivo, pause, taken.id, taken.token],
    )


def _give_back(taken: _Taken, owner: str, retry_at: datetime | None) -> None:
    """Nothing left: the attempt does not count, and the channel rests until the circuit wants its probe."""
    with transaction.atomic():
        execute(
            """UPDATE alerta_entregas SET situacao = 'pendente', motivo = 'circuito_aberto',
                   tentativas = tentativas - 1 WHERE id = %s AND dono = %s AND situacao = 'enviando'""",
            [taken.id, taken.token],
        )
        now = rows("SELECT agora() AS agora")[0]["agora"]
        wait = min(max(retry_at - now, PACE), BLOCKED_PAUSE) if retry_at is not None else BLOCKED_PAUSE
        lease.hold_until_later(CHANNEL, owner, wait)
