"""The form of a rule: what may be adjusted, for how many days the effect is looked at, and the motivo."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chips.providers.base import Fault
from chips.vocabulario.choices import ContaEm, Culpa
from chips.vocabulario.previa import MOST_DAYS
from chips.vocabulario.rules import Rule
from chips.vocabulario.services import LONGEST_REST, RuleRefused, columns_of, refuse_impossible
from core.backoffice.forms import MotivoForm

DAYS = 7
MAY_HAVE_LEFT = "Não se ajusta: a mensagem pode ter saído, e o que pode ter saído nunca é repetido."


class RuleForm(MotivoForm):
    """`cleaned_data["rule"]` is the rule as a value. The motivo is asked for at the press that saves, not before."""

    field_order = ("culpa", "tentar_de_novo", "circuito", "descanso_s", "restricao", "frase", "dias", "motivo")

    culpa = forms.ChoiceField(
        label="De quem é a culpa",
        choices=Culpa.choices,
        widget=UnfoldAdminSelectWidget(choices=Culpa.choices),
        help_text="Decide para onde a mensagem vai depois: culpa do chip procura outro chip na hora.",
    )
    tentar_de_novo = forms.BooleanField(
        label="Tentar de novo",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Até o limite de tentativas da mensagem. Desligado, ela termina em erro na primeira vez.",
    )
    circuito = forms.ChoiceField(
        label="Conta como falha no circuito",
        choices=ContaEm.choices,
        widget=UnfoldAdminSelectWidget(choices=ContaEm.choices),
    )
    descanso_s = forms.IntegerField(
        label="Descanso do chip (segundos)",
        min_value=0,
        max_value=int(LONGEST_REST.total_seconds()),
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="0 não descansa. Quando a resposta traz o próprio tempo de espera (Retry-After), vale o dela.",
    )
    restricao = forms.BooleanField(
        label="É restrição do WhatsApp",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Tira o chip da produção na hora, abre o circuito dele e cria um alerta.",
    )
    frase = forms.CharField(
        label="O que o operador lê",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text="O que aconteceu e o próximo passo, em até 200 caracteres.",
    )
    dias = forms.IntegerField(
        label="Prévia sobre os últimos dias",
        min_value=1,
        max_value=MOST_DAYS,
        initial=DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    def __init__(self, data: Mapping[str, Any] | None, *, default: Rule, shown: Rule, saving: bool = False) -> None:
        super().__init__(data, initial=columns_of(shown))
        self._default = default
        self.fields["motivo"].required = saving
        self.fields["motivo"].widget.attrs.pop("autofocus", None)
        if default.may_have_left:
            self.fields["tentar_de_novo"].disabled = True
            self.fields["tentar_de_novo"].help_text = MAY_HAVE_LEFT

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        rule = replace(
            self._default,
            fault=Fault(cleaned["culpa"]),
            retryable=cleaned["tentar_de_novo"] and not self._default.may_have_left,
            circuit=ContaEm(cleaned["circuito"]),
            cooldown=timedelta(seconds=cleaned["descanso_s"]),
            restriction=cleaned["restricao"],
            sentence=cleaned["frase"].strip(),
        )
        try:
            refuse_impossible(rule, self._default)
        except RuleRefused as refusal:
            raise forms.ValidationError(str(refusal)) from refusal
        cleaned["rule"] = rule
        return cleaned


def mark_of(rule: Rule) -> str:
    """A short name for the values of a rule: the page carries it, to notice that they changed in between."""
    return hashlib.sha256(repr(sorted(columns_of(rule).items())).encode()).hexdigest()[:16]
