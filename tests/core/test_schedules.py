"""The tick: django-q2's schedules follow the registry, and a lost, late or doubled tick does no harm."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from core.clock import BRASILIA
from core.jobs import registry, runner, schedules, tasks
from core.jobs.models import JobExecution, JobSlot
from core.jobs.status import job_states
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


def test_a_daily_run_whose_tick_is_ahead_of_the_databases_clock_is_the_run_of_that_day(monkeypatch: Any) -> None:
    register(lambda now: {"processados": 0}, cron="0 10 * * *", sla=25 * HOUR)
    tick(monkeypatch, NOW - timedelta(milliseconds=200))
    assert only_row().started_at == NOW
    (state,) = (each for each in job_states(NOW + 20 * HOUR) if each.name == "tarefa")
    assert (state.is_stale, state.is_late, state.began_late) == (False, False, False)


def test_a_tick_of_a_clock_that_is_wrong_by_hours_does_not_date_the_run(monkeypatch: Any) -> None:
    register(lambda now: {"processados": 0}, cron="0 10 * * *", sla=25 * HOUR)
    tick(monkeypatch, NOW - 3 * HOUR)
    assert only_row().started_at == NOW - 3 * HOUR


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


# --- outages, restarts, two schedulers


def play_ticks() -> None:
    """Run what django-q2 has queued, as its workers would."""
    for waiting in OrmQ.objects.order_by("id"):
        task = waiting.task
        waiting.delete()
        if task["func"] == schedules.FUNCTION:
            tasks.run_scheduled(*task["args"], **task["kwargs"])


def missed_for(hours: float, *names: str) -> None:
    """The schedules as an outage leaves them: their next run is in the past, and they are ours to tick."""
    schedules.synchronise(datetime.now(UTC) - timedelta(hours=hours))
    Schedule.objects.exclude(name__in=names).delete()
    Schedule.objects.update(next_run=datetime.now(UTC) - timedelta(hours=hours), cluster=Conf.CLUSTER_NAME)


def daily_at(ago: timedelta) -> str:
    """A cron of once a day whose newest planned instant was `ago`, to the minute."""
    planned = (datetime.now(UTC) - ago).astimezone(BRASILIA)
    return f"{planned.minute} {planned.hour} * * *"


@pytest.mark.django_db(transaction=True)
def test_after_an_outage_of_hours_a_minutes_job_runs_once_and_its_row_says_since_when(
    contar: registry.Job, calls: list[Any]
) -> None:
    missed_for(5, "contar")
    scheduler()
    scheduler()
    play_ticks()
    assert len(calls) == 1
    atraso = only_row().resultado["atraso"]
    assert atraso["perdida"] == "roda_uma_vez"
    assert datetime.now(UTC) - datetime.fromisoformat(atraso["desde"]) > timedelta(hours=4, minutes=59)
    assert atraso["segundos"] < 120


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("perdida", "late", "status"),
    [
        ("roda_uma_vez", timedelta(minutes=90), "success"),
        ("roda_uma_vez", timedelta(minutes=130), "skipped"),
        ("pula", timedelta(minutes=10), "skipped"),
        ("pula", timedelta(seconds=59), "success"),
    ],
)
def test_a_missed_daily_job_follows_its_policy_once_and_the_row_says_which(
    own_registry: None, perdida: str, late: timedelta, status: str
) -> None:
    register(lambda now: {"processados": 0}, "diario", cron=daily_at(late), perdida=perdida)
    missed_for(24, "diario")
    scheduler()
    play_ticks()
    scheduler()
    play_ticks()
    row = only_row()
    assert (row.status, row.resultado["atraso"]["perdida"]) == (status, perdida)


@pytest.mark.django_db(transaction=True)
def test_ticks_that_piled_up_while_no_process_was_free_run_the_job_once(contar: registry.Job, calls: list[Any]) -> None:
    now = datetime.now(UTC)
    for minutes in range(60, 0, -1):
        tasks.run_scheduled("contar", intended=(now - timedelta(minutes=minutes)).isoformat())
    assert len(calls) <= 2  # two, when the minute changed meanwhile
    assert JobExecution.objects.count() == len(calls)


@pytest.mark.django_db(transaction=True)
def test_two_schedulers_at_once_make_one_run_of_a_due_schedule(contar: registry.Job, calls: list[Any]) -> None:
    missed_for(0.05, "contar")
    ready = Barrier(2)

    def other_process(_number: int) -> None:
        try:
            ready.wait(10)
            scheduler()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(other_process, range(2)))
    play_ticks()
    assert len(calls) == 1


def test_a_restart_within_the_minute_does_not_run_the_minute_again(
    contar: registry.Job, calls: list[Any], monkeypatch: Any
) -> None:
    tick(monkeypatch, NOW + timedelta(seconds=5), "contar")
    Schedule.objects.all().delete()  # as a fresh database of schedules would be
    schedules.synchronise(NOW + timedelta(seconds=20))
    tick(monkeypatch, NOW + timedelta(seconds=40), "contar")
    assert len(calls) == 1


@pytest.mark.django_db(transaction=True)
def test_a_long_run_keeps_no_other_job_from_its_minutes(
    contar: registry.Job, calls: list[Any], monkeypatch: Any
) -> None:
    began, may_end = Event(), Event()

    def longo(now: datetime) -> dict[str, int]:
        began.set()
        may_end.wait(30)
        return {"processados": 0}

    register(longo, "longo", longest=timedelta(seconds=270))

    def another_process() -> None:
        try:
            runner.run("longo", now=NOW, slot="longo")
        finally:
            connection.close()

    thread = Thread(target=another_process)
    thread.start()
    assert began.wait(30)
    for minute in range(3):
        tick(monkeypatch, NOW + timedelta(minutes=minute), "contar", intended=NOW + timedelta(minutes=minute))
    assert runner.run("longo", now=NOW, slot="longo, um minuto depois").resultado["reason"] == "em_execucao"
    may_end.set()
    thread.join(30)
    assert len(calls) == 3
    assert JobExecution.objects.filter(job_name="longo", status="success").count() == 1
