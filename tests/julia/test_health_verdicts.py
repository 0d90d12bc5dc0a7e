"""Score, alerts and the deep check: what the numbers of the other pages come to."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from core.alerts.models import Severidade
from core.alerts.services import raise_alert
from core.circuits import names, services
from core.database import execute, rows
from core.health import beats
from core.health.lanes import lanes
from core.health.reading import Answer, forget_all
from core.health.registry import CheckResult
from julia.health import alerts, circuits, deep, score, worker
from julia.health.urls import PAGES
from tests import factories
from tests.julia.health import CALM, NOW, Here, answered, body_of, chip_seen, failed

with_database = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _read_in_this_transaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lanes, "submit", lambda work: work(Here()))
    forget_all()
    yield
    forget_all()


# --- /health/score


def parts(**changed: Any) -> dict[str, Answer[Any]]:
    whole = {
        "prontidao": {"redis": CheckResult(True), "supabase": CheckResult(True)},
        "fila": CALM,
        "worker": [{"encerrado_em": None, "idade": 3}],
        "circuits": {},
        "chips": [chip_seen()],
    }
    return answered(**(whole | changed))


def test_a_healthy_system_has_a_hundred() -> None:
    found = score.compose(parts(), {})
    assert (found["overall_score"], found["status"], found["limitado_por"]) == (100.0, "healthy", [])
    assert list(found["components"]) == ["redis", "supabase", "evolution", "circuits", "fila", "worker"]


@pytest.mark.parametrize("dead", ["redis", "supabase", "worker", "evolution"])
def test_a_dead_critical_component_is_never_part_of_a_healthy_whole(dead: str) -> None:
    checks = {"redis": CheckResult(dead != "redis"), "supabase": CheckResult(dead != "supabase")}
    found = score.compose(
        parts(
            prontidao=checks,
            worker=[] if dead == "worker" else [{"encerrado_em": None, "idade": 3}],
            chips=[] if dead == "evolution" else [chip_seen()],
        ),
        {},
    )
    assert (found["overall_score"], found["status"]) == (83.3, "degraded")
    assert (found["worst_component"], found["limitado_por"]) == (dead, [dead])


@pytest.mark.parametrize(
    ("mean", "status"), [(100, "healthy"), (80, "healthy"), (79.9, "degraded"), (50, "degraded"), (49.9, "unhealthy")]
)
def test_the_thresholds_of_the_score_are_80_and_50(mean: float, status: str) -> None:
    assert score.status_of(mean, []) == status


@pytest.mark.parametrize(
    ("changed", "points"),
    [
        ({}, 100), ({"pendentes": 100}, 100), ({"pendentes": 101}, 80), ({"pendentes": 501}, 40),
        ({"travadas": 1}, 80), ({"travadas": 11}, 60), ({"erros_ultima_hora": 5}, 100),
        ({"erros_ultima_hora": 6}, 80), ({"erros_ultima_hora": 21}, 60),
        ({"pendentes": 501, "travadas": 11, "erros_ultima_hora": 21}, 0),
    ],
)  # fmt: skip
def test_the_filas_part_of_the_score(changed: dict[str, int], points: int) -> None:
    assert score.fila(CALM | changed) == points


def test_the_providers_part_is_the_mean_over_the_chips() -> None:
    assert score.providers([chip_seen(), chip_seen(conectado=False)]) == 75
    assert score.providers([chip_seen(), chip_seen(provider_open=True)]) == 50
    assert score.providers([]) == 0


def test_what_cannot_be_read_counts_as_nothing_and_is_named() -> None:
    found = score.compose({**parts(), "fila": failed(CALM, NOW)}, {})
    assert found["components"]["fila"] == 0
    assert found["nao_lidos"]["fila"]["classe"] == "QueryCanceled"


@with_database
def test_the_score_of_a_system_without_a_worker_is_degraded(client: Client) -> None:
    factories.chip()
    assert body_of(client, "/health/score")["status"] == "degraded"
    beats.beat("worker", "worker@a:1")
    found = body_of(client, "/health/score")
    assert (found["overall_score"], found["status"]) == (100.0, "healthy")


# --- /health/alerts


def told(**changed: Any) -> Any:
    whole = {
        "alertas": [],
        "fila": CALM,
        "worker": [{"encerrado_em": None, "idade": 3}],
        "circuits": {},
        "chips": [chip_seen()],
        "jobs": {"alerts": {"critical_stale": []}, "jobs": {}},
    }
    return alerts.compose(answered(**(whole | changed)), {})


def test_nothing_to_tell_is_ok() -> None:
    assert (told()["status"], told()["total_alerts"]) == ("ok", 0)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"travadas": 1}, "warning"), ({"travadas": 10}, "critical"), ({"pendentes": 100}, "ok"),
        ({"pendentes": 101}, "warning"), ({"pendentes": 500}, "critical"),
    ],
)  # fmt: skip
def test_the_fila_alerts_by_its_own_thresholds(changed: dict[str, int], status: str) -> None:
    assert told(fila=CALM | changed)["status"] == status


@pytest.mark.parametrize(
    ("fleet", "status"),
    [
        ([], "critical"),
        ([chip_seen(conectado=False)], "critical"),
        ([chip_seen(), chip_seen(conectado=False), chip_seen(conectado=False)], "warning"),
        ([chip_seen(), chip_seen(conectado=False)], "ok"),
        ([chip_seen(trust_score=39)] * 4 + [chip_seen()] * 6, "warning"),
        ([chip_seen(trust_score=39)] * 3 + [chip_seen()] * 7, "ok"),
    ],
)
def test_chips_alert_by_connection_and_trust(fleet: list[Any], status: str) -> None:
    assert told(chips=fleet)["status"] == status


def test_a_silent_worker_and_a_late_critical_job_are_critical() -> None:
    assert told(worker=[])["status"] == "critical"
    late = {"alerts": {"critical_stale": ["heartbeat"]}, "jobs": {"heartbeat": {"seconds_since_last_run": 400}}}
    found = told(jobs=late)
    assert (found["status"], found["alerts"][0]["tipo"], found["alerts"][0]["value"]) == (
        "critical",
        "job_atrasado",
        400,
    )


def test_what_could_not_be_read_is_an_error_that_a_critical_alert_outranks() -> None:
    base = {"alertas": [], "worker": [{"encerrado_em": None, "idade": 3}], "circuits": {}, "chips": [chip_seen()]}
    jobs: dict[str, Any] = {"alerts": {"critical_stale": []}, "jobs": {}}
    away = {**answered(**base, jobs=jobs), "fila": failed()}
    found = alerts.compose(away, {})
    assert (found["status"], found["nao_lidos"]["fila"]["classe"]) == ("error", "QueryCanceled")
    assert alerts.compose({**away, "worker": Answer([], NOW)}, {})["status"] == "critical"


@with_database
def test_an_open_alert_is_shown_with_its_owner_and_not_told_twice(client: Client) -> None:
    factories.chip()
    raise_alert(
        "worker_sem_heartbeat", severidade=Severidade.CRITICAL, titulo="Worker parado", mensagem="Sem sinal há 3 min.",
        valor=Decimal(180),
    )  # fmt: skip
    execute("UPDATE alertas SET reconhecido = true, reconhecido_por = 'ana'")
    found = body_of(client, "/health/alerts")
    assert found["total_alerts"] == 1
    shown = found["alerts"][0]
    assert (shown["tipo"], shown["reconhecido"], shown["value"]) == ("worker_sem_heartbeat", True, 180.0)
    assert shown["id"] == str(rows("SELECT id FROM alertas")[0]["id"])
    execute("UPDATE alertas SET resolvido_em = agora()")
    again = body_of(client, "/health/alerts")
    assert [(each["tipo"], each["id"]) for each in again["alerts"]] == [("worker_sem_heartbeat", None)]


@with_database
def test_an_open_circuit_of_a_service_is_critical_and_a_chips_a_warning(client: Client) -> None:
    beats.beat("worker", "worker@a:1")
    chip = factories.chip()
    services.force_open(names.of_chip(chip.id), actor="sistema", motivo="Teste de circuito aberto")
    assert body_of(client, "/health/alerts")["status"] == "warning"
    services.force_open("evolution", actor="sistema", motivo="Teste de circuito aberto")
    assert body_of(client, "/health/alerts")["status"] == "critical"


# --- /health/deep


@with_database
def test_a_database_of_another_environment_is_critical_at_once(client: Client, settings: Any) -> None:
    settings.SUPABASE_PROJECT_REF = "ours"
    factories.set_setting("supabase_project_ref", "theirs")
    found = body_of(client, "/health/deep", 503)
    assert (found["status"], found["deploy_safe"]) == ("CRITICAL", False)
    assert found["checks"]["project_ref"]["status"] == "critical"
    factories.set_setting("supabase_project_ref", "ours")
    factories.set_setting("environment", "production")
    found = body_of(client, "/health/deep", 503)
    assert (found["checks"]["project_ref"]["status"], found["checks"]["environment"]["status"]) == ("ok", "critical")


@with_database
def test_a_system_in_order_is_healthy_and_only_what_exists_is_checked(client: Client, settings: Any) -> None:
    settings.SIMULADOR_NONCE = "n"
    beats.beat("worker", "worker@a:1")
    found = body_of(client, "/health/deep")
    assert (found["status"], found["deploy_safe"]) == ("healthy", True)
    assert list(found["checks"]) == [
        "environment", "project_ref", "localhost_check", "dev_guardrails", "redis", "supabase", "tables",
        "schema_version", "fila", "worker", "jobs",
    ]  # fmt: skip
    assert re.fullmatch(r"[0-9a-f]{16}", found["schema"]["fingerprint"])
    assert set(found["version"]) == {"git_sha", "deployment_id", "railway_environment", "run_mode"}
    assert {"clientes", "conversations", "fila_mensagens", "doctor_state", "app_settings"} <= deep._our_tables()


@with_database
def test_outside_production_an_empty_list_of_test_numbers_fails(client: Client, settings: Any) -> None:
    settings.OUTBOUND_ALLOWLIST = []
    assert body_of(client, "/health/deep", 503)["checks"]["dev_guardrails"]["status"] == "error"


@with_database
def test_an_address_of_this_machine_is_critical_in_production(client: Client, settings: Any) -> None:
    settings.PRODUCTION = True
    settings.SECURE_SSL_REDIRECT = False
    settings.EVOLUTION_API_URL = "http://localhost:8080"
    found = body_of(client, "/health/deep", 503)
    assert (found["status"], found["checks"]["localhost_check"]["status"]) == ("CRITICAL", "critical")
    assert "EVOLUTION_API_URL" in found["checks"]["localhost_check"]["detail"]
    assert "8080" not in json.dumps(found)


@with_database
def test_a_database_behind_the_code_is_a_warning(client: Client) -> None:
    applied = rows(
        "DELETE FROM django_migrations WHERE app = 'core' AND name LIKE '0006%%' RETURNING app, name, applied"
    )
    try:
        found = body_of(client, "/health/deep", 503)["checks"]["schema_version"]
    finally:
        for row in applied:
            execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)",
                [row["app"], row["name"], row["applied"]],
            )
    assert (found["status"], "1 migrações" in found["detail"]) == ("warning", True)


def test_the_score_of_circuits_counts_services_only() -> None:
    from core.circuits.models import CircuitState
    from core.circuits.transitions import CircuitFacts

    def found(**states: CircuitState) -> circuits.Found:
        return {name: (CircuitFacts(name, state=state), 60) for name, state in states.items()}

    assert circuits.score(found(evolution=CircuitState.OPEN, zapi=CircuitState.HALF_OPEN)) == 45
    assert circuits.score(found(evolution=CircuitState.OPEN, zapi=CircuitState.OPEN, slack=CircuitState.OPEN)) == 0
    chip = {"chip:1": (CircuitFacts("chip:1", state=CircuitState.OPEN), 300)}
    assert circuits.score(chip) == 100


def test_a_worker_that_was_never_seen_is_not_a_worker_that_could_not_be_read() -> None:
    page = PAGES["health/worker"]
    never = page.compose({"worker": Answer([], NOW)}, {})
    away = page.compose({"worker": failed()}, {})
    assert (never["estado"], away["estado"], away["status"]) == ("missing", "unknown", "error")
    assert worker.code(never) == worker.code(away) == 503
