"""Agora: what is blocked and by whom, the charts of a day, alerts with their fix two clicks away."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.alerts.models import Alerta, Severidade
from core.alerts.rules import declared
from core.alerts.services import raise_alert
from core.circuits import services as circuits
from core.circuits.models import Circuit
from core.clock import database_now
from core.flags.models import AppSetting
from core.flags.services import create_missing_rows
from core.health import beats
from core.jobs.sla import Situacao
from core.rights import Role
from fila.campanhas.lifecycle import pause
from fila.choices import Evento
from fila.models import MensagemEvento
from julia.backoffice.bloqueios import blocked
from julia.backoffice.dashboard import Calm, alerts, job_badges, notices
from julia.backoffice.graficos import draw
from julia.backoffice.panels import Chips, Fila, Panel
from tests import factories
from tests.julia import backoffice

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MOTIVO = "chip novo ainda em teste"

db = pytest.mark.django_db


def every_five_minutes(count: int, *, until: datetime = NOW) -> list[tuple[datetime, float]]:
    return [(until - timedelta(minutes=5 * back), float(back)) for back in reversed(range(count))]


def test_a_gap_in_the_measuring_is_a_gap_in_the_line() -> None:
    points = every_five_minutes(10)
    chart = draw("Pendentes", [*points[:4], *points[8:]], NOW)
    assert len(chart.lines) == len(chart.areas) == 2


def test_a_day_without_a_measure_says_so_and_shows_no_zero() -> None:
    chart = draw("Pendentes", [], NOW)
    assert (chart.newest, chart.highest, chart.lines) == ("—", "—", ())
    assert chart.note == "Sem medição nas últimas 24 horas."


def test_a_measure_that_stopped_is_not_the_present_value() -> None:
    chart = draw("Pendentes", every_five_minutes(3, until=NOW - timedelta(hours=2)), NOW)
    assert chart.newest == "—"
    assert "há 2 h" in chart.note


def test_ages_are_read_as_time_and_the_highest_value_is_named() -> None:
    chart = draw("Espera", [(NOW - timedelta(minutes=5), 90.0), (NOW, 3.0)], NOW, minutes=True)
    assert (chart.newest, chart.highest) == ("3 min", "1 h 30 min")


def test_points_before_the_day_are_left_out() -> None:
    chart = draw("Pendentes", [(NOW - timedelta(hours=25), 900.0), (NOW, 1.0)], NOW)
    assert chart.highest == "1"


@db
def test_nothing_blocked_is_an_empty_list() -> None:
    create_missing_rows()
    assert blocked() == []


@db
def test_a_switch_that_holds_says_who_turned_it_and_since_when() -> None:
    create_missing_rows()
    before = database_now()
    AppSetting.objects.filter(key="operacao_pausada").update(value=True, updated_by="ana")
    (line,) = [each for each in blocked() if "operacao_pausada" in each.what]
    assert line.owner == "ana"
    assert line.since is not None
    assert line.since >= before


@db
def test_a_paused_campaign_with_messages_names_who_paused_it_and_why() -> None:
    create_missing_rows()
    campanha = factories.campanha(nome_template="Plantão de março")
    factories.mensagens(3, campanha=campanha)
    pause(campanha.pk, actor="ana", motivo="texto errado na abertura", now=database_now())
    (line,) = [each for each in blocked() if "Plantão" in each.what]
    assert line.what.startswith("3 mensagens de")
    assert "texto errado" in line.why
    assert (line.owner, line.since is not None) == ("ana", True)


@db
def test_a_blocked_chip_in_production_is_listed_with_its_motivo_and_without_its_number() -> None:
    create_missing_rows()
    chip = factories.chip(bloqueio_manual=True, bloqueio_motivo=MOTIVO, bloqueado_por="bia")
    (line,) = blocked()
    assert (line.why, line.owner) == (MOTIVO, "bia")
    assert chip.telefone not in line.what


@db
def test_a_circuit_forced_open_names_the_person() -> None:
    create_missing_rows()
    circuits.force_open("evolution", actor="caio", motivo="provedor em manutenção")
    (line,) = blocked()
    assert (line.what, line.owner) == ("Circuito: Evolution API", "caio")


@db
def test_messages_that_wait_are_counted_by_reason_since_the_first_postponement() -> None:
    create_missing_rows()
    first = database_now() - timedelta(hours=2)
    later = database_now() + timedelta(minutes=4)
    waiting = factories.mensagens(2, agendar_para=later, outcome_reason_code="no_capacity:chips_em_descanso")
    for message in waiting:
        MensagemEvento.objects.create(
            mensagem=message, tipo=Evento.SEM_CHIP, motivo="no_capacity:chips_em_descanso", em=first
        )
    factories.mensagem(agendar_para=later)
    (line,) = blocked()
    assert (line.what, line.since) == ("2 mensagens", first)
    assert "descanso" in line.why


@db
@pytest.mark.parametrize(("role", "may"), [(Role.LEITURA, False), (Role.OPERACAO, True)])
def test_an_open_alert_stands_on_the_page_with_the_buttons_of_the_role(role: Role, may: bool) -> None:
    create_missing_rows()
    raise_alert(
        "circuito_aberto", "evolution", severidade=Severidade.CRITICAL, titulo="Evolution API: circuito aberto",
        mensagem="Nada sai por ela.",
    )  # fmt: skip
    html = backoffice.logged_in(role).get(reverse("admin:index")).content.decode()
    assert "Evolution API: circuito aberto" in html
    assert ("/acao/assumir/" in html) is may


def raised(first: int, count: int) -> None:
    for number in range(first, first + count):
        raise_alert(
            "job_atrasado", f"job_{number}", severidade=Severidade.WARNING, titulo=f"job_{number} atrasado",
            mensagem="Veja o agendador.",
        )  # fmt: skip


def queries(client: Client) -> int:
    with CaptureQueriesContext(connection) as found:
        client.get(reverse("admin:index"))
    return len(found)


@db
def test_more_alerts_cost_no_more_queries() -> None:
    create_missing_rows()
    client = backoffice.logged_in(Role.OPERACAO)
    raised(0, 1)
    few = queries(client)
    raised(1, 9)
    assert queries(client) == few


# Never a green zero ---------------------------------------------------------------------------------------------------


def calm_titles(**values: object) -> list[str]:
    """What the first lines say when the fila is empty and everybody works."""
    quiet, chips = Fila(0, 0, 0, 0, 0, 0, 0, 0, None), Chips(0, 0, 0, 0, 0, 0, 0, 0, ())
    found = notices(Panel(quiet), Panel(chips), Panel([]), Panel([]), NOW, Calm(**values))  # type: ignore[arg-type]
    return [notice.title for notice in found]


@pytest.mark.parametrize(
    ("values", "titles"),
    [
        ({}, ["Tudo em ordem"]),
        ({"holding": True}, ["Nada a fazer agora"]),
        ({"alarmed": True}, []),
        ({"unread": (Panel(None, "A leitura foi interrompida."),)}, ["Parte desta página não pôde ser lida"]),
    ],
)
def test_all_is_well_only_without_grave_alerts_and_with_everything_read(
    values: dict[str, object], titles: list[str]
) -> None:
    assert calm_titles(**values) == titles


@pytest.mark.parametrize("table", ["fila_mensagens", "alertas", "circuits", "metrics_snapshots", "job_executions"])
@pytest.mark.django_db(transaction=True)
def test_a_locked_table_silences_its_panels_alone_and_nothing_is_said_to_be_well(table: str) -> None:
    create_missing_rows()
    for papel in ("worker", "scheduler", "api"):
        beats.beat(papel, f"{papel}-1")
    client = backoffice.logged_in(Role.LEITURA)
    with locked(table):
        answer = client.get(reverse("admin:index"), {"parte": "painel"})
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "Não é zero: é falta de leitura." in html
    assert "Parte desta página não pôde ser lida" in html
    assert "jl-notice jl-ok" not in html
    assert "Quem está trabalhando" in html
    assert html.count("Rodando") == 3


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Somebody else holds the whole table."""
    holder = connection.copy()
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        holder.rollback()
        holder.close()


@db
def test_settings_that_nobody_can_read_leave_the_page_standing() -> None:
    create_missing_rows()
    AppSetting.objects.update(value={"isto": "não é um valor"})
    answer = backoffice.logged_in(Role.LEITURA).get(reverse("admin:index"))
    assert answer.status_code == 200
    assert "Tudo em ordem" not in answer.content.decode()


@pytest.mark.parametrize(
    ("situacao", "stale", "failed", "words"),
    [
        (Situacao.EM_DIA, False, False, []),
        (Situacao.EM_DIA, False, True, ["falhando"]),
        (Situacao.NUNCA_RODOU, False, False, []),
        (Situacao.NUNCA_RODOU, True, False, ["nunca rodou"]),
        (Situacao.ATRASADO, True, True, ["atrasado", "falhando"]),
        (Situacao.DEMORANDO, False, False, ["demorando"]),
    ],
)
def test_a_job_is_listed_for_what_is_wrong_with_it_and_not_before_its_first_time(
    situacao: Situacao, stale: bool, failed: bool, words: list[str]
) -> None:
    state = SimpleNamespace(situacao=situacao, is_stale=stale, newest_failed=failed, without_success=failed)
    assert [word for word, _ in job_badges(state)] == words  # type: ignore[arg-type]


@db
def test_what_another_alert_explains_stands_after_the_others() -> None:
    raised(0, 1)
    Alerta.objects.update(inibido_por="circuito_aberto", severidade=Severidade.CRITICAL)
    raised(1, 1)
    assert [each.chave for each in alerts()] == ["job_1", "job_0"]


# Where alerts lead ----------------------------------------------------------------------------------------------------


def chave_of(tipo: str, world: backoffice.World) -> str:
    """The scope that an alert of this kind carries."""
    chip = f"chip:{world.chip.pk}"
    known = {
        "job_atrasado": "heartbeat", "job_demorando": "heartbeat", "job_falhando": "heartbeat",
        "circuito_aberto": "evolution", "provedor_sem_resposta": "evolution", "provedor_lento": "evolution",
        "campanha_sem_envio": f"campanha:{world.campanha.pk}", "entregue_apos_reenvio": str(world.mensagem.pk),
        "circuito_de_chip_aberto": chip,
    }  # fmt: skip
    return known.get(tipo, chip if "chip" in tipo or tipo in CHIP_ALERTS else "")


CHIP_ALERTS = {"muitos_erros", "trust_critico", "falha_autenticacao", "pedido_recusado", "whatsapp_desconectado"}


@db
def test_every_kind_of_alert_leads_to_a_page_with_its_filter_for_whoever_may_read() -> None:
    world = backoffice.world()
    Circuit.objects.create(name=f"chip:{world.chip.pk}")
    client = backoffice.logged_in(Role.LEITURA)
    for rule in declared():
        link = rule.link_of(chave_of(rule.tipo, world))
        assert link, rule.tipo
        answer = client.get(link)
        assert answer.status_code == 200, (rule.tipo, link)
        chosen = dict(parse_qsl(urlsplit(link).query))
        if chosen:
            found = answer.context["cl"]
            shown = {**found.filter_params, **({"q": [found.query]} if found.query else {})}
            assert {name: [value] for name, value in chosen.items()} == {**shown}, (rule.tipo, link)
