"""Makers of validators. Each validator returns the value in its normal form or raises InvalidValue."""

import re
from collections.abc import Callable
from typing import Any

from core.flags.registry import InvalidValue

_HOUR = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue("use true ou false")
    return value


def integer(low: int, high: int) -> Callable[[object], int]:
    def validate(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise InvalidValue(f"use um número inteiro de {low} a {high}")
        return value

    return validate


def integer_or_none(low: int, high: int) -> Callable[[object], int | None]:
    """None means without limit."""
    bounded = integer(low, high)

    def validate(value: object) -> int | None:
        if value is None:
            return None
        try:
            return bounded(value)
        except InvalidValue as error:
            raise InvalidValue(f"{error}, ou null para não limitar") from None

    return validate


def text(longest: int) -> Callable[[object], str]:
    def validate(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise InvalidValue(f"use um texto de até {longest} caracteres")
        return value.strip()

    return validate


def one_of(*choices: str) -> Callable[[object], str]:
    def validate(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidValue(f"use um destes: {', '.join(repr(choice) for choice in choices)}")
        return value

    return validate


def sending_window(value: object) -> dict[str, Any]:
    """`{"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]}`: ISO weekdays; "24:00" is the end of a day."""
    if not isinstance(value, dict) or set(value) != {"inicio", "fim", "dias"}:
        raise InvalidValue('use {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]}')
    opens, closes, days = value["inicio"], value["fim"], value["dias"]
    if not all(isinstance(hour, str) and _HOUR.fullmatch(hour) for hour in (opens, closes)) or opens >= closes:
        raise InvalidValue("início e fim são horas como 08:00, e o início vem antes do fim")
    is_days = isinstance(days, list) and all(type(day) is int and 1 <= day <= 7 for day in days)
    if not is_days or not days:
        raise InvalidValue("dias é uma lista com números de 1 (segunda) a 7 (domingo), pelo menos um")
    return {"inicio": opens, "fim": closes, "dias": sorted(set(days))}


def contact_cap(value: object) -> dict[str, Any]:
    """`{"enabled": true, "limite": 5}`; with `enabled` false the limit does not matter (S-36 T06.1)."""
    if not isinstance(value, dict) or not isinstance(value.get("enabled"), bool) or set(value) - {"enabled", "limite"}:
        raise InvalidValue('use {"enabled": true, "limite": 5} ou {"enabled": false}')
    limit = value.get("limite")
    is_count = type(limit) is int and 1 <= limit <= 1000
    if value["enabled"] and not is_count:
        raise InvalidValue("limite é um número inteiro de 1 a 1000")
    return {"enabled": value["enabled"], "limite": limit if is_count else 5}


def pacing(value: object) -> dict[str, Any]:
    """`{"min": 45, "max": 180}` in seconds."""
    if not isinstance(value, dict) or set(value) != {"min", "max"}:
        raise InvalidValue('use {"min": 45, "max": 180}, em segundos')
    low, high = value["min"], value["max"]
    are_seconds = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (low, high))
    if not are_seconds or not 0 <= low <= high <= 3600:
        raise InvalidValue("min e max são segundos de 0 a 3600, e min não passa de max")
    return {"min": low, "max": high}
