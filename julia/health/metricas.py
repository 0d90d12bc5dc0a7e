"""`/metrics` and `/metrics/history`: made in `core.metrics`, answered with the limits of every health page."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from core.health.pages import Answers, Body, Text, WholeNumber, from_one
from core.health.reading import Reading
from core.metrics import history
from core.metrics.exposition import CONTENT_TYPE, exposition
from julia.health.shapes import Erro

__all__ = ["CONTENT_TYPE"]


def _read_history(now: datetime, metric_name: str | None, horas: int, limit: int) -> Body:
    return history.history(now, metric_name or "", horas, limit)


EXPOSITION: Reading[str] = Reading("metricas", exposition)
HISTORY: Reading[Body] = Reading("metricas_historia", _read_history, most_kept=4)
PARAMS = (
    Text("metric_name", "Só esta métrica, por exemplo fila_pendentes. Vazio: todas."),
    WholeNumber("horas", history.DEFAULT_HOURS, 1, history.MOST_HOURS, "Quantas horas para trás."),
    WholeNumber("limit", history.DEFAULT_LIMIT, 1, history.MOST_POINTS, "Quantos pontos, os mais novos primeiro."),
)


class Ponto(TypedDict):
    metric_name: str
    value: float
    labels: dict[str, Any]
    created_at: str


class HistoryBody(TypedDict):
    metric_name: str | None
    period_hours: int
    total: int | None
    points: list[Ponto]
    timestamp: str
    status: NotRequired[str]
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    """Nothing old: a scrape that fails is a gap, an old number would be taken for a new one."""
    found = answers["metricas"]
    if found.failure is None:
        return {"text": found.value}
    return {"text": f"# {found.failure.classe}: {found.failure.mensagem}\n", "failed": True}


def code(body: Body) -> int:
    return 503 if "failed" in body else 200


def compose_history(answers: Answers, params: Mapping[str, Any]) -> Body:
    def body(found: Body, at: datetime) -> Body:
        return found

    return from_one(
        answers["metricas_historia"],
        body,
        lambda: {
            "metric_name": params["metric_name"],
            "period_hours": params["horas"],
            "total": None,
            "points": [],
        },
    )


EXAMPLE: Body = {"text": 'integration_requests_total{integration="evolution",operation="send",status="error"} 3.0\n'}
HISTORY_EXAMPLE: Body = {
    "metric_name": "fila_pendentes",
    "period_hours": 24,
    "total": 1,
    "points": [
        {"metric_name": "fila_pendentes", "value": 120.0, "labels": {}, "created_at": "2026-03-03T12:55:00+00:00"}
    ],
    "timestamp": "2026-03-03T13:00:00+00:00",
}
