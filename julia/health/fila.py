"""`/health/fila`: the fila's numbers and whether they are alarming (S-36 T01.4; the manual's thresholds)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from core.health.pages import Answers, Body, from_one
from core.health.reading import Reading
from fila.metricas import obter_metricas_fila
from julia.health.shapes import Erro

THRESHOLDS = {
    "backlog_warning": 100,
    "backlog_critical": 500,
    "travadas_warning": 1,
    "travadas_critical": 10,
    "erros_hora_warning": 10,
    "idade_warning_min": 60,
}
KEYS = (
    "pendentes", "processando", "enviadas_ultima_hora", "erros_ultima_hora", "tempo_medio_processamento_ms",
    "mensagem_mais_antiga_minutos",
)  # fmt: skip
MORE = ("mensagem_mais_antiga_min", "travadas", "incertas", "erros_ultimas_24h")

Metricas = dict[str, int | None]
FILA: Reading[Metricas] = Reading("fila", lambda now: obter_metricas_fila())


class FilaBody(TypedDict):
    status: Literal["healthy", "degraded", "critical", "error"]
    alerts: list[str]
    metrics: dict[str, int | None]
    thresholds: dict[str, int]
    pendentes: int | None
    processando: int | None
    enviadas_ultima_hora: int | None
    erros_ultima_hora: int | None
    tempo_medio_processamento_ms: int | None
    mensagem_mais_antiga_minutos: int | None
    timestamp: str
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    return from_one(answers["fila"], body, lambda: shaped(dict.fromkeys((*KEYS, *MORE)), "error", []))


def body(metrics: Metricas, at: datetime) -> Body:
    status, alerts = judge(metrics)
    return {**shaped(metrics, status, alerts), "timestamp": at.isoformat()}


def judge(metrics: Mapping[str, int | None]) -> tuple[str, list[str]]:
    """The worst of all that holds, and a sentence for each."""
    found = list(_findings({key: value or 0 for key, value in metrics.items()}))
    worst = "critical" if any(critical for critical, _ in found) else "degraded" if found else "healthy"
    return worst, [sentence for _, sentence in found]


def _findings(metrics: Mapping[str, int]) -> "list[tuple[bool, str]]":
    pendentes, travadas = metrics["pendentes"], metrics["travadas"]
    erros, idade = metrics["erros_ultima_hora"], metrics["mensagem_mais_antiga_minutos"]
    rules = [
        (
            pendentes >= THRESHOLDS["backlog_warning"],
            pendentes >= THRESHOLDS["backlog_critical"],
            f"{pendentes} mensagens pendentes",
        ),
        (
            travadas >= THRESHOLDS["travadas_warning"],
            travadas >= THRESHOLDS["travadas_critical"],
            f"{travadas} mensagens em envio há mais de 60 minutos",
        ),
        (erros >= THRESHOLDS["erros_hora_warning"], False, f"{erros} erros na última hora"),
        (
            idade >= THRESHOLDS["idade_warning_min"],
            False,
            f"a mensagem mais antiga espera há {idade} min",
        ),
    ]
    return [(critical, sentence) for holds, critical, sentence in rules if holds]


def shaped(metrics: Mapping[str, int | None], status: str, alerts: list[str]) -> Body:
    """The six also at the top, as the manual of S-36 shows them."""
    return {
        "status": status,
        "alerts": alerts,
        "metrics": {key: metrics[key] for key in (*KEYS, *MORE)},
        "thresholds": THRESHOLDS,
        **{key: metrics[key] for key in KEYS},
    }


EXAMPLE: Body = {
    **shaped(
        {
            "pendentes": 120, "processando": 4, "enviadas_ultima_hora": 310, "erros_ultima_hora": 2,
            "tempo_medio_processamento_ms": 840, "mensagem_mais_antiga_minutos": 3, "mensagem_mais_antiga_min": 3,
            "travadas": 0, "incertas": 1, "erros_ultimas_24h": 9,
        },
        "degraded",
        ["120 mensagens pendentes"],
    ),
    "timestamp": "2026-03-03T13:00:00+00:00",
}  # fmt: skip
