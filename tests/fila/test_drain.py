"""One message from the fila to the wire and back, over real HTTP to the simulator."""

import pytest

from chips.models import Tentativa
from chips.simulator.client import SimulatorProcess
from fila.models import Interacao, Mensagem, MensagemDlq
from guardrails.models import DoctorState
from tests import factories
from tests.conftest import connect
from tests.fila.drains import drain

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_due_message_reaches_its_recipient_once_and_says_so(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    chip = factories.chip()
    connect(simulator, chip)
    message = factories.mensagem(campanha=factories.campanha())
    drain()
    message.refresh_from_db()
    (left,) = simulator.truth().records
    attempt = Tentativa.objects.get()
    assert (message.status, message.outcome, message.tentativa_aberta_id) == ("enviada", "SENT", None)
    assert message.provider_message_id == left.key_id == attempt.provider_message_id
    assert (left.recipient, left.text) == (message.telefone_destino, message.conteudo)
    assert attempt.resultado == "enviado"
    chip.refresh_from_db()
    assert (chip.msgs_enviadas_total, chip.msgs_enviadas_hoje, chip.peso_dia) == (1, 1, 2)
    assert Interacao.objects.get(mensagem=message).tipo == "saida"
    state = DoctorState.objects.get(cliente=message.cliente_id)
    assert state.last_touch_campaign_id == message.campanha_id


def test_a_hundred_messages_leave_exactly_once_each(simulator: SimulatorProcess, open_operation: None) -> None:
    chips = [factories.chip() for _ in range(5)]
    connect(simulator, *chips)
    factories.mensagens(100, campanha=factories.campanha())
    drain(seconds=60)
    truth = simulator.truth()
    assert len(truth.records) == 100
    assert not truth.duplicates
    assert Mensagem.objects.filter(status="enviada").count() == 100


def test_a_number_without_whatsapp_ends_and_does_not_hurt_the_chip(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    chip = factories.chip()
    connect(simulator, chip)
    message = factories.mensagem(campanha=factories.campanha())
    simulator.fault("inexistente", numbers=[message.telefone_destino])
    drain()
    message.refresh_from_db()
    chip.refresh_from_db()
    assert (message.status, message.outcome) == ("erro", "FAILED_VALIDATION")
    assert (chip.erros_ultimas_24h, chip.cooldown_until, chip.peso_dia) == (0, None, 0)
    assert MensagemDlq.objects.get().mensagem_original_id == message.id
    message.cliente.refresh_from_db()
    assert message.cliente.status_telefone == "invalido"


@pytest.mark.parametrize(("tries", "ends_as"), [(3, "pendente"), (1, "erro")])
def test_a_row_that_cannot_be_decided_is_set_aside_alone_and_ends_after_its_last_try(
    simulator: SimulatorProcess, open_operation: None, tries: int, ends_as: str
) -> None:
    connect(simulator, *(factories.chip() for _ in range(6)))
    broken = factories.campanha(audience_filters={"chips_excluidos": ["isto não é um chip"]})
    poison = factories.mensagem(campanha=broken, max_tentativas=tries)
    others = factories.mensagens(4, campanha=factories.campanha())
    drain()
    poison.refresh_from_db()
    assert (poison.status, poison.tentativas) == (ends_as, 1)
    assert poison.outcome_reason_code == "worker_exception:ValueError"
    assert MensagemDlq.objects.filter(mensagem_original=poison).exists() == (ends_as == "erro")
    assert {record.recipient for record in simulator.truth().records} == {each.telefone_destino for each in others}
