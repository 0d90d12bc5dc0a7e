"""The pages of jobs: state, last 24 hours, what comes next; and running one now, rehearsed where it changes data."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock
from core.audit.models import AuditEntry
from core.jobs import page, registry, runner
from core.jobs.models import FIRST_SEEN, JobExecution, JobSlot
from core.rights import Role
from fila.models import Mensagem
from tests import factories
from tests.core.some_jobs import register
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MOTIVO = "limpeza combinada com a equipe"


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_jobs", {})


def seen_long_ago(name: str) -> None:
    JobSlot.objects.create(job_name=name, slot=FIRST_SEEN, taken_at=clock.now() - timedelta(days=90))


def ran(name: str, ago: timedelta, status: str = "success", **fields: Any) -> JobExecution:
    return JobExecution.objects.create(job_name=name, started_at=clock.now() - ago, status=status, **fields)


def jobs_page(client: Client) -> str:
    response = client.get(reverse("admin:core_jobexecution_jobs"))
    assert response.status_code == 200
    return response.content.decode()


def test_each_state_has_its_word_and_what_needs_a_person_comes_first(own_registry: None, operacao: Client) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "em_dia": {},
        "parado": {"critical": True},
        "preso": {},
        "novo": {"cron": "0 3 * * *"},
        "tarde": {"cron": "0 * * * *"},
        "em_vao": {},
    }
    for name, options in kinds.items():
        register(lambda now: {"processados": 0}, name, **options)
        if name != "novo":
            seen_long_ago(name)
    JobSlot.objects.create(job_name="novo", slot=FIRST_SEEN, taken_at=clock.now())
    ran("em_dia", MINUTE)
    ran("parado", HOUR)
    ran("em_vao", 2 * MINUTE)
    ran("em_vao", MINUTE, "error")
    ran("preso", 3 * MINUTE)
    ran("preso", 2 * MINUTE, "running")
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    JobExecution.objects.create(job_name="tarde", started_at=hour - 30 * MINUTE, status="success")
    found = {line.state.name: line for line in page.lines(clock.now(), may_run=True)}
    assert {name: line.word for name, line in found.items()} == {
        "em_dia": "em dia",
        "parado": "atrasado",
        "preso": "demorando",
        "novo": "nunca rodou",
        "tarde": "começou tarde",
        "em_vao": "falhando",
    }
    assert list(found) == ["parado", "preso", "tarde", "novo", "em_vao", "em_dia"]
    assert (found["em_vao"].tone, found["em_vao"].why) == ("warn", "A última execução falhou.")
    html = jobs_page(operacao)
    assert "1 atrasado, 1 demorando, 1 começou tarde, 1 nunca rodou, 1 falhando. O outro está em dia." in html
    assert html.count("jl-badge jl-bad") == 2  # the state of one, the failed run of another
    assert "O prazo acabou há 58 min" in html or "O prazo acabou há 57 min" in html


def test_the_strip_shows_each_half_hour_of_the_last_24_and_what_happened_in_it(own_registry: None) -> None:
    register(lambda now: {"processados": 0}, "um")
    ran("um", 3 * HOUR, "error")
    ran("um", 3 * HOUR)
    ran("um", 6 * HOUR, "timeout")
    ran("um", 9 * HOUR, "skipped")
    ran("um", 12 * HOUR)
    ran("um", 12 * HOUR, origem="ensaio")
    ran("um", 25 * HOUR, "error")
    (line,) = page.lines(clock.now(), may_run=False)
    assert len(line.marks) == 48
    tones = [mark.tone for mark in line.marks]
    assert [tones.count(tone) for tone in ("warn", "bad", "skipped", "ok", "none")] == [1, 1, 1, 1, 44]
    assert any(re.fullmatch(r"\d\d:[03]0 a \d\d:[03]0: 2 execuções, 1 falha", mark.title) for mark in line.marks)


def test_the_page_asks_the_same_few_questions_however_many_jobs_and_runs(operacao: Client) -> None:
    def questions() -> int:
        with CaptureQueriesContext(connection) as captured:
            jobs_page(operacao)
        return len(captured)

    before = questions()
    for job in registry.registered():
        for minutes in range(5):
            ran(job.name, minutes * MINUTE)
    assert questions() == before <= 12


def test_the_page_links_to_the_runs_of_a_job_and_a_run_to_its_trace(operacao: Client) -> None:
    execution = ran("heartbeat", MINUTE, correlation_id="abc12345")
    ran("limpar_execucoes", MINUTE)
    assert 'href="/admin/core/jobexecution/?q=heartbeat"' in jobs_page(operacao)
    listed = operacao.get("/admin/core/jobexecution/?q=heartbeat").content.decode()
    assert str(execution.pk) in listed
    assert "limpar_execucoes" not in listed
    html = operacao.get(reverse("admin:core_jobexecution_change", args=[execution.pk])).content.decode()
    assert 'href="/admin/rastro/?q=abc12345"' in html


def test_a_run_after_an_outage_says_what_was_missed(operacao: Client) -> None:
    atraso = {"perdida": "roda_uma_vez", "desde": "2026-03-03T13:00:00+00:00", "segundos": 5400}
    execution = ran("heartbeat", MINUTE, resultado={"processados": 1, "atraso": atraso})
    html = operacao.get(reverse("admin:core_jobexecution_change", args=[execution.pk])).content.decode()
    assert "Nada rodou desde o horário de 03/03/2026 10:00:00. Esta execução veio 1 h 30 min depois do seu" in html


# --- "executar agora"


def run_page(name: str) -> str:
    return reverse("admin:core_jobexecution_run", args=[name])


@pytest.fixture
def velha(open_operation: None) -> Mensagem:
    now = clock.database_now()
    return factories.mensagem(agendar_para=now - 30 * HOUR, expira_em=now - 5 * HOUR)


def test_a_rehearsal_shows_what_would_happen_and_changes_nothing(velha: Mensagem, operacao: Client) -> None:
    response = operacao.post(run_page("limpar_fila_antiga"), {"dry_run": "on"}, follow=True)
    html = response.content.decode()
    assert "Ensaio de limpar_fila_antiga: 1 item. Nada mudou." in html
    assert "Ensaio: tudo foi desfeito." in html
    velha.refresh_from_db()
    assert velha.status == "pendente"
    assert AuditEntry.objects.get(acao="job_ensaiado").detalhes == {"params": {"dry_run": "true"}}
    assert JobExecution.objects.get().origem == "ensaio"


def test_what_changes_data_needs_a_motivo_and_is_audited_with_it(velha: Mensagem, operacao: Client) -> None:
    refused = operacao.post(run_page("limpar_fila_antiga"), {"dry_run": ""})
    assert "Escreva o motivo, ou ligue o ensaio." in refused.content.decode()
    assert (
        "Escreva um motivo de pelo menos 10"
        in operacao.post(run_page("limpar_fila_antiga"), {"motivo": "curto"}).content.decode()
    )
    assert not AuditEntry.objects.filter(acao="job_executado").exists()
    operacao.post(run_page("limpar_fila_antiga"), {"motivo": MOTIVO})
    assert AuditEntry.objects.get(acao="job_executado").motivo == MOTIVO


@pytest.mark.parametrize("name", ["resetar_fila_travada", "limpar_fila_antiga", "limpar_execucoes"])
def test_the_housekeeping_jobs_can_be_rehearsed(name: str) -> None:
    assert registry.find(name).rehearses
    assert registry.find(name).params["dry_run"].type is bool


def test_a_rehearsal_counts_what_the_real_run_then_does(velha: Mensagem) -> None:
    now = clock.database_now()
    factories.mensagem(agendar_para=now - 30 * HOUR, expira_em=now - HOUR)
    factories.mensagem(status="processando", processando_desde=now - 2 * HOUR, lease_ate=now - HOUR)
    for days in (31, 40):
        ran("x", timedelta(days=days))
    for name in ("resetar_fila_travada", "limpar_fila_antiga", "limpar_execucoes"):
        rehearsed = runner.run(name, now=now, origem="manual", params={"dry_run": True})
        assert (rehearsed.status, rehearsed.processados > 0) == ("success", True), name
        real = runner.run(name, now=now, origem="manual")
        assert {**real.resultado, "dry_run": True} == rehearsed.resultado, name


def test_parameters_have_types_and_a_wrong_one_is_told(own_registry: None, operacao: Client) -> None:
    def tarefa(now: Any, limite: int = 20, fator: float = 0.5, tudo: bool = False) -> dict[str, Any]:
        return {"processados": limite, "fator": fator, "tudo": tudo}

    register(tarefa)
    form = operacao.get(run_page("tarefa")).content.decode()
    assert re.search(r'<input[^>]*type="number"[^>]*name="limite"|<input[^>]*name="limite"[^>]*type="number"', form)
    assert '<select name="tudo"' in form
    told = operacao.post(run_page("tarefa"), {"limite": "sete"}).content.decode()
    assert "não é um número inteiro" in told
    assert not JobExecution.objects.exists()
    html = operacao.post(run_page("tarefa"), {"limite": "7", "tudo": "true"}, follow=True).content.decode()
    assert "tarefa terminou: 7 itens." in html
    assert JobExecution.objects.get().resultado == {"processados": 7, "fator": 0.5, "tudo": True}


def test_a_failure_is_shown_with_its_text(own_registry: None, operacao: Client) -> None:
    register(lambda now: {"status": "error", "message": "sem chips", "processados": 0})
    html = operacao.post(run_page("tarefa"), follow=True).content.decode()
    assert "tarefa falhou: sem chips" in html


def test_who_may_only_read_is_offered_no_run() -> None:
    leitura = backoffice.logged_in(Role.LEITURA)
    assert "Executar agora" not in jobs_page(leitura)
    assert leitura.post(run_page("heartbeat")).status_code == 403
