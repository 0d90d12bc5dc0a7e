"""`/health/circuits`, its history and the dashboard: what is open, since when, and every change that led there."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NotRequired, TypedDict

from core.circuits import names, store
from core.circuits.config import DEFAULTS, config_of
from core.circuits.models import CircuitState
from core.circuits.transitions import CircuitFacts
from core.database import rows
from core.health.pages import Answers, Body, from_one, iso
from core.health.reading import Reading
from julia.health.shapes import Erro

MOST_READ, MOST_SHOWN = 100, 50
MOST_HOURS = 720  # transitions are kept for 30 days
OPEN_COSTS, HALF_OPEN_COSTS = 40, 15

State = Literal["closed", "open", "half_open"]


class Circuito(TypedDict):
    nome: str
    estado: State | None
    falhas_consecutivas: int | None
    ultima_falha: str | None
    ultimo_sucesso: str | None
    tentativas_half_open: int | None
    tempo_reset_atual: int | None
    ultimo_erro_tipo: str | None
    forcado: str | None
    aberto_desde: str | None
    proxima_sonda: str | None


class CircuitsBody(TypedDict):
    circuits: dict[str, Circuito]
    timestamp: str
    status: NotRequired[str]
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


Mudanca = TypedDict("Mudanca", {"from": State, "to": State, "reason": str, "falhas": int, "at": str})
MudancaDe = TypedDict(
    "MudancaDe", {"circuit_name": str, "from": State, "to": State, "reason": str, "falhas": int, "at": str}
)


class HistoryBody(TypedDict):
    circuit_filter: str | None
    period_hours: int
    total_transitions: int | None
    by_circuit: dict[str, list[Mudanca]]
    transitions: list[MudancaDe]
    timestamp: str
    status: NotRequired[str]
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


class DashboardBody(TypedDict):
    current: dict[str, Circuito]
    last_24h: dict[str, list[Mudanca]]
    health_score: int | None
    timestamp: str
    status: NotRequired[str]
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


Row = dict[str, Any]
Found = Mapping[str, tuple[CircuitFacts, int]]


def read_circuits(now: datetime) -> Found:
    """Every service's circuit and the chips' that are not plainly closed, with the seconds of the present wait."""
    stored = {row["key"]: row["value"] for row in rows(_SETTINGS, [list(DEFAULTS)])}
    _, services = store.read(names.KNOWN)
    _, special, _ = store.not_plain()
    found = {name: CircuitFacts(name) for name in names.KNOWN} | special | services
    return {
        name: (facts, int(config_of(name, stored).reset_after(facts.step).total_seconds()))
        for name, facts in found.items()
    }


_SETTINGS = "SELECT key, value FROM app_settings WHERE key = ANY(%s)"

# circuit_transitions_by_name with a name, else circuit_transitions_newest
_HISTORY = """
SELECT circuit_name, from_state, to_state, reason, falhas_consecutivas AS falhas, created_at AS at
FROM circuit_transitions WHERE created_at > %(since)s {of_name} ORDER BY created_at DESC LIMIT %(most)s
"""


def read_history(now: datetime, circuit_name: str | None, horas: int) -> list[Row]:
    """The newest transitions, newest first."""
    sql = _HISTORY.format(of_name="AND circuit_name = %(name)s" if circuit_name else "")
    return rows(sql, {"since": now - timedelta(hours=horas), "name": circuit_name, "most": MOST_READ})


CIRCUITS: Reading[Found] = Reading("circuits", read_circuits)
HISTORY: Reading[list[Row]] = Reading("circuits_history", read_history, most_kept=8)
DAY: Reading[list[Row]] = Reading("circuits_day", lambda now: read_history(now, None, 24))


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    def body(found: Found, at: datetime) -> Body:
        return {"circuits": shown(found), "timestamp": at.isoformat()}

    return from_one(answers["circuits"], body, lambda: {"circuits": _unread()})


def compose_history(answers: Answers, params: Mapping[str, Any]) -> Body:
    wanted = {"circuit_filter": params["circuit_name"], "period_hours": params["horas"]}

    def body(found: Sequence[Row], at: datetime) -> Body:
        return {
            **wanted,
            "total_transitions": len(found),
            "by_circuit": by_circuit(found),
            "transitions": [{"circuit_name": row["circuit_name"], **_change(row)} for row in found[:MOST_SHOWN]],
            "timestamp": at.isoformat(),
        }

    return from_one(
        answers["circuits_history"],
        body,
        lambda: {**wanted, "total_transitions": None, "by_circuit": {}, "transitions": []},
    )


def compose_dashboard(answers: Answers, params: Mapping[str, Any]) -> Body:
    """The services always have a list; a chip has one where something happened to it."""
    history = answers["circuits_history"]

    def body(found: Found, at: datetime) -> Body:
        last: dict[str, list[Body]] = {name: [] for name in names.KNOWN} | by_circuit(history.known or [])
        return {
            "current": shown(found),
            "last_24h": last,
            "health_score": score(found),
            "timestamp": at.isoformat(),
        }

    current = from_one(
        answers["circuits"],
        body,
        lambda: {"current": _unread(), "last_24h": {name: [] for name in names.KNOWN}, "health_score": None},
    )
    if history.failure is None or "erro" in current:
        return current
    return from_one(history, lambda *_: current, lambda: current)


def score(found: Found) -> int:
    """Of 100, for the services: 40 less per open circuit and 15 per half-open one (chips count as chips)."""
    states = [found[name][0].effective for name in names.KNOWN if name in found]
    cost = OPEN_COSTS * states.count(CircuitState.OPEN) + HALF_OPEN_COSTS * states.count(CircuitState.HALF_OPEN)
    return max(0, 100 - cost)


def by_circuit(found: Sequence[Row]) -> dict[str, list[Body]]:
    grouped: dict[str, list[Body]] = {}
    for row in found:
        grouped.setdefault(row["circuit_name"], []).append(_change(row))
    return grouped


def shown(found: Found) -> Body:
    return {name: _circuit(facts, wait_s) for name, (facts, wait_s) in found.items()}


def _circuit(facts: CircuitFacts, wait_s: int) -> Body:
    is_open = facts.effective is not CircuitState.CLOSED
    return {
        "nome": facts.name,
        "estado": facts.effective.value,
        "falhas_consecutivas": facts.failures,
        "ultima_falha": iso(facts.last_failure_at),
        "ultimo_sucesso": iso(facts.last_success_at),
        "tentativas_half_open": facts.step,
        "tempo_reset_atual": wait_s,
        "ultimo_erro_tipo": facts.last_error_kind or None,
        "forcado": facts.forced.value or None,
        "aberto_desde": iso(facts.opened_at) if is_open else None,
        "proxima_sonda": iso(facts.retry_at) if facts.state is CircuitState.OPEN and not facts.forced else None,
    }


def _change(row: Row) -> Body:
    return {
        "from": row["from_state"],
        "to": row["to_state"],
        "reason": row["reason"],
        "falhas": row["falhas"],
        "at": row["at"].isoformat(),
    }


def _unread() -> Body:
    return {name: dict.fromkeys(Circuito.__annotations__) | {"nome": name} for name in names.KNOWN}


_EVOLUTION: Body = {
    "nome": "evolution",
    "estado": "open",
    "falhas_consecutivas": 5,
    "ultima_falha": "2026-03-03T12:58:00+00:00",
    "ultimo_sucesso": "2026-03-03T12:41:00+00:00",
    "tentativas_half_open": 0,
    "tempo_reset_atual": 300,
    "ultimo_erro_tipo": "server_5xx",
    "forcado": None,
    "aberto_desde": "2026-03-03T12:58:00+00:00",
    "proxima_sonda": "2026-03-03T13:03:00+00:00",
}
_OPENED: Body = {
    "from": "closed",
    "to": "open",
    "reason": "muitas_falhas_5",
    "falhas": 5,
    "at": "2026-03-03T12:58:00+00:00",
}
_AT = "2026-03-03T13:00:00+00:00"
EXAMPLE: Body = {"circuits": {"evolution": _EVOLUTION}, "timestamp": _AT}
HISTORY_EXAMPLE: Body = {
    "circuit_filter": "evolution",
    "period_hours": 24,
    "total_transitions": 1,
    "by_circuit": {"evolution": [_OPENED]},
    "transitions": [{"circuit_name": "evolution", **_OPENED}],
    "timestamp": _AT,
}
DASHBOARD_EXAMPLE: Body = {
    "current": {"evolution": _EVOLUTION},
    "last_24h": {"evolution": [_OPENED], "claude": [], "supabase": []},
    "health_score": 60,
    "timestamp": _AT,
}
