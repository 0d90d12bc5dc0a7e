"""Jobs: registered once, run once per slot, never beside themselves, and always with a row that tells how it went."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from threading import Barrier
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django_q.exceptions import TimeoutException

from core import correlation, maintenance_jobs
from core.alerts.models import Alerta
from core.clock import BRASILIA
from core.health.models import RoleBeat
from core.jobs import registry, runner
from core.jobs.deadline import Deadline
from core.jobs.models import JobExecution, JobSlot
from tests.core.some_jobs import HOUR, NOW, SLOT, only_row, register

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_registry")]


# --- registry


def test_a_job_has_one_path_with_dashes_and_its_aliases() -> None:
    job = register(lambda now: {"processados": 0}, "processar_coisas", aliases=("fila-de-coisas",))
    assert registry.find_path("processar-coisas") is registry.find_path("fila-de-coisas") is job


def test_long_jobs_run_in_their_own_cluster() -> None:
    short = register(lambda now: {"processados": 0}, "curta", longest=timedelta(seconds=60))
    long = register(lambda now: {"processados": 0}, "longa", longest=timedelta(seconds=61))
    assert (short.cluster, long.cluster) == (registry.Cluster.CRITICO, registry.Cluster.TRABALHOS)


def test_a_job_with_a_faulty_cron_cannot_be_registered() -> None:
    with pytest.raises(registry.InvalidCron):
        register(lambda now: {"processados": 0}, cron="*/0 * * * *")


def test_a_name_or_path_is_registered_once(contar: registry.Job) -> None:
    with pytest.raises(ValueError, match="twice"):
        register(contar.function, "contar")
    with pytest.raises(ValueError, match="twice"):
        register(contar.function, "outro_nome", path="contar")


def without_now(limite: int = 1) -> dict[str, int]:
    return {"processados": limite}


def without_default(now: datetime, limite: int) -> dict[str, int]:
    return {"processados": limite}


def without_a_writable_type(now: datetime, lista: list[int] = []) -> dict[str, int]:  # noqa: B006
    return {"processados": len(lista)}


@pytest.mark.parametrize("function", [without_now, without_default, without_a_writable_type])
def test_a_function_that_a_caller_could_not_call_is_no_job(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"must take|needs a default"):
        register(function)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (int, "7", 7),
        (float, "0.5", 0.5),
        (bool, "true", True),
        (bool, "0", False),
        (str, "manha", "manha"),
        (date, "2026-03-01", date(2026, 3, 1)),
    ],
)
def test_a_written_parameter_is_typed(type_: type, text: str, value: object) -> None:
    assert registry.Param("x", type_, None).read(text) == value


@pytest.mark.parametrize(("type_", "text"), [(int, "7.5"), (int, ""), (bool, "talvez"), (date, "01/03/2026")])
def test_a_parameter_of_the_wrong_type_is_refused(type_: type, text: str) -> None:
    with pytest.raises(registry.InvalidParam, match=r"^x="):
        registry.Param("x", type_, None).read(text)


def test_an_unknown_parameter_is_refused_with_those_that_exist(contar: registry.Job) -> None:
    with pytest.raises(registry.InvalidParam, match=r"limit.*Aceita: limite, ensaio"):
        contar.read_params({"limit": "5"})


# --- slots


def test_the_slot_of_a_frequent_job_is_the_planned_minute(contar: registry.Job) -> None:
    assert contar.slot_of(NOW) == contar.slot_of(NOW + timedelta(seconds=30)) == SLOT
    assert contar.slot_of(NOW.astimezone(BRASILIA)) == SLOT


def test_the_slot_of_a_daily_job_is_the_local_date() -> None:
    job = register(lambda now: {"processados": 0}, cron="55 23 * * *")
    assert job.slot_of(datetime(2026, 3, 4, 2, 55, tzinfo=UTC)) == "2026-03-03"


def test_a_slot_runs_once_and_the_loser_leaves_no_row(contar: registry.Job, calls: list[Any]) -> None:
    first = runner.run("contar", now=NOW, slot=SLOT)
    second = runner.run("contar", now=NOW, slot=SLOT)
    assert (first.status, second.status) == ("success", "skipped")
    assert second.resultado == {"reason": "slot_ja_executado"}
    assert len(calls) == JobExecution.objects.count() == JobSlot.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_schedulers_at_the_same_instant_one_runs_the_slot(contar: registry.Job, calls: list[Any]) -> None:
    ready = Barrier(4)

    def scheduler_process(_number: int) -> str:
        try:
            ready.wait(10)
            return str(runner.run("contar", now=NOW, slot=SLOT).resultado.get("reason", "executado"))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        results = sorted(pool.map(scheduler_process, range(4)))
    assert results == ["executado", *["slot_ja_executado"] * 3]
    assert len(calls) == 1


def test_manual_runs_need_no_slot_and_are_rows_too(contar: registry.Job, calls: list[Any]) -> None:
    runner.run("contar", now=NOW, origem="manual")
    runner.run("contar", now=NOW, origem="api")
    assert len(calls) == 2
    assert set(JobExecution.objects.values_list("origem", "slot")) == {("manual", None), ("api", None)}


# --- runs


def test_a_run_is_recorded_with_what_it_counted(contar: registry.Job) -> None:
    with correlation.use("abc12345"):
        result = runner.run("contar", now=NOW, slot=SLOT, params={"limite": 3})
    row = only_row()
    assert (row.job_name, row.status, row.response_code, row.error) == ("contar", "success", 200, None)
    assert (row.started_at, row.items_processed, row.resultado) == (NOW, 1, {"processados": 1})
    assert (row.origem, row.slot, row.correlation_id) == ("agenda", SLOT, "abc12345")
    assert row.duration_ms is not None
    assert row.finished_at is not None
    assert row.finished_at - NOW == pytest.approx(
        timedelta(milliseconds=row.duration_ms), abs=timedelta(milliseconds=1)
    )
    assert result.body == {"status": "ok", "processados": 1}


def test_an_error_is_recorded_in_at_most_500_characters_and_does_not_come_out() -> None:
    def breaks(now: datetime) -> dict[str, int]:
        raise ValueError("x" * 2000)

    register(breaks)
    result = runner.run("tarefa", now=NOW)
    row = only_row()
    assert (row.status, row.response_code, result.status) == ("error", 500, "error")
    assert row.error is not None
    assert len(row.error) == 500
    assert row.error.startswith("ValueError: xxx")


def test_a_recorded_error_carries_no_telephone() -> None:
    def breaks(now: datetime) -> dict[str, int]:
        raise ValueError("duplicate key (telefone)=(5511900001234)")

    register(breaks)
    runner.run("tarefa", now=NOW)
    assert "90000" not in str(only_row().error)


def test_a_job_may_say_itself_that_it_failed_and_still_count() -> None:
    register(lambda now: {"status": "error", "message": "nenhum item passou", "processados": 4, "erros": 4})
    result = runner.run("tarefa", now=NOW)
    assert (only_row().status, only_row().items_processed) == ("error", 4)
    assert result.body == {"status": "error", "message": "nenhum item passou", "processados": 4, "erros": 4}


def test_a_job_that_skips_by_its_own_rule_succeeded() -> None:
    register(lambda now: {"status": "skipped", "reason": "fora_horario", "processados": 0})
    result = runner.run("tarefa", now=NOW)
    assert (only_row().status, result.body["status"], result.body["reason"]) == ("success", "skipped", "fora_horario")


@pytest.mark.parametrize("returned", [None, {}, {"processados": "3"}, [1]])
def test_a_job_that_counts_nothing_failed(returned: Any) -> None:
    register(lambda now: returned)
    assert runner.run("tarefa", now=NOW).status == "error"
    assert "processados" in str(only_row().error)


def test_a_run_that_django_q2_stops_is_a_timeout_and_stays_stopped() -> None:
    def hangs(now: datetime) -> dict[str, int]:
        raise TimeoutException("too long")

    register(hangs)
    with pytest.raises(TimeoutException):
        runner.run("tarefa", now=NOW)
    assert (only_row().status, only_row().error, only_row().response_code) == ("timeout", "Timeout após 300s", None)


def test_a_run_whose_process_is_told_to_end_is_recorded_before_it_ends() -> None:
    def stopped(now: datetime) -> dict[str, int]:
        raise SystemExit(0)

    register(stopped)
    with pytest.raises(SystemExit):
        runner.run("tarefa", now=NOW)
    assert only_row().status == "error"


@pytest.mark.parametrize("stop", [TimeoutException("too long"), SystemExit(0)])
def test_a_run_that_is_stopped_is_found_by_the_manuals_grep(
    stop: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(now: datetime) -> dict[str, int]:
        raise stop

    register(stopped)
    with pytest.raises(type(stop)):
        runner.run("tarefa", now=NOW)
    said: list[Any] = [record.msg for record in caplog.records]
    assert [(each["event"], each["job"]) for each in said if each.get("event") == "FAIL"] == [("FAIL", "tarefa")]


def test_a_job_that_asks_for_it_gets_a_deadline_of_270_seconds() -> None:
    def looks(now: datetime, deadline: Deadline) -> dict[str, int]:
        return {"processados": round(deadline.remaining_s)}

    register(looks)
    assert runner.run("tarefa", now=NOW).processados == 270


def test_a_job_that_asks_for_it_is_told_who_started_it_and_nobody_can_say_so_for_it() -> None:
    origins: list[str] = []

    def looks(now: datetime, origem: str = "agenda") -> dict[str, int]:
        origins.append(origem)
        return {"processados": 0}

    assert register(looks).params == {}
    runner.run("tarefa", now=NOW)
    runner.run("tarefa", now=NOW, origem="manual")
    assert origins == ["agenda", "manual"]


@pytest.mark.parametrize("origem", ["api", "manual", "comando"])
def test_a_heartbeat_that_a_person_starts_is_no_sign_of_the_schedulers_life(origem: str) -> None:
    assert runner.run("heartbeat", now=NOW, origem=origem).ok
    assert not RoleBeat.objects.exists()


def test_a_deadline_passes_by_the_monotonic_clock() -> None:
    seconds = 10.0
    deadline = Deadline(timedelta(seconds=5), clock=lambda: seconds)
    assert (deadline.passed, deadline.remaining_s) == (False, 5.0)
    seconds = 15.0
    assert (deadline.passed, deadline.remaining_s) == (True, 0.0)


def test_a_result_with_instants_is_stored_as_json() -> None:
    register(lambda now: {"processados": 1, "ate": now})
    runner.run("tarefa", now=NOW)
    assert only_row().resultado["ate"].startswith("2026-03-03")


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """A second session, as another process would have it."""
    other = connections.create_connection("default")
    yield other
    other.close()


def test_a_run_whose_predecessor_is_alive_is_skipped_and_says_so(
    contar: registry.Job, calls: list[Any], elsewhere: Any
) -> None:
    with elsewhere.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, hashtext('contar'))", [runner._LOCK_CLASS])
        result = runner.run("contar", now=NOW, slot=SLOT)
        assert result.body == {"status": "skipped", "processados": 0, "reason": "em_execucao"}
        assert (only_row().status, only_row().resultado) == ("skipped", {"reason": "em_execucao"})
        assert calls == []


def test_a_finished_run_leaves_the_way_free(contar: registry.Job, elsewhere: Any) -> None:
    runner.run("contar", now=NOW)
    with elsewhere.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext('contar'))", [runner._LOCK_CLASS])
        assert cursor.fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_loses_its_connection_is_recorded_over_a_new_one(elsewhere: Any) -> None:
    def loses_it(now: datetime) -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            with elsewhere.cursor() as killer:
                killer.execute("SELECT pg_terminate_backend(%s)", [cursor.fetchone()[0]])
            cursor.execute("SELECT 1")
        return {"processados": 0}

    register(loses_it)
    assert runner.run("tarefa", now=NOW).status == "error"
    assert only_row().status == "error"


def test_rows_left_running_for_more_than_ten_minutes_are_closed_as_timeout() -> None:
    old, young = (
        JobExecution.objects.create(job_name="x", started_at=NOW - timedelta(minutes=minutes)) for minutes in (11, 9)
    )
    assert runner.close_abandoned(NOW) == 1
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.status, old.finished_at, young.status) == ("timeout", NOW, "running")


# --- commands


def test_the_command_runs_a_job_and_prints_json(contar: registry.Job, calls: list[Any]) -> None:
    out = StringIO()
    call_command("executar_job", "contar", "--param", "limite=3", stdout=out)
    assert json.loads(out.getvalue()) == {"status": "ok", "processados": 1}
    assert (calls[0][1], only_row().origem) == (3, "manual")


@pytest.mark.parametrize(
    "arguments", [["nao_existe"], ["contar", "--param", "limite=x"], ["contar", "--param", "limite"]]
)
def test_the_command_refuses_what_it_cannot_run(contar: registry.Job, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("executar_job", *arguments)
    assert not JobExecution.objects.exists()


def test_the_command_fails_with_the_job() -> None:
    register(lambda now: {"status": "error", "message": "sem chips", "processados": 0})
    with pytest.raises(CommandError, match="sem chips"):
        call_command("executar_job", "tarefa", stdout=StringIO())


# --- core's own jobs


def test_the_heartbeat_shows_that_the_scheduler_lives_and_closes_dead_runs() -> None:
    JobExecution.objects.create(job_name="x", started_at=NOW - HOUR)
    assert maintenance_jobs.heartbeat(NOW) == {"processados": 1, "execucoes_encerradas": 1}
    maintenance_jobs.heartbeat(NOW)
    assert RoleBeat.objects.get().papel == "scheduler"


def test_what_nobody_reads_any_more_is_cleared_away() -> None:
    for days in (29, 31):
        JobExecution.objects.create(job_name="x", started_at=NOW - timedelta(days=days), status="success")
    for days in (6, 8):
        JobSlot.objects.create(job_name="x", slot=str(days), taken_at=NOW - timedelta(days=days))
        RoleBeat.objects.create(papel="worker", instancia=str(days), beat_at=NOW - timedelta(days=days))
    for ago in (timedelta(days=89), timedelta(days=91), None):
        ended = NOW - ago if ago else None
        Alerta.objects.create(tipo="x", chave=f"{ago}", titulo="x", mensagem="x", resolvido_em=ended)
    assert maintenance_jobs.limpar_execucoes(NOW, Deadline(HOUR)) == {
        "processados": 1,
        "mudancas_de_circuito": 0,
        "horarios": 1,
        "sinais_de_vida": 1,
        "alertas": 1,
    }
    assert JobExecution.objects.count() == JobSlot.objects.count() == RoleBeat.objects.count() == 1
    assert set(Alerta.objects.values_list("chave", flat=True)) == {"89 days, 0:00:00", "None"}


def test_a_clearing_that_would_take_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="pelo menos 1"):
        maintenance_jobs.limpar_execucoes(NOW, Deadline(HOUR), dias=0)


def test_a_clearing_stops_at_its_deadline() -> None:
    JobExecution.objects.create(job_name="x", started_at=NOW - timedelta(days=31), status="success")
    assert maintenance_jobs.limpar_execucoes(NOW, Deadline(timedelta(0)))["processados"] == 0
