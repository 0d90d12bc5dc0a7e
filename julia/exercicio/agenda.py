"""`python -m julia.exercicio.agenda`: the scheduler of simulated time.

django-q2 ticks in real time, which a drill does not have. This process takes planned minutes from its input, one ISO
instant per line, and runs every job that is due then, through the same entry point that a tick has: slots, runs and
errors are recorded as in operation. One JSON line answers each order.
"""

import json
import sys
from datetime import datetime
from typing import Any

import django

django.setup()

from django.db import Error, close_old_connections  # noqa: E402

from core.clock import BRASILIA  # noqa: E402
from core.jobs import registry, tasks  # noqa: E402
from core.jobs.cron import Cron  # noqa: E402


def fires_at(cron: Cron, minute: datetime) -> bool:
    local = minute.astimezone(BRASILIA)
    return local.minute in cron.minutes and local.hour in cron.hours and cron.fires_on(local.date())


def tick(minute: datetime) -> dict[str, Any]:
    """Every job that is due; an error of one is told and does not keep the others from their turn."""
    ran: list[str] = []
    failed: dict[str, str] = {}
    for job in registry.registered():
        if not fires_at(job.cron, minute):
            continue
        close_old_connections()  # as django-q2 does before each task
        try:
            tasks.run_scheduled(job.name, minute.isoformat())
            ran.append(job.name)
        except (tasks.JobFailed, Error) as error:
            failed[job.name] = f"{type(error).__name__}: {error}"[:300]
    return {"minuto": minute.isoformat(), "rodaram": ran, "falharam": failed}


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main() -> None:
    say({"pronta": True})
    for line in sys.stdin:
        say(tick(datetime.fromisoformat(line.strip())))


if __name__ == "__main__":
    main()
