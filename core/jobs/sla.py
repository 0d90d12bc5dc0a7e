"""When a job has been silent for too long. Pure: instants come in, planned ones from the job's cron.

A deadline hangs on the planned instant that follows the newest run, so that a job with a window (nights, weekends)
is never late outside it. Three different faults: it began too late, it is overdue, it takes too long.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from core.jobs.cron import Cron, interval, latest_fire, next_fire, on_weekdays_only
from core.jobs.registry import LATE_START, Job

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HALF_HOUR = timedelta(minutes=30)
CLASSES = ((timedelta(minutes=15), "minutos"), (HOUR, "horas"), (DAY, "diário"), (timedelta(days=8), "semanal"))


class Situacao(StrEnum):
    """What a page says of a job; the gravest holds."""

    DEMORANDO = "demorando"
    ATRASADO = "atrasado"
    NUNCA_RODOU = "nunca_rodou"
    COMECOU_TARDE = "comecou_tarde"
    EM_DIA = "em_dia"


def tolerance(job: Job) -> timedelta:
    """How late a planned instant may be: SLA - interval; weekday-only and half-hourly jobs no more than one hour."""
    every = interval(job.cron)
    spare = job.sla - every
    return min(spare, HOUR) if every == HALF_HOUR or on_weekdays_only(job.cron) else spare


def deadline(job: Job, last_run: datetime | None, first_seen: datetime) -> datetime:
    """From when on the job is stale. `last_run` is the start of its newest run, `first_seen` when it was first planned.

    A job that never ran has one SLA from `first_seen` on, and its first planned instant with the tolerance in any case.
    """
    if last_run is None:
        return max(first_seen + job.sla, next_fire(job.cron, first_seen) + tolerance(job))
    return next_fire(job.cron, last_run) + tolerance(job)


def alert_deadline(job: Job, last_run: datetime | None, first_seen: datetime) -> datetime:
    """From when on a person is told: silent for min(2 x interval, SLA), and never before the job was due again."""
    last = deadline(job, last_run, first_seen)
    if last_run is None:
        return last
    every = interval(job.cron)
    due = next_fire(job.cron, last_run) + min(every, tolerance(job))
    return min(last, max(due, last_run + min(2 * every, job.sla)))


def start_delay(job: Job, started_at: datetime) -> timedelta:
    """How long after its planned instant a scheduled run began; a run is always for the newest instant passed."""
    return started_at - latest_fire(job.cron, started_at)


def began_late(job: Job, started_at: datetime) -> bool:
    return start_delay(job, started_at) > LATE_START


def is_too_long(job: Job, running_since: datetime | None, now: datetime) -> bool:
    """A run in progress for longer than the job declares that it may take."""
    return running_since is not None and now - running_since > job.longest


def is_overdue(
    job: Job, last_run: datetime | None, running_since: datetime | None, first_seen: datetime, now: datetime
) -> bool:
    """Nothing has begun since min(2 x interval, SLA). A run in progress has begun, however long it takes."""
    newest = max((each for each in (last_run, running_since) if each is not None), default=None)
    return now > alert_deadline(job, newest, first_seen)


def class_name(cron: Cron) -> str:
    """The group of the job for people: "minutos", "horas", "diário", "semanal"."""
    every = interval(cron)
    return next((name for longest, name in CLASSES if every <= longest), "mais raro")
