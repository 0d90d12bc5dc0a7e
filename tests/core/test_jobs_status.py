"""What `/health/jobs`, the backoffice and the alert rules read: every job, from its rows, with one reading."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.database import execute
from core.jobs import registry, runner, schedules
from core.jobs.models import FIRST_SEEN, JobExecution, JobSlot
from core.jobs.sla import Situacao
from core.jobs.status import JobState, health_body, job_states, public_error
from tests.core.some_jobs import HOUR, NOW, register

pytestmark = pytest.mark.django_db

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def three_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A critical one, one that is not, and a daily one; all planned for a year."""
    monkeypatch.setattr(registry, "_jobs", {})
    kinds: dict[str, dict[str, Any]] = {
        "vital": {"critical": True, "sla": 3 * MINUTE},
        "comum": {"sla": 3 * MINUTE},
        "diario": {"cron": "0 3 * * *", "sla": 25 * HOUR, "longest": 270 * SECOND},
    }
    for name, options in kinds.items():
        register(lambda now: {"processados": 0}, name, **options)
        JobSlot.objects.create(job_name=name, slot=FIRST_SEEN, taken_at=NOW - 365 * DAY)


def ran(name: str, ago: timedelta, status: str = "success", **fields: Any) -> JobExecution:
    values: dict[str, Any] = {"duration_ms": 100, **fields}
    return JobExecution.objects.create(job_name=name, started_at=NOW - ago, status=status, **values)


def healthy() -> None:
    ran("vital", MINUTE)
    ran("comum", MINUTE)
    ran("diario", 7 * HOUR)


def state(name: str) -> JobState:
    return next(each for each in job_states(NOW) if each.name == name)


def body() -> dict[str, Any]:
    return health_body(NOW)


# --- what counts


def test_every_registered_job_is_there_also_one_that_never_ran() -> None:
    assert [each.name for each in job_states(NOW)] == ["comum", "diario", "vital"]
    never = body()["jobs"]["vital"]
    assert (never["last_run"], never["is_stale"], never["runs_24h"]) == (None, True, 0)


def test_the_numbers_are_those_of_the_last_24_hours() -> None:
    ran("vital", 25 * HOUR, "error", error="antigo")
    ran("vital", 5 * HOUR, "error", error="ValueError: x", items_processed=2, duration_ms=300)
    ran("vital", 4 * HOUR, "timeout", error="Timeout após 300s", duration_ms=None)
    ran("vital", MINUTE, items_processed=5, duration_ms=100)
    found = state("vital")
    assert (found.runs_24h, found.success_24h, found.errors_24h, found.timeouts_24h) == (3, 1, 1, 1)
    assert (found.avg_duration_ms, found.total_items_processed) == (200, 7)
    assert (found.last_run, found.last_status, found.last_error) == (NOW - MINUTE, "success", "Timeout após 300s")
    assert found.seconds_since_last_run == 60
    assert body()["total_executions"] == 3


def test_a_run_in_progress_a_skipped_one_and_a_rehearsal_are_no_runs() -> None:
    ran("vital", 10 * MINUTE)
    ran("vital", 4 * MINUTE, "skipped")
    ran("vital", 3 * MINUTE, origem="ensaio")
    ran("vital", MINUTE, "running")
    found = state("vital")
    assert (found.last_run, found.running_since, found.runs_24h) == (NOW - 10 * MINUTE, NOW - MINUTE, 1)
    assert found.is_stale


def test_a_first_run_in_progress_is_told_as_running() -> None:
    ran("vital", SECOND, "running")
    assert (state("vital").last_status, state("vital").last_run) == ("running", None)


def test_a_daily_job_is_judged_by_a_run_older_than_24_hours() -> None:
    ran("diario", 31 * HOUR)  # yesterday at 03:00
    assert (state("diario").runs_24h, state("diario").last_run) == (0, NOW - 31 * HOUR)
    assert state("diario").is_stale


def test_stale_is_one_second_after_the_sla_and_not_at_it() -> None:
    ran("vital", 3 * MINUTE)
    assert not state("vital").is_stale
    assert next(each for each in job_states(NOW + SECOND) if each.name == "vital").is_stale


# --- states


@pytest.mark.parametrize(
    ("runs", "situacao"),
    [
        ([("vital", MINUTE, "success", {})], Situacao.EM_DIA),
        ([("vital", 121 * SECOND, "success", {})], Situacao.ATRASADO),
        ([("vital", 2 * MINUTE, "success", {}), ("vital", 90 * SECOND, "running", {})], Situacao.DEMORANDO),
        ([("vital", 3 * MINUTE, "success", {}), ("vital", 30 * SECOND, "running", {})], Situacao.EM_DIA),
        ([("vital", HOUR, "running", {})], Situacao.NUNCA_RODOU),  # dead: nobody closed its row yet
        ([], Situacao.NUNCA_RODOU),
    ],
)
def test_a_job_is_in_one_state(runs: list[Any], situacao: Situacao) -> None:
    for name, ago, status, fields in runs:
        ran(name, ago, status, **fields)
    assert state("vital").situacao == situacao


def test_a_late_start_is_a_state_of_its_own_and_only_for_scheduled_runs() -> None:
    late = ran("diario", 5 * HOUR)  # 05:00 for 03:00
    assert (state("diario").began_late, state("diario").situacao) == (True, Situacao.COMECOU_TARDE)
    assert not state("diario").is_late
    JobExecution.objects.filter(pk=late.pk).update(origem="manual")
    assert state("diario").situacao == Situacao.EM_DIA


# --- the status of all


def test_all_is_healthy_when_every_job_ran_in_time() -> None:
    healthy()
    assert body()["status"] == "healthy"


def test_a_stale_critical_job_is_critical_and_another_only_degrades() -> None:
    healthy()
    JobExecution.objects.filter(job_name="comum").update(started_at=NOW - HOUR)
    assert (body()["status"], body()["alerts"]["stale_jobs"]) == ("degraded", ["comum"])
    JobExecution.objects.filter(job_name="vital").update(started_at=NOW - HOUR)
    alerts = body()["alerts"]
    assert (body()["status"], alerts["critical_stale"], alerts["missing_critical"]) == ("critical", ["vital"], [])


def test_a_critical_job_that_never_ran_is_missing() -> None:
    ran("comum", MINUTE)
    assert body()["alerts"]["missing_critical"] == body()["alerts"]["critical_stale"] == ["vital"]


def test_an_old_error_is_listed_and_does_not_keep_the_status_degraded_for_a_day() -> None:
    healthy()
    ran("comum", 6 * HOUR, "error", error="ValueError: x")
    assert (body()["status"], body()["alerts"]["jobs_with_errors"]) == ("healthy", ["comum"])
    ran("comum", 30 * SECOND, "error", error="ValueError: x")
    assert body()["status"] == "degraded"


def test_a_critical_job_that_runs_without_success_within_its_sla_degrades() -> None:
    healthy()
    JobExecution.objects.filter(job_name="vital").delete()
    ran("vital", 10 * MINUTE)
    for minutes in range(1, 9):
        ran("vital", minutes * MINUTE, "timeout")
    found = body()
    assert (found["status"], found["alerts"]["critical_without_success"]) == ("degraded", ["vital"])
    assert found["jobs"]["vital"]["last_success"] == (NOW - 10 * MINUTE).isoformat()
    ran("vital", 30 * SECOND)
    assert body()["alerts"]["critical_without_success"] == []


def test_after_the_first_start_of_the_scheduler_one_sla_of_grace() -> None:
    JobSlot.objects.filter(job_name="vital").update(taken_at=NOW - 2 * MINUTE)
    assert not state("vital").is_stale
    JobSlot.objects.filter(job_name="vital").update(taken_at=NOW - 3 * MINUTE - SECOND)
    assert state("vital").is_stale


def test_the_first_plan_of_a_job_is_remembered_and_survives_retention() -> None:
    JobSlot.objects.all().delete()
    schedules.synchronise(NOW)
    JobSlot.objects.update(taken_at=NOW - 300 * DAY)
    schedules.synchronise(NOW)
    assert {slot.taken_at for slot in JobSlot.objects.filter(slot=FIRST_SEEN)} == {NOW - 300 * DAY}
    from core import maintenance_jobs
    from core.jobs.deadline import Deadline

    maintenance_jobs.limpar_execucoes(NOW, Deadline(HOUR))
    assert JobSlot.objects.filter(slot=FIRST_SEEN).count() == 3


def test_without_any_scheduler_the_grace_counts_from_the_making_of_the_database() -> None:
    JobSlot.objects.all().delete()
    execute("UPDATE django_migrations SET applied = %s", [NOW - HOUR])
    assert state("vital").first_seen == NOW - HOUR
    assert state("vital").is_stale


# --- the shape


def test_the_keys_are_those_of_the_manual() -> None:
    healthy()
    found = body()
    assert set(found) == {"status", "jobs", "alerts", "sla_config", "period", "total_executions", "timestamp"}
    assert set(found["jobs"]["comum"]) >= {
        "last_run", "last_status", "runs_24h", "success_24h", "errors_24h", "timeouts_24h", "avg_duration_ms",
        "total_items_processed", "last_error", "sla_seconds", "is_stale", "seconds_since_last_run",
    }  # fmt: skip
    assert set(found["alerts"]) >= {
        "jobs_with_errors", "jobs_with_timeouts", "stale_jobs", "critical_stale", "missing_critical",
    }  # fmt: skip
    assert found["sla_config"] == {
        "critical_jobs": ["vital"],
        "sla_definitions": {"comum": 180, "diario": 90000, "vital": 180},
    }
    assert (found["period"], found["timestamp"]) == ("24h", NOW.isoformat())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, None),
        ("OperationalError: connection to 10.0.0.3 failed", "OperationalError: o texto está na página da execução"),
        ("a Ana não pôde ser avisada", "Erro: o texto está na página da execução"),
        ("Timeout após 300s: o processo não terminou a execução", "Timeout após 300s"),
    ],
)
def test_what_is_told_without_credentials_carries_no_text_of_a_driver(error: str | None, told: str | None) -> None:
    assert public_error(error) == told


def test_the_reading_is_one_statement_however_many_jobs() -> None:
    for number in range(30):
        register(lambda now: {"processados": 0}, f"mais_{number}")
    with CaptureQueriesContext(connection) as captured:
        assert len(job_states(NOW)) == 33
    assert len(captured) == 1


def test_a_rehearsal_is_recorded_and_counts_no_items() -> None:
    def apaga(now: Any) -> dict[str, int]:
        return {"processados": execute("DELETE FROM job_slots")}

    register(apaga, "apagar", ensaio=True)
    result = runner.run("apagar", now=NOW, origem="manual", params={"dry_run": True})
    assert result.body == {"status": "ok", "processados": 3, "dry_run": True}
    row = JobExecution.objects.get()
    assert (row.origem, row.items_processed, row.resultado) == ("ensaio", None, {"processados": 3, "dry_run": True})
    assert JobSlot.objects.count() == 3
    assert runner.run("apagar", now=NOW).processados == 3
    assert not JobSlot.objects.exists()
