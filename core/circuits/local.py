"""The database's own circuit: in the process, because its row is out of reach exactly when it matters."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from django.db import Error, InterfaceError, OperationalError, transaction
from psycopg import errors

from core import flags
from core.circuits import store, transitions
from core.circuits.config import config_of, default_of, key_of
from core.circuits.models import CircuitState
from core.circuits.transitions import Call, CallResult, CircuitFacts, Gate, Transition
from core.logging import get_logger

MOST_BUFFERED = 1000

_AWAY = (
    "08",
    "53",
    "57P",
    "58",
)  # connection, resources, shutdown, system: the SQLSTATEs of a server that cannot serve
_SLOW = ("57014", "55P03")  # statement cancelled by its deadline, lock not available

log = get_logger("circuitos")


class LocalCircuit:
    """One process's circuit over the database: it decides by itself, and tells the table when the table is back.

    Instants are those of this process. Safe to share between threads. Transitions wait in memory (at most 1000, the
    oldest go first) and are logged at once; `flush` writes them. The shared row is closed whenever somebody can read
    it: it only takes over the last failure and the last success.
    """

    def __init__(self, name: str) -> None:
        self.facts = CircuitFacts(name)
        self.config = default_of(name)
        self.lost = 0
        self._buffer: list[Transition] = []
        self._told = self.facts
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    @property
    def pending(self) -> int:
        """Transitions that the table does not know yet."""
        return len(self._buffer)

    def allows(self, now: datetime) -> bool:
        """Whether to try the database now. Half open, True is the one probe: report what becomes of it."""
        with self._lock:
            gate = transitions.gate(self.facts, now)
            if gate is not Gate.PROBE:
                return gate is Gate.PASS
            stepped = transitions.acquire(self.facts, now, owner="local")
            if stepped is None:
                return False
            self._move(*stepped)
            return True

    def succeeded(self, now: datetime) -> None:
        self.report(CallResult.SUCCESS, now)

    def failed(self, now: datetime, kind: str = "network") -> None:
        self.report(CallResult.FAILURE, now, kind)

    def report(self, result: CallResult, now: datetime, kind: str = "") -> None:
        """What a try came to. While the circuit is not closed, the one who may try is the probe."""
        with self._lock:
            call = Call(self.facts.name, result, "", kind, started_at=now, probe=True)
            self._move(*transitions.after(self.facts, call, self.config, now))

    @contextmanager
    def watch(self, clock: Callable[[], datetime]) -> Iterator[None]:
        """Report what happens inside; database errors are judged and raised again. `clock` is read at the end."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            result, kind = judge(error)
            self.report(result, clock(), kind)
            raise
        except Error:
            self.succeeded(clock())
            raise
        self.succeeded(clock())

    def flush(self) -> int:
        """Write what happened while the database was away, and take over the numbers of its setting.

        Returns how many transitions were written. Raises the database's errors, and forgets nothing then. Costs
        nothing when there is nothing to write.
        """
        if not self._flushing.acquire(blocking=False):
            return 0
        try:
            return self._flush()
        finally:
            self._flushing.release()

    def _flush(self) -> int:
        with self._lock:
            waiting, facts = list(self._buffer), self.facts
        if not waiting and facts.last_failure_at == self._told.last_failure_at:
            return 0
        with transaction.atomic():
            store.ensure([facts.name])
            locked = store.lock([facts.name])
            if locked is not None:
                store.write([_mirrored(locked.facts[facts.name], facts)], waiting)
        stored = {key_of(facts.name): flags.get(key_of(facts.name))}
        with self._lock:
            self._buffer = [each for each in self._buffer if each not in waiting]
            self._told = facts
            self.config = config_of(facts.name, stored)
            if self.lost:
                log.error("mudanças do circuito descartadas", circuito=facts.name, perdidas=self.lost)
                self.lost = 0
        return len(waiting)

    def _move(self, facts: CircuitFacts, transition: Transition | None) -> None:
        self.facts = facts
        if transition is None:
            return
        self._buffer.append(transition)
        if len(self._buffer) > MOST_BUFFERED:
            self._buffer.pop(0)
            self.lost += 1
        say = log.info if transition.to_state is CircuitState.CLOSED else log.warning
        say("circuito mudou", circuito=facts.name, para=transition.to_state, motivo=transition.reason)


def judge(error: Exception) -> tuple[CallResult, str]:
    """What an error of the driver says about the server: away, too slow, or alive and refusing something."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if isinstance(cause, errors.ConnectionTimeout) or state in _SLOW:
        return CallResult.TIMEOUT, "timeout"
    if state is None:
        return CallResult.FAILURE, "network"
    return (CallResult.FAILURE, "server_5xx") if state.startswith(_AWAY) else (CallResult.SUCCESS, "")


def _mirrored(row: CircuitFacts, ours: CircuitFacts) -> CircuitFacts:
    later = [at for at in (row.last_failure_at, ours.last_failure_at) if at is not None]
    return replace(
        row,
        last_failure_at=max(later, default=None),
        last_success_at=ours.last_success_at or row.last_success_at,
        last_error_kind=ours.last_error_kind or row.last_error_kind,
    )
