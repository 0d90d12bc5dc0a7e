"""Our end of the scheduler process: orders out, answers in, without waiting."""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from julia.embedded.places import PROJECT
from julia.exercicio.errors import DrillStuck


class Agendador:
    """Runs the jobs of simulated minutes in a process of its own (julia.exercicio.agenda).

    It is busy until it has started: simulated time waits for it.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.failures: list[str] = []
        self.runs = 0
        self._waiting = 1  # for its first word
        self._buffer = b""
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "julia.exercicio.filho", sys.executable, "-m", "julia.exercicio.agenda"],
                env=dict(environment) | {"LOG_LEVEL": "WARNING"},
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._selector = selectors.DefaultSelector()
        if self.process.stdout is not None:
            self._selector.register(self.process.stdout, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self.process.pid

    def order(self, minute: datetime) -> None:
        """Have the jobs of this minute run. One order at a time."""
        if self.process.stdin is None:
            raise DrillStuck("o processo da agenda não tem entrada")
        self.process.stdin.write(minute.isoformat().encode() + b"\n")
        self.process.stdin.flush()
        self._waiting += 1

    def is_busy(self) -> bool:
        """Whether an order is still being worked on. Raises DrillStuck when the process is gone."""
        while self._waiting and self._selector.select(0):
            if not self._read():
                raise DrillStuck(f"a agenda caiu; suas últimas linhas:\n{self.log.read_text(errors='replace')[-2000:]}")
        return self._waiting > 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> bool:
        """False at the end of its output."""
        if self.process.stdout is None:
            return False
        chunk = os.read(self.process.stdout.fileno(), 65536)
        self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._waiting -= 1
            self._note(json.loads(line))
        return bool(chunk)

    def _note(self, answer: dict[str, Any]) -> None:
        self.runs += len(answer.get("rodaram", []))
        self.failures += [f"{name}: {why}" for name, why in answer.get("falharam", {}).items()]
