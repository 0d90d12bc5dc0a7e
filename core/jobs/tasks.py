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
    slot, atraso = job.slot_of(planned), _atraso(job, intended, planned, now)
    with correlation.use(correlation.peek() or None):
        if now - planned > job.latest_start:
            result = runner.skip_late(name, now=now, slot=slot, atraso=atraso)
        else:
            result = runner.run(name, now=now, slot=slot, atraso=atraso, started_at=_started_at(planned, now))
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


def _started_at(planned: datetime, now: datetime) -> datetime:
    """Not before the planned instant that it is for: the tick's clock may be a little ahead of the database's, and by
    this time the SLA tells which planned instant comes next.
    """
    return planned if now < planned <= now + registry.LATE_START else now


def _atraso(job: registry.Job, intended: str | None, planned: datetime, now: datetime) -> dict[str, Any]:
    """What the row of the run says of missed instants: nothing when it is on time and no older one was passed over."""
    first = min(planned, datetime.fromisoformat(intended)) if intended else planned
    if first == planned and now - planned <= registry.LATE_START:
        return {}
    return {"perdida": job.perdida.value, "desde": first.isoformat(), "segundos": int((now - planned).total_seconds())}
