"""Real processes that consult, probe and report to one circuit, and die by SIGKILL while they hold its permit.

Run as `python -m tests.core.circuit_racers`; one JSON order per line. Each caller is forked from a process that has
Django loaded and opens a connection of its own; what it did is in the table `ensaio_chamadas`.
"""

import json
import os
import random
import signal
import sys
import time
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.db import connections, transaction  # noqa: E402

from core.circuits import services  # noqa: E402
from core.circuits.services import Call, CallResult, Gate  # noqa: E402
from core.database import execute, rows  # noqa: E402

NAME = "evolution"
SICK_FROM, PERIOD = 120, 150
LONGEST_S = 120


def begin(*, owner: str, permit: timedelta) -> dict[str, Any] | None:
    """One call's way through the gate, in one transaction; None when it is not let through."""
    with transaction.atomic():
        gate = services.snapshot().gate(NAME)
        token = None
        if gate is Gate.PROBE:
            token = services.acquire([NAME], owner=owner, permit=permit).get(NAME)
        passes = token is not None if gate is Gate.PROBE else gate is Gate.PASS and NAME in services.confirm([NAME])
        if not passes:
            return None
        (row,) = rows(
            """INSERT INTO ensaio_chamadas (processo, sonda, iniciada, permissao_ate)
               SELECT %s, %s, agora(), permit_until FROM circuits WHERE name = %s
               RETURNING id, iniciada, (SELECT count(*) FROM ensaio_chamadas WHERE sonda IS NOT NULL) AS sondas""",
            [os.getpid(), token, NAME],
        )
        return row | {"token": token}


def end(made: dict[str, Any], *, sick: bool) -> None:
    with transaction.atomic():
        execute("UPDATE ensaio_chamadas SET terminada = agora() WHERE id = %s", [made["id"]])
        services.record(
            [
                Call(
                    NAME,
                    CallResult.FAILURE if sick else CallResult.SUCCESS,
                    str(os.getpid() % 4),
                    "servidor",
                    started_at=made["iniciada"],
                    probe=made["token"] is not None,
                    token=made["token"],
                )
            ]
        )


def going_on(order: dict[str, Any], since: float) -> bool:
    made = rows("SELECT coalesce(max(id), 0) AS n FROM ensaio_chamadas")[0]["n"]
    return bool(made < order["calls"]) and time.monotonic() - since < LONGEST_S


def race(order: dict[str, Any], rng: random.Random, since: float) -> None:
    """Calls until there were `calls`. Of 150 ordinary ones the last 30 fail; of six probes three die, two fail."""
    while going_on(order, since):
        made = begin(owner=f"racer:{os.getpid()}", permit=timedelta(seconds=order["permit_s"]))
        if made is None:
            time.sleep(0.005)
            continue
        time.sleep(rng.uniform(0, 0.02))
        if made["token"] is None:
            end(made, sick=made["id"] % PERIOD >= SICK_FROM)
            continue
        if made["sondas"] % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        end(made, sick=made["sondas"] % 3 == 0)


def once(order: dict[str, Any], _rng: random.Random, _since: float) -> None:
    """One way through the gate; `dies`: right before or right after its commit."""
    permit = timedelta(seconds=order["permit_s"])
    if order.get("dies") == "before_commit":
        with transaction.atomic():
            begin(owner="dies", permit=permit)
            os.kill(os.getpid(), signal.SIGKILL)
    begin(owner=f"racer:{os.getpid()}", permit=permit)
    if order.get("dies") == "after_commit":
        os.kill(os.getpid(), signal.SIGKILL)


def fork(order: dict[str, Any], number: int, since: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        {"race": race, "once": once}[order["do"]](order, random.Random(order["seed"] * 1000 + number), since)
    finally:
        os._exit(0)


def run(order: dict[str, Any]) -> dict[str, int]:
    """As many callers at a time as ordered; in a race the dead are replaced."""
    since, number, killed = time.monotonic(), 0, 0
    living = set()
    while number < order["processes"]:
        living.add(fork(order, number, since))
        number += 1
    while living:
        pid, status = os.wait()
        living.discard(pid)
        if os.WIFSIGNALED(status):
            killed += 1
            if order["do"] == "race":
                living.add(fork(order, number, since))
                number += 1
    return {"killed": killed}


def main() -> None:
    connections.close_all()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
