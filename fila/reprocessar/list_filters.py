"""Filters of the list of failures. Their parameters are those of a run (`Filtros`): a list can be reprocessed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from chips.models import Chip
from core import clock
from core.backoffice import ui
from core.outcomes import SendOutcome
from fila.campanhas.models import Campanha
from fila.mensagens import MensagemDlq
from fila.reprocessar.filters import Filtros
from guardrails.choices import Kind

Failures = QuerySet[MensagemDlq]
PERIODS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}


def filters_of(query: Mapping[str, Any], now: datetime) -> Filtros:
    """What a list or a link asks for, as a run. Raises FiltroInvalido."""
    given = {key: query[key] for key in query if key != "periodo"}
    if query.get("periodo") in PERIODS:
        given["desde"] = now - PERIODS[str(query["periodo"])]
    return Filtros.parse(given)


class SituacaoFilter(DropdownFilter):
    """Without a choice: what nobody has decided about yet."""

    title = "situação"
    parameter_name = "situacao"
    all_option = ["", "A decidir"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("quarentena", "Em quarentena"), ("reprocessadas", "Reprocessadas"), ("todas", "Todas")]

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        match self.value():
            case "quarentena":
                return queryset.filter(reprocessado=False, quarentena=True)
            case "reprocessadas":
                return queryset.filter(reprocessado=True)
            case "todas":
                return queryset
        return queryset.filter(reprocessado=False)


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

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        chosen = self.value()
        if not (chosen and chosen.isdigit()):
            return queryset
        return queryset.filter(mensagem_original__campanha_id=int(chosen))


class OutcomeFilter(DropdownFilter):
    title = "resultado"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.value, str(each.label)) for each in SendOutcome if each.is_failed]

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


class MotivoFilter(TextFilter):
    title = "início do código do motivo"
    parameter_name = "motivo"

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        return queryset.filter(outcome_reason_code__startswith=self.value()) if self.value() else queryset


class PeriodoFilter(DropdownFilter):
    title = "quando falhou"
    parameter_name = "periodo"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("24h", "Últimas 24 horas"), ("7d", "Últimos 7 dias"), ("30d", "Últimos 30 dias")]

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        length = PERIODS.get(self.value() or "")
        return queryset.filter(movido_para_dlq_em__gte=clock.database_now() - length) if length else queryset


class TipoFilter(DropdownFilter):
    title = "tipo"
    parameter_name = "tipo"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Kind.choices)

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        return queryset.filter(mensagem_original__tipo=self.value()) if self.value() else queryset


class ChipFilter(DropdownFilter):
    title = "chip"
    parameter_name = "chip"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = Chip.objects.order_by("instance_name").values_list("id", "instance_name")[:500]
        return [(str(pk), ui.short_digits(name)) for pk, name in found]

    def queryset(self, request: HttpRequest, queryset: Failures) -> Failures:
        try:
            return queryset.filter(mensagem_original__chip_id=UUID(self.value() or ""))
        except ValueError:
            return queryset


ALL = [SituacaoFilter, PeriodoFilter, CampanhaFilter, OutcomeFilter, MotivoFilter, TipoFilter, ChipFilter]
