"""Alertas: what a person should know now, who takes care of it, and what is over."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from core import clock
from core.alerts.models import Alerta, Severidade
from core.backoffice import audit, ui
from core.backoffice.acts import Act
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import ConfirmForm
from core.circuits import names
from core.clock import Agora
from core.rights import Right

SEVERITY_TONES = {
    Severidade.INFO: ui.Tone.INFO,
    Severidade.WARNING: ui.Tone.WARN,
    Severidade.ERROR: ui.Tone.BAD,
    Severidade.CRITICAL: ui.Tone.BAD,
}


class AlreadyTaken(Exception):
    """Somebody was faster, or the alert is over; the text is for the operator."""


def _take(request: HttpRequest, alerta: Alerta, answers: Mapping[str, Any]) -> str:
    with transaction.atomic():
        taken = Alerta.objects.filter(pk=alerta.pk, reconhecido=False, resolvido_em__isnull=True).update(
            reconhecido=True, reconhecido_por=audit.actor_of(request), reconhecido_em=Agora()
        )
        if not taken:
            raise AlreadyTaken("Alguém assumiu este alerta antes, ou ele já se resolveu. Veja o estado abaixo.")
        audit.record(request, "alerta_assumido", alerta, detalhes={"tipo": alerta.tipo, "chave": alerta.chave})
    return "O alerta é seu. Ele some sozinho quando a causa acabar."


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

    list_display = ("gravidade", "titulo_curto", "situacao", "vezes", "desde", "visto")
    list_display_links = ("titulo_curto",)
    list_filter = [SituationFilter, ("severidade", ChoicesDropdownFilter)]
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
            applies=lambda alerta: not alerta.reconhecido and alerta.resolvido_em is None,
            refused=(AlreadyTaken,),
        ),
    )

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
    def desde(self, obj: Alerta) -> SafeString:
        return ui.moment(obj.primeira_ocorrencia_em, clock.now())

    @display(description="Visto por último")
    def visto(self, obj: Alerta) -> datetime:
        return obj.ultima_ocorrencia_em

    def page_context(self, request: HttpRequest, obj: Alerta) -> dict[str, Any]:
        chip = names.chip_of(obj.chave)
        return {
            "alerta": obj,
            "title": obj.titulo,
            "severity": severity_badge(obj),
            "situation": situation_badge(obj),
            "evidence": sorted(obj.contexto.items()) if isinstance(obj.contexto, dict) else [],
            "chip_url": reverse("admin:chips_chip_change", args=[chip]) if chip else "",
            "circuit_url": reverse("admin:core_circuit_change", args=[obj.chave]) if obj.chave in names.KNOWN else "",
            "entries": audit.entries_of(obj),
        }


def severity_badge(alerta: Alerta) -> SafeString:
    return ui.badge(alerta.get_severidade_display(), SEVERITY_TONES[Severidade(alerta.severidade)])


def situation_badge(alerta: Alerta) -> SafeString:
    if alerta.resolvido_em is not None:
        return ui.badge("Resolvido", ui.Tone.OK)
    if alerta.reconhecido:
        return ui.badge(f"Com {alerta.reconhecido_por}", ui.Tone.INFO)
    return ui.badge("Aberto", ui.Tone.WARN)
