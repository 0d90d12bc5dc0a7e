"""Counting: in memory at once, in PostgreSQL within seconds, so that every process shows the same numbers.

Each process adds up what it counted and a thread of its own writes it every `METRICS_FLUSH_EVERY_S` seconds in one
statement. A killed process loses at most that much; an orderly end writes the rest. While the database is away the sums
wait in memory: they cannot grow beyond one number per series, and the series are a closed list.
"""

import os
import random
import threading
import time
from collections.abc import Mapping
from multiprocessing import util

from django.conf import settings
from django.db import Error

from core.logging import get_logger
from core.metrics import store
from core.metrics.declared import ERROR, METRICS, OTHER, SUCCESS, Values, closed
from core.metrics.store import Key, Sums

MOST_SERIES = 5000  # per process and flush; beyond it a new label set counts under `outro`

log = get_logger("metricas")


class Counters:
    """What one process has counted since its last flush. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._sums: dict[Key, Sums] = {}
        self._about_flushes: dict[Key, Sums] = {}
        self._keys: dict[Key, Key] = {}
        self._started = False
        self._ending = threading.Event()
        self._failing = False

    def count(self, name: str, labels: Mapping[str, str], amount: float) -> None:
        """Add `amount` to a counter, or let a histogram observe it. A name nobody declared is logged, not raised."""
        declared = METRICS.get(name)
        if declared is None:
            log.error("métrica não declarada", metrica=name)
            return
        given = (name, tuple([labels.get(label, OTHER) for label in declared.labels]))
        key = self._keys.get(given) or self._closed(given, labels)
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                sums = self._new(key)
            sums.add(amount, declared.buckets)
        if not self._started:
            self._start()

    def flush(self) -> int:
        """Write what was counted, or keep it when the database does not take it. Returns how many series.

        The database is an integration too; what flushes tell of themselves goes with the next one that has something
        else to write, so that an idle process writes nothing.
        """
        with self._flushing:
            taken = self._take()
            if not taken:
                return 0
            started, written = time.perf_counter(), False
            try:
                store.add(taken)
                written = True
            except Error as error:
                if not self._failing:  # once per outage
                    log.warning("contadores ainda não gravados", error_class=type(error).__name__)
            finally:
                self._failing = not written
                if not written:
                    self._keep(taken)
                self._tell(SUCCESS if written else ERROR, time.perf_counter() - started)
            return len(taken) if written else 0

    def end(self) -> None:
        """For the end of the process."""
        self._ending.set()
        self.flush()

    def pending(self) -> dict[Key, Sums]:
        """What the table does not know yet."""
        with self._lock:
            return dict(self._sums)

    def _closed(self, given: Key, labels: Mapping[str, str]) -> Key:
        key = (given[0], closed(METRICS[given[0]], labels))
        if len(self._keys) < MOST_SERIES:  # what a client made up is not remembered without end
            self._keys[given] = key
        return key

    def _new(self, key: Key) -> Sums:
        if len(self._sums) >= MOST_SERIES:
            key = (key[0], tuple(OTHER for _ in key[1]))
        return self._sums.setdefault(key, Sums())

    def _take(self) -> dict[Key, Sums]:
        with self._lock:
            taken, self._sums = self._sums, {}
        if taken:
            _merge(taken, self._about_flushes)
            self._about_flushes = {}
        return taken

    def _keep(self, taken: Mapping[Key, Sums]) -> None:
        with self._lock:
            _merge(self._sums, taken)

    def _tell(self, status: str, seconds: float) -> None:
        call: Values = ("supabase", "flush")
        amounts = {
            ("integration_requests_total", (*call, status)): 1.0,
            ("integration_request_duration_seconds", call): seconds,
        }
        for key, amount in amounts.items():
            self._about_flushes.setdefault(key, Sums()).add(amount, METRICS[key[0]].buckets)

    def _start(self) -> None:
        """The thread, and the last flush of an orderly end, in the process that counts first: never before a fork."""
        with self._lock:
            if self._started:
                return
            self._started = True
        if settings.METRICS_FLUSH_EVERY_S <= 0:
            return
        # Not atexit: the children of multiprocessing, which are what a task cluster works with, never come to it.
        util.Finalize(None, self.end, exitpriority=10)
        thread = threading.Thread(
            target=self._run, args=(settings.METRICS_FLUSH_EVERY_S,), name="metricas", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return  # the interpreter is ending: `end` writes

    def _run(self, every_s: float) -> None:
        wait_s = every_s * random.random()  # processes that started together do not write together
        while not self._ending.wait(wait_s):
            self.flush()
            wait_s = every_s


_counters = Counters()


def inc(name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
    """Count. About a microsecond, never waits for the database, raises nothing; an unknown label value is `outro`."""
    _counters.count(name, labels, by)


def observe(name: str, labels: Mapping[str, str], seconds: float) -> None:
    """Let a histogram observe a duration. As cheap and as quiet as `inc`."""
    _counters.count(name, labels, seconds)


def flush() -> int:
    """Write now what this process has counted; returns how many series. Raises nothing of the database's."""
    return _counters.flush()


def pending() -> dict[Key, Sums]:
    return _counters.pending()


def forget() -> None:
    """Begin anew: what a forked child inherited is its parent's to write."""
    global _counters
    _counters = Counters()


def _merge(into: dict[Key, Sums], more: Mapping[Key, Sums]) -> None:
    for key, sums in more.items():
        known = into.get(key)
        into[key] = sums if known is None else known.plus(sums)


os.register_at_fork(after_in_child=forget)
