"""The whole page: what a scrape sees of the real facts."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from chips.choices import InboxKind
from core.circuits import services as circuits
from core.clock import database_now
from core.database import execute
from core.health import reading
from core.jobs import runner
from core.metrics import counters, declared, gauges, snapshots, store
from core.metrics.declared import METRICS
from core.metrics.exposition import exposition
from core.metrics.models import MetricsSnapshot
from fila.metricas import obter_metricas_fila
from tests import factories

BUCKETS = {
    "http_request_duration_seconds": "0.1 0.5 1.0 2.0 5.0 10.0 30.0 +Inf",
    "integration_request_duration_seconds": "0.1 0.5 1.0 2.0 5.0 10.0 30.0 60.0 +Inf",
    "agent_processing_duration_seconds": "0.5 1.0 2.0 5.0 10.0 30.0 60.0 +Inf",
}
LABELS = {
    "http_requests_total": {"endpoint", "method", "status"},
    "http_request_duration_seconds": {"endpoint", "method", "status"},
    "integration_requests_total": {"integration", "operation", "status"},
    "integration_request_duration_seconds": {"integration", "operation"},
    "operation_total": {"operation", "status"},
    "operation_duration_seconds": {"operation"},
    "webhook_events_total": {"webhook_type", "event_type", "status"},
    "agent_messages_total": {"message_type", "status"},
    "agent_processing_duration_seconds": {"message_type"},
}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    counters.forget()
    reading.forget_all()
    yield
    counters.forget()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[(name, frozenset(labels.items()))]


def test_a_fresh_database_shows_every_series_at_zero_and_answers_the_runbooks_greps():
    text = exposition(database_now())
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for pattern in ("integration_requests_total.*error", "webhook_events_total.*error", "success"):
        assert any(re.search(pattern, line) for line in lines)
    counted = [line for line in lines if line.startswith(tuple(METRICS))]
    assert len(counted) == len(set(counted)) > 500
    assert all(line.endswith(" 0.0") for line in counted)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    for name, labels in LABELS.items():
        family = found[name.removesuffix("_total")]
        assert {frozenset(set(sample.labels) - {"le"}) for sample in family.samples} == {frozenset(labels)}
        if name in BUCKETS:
            bounds = [sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")]
            assert " ".join(dict.fromkeys(bounds)) == BUCKETS[name]


def test_the_inboxs_kinds_are_in_the_closed_list():
    assert set(InboxKind.values) <= set(declared.EVENTS)


def test_gauges_say_what_health_says():
    factories.mensagem()
    execute("INSERT INTO alertas (tipo, severidade, titulo, mensagem) VALUES ('x', 'critical', 't', 'm')")
    reading.forget_all()
    text = exposition(database_now())
    assert value(text, "fila_pendentes") == obter_metricas_fila()["pendentes"] == 1
    client = Client()
    assert value(text, "health_score") == client.get("/health/score").json()["overall_score"]
    summary = client.get("/health/chips").json()["summary"]
    assert value(text, "chips_total") == summary["total"]
    assert value(text, "chips_disponiveis") == summary["disponiveis"]
    jobs = client.get("/health/jobs").json()
    assert value(text, "jobs_stale") == len(jobs["alerts"]["stale_jobs"])
    assert value(text, "alertas_abertos", severidade="critical") == 1
    assert value(text, "circuit_open", circuit="evolution") == 0
    circuits.force_open("evolution", actor="teste", motivo="teste de métricas")
    reading.forget_all()
    assert value(exposition(database_now()), "circuit_open", circuit="evolution") == 1


def test_a_source_that_fails_is_absent_and_named(monkeypatch: pytest.MonkeyPatch):
    def away(now: Any) -> Any:
        raise OperationalError

    broken = gauges.Source("fila", gauges._sources["fila"].gauges, away)
    monkeypatch.setitem(gauges._sources, "fila", broken)
    text = exposition(database_now())
    assert value(text, "metrics_source_up", fonte="fila") == 0
    assert value(text, "metrics_source_up", fonte="jobs") == 1
    assert not any(line.startswith("fila_pendentes ") for line in text.splitlines())


def test_the_page_is_prometheus_text_and_tells_of_requests_by_route():
    client = Client()
    chip = factories.chip()
    client.get(f"/admin/chips/chip/{chip.pk}/change/")
    client.get("/nao/existe/5511900001234")
    client.get("/health")
    client.get("/health")
    counters.flush()
    response = client.get("/metrics")
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = response.content.decode()
    assert value(text, "http_requests_total", endpoint="health", method="GET", status="200") == 2
    assert value(text, "http_request_duration_seconds_count", endpoint="health", method="GET", status="200") == 2
    assert value(text, "http_requests_total", endpoint="outro", method="GET", status="404") == 1
    assert "5511900001234" not in text
    assert str(chip.pk) not in text


def test_webhooks_count_by_result():
    client = Client()
    assert client.post("/webhook/whatsapp", "isto não é JSON", content_type="application/json").status_code in (
        400,
        401,
    )
    counters.flush()
    errors = {key: sums.value for key, sums in store.read().items() if key[0] == "webhook_events_total"}
    assert [(key[1][0], key[1][2], total) for key, total in errors.items()] == [("zapi", "error", 1)]


def test_what_is_too_large_for_anybody_is_refused_and_no_providers_error():
    body = "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    assert Client().post("/webhook/whatsapp", body, content_type="application/json").status_code == 413
    counters.flush()
    counted = {key[1]: sums.value for key, sums in store.read().items() if key[0] == "webhook_events_total"}
    assert counted == {("zapi", "recusado", "error"): 1}


def test_a_jobs_run_is_an_operation():
    runner.run("heartbeat", now=database_now())
    counters.flush()
    text = exposition(database_now())
    assert value(text, "operation_total", operation="heartbeat", status="success") == 1
    assert value(text, "operation_duration_seconds_count", operation="heartbeat") == 1


def test_the_job_writes_the_domains_names_and_the_history_page_shows_them():
    factories.chip()
    now = database_now()
    assert runner.run("snapshot_metricas", now=now).ok
    found = set(MetricsSnapshot.objects.values_list("metric_name", flat=True))
    assert found == {*snapshots.NAMES, snapshots.WEBHOOKS} - ({"webhook_events_total"} - found)
    body = Client().get("/metrics/history?metric_name=fila_pendentes&horas=1").json()
    assert (body["metric_name"], body["total"]) == ("fila_pendentes", 1)
    assert Client().get("/metrics/history?horas=169").status_code == 400
    again = runner.run("snapshot_metricas", now=now + timedelta(seconds=1))
    assert again.ok
    assert runner.run("snapshot_metricas", now=now, params={"retencao_dias": 0}).error
