"""The home page: it says what is stuck, and never calls a failed reading zero."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import clock
from core.flags.services import create_missing_rows
from core.health.models import RoleBeat
from core.rights import Role
from fila.models import Mensagem
from julia.backoffice import dashboard, panels
from julia.backoffice.panels import Chips, Fila, Panel
from tests import factories
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
QUIET = Fila(0, 0, 0, 0, 0, 0, 0, 0, None)
NO_CHIPS = Chips(0, 0, 0, 0, 0, 0, 0, 0, ())


@pytest.fixture
def leitura() -> Client:
    create_missing_rows()
    return backoffice.logged_in(Role.LEITURA)


def home(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


def alive(*papeis: str) -> None:
    for papel in papeis:
        RoleBeat.objects.create(papel=papel, instancia=papel)


def test_due_rows_of_running_campaigns_and_held_rows_are_counted_apart() -> None:
    running, paused = factories.campanha(), factories.campanha(status="pausada")
    past = clock.now() - timedelta(minutes=9)
    factories.mensagens(3, campanha=running, agendar_para=past)
    factories.mensagens(2, campanha=running, agendar_para=clock.now() + timedelta(hours=1))
    factories.mensagens(4, campanha=paused, agendar_para=past - timedelta(days=1))
    factories.mensagens(1, agendar_para=past)
    found = panels.fila()
    assert (found.vencidas, found.futuras, found.retidas) == (4, 2, 4)
    assert found.mais_antiga == past


def test_what_is_stuck_unknown_or_failed_today_is_counted() -> None:
    factories.mensagem(status="processando", lease_ate=clock.now() - timedelta(minutes=1))
    factories.mensagem(status="processando", lease_ate=clock.now() + timedelta(minutes=1))
    factories.mensagem(status="incerta")
    factories.mensagem(status="erro", outcome_at=clock.now())
    factories.mensagem(status="erro", outcome_at=clock.now() - timedelta(days=3))
    found = panels.fila()
    assert (found.processando, found.travadas, found.incertas, found.erros_hoje) == (2, 1, 1, 1)


def test_a_count_that_stopped_early_says_so() -> None:
    assert dashboard.capped(10_001) == "mais de 10.000"
    assert dashboard.capped(10_000) == "10.000"


def test_a_reading_that_failed_is_shown_as_failed_never_as_zero(
    leitura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "_FILA", "SELECT 1/0 AS vencidas")
    html = home(leitura)
    assert "Parte desta página não pôde ser lida" in html
    assert "Não é zero: é falta de leitura" in html
    assert "podem sair já" not in html


def test_a_reading_that_takes_too_long_is_cut_and_the_page_still_answers(
    leitura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "DEADLINE_MS", 20)
    monkeypatch.setattr(panels, "_CHIPS", "SELECT 0 AS total FROM pg_sleep(1)")
    html = home(leitura)
    assert "foi interrompida" in html
    assert "podem sair já" in html


def test_a_dead_worker_is_said_in_plain_words(leitura: Client) -> None:
    alive("scheduler", "api")
    html = home(leitura)
    assert "O worker não está rodando" in html
    assert "O agendador não está rodando" not in html


def test_a_beat_from_long_ago_is_not_life(leitura: Client) -> None:
    alive("worker", "scheduler", "api")
    RoleBeat.objects.filter(papel="worker").update(beat_at=clock.now() - timedelta(minutes=3))
    assert "O worker não está rodando" in home(leitura)


def test_nothing_to_do_is_one_quiet_line(leitura: Client) -> None:
    alive("worker", "scheduler", "api")
    factories.chip()
    assert "Tudo em ordem" in home(leitura)


def test_a_switch_that_holds_messages_is_named(leitura: Client) -> None:
    factories.set_setting("safe_mode", True)
    assert "A chave safe_mode está retendo envios" in home(leitura)


def test_a_switch_that_cannot_be_read_is_named(leitura: Client) -> None:
    factories.set_setting("safe_mode", "talvez")
    assert "A chave safe_mode está retendo envios" in home(leitura)


def test_due_messages_without_a_chip_say_which_refusals_stand_in_the_way() -> None:
    chips = Chips(2, 2, 0, 0, 0, 0, 0, 0, (("confiança abaixo do mínimo", 2),))
    due = Fila(5, 0, 0, 0, 0, 0, 0, 0, NOW)
    found = list(dashboard.notices(Panel(due), Panel(chips), Panel([]), Panel([]), NOW))
    assert found[0].text == "Motivos: confiança abaixo do mínimo (2)."


def test_no_chip_is_no_alarm_while_nothing_is_due() -> None:
    found = list(dashboard.notices(Panel(QUIET), Panel(NO_CHIPS), Panel([]), Panel([]), NOW))
    assert [notice.tone for notice in found] == ["ok"]


def test_the_part_that_refreshes_is_a_fragment_of_the_page(leitura: Client) -> None:
    part = leitura.get(reverse("admin:index"), {"parte": "painel"}).content.decode()
    assert "dados de" in part
    assert "<html" not in part


def test_campaigns_show_how_many_have_an_end() -> None:
    campanha = factories.campanha(total_destinatarios=10, iniciada_em=NOW, enfileirada_em=NOW)
    factories.mensagens(4, campanha=campanha)
    (line,) = panels.campanhas()
    assert "6 de 10" in line["progress"]


def test_the_home_page_reads_the_fila_only_through_indexes() -> None:
    """With many finished rows, no plan of the home page walks the whole table."""
    done = factories.campanha(status="concluida")
    factories.mensagens(3000, campanha=done, status="enviada", outcome="SENT", outcome_at=NOW)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE fila_mensagens")
        cursor.execute("EXPLAIN " + panels._FILA, {"cap": 10_001, "top": 10})
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert Mensagem.objects.count() == 3000
    assert "Seq Scan on fila_mensagens" not in plan
