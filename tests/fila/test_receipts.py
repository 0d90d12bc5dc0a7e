"""What the provider says about a sent message: steps of delivery, in whatever order and as often as they come."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chips.models import Chip, EventoRecebido, Tentativa
from chips.webhooks.inbox import process_inbox
from core.clock import database_now
from fila import delivery
from fila.models import Interacao, Mensagem, MensagemEvento
from tests import factories
from tests.fila.attempts import accept, look, open_one
from tests.fila.webhooks import deliver, process, process_waiting, receipt, receive

pytestmark = pytest.mark.django_db

RANK = ["pending", "sent", "failed", "delivered", "read"]
MEANS = {
    "SERVER_ACK": "sent",
    "ERROR": "failed",
    "DELIVERY_ACK": "delivered",
    "READ": "read",
    "PLAYED": "read",
}


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


def sent(key_id: str = "3EB0SENT") -> Mensagem:
    """A message that the provider accepted under this key."""
    message = factories.mensagem()
    accept(open_one(), key_id)
    return message


def known_of(message: Mensagem) -> set[str | None]:
    """Delivery as the message, its attempt and its interaction tell it."""
    message.refresh_from_db()
    attempt = Tentativa.objects.get(origem_id=message.id)
    return {
        message.delivery_status,
        attempt.delivery_status,
        *Interacao.objects.filter(mensagem=message).values_list("delivery_status", flat=True),
    }


def test_an_accepted_message_is_pending_until_the_server_says_more(chip: Chip) -> None:
    message = sent()
    assert known_of(message) == {"pending"}
    assert message.entregue_em is None


@pytest.mark.parametrize(("raw", "known"), list(MEANS.items()))
def test_a_receipt_says_one_step(chip: Chip, raw: str, known: str) -> None:
    message = sent()
    event = receive(chip, receipt(raw, "3EB0SENT"))
    assert (event.status, event.motivo) == ("processado", known)
    assert known_of(message) == {known}


@pytest.mark.parametrize(
    ("first", "then", "known"),
    [
        ("READ", "DELIVERY_ACK", "read"),
        ("READ", "SERVER_ACK", "read"),
        ("READ", "ERROR", "read"),
        ("DELIVERY_ACK", "SERVER_ACK", "delivered"),
        ("DELIVERY_ACK", "ERROR", "delivered"),
        ("ERROR", "SERVER_ACK", "failed"),
        ("ERROR", "DELIVERY_ACK", "delivered"),
        ("ERROR", "READ", "read"),
        ("SERVER_ACK", "ERROR", "failed"),
        ("DELIVERY_ACK", "READ", "read"),
    ],
)
def test_delivery_only_moves_forward_and_a_positive_receipt_outweighs_an_error(
    chip: Chip, first: str, then: str, known: str
) -> None:
    message = sent()
    for raw in (first, then):
        receive(chip, receipt(raw, "3EB0SENT"))
    assert known_of(message) == {known}


@pytest.mark.parametrize(("raw", "arrived"), [("SERVER_ACK", False), ("ERROR", False), ("DELIVERY_ACK", True)])
def test_only_the_recipients_telephone_proves_arrival(chip: Chip, raw: str, arrived: bool) -> None:
    message = sent()
    receive(chip, receipt(raw, "3EB0SENT"))
    message.refresh_from_db()
    assert (message.entregue_em is not None) is arrived


def test_the_instant_of_arrival_is_that_of_the_first_proof(chip: Chip) -> None:
    message = sent()
    receive(chip, receipt("DELIVERY_ACK", "3EB0SENT"))
    message.refresh_from_db()
    arrived = message.entregue_em
    receive(chip, receipt("READ", "3EB0SENT"))
    message.refresh_from_db()
    assert arrived is not None
    assert message.entregue_em == arrived


def test_each_step_is_one_line_of_the_timeline(chip: Chip) -> None:
    message = sent()
    for raw in ("SERVER_ACK", "READ", "DELIVERY_ACK"):
        receive(chip, receipt(raw, "3EB0SENT"))
    lines = MensagemEvento.objects.filter(mensagem=message, tipo="recibo").order_by("id")
    assert list(lines.values_list("motivo", flat=True)) == ["sent", "read"]


@pytest.fixture
def sent_message(chip: Chip) -> Mensagem:
    return sent()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.lists(st.sampled_from(list(MEANS)), min_size=1, max_size=8))
def test_any_order_with_any_repetition_ends_at_the_greatest_step(sent_message: Mensagem, raws: list[str]) -> None:
    chip_id = Tentativa.objects.values_list("chip_id", flat=True).get()
    with transaction.atomic():
        for raw in raws:
            assert delivery.apply_receipt(chip_id=chip_id, key_id="3EB0SENT", status=MEANS[raw])
        assert known_of(sent_message) == {max((MEANS[raw] for raw in raws), key=RANK.index)}
        transaction.set_rollback(True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.permutations(list(MEANS)), cut=st.integers(1, len(MEANS)))
def test_one_look_at_the_inbox_applies_receipts_in_any_order(sent_message: Mensagem, raws: list[str], cut: int) -> None:
    chip = Chip.objects.get()
    with transaction.atomic():
        for raw in raws[:cut]:
            deliver(chip, receipt(raw, "3EB0SENT"))
        assert process() == cut
        assert known_of(sent_message) == {max((MEANS[raw] for raw in raws[:cut]), key=RANK.index)}
        transaction.set_rollback(True)


def test_a_receipt_delivered_twice_is_stored_once(chip: Chip) -> None:
    sent()
    assert deliver(chip, receipt("READ", "3EB0SENT")) == "received"
    assert deliver(chip, receipt("READ", "3EB0SENT")) == "duplicate"
    assert EventoRecebido.objects.count() == 1


def test_the_same_key_on_another_instance_changes_nothing(chip: Chip) -> None:
    message = sent()
    event = receive(factories.chip(), receipt("READ", "3EB0SENT"))
    assert event.status == "aguardando"
    assert known_of(message) == {"pending"}


def test_the_number_in_a_receipt_may_be_a_lid_or_anybodys(chip: Chip) -> None:
    message = sent()
    receive(chip, receipt("DELIVERY_ACK", "3EB0SENT", remoteJid="998877665544@lid"))
    receive(chip, receipt("READ", "3EB0SENT", remoteJid="5511999990000@s.whatsapp.net"))
    assert known_of(message) == {"read"}


def test_a_receipt_of_one_message_leaves_the_others_alone(chip: Chip) -> None:
    factories.chip()
    first, second = factories.mensagem(), factories.mensagem()
    for attempt in look():
        accept(attempt, f"3EB{attempt.mensagem.id}")
    chip_of_first = Tentativa.objects.get(origem_id=first.id).chip
    receive(chip_of_first, receipt("READ", f"3EB{first.id}"))
    assert known_of(first) == {"read"}
    assert known_of(second) == {"pending"}


def test_a_receipt_that_overtakes_the_answer_waits_and_counts_once_the_message_is_settled(chip: Chip) -> None:
    message = factories.mensagem()
    attempt = open_one()
    early = receive(chip, receipt("DELIVERY_ACK", "3EB0EARLY"))
    assert early.status == "aguardando"
    accept(attempt, "3EB0EARLY")
    assert process() == 1, "settling makes the waiting receipt due at once"
    early.refresh_from_db()
    assert early.status == "processado"
    assert known_of(message) == {"delivered"}


def test_settling_wakes_only_the_receipts_of_its_own_keys(chip: Chip) -> None:
    factories.mensagem()
    attempt = open_one()
    for key_id in ("3EB0MINE", "3EB0OTHER"):
        receive(chip, receipt("READ", key_id))
    accept(attempt, "3EB0MINE")
    process()
    assert dict(EventoRecebido.objects.values_list("key_id", "status")) == {
        "3EB0MINE": "processado",
        "3EB0OTHER": "aguardando",
    }


def test_a_receipt_that_matches_nothing_waits_48_hours_and_is_then_set_aside_with_its_reason(chip: Chip) -> None:
    event = receive(chip, receipt("READ", "3EB0NOBODY"))
    for hours, status in ((47.9, "aguardando"), (48.1, "ignorado")):
        EventoRecebido.objects.update(proxima_em=event.recebido_em)
        process_inbox(limit=10, now=event.recebido_em + timedelta(hours=hours))
        event.refresh_from_db()
        assert event.status == status
    assert event.motivo.startswith("48 h sem resposta")


def test_a_waiting_receipt_is_asked_for_less_and_less_often_but_every_hour(chip: Chip) -> None:
    event = receive(chip, receipt("READ", "3EB0NOBODY"))
    pauses = []
    for age in (timedelta(0), timedelta(seconds=40), timedelta(hours=30)):
        EventoRecebido.objects.update(proxima_em=event.recebido_em)
        before = database_now()
        process_inbox(limit=10, now=event.recebido_em + age)
        event.refresh_from_db()
        pauses.append(round((event.proxima_em - before).total_seconds()))
    assert pauses == [2, 20, 3600]


def test_a_receipt_without_attempt_does_not_hold_up_the_next(chip: Chip) -> None:
    message = sent()
    deliver(chip, receipt("READ", "3EB0NOBODY"))
    deliver(chip, receipt("READ", "3EB0SENT"))
    process_waiting()
    assert known_of(message) == {"read"}
