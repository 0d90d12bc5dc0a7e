"""The form before "Executar agora": a field per parameter, and a motivo where the run changes data."""

from datetime import date, datetime
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from core.backoffice.forms import MotivoForm
from core.jobs.ensaio import DRY_RUN
from core.jobs.registry import InvalidParam, Job, Param

_KINDS: dict[type, tuple[str, dict[str, str]]] = {
    int: ("Número inteiro.", {"type": "number", "step": "1"}),
    float: ("Número.", {"type": "number", "step": "any"}),
    str: ("Texto.", {}),
    date: ("Data.", {"type": "date"}),
    datetime: ("Instante com fuso, como 2026-03-31T10:00:00-03:00.", {}),
}
_YES_NO = (("true", "sim"), ("false", "não"))


class RunForm(forms.Form):
    """An empty field keeps the job's default. What can be rehearsed asks for a motivo when it is not."""

    def __init__(self, data: Any, *, job: Job) -> None:
        super().__init__(data)
        self.job = job
        for param in job.params.values():
            if param.name != DRY_RUN:
                self.fields[param.name] = _field(param)
        if DRY_RUN in job.params:
            self.fields[DRY_RUN] = forms.BooleanField(
                label="Ensaio",
                required=False,
                initial=True,
                help_text="Mostra o que o job faria e não muda nada. Desligue para executar de verdade.",
                widget=UnfoldBooleanSwitchWidget(),
            )
            motivo = MotivoForm.base_fields["motivo"]
            self.fields["motivo"] = forms.CharField(
                label="Motivo",
                required=False,
                min_length=10,
                max_length=500,
                help_text=f"Sem ensaio é obrigatório. {motivo.help_text}",
                error_messages=motivo.error_messages,
                widget=type(motivo.widget)(attrs={"rows": 3}),
            )

    def clean(self) -> dict[str, Any]:
        """`params` typed, `written` as text, `motivo`."""
        answers = super().clean() or {}
        motivo = answers.pop("motivo", "")
        rehearsal = bool(answers.pop(DRY_RUN, False))
        written = {name: str(value) for name, value in answers.items() if value}
        if DRY_RUN in self.job.params:
            written[DRY_RUN] = "true" if rehearsal else "false"
            if not rehearsal and not motivo and "motivo" not in self.errors:
                self.add_error("motivo", "Escreva o motivo, ou ligue o ensaio.")
        try:
            return {"params": self.job.read_params(written), "written": written, "motivo": motivo}
        except InvalidParam as refusal:
            raise forms.ValidationError(str(refusal)) from refusal


def _field(param: Param) -> forms.Field:
    if param.type is bool:
        empty = ("", f"Padrão: {'sim' if param.default else 'não'}")
        return forms.ChoiceField(
            label=param.name, required=False, choices=(empty, *_YES_NO), widget=UnfoldAdminSelectWidget()
        )
    kind, attrs = _KINDS[param.type]
    return forms.CharField(
        label=param.name,
        required=False,
        help_text=f"{kind} Vazio: {param.default}",
        widget=UnfoldAdminTextInputWidget(attrs=attrs),
    )
