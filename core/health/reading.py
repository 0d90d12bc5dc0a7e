"""What health pages read: each question asked once at a time, remembered for seconds, and never waited for too long.

All pages share the readings, so that a number is the same on every page that shows it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from core import clock
from core.health.lanes import Lane, lanes
from core.health.registry import Failure, attempt

CACHE_S = 5.0
FAILURE_CACHE_S = 1.0
ANSWER_WITHIN_S = 2.1  # with what else a request costs, under 3 s
BUSY = Failure("Ocupado", "outras consultas desta página ainda esperam pelo banco: tente em alguns segundos")

T = TypeVar("T")
Arguments = tuple[Hashable, ...]
_seconds = time.monotonic
_all: "list[Reading[Any]]" = []


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`known` is the newest value ever read, at `known_at` on the clock that `read` was given; `failure` is None when
    it is as fresh as the cache allows."""

    known: T | None = None
    known_at: datetime | None = None
    failure: Failure | None = None

    @property
    def value(self) -> T | None:
        """None when it could not be read now: never shown as zero."""
        return self.known if self.failure is None else None


@dataclass(slots=True)
class _Kept(Generic[T]):
    """What is remembered of one question. `until`: how long `answer` may be given, on the monotonic clock."""

    answer: Answer[T]
    until: float = 0.0
    asked_at: float = 0.0
    open: "Future[Answer[T]] | None" = None


class Reading(Generic[T]):
    """One question. `read(now, *arguments)` runs in a lane: `now` is database time, its connection is bounded.

    `database` False: `read` bounds itself and gets the process's clock. `most_kept`: how many different arguments are
    remembered, and at most under way.
    """

    def __init__(
        self,
        name: str,
        read: Callable[..., T],
        *,
        cache_s: float = CACHE_S,
        database: bool = True,
        most_kept: int = 1,
    ) -> None:
        self.name = name
        self._read = read
        self._cache_s = cache_s
        self._database = database
        self._most_kept = most_kept
        self._lock = Lock()
        self._kept: OrderedDict[Arguments, _Kept[T]] = OrderedDict()
        _all.append(self)

    def ask(self, *arguments: Hashable) -> "Asked[T]":
        """Starts reading unless the answer is known or on its way; returns at once."""
        starts = False
        with self._lock:
            kept = self._kept.setdefault(arguments, _Kept(Answer()))
            self._kept.move_to_end(arguments)
            if kept.open is None and _seconds() >= kept.until:
                if sum(each.open is not None for each in self._kept.values()) >= self._most_kept:
                    return Asked(Answer(kept.answer.known, kept.answer.known_at, BUSY), None, 0.0)
                kept.open, kept.asked_at, starts = Future(), _seconds(), True
            self._drop_oldest()
            asked = Asked(kept.answer, kept.open, kept.asked_at + ANSWER_WITHIN_S)
        if starts:
            self._start(arguments, kept)
        elif asked.is_late:
            lanes.hang_up_on_the_silent()
        return asked

    def forget(self) -> None:
        """Nothing is known any more; what is under way answers to whoever asked for it."""
        with self._lock:
            self._kept = OrderedDict()

    def _drop_oldest(self) -> None:
        """Questions under way stay, so that one is never asked twice at a time."""
        for arguments in [each for each, kept in self._kept.items() if kept.open is None]:
            if len(self._kept) <= self._most_kept:
                return
            del self._kept[arguments]

    def _start(self, arguments: Arguments, kept: _Kept[T]) -> None:
        def in_lane(lane: Lane) -> None:
            self._settle(kept, attempt(lambda: self._read_at(lane, arguments), self.name))

        def alone() -> None:
            now = clock.now()
            self._settle(kept, attempt(lambda: (now, self._read(now, *arguments)), self.name))

        if self._database:
            lanes.submit(in_lane)
        else:
            Thread(target=alone, name=f"health-{self.name}", daemon=True).start()

    def _read_at(self, lane: Lane, arguments: Arguments) -> tuple[datetime, T]:
        lane.ready()
        now = clock.database_now()
        return now, self._read(now, *arguments)

    def _settle(self, kept: _Kept[T], found: tuple[datetime, T] | Failure) -> None:
        with self._lock:
            before, waiting = kept.answer, kept.open
            if isinstance(found, Failure):
                kept.answer = Answer(before.known, before.known_at, found)
                kept.until = _seconds() + FAILURE_CACHE_S
            else:
                kept.answer = Answer(found[1], found[0])
                kept.until = _seconds() + self._cache_s
            kept.open = None
        if waiting is not None:
            waiting.set_result(kept.answer)


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """A question on its way: `wait` at most until `ends` (monotonic)."""

    before: Answer[T]
    open: "Future[Answer[T]] | None"
    ends: float

    @property
    def is_late(self) -> bool:
        """Nobody waits for it any longer."""
        return self.open is not None and _seconds() >= self.ends

    def wait(self) -> Answer[T]:
        if self.open is None:
            return self.before
        try:
            return self.open.result(timeout=max(0.0, self.ends - _seconds()))
        except TimeoutError as error:
            return Answer(self.before.known, self.before.known_at, Failure.of(error))


def ask_all(wanted: Mapping[str, "Reading[Any]"]) -> dict[str, Answer[Any]]:
    """All at the same time: the slowest decides how long it takes."""
    asked = {name: reading.ask() for name, reading in wanted.items()}
    return {name: each.wait() for name, each in asked.items()}


def forget_all() -> None:
    """Ends every lane and forgets every answer."""
    lanes.close()
    for reading in _all:
        reading.forget()
