"""Feriados: days without proactive messages."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from core.backoffice import audit
from core.backoffice.admin import JuliaAdmin
from core.rights import Right, has_right
from guardrails.models import Feriado


@admin.register(Feriado)
class FeriadoAdmin(JuliaAdmin[Feriado]):
    add_right = Right.FERIADO_EDITAR
    change_right = Right.FERIADO_EDITAR
    add_label = "Cadastrar feriado"
    empty_title = "Nenhum feriado cadastrado"
    empty_text = "Nos feriados cadastrados a Julia não inicia conversas; respostas continuam saindo."

    list_display = ("dia", "feriado")
    ordering = ("-data",)
    actions = ()

    @display(description="Dia")
    def dia(self, obj: Feriado) -> str:
        return f"{obj.data:%d/%m/%Y}"

    @display(description="Feriado")
    def feriado(self, obj: Feriado) -> str:
        return obj.nome

    def has_delete_permission(self, request: HttpRequest, obj: Feriado | None = None) -> bool:
        return has_right(request.user, Right.FERIADO_EDITAR)

    def save_model(self, request: HttpRequest, obj: Feriado, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(request, "feriado_editado" if change else "feriado_cadastrado", obj, detalhes={"nome": obj.nome})

    def delete_model(self, request: HttpRequest, obj: Feriado) -> None:
        audit.record(request, "feriado_excluido", obj, detalhes={"nome": obj.nome})
        super().delete_model(request, obj)

    def log_addition(self, request: HttpRequest, obj: Feriado, message: Any) -> Any:
        return None  # the audit trail has it

    def log_change(self, request: HttpRequest, obj: Feriado, message: Any) -> Any:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None
