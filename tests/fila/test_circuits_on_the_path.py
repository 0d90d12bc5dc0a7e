"""Circuits on the send path: who may still be called, who probes, and what waits meanwhile."""

from datetime import timedelta

import pytest

from chips.models import Chip, Tentativa
from chips.providers.base import SendResult
from chips.providers.classification import accepted
from chips.vocabulario import catalogo
from core.circuits.models import Circuit, CircuitTransition
from core.circuits.names import EVOLUTION, of_chip
from core.clock import database_now
from core.database import execute
from fila.dispatch import OpenAttempt
from fila.models import Mensagem
from tests import factories
from tests.fila.attempts import look, settle_as

pytestmark = pytest.mark.django_db

OK = accepted("3EB0", status=201)
REFUSED = catalogo.result("rede.recusada", "conexão recusada")
CLOSED = catalogo.result("evolution.checagem_fechada", "Connection Closed", status=500)


@pytest.fixture
def operation(open_operation: None) -> None:
    """Two Evolution chips."""
    factories.chip(), factories.chip()


def fail_through(result: SendResult, times: int) -> None:
    """As many failed calls, each of another message, on whichever chips are free."""
    done = 0
    while done < times:
        factories.mensagens(2, campanha=factories.campanha())
        for attempt in look():
            settle_as(result, attempt)
            done += 1
        Chip.objects.update(cooldown_until=None)


def open_evolution() -> None:
    fail_through(REFUSED, 5)
    assert Circuit.objects.get(name=EVOLUTION).state == "open"
    Mensagem.objects.update(status="cancelada")


def retry_is_due() -> None:
    execute("UPDATE circuits SET retry_at = agora() - interval '1 second' WHERE state = 'open'")


def make_all_due() -> None:
    execute("UPDATE fila_mensagens SET agendar_para = agora() - interval '1 second' WHERE status = 'pendente'")


def chips_of(attempts: list[OpenAttempt]) -> list[str]:
    return [attempt.provider for attempt in attempts]


def test_five_refused_connections_on_two_chips_open_the_provider(operation: None) -> None:
    fail_through(REFUSED, 5)
    assert Circuit.objects.get(name=EVOLUTION).state == "open"
    assert CircuitTransition.objects.filter(circuit_name=EVOLUTION, to_state="open").count() == 1


def test_the_faults_of_one_chip_never_open_its_provider(operation: None) -> None:
    bad = Chip.objects.earliest("id")
    Chip.objects.exclude(id=bad.id).update(status="paused")
    factories.chip(pode_prospectar=False)  # the provider has another chip, which says nothing
    fail_through(CLOSED, 3)
    assert not Circuit.objects.filter(name=EVOLUTION, state="open").exists()
    assert Circuit.objects.get(name=of_chip(bad.id)).state == "open"


def test_while_a_provider_is_open_its_messages_take_the_other_providers_chips(operation: None) -> None:
    open_evolution()
    factories.chip(provider="z-api", zapi_instance_id="Z1", zapi_token="T1")
    factories.mensagens(3, campanha=factories.campanha())
    assert chips_of(look()) == ["z-api"]


def test_without_another_provider_they_wait_unpenalised_and_say_why(operation: None) -> None:
    open_evolution()
    waiting = factories.mensagem(campanha=factories.campanha())
    assert look() == []
    waiting.refresh_from_db()
    assert (waiting.status, waiting.tentativas, waiting.outcome) == ("pendente", 0, "FAILED_CIRCUIT_OPEN")
    assert waiting.outcome_reason_code == "evolution_circuit_open:queued_for_retry"


def test_when_its_time_has_come_exactly_one_message_probes_for_the_whole_provider(operation: None) -> None:
    open_evolution()
    factories.mensagens(4, campanha=factories.campanha())
    retry_is_due()
    (probe,) = look()
    assert set(probe.sondas) == {EVOLUTION}
    assert Tentativa.objects.get(id=probe.id).sondas == [EVOLUTION]
    assert look() == []


def test_a_probe_that_is_answered_closes_the_circuit_for_all(operation: None) -> None:
    open_evolution()
    factories.mensagens(4, campanha=factories.campanha())
    retry_is_due()
    (probe,) = look()
    settle_as(OK, probe)
    assert Circuit.objects.get(name=EVOLUTION).state == "closed"
    make_all_due()
    assert len(look()) == 2


def test_a_probe_that_fails_reopens_and_costs_its_message_nothing(operation: None) -> None:
    open_evolution()
    message = factories.mensagem(campanha=factories.campanha())
    retry_is_due()
    (probe,) = look()
    settle_as(REFUSED, probe)
    circuit = Circuit.objects.get(name=EVOLUTION)
    assert (circuit.state, circuit.step) == ("open", 1)
    assert circuit.retry_at is not None
    assert timedelta(seconds=590) < circuit.retry_at - database_now() <= timedelta(seconds=600)
    message.refresh_from_db()
    assert (message.status, message.tentativas) == ("pendente", 0)


def test_the_permit_of_a_probe_that_died_is_free_again_in_its_time(operation: None) -> None:
    open_evolution()
    factories.mensagens(2, campanha=factories.campanha())
    retry_is_due()
    (dead,) = look()
    make_all_due()
    assert look() == []
    execute("UPDATE circuits SET permit_until = agora() - interval '1 second' WHERE state = 'half_open'")
    make_all_due()
    (next_probe,) = look()
    assert next_probe.sondas[EVOLUTION] != dead.sondas[EVOLUTION]


def test_a_forced_opening_holds_and_switching_it_off_lets_through(operation: None) -> None:
    factories.mensagens(2, campanha=factories.campanha())
    execute("UPDATE circuits SET forced = 'aberto' WHERE name = 'evolution'")
    assert look() == []
    execute(
        """UPDATE circuits SET forced = 'desligado', state = 'open', retry_at = agora() + interval '1 hour'
           WHERE name = 'evolution'"""
    )
    make_all_due()
    assert len(look()) == 2


def test_a_restricted_chip_is_out_on_the_spot_and_its_circuit_open(operation: None) -> None:
    message = factories.mensagem(campanha=factories.campanha())
    (first,) = look()
    settle_as(catalogo.result("evolution.checagem_proibido", "forbidden", status=500), first)
    chip = Chip.objects.get(id=first.chip_id)
    assert (chip.status, Circuit.objects.get(name=of_chip(chip.id)).state) == ("degraded", "open")
    message.refresh_from_db()
    assert (message.status, message.chip_id) == ("pendente", None)
    make_all_due()
    (second,) = look()
    assert second.chip_id != first.chip_id


def test_the_attempts_a_message_made_name_their_rule(operation: None) -> None:
    factories.mensagem(campanha=factories.campanha())
    (first,) = look()
    settle_as(REFUSED, first)
    assert Tentativa.objects.get(id=first.id).regra == "rede.recusada"
