"""Five-field cron expressions in Brasília time: which are lawful, and when they fire.

Each field is `*` or a comma list of `N`, `N-M`, `*/N`, `N-M/S`, in digits. Day and weekday both restricted (neither is
a bare `*`) match on either, as cron does. What two readers could take differently is refused: names, wrapping ranges,
`N/S`, a step of zero or beyond its field, and expressions that never fire.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from core.clock import BRASILIA

_PART = re.compile(r"(?:\*/(?P<every>\d+)|(?P<low>\d+)(?:-(?P<high>\d+)(?:/(?P<step>\d+))?)?)", re.ASCII)
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EVERY_DAY, _EVERY_WEEKDAY = 31, 7
_LONGEST_GAP_DAYS = 366 * 8 + 1  # 29 February around a century's missing leap year


class InvalidCron(ValueError):
    """The expression is not in the grammar; the text says which field and why."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    also: int | None = None  # one more lawful number: weekday 7 is Sunday

    @property
    def highest_written(self) -> int:
        return self.high if self.also is None else self.also


_FIELDS = (
    _Field("minuto", 0, 59),
    _Field("hora", 0, 23),
    _Field("dia", 1, 31),
    _Field("mês", 1, 12),
    _Field("dia da semana", 0, 6, also=7),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression; weekday 0 is Sunday. `text` is its normal form, which croniter reads the same way."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @property
    def at_most_daily(self) -> bool:
        return len(self.minutes) == 1 and len(self.hours) == 1

    def fires_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)


def parse(expression: str) -> Cron:
    """Raises InvalidCron."""
    words = expression.split()
    if len(words) != len(_FIELDS):
        raise InvalidCron(f"{expression!r}: são 5 campos (minuto hora dia mês dia-da-semana), aqui há {len(words)}")
    normal, values = [], []
    for field, word in zip(_FIELDS, words, strict=True):
        text, found = _field(field, word, expression)
        normal.append(text)
        values.append(found)
    minutes, hours, days, months, weekdays = (*values[:4], frozenset(day % 7 for day in values[4]))
    either_day = words[2] != "*" and words[4] != "*"
    if either_day and (len(days) == _EVERY_DAY or len(weekdays) == _EVERY_WEEKDAY):
        normal[2] = normal[4] = "*"  # croniter takes "*/13 * 0-6" for the 1st, 14th and 27th only (observed, 6.2.4)
    cron = Cron(" ".join(normal), minutes, hours, days, months, weekdays, either_day)
    if not cron.either_day and not any(min(days) <= _DAYS_IN_MONTH[month - 1] for month in months):
        raise InvalidCron(f"{expression!r}: nunca dispara, o mês não tem esse dia")
    return cron


def matches(expression: str | Cron, local: datetime) -> bool:
    """True when the minute of `local` (any aware instant, read in Brasília) is one of the expression's."""
    cron = _parsed(expression)
    wall = local.astimezone(BRASILIA)
    return wall.minute in cron.minutes and wall.hour in cron.hours and cron.fires_on(wall.date())


def next_fire(expression: str | Cron, after: datetime) -> datetime:
    """The first planned instant strictly after `after`, aware, UTC."""
    cron = _parsed(expression)
    wall = after.astimezone(BRASILIA)
    for offset in range(_LONGEST_GAP_DAYS):
        day = wall.date() + timedelta(days=offset)
        found = next((instant for instant in _instants(cron, day) if instant > after), None)
        if found is not None:
            return found
    raise InvalidCron(f"{cron.text!r}: nunca dispara")


def latest_fire(expression: str | Cron, until: datetime) -> datetime:
    """The newest planned instant not after `until`, aware, UTC."""
    cron = _parsed(expression)
    wall = until.astimezone(BRASILIA)
    for offset in range(_LONGEST_GAP_DAYS):
        day = wall.date() - timedelta(days=offset)
        found = next((instant for instant in reversed(_instants(cron, day)) if instant <= until), None)
        if found is not None:
            return found
    raise InvalidCron(f"{cron.text!r}: nunca dispara")


def _parsed(expression: str | Cron) -> Cron:
    return expression if isinstance(expression, Cron) else parse(expression)


def _instants(cron: Cron, day: date) -> list[datetime]:
    """The planned instants of one local day in order. Wall times that a clock change skips or repeats count once."""
    if not cron.fires_on(day):
        return []
    walls = (time(hour, minute) for hour in sorted(cron.hours) for minute in sorted(cron.minutes))
    return sorted({datetime.combine(day, wall, tzinfo=BRASILIA).astimezone(UTC) for wall in walls})


def _field(field: _Field, word: str, expression: str) -> tuple[str, frozenset[int]]:
    if word == "*":
        return "*", frozenset(range(field.low, field.high + 1))
    texts: list[str] = []
    values: set[int] = set()
    for part in word.split(","):
        text, found = _part(field, part, expression)
        texts.append(text)
        values.update(found)
    return ",".join(texts), frozenset(values)


def _part(field: _Field, part: str, expression: str) -> tuple[str, range]:
    match = _PART.fullmatch(part)
    if match is None:
        raise InvalidCron(f"{expression!r}: {part!r} não é um {field.name} (só dígitos: N, N-M, */N, N-M/S, listas)")
    if match["every"]:
        step = _step(field, match["every"], part, expression)
        return f"*/{step}", range(field.low, field.high + 1, step)
    low = _number(field, match["low"], part, expression)
    if match["high"] is None:
        return str(low), range(low, low + 1)
    high = _number(field, match["high"], part, expression)
    if high < low:
        raise InvalidCron(f"{expression!r}: {part!r} dá a volta no campo {field.name}; escreva duas faixas")
    step = _step(field, match["step"], part, expression) if match["step"] else 1
    if low == high:
        return str(low), range(low, low + 1)  # croniter reads "5-5" as "*" (observed, 6.2.4)
    return f"{low}-{high}" + (f"/{step}" if match["step"] else ""), range(low, high + 1, step)


def _number(field: _Field, digits: str, part: str, expression: str) -> int:
    number = int(digits[:9])
    if not field.low <= number <= field.highest_written:
        raise InvalidCron(f"{expression!r}: {part!r} fora de {field.low}-{field.highest_written} no campo {field.name}")
    return number


def _step(field: _Field, digits: str, part: str, expression: str) -> int:
    step = int(digits[:9])
    if not 1 <= step <= field.high:
        raise InvalidCron(f"{expression!r}: o passo de {part!r} precisa ficar entre 1 e {field.high} ({field.name})")
    return step
