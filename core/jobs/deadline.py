"""How long a job may still go on: it looks between two items and stops by itself."""

import time
from collections.abc import Callable
from datetime import timedelta


class Deadline:
    """`limit` from now on the monotonic clock, or on `clock` (seconds)."""

    def __init__(self, limit: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + limit.total_seconds()

    @property
    def remaining_s(self) -> float:
        return max(0.0, self._ends - self._clock())

    @property
    def passed(self) -> bool:
        return self._clock() >= self._ends
