"""`/health/rate-limit`: how much of the global budget is spent, and whether Julia may begin anything now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from core.clock import BRASILIA
from core.flags.reading import SettingUnreadable
from core.health.pages import Answers, Body, from_one
from core.health.reading import Reading
from fila import policy
from fila.ledger import global_used
from fila.policy import Rules
from guardrails import hours
from guardrails.policy import Switches
from julia.health.shapes import Erro

WEEKDAYS = ("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo")

Used = tuple[Rules, tuple[int, int]]


def rules() -> Rules:
    """Raises SettingUnreadable rather than show defaults as if they had been read."""
    found = policy.read()
    if found.policy.switches == Switches.unreadable():
        raise SettingUnreadable("janela_envio", "limite_global_hora", "limite_global_dia")
    return found


BUDGET: Reading[Used] = Reading("rate_limit", lambda now: (rules(), global_used()))


class Limite(TypedDict):
    msgs_hora: int | None
    limite_hora: int | None
    msgs_dia: int | None
    limite_dia: int | None
    horario_permitido: bool | None
    hora_atual: str | None
    dia_semana: str | None
    limite_pessoa_dia: int | None
    peso_campanha: int | None


class RateLimitBody(TypedDict):
    rate_limit: Limite
    timestamp: str
    status: NotRequired[str]
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    empty = dict.fromkeys(Limite.__annotations__)
    return from_one(answers["rate_limit"], body, lambda: {"rate_limit": empty})


def body(read: Used, at: datetime) -> Body:
    """Weights: a campaign message counts `peso_campanha` (S-36 T04.2). A limit that is null does not limit."""
    found, (hour, day) = read
    here = at.astimezone(BRASILIA)
    return {
        "rate_limit": {
            "msgs_hora": hour,
            "limite_hora": found.global_hour,
            "msgs_dia": day,
            "limite_dia": found.global_day,
            "horario_permitido": hours.is_open(found.policy.window, found.policy.holidays, at, BRASILIA),
            "hora_atual": f"{here:%H:%M}",
            "dia_semana": WEEKDAYS[here.weekday()],
            "limite_pessoa_dia": found.policy.daily_person_limit,
            "peso_campanha": found.policy.campaign_weight,
        },
        "timestamp": at.isoformat(),
    }


EXAMPLE: Body = {
    "rate_limit": {
        "msgs_hora": 12,
        "limite_hora": 20,
        "msgs_dia": 48,
        "limite_dia": 100,
        "horario_permitido": True,
        "hora_atual": "10:00",
        "dia_semana": "terça-feira",
        "limite_pessoa_dia": 3,
        "peso_campanha": 2,
    },
    "timestamp": "2026-03-03T13:00:00+00:00",
}
