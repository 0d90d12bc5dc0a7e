"""Orders to the kill harness from a test."""

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from chips.simulator.client import SimulatorProcess


def environment_for(simulator: SimulatorProcess) -> dict[str, str]:
    """What a process of ours needs to work on this test's database and simulator."""
    values = connection.settings_dict
    host = quote(str(values.get("HOST") or values["OPTIONS"].get("host", "")), safe="/")
    port = values.get("PORT") or values["OPTIONS"].get("port", "")
    url = f"postgresql://{values['USER']}:{values['PASSWORD']}@/{values['NAME']}?host={host}"
    return os.environ | {
        "DATABASE_URL": f"{url}&port={port}" if port else url,
        "APP_ENV": "test",
        "EVOLUTION_API_URL": simulator.evolution_url,
        "ZAPI_BASE_URL": simulator.zapi_url,
        "EVOLUTION_API_KEY": simulator.apikey,
        "SIMULADOR_NONCE": simulator.nonce,
        "DJANGO_SETTINGS_MODULE": "julia.settings",
        "LOG_LEVEL": "CRITICAL",
    }


class KillHarness:
    """The forking process, with the test database and the simulator in its environment."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fila.kill_harness"],
            cwd=settings.BASE_DIR,
            env=environment_for(simulator),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._answer() == {"ready": True}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def worker(self, **order: Any) -> bool:
        """Fork a worker and wait for its end; whether SIGKILL ended it."""
        self.order(**order)
        return self.result()

    def order(self, **order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"lease_s": 1, "senders": 32, "seed": 1} | order) + "\n")
        self._process.stdin.flush()

    def result(self) -> bool:
        return bool(self._answer()["killed"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the kill harness died"
        answer: dict[str, Any] = json.loads(line)
        return answer
