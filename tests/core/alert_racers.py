"""Real processes that evaluate the same facts, and die by SIGKILL at any instant of it.

Run as `python -m tests.core.alert_racers`; one JSON order per line. Each evaluator is forked from a process that has
Django loaded and opens a connection of its own. The facts are the rows of `ensaio_fatos`.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import django

django.setup()

from django.db import Error, connection, connections  # noqa: E402

from core import clock  # noqa: E402
from core.alerts import rules  # noqa: E402
from core.alerts.evaluator import evaluate  # noqa: E402
from core.alerts.models import Severidade  # noqa: E402
from core.alerts.rules import Finding, alert_rule  # noqa: E402
from core.database import rows  # noqa: E402
from tests.core.alerting import MIN  # noqa: E402

KINDS = ("ensaio_a", "ensaio_b", "ensaio_c")


def register() -> None:
    rules._rules.clear()
    for kind in KINDS:

        def found(now: datetime, kind: str = kind) -> Iterator[Finding]:
            for row in rows("SELECT chave FROM ensaio_fatos WHERE tipo = %s", [kind]):
                yield Finding(chave=row["chave"], severidade=Severidade.ERROR, titulo="Ensaio", mensagem="Ensaio.")

        alert_rule(kind, significa="", proximo="", link="", solta=0 * MIN)(found)


def race() -> None:
    connections.close_all()
    while True:
        try:
            evaluate(clock.database_now())
        except Error:
            connection.close()


def fork() -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        race()
    finally:
        os._exit(1)


def run(order: dict[str, int]) -> dict[str, int]:
    """`processes` evaluators at a time; one of them is killed and replaced until `kills` were."""
    rng = random.Random(order["seed"])
    living = [fork() for _ in range(order["processes"])]
    for _ in range(order["kills"]):
        time.sleep(rng.uniform(0.005, 0.06))
        victim = living.pop(rng.randrange(len(living)))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        living.append(fork())
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    connections.close_all()
    evaluate(clock.database_now())
    connections.close_all()
    return {"kills": order["kills"] + len(living)}


def main() -> None:
    register()
    connections.close_all()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
