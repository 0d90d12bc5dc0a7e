"""The health pages: literal keys and thresholds, the same number everywhere, and nothing that is nobody's business."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired, get_type_hints

import pytest
from django.db import connection
from django.test import Client

from core.alerts.models import Severidade
from core.alerts.services import raise_alert
from core.circuits import names, services
from core.circuits.models import Circuit, CircuitTransition
from core.database import execute
from core.health import beats
from core.health.lanes import lanes
from core.health.models import RoleBeat
from core.health.pages import Page
from core.health.reading import forget_all
from core.health.views import HEALTH, READY
from core.jobs import registry
from fila.metricas import obter_metricas_fila
from julia.health import chips, fila
from julia.health.urls import PAGES
from tests import factories
from tests.julia.health import CALM, NOW, Here, body_of, chip_seen, failed

TOKEN = "test-health-token"
EVERY_PAGE = {"health": HEALTH, "health/ready": READY, **PAGES}
with_database = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _read_in_this_transaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lanes, "submit", lambda work: work(Here()))
    forget_all()
    yield
    forget_all()


# --- every page


@pytest.mark.parametrize("page", EVERY_PAGE.values(), ids=EVERY_PAGE)
def test_the_example_of_a_page_has_the_keys_of_its_shape(page: Page) -> None:
    if page.text:
        assert isinstance(page.example["text"], str)
        return
    hints = get_type_hints(page.shape, include_extras=True)
    optional = {key for key, hint in hints.items() if getattr(hint, "__origin__", None) is NotRequired}
    assert set(hints) - optional <= set(page.example) <= set(hints)


@with_database
@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_page_answers_get_head_and_options_and_refuses_the_rest(client: Client, path: str) -> None:
    response = client.get(f"/{path}")
    assert response.status_code in EVERY_PAGE[path].codes
    assert response["Content-Type"] == (EVERY_PAGE[path].text or "application/json")
    assert response["Cache-Control"] == "no-store"
    head = client.head(f"/{path}")
    assert (head.status_code, head.content) == (response.status_code, b"")
    options = client.options(f"/{path}")
    assert (options.status_code, options["Allow"]) == (204, "GET, HEAD, OPTIONS")
    refused = client.post(f"/{path}")
    assert (refused.status_code, refused.json()["status"]) == (405, "error")
    assert client.get(f"/{path}", headers={"Accept": "text/html"}).status_code == response.status_code


@pytest.mark.parametrize("path", ["health/", "health/x", "health/fila/", "circuits/x", "metrics/", "health/../etc"])
def test_a_path_that_no_page_has_is_a_json_404(client: Client, path: str) -> None:
    for answer in (client.get(f"/{path}"), client.post(f"/{path}")):
        assert (answer.status_code, answer.json()["status"]) == (404, "error")


@pytest.mark.parametrize("path", [path for path, page in EVERY_PAGE.items() if not page.is_open])
def test_a_token_closes_every_page_but_the_one_of_being_alive(client: Client, settings: Any, path: str) -> None:
    settings.HEALTH_TOKEN = TOKEN
    refused = client.get(f"/{path}")
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get(f"/{path}", headers={"Authorization": "Bearer x"}).status_code == 401
    assert client.get("/health").status_code == 200


@with_database
def test_the_right_token_opens(client: Client, settings: Any) -> None:
    settings.HEALTH_TOKEN = TOKEN
    assert client.get("/health/fila", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@with_database
def test_no_page_shows_a_telephone_or_where_the_database_is(client: Client) -> None:
    """UUIDs and hashes may hold ten digits in a row."""
    chip = factories.chip(telefone="5511900001234", ultimo_erro_msg="5511900001234 recusado")
    factories.mensagem(telefone_destino="5511900005678", status="erro", outcome="FAILED_PROVIDER")
    words: dict[str, Any] = {"titulo": "5511900001234 mudo", "mensagem": "de (11) 90000-1234"}
    raise_alert("chip_mudo", f"chip:{chip.id}", severidade=Severidade.CRITICAL, **words)
    Circuit.objects.create(name=names.of_chip(chip.id), failures=2, last_error_kind="rede")
    address = connection.settings_dict
    host = str(address["HOST"] or address["OPTIONS"]["host"])
    for path in EVERY_PAGE:
        text = client.get(f"/{path}").content.decode()
        seen = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{16}", "", text)
        assert not re.search(r"\d{10}", seen), path
        assert "90000-1234" not in text
        assert host not in text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/health/circuits/history?horas=0", "horas é um número inteiro de 1 a 720."),
        ("/health/circuits/history?horas=abc", "horas é um número inteiro de 1 a 720."),
        ("/health/circuits/history?horas=24.5", "horas é um número inteiro de 1 a 720."),
        ("/health/circuits/history?horas=-1", "horas é um número inteiro de 1 a 720."),
        ("/health/circuits/history?horas=٣", "horas é um número inteiro de 1 a 720."),
        ("/health/circuits/history?circuit_name=%00", "circuit_name tem até 60 letras"),
        ("/health/circuits/history?circuit_name=" + "a" * 61, "circuit_name tem até 60 letras"),
        ("/metrics/history?horas=169", "horas é um número inteiro de 1 a 168."),
        ("/metrics/history?limit=0", "limit é um número inteiro de 1 a 10000."),
    ],
)
def test_a_parameter_that_cannot_be_is_a_400_with_a_sentence(client: Client, path: str, said: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["status"]) == (400, "error")
    assert response.json()["message"].startswith(said)


# --- /health/fila


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "healthy"),
        ({"pendentes": 99, "erros_ultima_hora": 9, "mensagem_mais_antiga_minutos": 59}, "healthy"),
        ({"pendentes": 100}, "degraded"),
        ({"pendentes": 499}, "degraded"),
        ({"pendentes": 500}, "critical"),
        ({"travadas": 1}, "degraded"),
        ({"travadas": 9}, "degraded"),
        ({"travadas": 10}, "critical"),
        ({"erros_ultima_hora": 10}, "degraded"),
        ({"mensagem_mais_antiga_minutos": 60}, "degraded"),
        ({"pendentes": 500, "erros_ultima_hora": 10, "mensagem_mais_antiga_minutos": 60}, "critical"),
        ({"mensagem_mais_antiga_minutos": None, "tempo_medio_processamento_ms": None}, "healthy"),
    ],
)
def test_the_fila_is_as_bad_as_the_worst_of_its_numbers(changed: dict[str, int | None], status: str) -> None:
    found, sentences = fila.judge(CALM | changed)
    assert found == status
    assert bool(sentences) is (status != "healthy")


@with_database
def test_the_fila_shows_the_numbers_of_the_one_function_nested_and_flat(client: Client) -> None:
    factories.mensagens(3)
    found = body_of(client, "/health/fila")
    expected = obter_metricas_fila()
    assert found["metrics"] == expected
    assert {key: found[key] for key in fila.KEYS} == {key: expected[key] for key in fila.KEYS}
    assert found["pendentes"] == 3
    assert found["thresholds"] == {
        "backlog_warning": 100, "backlog_critical": 500, "travadas_warning": 1, "travadas_critical": 10,
        "erros_hora_warning": 10, "idade_warning_min": 60,
    }  # fmt: skip
    deeper = client.get("/health/deep").json()["checks"]["fila"]["metrics"]
    assert deeper == found["metrics"]


def test_a_fila_that_cannot_be_read_shows_what_was_known_and_since_when_it_is_old() -> None:
    page = PAGES["health/fila"]
    known = page.compose({"fila": failed(CALM | {"pendentes": 7}, NOW)}, {})
    assert (known["status"], known["pendentes"], known["desatualizado_desde"]) == ("error", 7, NOW.isoformat())
    assert known["erro"] == {"classe": "QueryCanceled", "mensagem": "a leitura passou de 2 segundos"}
    nothing = page.compose({"fila": failed()}, {})
    assert (nothing["status"], nothing["pendentes"], nothing["desatualizado_desde"]) == ("error", None, None)
    assert set(nothing["metrics"].values()) == {None}


# --- /health/worker


@with_database
def test_without_any_worker_the_page_is_503_and_says_how_to_start_one(client: Client) -> None:
    found = body_of(client, "/health/worker", 503)
    assert (found["status"], found["estado"], found["last_heartbeat"]) == ("unhealthy", "missing", None)
    assert (found["limite_segundos"], found["workers"]) == (120, [])
    assert "servir --papel worker" in found["mensagem"]


@with_database
@pytest.mark.parametrize(("age_s", "status"), [(0, 200), (119, 200), (122, 503)])
def test_a_worker_is_healthy_for_120_s_after_its_beat(client: Client, age_s: int, status: int) -> None:
    beats.beat("worker", "worker@a:1")
    execute("UPDATE role_beats SET beat_at = agora() - make_interval(secs => %s)", [age_s])
    found = body_of(client, "/health/worker", status)
    assert abs(found["idade_segundos"] - age_s) <= 1
    assert found["last_heartbeat"] == found["workers"][0]["ultimo_heartbeat"]
    assert found["workers"][0]["vivo"] is (status == 200)
    beat = RoleBeat.objects.get()
    since = beat.started_at if status == 200 else beat.beat_at
    assert found["desde"] == since.isoformat()


@with_database
def test_one_living_worker_is_enough_and_one_that_ended_on_purpose_is_none(client: Client) -> None:
    for name in ("worker@a:1", "worker@b:1"):
        beats.beat("worker", name)
    beats.close("worker@a:1")
    found = body_of(client, "/health/worker")
    assert [each["vivo"] for each in found["workers"]] == [True, False]
    beats.close("worker@b:1")
    found = body_of(client, "/health/worker", 503)
    assert (found["estado"], "encerrado" in found["mensagem"]) == ("stopped", True)


# --- /health/jobs


@with_database
def test_every_job_is_an_object_also_on_a_fresh_database_and_without_one(client: Client) -> None:
    expected = {job.name for job in registry.registered()}
    assert set(body_of(client, "/health/jobs")["jobs"]) == expected
    away = PAGES["health/jobs"].compose({"jobs": failed()}, {})
    assert away["status"] == "error"
    assert set(away["jobs"]) == expected
    assert away["jobs"]["heartbeat"]["is_stale"] is None


@with_database
def test_jobs_carry_the_literal_keys(client: Client) -> None:
    found = body_of(client, "/health/jobs")
    assert {"status", "jobs", "alerts", "sla_config", "period", "total_executions", "timestamp"} <= set(found)
    assert {
        "last_run", "last_status", "runs_24h", "success_24h", "errors_24h", "timeouts_24h", "avg_duration_ms",
        "total_items_processed", "last_error", "sla_seconds", "is_stale", "seconds_since_last_run",
    } <= set(found["jobs"]["heartbeat"])  # fmt: skip
    assert {"jobs_with_errors", "jobs_with_timeouts", "stale_jobs", "critical_stale", "missing_critical"} <= set(
        found["alerts"]
    )


# --- /health/chips


@with_database
def test_no_chip_in_production_is_critical(client: Client) -> None:
    factories.chip(status="warming")
    found = body_of(client, "/health/chips")
    assert (found["status"], found["summary"]["total"], found["summary"]["trust_medio"]) == ("critical", 0, None)


@with_database
def test_a_permission_taken_away_takes_the_capacity_with_it(client: Client) -> None:
    """The containment of the incident: trust was high, `pode_prospectar` was not."""
    factories.chip(trust_score=85, pode_prospectar=False)
    found = body_of(client, "/health/chips")
    assert found["capacidade"] == {"prospeccao": 0, "followup": 1, "resposta": 1}
    shown = found["chips"][0]
    assert (shown["pode_prospectar"], shown["pode_responder"], shown["is_available"]) == (False, True, True)
    assert re.fullmatch(r"\d{4}", shown["telefone"])


@with_database
def test_the_numbers_of_chips_by_trust_connection_and_circuit(client: Client) -> None:
    factories.chip(trust_score=80)
    factories.chip(trust_score=79)
    low = factories.chip(trust_score=59)
    factories.chip(trust_score=85, evolution_connected=False, connection_state="close")
    services.force_open(names.of_chip(low.id), actor="sistema", motivo="Teste de circuito aberto")
    found = body_of(client, "/health/chips")
    assert found["summary"] == {
        "total": 4, "disponiveis": 2, "saudaveis": 2, "atencao": 1, "criticos": 1, "circuit_aberto": 1,
        "desconectados": 1, "trust_medio": 75.8,
    }  # fmt: skip
    assert found["capacidade"] == {"prospeccao": 2, "followup": 2, "resposta": 2}
    assert [each["circuit_state"] for each in found["chips"]].count("open") == 1


@with_database
def test_a_zapi_chip_that_is_connected_is_available(client: Client) -> None:
    factories.chip(provider="z-api", evolution_connected=True)
    assert body_of(client, "/health/chips")["summary"]["disponiveis"] == 1


def seen(count: int, *, trust: int = 85, circuit_open: bool = False, available: bool = True) -> list[Any]:
    health = "saudavel" if trust >= 80 else "atencao" if trust >= 60 else "critico"
    each = chip_seen(trust_score=trust, health=health, circuit_open=circuit_open, is_available=available)
    return [each] * count


@pytest.mark.parametrize(
    ("fleet", "status"),
    [
        ([], "critical"),
        (seen(3, available=False), "critical"),
        (seen(3) + seen(7, trust=70), "healthy"),
        (seen(2) + seen(8, trust=70), "degraded"),
        (seen(5) + seen(5, circuit_open=True), "healthy"),
        (seen(4) + seen(6, circuit_open=True), "degraded"),
    ],
)
def test_the_fleets_status(fleet: list[Any], status: str) -> None:
    assert chips.judge(fleet)[0] == status


# --- /health/circuits


@with_database
def test_circuits_are_the_rows_that_every_process_shares(client: Client) -> None:
    services.force_open("evolution", actor="sistema", motivo="Teste de circuito aberto")
    found = body_of(client, "/health/circuits")["circuits"]
    assert set(names.KNOWN) <= set(found)
    assert set(found["evolution"]) >= {
        "nome", "estado", "falhas_consecutivas", "ultima_falha", "ultimo_sucesso", "tentativas_half_open",
        "tempo_reset_atual", "ultimo_erro_tipo",
    }  # fmt: skip
    assert (found["evolution"]["estado"], found["claude"]["estado"]) == ("open", "closed")
    assert (found["evolution"]["tempo_reset_atual"], found["claude"]["tempo_reset_atual"]) == (300, 60)
    assert body_of(client, "/health/circuits/dashboard")["health_score"] == 60


@with_database
def test_the_history_is_filtered_by_name_and_by_hours(client: Client) -> None:
    for name, hours in (("evolution", 1), ("evolution", 30), ("zapi", 2)):
        row = CircuitTransition.objects.create(
            circuit_name=name, from_state="closed", to_state="open", reason="muitas_falhas_5", falhas_consecutivas=5
        )
        CircuitTransition.objects.filter(pk=row.pk).update(created_at=datetime.now(UTC) - timedelta(hours=hours))
    one = body_of(client, "/health/circuits/history?circuit_name=evolution&horas=24")
    assert (one["circuit_filter"], one["period_hours"], one["total_transitions"]) == ("evolution", 24, 1)
    assert set(one["by_circuit"]["evolution"][0]) == {"from", "to", "reason", "falhas", "at"}
    assert body_of(client, "/health/circuits/history?circuit_name=&horas=")["total_transitions"] == 2
    assert body_of(client, "/health/circuits/history?horas=720")["total_transitions"] == 3
    nobody = body_of(client, "/health/circuits/history?circuit_name=inexistente")
    assert (nobody["total_transitions"], nobody["by_circuit"]) == (0, {})


@with_database
def test_the_history_reads_a_hundred_and_shows_fifty(client: Client) -> None:
    CircuitTransition.objects.bulk_create(
        CircuitTransition(circuit_name="evolution", from_state="open", to_state="closed", reason="recuperado")
        for _ in range(120)
    )
    found = body_of(client, "/health/circuits/history")
    assert (found["total_transitions"], len(found["transitions"])) == (100, 50)


@with_database
@pytest.mark.parametrize("path", ["/circuits/dashboard", "/health/circuits/dashboard"])
def test_the_dashboard_has_a_list_for_each_service(client: Client, path: str) -> None:
    found = body_of(client, path)
    assert {"current", "last_24h", "health_score"} <= set(found)
    assert found["last_24h"]["evolution"] == found["last_24h"]["claude"] == found["last_24h"]["supabase"] == []
    assert found["health_score"] == 100


# --- /health/rate-limit


@with_database
def test_the_rate_limit_counts_weights_of_the_hour_and_the_day(client: Client) -> None:
    factories.open_operation(limite_global_hora=20, limite_global_dia=None)
    execute(
        """INSERT INTO limites_minutos (escopo, minuto, peso)
           SELECT 'global', date_trunc('minute', agora()) - interval '1 minute' * n, 2 FROM generate_series(0, 2) n"""
    )
    found = body_of(client, "/health/rate-limit")["rate_limit"]
    assert (found["msgs_hora"], found["limite_hora"], found["limite_dia"]) == (6, 20, None)
    assert (found["horario_permitido"], found["limite_pessoa_dia"], found["peso_campanha"]) == (True, 3, 2)
