"""The health pages that cross apps. Those of core come first; whatever is left below their paths is a JSON 404."""

from dataclasses import replace
from typing import Any

from django.urls import URLPattern, path, re_path

from core.health.pages import Page, Text, WholeNumber, page, unknown
from core.health.reading import Reading
from julia.health import alerts, chips, circuits, deep, fila, jobs, metricas, rate_limit, score, worker

_PARTS: dict[str, Reading[Any]] = {
    "chips": chips.CHIPS,
    "circuits": circuits.CIRCUITS,
    "fila": fila.FILA,
    "worker": worker.WORKERS,
}
_DASHBOARD = Page(
    name="circuits_dashboard",
    summary="Os circuitos agora, o que mudou em 24 h e uma nota de 0 a 100.",
    readings={"circuits": circuits.CIRCUITS, "circuits_history": circuits.DAY},
    compose=circuits.compose_dashboard,
    shape=circuits.DashboardBody,
    example=circuits.DASHBOARD_EXAMPLE,
)

PAGES: dict[str, Page] = {
    "health/deep": Page(
        name="profunda",
        summary="Esta instalação está certa? Ambiente, banco, esquema e o que precisa estar andando.",
        readings={
            "prontidao": score.READINESS,
            "identidade": deep.IDENTITY,
            "esquema": deep.SCHEMA,
            "fila": fila.FILA,
            "worker": worker.WORKERS,
            "jobs": jobs.JOBS,
        },
        compose=deep.compose,
        shape=deep.DeepBody,
        example=deep.EXAMPLE,
        code=deep.code,
        codes=(200, 503),
    ),
    "health/fila": Page(
        name="fila",
        summary="Quantas mensagens esperam, há quanto tempo, e se isso preocupa.",
        readings={"fila": fila.FILA},
        compose=fila.compose,
        shape=fila.FilaBody,
        example=fila.EXAMPLE,
    ),
    "health/worker": Page(
        name="worker",
        summary="O consumidor da fila está vivo? 503 quando não há sinal há mais de 120 s.",
        readings={"worker": worker.WORKERS},
        compose=worker.compose,
        shape=worker.WorkerBody,
        example=worker.EXAMPLE,
        code=worker.code,
        codes=(200, 503),
    ),
    "health/jobs": Page(
        name="jobs",
        summary="Cada job: quando rodou, como terminou e se está atrasado.",
        readings={"jobs": jobs.JOBS},
        compose=jobs.compose,
        shape=jobs.JobsBody,
        example=jobs.EXAMPLE,
    ),
    "health/alerts": Page(
        name="alertas",
        summary="O que uma pessoa deve olhar agora: alertas abertos e o que os números mostram.",
        readings={"alertas": alerts.ALERTS, "jobs": jobs.JOBS, **_PARTS},
        compose=alerts.compose,
        shape=alerts.AlertsBody,
        example=alerts.EXAMPLE,
    ),
    "health/score": Page(
        name="nota",
        summary="Uma nota de 0 a 100, média de seis partes, e a pior delas.",
        readings={"prontidao": score.READINESS, **_PARTS},
        compose=score.compose,
        shape=score.ScoreBody,
        example=score.EXAMPLE,
    ),
    "health/rate-limit": Page(
        name="limites",
        summary="Quanto do limite global já foi gasto e se agora é horário de contato.",
        readings={"rate_limit": rate_limit.BUDGET},
        compose=rate_limit.compose,
        shape=rate_limit.RateLimitBody,
        example=rate_limit.EXAMPLE,
    ),
    "health/chips": Page(
        name="chips",
        summary="Quem pode enviar agora e por quê.",
        readings={"chips": chips.CHIPS},
        compose=chips.compose,
        shape=chips.ChipsBody,
        example=chips.EXAMPLE,
    ),
    "health/circuits": Page(
        name="circuits",
        summary="O estado de cada circuito.",
        readings={"circuits": circuits.CIRCUITS},
        compose=circuits.compose,
        shape=circuits.CircuitsBody,
        example=circuits.EXAMPLE,
    ),
    "health/circuits/history": Page(
        name="circuits_history",
        summary="As mudanças de estado dos circuitos, as mais novas primeiro.",
        readings={"circuits_history": circuits.HISTORY},
        params=(
            Text("circuit_name", "Só este circuito, por exemplo evolution ou chip:<id>. Vazio: todos."),
            WholeNumber("horas", 24, 1, circuits.MOST_HOURS, "Quantas horas para trás."),
        ),
        asked_with=("circuits_history",),
        compose=circuits.compose_history,
        shape=circuits.HistoryBody,
        example=circuits.HISTORY_EXAMPLE,
    ),
    "health/circuits/dashboard": _DASHBOARD,
    "circuits/dashboard": replace(_DASHBOARD, name="painel_circuits"),
    "metrics": Page(
        name="metrics",
        summary="Contadores e medidas no formato de texto do Prometheus.",
        readings={"metricas": metricas.EXPOSITION},
        compose=metricas.compose,
        shape=str,
        example=metricas.EXAMPLE,
        text=metricas.CONTENT_TYPE,
        code=metricas.code,
        codes=(200, 503),
    ),
    "metrics/history": Page(
        name="metrics_history",
        summary="As medidas de cada 5 minutos, por até 7 dias.",
        readings={"metricas_historia": metricas.HISTORY},
        params=metricas.PARAMS,
        asked_with=("metricas_historia",),
        compose=metricas.compose_history,
        shape=metricas.HistoryBody,
        example=metricas.HISTORY_EXAMPLE,
    ),
}

urlpatterns: list[URLPattern] = [
    *(path(where, page(each), name=where.replace("/", "-")) for where, each in PAGES.items()),
    re_path(r"^(?:health|circuits|metrics)/.*$", unknown),
]
