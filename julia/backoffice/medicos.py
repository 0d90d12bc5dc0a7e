"""The doctor's page with what every app knows of them: permission, messages, conversations, campaigns, audit."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, ui
from core.backoffice.acts import Act
from core.clientes.admin import ClienteAdmin
from core.clientes.models import Cliente
from core.rights import Right
from fila.admin import status_badge
from fila.campanhas.models import Destinatario
from fila.choices import DestinatarioEstado, Status
from fila.conversas import silencio
from fila.conversas.admin import status_badge as conversation_badge
from fila.conversas.models import Conversa
from fila.conversas.opt_out import PersonNotFound, opt_out
from fila.mensagens import Mensagem
from fila.sentences import reason_sentence
from guardrails.models import DoctorState

NEWEST = 20
PERMISSION_TONES = {
    DoctorState.Permission.INITIAL: ui.Tone.INFO,
    DoctorState.Permission.ACTIVE: ui.Tone.OK,
    DoctorState.Permission.COOLING_OFF: ui.Tone.WARN,
    DoctorState.Permission.OPTED_OUT: ui.Tone.BAD,
}


class PermissionFilter(DropdownFilter):
    title = "permissão de contato"
    parameter_name = "permissao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(DoctorState.Permission.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Cliente]) -> QuerySet[Cliente]:
        return queryset.filter(doctor_state__permission_state=self.value()) if self.value() else queryset


def _opt_out(request: HttpRequest, cliente: Cliente, answers: Mapping[str, Any]) -> str:
    motivo, actor = answers["motivo"], audit.actor_of(request)
    result = opt_out(cliente.pk, origem="operador", motivo=motivo, actor=actor, now=clock.now())
    if result.already:
        return f"{cliente} já estava fora. O novo motivo ficou na auditoria."
    ended = ui.counted(result.bloqueadas, "mensagem pendente foi bloqueada", "mensagens pendentes foram bloqueadas")
    return f"{cliente} não recebe mais mensagens. {ended}."


def _before_silence(cliente: Cliente) -> str:
    waiting = Mensagem.objects.filter(cliente=cliente, status=Status.PENDENTE).count()
    count = ui.counted(waiting, "mensagem pendente", "mensagens pendentes")
    return (
        "Nada da Julia chega a ele até a supervisão liberar: nem campanhas, nem respostas automáticas. Uma pessoa "
        f"ainda pode responder. Agora há {count} para ele: cada uma termina bloqueada quando chegar a vez dela."
    )


def _silence(request: HttpRequest, cliente: Cliente, answers: Mapping[str, Any]) -> str:
    who, ip = audit.actor_of(request), audit.ip_of(request)
    changed = silencio.silence(cliente.pk, actor=who, motivo=answers["motivo"], now=clock.now(), ip=ip)
    return f"A Julia está calada com {cliente}." if changed else f"A Julia já estava calada com {cliente}."


def _lift(request: HttpRequest, cliente: Cliente, answers: Mapping[str, Any]) -> str:
    who, ip = audit.actor_of(request), audit.ip_of(request)
    changed = silencio.lift(cliente.pk, actor=who, motivo=answers["motivo"], ip=ip)
    return f"A Julia pode escrever a {cliente} de novo." if changed else "A Julia já não estava calada."


class MedicoAdmin(ClienteAdmin):
    list_display = ("nome_mostrado", "telefone_oculto", "permissao", "area", "lugar", "numero")
    list_filter = [PermissionFilter, ("status_telefone", ChoicesDropdownFilter)]
    list_select_related = ("doctor_state",)
    acts = (
        Act(
            name="opt-out",
            label="Registrar pedido de saída",
            icon="do_not_disturb_on",
            tone="danger",
            right=Right.OPT_OUT_REGISTRAR,
            question="Registrar que este médico pediu para sair?",
            consequence="Ele não recebe mais nada que a Julia inicie, e o que está na fila é bloqueado agora. "
            "Só volta a receber se ele mesmo pedir.",
            run=_opt_out,
            applies=lambda cliente: permission_of(cliente) != DoctorState.Permission.OPTED_OUT,
            refused=(PersonNotFound,),
        ),
        Act(
            name="silenciar",
            label="Calar a Julia",
            icon="voice_over_off",
            right=Right.OPT_OUT_REGISTRAR,
            question="Calar a Julia com este médico?",
            consequence=_before_silence,
            run=_silence,
            applies=lambda cliente: silencio.standing(cliente) is None,
            refused=(PersonNotFound, MotivoMissing),
        ),
        Act(
            name="liberar",
            label="Deixar a Julia falar",
            icon="record_voice_over",
            tone="primary",
            right=Right.MEDICO_DESBLOQUEAR,
            question="Deixar a Julia escrever de novo a este médico?",
            consequence="As próximas mensagens voltam a sair, se permissão, horários e limites deixarem. O que "
            "terminou enquanto ela estava calada não volta sozinho.",
            run=_lift,
            applies=lambda cliente: silencio.standing(cliente) is not None,
            refused=(PersonNotFound, MotivoMissing),
        ),
    )

    @display(description="Permissão")
    def permissao(self, obj: Cliente) -> SafeString:
        return permission_badge(obj)

    def page_context(self, request: HttpRequest, obj: Cliente) -> dict[str, Any]:
        messages = list(
            Mensagem.objects.filter(cliente=obj)
            .select_related("campanha")
            .only("id", "status", "tipo", "outcome", "outcome_reason_code", "created_at", "enviada_em",
                  "campanha__nome_template")
            .order_by("-created_at")[:NEWEST]
        )  # fmt: skip
        campaigns = Destinatario.objects.filter(cliente=obj).select_related("campanha")
        return {
            **super().page_context(request, obj),
            "permission_badge": permission_badge(obj),
            "state": DoctorState.objects.filter(cliente=obj).first(),
            "silence": silencio.standing(obj),
            "mensagens": [
                (each, status_badge(each), reason_sentence(each.outcome_reason_code, each.outcome)) for each in messages
            ],
            "conversas": [
                (each, conversation_badge(each))
                for each in Conversa.objects.filter(cliente=obj).order_by("-updated_at")[:5]
            ],
            "campanhas": [
                (each, _place(each))
                for each in campaigns.only(
                    "estado", "motivo_exclusao", "campanha__nome_template", "campanha__status"
                ).order_by("-id")[:10]
            ],
            "conversa_url": reverse("admin:fila_conversa_changelist"),
            "entries": audit.entries_of(obj),
        }


def permission_of(cliente: Cliente) -> str:
    state = getattr(cliente, "doctor_state", None)
    return state.permission_state if state else DoctorState.Permission.NONE.value


def permission_badge(cliente: Cliente) -> SafeString:
    permission = DoctorState.Permission(permission_of(cliente))
    return ui.badge(permission.label, PERMISSION_TONES.get(permission, ui.Tone.NEUTRAL))


def _place(recipient: Destinatario) -> str:
    """Where this person stands in one campaign."""
    if recipient.estado == DestinatarioEstado.EXCLUIDO:
        return f"Não recebe: {recipient.get_motivo_exclusao_display()}"
    return recipient.get_estado_display()
