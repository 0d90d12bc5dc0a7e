"""Fila: every message, and why it was (not) sent. Registers the pages of campaigns and conversations too."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display

from chips.models import Chip
from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, ui
from core.backoffice.acts import Act
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import MotivoForm
from core.clientes import phones
from core.clock import database_now
from core.outcomes import SendOutcome
from core.rights import Right, has_right, require
from fila import services
from fila.campanhas.admin import CampanhaAdmin
from fila.campanhas.models import Campanha
from fila.choices import Status
from fila.conversas.admin import ConversaAdmin
from fila.mensagens import Mensagem
from fila.reconciliacao import acts as reconciliacao
from fila.reprocessar.admin import MensagemDlqAdmin, ReprocessamentoAdmin
from fila.sentences import reason_sentence
from fila.timeline import answer, timeline
from guardrails.choices import Kind

CANCEL_AT_ONCE = 10_000
STATUS_TONES = {
    Status.PENDENTE: ui.Tone.INFO,
    Status.PROCESSANDO: ui.Tone.INFO,
    Status.ENVIADA: ui.Tone.OK,
    Status.ERRO: ui.Tone.BAD,
    Status.CANCELADA: ui.Tone.NEUTRAL,
    Status.BLOQUEADA: ui.Tone.WARN,
    Status.INCERTA: ui.Tone.WARN,
}


class CampanhaFilter(DropdownFilter):
    """The newest campaigns; an older one is reached from its own page."""

    title = "campanha"
    parameter_name = "campanha"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = list(Campanha.objects.order_by("-id").values_list("id", "nome_template")[:50])
        chosen = self.value()
        if chosen and chosen.isdigit() and int(chosen) not in {pk for pk, _name in newest}:
            newest += Campanha.objects.filter(pk=int(chosen)).values_list("id", "nome_template")
        return [(str(pk), name) for pk, name in newest]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mensagem]) -> QuerySet[Mensagem]:
        chosen = self.value()
        return queryset.filter(campanha_id=int(chosen)) if chosen and chosen.isdigit() else queryset


class ChipFilter(DropdownFilter):
    title = "chip"
    parameter_name = "chip"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = Chip.objects.order_by("instance_name").values_list("id", "instance_name")[:500]
        return [(str(pk), ui.short_digits(name)) for pk, name in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mensagem]) -> QuerySet[Mensagem]:
        chosen = _as_uuid(self.value() or "")
        return queryset.filter(chip_id=chosen) if chosen else queryset


class OutcomeFilter(DropdownFilter):
    title = "resultado"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(SendOutcome.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mensagem]) -> QuerySet[Mensagem]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


class TipoFilter(DropdownFilter):
    title = "tipo"
    parameter_name = "tipo"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Kind.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mensagem]) -> QuerySet[Mensagem]:
        return queryset.filter(tipo=self.value()) if self.value() else queryset


def _cancel(request: HttpRequest, mensagem: Mensagem, answers: Mapping[str, Any]) -> str:
    actor, now = audit.actor_of(request), clock.now()
    if services.cancel([mensagem.pk], actor=actor, motivo=answers["motivo"], now=now):
        return "A mensagem foi cancelada e não será enviada."
    raise TooLate("A mensagem já não estava pendente: alguém foi mais rápido, ou ela já saiu. Veja a situação abaixo.")


def _is_uncertain(mensagem: Mensagem) -> bool:
    return reconciliacao.may_decide(mensagem.status, mensagem.outcome)


def _confirm_sent(request: HttpRequest, mensagem: Mensagem, answers: Mapping[str, Any]) -> str:
    actor, now = audit.actor_of(request), database_now()
    return reconciliacao.confirm_sent(mensagem.pk, actor=actor, motivo=answers["motivo"], now=now)


def _resend(request: HttpRequest, mensagem: Mensagem, answers: Mapping[str, Any]) -> str:
    actor, now = audit.actor_of(request), database_now()
    return reconciliacao.resend(mensagem.pk, actor=actor, motivo=answers["motivo"], now=now)


def _before_resending(mensagem: Mensagem) -> str:
    missing = reconciliacao.what_is_missing(mensagem.pk, now=database_now())
    return missing or (
        "Ela volta para a fila e sai por outro chip, ou pelo mesmo. Se já tiver chegado, o médico recebe duas vezes: "
        "confira antes no celular do chip."
    )


class TooLate(Exception):
    """The message moved on between the question and the press."""


@admin.register(Mensagem)
class MensagemAdmin(PageAdmin[Mensagem]):
    page_template = "backoffice/mensagem.html"
    counted_as = ("mensagem", "mensagens")
    empty_title = "A fila está vazia"
    empty_text = "Nenhuma mensagem foi criada ainda. Campanhas iniciadas e respostas aparecem aqui."

    list_display = (
        "codigo",
        "medico",
        "telefone_oculto",
        "situacao",
        "porque",
        "tipo",
        "campanha_nome",
        "chip_nome",
        "criada",
    )
    list_filter = [("status", ChoicesDropdownFilter), CampanhaFilter, OutcomeFilter, TipoFilter, ChipFilter]
    list_select_related = ("cliente", "campanha", "chip")
    search_fields = ("id",)
    search_help_text = "Id da mensagem ou telefone completo"
    ordering = ("-created_at", "id")
    sortable_by = ()
    actions = ("cancelar_pendentes",)
    acts = (
        Act(
            name="cancelar",
            label="Cancelar mensagem",
            icon="cancel",
            tone="danger",
            right=Right.FILA_CANCELAR,
            question="Cancelar esta mensagem?",
            consequence="Ela não será enviada. Se já estiver saindo neste instante, termina e nada muda.",
            run=_cancel,
            applies=lambda mensagem: mensagem.status == Status.PENDENTE,
            refused=(TooLate, services.MotivoInsuficiente),
        ),
        Act(
            name="foi-enviada",
            label="Foi enviada",
            icon="done_all",
            right=Right.FILA_REPROCESSAR,
            question="Confirmar que esta mensagem foi enviada?",
            consequence="Ela passa a contar como enviada e não será enviada de novo. Confirme só o que viu no celular "
            "do chip ou ouviu do médico.",
            run=_confirm_sent,
            applies=_is_uncertain,
            refused=(reconciliacao.Recusada, MotivoMissing),
        ),
        Act(
            name="reenviar",
            label="Não foi: reenviar",
            icon="replay",
            tone="danger",
            right=Right.FILA_REPROCESSAR,
            question="Esta mensagem não saiu: enviar de novo?",
            consequence=_before_resending,
            run=_resend,
            applies=_is_uncertain,
            refused=(reconciliacao.Recusada, MotivoMissing),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Mensagem]:
        """Never a chip's secrets, and in lists never the text."""
        return super().get_queryset(request).defer(
            "conteudo", "metadata", "chip__api_key", "chip__zapi_token", "chip__zapi_client_token",
            "chip__webhook_secret", "campanha__corpo", "campanha__corpo_congelado", "campanha__plano",
        )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Mensagem], search_term: str
    ) -> tuple[QuerySet[Mensagem], bool]:
        """By id, or by a whole phone through its doctor: nothing that would read the table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (found := _as_uuid(term)) is not None:
            return queryset.filter(pk=found), False
        try:
            return queryset.filter(cliente__telefone=phones.parse(term).e164), False
        except phones.InvalidPhone as error:
            text = f"Busque pelo id inteiro da mensagem ou pelo telefone completo ({error.sentence})."
            self.message_user(request, text, messages.WARNING)
            return queryset.none(), False

    @display(description="Mensagem")
    def codigo(self, obj: Mensagem) -> str:
        return str(obj.pk)[:8]

    @display(description="Médico")
    def medico(self, obj: Mensagem) -> SafeString:
        return ui.clipped(str(obj.cliente))

    @display(description="Telefone")
    def telefone_oculto(self, obj: Mensagem) -> SafeString:
        return ui.masked_phone(obj.telefone_destino)

    @display(description="Situação")
    def situacao(self, obj: Mensagem) -> SafeString:
        return status_badge(obj)

    @display(description="Por quê")
    def porque(self, obj: Mensagem) -> str:
        if obj.status == Status.ENVIADA:
            return {"delivered": "Entregue", "read": "Lida", "failed": "Não entregue"}.get(
                obj.delivery_status or "", "—"
            )
        return SendOutcome(obj.outcome).label if obj.outcome else obj.outcome_reason_code or "—"

    @display(description="Campanha")
    def campanha_nome(self, obj: Mensagem) -> SafeString | str:
        return ui.clipped(str(obj.campanha)) if obj.campanha else "—"

    @display(description="Chip")
    def chip_nome(self, obj: Mensagem) -> SafeString | str:
        return ui.clipped(ui.short_digits(str(obj.chip))) if obj.chip else "—"

    @display(description="Criada")
    def criada(self, obj: Mensagem) -> SafeString:
        return ui.moment(obj.created_at, clock.now())

    def has_cancelar_permission(self, request: HttpRequest) -> bool:
        return has_right(request.user, Right.FILA_CANCELAR)

    @action(description="Cancelar as pendentes selecionadas", permissions=["cancelar"])
    def cancelar_pendentes(self, request: HttpRequest, queryset: QuerySet[Mensagem]) -> HttpResponse | None:
        """Bulk cancel, with a motivo on a page of its own."""
        require(request.user, Right.FILA_CANCELAR)
        found = queryset.filter(status=Status.PENDENTE).order_by().values_list("id", flat=True)
        ids = list(found[: CANCEL_AT_ONCE + 1])
        if not ids:
            self.message_user(request, "Nenhuma das selecionadas está pendente: nada foi cancelado.", messages.WARNING)
            return None
        if len(ids) > CANCEL_AT_ONCE:
            text = (
                f"São mais de {ui.number(CANCEL_AT_ONCE)} mensagens: cancele a campanha inteira, ou filtre em partes."
            )
            self.message_user(request, text, messages.ERROR)
            return None
        form = MotivoForm(request.POST if "confirmado" in request.POST else None)
        if form.is_valid():
            now = clock.now()
            count = services.cancel(ids, actor=audit.actor_of(request), motivo=form.cleaned_data["motivo"], now=now)
            late = len(ids) - count
            note = f" {ui.counted(late, 'já tinha saído', 'já tinham saído')} da espera." if late else ""
            self.message_user(request, f"{ui.counted(count, 'mensagem cancelada', 'mensagens canceladas')}.{note}")
            return None
        selected = ids if "select_across" not in request.POST or request.POST["select_across"] == "0" else []
        across = [("select_across", "1")] if not selected else []
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Cancelar mensagens",
            "act": {"question": f"Cancelar {ui.counted(len(ids), 'mensagem pendente', 'mensagens pendentes')}?",
                    "label": "Cancelar mensagens", "tone": "danger"},
            "consequence": "Elas não serão enviadas. O que já estiver no fio termina e não muda.",
            "form": form,
            "back": request.get_full_path(),
            "hidden": [
                ("action", "cancelar_pendentes"), ("confirmado", "1"), *across,
                *((ACTION_CHECKBOX_NAME, str(pk)) for pk in (selected or ids[:1])),
            ],
        }  # fmt: skip
        return TemplateResponse(request, "backoffice/confirm.html", context)

    def page_context(self, request: HttpRequest, obj: Mensagem) -> dict[str, Any]:
        campanha = obj.campanha
        return {
            "mensagem": obj,
            "title": f"Mensagem {str(obj.pk)[:8]}",
            "status_badge": status_badge(obj),
            "answer": answer(obj, now=clock.now(), campanha_status=campanha.status if campanha else None),
            "outcome": SendOutcome(obj.outcome).label if obj.outcome else "",
            "reason": reason_sentence(obj.outcome_reason_code, obj.outcome),
            "timeline": timeline(obj),
            "tipo": Kind(obj.tipo).label if obj.tipo in Kind.values else obj.tipo,
            "medico_url": reverse("admin:core_cliente_change", args=[obj.cliente_id]),
            "campanha_url": reverse("admin:fila_campanha_change", args=[campanha.pk]) if campanha else "",
            "chip_name": ui.short_digits(str(obj.chip)) if obj.chip else "",
            "chip_url": reverse("admin:chips_chip_change", args=[obj.chip_id]) if obj.chip_id else "",
            "conversa_url": reverse("admin:fila_conversa_change", args=[obj.conversa_id]) if obj.conversa_id else "",
        }


def status_badge(mensagem: Mensagem) -> SafeString:
    return ui.badge(mensagem.get_status_display(), STATUS_TONES[Status(mensagem.status)])


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


__all__ = ["CampanhaAdmin", "ConversaAdmin", "MensagemAdmin", "MensagemDlqAdmin", "ReprocessamentoAdmin"]
