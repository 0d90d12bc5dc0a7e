"""Small pieces of HTML that lists and pages share. Everything passes through `format_html`: data is never markup."""

import re
from datetime import datetime
from enum import StrEnum

from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.backoffice import moments
from core.clientes import phones

_PHONE_DIGITS = re.compile(r"[0-9]{8,}")


class Tone(StrEnum):
    NEUTRAL = "neutral"
    INFO = "info"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


def badge(text: str, tone: Tone = Tone.NEUTRAL, title: str = "") -> SafeString:
    return format_html('<span class="jl-badge jl-{}" title="{}">{}</span>', tone, title, text)


def progress(done: int, total: int, *, label: str = "") -> SafeString:
    """A bar that is full only when `done == total`: 99.6 % is shown as 99 %."""
    percent = min(100, done * 100 // total) if total else 0
    return format_html(
        '<div class="jl-progress" role="progressbar" aria-valuenow="{0}" aria-valuemin="0" aria-valuemax="100">'
        '<div class="jl-progress-bar" style="width:{0}%"></div></div><div class="jl-progress-label">{1}</div>',
        percent,
        label or f"{percent}%",
    )


def moment(instant: datetime | None, now: datetime, *, empty: str = "—") -> SafeString:
    """Relative, with the exact instant of Brasília on hover."""
    if instant is None:
        return format_html("{}", empty)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        instant.isoformat(),
        moments.exact(instant),
        moments.relative(instant, now),
    )


def masked_phone(phone: str) -> SafeString:
    return format_html('<span class="jl-phone">{}</span>', phones.mask(phone)) if phone else format_html("—")


def short_digits(name: str) -> str:
    """An instance name without the number in it: "julia_5511900001000" -> "julia_…1000"."""
    return _PHONE_DIGITS.sub(lambda found: f"…{found[0][-4:]}", name)


def clipped(text: str) -> SafeString:
    """One line, cut by the browser where its column ends; the whole text on hover."""
    return format_html('<span class="jl-clip" title="{0}">{0}</span>', text)


def number(value: int) -> str:
    """ "1.234.567" """
    return f"{value:,}".replace(",", ".")


def counted(value: int, one: str, many: str) -> str:
    """ "1 mensagem", "1.204 mensagens"."""
    return f"{number(value)} {one if value == 1 else many}"
