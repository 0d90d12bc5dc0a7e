"""A child and all it started, ended together.

Each child leads a session of its own, so what belongs to it can be found by the session's number, whatever became of
the leader. Standard library only: the guardian uses this, too.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_DEAD = "ZX"


def members(session: int) -> list[int]:
    """Pids of the living processes of a session; what only waits to be reaped is dead."""
    return [pid for pid, state, owner in _processes() if owner == session and state not in _DEAD]


def send(session: int, number: signal.Signals) -> None:
    for pid in members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def send_to_leader(session: int, number: signal.Signals) -> None:
    """The leader ends its own children in order: a task cluster lets them finish the task in hand."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(session, number)


def reap(session: int) -> None:
    """Collect dead members that became our own children: as process 1 of a container we inherit orphans."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-session, os.WNOHANG)[0]:
            pass


def is_alive(pid: int) -> bool:
    return any(found == pid and state not in _DEAD for found, state, _session in _processes())


def _processes() -> Iterator[tuple[int, str, int]]:
    """(pid, state, session) of every process that we may see."""
    return _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()


def _from_proc() -> Iterator[tuple[int, str, int]]:
    for name in os.listdir(_PROC):  # noqa: PTH208 (thousands of them, several times a second while something ends)
        if not name.isdigit():
            continue
        try:
            stat = (_PROC / name / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        state, _parent, _group, session = stat.rpartition(")")[2].split()[:4]
        yield int(name), state, int(session)


def _from_ps() -> Iterator[tuple[int, str, int]]:
    """Where there is no /proc the group stands for the session; our leaders lead both."""
    command = ["ps", "-axo", "pid=,state=,pgid="]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        pid, state, group = line.split()
        yield int(pid), state[0], int(group)
