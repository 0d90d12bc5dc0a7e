"""The home page: what is moving, what is stuck, and the first thing that keeps messages from leaving."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from core import clock
from core.alerts.models import Severidade
from core.alerts.services import OpenAlert, open_alerts
from core.backoffice import moments, ui
from core.jobs.page import WORDS
from core.jobs.sla import Situacao
from core.jobs.status import JobState, job_states
from core.metrics.history import series
from core.rights import Right, has_right
from julia.backoffice import panels
from julia.backoffice.bloqueios import blocked
from julia.backoffice.graficos import Chart, draw
from julia.backoffice.panels import COUNT_CAP, Chips, Fila, Held, Panel, RoleState

PART = "painel"
ALERTS_SHOWN = 12
CHARTS = (
    ("fila_pendentes", "Mensagens pendentes", False, ""),
    ("fila_idade_mais_antiga_min", "Espera da mais antiga", True, "warn"),
    ("fila_enviadas_ultima_hora", "Enviadas na hora", False, "ok"),
    ("fila_erros_ultima_hora", "Erros na hora", False, "bad"),
)


@dataclass(frozen=True, slots=True)
class Notice:
    tone: str
    title: str
    text: str
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """One figure: `value` is text, because a count that stopped early says so."""

    label: str
    value: str
    tone: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Calm:
    """What the other panels say against a quiet line. `holding`: something is held back, by a person or by Julia."""

    unread: tuple[Panel[Any], ...] = ()
    alarmed: bool = False
    holding: bool = False


CALM = Calm()
GRAVE = (Severidade.CRITICAL, Severidade.ERROR)


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """django-unfold's DASHBOARD_CALLBACK. `?parte=painel` answers with the part that refreshes itself."""
    context["base_template"] = (
        "backoffice/fragment.html" if request.GET.get("parte") == PART else "admin/base_site.html"
    )
    context["title"], context["here"] = "Agora", reverse("admin:index")
    context["live_url"] = f"{reverse('admin:index')}?parte={PART}"
    context["allowed"] = has_right(request.user, Right.VER)
    if context["allowed"]:
        context.update(read(clock.now()))
        context["may_take"] = has_right(request.user, Right.ALERTA_RECONHECER)
    return context


def read(now: datetime) -> dict[str, Any]:
    """Every panel, each with its own deadline: one that cannot be read says so and the others stand."""
    reader = panels.Reader()
    fila, chips, roles = reader.read(panels.fila), reader.read(lambda: panels.chips(now)), reader.read(panels.roles)
    held, campanhas = reader.read(panels.held_switches), reader.read(panels.campanhas)
    alertas = reader.read(alerts)
    bloqueios = reader.read(blocked)
    others: dict[str, Panel[Any]] = {
        "campanhas": campanhas,
        "failures": reader.read(panels.failures),
        "graficos": reader.read(lambda: charts(now)),
        "jobs": reader.read(lambda: jobs(now)),
    }
    beside: tuple[Panel[Any], ...] = (alertas, bloqueios, *others.values())
    calm = Calm(
        unread=tuple(each for each in beside if each.error),
        alarmed=any(each.severidade in GRAVE for each in alertas.data or ()),
        holding=bool(bloqueios.data),
    )
    return {
        "now": now,
        "notices": list(notices(fila, chips, roles, held, now, calm)),
        "fila": fila,
        "fila_numbers": fila_numbers(fila.data, now) if fila.data else [],
        "chips": chips,
        "chip_numbers": chip_numbers(chips.data) if chips.data else [],
        "roles": roles,
        "alertas": Panel(alertas.data[:ALERTS_SHOWN] if alertas.data is not None else None, alertas.error),
        "more_alerts": len(alertas.data or ()) > ALERTS_SHOWN,
        "bloqueios": bloqueios,
        **others,
    }


def alerts() -> list[OpenAlert]:
    """The gravest; among them what is explained by another, or kept quiet by a person, stands last."""
    return sorted(open_alerts(ALERTS_SHOWN + 1), key=lambda each: bool(each.inibido_por or each.silenciado_ate))


@dataclass(frozen=True, slots=True)
class Jobs:
    """`fora`: what is late, takes too long, began late or fails, each with its badges (word, tone)."""

    total: int
    fora: tuple[tuple[JobState, tuple[tuple[str, str], ...]], ...]


def jobs(now: datetime) -> Jobs:
    states = job_states(now)
    marked = ((state, job_badges(state)) for state in states)
    return Jobs(len(states), tuple((state, badges) for state, badges in marked if badges))


def job_badges(state: JobState) -> tuple[tuple[str, str], ...]:
    """What is wrong with a job; nothing for one that has not had to run yet."""
    found = []
    if state.situacao is not Situacao.EM_DIA and (state.situacao is not Situacao.NUNCA_RODOU or state.is_stale):
        word, tone = WORDS[state.situacao]
        found.append((word, (ui.Tone.BAD if state.situacao is Situacao.NUNCA_RODOU else tone).value))
    if state.newest_failed or (state.without_success and not found):
        found.append(("falhando", ui.Tone.BAD.value))
    return tuple(found)


def charts(now: datetime) -> list[Chart]:
    """The fila over 24 hours, from the snapshots of every five minutes."""
    found = series([name for name, *_ in CHARTS], 24)
    return [draw(title, found[name], now, minutes=minutes, tone=tone) for name, title, minutes, tone in CHARTS]


def notices(
    fila: Panel[Fila],
    chips: Panel[Chips],
    roles: Panel[list[RoleState]],
    held: Panel[list[Held]],
    now: datetime,
    calm: Calm = CALM,
) -> Iterator[Notice]:
    """What a person should do something about, the gravest first; one quiet line when there is nothing.

    Beside a grave alert or a panel that could not be read nothing is said to be well.
    """
    unread = _unread(fila, chips, roles, held, *calm.unread)
    found = [*unread, *_held(held), *_dead(roles), *_stuck(fila, chips, now)]
    if found:
        yield from found
    elif not calm.alarmed:
        yield _quiet(bool(fila.data and fila.data.vencidas), calm.holding)


def _quiet(moving: bool, holding: bool) -> Notice:
    if holding:
        waits = "A fila segue no ritmo dos chips." if moving else "Nada que possa sair espera agora."
        return Notice("ok", "Nada a fazer agora", f"{waits} O que está retido, e por quem, está abaixo.")
    if moving:
        return Notice("ok", "Está andando", "Nada impede o envio: a fila segue no ritmo dos chips.")
    return Notice("ok", "Tudo em ordem", "Nada espera para sair agora e nada impede o envio.")


def _unread(*read: Panel[Any]) -> Iterator[Notice]:
    errors = dict.fromkeys(panel.error for panel in read if panel.error)
    for error in errors:
        yield Notice("bad", "Parte desta página não pôde ser lida", f"{error} Não tome a falta de números por zero.")


def _held(held: Panel[list[Held]]) -> Iterator[Notice]:
    for each in held.data or ():
        url = reverse("admin:core_appsetting_changelist")
        yield Notice("bad", f"A chave {each.key} está retendo envios", each.text, url, "Abrir Ajustes")


def _dead(roles: Panel[list[RoleState]]) -> Iterator[Notice]:
    for role in roles.data or ():
        if not role.alive:
            url = reverse("admin:diagnostico")
            yield Notice("bad", f"{role.papel}: sem sinal", role.text, url, "Diagnóstico completo")


def _stuck(fila: Panel[Fila], chips: Panel[Chips], now: datetime) -> Iterator[Notice]:
    if fila.data and fila.data.vencidas and chips.data and not chips.data.levam_campanhas:
        why = "; ".join(f"{sentence} ({count})" for sentence, count in chips.data.motivos[:3])
        text = f"Motivos: {why}." if why else "Não há chip em produção. Conecte um chip e ponha-o em produção."
        url = reverse("admin:chips_chip_changelist")
        yield Notice("warn", "Nenhum chip pode levar campanhas neste instante", text, url, "Abrir Chips")
    if fila.data and fila.data.travadas:
        count = ui.counted(fila.data.travadas, "mensagem está", "mensagens estão")
        title = f"{count} com um worker que não responde mais"
        yield Notice("warn", title, "Voltam sozinhas à fila assim que um worker ou o agendador olhar.")
    if fila.data and fila.data.incertas:
        count = ui.counted(fila.data.incertas, "mensagem", "mensagens")
        url = f"{reverse('admin:fila_mensagem_changelist')}?status__exact=incerta"
        text = (
            "Saíram e a resposta não veio. São conferidas com as confirmações do WhatsApp e nunca reenviadas sozinhas."
        )
        yield Notice("warn", f"{count} com resultado desconhecido", text, url, "Ver as incertas")


def capped(value: int) -> str:
    return f"mais de {ui.number(COUNT_CAP)}" if value > COUNT_CAP else ui.number(value)


def fila_numbers(fila: Fila, now: datetime) -> list[Number]:
    url = reverse("admin:fila_mensagem_changelist")
    age = moments.span((now - fila.mais_antiga).total_seconds()) if fila.mais_antiga else "—"
    return [
        Number("podem sair já", capped(fila.vencidas), url=f"{url}?status__exact=pendente"),
        Number("a mais antiga espera há", age),
        Number("com horário marcado", capped(fila.futuras)),
        Number("retidas em campanhas paradas", capped(fila.retidas), "warn" if fila.retidas else ""),
        Number("saindo agora", capped(fila.processando), url=f"{url}?status__exact=processando"),
        Number("enviadas na última hora", capped(fila.enviadas_hora), "ok" if fila.enviadas_hora else ""),
        Number("incertas", capped(fila.incertas), "warn" if fila.incertas else "", f"{url}?status__exact=incerta"),
        Number("erros hoje", capped(fila.erros_hoje), "bad" if fila.erros_hoje else "", f"{url}?status__exact=erro"),
    ]


def chip_numbers(chips: Chips) -> list[Number]:
    url = reverse("admin:chips_chip_changelist")
    return [
        Number("em produção", ui.number(chips.em_producao), url=f"{url}?status__exact=active"),
        Number("aptos a campanhas agora", ui.number(chips.levam_campanhas), "ok" if chips.levam_campanhas else "warn"),
        Number("desconectados", ui.number(chips.desconectados), "bad" if chips.desconectados else ""),
        Number("bloqueados por pessoas", ui.number(chips.bloqueados), "warn" if chips.bloqueados else ""),
        Number("em descanso", ui.number(chips.em_descanso), "warn" if chips.em_descanso else ""),
        Number("aquecendo ou de reserva", ui.number(chips.aquecendo)),
        Number("pausados, degradados ou banidos", ui.number(chips.fora), "warn" if chips.fora else ""),
    ]
