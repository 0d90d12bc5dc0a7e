"""Real `servir` processes on the test database, and what the operating system says of them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from django.db import connection

from julia.embedded.places import PROJECT

DEADLINE_S = 60.0
POLL_S = 0.05


def wait_until(
    reached: Callable[[], object], *, within_s: float = DEADLINE_S, otherwise: Callable[[], str] = str
) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline, f"not within {within_s} s\n{otherwise()}"
        time.sleep(POLL_S)


def children_of(pid: int) -> dict[int, str]:
    """Direct living children and their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found[int(process.name)] = command
    return found


def tree_of(pid: int) -> set[int]:
    below = set(children_of(pid))
    return {pid} | below | {each for child in below for each in tree_of(child)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Servir:
    """One `manage.py servir`; its output in a file."""

    program: ClassVar[tuple[str, ...]] = ("manage.py", "servir")

    def __init__(self, log: Path, *words: str, **environment: str) -> None:
        self.log = log
        self._output = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, *self.program, *words],
            cwd=PROJECT,
            env=environment_of_test(**environment),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, *, times: int = 1, within_s: float = DEADLINE_S) -> None:
        wait_until(
            lambda: self.said.count(text) >= times or self.ended(), within_s=within_s, otherwise=lambda: self.said
        )
        assert self.said.count(text) >= times, self.said

    def ended(self) -> bool:
        return self.process.poll() is not None

    def child(self, word: str) -> int:
        """The pid of the one child whose command line has `word`."""
        (pid,) = (pid for pid, command in children_of(self.pid).items() if word in command)
        return pid

    def terminate(self) -> int:
        """Its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if not self.ended():
            tree = tree_of(self.pid)
            self.process.kill()
            self.process.wait()
            for pid in tree:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
        self._output.close()


class Supervised(Servir):
    """The same supervisor with the patience of a test: `Supervised(log, papel, seconds)`."""

    program = ("-m", "tests.julia.supervised")

    def started(self, name: str) -> list[int]:
        """The pids that this child has had, oldest first."""
        return [int(pid) for pid in re.findall(rf"processo iniciado .*nome={name} pid=(\d+)", self.said)]

    def count(self, event: str, name: str) -> int:
        return len(re.findall(rf"{event}.* nome={name}\b", self.said))

    def reasons(self, name: str) -> list[str]:
        """Why it was found stuck, each time."""
        return re.findall(rf"processo travado.* motivo='([^']*)' nome={name}\b", self.said)

    def wait_until_flowing(self, name: str, *, times: int = 1) -> None:
        wait_until(lambda: self.count("processo andando", name) >= times, otherwise=lambda: self.said)

    def wait_until_stuck(self, name: str, *, times: int = 1) -> None:
        wait_until(lambda: self.count("processo travado", name) >= times, otherwise=lambda: self.said)


def environment_of_test(**values: str) -> dict[str, str]:
    """This process's, on the test database, without whatever would change the role or the port."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RUN_MODE", "HOST", "PORT", "LOG_LEVEL")}
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return {**kept, "APP_ENV": "test", "DATABASE_URL": urlunsplit(url), **values}
