"""Keeps django-q2's schedule rows equal to the registry; q2 is the tick, the registry the truth."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django_q.models import Schedule

from core.database import execute
from core.jobs import registry
from core.jobs.cron import next_fire
from core.jobs.models import FIRST_SEEN

FUNCTION = "core.jobs.tasks.run_scheduled"
_LOCK = 0x4A6F6273_53796E63  # "JobsSync"


@dataclass(frozen=True, slots=True)
class Synchronised:
    created: int
    updated: int
    removed: int


def synchronise(now: datetime) -> Synchronised:
    """Create, correct and remove our schedules in one transaction; schedules of anybody else stay.

    The next run of an unchanged schedule stays too, so that an instant missed while nothing ran is still noticed.
    """
    created = updated = 0
    kept: list[int] = []
    with transaction.atomic():
        execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])  # django-q2 has no unique name: two starts would double it
        ours = Schedule.objects.filter(func=FUNCTION)
        for job in registry.registered():
            row = ours.filter(name=job.name).order_by("id").first()
            if row is None:
                row = Schedule(name=job.name, func=FUNCTION)
                _fill(row, job, now)
                row.save()
                created += 1
            elif _differs(row, job):
                _fill(row, job, now)
                row.save()
                updated += 1
            kept.append(row.pk)
        removed = ours.exclude(pk__in=kept).delete()[0]
        execute(
            """INSERT INTO job_slots (job_name, slot) SELECT name, %s FROM unnest(%s::text[]) AS n(name)
               ON CONFLICT (job_name, slot) DO NOTHING""",
            [FIRST_SEEN, [job.name for job in registry.registered()]],
        )
    return Synchronised(created, updated, removed)


def _wanted(job: registry.Job) -> dict[str, object]:
    return {
        "schedule_type": Schedule.CRON,
        "cron": job.cron.text,
        "cluster": job.cluster.value,
        "args": repr((job.name,)),
        "kwargs": None,
        "intended_date_kwarg": "intended",
        "repeats": -1,
    }


def _differs(row: Schedule, job: registry.Job) -> bool:
    return row.next_run is None or any(getattr(row, name) != value for name, value in _wanted(job).items())


def _fill(row: Schedule, job: registry.Job, now: datetime) -> None:
    for name, value in _wanted(job).items():
        setattr(row, name, value)
    row.next_run = next_fire(job.cron, now)
