"""What the operation allows right now, read fresh in one statement and handed to the guardrails as values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from chips.fleet import ILL_LIMIT_PCT
from core.clientes import phones
from core.database import rows
from guardrails.choices import SwitchState
from guardrails.hours import BUSINESS_HOURS, Window
from guardrails.policy import Policy, Switches, contact_cap_of

_SWITCHES = [field.name for field in fields(Switches) if field.name != "ambiente_travado"]
_VALUES = [
    "janela_envio", "contact_cap_7d", "limite_diario_pessoa", "limite_global_hora", "limite_global_dia",
    "peso_campanha", "pacing_s", "environment", "supabase_project_ref", "envio_travado",
    "dias_entre_campanhas", "limite_frota_doente_pct",
]  # fmt: skip


GLOBAL_HOUR, GLOBAL_DAY = 20, 100  # weights (fila reference §5.1)


@dataclass(frozen=True, slots=True)
class Pacing:
    """Seconds between two proactive sends of one chip, before its own `delay_minimo_segundos`."""

    min_s: float = 45.0
    max_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Rules:
    """One batch's rules. Global limits are weights per rolling hour and per Brasília day; None means no limit.

    `ill_limit_pct`: above this share of chips fallen ill, what Julia begins waits instead of burdening the others.
    """

    policy: Policy
    pacing: Pacing = Pacing()
    global_hour: int | None = GLOBAL_HOUR
    global_day: int | None = GLOBAL_DAY
    ill_limit_pct: int = ILL_LIMIT_PCT


@dataclass(frozen=True, slots=True)
class Outside:
    """Where this process may send. `simulated`: every provider it would call proved to be our simulator."""

    production: bool
    simulated: bool
    allowlist: frozenset[str]

    def allows(self, telefone: str) -> bool | None:
        """None when the list is empty; both spellings of a Brazilian mobile count."""
        if not self.allowlist:
            return None
        return any(variant in self.allowlist for variant in phones.variants(telefone))


def outside(*, simulated: bool) -> Outside:
    """From the environment. An entry of OUTBOUND_ALLOWLIST that is no telephone raises InvalidPhone at start-up."""
    listed = frozenset(
        variant for entry in settings.OUTBOUND_ALLOWLIST for variant in phones.variants(phones.parse(entry).e164)
    )
    return Outside(production=settings.PRODUCTION, simulated=simulated, allowlist=listed)


def read() -> Rules:
    """The rules in force. A switch that is missing or not a boolean is `unreadable`, and what it guards is held."""
    try:
        found = {
            row["key"]: row["value"]
            for row in rows("SELECT key, value FROM app_settings WHERE key = ANY(%s)", [_SWITCHES + _VALUES])
        }
        holidays = frozenset(row["data"] for row in rows("SELECT data FROM feriados WHERE data >= current_date - 1"))
    except DatabaseError:
        return Rules(policy=Policy(switches=Switches.unreadable()))
    return build(found, holidays)


def build(found: Mapping[str, Any], holidays: frozenset[date] = frozenset()) -> Rules:
    """Rules from raw setting values. Hours that cannot be read hold everything rather than guess a window."""
    states = {name: _state(found.get(name)) for name in _SWITCHES}
    try:
        window = window_of(found.get("janela_envio"))
    except (ValueError, TypeError):
        window, states["operacao_pausada"] = BUSINESS_HOURS, SwitchState.UNREADABLE
    policy = Policy(
        switches=Switches(ambiente_travado=_environment_lock(found), **states),
        window=window,
        holidays=holidays,
        contact_cap_7d=contact_cap_of(found.get("contact_cap_7d")),
        daily_person_limit=_count(found.get("limite_diario_pessoa"), 3) or 0,
        campaign_weight=_count(found.get("peso_campanha"), 2) or 1,
        campaign_cooldown=timedelta(days=_count(found.get("dias_entre_campanhas"), 3) or 0),
    )
    return Rules(
        policy=policy,
        pacing=_pacing(found.get("pacing_s")),
        global_hour=_limit(found, "limite_global_hora", GLOBAL_HOUR),
        global_day=_limit(found, "limite_global_dia", GLOBAL_DAY),
        ill_limit_pct=_count(found.get("limite_frota_doente_pct"), ILL_LIMIT_PCT) or ILL_LIMIT_PCT,
    )


def window_of(value: object) -> Window:
    """`{"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]}` (ISO weekdays; "24:00" is the day's end).

    None means business hours; anything that is no window raises ValueError or TypeError.
    """
    if value is None:
        return BUSINESS_HOURS
    if not isinstance(value, dict):
        raise TypeError("janela_envio is not an object")
    return Window.between(str(value.get("inicio")), str(value.get("fim")), value.get("dias", []))


def _state(value: object) -> SwitchState:
    if isinstance(value, bool):
        return SwitchState.ON if value else SwitchState.OFF
    return SwitchState.UNREADABLE


def _environment_lock(found: Mapping[str, Any]) -> SwitchState:
    """ON when the database belongs to another environment than this process was told (a restored copy).

    `envio_travado` is the same lock set by hand.
    """
    by_hand = _state(found.get("envio_travado"))
    if by_hand is not SwitchState.OFF:
        return by_hand
    expected = [("supabase_project_ref", settings.SUPABASE_PROJECT_REF), ("environment", settings.APP_ENV)]
    for key, ours in expected:
        if ours and found.get(key) not in (None, "", ours):
            return SwitchState.ON
    return SwitchState.OFF


def _pacing(value: object) -> Pacing:
    """`{"min": 45, "max": 180}` in seconds; what cannot be read means the default."""
    if not isinstance(value, dict):
        return Pacing()
    least, most = value.get("min"), value.get("max")
    readable = all(isinstance(each, int | float) and not isinstance(each, bool) and each >= 0 for each in (least, most))
    return Pacing(float(least), float(most)) if readable else Pacing()  # type: ignore[arg-type]


def _limit(found: Mapping[str, Any], key: str, default: int) -> int | None:
    """Only a stored null means no limit; what is missing or cannot be read means the default."""
    if key in found and found[key] is None:
        return None
    return _count(found.get(key), default)


def _count(value: object, default: int | None) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return default
