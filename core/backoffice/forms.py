"""Forms that stand before an act."""

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from core.audit.services import MOTIVO_MAX, MOTIVO_MIN


class ConfirmForm(forms.Form):
    """Nothing to fill in: the press of the button is the answer."""


class MotivoForm(forms.Form):
    """No motivo, no change."""

    motivo = forms.CharField(
        label="Motivo",
        min_length=MOTIVO_MIN,
        max_length=MOTIVO_MAX,
        help_text=f"Pelo menos {MOTIVO_MIN} caracteres. Fica na auditoria com o seu nome.",
        error_messages={
            "required": "Escreva o motivo.",
            "min_length": f"Escreva um motivo de pelo menos {MOTIVO_MIN} caracteres.",
        },
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
    )
