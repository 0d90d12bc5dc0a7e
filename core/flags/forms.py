"""A form for a declared setting: fields of the right type instead of raw JSON, and the motivo."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from core.backoffice.forms import MotivoForm
from core.flags.registry import InvalidValue, Kind, Setting

WEEKDAYS = (
    (1, "segunda"), (2, "terça"), (3, "quarta"), (4, "quinta"), (5, "sexta"), (6, "sábado"), (7, "domingo"),
)  # fmt: skip
_LABELS = {
    "inicio": "Abre às",
    "fim": "Fecha às",
    "dias": "Dias da semana",
    "enabled": "Regra ligada",
    "limite": "Limite",
    "min": "No mínimo (segundos)",
    "max": "No máximo (segundos)",
    "falhas": "Falhas seguidas que abrem",
    "inicial_s": "Segundos até a primeira sonda",
    "max_s": "No máximo entre sondas (segundos)",
}


class SettingForm(MotivoForm):
    """The value's own fields come first, `motivo` last. `cleaned_data["value"]` is the normal form of the value."""

    def __init__(self, data: Mapping[str, Any] | None, *, setting: Setting[Any], current: Any) -> None:
        super().__init__(data)
        self.setting = setting
        parts = setting.default if setting.kind is Kind.OBJECT else {"valor": setting.default}
        self._parts: dict[str, Any] = dict(parts)
        shown = current if isinstance(current, dict) and setting.kind is Kind.OBJECT else {"valor": current}
        fields = {name: _field(name, default, setting, shown.get(name)) for name, default in self._parts.items()}
        self.fields = {**fields, **self.fields}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self._parts.keys() <= cleaned.keys():
            return cleaned
        value: Any = {name: cleaned[name] for name in self._parts}
        if self.setting.kind is not Kind.OBJECT:
            value = value["valor"]
        try:
            cleaned["value"] = self.setting.validate(value)
        except InvalidValue as error:
            raise forms.ValidationError(f"Valor recusado: {error}.") from error
        return cleaned


def _field(name: str, default: Any, setting: Setting[Any], current: Any) -> forms.Field:
    label = _LABELS.get(name, "Novo valor" if name == "valor" else name)
    common: dict[str, Any] = {"label": label, "initial": current, "required": False}
    if name == "dias":
        return _Days(
            choices=WEEKDAYS, coerce=int, widget=UnfoldAdminCheckboxSelectMultipleWidget(choices=WEEKDAYS), **common
        )
    if isinstance(default, bool):
        return forms.BooleanField(widget=UnfoldBooleanSwitchWidget(), **common)
    if setting.kind is Kind.INTEGER or isinstance(default, int):
        return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(), **common)
    if isinstance(default, float):
        return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget(), **common)
    if isinstance(default, str):
        return forms.CharField(widget=UnfoldAdminTextInputWidget(), **common)
    return forms.JSONField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), **common)


class _Days(forms.TypedMultipleChoiceField):
    pass


def spoken(setting: Setting[Any], value: Any) -> str:
    """The stored value as an operator reads it."""
    if setting.kind in (Kind.SWITCH, Kind.BOOLEAN):
        return "Ligado" if value is True else "Desligado" if value is False else "Ilegível"
    if value is None:
        return "sem limite"
    if setting.key == "janela_envio" and isinstance(value, dict):
        days = dict(WEEKDAYS)
        names = ", ".join(days.get(day, str(day)) for day in value.get("dias", []))
        return f"das {value.get('inicio')} às {value.get('fim')}: {names}"
    if setting.key == "contact_cap_7d" and isinstance(value, dict):
        return f"{value.get('limite')} em 7 dias" if value.get("enabled") else "regra desligada"
    if setting.key == "pacing_s" and isinstance(value, dict):
        return f"de {value.get('min')} a {value.get('max')} segundos"
    if setting.key.startswith("circuito_") and isinstance(value, dict):
        return (
            f"abre com {value.get('falhas')} falhas; sondas de {value.get('inicial_s')} a {value.get('max_s')} segundos"
        )
    if value == "":
        return "não definido"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
