"""Alertas: what a person should know now, who takes care of it, and what is over."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from core import clock
from core.alerts import sentences, services
from core.alerts.models import Alerta, Aviso, Entrega, Especie, Severidade
from core.alerts.rules import rule_of
from core.audit.services import MotivoMissing
from core.backoffice import audit, moments, ui
from core.backoffice.acts import Act
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import ConfirmForm, MotivoForm
from core.circuits import names
from core.rights import Right

SEVERITY_TONES = {
    Severidade.INFO: ui.Tone.INFO,
    Severidade.WARNING: ui.Tone.WARN,
    Severidade.ERROR: ui.Tone.BAD,
    Severidade.CRITICAL: ui.Tone.BAD,
}
DELIVERY_TONES = {
    Entrega.Situacao.PENDENTE: ui.Tone.WARN,
    Entrega.Situacao.ENVIANDO: ui.Tone.INFO,
    Entrega.Situacao.ENVIADA: ui.Tone.OK,
    Entrega.Situacao.SEM_CANAL: ui.Tone.NEUTRAL,
    Entrega.Situacao.DESCARTADA: ui.Tone.NEUTRAL,
}


REFUSED = (services.AlertRefused, services.AlertUnknown, MotivoMissing)
DELIVERIES = 20


class SilenceForm(MotivoForm):
    """How long, how wide, and why."""

    horas = forms.TypedChoiceField(
        label="Por quanto tempo",
        coerce=int,
        choices=[(1, "1 hora"), (4, "4 horas"), (24, "24 horas")],
        initial=1,
        widget=UnfoldAdminSelectWidget,
    )
    alcance = forms.ChoiceField(
        label="O quê",
        choices=[("este", "Só este alerta"), ("tipo", "Todos os alertas deste tipo")],
        initial="este",
        widget=UnfoldAdminSelectWidget,
    )
    field_order = ("horas", "alcance", "motivo")


def _take(request: HttpRequest, alerta: Alerta, answers: Mapping[str, Any]) -> str:
    services.acknowledge(alerta.pk, actor=audit.actor_of(request), ip=audit.ip_of(request))
    return "O alerta é seu. Ele some sozinho quando a causa acabar."


def _silence(request: HttpRequest, alerta: Alerta, answers: Mapping[str, Any]) -> str:
    until = clock.database_now() + timedelta(hours=answers["horas"])
    services.silence(
        alerta.tipo,
        alerta.chave if answers["alcance"] == "este" else "",
        ate=until,
        motivo=answers["motivo"],
        actor=audit.actor_of(request),
        ip=audit.ip_of(request),
        alerta_id=alerta.pk,
    )
    return f"Silenciado até {moments.exact(until)}. O alerta continua aqui e ainda se resolve sozinho."


def _unsilence(request: HttpRequest, alerta: Alerta, answers: Mapping[str, Any]) -> str:
    ended = services.unsilence(
        alerta.tipo,
        alerta.chave,
        actor=audit.actor_of(request),
        motivo=answers["motivo"],
        ip=audit.ip_of(request),
        alerta_id=alerta.pk,
    )
    return "O silêncio acabou: o que estiver aberto volta a avisar." if ended else "Já não havia silêncio."


def _close(request: HttpRequest, alerta: Alerta, answers: Mapping[str, Any]) -> str:
    services.close(alerta.pk, actor=audit.actor_of(request), motivo=answers["motivo"], ip=audit.ip_of(request))
    return "Alerta encerrado."


def _is_open(alerta: Alerta) -> bool:
    return alerta.resolvido_em is None


def _is_silenced(alerta: Alerta) -> bool:
    return bool(sentences.standing_silences([alerta]))


class SituationFilter(DropdownFilter):
    title = "situação"
    parameter_name = "situacao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("abertos", "Abertos"), ("sem_dono", "Abertos, ninguém assumiu"), ("resolvidos", "Resolvidos")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alerta]) -> QuerySet[Alerta]:
        match self.value():
            case "abertos":
                return queryset.filter(resolvido_em__isnull=True)
            case "sem_dono":
                return queryset.filter(resolvido_em__isnull=True, reconhecido=False)
            case "resolvidos":
                return queryset.filter(resolvido_em__isnull=False)
        return queryset


class AlertaAdmin(PageAdmin[Alerta]):
    page_template = "backoffice/alerta.html"
    empty_title = "Nenhum alerta"
    empty_text = "Quando algo precisar de uma pessoa, aparece aqui com o próximo passo, e some quando se resolver."

    list_display = ("titulo_curto", "gravidade", "situacao", "vezes", "comecou", "visto")
    list_display_links = ("titulo_curto",)
    list_before_template = "backoffice/viva.html"
    list_filter = [SituationFilter, ("severidade", ChoicesDropdownFilter)]
    search_fields = ("=correlation_id", "=tipo", "=chave")
    search_help_text = "Correlação, tipo ou chave, inteiros"
    ordering = ("-primeira_ocorrencia_em",)
    sortable_by = ()
    acts = (
        Act(
            name="assumir",
            label="Assumir",
            icon="front_hand",
            tone="primary",
            right=Right.ALERTA_RECONHECER,
            question="Assumir este alerta?",
            consequence="O seu nome fica no alerta, e os outros veem que alguém está cuidando. Ele só some quando a "
            "causa acabar.",
            run=_take,
            form=ConfirmForm,
            applies=lambda alerta: not alerta.reconhecido and _is_open(alerta),
            refused=REFUSED,
        ),
        Act(
            name="silenciar",
            label="Silenciar",
            icon="notifications_paused",
            right=Right.ALERTA_SILENCIAR,
            question="Silenciar este alerta por um tempo?",
            consequence="Nada é enviado ao Slack sobre ele até o prazo acabar: nem aviso, nem lembrete, nem fim. O "
            "alerta continua nesta página e ainda se resolve sozinho. Se ao fim do prazo a causa continuar, avisa.",
            run=_silence,
            form=SilenceForm,
            applies=lambda alerta: _is_open(alerta) and not _is_silenced(alerta),
            refused=REFUSED,
        ),
        Act(
            name="tirar_silencio",
            label="Tirar silêncio",
            icon="notifications_active",
            right=Right.ALERTA_SILENCIAR,
            question="Voltar a avisar sobre este alerta?",
            consequence="O silêncio acaba agora, também o de todos os alertas deste tipo, se for o caso. O que está "
            "aberto e ainda não foi avisado sai em até 30 segundos.",
            run=_unsilence,
            applies=_is_silenced,
            refused=REFUSED,
        ),
        Act(
            name="encerrar",
            label="Encerrar",
            icon="task_alt",
            right=Right.ALERTA_RECONHECER,
            question="Encerrar este alerta?",
            consequence="Ele conta de um acontecimento que nenhuma verificação vê terminar: só uma pessoa sabe que foi "
            "tratado. Diga no motivo o que você fez. Se acontecer de novo, abre outro.",
            run=_close,
            applies=lambda alerta: _is_open(alerta) and rule_of(alerta.tipo).evaluate is None,
            refused=REFUSED,
        ),
    )

    def prepare(self, request: HttpRequest, page: Sequence[Alerta]) -> None:
        silences = sentences.standing_silences([alerta for alerta in page if _is_open(alerta)])
        for alerta in page:
            alerta.silencio = silences.get(alerta.pk)  # type: ignore[attr-defined]

    @display(description="Gravidade")
    def gravidade(self, obj: Alerta) -> SafeString:
        return severity_badge(obj)

    @display(description="Alerta")
    def titulo_curto(self, obj: Alerta) -> str:
        return obj.titulo

    @display(description="Situação")
    def situacao(self, obj: Alerta) -> SafeString:
        return situation_badge(obj)

    @display(description="Vezes")
    def vezes(self, obj: Alerta) -> str:
        return ui.number(obj.ocorrencias)

    @display(description="Desde")
    def comecou(self, obj: Alerta) -> SafeString:
        return ui.moment(obj.desde or obj.primeira_ocorrencia_em, clock.now())

    @display(description="Visto por último")
    def visto(self, obj: Alerta) -> SafeString:
        return ui.moment(obj.ultima_ocorrencia_em, clock.now())

    def page_context(self, request: HttpRequest, obj: Alerta) -> dict[str, Any]:
        chip, now, rule = names.chip_of(obj.chave), clock.now(), rule_of(obj.tipo)
        silence = sentences.standing_silences([obj]).get(obj.pk)
        obj.silencio = silence  # type: ignore[attr-defined]
        told = Aviso.objects.filter(alerta=obj).select_related("entrega").order_by("-entrega__created_at")
        return {
            "alerta": obj,
            "title": obj.titulo,
            "severity": severity_badge(obj),
            "situation": situation_badge(obj),
            "rule": rule,
            "link": rule.link_of(obj.chave),
            "why_quiet": sentences.why_quiet(obj, silence, now),
            "deliveries": [_delivery(aviso, now) for aviso in told[:DELIVERIES]],
            "evidence": sentences.evidence(obj.contexto, now),
            "chip_url": reverse("admin:chips_chip_change", args=[chip]) if chip else "",
            "circuit_url": reverse("admin:core_circuit_change", args=[obj.chave]) if obj.chave in names.KNOWN else "",
            "entries": audit.entries_of(obj),
        }


def severity_badge(alerta: Alerta) -> SafeString:
    return ui.badge(alerta.get_severidade_display(), SEVERITY_TONES[Severidade(alerta.severidade)])


def situation_badge(alerta: Alerta) -> SafeString:
    """Who has it, or what keeps it quiet. `silencio` is set by whoever prepared the rows."""
    if alerta.resolvido_em is not None:
        return ui.badge("Resolvido", ui.Tone.OK)
    if alerta.reconhecido:
        return ui.badge(f"Com {alerta.reconhecido_por}", ui.Tone.INFO)
    if getattr(alerta, "silencio", None):
        return ui.badge("Silenciado", ui.Tone.NEUTRAL)
    if alerta.inibido_por:
        return ui.badge("Explicado por outro", ui.Tone.NEUTRAL, title=alerta.inibido_por)
    return ui.badge("Aberto", ui.Tone.WARN)


def _delivery(aviso: Aviso, now: datetime) -> dict[str, Any]:
    """One message about the alert: what it was, and when it left or why it has not."""
    entrega = aviso.entrega
    situacao = Entrega.Situacao(entrega.situacao)
    told = {
        Entrega.Situacao.ENVIADA: f"Enviado ao Slack {moments.day_and_time(entrega.enviada_em or now, now)}",
        Entrega.Situacao.SEM_CANAL: "Não foi ao Slack: nenhum canal estava configurado",
        Entrega.Situacao.DESCARTADA: "Descartado: o alerta acabou há mais de um dia e o Slack não o tinha recebido",
        Entrega.Situacao.ENVIANDO: "Saindo agora",
        Entrega.Situacao.PENDENTE: "Espera o Slack",
    }[situacao]
    if situacao is Entrega.Situacao.PENDENTE and entrega.motivo:
        again = moments.relative(entrega.proxima_em, now)
        told += f": {entrega.motivo}, {ui.counted(entrega.tentativas, 'tentativa', 'tentativas')}, próxima {again}"
    return {
        "especie": Especie(aviso.especie).label,
        "told": told,
        "tone": DELIVERY_TONES[situacao],
        "badge": situacao.label,
        "written_at": entrega.created_at,
    }
