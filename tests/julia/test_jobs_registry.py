"""One registry: schedules, addresses, SLAs, `/health/jobs`, the page and docs/jobs.md say the same of every job."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import Schedule

from core import clock
from core.database import execute, rows
from core.jobs import registry, schedules
from core.jobs.cron import matches, parse
from core.jobs.models import FIRST_SEEN, JobExecution
from core.jobs.status import health_body
from core.rights import Role
from julia.embedded.places import PROJECT
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# Domain reference §1.2, §1.3 and decisions §14: cron, path, SLA, critical; those whose feature exists.
PROMISED: dict[str, tuple[str, str, timedelta, bool]] = {
    "heartbeat": ("* * * * *", "heartbeat", 3 * MINUTES, False),
    "processar_mensagens_agendadas": ("* * * * *", "processar-mensagens-agendadas", 3 * MINUTES, True),
    "processar_campanhas_agendadas": ("* * * * *", "processar-campanhas-agendadas", 3 * MINUTES, True),
    "verificar_whatsapp": ("*/5 * * * *", "verificar-whatsapp", 15 * MINUTES, True),
    "sincronizar_chips": ("*/5 * * * *", "sincronizar-chips", 15 * MINUTES, False),
    "verificar_alertas": ("*/15 * * * *", "verificar-alertas", 45 * MINUTES, False),
    "resetar_fila_travada": ("*/15 * * * *", "resetar-fila-travada", 45 * MINUTES, False),
    "limpar_fila_antiga": ("0 3 * * *", "limpar-fila-antiga", 25 * HOURS, False),
    "verificar_fila_acumulada": ("*/10 * * * *", "verificar-fila-acumulada", 30 * MINUTES, False),
    "verificar_erros_acumulados": ("*/5 * * * *", "verificar-erros-acumulados", 15 * MINUTES, False),
    "verificar_jobs_atrasados": ("*/5 * * * *", "verificar-jobs-atrasados", 15 * MINUTES, False),
    "snapshot_metricas": ("*/5 * * * *", "snapshot-metricas", 15 * MINUTES, False),
}
OURS = {  # ours beyond the table
    "limpar_execucoes", "reconciliar_incertas", "retomar_importacoes", "retomar_reprocessamentos",
}  # fmt: skip


@pytest.fixture(autouse=True)
def token(settings: Any) -> dict[str, str]:
    settings.JOBS_TOKEN = "test-jobs-token"
    return {"Authorization": "Bearer test-jobs-token"}


@pytest.mark.parametrize("name", PROMISED)
def test_a_job_of_the_table_has_its_name_cron_path_sla_and_criticality(name: str) -> None:
    job = registry.find(name)
    assert (job.cron.text, job.path, job.sla, job.critical) == PROMISED[name]


def test_no_job_is_registered_that_nobody_decided_on() -> None:
    assert {job.name for job in registry.registered()} == set(PROMISED) | OURS


def test_the_old_address_of_the_drain_still_works() -> None:
    assert registry.find_path("processar-fila-mensagens").name == "processar_mensagens_agendadas"


def test_schedules_addresses_slas_health_page_and_document_hold_the_same_jobs(token: dict[str, str]) -> None:
    schedules.synchronise(clock.now())
    names = {job.name for job in registry.registered()}
    health = health_body(clock.database_now())
    planned = {row.name: row for row in Schedule.objects.filter(func=schedules.FUNCTION)}
    document = (PROJECT / "docs/jobs.md").read_text(encoding="utf-8")
    page = backoffice.logged_in(Role.LEITURA).get(reverse("admin:core_jobexecution_jobs")).content.decode()
    listed = set(re.findall(r"^\| \[`(\w+)`\]", document, re.MULTILINE))
    shown = set(re.findall(r'jobexecution/\?q=(\w+)"', page))
    assert names == set(planned) == set(health["jobs"]) == set(health["sla_config"]["sla_definitions"])
    assert names == listed == shown
    assert set(health["sla_config"]["critical_jobs"]) == {job.name for job in registry.registered() if job.critical}
    for job in registry.registered():
        assert planned[job.name].cron == job.cron.text
        assert health["sla_config"]["sla_definitions"][job.name] == job.sla.total_seconds()
        assert health["jobs"][job.name]["sla_seconds"] == job.sla.total_seconds()
        assert f"| `/jobs/{job.path}` |" in document
        assert Client().get(f"/jobs/{job.path}", headers=token).status_code == 405


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize("name", sorted(PROMISED.keys() | OURS))
def test_every_job_answers_json_on_an_empty_database_and_is_recorded(name: str, token: dict[str, str]) -> None:
    response = Client().generic("POST", f"/jobs/{registry.find(name).path}", headers=token)
    assert (response.status_code, isinstance(response.json()["processados"], int)) == (200, True), response.content
    assert JobExecution.objects.get().job_name == name


def test_an_unknown_job_is_404_in_json(token: dict[str, str]) -> None:
    response = Client().post("/jobs/nao-existe", headers=token)
    assert (response.status_code, response.json()["status"]) == (404, "error")


def test_a_job_of_nine_in_brasilia_is_due_at_twelve_utc() -> None:
    """2026-01-05 12:00 UTC is a Monday, 09:00 in Brasília; of the jobs that exist, those of every minute to hour."""
    noon = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    due = {job.name for job in registry.registered() if matches(job.cron, noon)}
    assert due == {name for name, promised in PROMISED.items() if "/" in promised[0] or promised[0] == "* * * * *"} | {
        "reconciliar_incertas", "retomar_importacoes", "retomar_reprocessamentos",
    }  # fmt: skip
    assert matches(parse("0 9 * * 1"), noon)
    assert not matches(parse("0 12 * * 1"), noon)


# --- /health/jobs with real jobs


def all_ran_now() -> None:
    schedules.synchronise(clock.now())
    execute("UPDATE job_slots SET taken_at = agora() - interval '90 days' WHERE slot = %s", [FIRST_SEEN])
    for job in registry.registered():
        JobExecution.objects.create(job_name=job.name, status="success")


def health_status() -> str:
    return str(health_body(clock.database_now())["status"])


def aged(name: str, ago: timedelta) -> None:
    execute("UPDATE job_executions SET started_at = agora() - %s WHERE job_name = %s", [ago, name])


@pytest.mark.parametrize("name", sorted(name for name, promised in PROMISED.items() if promised[3]))
def test_each_critical_job_that_is_stale_makes_the_whole_critical(name: str) -> None:
    all_ran_now()
    assert health_status() == "healthy"
    aged(name, 2 * registry.find(name).sla)
    assert health_status() == "critical"


def test_a_stale_heartbeat_alone_is_not_critical() -> None:
    all_ran_now()
    aged("heartbeat", HOURS)
    assert health_status() == "degraded"


def test_each_job_is_an_object_for_jq_on_a_fresh_database() -> None:
    body = json.loads(json.dumps(health_body(clock.database_now())))
    assert all(isinstance(body["jobs"][job.name], dict) for job in registry.registered())


# --- the manual's SQL, as it is printed (domain reference §9.2)

SQL = """
SELECT job_name, started_at, status, duration_ms, items_processed FROM job_executions WHERE job_name = 'processar_grupos' ORDER BY started_at DESC LIMIT 20;
SELECT job_name, started_at, error FROM job_executions WHERE status = 'error' AND started_at > NOW() - INTERVAL '24 hours' ORDER BY started_at DESC;
SELECT job_name, COUNT(*) as execucoes, AVG(duration_ms) as duracao_media_ms, MAX(duration_ms) as duracao_max_ms, SUM(CASE WHEN status = 'error' THEN 1 ELSE 0 END) as erros FROM job_executions WHERE started_at > NOW() - INTERVAL '7 days' GROUP BY job_name ORDER BY duracao_media_ms DESC;
SELECT DISTINCT job_name FROM job_executions WHERE job_name IN ( 'heartbeat', 'processar_mensagens_agendadas', 'processar_campanhas_agendadas', 'processar_grupos' ) AND started_at > NOW() - INTERVAL '2 hours' ORDER BY job_name;
SELECT job_name, COUNT(*) as execucoes, SUM(items_processed) as total_processados FROM job_executions WHERE DATE(started_at) = CURRENT_DATE AND items_processed IS NOT NULL GROUP BY job_name ORDER BY total_processados DESC;
SELECT started_at, error FROM job_executions WHERE job_name = 'nome_do_job' AND status = 'error' ORDER BY started_at DESC LIMIT 10;
SELECT started_at, status, items_processed FROM job_executions WHERE job_name = 'processar_mensagens_agendadas' ORDER BY started_at DESC LIMIT 10;
"""  # noqa: E501 (literal)


def test_the_sql_of_the_manual_about_jobs_runs_unchanged_and_finds_what_there_is() -> None:
    JobExecution.objects.create(
        job_name="processar_mensagens_agendadas", status="success", items_processed=3, duration_ms=40
    )
    JobExecution.objects.create(job_name="nome_do_job", status="error", error="ValueError: x")
    JobExecution.objects.create(job_name="processar_grupos", status="success", items_processed=0, duration_ms=80)
    execute("SET LOCAL timezone TO 'UTC'")
    found = [rows(statement.replace("%", "%%")) for statement in SQL.strip().splitlines()]
    assert [len(each) for each in found] == [1, 1, 3, 2, 2, 1, 1]
    assert found[1][0]["error"] == "ValueError: x"
    assert [row["job_name"] for row in found[3]] == ["processar_grupos", "processar_mensagens_agendadas"]
    assert found[4][0] == {"job_name": "processar_mensagens_agendadas", "execucoes": 1, "total_processados": 3}
