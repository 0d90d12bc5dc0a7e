"""Whether a child gets anywhere, by what it shows and not by its being alive. Pure; `now` is monotonic seconds."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.health.progress import BUSY, CANARY, GUARD, HEALTH, LOOK, WAITING
from julia.supervisor.policy import Policy

_STANDS_STILL = {
    LOOK: "não olha a fila",
    CANARY: "não conclui nenhuma tarefa",
    GUARD: "o guardião do cluster não dá voltas",
    HEALTH: "não responde a GET /health",
}


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing of `what` for `silent_s` seconds, and nothing that would excuse it."""

    what: str
    silent_s: float

    @property
    def sentence(self) -> str:
        return f"{_STANDS_STILL.get(self.what, self.what)} há {self.silent_s:.0f} s"


class Progress:
    """What one run of a child has shown. `points` are the kinds of progress that it owes.

    `workers`: while that many of its processes are in the middle of a task, no canary is owed.
    """

    def __init__(self, points: Iterable[str], policy: Policy, *, workers: int = 0, now: float) -> None:
        self._policy = policy
        self._workers = workers
        self._began_at = now
        self._seen: dict[str, float] = {}
        self._due = dict.fromkeys(points, now + policy.boot_within_s)
        self._busy: dict[int, float] = {}
        self._waits_since = self._waited_at = float("-inf")

    def saw(self, what: str, now: float, *, pid: int = 0) -> None:
        if what == BUSY:
            self._busy[pid] = now
        elif what == WAITING:
            self._waits(now)
        elif what in self._due:
            self._seen[what] = now
            self._due[what] = now + self._policy.stuck_after_s

    def excuse(self, now: float) -> None:
        """Whatever is owed is owed from now on: nobody could have shown it, or nobody was looking."""
        for point, due in self._due.items():
            self._due[point] = max(due, now + self._policy.stuck_after_s)

    def stall(self, now: float) -> Stall | None:
        """What has stood still for too long."""
        if CANARY in self._due and self._workers and self._count_busy(now) >= self._workers:
            self._due[CANARY] = max(self._due[CANARY], now + self._policy.stuck_after_s)
        for point, due in self._due.items():
            if now > due:
                return Stall(point, now - self._seen.get(point, self._began_at))
        return None

    def is_flowing(self, now: float) -> bool:
        """It has shown each kind of progress, and none is overdue."""
        return self._due.keys() <= self._seen.keys() and self.stall(now) is None

    def silent_s(self, now: float) -> float:
        """Seconds since the kind of progress that was shown the longest ago."""
        return now - min((self._seen.get(point, self._began_at) for point in self._due), default=now)

    def _waits(self, now: float) -> None:
        if now - self._waited_at > self._policy.stuck_after_s:
            self._waits_since = now
        self._waited_at = now
        if now - self._waits_since <= self._policy.waits_believed_s:
            self.excuse(now)

    def _count_busy(self, now: float) -> int:
        return sum(now - at <= self._policy.busy_believed_s for at in self._busy.values())
