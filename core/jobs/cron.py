"""Five-field cron expressions in Brasília time: which are lawful, and when they fire.

Each field is `*` or a comma list of `N`, `N-M`, `*/N`, `N-M/S`, in digits. Day and weekday both restricted (neither is
a bare `*`) match on either, as cron does. What two readers could take differently is refused: names, wrapping ranges,
`N/S`, a step of zero or beyond its field, and expressions that never fire.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from core.clock import BRASILIA

_PART = re.compile(r"(?:\*/(?P<every>\d+)|(?P<low>\d+)(?:-(?P<high>\d+)(?:/(?P<step>\d+))?)?)", re.ASCII)
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EVERY_DAY, _EVERY_WEEKDAY = 31, 7
_HOURS = 24
_LONGEST_GAP_DAYS = 366 * 8 + 1  # 29 February around a century's missing leap year
_LONGEST_SHIFT_HOURS = 3  # of clock changes


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

    @property
    def by_elapsed_time(self) -> bool:
        """It fires again in an hour that a clock change repeats."""
        return len(self.minutes) > 1 or len(self.hours) == _HOURS

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
        for hour in sorted(cron.hours):
            if offset or hour >= wall.hour - _shift_hours(day):
                found = next((instant for instant in _instants(cron, day, hour) if instant > after), None)
                if found is not None:
                    return found
    raise InvalidCron(f"{cron.text!r}: nunca dispara")


def latest_fire(expression: str | Cron, until: datetime) -> datetime:
    """The newest planned instant not after `until`, aware, UTC."""
    cron = _parsed(expression)
    wall = until.astimezone(BRASILIA)
    for offset in range(_LONGEST_GAP_DAYS):
        day = wall.date() - timedelta(days=offset)
        for hour in sorted(cron.hours, reverse=True):
            if offset or hour <= wall.hour + _shift_hours(day):
                found = next((instant for instant in reversed(_instants(cron, day, hour)) if instant <= until), None)
                if found is not None:
                    return found
    raise InvalidCron(f"{cron.text!r}: nunca dispara")


@lru_cache(maxsize=256)
def interval(cron: Cron) -> timedelta:
    """The shortest time between two planned instants: 1 min, 5 min, an hour, a day, a week …"""
    minutes = sorted(60 * hour + minute for hour in cron.hours for minute in cron.minutes)
    if len(minutes) == 1:
        return timedelta(days=_shortest_gap(cron))
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    if _shortest_gap(cron) == 1:
        gaps.append(minutes[0] + _HOURS * 60 - minutes[-1])
    return timedelta(minutes=min(gaps))


@lru_cache(maxsize=256)
def on_weekdays_only(cron: Cron) -> bool:
    """It rests on some days of the week, and works on others that follow each other."""
    return len({day.isoweekday() for day in _firing_days(cron)}) < _EVERY_WEEKDAY and _shortest_gap(cron) == 1


@lru_cache(maxsize=256)
def _firing_days(cron: Cron) -> tuple[date, ...]:
    """Those of two years, a leap year among them."""
    first = date(2027, 1, 1)
    return tuple(day for day in (first + timedelta(days=offset) for offset in range(2 * 366)) if cron.fires_on(day))


def _shortest_gap(cron: Cron) -> int:
    """In days; a year when it fires more rarely."""
    return min(((later - earlier).days for earlier, later in pairwise(_firing_days(cron))), default=366)


def _parsed(expression: str | Cron) -> Cron:
    return expression if isinstance(expression, Cron) else parse(expression)


def _instants(cron: Cron, day: date, hour: int) -> list[datetime]:
    """The planned instants of one local hour, in order.

    A wall time that a clock change skips counts as the instant it would have been. One that it repeats counts once,
    but twice for what runs all day or several times an hour: their time is elapsed time.
    """
    if not cron.fires_on(day):
        return []
    walls = [datetime.combine(day, time(hour, minute)) for minute in sorted(cron.minutes)]
    steady = _steady_offset(BRASILIA, day)
    if steady is not None:
        return [(wall - steady).replace(tzinfo=UTC) for wall in walls]
    walls = [wall.replace(tzinfo=BRASILIA) for wall in walls]
    if cron.by_elapsed_time:
        walls += [again for wall in walls if _offset(again := wall.replace(fold=1)) < _offset(wall)]
    return sorted(wall.astimezone(UTC) for wall in walls)


@lru_cache(maxsize=64)
def _steady_offset(zone: ZoneInfo, day: date) -> timedelta | None:
    """The zone's distance from UTC on that day; None when the clock changes on it or beside it."""
    midnight = datetime.combine(day, time(), tzinfo=zone)
    offsets = {_offset(midnight + timedelta(days=days)) for days in (-1, 0, 1, 2)}
    return offsets.pop() if len(offsets) == 1 else None


def _shift_hours(day: date) -> int:
    """How far the wall clock may jump on that day."""
    return 0 if _steady_offset(BRASILIA, day) is not None else _LONGEST_SHIFT_HOURS


def _offset(wall: datetime) -> timedelta:
    return wall.utcoffset() or timedelta()


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
