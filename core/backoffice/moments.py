"""Instants as operators read them, in Brasília time. Pure: `now` comes in."""

from datetime import datetime, timedelta

from core.clock import BRASILIA

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_ON_WEEKDAY = ("na segunda", "na terça", "na quarta", "na quinta", "na sexta", "no sábado", "no domingo")


def span(seconds: float) -> str:
    """A length of time in its two greatest units: "45 s", "3 min", "2 h 05 min", "4 dias"."""
    total = int(abs(seconds))
    if total < _MINUTE:
        return f"{total} s"
    if total < _HOUR:
        return f"{total // _MINUTE} min"
    if total < 2 * _DAY:
        hours, rest = divmod(total, _HOUR)
        return f"{hours} h {rest // _MINUTE:02} min" if rest >= _MINUTE else f"{hours} h"
    return f"{total // _DAY} dias"


def relative(instant: datetime, now: datetime) -> str:
    """ "há 3 min", "em 2 h", "agora"."""
    seconds = (instant - now).total_seconds()
    if abs(seconds) < 1:
        return "agora"
    return f"em {span(seconds)}" if seconds > 0 else f"há {span(seconds)}"


def exact(instant: datetime) -> str:
    return instant.astimezone(BRASILIA).strftime("%d/%m/%Y %H:%M:%S")


def day_and_time(instant: datetime, now: datetime) -> str:
    """ "hoje, 16:40", "amanhã, 09:10", "na quinta, 16:40" within six days, else "em 12/03, 16:40" (with the year
    when it is another one)."""
    local, today = instant.astimezone(BRASILIA), now.astimezone(BRASILIA).date()
    days = (local.date() - today).days
    if days in (-1, 0, 1):
        day = {-1: "ontem", 0: "hoje", 1: "amanhã"}[days]
    elif 1 < days <= timedelta(days=6).days:
        day = _ON_WEEKDAY[local.weekday()]
    elif local.year == today.year:
        day = f"em {local:%d/%m}"
    else:
        day = f"em {local:%d/%m/%Y}"
    return f"{day}, {local:%H:%M}"
