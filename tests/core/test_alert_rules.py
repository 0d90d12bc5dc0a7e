"""What core watches: each rule at its limit, with the sentence an operator needs, and quiet beside it."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import alert_rules
from core.alert_rules import Sign, silence
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Severidade
from core.alerts.rules import Finding, registered, rule_of
from core.clock import database_now
from core.database import execute
from core.jobs import registry, runner
from tests.core.test_circuits_services import CHIP, open_circuit, put

Rule = Callable[[datetime], Iterable[Finding]]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NOON = datetime.fromisoformat("2026-03-03T12:00:00-03:00")
ROLES = ("api", "scheduler", "worker")


def found(rule: Rule, now: datetime) -> dict[str, Finding]:
    return {each.chave: each for each in rule(now)}


def beat(papel: str, at: datetime, *, started: datetime | None = None, closed: datetime | None = None) -> None:
    execute(
        """INSERT INTO role_beats (papel, instancia, started_at, beat_at, encerrado_em)
           VALUES (%s, %s, %s, %s, %s)""",
        [papel, f"{papel}-{at.timestamp()}", started or at, at, closed],
    )


def opened(*tipos: str) -> set[tuple[str, str]]:
    rows = Alerta.objects.filter(resolvido_em=None, **({"tipo__in": tipos} if tipos else {}))
    return set(rows.values_list("tipo", "chave"))


# Roles -----------------------------------------------------------------------------------------------------------

LIVE = NOON - timedelta(days=2)


@pytest.mark.parametrize(
    ("ago_s", "closed_ago_s", "is_told"),
    [(10, None, False), (120, None, False), (121, None, True), (300, 60, False), (300, 120, False), (300, 121, True)],
)
def test_a_role_is_silent_after_two_minutes_whether_it_died_or_was_closed(
    ago_s: int, closed_ago_s: int | None, is_told: bool
) -> None:
    closed = NOON - closed_ago_s * SECOND if closed_ago_s is not None else None
    finding = silence(Sign("worker", NOON - ago_s * SECOND, closed, LIVE), NOON)
    assert (finding is not None) is is_told


@pytest.mark.parametrize(("first_ago_s", "is_told"), [(None, False), (120, False), (121, True), (86_400, True)])
def test_a_role_that_was_never_seen_counts_from_the_first_sign_of_any(first_ago_s: int | None, is_told: bool) -> None:
    first = NOON - first_ago_s * SECOND if first_ago_s is not None else None
    assert (silence(Sign("worker", None, None, first), NOON) is not None) is is_told


def test_a_role_that_was_closed_on_purpose_is_said_so() -> None:
    finding = silence(Sign("api", NOON - HOUR, NOON - HOUR, LIVE), NOON)
    assert finding is not None
    assert "encerrado" in finding.titulo
    assert "de propósito" in finding.mensagem


@pytest.mark.django_db
def test_only_expected_roles_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PAPEIS_ESPERADOS", ["scheduler"])
    beat("scheduler", NOON - 5 * SECOND, started=LIVE)
    for rule in (alert_rules.worker_sem_heartbeat, alert_rules.scheduler_sem_sinal, alert_rules.papel_sem_sinal):
        assert not found(rule, NOON)


@pytest.mark.django_db
def test_the_newest_instance_speaks_for_its_role() -> None:
    beat("worker", NOON - HOUR)
    beat("worker", NOON - 9 * SECOND, started=LIVE)
    beat("worker", NOON - 2 * HOUR, closed=NOON - 2 * HOUR)
    assert not found(alert_rules.worker_sem_heartbeat, NOON)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("missing", "tipo"),
    [("worker", "worker_sem_heartbeat"), ("scheduler", "scheduler_sem_sinal"), ("api", "papel_sem_sinal")],
)
def test_a_role_that_was_never_started_is_told_of_within_three_minutes(missing: str, tipo: str) -> None:
    """The January afternoon, for each role: the other two come up at `start`, this one never does."""
    start = database_now()
    others = [papel for papel in ROLES if papel != missing]
    told_at = None
    for step in range(0, 241, 30):
        now = start + step * SECOND
        for papel in others:
            execute("DELETE FROM role_beats WHERE papel = %s", [papel])
            beat(papel, now, started=start)
        evaluate(now, only=("worker_sem_heartbeat", "scheduler_sem_sinal", "papel_sem_sinal", "nenhum_papel_visto"))
        if opened() and told_at is None:
            told_at = now
    assert opened() == {(tipo, missing)}
    assert told_at is not None
    assert timedelta(minutes=2) < told_at - start < timedelta(minutes=3)
    alert = Alerta.objects.get(tipo=tipo)
    assert alert.severidade == "critical"
    assert f"servir --papel {missing}" in alert.mensagem


@pytest.mark.django_db
def test_an_installation_where_nobody_ever_came_up_is_told_of_within_three_minutes() -> None:
    start = database_now()
    for step in range(0, 151, 30):
        evaluate(start + step * SECOND, only=("worker_sem_heartbeat", "papel_sem_sinal", "nenhum_papel_visto"))
        assert bool(opened()) is (step >= 120)
    assert opened() == {("nenhum_papel_visto", "")}


@pytest.mark.django_db
def test_the_first_minutes_of_an_installation_are_quiet() -> None:
    start = database_now()
    evaluate(start)
    for papel in ROLES:
        beat(papel, start + 40 * SECOND)
    for step in (60, 90, 120, 150):
        evaluate(start + step * SECOND, only=("nenhum_papel_visto", "worker_sem_heartbeat", "papel_sem_sinal"))
    assert not opened("nenhum_papel_visto", "worker_sem_heartbeat", "papel_sem_sinal")


@pytest.mark.django_db
def test_it_resolves_when_the_role_comes_back() -> None:
    now = database_now()
    beat("worker", now - 3 * MINUTE)
    evaluate(now, only=("worker_sem_heartbeat",))
    beat("worker", now)
    evaluate(now + 30 * SECOND, only=("worker_sem_heartbeat",))
    evaluate(now + 100 * SECOND, only=("worker_sem_heartbeat",))
    assert not opened()


# Jobs ------------------------------------------------------------------------------------------------------------


def ran(name: str, started: datetime, status: str = "success", took_s: int = 1) -> None:
    finished = None if status == "running" else started + took_s * SECOND
    execute(
        """INSERT INTO job_executions (job_name, started_at, finished_at, status, duration_ms)
           VALUES (%s, %s, %s, %s, %s)""",
        [name, started, finished, status, took_s * 1000],
    )


def all_ran(at: datetime) -> None:
    """Every registered job ran at `at`, so that none but those a test ages is late."""
    for job in registry.registered():
        ran(job.name, at)


MID_MINUTE = NOON.replace(second=1)


@pytest.mark.django_db
@pytest.mark.parametrize(("ago_s", "is_late"), [(60, False), (120, False), (121, True), (3600, True)])
def test_a_job_of_every_minute_is_late_after_two(ago_s: int, is_late: bool) -> None:
    all_ran(MID_MINUTE)
    execute("DELETE FROM job_executions WHERE job_name = 'heartbeat'")
    ran("heartbeat", MID_MINUTE - ago_s * SECOND)
    late = found(alert_rules.job_atrasado, MID_MINUTE)
    assert ("heartbeat" in late) is is_late


@pytest.mark.django_db
def test_a_late_job_names_its_age_its_limit_and_the_heartbeats() -> None:
    all_ran(NOON)
    execute("DELETE FROM job_executions WHERE job_name = 'processar_mensagens_agendadas'")
    ran("processar_mensagens_agendadas", NOON - 10 * MINUTE)
    beat("scheduler", NOON - 7 * MINUTE)
    finding = found(alert_rules.job_atrasado, NOON)["processar_mensagens_agendadas"]
    assert "10 min" in finding.titulo
    assert "limite é 2 min" in finding.mensagem
    assert "scheduler há 7 min" in finding.mensagem
    assert "worker nunca visto" in finding.mensagem
    assert finding.severidade is Severidade.CRITICAL


@pytest.mark.django_db
def test_a_job_that_never_ran_is_late_too() -> None:
    now = database_now() + timedelta(days=30)
    assert "heartbeat" in found(alert_rules.job_atrasado, now)


@pytest.mark.django_db
def test_a_job_that_takes_too_long_is_not_late_but_told_of() -> None:
    job = registry.find("heartbeat")
    all_ran(NOON - 5 * MINUTE)
    ran("heartbeat", NOON - job.longest, status="running")
    assert "heartbeat" not in found(alert_rules.job_demorando, NOON)
    assert "heartbeat" in found(alert_rules.job_demorando, NOON + SECOND)
    assert "heartbeat" not in found(alert_rules.job_atrasado, NOON + SECOND)


@pytest.mark.django_db
@pytest.mark.parametrize(("good_ago_min", "is_failing"), [(2, False), (10, True)])
def test_a_job_that_only_fails_is_told_of_after_its_sla(good_ago_min: int, is_failing: bool) -> None:
    ran("heartbeat", NOON - good_ago_min * MINUTE)
    ran("heartbeat", NOON - 30 * SECOND, status="error")
    assert ("heartbeat" in found(alert_rules.job_falhando, NOON)) is is_failing


@pytest.mark.django_db
@pytest.mark.parametrize(("silent_s", "is_late"), [(60, True), (76, False), (120, False), (121, True)])
def test_jobs_do_not_tell_of_a_scheduler_that_is_about_to_be_told_of(silent_s: int, is_late: bool) -> None:
    all_ran(MID_MINUTE)
    execute("DELETE FROM job_executions WHERE job_name = 'heartbeat'")
    ran("heartbeat", MID_MINUTE - 125 * SECOND)
    beat("scheduler", MID_MINUTE - silent_s * SECOND)
    assert ("heartbeat" in found(alert_rules.job_atrasado, MID_MINUTE)) is is_late


@pytest.mark.django_db
def test_while_the_scheduler_is_silent_late_jobs_open_but_nobody_is_told() -> None:
    now = database_now()
    beat("scheduler", now - HOUR)
    ran("heartbeat", now - HOUR)
    evaluate(now, only=("scheduler_sem_sinal", "job_atrasado"))
    late = Alerta.objects.get(tipo="job_atrasado", chave="heartbeat")
    assert (late.inibido_por, late.anunciado_em) == ("scheduler_sem_sinal", None)
    assert Alerta.objects.get(tipo="scheduler_sem_sinal").anunciado_em is not None


# Circuits and restarts -------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "severidade"),
    [
        ({"state": "closed"}, None),
        ({"state": "closed", "failures": 4}, None),
        ({"state": "open", "forced": "desligado", "retry_at": NOON}, None),
        ({"state": "open", "retry_at": NOON}, Severidade.CRITICAL),
        ({"state": "half_open", "permit_until": NOON}, Severidade.CRITICAL),
        ({"state": "closed", "forced": "aberto"}, Severidade.WARNING),
    ],
)
def test_a_circuit_is_an_alert_while_it_lets_nothing_through(
    values: dict[str, Any], severidade: Severidade | None
) -> None:
    put("evolution", **values)
    finding = found(alert_rules.circuito_aberto, NOON).get("evolution")
    assert (finding.severidade if finding else None) is severidade


@pytest.mark.django_db
def test_other_services_weigh_less_than_a_provider_and_chips_have_a_kind_of_their_own() -> None:
    for name in ("claude", CHIP):
        open_circuit(name)
    circuits = found(alert_rules.circuito_aberto, database_now())
    assert {chave: each.severidade for chave, each in circuits.items()} == {"claude": Severidade.ERROR}


@pytest.mark.django_db
def test_an_open_provider_is_one_alert_until_it_lets_through_again() -> None:
    now = database_now()
    open_circuit()
    for step in (0, 30, 60):
        evaluate(now + step * SECOND, only=("circuito_aberto",))
    alert = Alerta.objects.get(tipo="circuito_aberto", chave="evolution")
    assert (alert.severidade, alert.resolvido_em, alert.ocorrencias) == ("critical", None, 3)
    put("evolution", state="closed", retry_at=None)
    evaluate(now + 90 * SECOND, only=("circuito_aberto",))
    evaluate(now + 150 * SECOND, only=("circuito_aberto",))
    alert.refresh_from_db()
    assert alert.resolvido_em is not None


def restarted(papel: str, at: datetime, processo: str = "critico") -> None:
    execute(
        """INSERT INTO audit_trail (acao, entidade, entidade_id, motivo, detalhes, usuario, created_at)
           VALUES ('processo_reiniciado', 'papel', %s, %s, jsonb_build_object('processo', %s::text), 'servir', %s)""",
        [papel, f"{processo} terminou com código 1", processo, at],
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ages_min", "severidade"),
    [
        ([], None),
        ([15.1], None),
        ([14.9], Severidade.WARNING),
        ([1, 2], Severidade.WARNING),
        ([1, 2, 3], Severidade.ERROR),
    ],
)
def test_a_restart_is_told_of_for_a_quarter_of_an_hour_and_a_loop_weighs_more(
    ages_min: list[float], severidade: Severidade | None
) -> None:
    for age in ages_min:
        restarted("scheduler", NOON - age * MINUTE)
    finding = found(alert_rules.cluster_reiniciado, NOON).get("scheduler")
    assert (finding.severidade if finding else None) is severidade


# All of them -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_rule_says_what_it_means_what_to_do_and_where() -> None:
    for rule in registered():
        assert rule.significa.endswith("."), rule.tipo
        assert rule.proximo.endswith("."), rule.tipo
        assert rule.link_of("").startswith("/admin/"), rule.tipo
        assert all(rule_of(tipo).significa for tipo in rule.inibido_por), rule.tipo


@pytest.mark.django_db
def test_roles_are_read_in_one_statement() -> None:
    with CaptureQueriesContext(connection) as asked:
        alert_rules.signs(list(ROLES))
    assert len(asked) == 1


@pytest.mark.django_db
def test_the_job_counts_late_jobs_and_tells_of_them() -> None:
    now = database_now()
    result = runner.run("verificar_jobs_atrasados", now=now + timedelta(days=30))
    assert result.ok, result.error
    assert result.processados == len(registry.registered()) - 1  # this one runs
    assert Alerta.objects.filter(tipo="job_atrasado", resolvido_em=None).count() == result.processados


@pytest.mark.django_db
def test_the_job_of_all_rules_counts_what_was_told() -> None:
    beat("api", database_now() - HOUR)
    result = runner.run("verificar_alertas", now=database_now())
    assert result.ok, result.error
    assert result.resultado["regras_quebradas"] == 0
    assert result.processados > 0
