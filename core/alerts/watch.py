"""The watch that every supervisor keeps: evaluate, deliver, and cry from memory when the database is away.

Elected by a leased row, so that one of any number of supervisors does it and any other goes on when that one dies.
Three threads, so that nothing waits for what hangs: one evaluates, one delivers, one needs no database at all.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import httpx
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from core import clock, correlation
from core.alerts import lease, outage, slack, wire
from core.alerts.evaluator import RULE_ERRORS, evaluate
from core.alerts.messages import plain
from core.alerts.outage import Outage
from core.alerts.slack import Deliverer, Outcome
from core.integrations.http import describe
from core.logging import get_logger

LEASE = "alertas"
EVERY_S = 30.0
LEASE_FOR = timedelta(seconds=90)
FIRST_AFTER_S = 3.0
AGAIN_AFTER_S = 5.0
PING_EVERY_S = 60.0
SENTINEL_EVERY_S = 1.0
TELL_AGAIN_S = 30.0
DISCARD_EVERY_S = 600.0
BLIND_AFTER_S = 180.0
CLOSE_WITHIN_S = 11.0  # a post that is under way ends within its 10 s

_PAUSES = {Outcome.SENT: 1.0, Outcome.PACED: 0.2, Outcome.LATER: 1.0, Outcome.EMPTY: 2.0}
_LONG_PAUSE_S = 5.0
_BLIND = (
    "[CRÍTICO] os alertas não estão sendo avaliados: há {minutos} min nenhuma avaliação de {quem} termina, e o banco "
    "responde. Próximo passo: leia o log do servir (procure por vigia) e confira a operação à mão, em Agora."
)

log = get_logger("alertas")


class Watch:
    """`owner` names this supervisor: machine and process. Instants are of the monotonic clock.

    `answered_at` says when the database last answered anybody in this process; it is asked from a thread that uses no
    database. Without it the watch's own turns count.
    """

    def __init__(
        self,
        owner: str,
        *,
        every_s: float = EVERY_S,
        lease_for: timedelta = LEASE_FOR,
        first_after_s: float = FIRST_AFTER_S,
        answered_at: Callable[[], float | None] | None = None,
    ) -> None:
        self._owner = owner
        self._every_s = every_s
        self._lease_for = lease_for
        self._first_after_s = first_after_s
        self._reached_at = time.monotonic()
        self._answered_at = answered_at or (lambda: self._reached_at)
        self._started_at = time.monotonic()
        self._holds_until = 0.0
        self._evaluated_at: float | None = None
        self._last_holder = ""
        self._may_tell = True
        self._is_failing = False
        self._over: deque[Outage] = deque(maxlen=100)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=f"vigia-{name}", daemon=True)
            for name, run in (("avalia", self._evaluates), ("avisa", self._delivers), ("sentinela", self._stands_guard))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new; returns at once."""
        self._ended.set()

    def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Stop, and wait for what is under way: the lease is given back, so that another supervisor goes on."""
        self.stop()
        until = time.monotonic() + within_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0))

    @property
    def holds(self) -> bool:
        return time.monotonic() < self._holds_until

    # Evaluating --------------------------------------------------------------------------------------------------

    def _evaluates(self) -> None:
        pause = self._first_after_s
        try:
            while not self._ended.wait(pause):
                pause = self._every_s if self._turn() else min(AGAIN_AFTER_S, self._every_s)
        finally:
            self._leave()

    def _turn(self) -> bool:
        """One look; False when it did not get through."""
        try:
            with correlation.use():
                began = time.monotonic()
                holds = lease.take(LEASE, self._owner, self._lease_for)
                self._holds_until = began + self._lease_for.total_seconds() if holds else 0.0
                self._note_holder(self._owner if holds else lease.holder(LEASE))
                self._reached_at = time.monotonic()
                self._write_down()
                if holds:
                    self._look()
            self._is_failing = False
            return True
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            if not self._is_failing:
                log.warning("a vigia não conseguiu avaliar", erro=type(error).__name__)
        except RULE_ERRORS:
            if not self._is_failing:
                log.exception("a vigia quebrou")
        self._is_failing = True
        return False

    def _note_holder(self, holder: str) -> None:
        if holder != self._last_holder:
            log.info("vigia dos alertas", com=holder, deste_processo=holder == self._owner)
        self._last_holder = holder

    def _look(self) -> None:
        found = evaluate(clock.database_now())
        self._evaluated_at = self._reached_at = time.monotonic()
        if found.opened or found.resolved or found.notified or found.failures:
            log.info(
                "alertas avaliados",
                abertos=found.opened,
                resolvidos=found.resolved,
                avisados=found.notified,
                falhas=",".join(found.failures),
            )

    def _write_down(self) -> None:
        while self._over:
            outage.write_down(self._over[0], machine=self._owner, now=time.monotonic())
            self._over.popleft()

    def _leave(self) -> None:
        try:
            if self.holds:
                lease.give_back(LEASE, self._owner)
        except (DatabaseError, InterfaceError) as error:
            log.warning("vigia encerrada sem devolver o posto", erro=type(error).__name__)
        finally:
            connection.close()

    # Delivering --------------------------------------------------------------------------------------------------

    def _delivers(self) -> None:
        deliverer, discarded_at, pause = Deliverer(self._owner), 0.0, self._first_after_s
        try:
            while not self._ended.wait(pause):
                pause = _LONG_PAUSE_S
                if not self.holds:
                    pause = 1.0
                    continue
                try:
                    if time.monotonic() - discarded_at > DISCARD_EVERY_S:
                        slack.discard_unwanted()
                        discarded_at = time.monotonic()
                    outcome = deliverer.deliver()
                    self._may_tell = outcome is not Outcome.PAUSED
                    pause = _PAUSES.get(outcome, _LONG_PAUSE_S)
                except (DatabaseError, InterfaceError) as error:
                    connection.close()
                    log.warning("avisos esperam: banco indisponível", erro=type(error).__name__)
                except RULE_ERRORS:
                    log.exception("a entrega de avisos quebrou")
        finally:
            connection.close()

    # Without a database ------------------------------------------------------------------------------------------

    def _stands_guard(self) -> None:
        away: Outage | None = None
        tried_at = pinged_at = float("-inf")
        is_blind = False
        while not self._ended.wait(SENTINEL_EVERY_S):
            now = time.monotonic()
            away = outage.look(away, answered_at=self._answered_at() or self._started_at, now=now)
            if away is not None and away.back_at is not None:
                if outage.is_worth_a_row(away):
                    self._over.append(away)
                away = None
            is_ours = self._last_holder in ("", self._owner)
            if away is not None and outage.is_to_be_told(away, is_ours=is_ours, now=now):
                if now - tried_at >= TELL_AGAIN_S:
                    tried_at = now
                    away = self._tell(away, now)
            elif away is None and self._is_blind(now) and not is_blind:
                is_blind = self._say(_BLIND.format(quem=self._owner, minutos=round(BLIND_AFTER_S / 60)))
            elif now - pinged_at >= PING_EVERY_S and self._is_evaluating(now):
                pinged_at, is_blind = now, False
                self._ping()

    def _is_evaluating(self, now: float) -> bool:
        """We hold the lease and the newest look got through."""
        fresh = self._evaluated_at is not None and now - self._evaluated_at <= 2 * self._every_s
        return self.holds and fresh

    def _is_blind(self, now: float) -> bool:
        """We hold the lease, the database answers, and still no look gets through: nothing else would tell of it."""
        return self.holds and now - (self._evaluated_at or self._started_at) > BLIND_AFTER_S

    def _tell(self, away: Outage, now: float) -> Outage:
        """The same outage, told or not: what Slack did not take is tried again."""
        log.critical("banco de dados fora", desde_s=round(now - away.since))
        text = outage.sentence(away, machine=self._owner, now=now, wall=clock.now())
        told = self._say(text)
        return replace(away, is_told=told, was_sent=told and self._has_channel)

    @property
    def _has_channel(self) -> bool:
        return bool(settings.SLACK_WEBHOOK_URL) and self._may_tell

    def _say(self, text: str) -> bool:
        """Past the outbox, which cannot be written. False when Slack did not take it; without a channel all is said."""
        if not self._has_channel:
            return True
        try:
            wire.post_json(settings.SLACK_WEBHOOK_URL, plain(text))
        except httpx.HTTPError as error:
            log.warning("aviso direto não entregue", erro=describe(error))
            return False
        return True

    def _ping(self) -> None:
        if not settings.DEADMAN_URL:
            return
        try:
            wire.get(settings.DEADMAN_URL)
        except httpx.HTTPError as error:
            log.warning("sinal de vida para fora não entregue", erro=describe(error))
