"""The real processes of a drill: started as in operation, killed as in an accident, gone when the drill is."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from julia.embedded.places import PROJECT
from julia.exercicio.errors import DrillStuck
from julia.supervisor import groups

START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
POLL_S = 0.02
TAIL = 3000
#: Nothing of the operation's own outside world may reach a drill: broker, cache, error reports, alerts, identity.
OUTSIDE = ("REDIS_URL", "SENTRY_DSN", "SLACK_WEBHOOK_URL", "SUPABASE_PROJECT_REF", "OUTBOUND_ALLOWLIST")
_REMOVED = ("HOST", "PORT", "WEB_CONCURRENCY", "LOG_LEVEL", "LOG_FORMAT")


def environment(database_url: str, **values: str) -> dict[str, str]:
    """This process's, on the scratch database and cut off from the operation. `.env` fills in nothing that is here."""
    kept = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    emptied = dict.fromkeys((*OUTSIDE, "RUN_MODE", "HEALTH_TOKEN"), "") | {"JULIA_DEMO": "false"}
    ours = {
        "DATABASE_URL": database_url,
        "APP_ENV": os.environ.get("APP_ENV") or "dev",
        "DJANGO_SETTINGS_MODULE": "julia.settings",
        "PYTHONUNBUFFERED": "1",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "console",
        "LOG_FILE": "",
        "JOBS_TOKEN": secrets.token_urlsafe(16),
    }
    return kept | emptied | ours | values


@dataclass(slots=True)
class Processo:
    """One child and its log. `morto` says that the drill killed it: its end is no accident."""

    nome: str
    process: "subprocess.Popen[bytes]"
    log: Path
    morto: bool = False
    iniciado: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def vivo(self) -> bool:
        return self.process.poll() is None

    @property
    def disse(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to it and whatever it started, and wait until it is gone."""
        self.morto = True
        groups.send(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(STOP_WITHIN_S)

    def terminate(self) -> float:
        """SIGTERM to the leader; seconds until it had ended in order. Whoever is left is killed."""
        self.morto = True
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
        took = time.monotonic() - began
        groups.send(self.pid, signal.SIGKILL)
        return took


class Processos:
    """Starts children in the drill's environment; `close` ends all of them."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.todos: list[Processo] = []

    def start(self, nome: str, argv: Sequence[str], **env: str) -> Processo:
        """Without waiting for anything. Each child leads a session of its own."""
        number = sum(each.nome.partition("#")[0] == nome for each in self.todos) + 1
        log = self.logs / f"{nome}-{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "julia.exercicio.filho", *argv],
                env=self.environment | env,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Processo(f"{nome}#{number}", process, log)
        self.todos.append(started)
        return started

    def start_all(self, nome: str, argv: Sequence[str], count: int) -> list[Processo]:
        return [self.start(nome, argv) for _ in range(count)]

    @property
    def vivos(self) -> list[Processo]:
        return [each for each in self.todos if each.vivo]

    def fallen(self) -> list[Processo]:
        """Ended without having been asked to."""
        return [each for each in self.todos if not each.vivo and not each.morto]

    def close(self) -> None:
        for each in self.vivos:
            with contextlib.suppress(ProcessLookupError):
                each.process.terminate()
            each.morto = True
        deadline = time.monotonic() + 2.0
        while self.vivos and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for each in self.todos:
            each.kill()


def manage(command: str, *words: str) -> list[str]:
    return [sys.executable, str(PROJECT / "manage.py"), command, "--skip-checks", *words]


def wait_for_text(processo: Processo, text: str, *, within_s: float = START_WITHIN_S) -> None:
    """Until its log has `text`. Raises DrillStuck with the end of its log."""
    deadline = time.monotonic() + within_s
    while text not in processo.disse:
        if not processo.vivo or time.monotonic() > deadline:
            raise DrillStuck(f"{processo.nome} não começou; suas últimas linhas:\n{processo.disse[-TAIL:]}")
        time.sleep(POLL_S)


def wait_for_http(processo: Processo, url: str, *, within_s: float = START_WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, timeout=2.0).status_code == 200:
                return
        if not processo.vivo or time.monotonic() > deadline:
            raise DrillStuck(f"{processo.nome} não respondeu; suas últimas linhas:\n{processo.disse[-TAIL:]}")
        time.sleep(POLL_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
