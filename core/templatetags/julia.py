"""`{% load julia %}`: badges, bars, moments and masked phones in templates."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from core import clock
from core.alerts.models import Severidade
from core.backoffice import moments, ui

register = template.Library()

_SEVERITY_TONES = {Severidade.INFO: ui.Tone.INFO, Severidade.WARNING: ui.Tone.WARN}


@register.simple_tag
def badge(text: str, tone: str = "neutral", title: str = "") -> SafeString:
    return ui.badge(text, ui.Tone(tone), title)


@register.simple_tag
def progress(done: int, total: int, label: str = "") -> SafeString:
    return ui.progress(done, total, label=label)


@register.filter
def moment(instant: datetime | None) -> SafeString:
    """Relative to the process's clock: good for reading, decides nothing."""
    return ui.moment(instant, clock.now())


@register.filter
def day_and_time(instant: datetime | None) -> str:
    return moments.day_and_time(instant, clock.now()) if instant else "—"


@register.filter
def exact(instant: datetime | None) -> str:
    return moments.exact(instant) if instant else "—"


@register.filter
def masked(phone: str) -> SafeString:
    return ui.masked_phone(phone)


@register.filter
def short_digits(name: str) -> str:
    return ui.short_digits(name)


@register.filter
def number(value: int | None) -> str:
    return "—" if value is None else ui.number(value)


@register.filter
def spoken_act(acao: str) -> str:
    """ "chip_bloqueado" -> "chip bloqueado"."""
    return acao.replace("_", " ")


@register.filter
def severity_tone(severidade: Severidade) -> ui.Tone:
    return _SEVERITY_TONES.get(severidade, ui.Tone.BAD)
