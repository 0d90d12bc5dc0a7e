"""Ends what the supervisor cannot end any more: a small process that watches it die.

The supervisor holds the other end of its standard input and names each group there: `+<session>` when it starts,
`-<session>` when it is gone, `fim` when all is in order. An end of file without `fim` means that the supervisor was
killed: the groups get SIGTERM, and after 25 s SIGKILL. With `--banco` the private PostgreSQL stops, too, unless
somebody else uses it.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from julia.supervisor import groups
from julia.supervisor.policy import Policy

PROJECT = Path(__file__).resolve().parents[2]
POLL_S = 0.1
FAREWELL_S = 5.0


class Guardian:
    """The supervisor's side. A guardian that dies is replaced at the next word to it."""

    def __init__(self, *, with_database: bool, keep_open: Iterable[int] = ()) -> None:
        self._argv = [sys.executable, "-m", "julia.supervisor.guardian", *(["--banco"] if with_database else [])]
        self._keep_open = tuple(keep_open)
        self._guarded: set[int] = set()
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        return self._process.pid

    def watch(self, session: int) -> None:
        self._guarded.add(session)
        self._say(f"+{session}")

    def forget(self, session: int) -> None:
        self._guarded.discard(session)
        self._say(f"-{session}")

    def check(self) -> None:
        """Replace it when it died."""
        if self._process.poll() is not None:
            self._process = self._spawn()
            for session in self._guarded:
                self._write(f"+{session}")

    def dismiss(self) -> None:
        """Everything has ended in order."""
        self._say("fim")
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _spawn(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=self._keep_open,
            cwd=PROJECT,
        )

    def _say(self, word: str) -> None:
        self.check()
        self._write(word)

    def _write(self, word: str) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it died this instant: `check` tells the next one everything


def main(arguments: Sequence[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it outlives the supervisor, whatever ends both
    guarded: set[int] = set()
    for line in sys.stdin:
        word = line.strip()
        if word == "fim":
            return 0
        if word.startswith("+"):
            guarded.add(int(word[1:]))
        else:
            guarded.discard(int(word[1:]))
    end_all(guarded, within_s=Policy().stop_within_s)
    if "--banco" in arguments:
        stop_unused_database()
    return 0


def end_all(sessions: Iterable[int], *, within_s: float) -> None:
    left = set(sessions)
    kill_at = time.monotonic() + within_s
    for session in left:
        groups.send_to_leader(session, signal.SIGTERM)
    while left := {session for session in left if groups.members(session)}:
        late = time.monotonic() >= kill_at
        for session in left:
            if late:
                groups.send(session, signal.SIGKILL)
            elif not groups.is_alive(session):
                groups.send(session, signal.SIGTERM)
        time.sleep(POLL_S)


def stop_unused_database() -> None:
    """Attach as one more user and leave: the last one out stops the server."""
    from julia.embedded import cluster  # psycopg takes a while to import, and is seldom needed

    server = cluster()
    if server.is_running() and (use := server.use()):
        use.release()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
