"""Which processes make up each role, and how they are started."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

from django.conf import settings

from core.health.progress import CANARY, GUARD, HEALTH, LOOK
from core.jobs.registry import Cluster
from julia.supervisor.child import DEFAULT_POLICY, PROJECT, Program, always
from julia.supervisor.policy import Policy
from julia.supervisor.preflight import CannotStart
from julia.supervisor.senses import health_answers

WEB_THREADS = 16
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (gunicorn's heartbeat file: on a disk it can hang with the disk)


class Papel(StrEnum):
    TUDO = "tudo"
    API = "api"
    SCHEDULER = "scheduler"
    WORKER = "worker"

    def includes(self, other: "Papel") -> bool:
        return self in (Papel.TUDO, other)


def parse_papel(text: str) -> Papel:
    """Raises CannotStart, with the values there are."""
    listed = ", ".join(Papel)
    if not text:
        raise CannotStart(f"Falta o papel deste processo: --papel ou a variável RUN_MODE, com um destes: {listed}.")
    if text not in list(Papel):
        raise CannotStart(f"O papel {text!r} não existe. Use um destes em --papel ou RUN_MODE: {listed}.")
    return Papel(text)


def programs(
    papel: Papel,
    *,
    host: str,
    port: int,
    reachable_host: str = "",
    policy: Policy = DEFAULT_POLICY,
    schedules_ready: Callable[[], bool] = always,
    may_send: Callable[[], bool] = always,
    quiet_api: bool = False,
) -> list[Program]:
    """`may_send` holds back whoever could send; `schedules_ready` the clusters.

    `reachable_host`: where the api is asked for its health. `quiet_api`: without a line per request, unless LOG_LEVEL
    asks for them.
    """
    found = []
    if papel.includes(Papel.API):
        env = {"LOG_LEVEL": "WARNING"} if quiet_api and "LOG_LEVEL" not in os.environ else {}
        found.append(
            Program(
                "api",
                Papel.API,
                _gunicorn(papel, host, port),
                env=env,
                policy=policy,
                points=(HEALTH,),
                probe=partial(health_answers, reachable_host or host, port),
            )
        )
    if papel.includes(Papel.SCHEDULER):
        found += [
            Program(
                cluster.value,
                Papel.SCHEDULER,
                manage("qcluster"),
                env={"Q_CLUSTER_NAME": cluster.value},
                policy=policy,
                may_start=lambda: schedules_ready() and may_send(),
                points=(CANARY, GUARD),
                workers=settings.Q_CLUSTER["workers"],
            )
            for cluster in Cluster
        ]
    if papel.includes(Papel.WORKER):
        found.append(
            Program(
                "worker",
                Papel.WORKER,
                manage("fila_worker"),
                policy=policy,
                may_start=may_send,
                points=(LOOK,),
            )
        )
    return found


def manage(command: str, *words: str) -> tuple[str, ...]:
    """The system checks have run in the supervisor: each child saves a second."""
    return (sys.executable, str(PROJECT / "manage.py"), command, "--skip-checks", *words)


def _gunicorn(papel: Papel, host: str, port: int) -> tuple[str, ...]:
    """Access is logged by the application, which masks secrets in paths. WEB_CONCURRENCY is gunicorn's own variable."""
    words = ["--bind", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    words += ["--worker-class", "gthread", "--threads", str(WEB_THREADS), "--graceful-timeout", "20"]
    words += ["--timeout", "60", "--keep-alive", "5", "--log-level", "warning", "--no-control-socket"]
    if "WEB_CONCURRENCY" not in os.environ:
        words += ["--workers", "1" if papel is Papel.TUDO else "2"]
    if SHARED_MEMORY.is_dir():
        words += ["--worker-tmp-dir", str(SHARED_MEMORY)]
    return (sys.executable, "-m", "gunicorn", "julia.wsgi:application", *words)
