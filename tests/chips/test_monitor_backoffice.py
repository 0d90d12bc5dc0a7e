"""A chip's connection in the backoffice: what is shown, and the question that a person may ask."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core.audit.models import AuditEntry
from core.clock import database_now
from core.rights import Role
from tests import factories
from tests.conftest import connect
from tests.julia import backoffice

pytestmark = pytest.mark.django_db


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


def verify_url(chip: Chip) -> str:
    return reverse("admin:chips_chip_act", args=[chip.pk, "verificar"])


def page(client: Client, chip: Chip) -> str:
    return client.get(reverse("admin:chips_chip_change", args=[chip.pk])).content.decode()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda simulator, chip: None, "está conectado."),
        (lambda simulator, chip: simulator.set_state(chip.instance_name, "close", silent=True),
         "o provedor diz que está desconectado"),
        (lambda simulator, chip: simulator.fault("5xx", calls="other"), "o provedor não respondeu"),
    ],
)  # fmt: skip
def test_a_person_asks_and_is_told_the_answer(
    simulator: SimulatorProcess, operacao: Client, prepare: Callable[[SimulatorProcess, Chip], Any], said: str
) -> None:
    chip = factories.chip(status="degraded")
    connect(simulator, chip)
    prepare(simulator, chip)
    assert said in operacao.post(verify_url(chip), follow=True).content.decode()
    entry = AuditEntry.objects.get(acao="chip_verificado")
    assert (entry.usuario, entry.entidade_id, bool(entry.detalhes["resultado"])) == ("operacao", str(chip.pk), True)
    chip.refresh_from_db()
    assert (chip.status, chip.conexao_falhas) == ("degraded", 0)


def test_opening_the_question_asks_nobody(simulator: SimulatorProcess, operacao: Client) -> None:
    chip = factories.chip()
    connect(simulator, chip)
    assert operacao.get(verify_url(chip)).status_code == 200
    chip.refresh_from_db()
    assert chip.conexao_verificada_em is None


def test_who_only_reads_may_not_ask(db: None) -> None:
    leitura = backoffice.logged_in(Role.LEITURA)
    assert leitura.post(verify_url(factories.chip())).status_code == 403


@pytest.mark.parametrize(
    ("values", "badge", "next_step"),
    [
        ({}, "Conectado", "nenhuma ainda"),
        ({"conexao_estado": "desconectado", "evolution_connected": False, "conexao_falhas": 3}, "Desconectado",
         "3 verificações seguidas"),
        ({"conexao_estado": "conectado_mas_mudo"}, "Conectado, mas mudo", "nenhum eco nem recibo"),
        ({"conexao_sem_resposta": 2, "conexao_erro": "credencial"}, "Sem resposta do provedor", "a chave foi recusada"),
        ({"conexao_sem_resposta": 1, "conexao_erro": "timeout"}, "Conectado", "Última verificação"),
        ({"status": "paused", "evolution_connected": False, "sessao_encerrada_em": database_now}, "Sessão encerrada",
         "QR code"),
    ],
)  # fmt: skip
def test_the_page_and_the_list_say_how_it_is_connected_and_what_to_do(
    operacao: Client, values: dict[str, Any], badge: str, next_step: str
) -> None:
    chip = factories.chip(**{name: value() if callable(value) else value for name, value in values.items()})
    body = page(operacao, chip)
    assert badge in body
    assert next_step in body
    assert badge in operacao.get(reverse("admin:chips_chip_changelist")).content.decode()
