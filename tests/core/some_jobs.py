"""Small jobs for the tests of registry, runner, schedules and API."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from core.jobs import registry
from core.jobs.cron import interval, parse
from core.jobs.models import JobExecution

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)  # a Tuesday, 10:00 in Brasília
SLOT = "2026-03-03T13:00+00:00"
HOUR = timedelta(hours=1)


def register(
    function: Callable[..., Any], name: str = "tarefa", cron: str = "* * * * *", **options: Any
) -> registry.Job:
    sla = options.pop("sla", interval(parse(cron)) + HOUR)
    registry.job(name, cron=cron, sla=sla, **options)(function)
    return registry.find(name)


def only_row() -> JobExecution:
    return JobExecution.objects.get()
