"""Accepted with 201 and then refused by WhatsApp: what an ERROR acknowledgement, and a burst of them, is worth."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chips.models import Chip, Tentativa
from chips.simulator.client import SimulatorProcess
from core.alerts.models import Alerta
from core.circuits.models import Circuit
from core.clock import Agora, database_now
from core.database import execute
from fila.campanhas.upkeep import conclude_finished
from fila.conversas.opt_out import opt_out
from fila.models import Campanha, Interacao, Mensagem, MensagemDlq
from fila.reconciliacao.avisos_de_erro import apply_error_acks, eject_bursts
from fila.reconciliacao.services import look as reconcile
from guardrails.models import DoctorState
from tests import factories
from tests.fila.attempts import accept, look, open_one
from tests.fila.drains import drain
from tests.fila.reconciling import Bench, age, attempt_of, bench, holding, make_due, status_of, told
from tests.fila.webhooks import deliver, process, receipt, receive

pytestmark = pytest.mark.django_db
with_processes = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(simulator: SimulatorProcess, open_operation: None) -> Iterator[Bench]:
    with bench(simulator) as one:
        yield one


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


def refused(key_id: str = "3EB0BAD", **values: Any) -> Mensagem:
    """A message that was accepted, and refused by WhatsApp a moment later."""
    message = factories.mensagem(**values)
    attempt = open_one()
    accept(attempt, key_id)
    receive(Chip.objects.get(pk=attempt.chip_id), receipt("ERROR", key_id))
    return message


def given_back(**values: Any) -> Mensagem:
    message = refused(**values)
    age(message, seconds=61)
    assert len(apply_error_acks()) == 1
    return message


# --- one of them


@with_processes
def test_a_refused_message_goes_to_another_chip_and_arrives_once(lab: Bench) -> None:
    ill, well = lab.chip(), lab.chip()
    lab.simulator.fault("restrito_201_error", instance=ill.instance_name)
    Chip.objects.filter(pk=well.pk).update(status="paused")
    message = factories.mensagem(campanha=factories.campanha())
    drain()
    lab.hand_on()
    assert (status_of(message), attempt_of(message).delivery_status) == ("enviada", "failed")
    age(message, seconds=61)
    reconcile()
    assert status_of(message) == "pendente"
    Chip.objects.filter(pk=well.pk).update(status="active")
    drain()
    lab.hand_on()
    message.refresh_from_db()
    truth = lab.simulator.truth()
    assert (message.status, message.tentativas, message.chip_id) == ("enviada", 1, well.pk)
    assert [(record.chip, record.delivered) for record in truth.to(message.telefone_destino)] == [
        (ill.instance_name, False), (well.instance_name, True),
    ]  # fmt: skip
    assert truth.duplicates == []
    interaction = Interacao.objects.get(mensagem=message)
    assert (interaction.chip_id, interaction.provider_message_id) == (well.pk, message.provider_message_id)
    assert interaction.delivery_status in ("delivered", "read")


@pytest.mark.parametrize(("seconds", "status"), [(59, "enviada"), (61, "pendente")])
def test_it_waits_60_seconds_for_a_positive_one(chip: Chip, seconds: int, status: str) -> None:
    message = refused()
    age(message, seconds=seconds)
    apply_error_acks()
    assert status_of(message) == status


@pytest.mark.parametrize("positive", ["DELIVERY_ACK", "READ", "PLAYED"])
def test_a_positive_one_in_time_wins(chip: Chip, positive: str) -> None:
    message = refused()
    receive(chip, receipt(positive, "3EB0BAD"))
    age(message, seconds=61)
    assert apply_error_acks() == []
    assert status_of(message) == "enviada"


def test_the_servers_acknowledgement_is_no_positive_one(chip: Chip) -> None:
    message = refused()
    receive(chip, receipt("SERVER_ACK", "3EB0BAD"))
    age(message, seconds=61)
    apply_error_acks()
    assert status_of(message) == "pendente"


def test_a_positive_one_that_waits_unread_in_the_inbox_is_not_passed_over(chip: Chip) -> None:
    message = refused()
    age(message, seconds=61)
    deliver(chip, receipt("DELIVERY_ACK", "3EB0BAD"))
    assert apply_error_acks() == []
    process()
    assert (status_of(message), message.delivery_status) == ("enviada", "delivered")


def test_it_is_a_failed_try_and_the_story_says_so(chip: Chip) -> None:
    message = given_back()
    message.refresh_from_db()
    attempt = attempt_of(message)
    assert (message.tentativas, message.outcome, message.outcome_reason_code) == (1, "FAILED_PROVIDER", "error_ack")
    assert (message.provider_message_id, message.enviada_em, message.delivery_status) == (None, None, None)
    assert message.agendar_para <= database_now()
    assert (attempt.resultado, attempt.evidencia, attempt.regra) == ("enviado", "recibo", "evolution.ack_erro")
    assert attempt.nao_entregue_em is not None
    assert told(message)[-1] == "error_ack"
    assert Interacao.objects.get(mensagem=message).delivery_status == "failed"


def test_the_third_refusal_ends_it_in_the_dlq(chip: Chip) -> None:
    message = refused()
    Mensagem.objects.filter(pk=message.pk).update(tentativas=2)
    age(message, seconds=61)
    (done,) = apply_error_acks()
    assert (done.status, status_of(message), message.outcome) == ("erro", "erro", "FAILED_PROVIDER")
    assert MensagemDlq.objects.get().mensagem_original_id == message.pk


def test_its_weight_stays_spent_for_the_chip_did_send_it(chip: Chip) -> None:
    given_back(campanha=factories.campanha())
    chip.refresh_from_db()
    assert (chip.peso_dia, chip.erros_ultimas_24h) == (2, 1)


def test_a_person_whom_it_never_reached_was_not_touched(chip: Chip) -> None:
    person = factories.cliente()
    first, second = factories.campanha(), factories.campanha()
    factories.set_setting("dias_entre_campanhas", 0)
    earlier = factories.mensagem(cliente=person, campanha=first)
    accept(open_one(), "3EB0OLD")
    given_back(cliente=person, campanha=second)
    state = DoctorState.objects.get(cliente=person)
    earlier.refresh_from_db()
    assert (state.last_touch_campaign_id, state.last_touch_at) == (first.pk, earlier.enviada_em)


@pytest.mark.parametrize(("how", "status"), [("cancelled", "cancelada"), ("opted_out", "bloqueada")])
def test_campaign_and_opt_out_are_read_again_on_the_way_back(chip: Chip, how: str, status: str) -> None:
    campanha = factories.campanha()
    message = refused(campanha=campanha)
    if how == "cancelled":
        Campanha.objects.update(status="cancelada")
    else:
        opt_out(message.cliente_id, origem="operador", motivo="pediu por telefone", actor="ana", now=database_now())
    age(message, seconds=61)
    apply_error_acks()
    assert status_of(message) == status


def test_a_campaign_that_had_ended_is_open_again(chip: Chip) -> None:
    campanha = factories.campanha(enfileirada_em=database_now())
    message = refused(campanha=campanha)
    Campanha.objects.update(status="concluida", concluida_em=Agora())
    age(message, seconds=61)
    apply_error_acks()
    campanha.refresh_from_db()
    assert (campanha.status, status_of(message)) == ("ativa", "pendente")
    assert conclude_finished(now=database_now()) == 0


# --- a late positive one


def test_a_late_positive_one_before_the_next_try_wins(chip: Chip) -> None:
    campanha = factories.campanha()
    message = given_back(campanha=campanha)
    event = receive(chip, receipt("DELIVERY_ACK", "3EB0BAD"))
    message.refresh_from_db()
    attempt = attempt_of(message)
    assert event.status == "processado"
    assert (message.status, message.delivery_status, message.tentativas) == ("enviada", "delivered", 0)
    assert (message.provider_message_id, attempt.nao_entregue_em) == ("3EB0BAD", None)
    assert Interacao.objects.get(mensagem=message).delivery_status == "delivered"
    assert DoctorState.objects.get(cliente=message.cliente).last_touch_campaign_id == campanha.pk
    assert look() == [], "nothing of it is sent again"


def test_a_late_positive_one_after_the_next_try_is_shown_and_told_once(chip: Chip) -> None:
    message = given_back()
    factories.chip()
    Chip.objects.filter(pk=chip.pk).update(status="paused")
    accept(open_one(), "3EB0AGAIN")
    for raw in ("DELIVERY_ACK", "READ"):
        receive(chip, receipt(raw, "3EB0BAD"))
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("enviada", "3EB0AGAIN")
    assert told(message).count("entregue_apos_reenvio") == 1
    assert Alerta.objects.get(tipo="entregue_apos_reenvio").chave == str(message.pk)
    first = Tentativa.objects.get(provider_message_id="3EB0BAD")
    assert (first.delivery_status, first.nao_entregue_em is not None) == ("delivered", True)


def test_a_late_positive_one_takes_a_message_out_of_the_dlq(chip: Chip) -> None:
    message = refused()
    Mensagem.objects.filter(pk=message.pk).update(tentativas=2)
    age(message, seconds=61)
    apply_error_acks()
    receive(chip, receipt("READ", "3EB0BAD"))
    assert (status_of(message), MensagemDlq.objects.count()) == ("enviada", 0)


def test_a_claimed_message_that_was_delivered_after_all_is_not_sent(chip: Chip) -> None:
    message = given_back()
    execute("UPDATE fila_mensagens SET status = 'processando', token = 99, lease_ate = agora() + interval '1 minute'")
    receive(chip, receipt("DELIVERY_ACK", "3EB0BAD"))
    assert (status_of(message), message.lease_ate) == ("enviada", None)


# --- several consumers, people and the raw database


@with_processes
def test_any_number_of_processes_give_each_message_back_once(chip: Chip) -> None:
    factories.chip()
    messages = [factories.mensagem() for _ in range(2)]
    for attempt in look():
        accept(attempt, f"3EB{attempt.mensagem.id.hex[:20]}")
    Tentativa.objects.update(delivery_status="failed", delivery_status_at=Agora())
    for message in messages:
        age(message, seconds=61)
    counts: list[int] = []

    def run() -> None:
        try:
            counts.append(len(apply_error_acks()))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 2
    assert [(status_of(message), message.tentativas) for message in messages] == [("pendente", 1)] * 2


@with_processes
def test_a_message_that_somebody_holds_does_not_hold_up_the_others(chip: Chip) -> None:
    factories.chip()
    messages = [factories.mensagem() for _ in range(2)]
    for attempt in look():
        accept(attempt, f"3EB{attempt.mensagem.id.hex[:20]}")
    Tentativa.objects.update(delivery_status="failed", delivery_status_at=Agora())
    for message in messages:
        age(message, seconds=61)
    with holding(f"SELECT 1 FROM fila_mensagens WHERE id = '{messages[0].pk}' FOR UPDATE"):
        assert len(apply_error_acks()) == 1
    assert [status_of(message) for message in messages] == ["enviada", "pendente"]
    assert len(apply_error_acks()) == 1


def test_a_sent_message_never_returns_by_hand(chip: Chip) -> None:
    factories.mensagem()
    accept(open_one(), "3EB0SENT")
    with pytest.raises(IntegrityError, match="já foi enviada"), transaction.atomic():
        execute("UPDATE fila_mensagens SET status = 'pendente'")


def test_a_message_that_was_called_sent_by_hand_never_returns_by_hand(chip: Chip) -> None:
    factories.mensagem()
    execute("UPDATE fila_mensagens SET status = 'enviada'")
    with pytest.raises(IntegrityError, match="já foi enviada"), transaction.atomic():
        execute("UPDATE fila_mensagens SET status = 'pendente'")


def test_only_when_every_attempt_was_proved_undelivered_the_database_lets_it_return(chip: Chip) -> None:
    message = given_back()
    factories.chip()
    accept(open_one(), "3EB0AGAIN")
    with pytest.raises(IntegrityError, match="já foi enviada"), transaction.atomic():
        execute("UPDATE fila_mensagens SET status = 'pendente'")
    Tentativa.objects.update(nao_entregue_em=Agora())
    execute("UPDATE fila_mensagens SET status = 'pendente'")
    assert status_of(message) == "pendente"


# --- a burst of them


def history(chip: Chip, outcomes: str) -> None:
    """One attempt per letter, oldest first: F refused, D delivered, R read, S on the server, P nothing known yet."""
    status = {"F": "failed", "D": "delivered", "R": "read", "S": "sent", "P": "pending"}
    now = database_now()
    for n, letter in enumerate(outcomes):
        message = factories.mensagem()
        Tentativa.objects.create(
            origem_id=message.pk, chip=chip, provider=chip.provider, cliente=message.cliente, destino="5511900000001",
            tipo_mensagem="prospeccao", proativa=True, balde_em=now, dia_local=now.date(), texto_hash="0" * 64,
            lote=message.pk, consumidor="teste", resultado="enviado", delivery_status=status[letter],
            iniciado_em=now - timedelta(seconds=len(outcomes) - n), delivery_status_at=now,
            provider_message_id=f"3EB{message.pk.hex[:20]}",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "out"),
    [
        ("FFF", True), ("FF", False), ("DFFF", True), ("FFDF", False), ("FFRFF", False), ("FFPSF", True),
        ("FFFD", False), ("FFFP", True), ("DDDFFFF", True),
    ],
)  # fmt: skip
def test_three_refusals_in_a_row_take_a_chip_out(chip: Chip, outcomes: str, out: bool) -> None:
    history(chip, outcomes)
    assert eject_bursts() == ([chip.pk] if out else [])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.text(alphabet="FDRSP", max_size=9))
def test_a_chip_goes_exactly_when_its_newest_known_results_are_three_refusals(chip: Chip, outcomes: str) -> None:
    with transaction.atomic():
        history(chip, outcomes)
        known = outcomes.replace("P", "").replace("S", "")
        assert bool(eject_bursts()) is known.endswith("FFF")
        transaction.set_rollback(True)


def test_the_chip_is_degraded_its_circuit_open_and_people_are_told(chip: Chip) -> None:
    history(chip, "FFF")
    waiting = factories.mensagem(chip=chip)
    assert reconcile()["chips_retirados"] == 1
    chip.refresh_from_db()
    waiting.refresh_from_db()
    assert (chip.status, chip.degradado_motivo) == (
        "degraded", "3 envios seguidos aceitos e depois recusados (ERROR)",
    )  # fmt: skip
    assert chip.cooldown_until is not None
    assert chip.cooldown_until > database_now() + timedelta(minutes=30)
    assert Circuit.objects.get(name=f"chip:{chip.pk}").state == "open"
    assert Alerta.objects.get(tipo="chip_degradado").chave == f"chip:{chip.pk}"
    assert waiting.chip_id is None
    assert eject_bursts() == []


def test_refusals_older_than_half_an_hour_are_no_burst(chip: Chip) -> None:
    history(chip, "FFF")
    Tentativa.objects.order_by("iniciado_em").filter(delivery_status="failed").update(
        delivery_status_at=database_now() - timedelta(minutes=31)
    )
    assert eject_bursts() == []


def test_refusals_of_several_chips_are_no_burst(chip: Chip) -> None:
    for each in (chip, factories.chip(), factories.chip()):
        history(each, "FF")
    assert eject_bursts() == []


def test_what_was_refused_before_a_chip_was_given_back_says_nothing_any_more(chip: Chip) -> None:
    history(chip, "FFF")
    Chip.objects.filter(pk=chip.pk).update(rampa_desde=Agora())
    assert eject_bursts() == []


@with_processes
def test_a_restricted_chip_is_out_after_its_first_burst_and_everybody_is_reached_once(lab: Bench) -> None:
    ill = lab.chip()
    well = [lab.chip() for _ in range(2)]
    lab.simulator.fault("restrito_201_error", instance=ill.instance_name)
    messages = factories.mensagens(24, campanha=factories.campanha())
    for _ in range(8):
        drain(seconds=10)
        lab.hand_on()
        reconcile()
        Tentativa.objects.filter(delivery_status="failed", nao_entregue_em=None).update(
            delivery_status_at=database_now() - timedelta(seconds=61)
        )
        reconcile()
        for message in messages:
            make_due(message)
    truth = lab.simulator.truth()
    ill.refresh_from_db()
    assert ill.status == "degraded"
    assert {status_of(message) for message in messages} == {"enviada"}
    assert (truth.delivered, truth.duplicates) == (24, [])
    assert {record.chip for record in truth.records if record.delivered} == {each.instance_name for each in well}
