"""What django-q2 calls. A tick is only a hint that a planned instant has passed: which one, is decided here."""

from datetime import datetime
from typing import Any

from core import clock, correlation
from core.jobs import registry, runner
from core.jobs.cron import latest_fire
from core.logging import get_logger

log = get_logger("core.jobs")


class JobFailed(Exception):
    """The run failed and is recorded; raised so that django-q2's own list shows a failure too."""


def run_scheduled(name: str, intended: str | None = None) -> dict[str, Any]:
    """Run the job for its newest planned instant. `intended` is the tick's own, ISO 8601.

    Raises JobFailed. A tick of a job that no longer exists is ignored.
    """
    now = clock.database_now()
    try:
        job = registry.find(name)
    except registry.UnknownJob:
        log.warning("tick de um job que não existe", job=name)
        return {"status": "ignored", "reason": "unknown_job"}
    planned = planned_instant(job, intended, now)
    slot = job.slot_of(planned)
    with correlation.use():
        if now - planned > job.catch_up:
            result = runner.skip_late(name, now=now, slot=slot)
        else:
            result = runner.run(name, now=now, slot=slot)
    if not result.ok:
        raise JobFailed(f"{name}: {result.error}")
    return result.body


def planned_instant(job: registry.Job, intended: str | None, now: datetime) -> datetime:
    """The newest planned instant that has passed.

    After an outage a tick still names the first instant that was missed: running that one would pass over all later
    ones. A tick from a clock ahead of ours is believed.
    """
    newest = latest_fire(job.cron, now)
    return max(newest, datetime.fromisoformat(intended)) if intended else newest
