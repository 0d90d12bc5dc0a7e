import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.database import execute, rows
from core.metrics import counters, gauges, history, snapshots
from core.metrics.gauges import Readings, Sample
from core.metrics.history import InvalidQuery
from core.metrics.models import MetricsSnapshot

NOON = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
WEEK = timedelta(days=7)

pytestmark = pytest.mark.django_db


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Two sources of the test's own; `facts` is what they say."""
    said: dict[str, Any] = {"fila_pendentes": 12, "circuit_open": [Sample(0, {"circuit": "evolution"})]}
    monkeypatch.setattr(gauges, "_sources", {})

    @gauges.gauges("fila", {"fila_pendentes": "…"})
    def fila(now: datetime) -> Readings:
        return {"fila_pendentes": said["fila_pendentes"]}

    @gauges.gauges("circuits", {"circuit_open": "…", "circuit_half_open": "…"})
    def circuits(now: datetime) -> Readings:
        return {"circuit_open": said["circuit_open"], "circuit_half_open": 0}

    yield said
    counters.forget()


def written(at: datetime) -> dict[str, float]:
    found = MetricsSnapshot.objects.filter(created_at=at).values_list("metric_name", "value")
    return {name: float(value) for name, value in found}


def keep(name: str, value: float, at: datetime) -> None:
    MetricsSnapshot.objects.create(metric_name=name, value=Decimal(value), created_at=at)


def test_the_table_is_the_printed_one():
    columns = rows(
        """SELECT column_name, data_type, is_nullable = 'NO' AS obrigatoria, column_default IS NOT NULL AS padrao
           FROM information_schema.columns WHERE table_name = 'metrics_snapshots' ORDER BY ordinal_position"""
    )
    assert [tuple(each.values()) for each in columns] == [
        ("id", "uuid", True, True),
        ("metric_name", "text", True, False),
        ("value", "numeric", True, False),
        ("labels", "jsonb", False, True),
        ("created_at", "timestamp with time zone", False, True),
    ]
    (index,) = rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_metrics_name_time'")
    assert index["indexdef"].endswith("(metric_name, created_at DESC)")
    execute("INSERT INTO metrics_snapshots (metric_name, value) VALUES ('fila_pendentes', 3)")


def test_two_runs_five_minutes_apart_write_two_rows_of_each_metric(facts: dict[str, Any]):
    assert snapshots.take(NOON, keep=WEEK) == {"processados": 2, "removidos": 0, "fontes_sem_resposta": []}
    facts["fila_pendentes"] = 40
    later = NOON + timedelta(minutes=5)
    assert snapshots.take(later, keep=WEEK)["processados"] == 2
    assert (written(NOON)["fila_pendentes"], written(later)["fila_pendentes"]) == (12, 40)
    (circuit,) = MetricsSnapshot.objects.filter(metric_name="circuit_open", created_at=NOON)
    assert circuit.labels == {"circuit": "evolution"}


def test_a_second_run_within_the_slot_writes_nothing(facts: dict[str, Any]):
    snapshots.take(NOON, keep=WEEK)
    assert snapshots.take(NOON + timedelta(minutes=4, seconds=59), keep=WEEK)["processados"] == 0
    assert MetricsSnapshot.objects.count() == 2


def test_a_row_of_eight_days_goes_and_one_of_six_stays(facts: dict[str, Any]):
    keep("fila_pendentes", 1, NOON - timedelta(days=8))
    keep("fila_pendentes", 2, NOON - timedelta(days=6))
    assert snapshots.take(NOON, keep=WEEK)["removidos"] == 1
    assert written(NOON - timedelta(days=6)) == {"fila_pendentes": 2}


def test_a_source_that_cannot_be_read_leaves_a_gap_and_no_zero(facts: dict[str, Any]):
    del facts["fila_pendentes"]
    assert snapshots.take(NOON, keep=WEEK) == {"processados": 1, "removidos": 0, "fontes_sem_resposta": ["fila"]}
    assert "fila_pendentes" not in written(NOON)


def test_a_source_that_was_late_is_asked_once_more(facts: dict[str, Any]):
    class Late(dict[str, Any]):
        asked = 0

        def __getitem__(self, name: str) -> Any:
            self.asked += name == "fila_pendentes"
            if self.asked < 2:
                raise KeyError(name)
            return super().__getitem__(name)

    late = Late(facts)

    @gauges.gauges("tardia", {"fila_incertas": "…"})
    def tardia(now: datetime) -> Readings:
        return {"fila_incertas": late["fila_pendentes"]}

    assert snapshots.take(NOON, keep=WEEK)["fontes_sem_resposta"] == []
    assert (late.asked, written(NOON)["fila_incertas"]) == (2, 12)


def test_with_no_source_left_the_run_has_failed(facts: dict[str, Any]):
    facts.clear()
    assert snapshots.take(NOON, keep=WEEK)["status"] == "error"


def test_the_share_of_bad_webhooks_is_taken_between_two_snapshots(facts: dict[str, Any]):
    def counted(status: str, value: int, event: str = "entrada") -> None:
        execute(
            """INSERT INTO metric_counters (metric_name, labels, value) VALUES ('webhook_events_total',
               jsonb_build_object('webhook_type', 'evolution', 'event_type', %s::text, 'status', %s::text), %s)
               ON CONFLICT (metric_name, labels) DO UPDATE SET value = excluded.value""",
            [event, status, value],
        )

    counted("success", 1000)
    counted("error", 50)
    snapshots.take(NOON, keep=WEEK)
    assert "webhook_error_rate" not in written(NOON)  # nothing to compare with
    counted("success", 1009)
    counted("error", 51)
    counted("error", 999, event="recusado")  # anybody can send those
    later = NOON + timedelta(minutes=5)
    snapshots.take(later, keep=WEEK)
    assert written(later)["webhook_error_rate"] == 0.1
    quiet = later + timedelta(minutes=5)
    snapshots.take(quiet, keep=WEEK)
    assert "webhook_error_rate" not in written(quiet)


def test_history_filters_by_name_and_window_newest_first():
    for minutes, value in ((5, 3), (10, 2), (25 * 60, 1)):
        keep("fila_pendentes", value, NOON - timedelta(minutes=minutes))
    keep("jobs_stale", 9, NOON - timedelta(minutes=5))
    body = history.history(NOON, "fila_pendentes")
    assert (body["metric_name"], body["period_hours"], body["total"]) == ("fila_pendentes", 24, 2)
    assert [point["value"] for point in body["points"]] == [3, 2]
    assert set(body["points"][0]) == {"metric_name", "value", "labels", "created_at"}
    assert history.history(NOON)["total"] == 3
    assert history.history(NOON, "fila_pendentes", "26", "10")["total"] == 3
    assert history.history(NOON, "fila_pendentes", 26, 1)["total"] == 1
    assert history.history(NOON, "desconhecida")["points"] == []


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"horas": "0"}, "horas"),
        ({"horas": "169"}, "horas"),
        ({"horas": "um dia"}, "horas"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "1e3"}, "limit"),
        ({"metric_name": "fila\x00"}, "metric_name"),
        ({"metric_name": "x" * 101}, "metric_name"),
    ],
)
def test_a_bad_parameter_is_refused_with_a_sentence(params: dict[str, str], named: str):
    with pytest.raises(InvalidQuery, match=re.escape(named)):
        history.history(NOON, **params)


def test_a_series_is_drawn_oldest_first_and_keeps_its_peaks():
    execute(
        """INSERT INTO metrics_snapshots (metric_name, value, created_at)
           SELECT 'fila_pendentes', CASE WHEN n = 1200 THEN 500 ELSE 1 END, agora() - n * interval '5 minutes'
           FROM generate_series(0, 2015) n"""
    )
    week = history.series(["fila_pendentes", "jobs_stale"], 168)
    assert week["jobs_stale"] == []
    drawn = week["fila_pendentes"]
    assert len(drawn) <= history.CHART_POINTS + 1
    assert drawn == sorted(drawn)
    assert max(value for _, value in drawn) == 500
    assert len(history.series(["fila_pendentes"], 24)["fila_pendentes"]) in (288, 289)


def test_series_of_any_number_of_metrics_are_one_query(django_assert_num_queries: Any):
    with django_assert_num_queries(1):
        history.series(["fila_pendentes", "fila_idade_mais_antiga_min", "chips_disponiveis", "health_score"], 24)
