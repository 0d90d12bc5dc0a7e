"""What is posted to Slack: title with kind and severity, evidence, meaning, next step, links. Pure.

Every word of a row passes `scrub` and Slack's escaping: no phone, no credential, no mention that data could smuggle in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from core.alerts.models import Especie, Severidade
from core.alerts.rules import Rule
from core.alerts.sentences import evidence
from core.backoffice import moments
from core.integrations.redaction import scrub

COLOURS = {
    Severidade.INFO: "#2196F3",
    Severidade.WARNING: "#FF9800",
    Severidade.ERROR: "#F44336",
    Severidade.CRITICAL: "#9C27B0",
}
RECOVERED = "#4CAF50"
LISTED = 10
LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One alert as a message tells of it. `desde`: since when as the facts say, else since it was first seen."""

    id: str
    tipo: str
    chave: str
    severidade: Severidade
    titulo: str
    mensagem: str
    desde: datetime
    valor: Decimal | None = None
    limite: Decimal | None = None
    contexto: Mapping[str, Any] | None = None
    resolvido_em: datetime | None = None
    reconhecido_por: str = ""
    correlation_id: str = ""


def render(
    especie: Especie, alerts: Sequence[Told], rule: Rule, *, base: str, now: datetime, worse: bool = False
) -> dict[str, Any]:
    """The JSON of an incoming webhook. `alerts` are of one kind, at least one; `base` is the backoffice's address."""
    worst = max(alerts, key=lambda each: list(Severidade).index(each.severidade))
    title = f"{_prefix(especie, worst, rule, worse)} {worst.tipo}: {_subject(alerts)}"
    attachment = {
        "color": RECOVERED if especie is Especie.RESOLVIDO else COLOURS[worst.severidade],
        "title": _said(title, 180),
        "title_link": _alert_page(base, alerts),
        "text": "\n".join(_lines(especie, alerts, now)),
        "fields": _fields(especie, alerts, rule, base, now),
        "footer": f"Julia · correlação {_said(_correlations(alerts), 80)}",
        "ts": int(now.timestamp()),
        "mrkdwn_in": ["text"],
    }
    mention = "<!here> " if especie is Especie.ESCALADO else ""
    return {"text": f"{mention}{_said(title, 180)}", "attachments": [attachment]}


def plain(text: str) -> dict[str, Any]:
    return {"text": _said(text, 1000)}


def _prefix(especie: Especie, worst: Told, rule: Rule, worse: bool) -> str:
    severity = worst.severidade.label.upper()
    match especie:
        case Especie.ABERTO:
            return f"[{severity}]"
        case Especie.LEMBRETE:
            return f"[{severity}, continua e ninguém assumiu]"
        case Especie.RESOLVIDO:
            return "[RESOLVIDO]"
    if worse:
        return f"[{severity}, piorou]"
    return f"[{severity}, ninguém assumiu em {_lasted(rule.escala_apos or timedelta(0))}]"


def _subject(alerts: Sequence[Told]) -> str:
    return alerts[0].titulo if len(alerts) == 1 else f"{len(alerts)} ao mesmo tempo"


def _lines(especie: Especie, alerts: Sequence[Told], now: datetime) -> list[str]:
    lines = [_line(especie, each, is_only=len(alerts) == 1) for each in alerts[:LISTED]]
    if len(alerts) > LISTED:
        lines.append(f"… e mais {len(alerts) - LISTED}, na lista.")
    return lines


def _line(especie: Especie, alert: Told, *, is_only: bool) -> str:
    if especie is Especie.RESOLVIDO and alert.resolvido_em is not None:
        lasted = _lasted(alert.resolvido_em - alert.desde)
        owner = f", com {_said(alert.reconhecido_por, 60)}" if alert.reconhecido_por else ""
        return f"{_said(alert.titulo)}: acabou {moments.exact(alert.resolvido_em)}, durou {lasted}{owner}."
    return _said(alert.mensagem, 500) if is_only else f"• *{_said(alert.titulo)}* {_said(alert.mensagem)}"


def _fields(especie: Especie, alerts: Sequence[Told], rule: Rule, base: str, now: datetime) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    if len(alerts) == 1 and especie is not Especie.RESOLVIDO:
        alert = alerts[0]
        if alert.valor is not None:
            fields.append(_field("Valor", number(alert.valor)))
        if alert.limite is not None:
            fields.append(_field("Limite", number(alert.limite)))
        fields.append(_field("Desde", moments.exact(alert.desde)))
        if known := evidence(alert.contexto, now)[:LISTED]:
            fields.append(_field("Detalhe", "\n".join(f"{name}: {value}" for name, value in known), short=False))
    if especie is not Especie.RESOLVIDO:
        if rule.significa:
            fields.append(_field("O que significa", rule.significa, short=False))
        if rule.proximo:
            fields.append(_field("Próximo passo", rule.proximo, short=False))
    if path := rule.link_of(alerts[0].chave):
        fields.append({"title": "Onde ver", "value": f"<{_address(base, path)}|Abrir na Julia>", "short": False})
    return fields


def _field(title: str, value: str, *, short: bool = True) -> dict[str, Any]:
    return {"title": title, "value": _said(value, 600), "short": short}


def number(value: Decimal | int) -> str:
    """ "1.234,5": without zeros that say nothing."""
    text = f"{Decimal(value):,.2f}".rstrip("0").rstrip(".")
    return text.translate(str.maketrans(",.", ".,"))


def _lasted(span: timedelta) -> str:
    return moments.span(span.total_seconds())


def _correlations(alerts: Sequence[Told]) -> str:
    found = list(dict.fromkeys(each.correlation_id for each in alerts if each.correlation_id))
    return ", ".join(found[:LISTED]) or "-"


def _alert_page(base: str, alerts: Sequence[Told]) -> str:
    path = f"/admin/core/alerta/{alerts[0].id}/change/" if len(alerts) == 1 else "/admin/core/alerta/?situacao=abertos"
    return _address(base, path)


def _address(base: str, path: str) -> str:
    """Absolute, and without what would end or split a Slack link."""
    whole = path if path.startswith(("http://", "https://")) else f"{base.rstrip('/')}/{path.lstrip('/')}"
    return whole.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _said(text: str, longest: int = LONGEST) -> str:
    """Cut before escaping, so that no entity is torn."""
    clean = scrub(text)
    cut = clean if len(clean) <= longest else clean[: longest - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
