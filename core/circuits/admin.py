"""Circuitos: which services and chips are out, since when and until when; and what a person may decide about them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import unquote
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, ui
from core.backoffice.acts import Act
from core.backoffice.admin import JuliaAdmin, PageAdmin
from core.circuits import names, sentences, services, spoken
from core.circuits.causes import causes_of
from core.circuits.models import Circuit, CircuitState, CircuitTransition, Forced
from core.rights import Right

STATE_TONES = {CircuitState.CLOSED: ui.Tone.OK, CircuitState.OPEN: ui.Tone.BAD, CircuitState.HALF_OPEN: ui.Tone.WARN}
REFUSED = (services.CircuitRefused, names.UnknownCircuit, MotivoMissing)
RECENT = 20

_HEALTHY_LAST = Case(When(state=CircuitState.CLOSED, forced=Forced.NO, share__isnull=True, then=1), default=0)

Run = Callable[[HttpRequest, Circuit, Mapping[str, Any]], str]


def _running(act: Callable[..., bool], done: str) -> Run:
    def run(request: HttpRequest, circuit: Circuit, answers: Mapping[str, Any]) -> str:
        changed = act(circuit.name, actor=audit.actor_of(request), motivo=answers["motivo"], ip=audit.ip_of(request))
        return f"{spoken.title(circuit.name)}: {done if changed else 'já estava assim, nada mudou'}."

    return run


def _operable(circuit: Circuit) -> bool:
    return circuit.name != names.SUPABASE


def _is_plain(circuit: Circuit) -> bool:
    return circuit.state == CircuitState.CLOSED and not circuit.forced and circuit.failures == 0


class CircuitAdmin(PageAdmin[Circuit]):
    page_template = "backoffice/circuito.html"
    list_before_template = "backoffice/viva.html"
    empty_title = "Nenhum circuito ainda"
    empty_text = "Cada serviço tem o seu desde a instalação; o de um chip aparece com a primeira falha dele."

    list_display = ("circuito", "estado", "falhas", "desde", "proxima_sonda", "ritmo", "ultimo_erro")
    list_filter = [("state", ChoicesDropdownFilter), ("forced", ChoicesDropdownFilter)]
    search_fields = ("name",)
    search_help_text = "Nome do circuito, ou chip:<id>"
    ordering = (_HEALTHY_LAST, "-state", "name")
    sortable_by = ()
    acts = (
        Act(
            name="abrir",
            label="Abrir à força",
            icon="block",
            tone="danger",
            right=Right.CIRCUITO_OPERAR,
            question="Abrir este circuito à força?",
            consequence="Nenhuma chamada passa por ele, nem a sonda, até uma pessoa decidir outra coisa. O que já está "
            "no fio termina. As mensagens vão por outro chip ou provedor, ou esperam na fila sem penalidade.",
            run=_running(services.force_open, "aberto à força. Nada passa até alguém fechar"),
            applies=lambda circuit: _operable(circuit) and circuit.forced != Forced.OPEN,
            refused=REFUSED,
        ),
        Act(
            name="fechar",
            label="Fechar agora",
            icon="restart_alt",
            tone="primary",
            right=Right.CIRCUITO_OPERAR,
            question="Fechar este circuito agora?",
            consequence="As chamadas voltam todas de uma vez, sem esperar a sonda, e as falhas contadas são "
            "esquecidas. Faça isto só se o problema acabou: se não acabou, ele abre de novo com as próximas falhas.",
            run=_running(services.reset, "fechado. As chamadas voltaram"),
            applies=lambda circuit: _operable(circuit) and not _is_plain(circuit),
            refused=REFUSED,
        ),
        Act(
            name="desligar",
            label="Desligar proteção",
            icon="power_off",
            tone="danger",
            right=Right.CIRCUITO_OPERAR,
            question="Desligar a proteção deste circuito?",
            consequence="Tudo passa e nenhuma falha é contada, mesmo com o serviço fora do ar, até uma pessoa devolver "
            "o circuito ao automático.",
            run=_running(services.disable, "proteção desligada. Tudo passa até alguém voltar ao automático"),
            applies=lambda circuit: _operable(circuit) and circuit.forced != Forced.DISABLED,
            refused=REFUSED,
        ),
        Act(
            name="automatico",
            label="Voltar ao automático",
            icon="autorenew",
            right=Right.CIRCUITO_OPERAR,
            question="Devolver este circuito ao automático?",
            consequence="Ele volta ao estado que tinha antes da decisão da pessoa e decide sozinho daqui em diante.",
            run=_running(services.enable, "de volta ao automático"),
            applies=lambda circuit: _operable(circuit) and circuit.forced != Forced.NO,
            refused=REFUSED,
        ),
    )

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Circuit | None:
        """Links of the list carry the colon of `chip:<id>` quoted."""
        return super().get_object(request, unquote(object_id), from_field)

    def prepare(self, request: HttpRequest, page: Sequence[Circuit]) -> None:
        titles = spoken.titles(circuit.name for circuit in page)
        for circuit in page:
            circuit.titulo = titles[circuit.name]  # type: ignore[attr-defined]

    @display(description="Circuito")
    def circuito(self, obj: Circuit) -> str:
        return str(getattr(obj, "titulo", "")) or spoken.title(obj.name)

    @display(description="Estado")
    def estado(self, obj: Circuit) -> SafeString:
        return state_badge(obj)

    @display(description="Falhas seguidas")
    def falhas(self, obj: Circuit) -> str:
        return str(obj.failures) if obj.failures else "—"

    @display(description="Desde")
    def desde(self, obj: Circuit) -> SafeString:
        return ui.moment(out_since(obj), clock.now())

    @display(description="Próxima sonda")
    def proxima_sonda(self, obj: Circuit) -> SafeString:
        return ui.moment(next_probe(obj), clock.now())

    @display(description="Ritmo")
    def ritmo(self, obj: Circuit) -> SafeString | str:
        return pace_badge(obj) or "—"

    @display(description="Último erro")
    def ultimo_erro(self, obj: Circuit) -> str:
        return sentences.error_kind(obj.last_error_kind) or "—"

    def page_context(self, request: HttpRequest, obj: Circuit) -> dict[str, Any]:
        state, forced = CircuitState(obj.state), Forced(obj.forced)
        chip = names.chip_of(obj.name)
        changes = reverse("admin:core_circuittransition_changelist")
        recent = list(CircuitTransition.objects.filter(circuit_name=obj.name).order_by("-created_at")[:RECENT])
        causes = causes_of(recent)
        return {
            "circuit": obj,
            "title": spoken.title(obj.name),
            "state_badge": state_badge(obj),
            "pace_badge": pace_badge(obj),
            "meaning": sentences.meaning(state, forced, is_chip=chip is not None),
            "is_database": obj.name == names.SUPABASE,
            "error_kind": sentences.error_kind(obj.last_error_kind),
            "next_probe": next_probe(obj),
            "probing": obj.permit_owner if state is CircuitState.HALF_OPEN and obj.permit_token else "",
            "since": out_since(obj),
            "failing_chips": _chip_links(obj.failing_scopes),
            "chip_url": reverse("admin:chips_chip_change", args=[chip]) if chip else "",
            "transitions": [(each, sentences.reason(each.reason), causes.get(each.id, [])) for each in recent],
            "all_transitions": f"{changes}?{urlencode({'circuito': obj.name})}",
            "entries": audit.entries_of(obj),
        }


class CircuitFilter(DropdownFilter):
    """The services; a chip's changes are reached from its circuit's page."""

    title = "circuito"
    parameter_name = "circuito"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self.value()
        more = [chosen] if chosen and chosen not in names.KNOWN else []
        return list(spoken.titles((*names.KNOWN, *more)).items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[CircuitTransition]) -> QuerySet[CircuitTransition]:
        return queryset.filter(circuit_name=self.value()) if self.value() else queryset


class CircuitTransitionAdmin(JuliaAdmin[CircuitTransition]):
    """Read only; served by circuit_transitions_newest and circuit_transitions_by_name."""

    empty_title = "Nenhum circuito mudou ainda"
    empty_text = "Cada abertura, sonda e recuperação aparece aqui por 30 dias."

    list_display = ("circuito", "mudanca", "porque", "falhas_consecutivas", "quando")
    list_display_links = None
    list_filter = [CircuitFilter]
    ordering = ("-created_at",)
    sortable_by = ()

    def prepare(self, request: HttpRequest, page: Sequence[CircuitTransition]) -> None:
        titles = spoken.titles({change.circuit_name for change in page})
        for change in page:
            change.titulo = titles[change.circuit_name]  # type: ignore[attr-defined]

    @display(description="Circuito")
    def circuito(self, obj: CircuitTransition) -> str:
        return str(getattr(obj, "titulo", "")) or spoken.title(obj.circuit_name)

    @display(description="Passou a")
    def mudanca(self, obj: CircuitTransition) -> SafeString:
        state = CircuitState(obj.to_state)
        return ui.badge(state.label, STATE_TONES[state])

    @display(description="Por quê")
    def porque(self, obj: CircuitTransition) -> str:
        return sentences.reason(obj.reason)

    @display(description="Quando")
    def quando(self, obj: CircuitTransition) -> SafeString:
        return ui.moment(obj.created_at, clock.now())


def state_badge(circuit: Circuit) -> SafeString:
    if circuit.forced == Forced.OPEN:
        return ui.badge("Aberto por uma pessoa", ui.Tone.BAD)
    if circuit.forced == Forced.DISABLED:
        return ui.badge("Proteção desligada por uma pessoa", ui.Tone.WARN)
    state = CircuitState(circuit.state)
    return ui.badge(state.label, STATE_TONES[state])


def pace_badge(circuit: Circuit) -> SafeString | None:
    """How much a slow provider may carry at a time; None at the normal pace."""
    if circuit.share is None:
        return None
    return ui.badge(f"Lento: {ui.counted(circuit.share, 'envio', 'envios')} por vez", ui.Tone.WARN)


def next_probe(circuit: Circuit) -> datetime | None:
    """When an open circuit is tried again; None when it is closed, being probed, or a person decides."""
    return circuit.retry_at if circuit.state == CircuitState.OPEN and not circuit.forced else None


def out_since(circuit: Circuit) -> datetime | None:
    """Since when nothing passes; None when calls pass."""
    if circuit.forced == Forced.OPEN:
        return circuit.opened_at or circuit.updated_at
    return None if circuit.state == CircuitState.CLOSED or circuit.forced == Forced.DISABLED else circuit.opened_at


def _chip_links(scopes: Sequence[str]) -> list[tuple[str, str]]:
    """(name or short id, address of the chip's page or nothing)"""
    chips = {scope: names.chip_of(f"chip:{scope}") for scope in scopes if scope}
    known = spoken.chip_names([chip for chip in chips.values() if chip])
    return [
        (known.get(chip, scope[:8]), reverse("admin:chips_chip_change", args=[chip])) if chip else (scope[:8], "")
        for scope, chip in chips.items()
    ]
