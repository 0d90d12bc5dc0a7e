"""Thirty days as an operation has them: campaigns, follow-ups, replies, quiet nights, weekends and holidays."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial

from core.clock import BRASILIA
from julia.exercicio.alertas.mundo import HOLIDAYS, Mundo

DAY = timedelta(days=1)
LARGE = 5000
SMALL = 200
REPLIES_WORKING, REPLIES_OFF = 10, 3
REMINDERS = (3, 8)


@dataclass(frozen=True, slots=True)
class Ato:
    """Something that happens at an instant without being a fault. `fino`: with a look every 30 s around it."""

    em: datetime
    faz: Callable[[Mundo], None]
    fino: bool = False


def month(start: datetime, end: datetime, rng: random.Random, *, large: int) -> list[Ato]:
    """All that people do between the two instants. `large`: messages of the one big campaign; 0 leaves it out."""
    acts: list[Ato] = []
    days = list(_days(start, end))
    for midnight in days:
        acts += _day(midnight, rng)
    working = [midnight for midnight in days if is_working(midnight)]
    if large and len(working) > 3:
        acts += _large_campaign(working[2], working[3], large)
    for midnight in working[8::6]:
        acts.append(Ato(midnight + timedelta(hours=9, minutes=rng.randrange(10, 50)), _small_campaign, fino=True))
    return sorted((act for act in acts if start < act.em < end), key=lambda act: act.em)


def is_working(midnight: datetime) -> bool:
    return midnight.isoweekday() <= 5 and midnight.date().isoformat() not in HOLIDAYS


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    day = start.astimezone(BRASILIA).date()
    while (midnight := datetime.combine(day, time(), BRASILIA)) < end:
        yield midnight
        day += DAY


def _day(midnight: datetime, rng: random.Random) -> Iterator[Ato]:
    working = is_working(midnight)
    for _ in range(rng.randint(1, 2 * (REPLIES_WORKING if working else REPLIES_OFF))):
        yield Ato(midnight + timedelta(seconds=rng.triangular(6, 24, 14) * 3600), _reply)
    if working:
        for _ in range(rng.randint(3, 6)):
            count = rng.randint(*REMINDERS)
            yield Ato(midnight + timedelta(seconds=rng.uniform(9, 18.5) * 3600), partial(_remind, count=count))


def _reply(m: Mundo) -> None:
    m.reply_comes()


def _remind(m: Mundo, count: int) -> None:
    if not m.is_calm:
        m.remind(count)


def _small_campaign(m: Mundo) -> None:
    m.campaign(SMALL, f"Plantões de {m.agora.astimezone(BRASILIA):%d/%m}")


def _large_campaign(day: datetime, next_day: datetime, count: int) -> Iterator[Ato]:
    """Made in the afternoon, scheduled for the next working morning; the job of every minute starts it."""
    begins = next_day + timedelta(hours=9, minutes=30)
    yield Ato(
        day + timedelta(hours=15),
        lambda m: _schedule(m, count, begins),
        fino=True,
    )
    yield Ato(begins, lambda m: None, fino=True)


def _schedule(m: Mundo, count: int, begins: datetime) -> None:
    m.campaign(count, "Plantões do mês", at=begins)
