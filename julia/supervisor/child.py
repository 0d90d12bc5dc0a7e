"""One child process: started, watched, ended with all it started, started again."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import IO, Protocol

from julia.supervisor import groups
from julia.supervisor.policy import Policy
from julia.supervisor.progress import Progress, Stall

PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_POLICY = Policy()


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `papel` is the role it belongs to; `may_start` is asked until it says yes.

    `ends_last`: the others still need it while they stop. `points`: the kinds of progress that it owes, or none;
    `probe` finds out about HEALTH, in a thread, for a child that cannot tell by itself. `workers`: see Progress.
    """

    name: str
    papel: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = DEFAULT_POLICY
    may_start: Callable[[], bool] = always
    ends_last: bool = False
    points: tuple[str, ...] = ()
    probe: Callable[[], bool] | None = None
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Fall:
    """An end that nobody asked for, and when the next start is due."""

    name: str
    papel: str
    reason: str
    lived_s: float
    pause_s: float
    restarts: int


class Phase(Enum):
    WAITING = auto()
    ALIVE = auto()
    ENDING = auto()
    DONE = auto()


class Outside(Protocol):
    """Who has to know of each group: where its output goes, and who ends it when we cannot."""

    def started(self, name: str, session: int, output: IO[bytes]) -> None: ...

    def ended(self, name: str, session: int) -> None: ...


class Child:
    """`step` moves it on and is to be called several times a second; `now` is monotonic seconds throughout.

    `env`: what it is told beside its program's own.
    """

    def __init__(
        self, program: Program, outside: Outside, *, now: float, env: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.program = program
        self.phase = Phase.WAITING
        self.progress = self._new_progress(now)
        self.restarts = 0
        self.started_at = now
        self._outside = outside
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._due_at = now
        self._kill_at = now
        self._pause_s = 0.0
        self._stopping = False
        self._fallen_at: float | None = None
        self._ended_because = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        return self.phase is Phase.ALIVE

    @property
    def is_done(self) -> bool:
        return self.phase is Phase.DONE

    def stall(self, now: float) -> Stall | None:
        """What stands still in it, while it should be moving."""
        return self.progress.stall(now) if self.is_alive else None

    def is_flowing(self, now: float) -> bool:
        """It lives, and shows all the progress that it owes."""
        return self.is_alive and self.progress.is_flowing(now)

    def step(self, now: float) -> Fall | None:
        """A Fall once the group of a child that ended by itself is gone."""
        if self.phase is Phase.WAITING and now >= self._due_at and self.program.may_start():
            return self._start(now)
        if self.phase is Phase.ALIVE and self._process is not None and self._process.poll() is not None:
            self._fallen_at = now
            self._end(now, within_s=self.program.policy.leftovers_within_s)
        if self.phase is Phase.ENDING:
            return self._finish(now)
        return None

    def stop(self, now: float) -> None:
        """Ask it to end, for good. Whoever is left after `stop_within_s` is killed."""
        self._stopping = True
        if self.phase is Phase.WAITING:
            self.phase = Phase.DONE
        elif self.phase is Phase.ALIVE:
            self._end(now, within_s=self.program.policy.stop_within_s)

    def give_up(self, now: float, because: str) -> None:
        """End it for lack of progress; it is started again. Who was stopped (SIGSTOP) is woken to end in order."""
        self._ended_because, self._fallen_at = because, now
        self._end(now, within_s=self.program.policy.stop_within_s)
        if self._process is not None:
            groups.send(self._process.pid, signal.SIGCONT)

    def _start(self, now: float) -> Fall | None:
        self.started_at, self._fallen_at, self._ended_because = now, None, ""
        self.progress = self._new_progress(now)
        try:
            self._process = subprocess.Popen(
                self.program.argv,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env, **self.program.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=PROJECT,
            )
        except OSError as error:
            return self._fall(now, reason=f"não pôde ser iniciado: {error.strerror or error}")
        if self._process.stdout is not None:
            self._outside.started(self.program.name, self._process.pid, self._process.stdout)
        self.phase = Phase.ALIVE
        return None

    def _new_progress(self, now: float) -> Progress:
        program = self.program
        return Progress(program.points, program.policy, workers=program.workers, now=now)

    def _end(self, now: float, *, within_s: float) -> None:
        self.phase = Phase.ENDING
        self._kill_at = now + within_s
        if self._process is not None:
            groups.send_to_leader(self._process.pid, signal.SIGTERM)

    def _finish(self, now: float) -> Fall | None:
        """The leader first, then what it left behind; past the deadline whoever is there."""
        process = self._process
        if process is None:
            return None
        leader_gone = process.poll() is not None
        if leader_gone:
            groups.reap(process.pid)
        if groups.members(process.pid):
            if now >= self._kill_at:
                groups.send(process.pid, signal.SIGKILL)
            elif leader_gone:
                groups.send(process.pid, signal.SIGTERM)
            return None
        if not leader_gone:
            return None
        self._outside.ended(self.program.name, process.pid)
        if self._stopping:
            self.phase = Phase.DONE
            return None
        reason = self._ended_because or described(process.returncode)
        return self._fall(self._fallen_at or now, reason=reason)

    def _fall(self, now: float, *, reason: str) -> Fall:
        lived_s = max(0.0, now - self.started_at)
        self._pause_s = self.program.policy.next_pause(self._pause_s, lived_s)
        self._due_at = now + self._pause_s
        self.phase = Phase.WAITING
        self.restarts += 1
        return Fall(self.program.name, self.program.papel, reason, lived_s, self._pause_s, self.restarts)


def described(code: int) -> str:
    """An exit code as an operator reads it."""
    if code >= 0:
        return f"terminou com o código {code}"
    try:
        return f"foi morto por {signal.Signals(-code).name}"
    except ValueError:
        return f"foi morto pelo sinal {-code}"
