"""The main process of a server, as its `postmaster.pid` and the operating system describe it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from julia.embedded.errors import EmbeddedPostgresError

STOP_TIMEOUT_S = 30.0
POLL_S = 0.01
PID_LINE, DATA_LINE, STATUS_LINE = 0, 1, 7  # of postmaster.pid


def living(data: Path) -> int | None:
    """The pid of the postmaster of exactly these data; None for an absent, stale or foreign postmaster.pid.

    A pid alone proves nothing: after a crash it may be a zombie or belong to somebody else, and a copied
    clone brings the file of the original along. The process must have been started on these data.
    """
    lines = _pid_file(data)
    if len(lines) <= DATA_LINE or not lines[PID_LINE].strip().isdigit():
        return None
    recorded = Path(lines[DATA_LINE])
    if recorded != data and recorded.exists() and not recorded.samefile(data):
        return None
    pid = int(lines[PID_LINE])
    return pid if _was_started_on(pid, recorded) else None


def says_ready(data: Path) -> bool:
    lines = _pid_file(data)
    return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"


def end(data: Path) -> bool:
    """Stop the server, its open transactions rolled back. False when none was running."""
    pid = living(data)
    if pid is None:
        return False
    for request in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's "fast" and "immediate" shutdown
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, request)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            if not _is_running(pid):
                return True
            time.sleep(POLL_S)
    raise EmbeddedPostgresError(f"The PostgreSQL server {pid} of {data} does not end.")


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_running(pid: int) -> bool:
    return bool(_command_line(pid))


def _was_started_on(pid: int, data: Path) -> bool:
    command = _command_line(pid)
    return f"-D\0{data}\0" in command or f"-D {data}" in command


def _command_line(pid: int) -> str:
    """Empty for a process that is gone or a zombie. Readable for processes of other accounts, too."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
