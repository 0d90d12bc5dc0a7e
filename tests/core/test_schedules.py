"""The tick: django-q2's schedules follow the registry, and a lost, late or doubled tick does no harm."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from core.jobs import registry, schedules, tasks
from core.jobs.models import JobExecution, JobSlot
from tests.core.some_jobs import HOUR, NOW, SLOT, only_row, register

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_registry")]


# --- the tick


def tick(monkeypatch: pytest.MonkeyPatch, now: datetime, name: str = "tarefa", intended: datetime = NOW) -> Any:
    monkeypatch.setattr("core.clock.database_now", lambda: now)
    return tasks.run_scheduled(name, intended=intended.isoformat())


def test_a_doubled_tick_runs_the_job_once(contar: registry.Job, calls: list[Any], monkeypatch: Any) -> None:
    tick(monkeypatch, NOW + timedelta(seconds=1), "contar")
    assert tick(monkeypatch, NOW + timedelta(seconds=40), "contar")["reason"] == "slot_ja_executado"
    assert len(calls) == 1
    assert JobSlot.objects.get().slot == SLOT


def test_after_an_outage_the_newest_missed_instant_counts_and_not_the_first(monkeypatch: Any) -> None:
    job = register(lambda now: {"processados": 0}, cron="0 10 * * *")
    yesterday, now = NOW - timedelta(days=1), NOW + timedelta(minutes=30)
    assert tasks.planned_instant(job, yesterday.isoformat(), now) == NOW
    tick(monkeypatch, now, intended=yesterday)
    assert JobSlot.objects.get().slot == "2026-03-03"
    assert only_row().status == "success"


def test_a_daily_job_missed_by_more_than_two_hours_waits_for_tomorrow(monkeypatch: Any) -> None:
    register(lambda now: {"processados": 0}, cron="0 10 * * *")
    late = NOW + timedelta(hours=2, minutes=1)
    assert tick(monkeypatch, late)["reason"] == "atrasado"
    tick(monkeypatch, late)
    assert (only_row().status, only_row().slot) == ("skipped", "2026-03-03")


def test_a_tick_from_a_clock_ahead_of_ours_is_believed(contar: registry.Job) -> None:
    assert tasks.planned_instant(contar, NOW.isoformat(), NOW - timedelta(milliseconds=200)) == NOW


def test_a_failed_run_fails_in_the_cluster_too(monkeypatch: Any) -> None:
    register(lambda now: {"status": "error", "message": "sem chips", "processados": 0})
    with pytest.raises(tasks.JobFailed, match="sem chips"):
        tick(monkeypatch, NOW)


def test_a_tick_of_a_job_that_is_gone_is_ignored(monkeypatch: Any) -> None:
    assert tick(monkeypatch, NOW, "apagado") == {"status": "ignored", "reason": "unknown_job"}
    assert not JobExecution.objects.exists()


# --- django-q2's schedules


def test_the_schedules_are_those_of_the_registry() -> None:
    schedules.synchronise(NOW)
    rows = {row.name: row for row in Schedule.objects.filter(func=schedules.FUNCTION)}
    assert set(rows) == {job.name for job in registry.registered()}
    for job in registry.registered():
        row = rows[job.name]
        assert (row.schedule_type, row.cron, row.cluster) == (Schedule.CRON, job.cron.text, job.cluster)
        assert row.next_run > NOW


def test_synchronising_again_changes_nothing() -> None:
    schedules.synchronise(NOW)
    assert schedules.synchronise(NOW + HOUR) == schedules.Synchronised(0, 0, 0)


def test_an_unchanged_schedule_keeps_the_instant_it_missed() -> None:
    schedules.synchronise(NOW)
    before = Schedule.objects.get(name="heartbeat").next_run
    schedules.synchronise(NOW + timedelta(days=1))
    assert Schedule.objects.get(name="heartbeat").next_run == before


def test_a_changed_cron_is_planned_anew(contar: registry.Job) -> None:
    schedules.synchronise(NOW)
    Schedule.objects.filter(name="contar").update(cron="0 9 * * *", repeats=0)
    assert schedules.synchronise(NOW).updated == 1
    row = Schedule.objects.get(name="contar")
    assert (row.cron, row.repeats, row.next_run) == ("* * * * *", -1, NOW + timedelta(minutes=1))


def test_schedules_of_ours_that_no_job_has_go_and_those_of_others_stay(contar: registry.Job) -> None:
    schedules.synchronise(NOW)
    del registry._jobs["contar"]
    Schedule.objects.create(name="heartbeat", func=schedules.FUNCTION, args="('heartbeat',)")  # a doubled one
    other = Schedule.objects.create(name="contar", func="django.core.management.call_command")
    assert schedules.synchronise(NOW).removed == 2
    assert Schedule.objects.filter(pk=other.pk).exists()
    assert Schedule.objects.filter(name="heartbeat").count() == 1


@pytest.mark.django_db(transaction=True)
def test_django_q2_turns_a_due_schedule_into_a_call_with_the_planned_instant(
    contar: registry.Job, calls: list[Any], monkeypatch: Any
) -> None:
    schedules.synchronise(NOW)
    Schedule.objects.exclude(name="contar").delete()
    planned = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
    Schedule.objects.update(next_run=planned, cluster=Conf.CLUSTER_NAME)
    scheduler()
    task = OrmQ.objects.get().task
    assert (task["func"], task["args"]) == (schedules.FUNCTION, ("contar",))
    assert datetime.fromisoformat(task["kwargs"]["intended"]) == planned
    monkeypatch.setattr("core.clock.now", lambda: planned + timedelta(seconds=1))
    tasks.run_scheduled(*task["args"], **task["kwargs"])
    assert len(calls) == 1
    assert Schedule.objects.get().next_run > planned


def test_the_schedules_can_be_synchronised_by_command() -> None:
    out = StringIO()
    call_command("sincronizar_agenda", stdout=out)
    assert Schedule.objects.filter(func=schedules.FUNCTION, name="heartbeat").exists()
    assert "criados" in out.getvalue()
