"""Conversas: read-only, as the doctor sees them."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from core import clock
from core.backoffice import ui
from core.backoffice.admin import PageAdmin
from core.clientes import phones
from fila.choices import Autor, ConversationStatus
from fila.conversas.models import Conversa, Interacao

BUBBLES = 200
STATUS_TONES = {
    ConversationStatus.ACTIVE: ui.Tone.OK,
    ConversationStatus.PAUSED: ui.Tone.WARN,
    ConversationStatus.ESCALATED: ui.Tone.WARN,
    ConversationStatus.AGUARDANDO_GESTOR: ui.Tone.WARN,
    ConversationStatus.AGUARDANDO_MEDICO: ui.Tone.INFO,
}


@admin.register(Conversa)
class ConversaAdmin(PageAdmin[Conversa]):
    page_template = "backoffice/conversa.html"
    empty_title = "Nenhuma conversa ainda"
    empty_text = "Uma conversa começa quando a primeira mensagem sai ou quando um médico escreve."

    list_display = ("medico", "telefone_oculto", "situacao", "quem_conduz", "recebidas", "ultima")
    list_filter = [("status", ChoicesDropdownFilter)]
    list_select_related = ("cliente",)
    search_fields = ("lead_phone",)
    search_help_text = "Telefone completo ou id"
    ordering = ("-last_message_at", "id")
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversa], search_term: str
    ) -> tuple[QuerySet[Conversa], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            pass
        try:
            return queryset.filter(lead_phone=phones.parse(term).e164), False
        except phones.InvalidPhone as error:
            self.message_user(request, f"Busca por telefone: {error.sentence}.", messages.WARNING)
            return queryset.none(), False

    @display(description="Médico")
    def medico(self, obj: Conversa) -> str:
        return str(obj.cliente) if obj.cliente else "número desconhecido"

    @display(description="Telefone")
    def telefone_oculto(self, obj: Conversa) -> SafeString:
        return ui.masked_phone(obj.lead_phone)

    @display(description="Situação")
    def situacao(self, obj: Conversa) -> SafeString:
        return status_badge(obj)

    @display(description="Quem conduz")
    def quem_conduz(self, obj: Conversa) -> SafeString:
        return ui.badge("Pessoa", ui.Tone.WARN) if obj.controlled_by == "human" else ui.badge("Julia", ui.Tone.NEUTRAL)

    @display(description="Recebidas")
    def recebidas(self, obj: Conversa) -> str:
        return ui.number(obj.message_count)

    @display(description="Última mensagem")
    def ultima(self, obj: Conversa) -> SafeString:
        return ui.moment(obj.last_message_at, clock.now())

    def page_context(self, request: HttpRequest, obj: Conversa) -> dict[str, Any]:
        newest = list(
            Interacao.objects.filter(conversation=obj)
            .select_related("chip")
            .only("id", "tipo", "conteudo", "autor_tipo", "autor_nome", "created_at", "delivery_status", "mensagem_id",
                  "chip__instance_name")
            .order_by("-created_at", "-id")[: BUBBLES + 1]
        )  # fmt: skip
        return {
            "conversa": obj,
            "title": f"Conversa com {self.medico(obj)}",
            "status_badge": status_badge(obj),
            "bubbles": [(bubble, _author(bubble)) for bubble in newest[:BUBBLES][::-1]],
            "older_left_out": len(newest) > BUBBLES,
            "medico_url": reverse("admin:core_cliente_change", args=[obj.cliente_id]) if obj.cliente_id else "",
        }


def status_badge(conversa: Conversa) -> SafeString:
    tone = STATUS_TONES.get(ConversationStatus(conversa.status), ui.Tone.NEUTRAL)
    return ui.badge(conversa.get_status_display(), tone)


def _author(interacao: Interacao) -> str:
    if interacao.autor_nome:
        return interacao.autor_nome
    return Autor(interacao.autor_tipo).label if interacao.autor_tipo in Autor.values else interacao.autor_tipo
