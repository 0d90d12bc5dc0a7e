"""Auditoria: read-only, newest first."""

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import FieldTextFilter, RangeDateTimeFilter
from unfold.decorators import display

from core.audit.models import AuditEntry
from core.backoffice.admin import PageAdmin
from core.rights import Right


class AuditAdmin(PageAdmin[AuditEntry]):
    view_right = Right.AUDITORIA_VER
    page_template = "backoffice/auditoria.html"
    empty_title = "Nenhum registro ainda"
    empty_text = "Cada decisão de uma pessoa (pausar, bloquear, revelar um telefone, mudar um ajuste) aparece aqui."

    list_display = ("ato", "alvo", "quem", "motivo_curto", "quando")
    list_filter = [("acao", FieldTextFilter), ("created_at", RangeDateTimeFilter)]
    search_fields = ("usuario",)
    search_help_text = "Usuário, id do item ou código de correlação"
    ordering = ("-created_at",)
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        term = search_term.strip()
        if term:
            queryset = queryset.filter(Q(usuario=term) | Q(entidade_id=term) | Q(correlation_id=term))
        return queryset, False

    @display(description="Ação")
    def ato(self, obj: AuditEntry) -> str:
        return obj.acao.replace("_", " ")

    @display(description="Item")
    def alvo(self, obj: AuditEntry) -> str:
        return f"{obj.entidade} {obj.entidade_id[:13]}"

    @display(description="Quem")
    def quem(self, obj: AuditEntry) -> str:
        return obj.usuario

    @display(description="Motivo")
    def motivo_curto(self, obj: AuditEntry) -> str:
        return obj.motivo[:80] or "—"

    @display(description="Quando")
    def quando(self, obj: AuditEntry) -> datetime:
        return obj.created_at

    def page_context(self, request: HttpRequest, obj: AuditEntry) -> dict[str, Any]:
        return {"entry": obj, "title": obj.acao.replace("_", " "), "detalhes": sorted(obj.detalhes.items())}
