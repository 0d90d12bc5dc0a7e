"""Rules, their history and the effect of a change, as the pages say them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from chips.choices import ProviderName
from chips.models import Chip, RegraErro
from chips.vocabulario.choices import ContaEm, Culpa
from chips.vocabulario.previa import Effect, Preview
from chips.vocabulario.rules import Entry, Rule
from core.backoffice import moments, ui

LABELS = {
    "culpa": "Culpa",
    "tentar_de_novo": "Tenta de novo",
    "circuito": "Conta no circuito",
    "descanso_s": "Descanso do chip",
    "restricao": "Restrição: tira o chip",
    "frase": "O que o operador lê",
}
NAMED_CHIPS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One thing of a rule beside the same of another, or of an effect before and after."""

    label: str
    now: str
    other: str

    @property
    def differs(self) -> bool:
        return self.now != self.other


@dataclass(frozen=True, slots=True)
class Change:
    at: datetime
    who: str
    motivo: str
    what: list[str]


@dataclass(frozen=True, slots=True)
class Told:
    """The effect of a change as sentences: how much of it is known, and before against after."""

    covered: str
    lines: list[Line]
    notes: list[str]


def named(codigo: str, sentence: str) -> SafeString:
    return format_html('<span class="jl-mono">{}</span><br><span class="jl-small">{}</span>', codigo, sentence)


def provider_of(entry: Entry) -> str:
    return ProviderName(entry.provider).label if entry.provider else "Qualquer provedor"


def compared(rule: Rule, other: Rule) -> list[Line]:
    mine, theirs = _spoken(rule), _spoken(other)
    return [Line(label, mine[name], theirs[name]) for name, label in LABELS.items()]


def _spoken(rule: Rule) -> dict[str, str]:
    return {
        "culpa": Culpa(rule.fault.value).label,
        "tentar_de_novo": _yes(rule.retryable),
        "circuito": rule.circuit.label,
        "descanso_s": _rest(rule.cooldown.total_seconds()),
        "restricao": _yes(rule.restriction),
        "frase": rule.sentence,
    }


def _yes(value: bool) -> str:
    return "Sim" if value else "Não"


def _rest(seconds: float) -> str:
    return moments.span(seconds) if seconds else "nenhum"


def history_of(obj: RegraErro, limit: int = 20) -> list[Change]:
    """The newest changes of one rule, by trigger: those of raw SQL too, which carry no person and no motivo."""
    found = list(obj.historico.select_related("pgh_context").order_by("-pgh_id")[: limit + 1])  # type: ignore[attr-defined]
    return [_change(event, found[n + 1] if n + 1 < len(found) else None) for n, event in enumerate(found[:limit])]


def _change(event: Any, before: Any) -> Change:
    context = event.pgh_context.metadata if event.pgh_context else {}
    who = context.get("usuario") or f"SQL direto, login {event.db_user}"
    if before is None:
        return Change(event.pgh_created_at, context.get("usuario") or "instalação", "", ["criada com o padrão"])
    what = [
        f"{label}: {_value(name, getattr(before, name))} → {_value(name, getattr(event, name))}"
        for name, label in LABELS.items()
        if getattr(before, name) != getattr(event, name)
    ]
    return Change(event.pgh_created_at, who, context.get("motivo", ""), what or ["apagada"])


def _value(name: str, value: Any) -> str:
    """A stored value, which raw SQL may have written, in words."""
    if isinstance(value, bool):
        return _yes(value)
    if name == "descanso_s":
        return _rest(value)
    words = {"culpa": dict(Culpa.choices), "circuito": dict(ContaEm.choices)}.get(name, {})
    return str(words.get(value, value))


def told_effect(preview: Preview, days: int) -> Told:
    record, before, after = preview.record, preview.before, preview.after
    read = ui.counted(len(record.attempts), "tentativa registrada", "tentativas registradas")
    span = f"as {read} desde {moments.exact(record.since)}"
    if record.capped:
        covered = f"A prévia cobre {span}: há mais nos últimos {days} dias do que ela lê de uma vez."
    else:
        covered = f"A prévia cobre {span} ({ui.counted(days, 'dia', 'dias')})."
    with_rule = ui.counted(preview.with_rule, "terminou", "terminaram")
    return Told(
        covered=f"{covered} Destas, {with_rule} com este resultado.",
        lines=[
            Line("Voltariam para a fila", ui.number(before.retried), ui.number(after.retried)),
            Line("Terminariam em erro", ui.number(before.ended), ui.number(after.ended)),
            Line("Descanso dos chips, somado", _minutes(before), _minutes(after)),
            Line("Chips fora da produção", _chips(before), _chips(after)),
            Line("Aberturas de circuito de provedor", str(before.provider_openings), str(after.provider_openings)),
            Line("Aberturas de circuito de chip", str(before.chip_openings), str(after.chip_openings)),
            Line("Chamadas que um circuito aberto evitaria", ui.number(before.avoided), ui.number(after.avoided)),
        ],
        notes=_notes(before, after),
    )


def _minutes(effect: Effect) -> str:
    return f"{ui.number(round(effect.rest_s / 60))} min"


def _chips(effect: Effect) -> str:
    return ui.number(len(effect.ejected))


def _notes(before: Effect, after: Effect) -> list[str]:
    notes = []
    for chips, sentence in (
        (after.ejected - before.ejected, "Sairiam da produção"),
        (before.ejected - after.ejected, "Ficariam em produção"),
    ):
        if chips:
            notes.append(f"{sentence}: {_names(chips)}.")
    return notes


def _names(chips: frozenset[str]) -> str:
    names = Chip.objects.filter(pk__in=list(chips)).order_by("instance_name").values_list("instance_name", flat=True)
    listed = [ui.short_digits(name) for name in names[:NAMED_CHIPS]]
    more = len(chips) - len(listed)
    return ", ".join(listed) + (f" e mais {more}" if more else "")
