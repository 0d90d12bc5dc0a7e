"""Falhas definitivas in the backoffice: seen by all, decided by supervisão, with the numbers before the press."""

import random
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.clock import database_now
from core.rights import Role
from fila.models import Mensagem, MensagemDlq, Reprocessamento
from fila.reprocessar import services
from tests import factories
from tests.fila.failures import failed, failures
from tests.julia import backoffice
from tests.julia.backoffice import HOSTILE, PHONE

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

MOTIVO = "o provedor voltou a responder"
LIST = "/admin/fila/mensagemdlq/"
PREVIEW = "/admin/fila/mensagemdlq/reprocessar/"
RUNS = "/admin/fila/reprocessamento/"


@pytest.fixture
def supervisao() -> Client:
    return backoffice.logged_in(Role.SUPERVISAO)


def html(client: Client, page: str, **query: Any) -> str:
    response = client.get(page, query)
    assert response.status_code == 200, page
    return response.content.decode()


def page_of(falha: MensagemDlq) -> str:
    return reverse("admin:fila_mensagemdlq_change", args=[falha.pk])


def act(falha: MensagemDlq, name: str) -> str:
    return reverse("admin:fila_mensagemdlq_act", args=[falha.pk, name])


def by(actor: str, falha: MensagemDlq) -> None:
    services.reprocess_one(falha.pk, actor=actor, motivo=MOTIVO, rng=random.Random(1), now=database_now())


class TestList:
    def test_it_shows_what_waits_for_a_decision_and_hides_what_was_decided(self, supervisao: Client):
        waiting, done = failed(), failed()
        by("ana", done)
        found = html(supervisao, LIST)
        assert str(waiting.mensagem_original_id)[:8] in found
        assert str(done.mensagem_original_id)[:8] not in found
        assert "1 de 2 falhas a decidir" in found
        assert str(done.mensagem_original_id)[:8] in html(supervisao, LIST, situacao="reprocessadas")

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"outcome": "FAILED_BANNED"}, "banned"),
            ({"motivo": "account"}, "banned"),
            ({"situacao": "quarentena"}, "quarantined"),
            ({"tipo": "feedback"}, "feedback"),
            ({"periodo": "24h"}, "all"),
        ],
    )
    def test_filters(self, query: dict[str, str], shown: str, supervisao: Client):
        made = {
            "banned": failed(outcome="FAILED_BANNED", outcome_reason_code="account_restricted"),
            "quarantined": failed(quarentena=True),
            "feedback": failed(tipo="feedback"),
        }
        found = html(supervisao, LIST, **query)
        for name, falha in made.items():
            assert (str(falha.mensagem_original_id)[:8] in found) is (shown in (name, "all")), name

    def test_it_is_found_by_its_message(self, supervisao: Client):
        falha, other = failed(), failed()
        found = html(supervisao, LIST, q=str(falha.mensagem_original_id))
        assert str(falha.mensagem_original_id)[:8] in found
        assert str(other.mensagem_original_id)[:8] not in found
        assert "id inteiro" in html(supervisao, LIST, q="abc")

    def test_more_rows_are_no_more_questions(self, supervisao: Client):
        failures(2, campanha=factories.campanha())
        html(supervisao, LIST)
        with CaptureQueriesContext(connection) as few:
            html(supervisao, LIST)
        failures(20, campanha=factories.campanha())
        with CaptureQueriesContext(connection) as many:
            html(supervisao, LIST)
        assert len(many) == len(few)

    def test_leitura_sees_everything_and_is_offered_nothing(self):
        falha = failed()
        leitura = backoffice.logged_in(Role.LEITURA)
        assert "Reprocessar tudo" not in html(leitura, LIST)
        assert "/acao/" not in html(leitura, page_of(falha))
        assert "Nada foi reprocessado" in html(leitura, RUNS)
        assert leitura.get(PREVIEW).status_code == 403
        assert leitura.post(act(falha, "reprocessar"), {"motivo": MOTIVO}).status_code == 403

    def test_names_are_data_and_phones_are_masked(self, supervisao: Client):
        person = factories.cliente(telefone=PHONE, nome=HOSTILE)
        falha = failed(cliente=person, conteudo=f"Olá {HOSTILE}")
        for page in (LIST, page_of(falha)):
            found = html(supervisao, page)
            assert HOSTILE not in found
            assert PHONE not in found

    def test_an_empty_list_says_what_it_is_for(self, supervisao: Client):
        assert "Nenhuma falha a decidir" in html(supervisao, LIST) or "Nada corresponde" in html(supervisao, LIST)


class TestOne:
    def test_it_is_reprocessed_from_its_page_with_a_motivo(self, supervisao: Client):
        falha = failed(campanha=factories.campanha())
        assert "Uma nova mensagem" in html(supervisao, act(falha, "reprocessar"))
        supervisao.post(act(falha, "reprocessar"), {"motivo": "curto"})
        assert not Mensagem.objects.pendentes().exists()
        response = supervisao.post(act(falha, "reprocessar"), {"motivo": MOTIVO}, follow=True)
        new = Mensagem.objects.pendentes().get()
        found = response.content.decode()
        assert str(new.pk)[:8] in found
        assert "Já foi reprocessada por supervisao" in found

    def test_whoever_comes_second_is_told_who_was_first(self, supervisao: Client):
        falha = failed()
        by("bia", falha)
        with patch("fila.reprocessar.admin._verdict", return_value=None):  # as the page was when it was opened
            response = supervisao.post(act(falha, "reprocessar"), {"motivo": MOTIVO}, follow=True)
        assert "já foi reprocessada por bia em" in response.content.decode()
        assert Mensagem.objects.pendentes().count() == 1

    def test_one_that_may_have_arrived_needs_its_own_button(self, supervisao: Client):
        falha = failed(attempts=("desconhecido",))
        found = html(supervisao, page_of(falha))
        assert "pode ter chegado ao médico" in found
        assert act(falha, "reprocessar") not in found
        assert "duas vezes" in html(supervisao, act(falha, "forcar"))
        supervisao.post(act(falha, "forcar"), {"motivo": "o médico diz que não recebeu"})
        assert Mensagem.objects.pendentes().count() == 1

    def test_a_quarantined_one_shows_who_died_of_it(self, supervisao: Client):
        falha = failed(quarentena=True)
        MensagemDlq.objects.update(
            evidencia={"mortes": [{"dono": "maquina:7:ab", "em": "2026-03-03", "lease_ate": None, "juntas": 4}]}
        )
        found = html(supervisao, page_of(falha))
        assert "maquina:7:ab" in found
        assert "está em quarentena" in html(supervisao, act(falha, "reprocessar"))


class TestMany:
    def test_the_numbers_come_before_the_press_and_are_what_happens(self, supervisao: Client):
        campanha = factories.campanha()
        failures(5, campanha=campanha)
        failed(quarentena=True, campanha=campanha)
        failed()
        found = html(supervisao, PREVIEW, campanha=campanha.pk)
        assert "está em quarentena" in found
        assert "Reprocessar 5 falhas?" in found
        page = f"{PREVIEW}?campanha={campanha.pk}"
        response = supervisao.post(page, {"motivo": MOTIVO, "previsto": "5"}, follow=True)
        assert "5 falhas reprocessadas" in response.content.decode()
        run = Reprocessamento.objects.get()
        assert run.resultado["reprocessadas"] == 5
        assert Mensagem.objects.pendentes().count() == 5
        assert "1 mensagem" not in html(supervisao, RUNS)
        shown = html(supervisao, reverse("admin:fila_reprocessamento_change", args=[run.pk]))
        assert "está em quarentena" in shown
        assert "Pendente" in shown

    def test_when_the_numbers_changed_nothing_happens_and_they_are_shown_again(self, supervisao: Client):
        failures(3)
        response = supervisao.post(PREVIEW, {"motivo": MOTIVO, "previsto": "2"})
        assert "mudaram desde a prévia" in response.content.decode()
        assert not Reprocessamento.objects.exists()

    def test_without_a_motivo_nothing_happens(self, supervisao: Client):
        failures(3)
        response = supervisao.post(PREVIEW, {"motivo": "", "previsto": "3"})
        assert "Escreva o motivo" in response.content.decode()
        assert not Reprocessamento.objects.exists()

    def test_quarantined_ones_are_asked_for_by_a_link(self, supervisao: Client):
        failed(quarentena=True)
        assert "quarentena=1" in html(supervisao, PREVIEW)
        assert "Reprocessar 1 falha?" in html(supervisao, PREVIEW, quarentena="1")

    def test_selected_rows_and_whole_lists_lead_to_the_preview(self, supervisao: Client):
        first, second, _third = failures(3)
        chosen = {"action": "reprocessar_selecionadas", "_selected_action": [str(first.pk), str(second.pk)]}
        response = supervisao.post(LIST, chosen, follow=True)
        assert "2 falhas escolhidas" in response.content.decode()
        response = supervisao.post(
            f"{LIST}?outcome=FAILED_PROVIDER", chosen | {"select_across": "1"}, follow=True
        )  # fmt: skip
        assert "Falha do provedor" in response.content.decode()
        assert "Reprocessar 3 falhas?" in response.content.decode()

    def test_a_link_that_cannot_be_read_is_refused_in_a_sentence(self, supervisao: Client):
        response = supervisao.get(PREVIEW, {"campanha": "dezesseis"}, follow=True)
        assert "não é o número de uma campanha" in response.content.decode()

    def test_many_are_done_in_the_background_and_the_page_says_so(
        self, supervisao: Client, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(services, "AT_ONCE", 2)
        failures(4)
        assert "segundo plano" in html(supervisao, PREVIEW)
        with patch("fila.reprocessar.services.async_task"):
            response = supervisao.post(PREVIEW, {"motivo": MOTIVO, "previsto": "4"}, follow=True)
        assert "Em andamento" in response.content.decode()
