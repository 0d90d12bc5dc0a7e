"""The numbers of each circuit. What is stored in `app_settings` outranks what is written here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from core.circuits import names

LONGEST_S = 86_400
FORM = '{"falhas": 5, "inicial_s": 300, "max_s": 600}'
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Config:
    """When a circuit opens and for how long.

    `failures` in a row open it, when they name at least `scopes` different scopes. The first probe is due after
    `initial`; each failed one doubles the wait up to `longest`. `notes_success`: a success of a healthy circuit is
    worth a write now and then (chips remember theirs elsewhere).
    """

    failures: int = 5
    initial: timedelta = timedelta(seconds=60)
    longest: timedelta = timedelta(seconds=600)
    scopes: int = 1
    notes_success: bool = True

    def reset_after(self, step: int) -> timedelta:
        """How long it stays open after `step` failed probes: 60, 120, 240, 480, 600, 600 s with the defaults."""
        return min(self.initial * 2 ** min(step, _MOST_DOUBLINGS), self.longest)

    @property
    def numbers(self) -> dict[str, int]:
        """As a setting stores them."""
        return {
            "falhas": self.failures,
            "inicial_s": int(self.initial.total_seconds()),
            "max_s": int(self.longest.total_seconds()),
        }

    def with_numbers(self, value: object) -> "Config":
        """The same circuit with a setting's numbers. Raises ValueError with a sentence for the operator."""
        if not isinstance(value, dict) or set(value) != {"falhas", "inicial_s", "max_s"}:
            raise ValueError(f"use {FORM}")
        if not all(type(number) is int and number > 0 for number in value.values()):
            raise ValueError("falhas, inicial_s e max_s são números inteiros a partir de 1")
        if value["falhas"] > 100 or not value["inicial_s"] <= value["max_s"] <= LONGEST_S:
            raise ValueError(f"falhas vai até 100; inicial_s não passa de max_s, e max_s não passa de {LONGEST_S}")
        return replace(
            self,
            failures=value["falhas"],
            initial=timedelta(seconds=value["inicial_s"]),
            longest=timedelta(seconds=value["max_s"]),
        )


def _seconds(failures: int, initial: int, longest: int, **more: Any) -> Config:
    return Config(failures, timedelta(seconds=initial), timedelta(seconds=longest), **more)


CHIP_KEY = "circuito_chip"
DEFAULTS: dict[str, Config] = {
    "circuito_evolution": _seconds(5, 300, 600, scopes=2),
    "circuito_zapi": _seconds(5, 300, 600, scopes=2),
    "circuito_claude": _seconds(3, 60, 300),
    "circuito_supabase": _seconds(5, 30, 120),
    "circuito_chatwoot": Config(),
    "circuito_slack": Config(),
    CHIP_KEY: _seconds(3, 300, 1800, notes_success=False),
}


def key_of(name: str) -> str:
    """The setting that holds a circuit's numbers."""
    return CHIP_KEY if names.is_chip(name) else f"circuito_{name}"


def default_of(name: str) -> Config:
    return DEFAULTS.get(key_of(name), Config())


def config_of(name: str, stored: Mapping[str, Any]) -> Config:
    """With the stored numbers of its setting; missing or unlawful ones are the defaults."""
    config = default_of(name)
    try:
        return config.with_numbers(stored[key_of(name)])
    except (KeyError, ValueError):
        return config
