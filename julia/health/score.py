"""`/health/score`: one number of 0–100 (S-36 T03.4), and what drags it down."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from core.health.pages import Answers, Body, stamp
from core.health.readiness import readiness
from core.health.reading import Answer, Reading
from core.health.registry import CheckResult
from julia.health import circuits, worker
from julia.health.chips import ChipSeen
from julia.health.shapes import Erro

HEALTHY_FROM, DEGRADED_FROM = 80, 50
CRITICAL = ("supabase", "worker", "redis", "evolution")
OTHER_STATE = 50  # a chip that is registered and not connected

READINESS: Reading[dict[str, CheckResult]] = Reading("prontidao", readiness, cache_s=0.0, database=False)


class Componentes(TypedDict):
    redis: int
    supabase: int
    evolution: int
    circuits: int
    fila: int
    worker: int


class ScoreBody(TypedDict):
    overall_score: float
    score: float
    max_score: int
    status: Literal["healthy", "degraded", "unhealthy"]
    components: Componentes
    worst_component: str
    thresholds: dict[str, int]
    limitado_por: list[str]
    nao_lidos: dict[str, Erro]
    timestamp: str


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    """What cannot be read counts as 0 and is named: an unknown is never taken for a healthy one."""
    parts = components(answers)
    score = round(sum(parts.values()) / len(parts), 1)
    dead = [name for name in CRITICAL if parts[name] == 0]
    return {
        "overall_score": score,
        "score": score,
        "max_score": 100,
        "status": status_of(score, dead),
        "components": parts,
        "worst_component": min(parts, key=lambda name: parts[name]),
        "thresholds": {"healthy": HEALTHY_FROM, "degraded": DEGRADED_FROM},
        "limitado_por": dead,
        "nao_lidos": unread(answers),
        "timestamp": stamp(*answers.values()),
    }


def status_of(score: float, dead: list[str]) -> str:
    """The thresholds of S-36; a dead critical component is never part of a healthy whole, whatever the mean says."""
    if score < DEGRADED_FROM:
        return "unhealthy"
    return "degraded" if dead or score < HEALTHY_FROM else "healthy"


def components(answers: Answers) -> dict[str, int]:
    ready: Mapping[str, CheckResult] = answers["prontidao"].value or {}
    return {
        "redis": 100 if "redis" in ready and ready["redis"].ok else 0,
        "supabase": 100 if "supabase" in ready and ready["supabase"].ok else 0,
        "evolution": _or_zero(answers["chips"], providers),
        "circuits": _or_zero(answers["circuits"], circuits.score),
        "fila": _or_zero(answers["fila"], fila),
        "worker": _or_zero(answers["worker"], lambda beats: 100 if worker.is_alive(beats) else 0),
    }


def providers(seen: list[ChipSeen]) -> int:
    """The mean over the chips in production: connected 100, not connected 50, provider's circuit open 0; none is 0."""
    states = [0 if each.provider_open else 100 if each.facts.conectado else OTHER_STATE for each in seen]
    return round(sum(states) / len(states)) if states else 0


def fila(metrics: Mapping[str, int | None]) -> int:
    """Deductions in the proportions of the original (health reference §3.9)."""
    found = {name: value or 0 for name, value in metrics.items()}
    rules = (("pendentes", 500, 60, 100, 20), ("travadas", 10, 40, 0, 20), ("erros_ultima_hora", 20, 40, 5, 20))
    cost = sum(
        much if found[name] > far else little if found[name] > near else 0 for name, far, much, near, little in rules
    )
    return max(0, 100 - cost)


def unread(answers: Answers) -> Body:
    return {
        name: {"classe": each.failure.classe, "mensagem": each.failure.mensagem}
        for name, each in answers.items()
        if each.failure is not None
    }


def _or_zero(answer: Answer[Any], score: Any) -> int:
    return 0 if answer.value is None else int(score(answer.value))


EXAMPLE: Body = {
    "overall_score": 83.3,
    "score": 83.3,
    "max_score": 100,
    "status": "degraded",
    "components": {"redis": 100, "supabase": 100, "evolution": 100, "circuits": 100, "fila": 100, "worker": 0},
    "worst_component": "worker",
    "thresholds": {"healthy": HEALTHY_FROM, "degraded": DEGRADED_FROM},
    "limitado_por": ["worker"],
    "nao_lidos": {},
    "timestamp": "2026-03-03T13:00:00+00:00",
}
