"""Hours of contact: when a window is open in a zone. Pure; every instant returned is UTC.

A day of the window runs from the moment its local clock reaches `inicio` to the moment it reaches `fim`.
A reading that a clock change skips counts as reached at the change. Of a repeated reading the opening takes the
second and the closing the first, so that nothing leaves while the local clock shows a closed hour; midnight takes
the first, so that days of 00:00–24:00 leave no gap.
"""

from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

Interval = tuple[datetime, datetime]

MINUTES_PER_DAY = 24 * 60
EVERY_DAY = frozenset(range(1, 8))
HORIZON = timedelta(days=400)  # more than a year without an opening is a fault of the configuration
ONE_DAY = timedelta(days=1)
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


class NeverOpens(ValueError):
    """No opening within `HORIZON`: the holidays cover every day, or the zones have no hour in common."""


@dataclass(frozen=True, slots=True)
class Window:
    """Opening hours of a local day: minutes after midnight, `fim` excluded, and ISO weekdays (Monday is 1)."""

    inicio: int = 8 * 60
    fim: int = 20 * 60
    dias: frozenset[int] = frozenset({1, 2, 3, 4, 5})

    def __post_init__(self) -> None:
        if not 0 <= self.inicio < self.fim <= MINUTES_PER_DAY:
            raise ValueError("a window opens before it closes, between 0 and 1440 minutes")
        if not self.dias or not self.dias <= EVERY_DAY:
            raise ValueError("a window has at least one ISO weekday, from 1 to 7")

    @classmethod
    def between(cls, inicio: str, fim: str, dias: Collection[int]) -> "Window":
        """From clock readings such as `08:00` and `20:00`; `24:00` is the end of the day."""
        return cls(minutes_of(inicio), minutes_of(fim), frozenset(dias))


BUSINESS_HOURS = Window()
ALWAYS = Window(0, MINUTES_PER_DAY, EVERY_DAY)


def minutes_of(reading: str) -> int:
    """Minutes after midnight of `HH:MM`, up to `24:00`. Raises ValueError for anything else."""
    hours, _, minutes = reading.partition(":")
    digits = hours + minutes
    if not (len(hours) == len(minutes) == 2 and digits.isascii() and digits.isdigit() and int(minutes) < 60):
        raise ValueError(f"not a clock reading: {reading!r}")
    total = int(hours) * 60 + int(minutes)
    if total > MINUTES_PER_DAY:
        raise ValueError(f"not a clock reading: {reading!r}")
    return total


def is_open(window: Window, holidays: AbstractSet[date], now: datetime, zone: ZoneInfo) -> bool:
    moment = _utc(now)
    today = moment.astimezone(zone).date()
    for day in (today, today - ONE_DAY, today + ONE_DAY):  # a clock may go back past midnight
        interval = _interval_of(window, holidays, day, zone)
        if interval and interval[0] <= moment < interval[1]:
            return True
    return False


def next_opening(window: Window, holidays: AbstractSet[date], now: datetime, zone: ZoneInfo) -> datetime:
    """The first open instant from `now` on: `now` itself while open. Raises NeverOpens."""
    return next(intervals(window, holidays, now, zone))[0]


def next_day_opening(window: Window, holidays: AbstractSet[date], now: datetime, zone: ZoneInfo) -> datetime:
    """The first open instant after the local day of `now`. Raises NeverOpens."""
    tomorrow = _utc(now).astimezone(zone).date() + ONE_DAY
    midnight = _instant(tomorrow, 0, zone, repeated=0)
    return next_opening(window, holidays, max(midnight, _utc(now)), zone)


def intervals(window: Window, holidays: AbstractSet[date], start: datetime, zone: ZoneInfo) -> Iterator[Interval]:
    """Open intervals [from, to) in order, without end, the first one cut at `start`. Raises NeverOpens.

    Each local day is an interval of its own: with a 00:00–24:00 window one ends where the next begins.
    """
    moment = _utc(start)
    day = moment.astimezone(zone).date() - ONE_DAY
    last_useful = day
    while True:
        interval = _interval_of(window, holidays, day, zone)
        if interval and interval[1] > moment:
            last_useful = day
            yield max(interval[0], moment), interval[1]
        elif day - last_useful > HORIZON:
            raise NeverOpens(f"no opening from {last_useful} to {day} in {zone.key}")
        day += ONE_DAY


def common_intervals(
    window: Window, holidays: AbstractSet[date], start: datetime, zones: Collection[ZoneInfo]
) -> Iterator[Interval]:
    """Intervals in which every one of `zones` is open, in order, without end. Raises NeverOpens."""
    if not zones:
        raise ValueError("hours in common need at least one zone")
    walks = [intervals(window, holidays, start, zone) for zone in set(zones)]
    heads = [next(walk) for walk in walks]
    last_useful = _utc(start)
    while True:
        opening, closing = max(head[0] for head in heads), min(head[1] for head in heads)
        if opening < closing:
            last_useful = closing
            yield opening, closing
        elif closing - last_useful > HORIZON:
            raise NeverOpens(f"no hour in common from {last_useful} to {closing}")
        heads = [next(walk) if head[1] <= closing else head for walk, head in zip(walks, heads, strict=True)]


def open_seconds_between(
    window: Window, holidays: AbstractSet[date], start: datetime, end: datetime, zone: ZoneInfo
) -> float:
    """Open time within [start, end) in elapsed seconds; 0 when `end` is not after `start`."""
    begin, until = _utc(start), _utc(end)
    first, last = (moment.astimezone(zone).date() for moment in (begin, until))
    total, day = 0.0, first - ONE_DAY
    while begin < until and day <= last + ONE_DAY:
        interval = _interval_of(window, holidays, day, zone)
        if interval:
            total += max(0.0, (min(interval[1], until) - max(interval[0], begin)).total_seconds())
        day += ONE_DAY
    return total


def _interval_of(window: Window, holidays: AbstractSet[date], day: date, zone: ZoneInfo) -> Interval | None:
    if day.isoweekday() not in window.dias or day in holidays:
        return None
    opening = _instant(day, window.inicio, zone, repeated=1 if window.inicio else 0)
    closing = _instant(day, window.fim, zone, repeated=0)
    return (opening, closing) if opening < closing else None


def _instant(day: date, minutes: int, zone: ZoneInfo, *, repeated: int) -> datetime:
    """When the local clock reaches `minutes` of `day`; `repeated` picks the first (0) or second (1) of two."""
    if minutes == MINUTES_PER_DAY:
        day, minutes = day + ONE_DAY, 0
    local = datetime.combine(day, time(*divmod(minutes, 60)), tzinfo=zone)
    first, second = local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if second < first:  # PEP 495: only for a reading that the change skips
        return _change_between(second, first, zone)
    return second if repeated else first


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the zone's offset changes, to the second."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return moment.astimezone(UTC)
