"""Unknown messages settled by what the provider says unasked: its echo, its receipts. Never by sending again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chips.models import Chip, EventoRecebido, Tentativa
from chips.providers.base import Code, ErrorKind, Fault
from chips.providers.classification import accepted
from chips.simulator.client import SimulatorProcess
from chips.simulator.numbers import lid_for
from core.clientes import identity
from core.clientes.models import Cliente
from core.database import execute
from fila.models import Conversa, Interacao, Mensagem
from fila.reconciliacao.matching import Candidate, Match, choose
from fila.reconciliacao.services import look as reconcile
from guardrails.models import DoctorState
from tests import factories
from tests.chips.results import unknown
from tests.fila.attempts import accept, look, open_one, settle_as
from tests.fila.drains import drain
from tests.fila.reconciling import Bench, age, attempt_of, bench, holding, make_due, status_of, told, waiting
from tests.fila.webhooks import deliver, process, process_waiting, receipt, receive

pytestmark = pytest.mark.django_db
with_processes = pytest.mark.django_db(transaction=True)

UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
T0 = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)


@pytest.fixture
def lab(simulator: SimulatorProcess, open_operation: None) -> Iterator[Bench]:
    with bench(simulator) as one:
        yield one


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


def echo(message: Mensagem, key_id: str = "3EB0ECHO", *, jid: str = "", text: str = "", **key: object) -> dict:
    """`send.message` as contracts §1.8 show it, without its instance."""
    return {
        "event": "send.message",
        "data": {
            "key": {"remoteJid": jid or f"{message.telefone_destino}@s.whatsapp.net", "fromMe": True, "id": key_id}
            | key,
            "status": "PENDING",
            "message": {"conversation": text or message.conteudo},
            "messageType": "conversation",
            "messageTimestamp": 1772542800,
        },
    }


def lost(message: Mensagem | None = None, **values: object) -> Mensagem:
    """A message whose call nobody answered."""
    message = message or factories.mensagem(**values)
    message.refresh_from_db()
    settle_as(UNKNOWN, open_one())
    return message


# --- with the simulator


@with_processes
def test_evolutions_400_that_was_sent_is_settled_by_its_echo_and_never_sent_again(lab: Bench) -> None:
    lab.chip()
    message = factories.mensagem(campanha=factories.campanha())
    lab.simulator.fault("400_enviou", count=1, evidence="full")
    drain()
    assert status_of(message) == "incerta"
    lab.hand_on()
    assert status_of(message) == "enviada"
    make_due(message)
    drain()
    (record,) = lab.simulator.truth().to(message.telefone_destino)
    attempt = attempt_of(message)
    assert (attempt.resultado, attempt.evidencia, attempt.provider_message_id) == ("enviado", "eco", record.key_id)
    assert message.provider_message_id == record.key_id


@with_processes
def test_a_reset_after_the_request_is_settled_with_its_receipts_too(lab: Bench) -> None:
    lab.chip()
    message = factories.mensagem()
    lab.simulator.fault("reset_depois", count=1)
    drain()
    assert status_of(message) == "incerta"
    lab.hand_on()
    message.refresh_from_db()
    assert message.status == "enviada"
    assert message.delivery_status in ("delivered", "read")
    assert message.entregue_em is not None


@with_processes
def test_acknowledgements_that_arrive_before_the_answer_count(lab: Bench) -> None:
    lab.chip()
    message = factories.mensagem()
    lab.simulator.fault("ack_antes_da_resposta")
    drain()
    lab.hand_on()
    message.refresh_from_db()
    assert (message.status, message.delivery_status in ("delivered", "read")) == ("enviada", True)


@with_processes
def test_acknowledgements_addressed_by_lid_find_their_message_by_key(lab: Bench) -> None:
    lab.chip(acks_by_lid=True)
    message = factories.mensagem()
    lab.simulator.fault("400_enviou", count=1, evidence="full")
    drain()
    lab.hand_on()
    assert status_of(message) == "enviada"
    assert message.delivery_status in ("delivered", "read")


@with_processes
def test_webhooks_twice_and_out_of_order_settle_once(lab: Bench) -> None:
    lab.chip()
    message = factories.mensagem()
    lab.simulator.fault("400_enviou", count=1, evidence="full")
    lab.simulator.fault("webhook_duplicado", copies=2)
    drain()
    lab.simulator.wait_quiet()
    for body in reversed(lab.receiver.bodies):
        lab.deliver(body)
    process()
    process_waiting()
    assert status_of(message) == "enviada"
    assert Interacao.objects.filter(mensagem=message).count() == 1
    assert told(message).count("evidencia_eco") == 1


# --- who an echo is about


def test_an_echo_settles_like_an_accepted_send(chip: Chip) -> None:
    campanha = factories.campanha()
    message = lost(campanha=campanha)
    event = receive(chip, echo(message))
    message.refresh_from_db()
    attempt = attempt_of(message)
    assert event.status == "processado"
    assert (message.status, message.outcome, message.tentativa_aberta_id) == ("enviada", "SENT", None)
    assert message.enviada_em == attempt.iniciado_em
    assert DoctorState.objects.get(cliente=message.cliente).last_touch_campaign_id == campanha.pk
    assert Conversa.objects.get(mensagens=message).lead_phone == message.telefone_destino
    assert Interacao.objects.get(mensagem=message).provider_message_id == "3EB0ECHO"
    chip.refresh_from_db()
    assert (chip.msgs_enviadas_total, chip.peso_dia) == (1, 2)


@pytest.mark.parametrize("jid", ["5541980000001@s.whatsapp.net", "554180000001@s.whatsapp.net", "554180000001:7@c.us"])
def test_both_legal_spellings_are_the_recipient(chip: Chip, jid: str) -> None:
    message = lost(cliente=factories.cliente(telefone="5541980000001"))
    receive(chip, echo(message, jid=jid))
    assert status_of(message) == "enviada"


def test_a_lid_is_the_recipient_whom_the_map_knows(chip: Chip) -> None:
    person = factories.cliente()
    message = lost(cliente=person)
    lid = lid_for(person.telefone)
    event = receive(chip, echo(message, jid=lid))
    assert (status_of(message), event.status) == ("incerta", "aguardando")
    identity.learn(None, lid, person)
    process_waiting()
    assert status_of(message) == "enviada"


def test_case_and_white_space_do_not_make_another_text(chip: Chip) -> None:
    message = lost(conteudo="Olá,  tudo bem?\nAqui é a Julia.")
    receive(chip, echo(message, text="olá, tudo bem? aqui é a julia. "))
    assert status_of(message) == "enviada"


@pytest.mark.parametrize("other", ["text", "person", "chip"])
def test_what_differs_settles_nothing(chip: Chip, other: str) -> None:
    message = lost()
    body = {
        "text": echo(message, text="Outro texto."),
        "person": echo(message, jid=f"{factories.cliente().telefone}@s.whatsapp.net"),
        "chip": echo(message),
    }[other]
    event = receive(factories.chip() if other == "chip" else chip, body)
    assert (status_of(message), event.status) == ("incerta", "aguardando")


@pytest.mark.parametrize(("minutes", "status"), [(14, "enviada"), (16, "incerta")])
def test_the_window_is_a_quarter_of_an_hour_by_our_receipt_time(chip: Chip, minutes: int, status: str) -> None:
    message = lost()
    age(message, minutes=minutes)
    receive(chip, echo(message))
    assert status_of(message) == status


def test_two_equal_messages_to_one_person_settle_none_and_the_event_says_so(chip: Chip) -> None:
    person = factories.cliente()
    first = lost(cliente=person, conteudo="Igual.", tipo="teste")
    second = lost(cliente=person, conteudo="Igual.", tipo="teste")
    receive(chip, echo(first))
    assert (status_of(first), status_of(second)) == ("incerta", "incerta")
    assert "mais de um envio igual" in waiting()[0]


def test_one_echo_settles_at_most_one_attempt(chip: Chip) -> None:
    message = lost()
    receive(chip, echo(message, "3EB0ONE"))
    later = receive(chip, echo(message, "3EB0TWO"))
    assert later.status == "aguardando"
    assert attempt_of(message).provider_message_id == "3EB0ONE"


def test_an_id_that_we_chose_comes_before_text_and_person(chip: Chip) -> None:
    person = factories.cliente()
    first = lost(cliente=person, conteudo="Igual.", tipo="teste")
    second = lost(cliente=person, conteudo="Igual.", tipo="teste")
    Tentativa.objects.filter(origem_id=second.pk).update(provider_message_id="JULIA-2")
    receive(chip, echo(second, "JULIA-2"))
    assert (status_of(first), status_of(second)) == ("incerta", "enviada")


def test_what_a_person_typed_is_no_echo_of_ours(chip: Chip) -> None:
    message = lost()
    typed = echo(message) | {"event": "messages.upsert"}
    receive(chip, typed)
    assert status_of(message) == "incerta"


# --- when it comes


def test_an_echo_that_overtakes_the_answer_waits_for_it(chip: Chip) -> None:
    message = factories.mensagem()
    message.refresh_from_db()
    attempt = open_one()
    early = receive(chip, echo(message, "3EB0EARLY"))
    assert early.status == "aguardando"
    accept(attempt, "3EB0EARLY")
    process()
    early.refresh_from_db()
    assert (early.status, status_of(message)) == ("processado", "enviada")
    assert attempt_of(message).evidencia == ""


def test_an_echo_that_overtook_an_unknown_result_is_looked_at_again_at_once(chip: Chip) -> None:
    message = factories.mensagem()
    message.refresh_from_db()
    attempt = open_one()
    receive(chip, echo(message))
    EventoRecebido.objects.update(proxima_em=attempt.iniciado_em + timedelta(hours=1))
    settle_as(UNKNOWN, attempt)
    assert process() == 0
    assert reconcile()["planejadas"] == 1
    assert process() == 1
    assert status_of(message) == "enviada"


def test_an_attempt_whose_sender_died_long_ago_needs_no_rescue_to_be_settled(chip: Chip) -> None:
    message = factories.mensagem()
    message.refresh_from_db()
    open_one()
    age(message, seconds=160)
    receive(chip, echo(message))
    assert status_of(message) == "enviada"


def test_a_receipt_that_came_before_its_echo_counts_after_it(chip: Chip) -> None:
    message = lost()
    receive(chip, receipt("DELIVERY_ACK", "3EB0ECHO", remoteJid="998877665544@lid"))
    deliver(chip, echo(message))
    process()
    process()
    message.refresh_from_db()
    assert (message.status, message.delivery_status) == ("enviada", "delivered")


def test_a_receipt_alone_settles_what_carries_its_key(chip: Chip) -> None:
    message = lost()
    Tentativa.objects.filter(origem_id=message.pk).update(provider_message_id="JULIA-1")
    receive(chip, receipt("SERVER_ACK", "JULIA-1"))
    assert (status_of(message), attempt_of(message).evidencia) == ("enviada", "recibo")
    assert message.delivery_status == "sent"


def test_what_was_ended_by_hand_while_unknown_is_sent_all_the_same(chip: Chip) -> None:
    message = lost()
    execute("UPDATE fila_mensagens SET status = 'cancelada'")
    receive(chip, echo(message))
    assert (status_of(message), message.tentativa_aberta_id) == ("enviada", None)


@with_processes
def test_while_somebody_holds_the_message_the_event_waits_and_is_not_spent(chip: Chip) -> None:
    message = lost()
    with holding("SELECT 1 FROM fila_mensagens FOR UPDATE"):
        event = receive(chip, echo(message))
    assert (event.status, event.motivo, event.tentativas) == (
        "aguardando", "a mensagem está em uso neste instante", 0,
    )  # fmt: skip
    process_waiting()
    assert status_of(message) == "enviada"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    story=st.permutations(["resultado", "eco", "SERVER_ACK", "DELIVERY_ACK", "READ"]),
    again=st.lists(st.sampled_from(["eco", "SERVER_ACK", "READ"]), max_size=3),
    known=st.booleans(),
)
def test_any_order_of_result_echo_and_receipts_ends_the_same(
    chip: Chip, story: list[str], again: list[str], known: bool
) -> None:
    with transaction.atomic():
        message = factories.mensagem()
        message.refresh_from_db()
        attempt = open_one()
        for what in [*story, *again]:
            if what == "resultado":
                settle_as(accepted("3EB0ECHO", status=201) if known else UNKNOWN, attempt)
            else:
                deliver(chip, echo(message) if what == "eco" else receipt(what, "3EB0ECHO"))
            reconcile()
            process_waiting()
        process_waiting()
        message.refresh_from_db()
        chip.refresh_from_db()
        assert (message.status, message.delivery_status, message.tentativas) == ("enviada", "read", 0)
        assert (attempt_of(message).resultado, chip.msgs_enviadas_total) == ("enviado", 1)
        assert Interacao.objects.filter(mensagem=message).count() == 1
        assert (waiting(), look()) == ([], [])
        transaction.set_rollback(True)


# --- the choice, pure


def candidate(resultado: str = "desconhecido", **values: object) -> Candidate:
    return Candidate(1, resultado, T0, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidates", "match"),
    [
        ([], Match.NONE),
        ([candidate()], Match.ONE),
        ([candidate("iniciado", parada=True)], Match.ONE),
        ([candidate("iniciado")], Match.OPEN),
        ([candidate("enviado", sem_chave=True)], Match.CONFIRMED),
        ([candidate(), candidate()], Match.SEVERAL),
        ([candidate(), candidate("iniciado")], Match.SEVERAL),
        ([candidate(), candidate("enviado", sem_chave=True)], Match.SEVERAL),
    ],
)
def test_only_one_candidate_is_a_match(candidates: list[Candidate], match: Match) -> None:
    assert choose(candidates) is match


@given(st.lists(st.sampled_from(["desconhecido", "iniciado", "enviado"]), min_size=2, max_size=3))
def test_several_candidates_are_never_a_match(resultados: list[str]) -> None:
    assert choose([candidate(each, parada=True, sem_chave=True) for each in resultados]) is Match.SEVERAL


def test_equal_texts_of_two_people_are_told_apart(chip: Chip) -> None:
    factories.chip()
    people: list[Cliente] = [factories.cliente(), factories.cliente()]
    messages = [factories.mensagem(cliente=person, conteudo="A mesma campanha.") for person in people]
    settle_as(UNKNOWN, *look())
    for message in messages:
        message.refresh_from_db()
    receive(attempt_of(messages[1]).chip, echo(messages[1]))
    assert [status_of(message) for message in messages] == ["incerta", "enviada"]
