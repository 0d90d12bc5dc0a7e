"""Forms of the fleet. Secrets are write-only: what is stored never reaches a page."""

from collections.abc import Collection
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chips.choices import ChipStatus, ChipTipo, ProviderName
from chips.models import Chip
from core.backoffice.forms import MotivoForm
from core.clientes import phones

SECRETS = {
    "api_key": "Chave da instância (Evolution)",
    "zapi_token": "Token (Z-API)",
    "zapi_client_token": "Client-Token (Z-API)",
    "webhook_secret": "Segredo do webhook",
}
IDENTITY = ("telefone", "instance_name", "provider", "tipo", "status", "zapi_instance_id")
LIMITS = ("limite_hora", "limite_dia", "delay_minimo_segundos", "pode_prospectar", "pode_followup", "pode_responder")


def _count(label: str, most: int, help_text: str = "") -> forms.IntegerField:
    widget = UnfoldAdminIntegerFieldWidget()
    return forms.IntegerField(label=label, min_value=0, max_value=most, help_text=help_text, widget=widget)


def _switch(label: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanSwitchWidget())


class LimitsForm(MotivoForm):
    """What supervision may change about a chip."""

    field_order = (*LIMITS, "motivo")

    limite_hora = _count("Limite por hora", 1000, "Em peso: mensagem de campanha pesa 2.")
    limite_dia = _count("Limite por dia", 10_000, "Em peso.")
    delay_minimo_segundos = _count("Intervalo mínimo entre envios (segundos)", 3600)
    pode_prospectar = _switch("Pode levar campanhas")
    pode_followup = _switch("Pode levar acompanhamentos")
    pode_responder = _switch("Pode responder")


class ChipForm(forms.ModelForm[Chip]):
    """Register a chip or change its identity and credentials. An empty secret keeps the stored one."""

    class Meta:
        model = Chip
        fields = IDENTITY
        labels = {
            "instance_name": "Nome da instância",
            "provider": "Provedor",
            "tipo": "Uso",
            "status": "Situação",
            "zapi_instance_id": "Id da instância (Z-API)",
        }
        widgets = {
            "telefone": UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "inputmode": "tel"}),
            "instance_name": UnfoldAdminTextInputWidget(),
            "provider": UnfoldAdminSelectWidget(choices=ProviderName.choices),
            "tipo": UnfoldAdminSelectWidget(choices=ChipTipo.choices),
            "status": UnfoldAdminSelectWidget(choices=ChipStatus.choices),
            "zapi_instance_id": UnfoldAdminTextInputWidget(),
        }

    def __init__(self, *args: Any, stored: Collection[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            self.initial = {
                "provider": ProviderName.EVOLUTION.value,
                "tipo": ChipTipo.JULIA.value,
                "status": ChipStatus.PROVISIONED.value,
            }
        for name, label in SECRETS.items():
            self.fields[name] = forms.CharField(
                label=label,
                required=False,
                help_text="Guardado. Deixe vazio para manter." if name in stored else "Ainda não há valor guardado.",
                widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
            )

    def clean_telefone(self) -> str:
        try:
            return phones.parse(self.cleaned_data["telefone"]).e164
        except phones.InvalidPhone as error:
            raise forms.ValidationError(error.sentence) from error

    def new_secrets(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in SECRETS if self.cleaned_data.get(name)}
