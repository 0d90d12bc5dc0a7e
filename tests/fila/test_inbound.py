"""What a person writes to us, from the provider's webhook to the conversation it belongs to."""

from datetime import timedelta
from typing import Any

import pytest

from chips.models import Chip, ChipInteraction, EventoRecebido
from core.clientes import identity
from core.clientes.models import Cliente
from core.clock import BRASILIA, database_now
from core.database import execute
from fila.models import Conversa, ConversaChip, Interacao, Mensagem
from guardrails.models import DoctorState
from tests import factories
from tests.fila.attempts import accept, look, open_one
from tests.fila.webhooks import deliver, process, process_waiting, receive, upsert

pytestmark = pytest.mark.django_db

WITH_NINTH, WITHOUT_NINTH = "5541980000001", "554180000001"
LID = "998877665544@lid"


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


@pytest.fixture
def doctor(chip: Chip) -> Cliente:
    return factories.cliente()


def by_lid(telefone: str = "", **key: Any) -> dict[str, Any]:
    """A key whose sender is a LID, with the number beside it or nowhere."""
    beside = {"remoteJidAlt": f"{telefone}@s.whatsapp.net"} if telefone else {}
    return {"remoteJid": LID, **beside, **key}


# --- the conversation


def test_a_doctors_message_is_kept_in_their_conversation(chip: Chip, doctor: Cliente) -> None:
    event = receive(chip, upsert(doctor.telefone, "Pode ser amanhã?", key={"id": "3A01"}))
    conversation, stored = Conversa.objects.get(), Interacao.objects.get()
    assert (event.status, event.pessoa) == ("processado", doctor.telefone)
    assert (conversation.lead_phone, conversation.cliente_id) == (doctor.telefone, doctor.id)
    assert (conversation.status, conversation.controlled_by) == ("active", "ai")
    assert (conversation.message_count, conversation.response_count) == (1, 0)
    assert (stored.conversation_id, stored.cliente_id, stored.chip_id) == (conversation.id, doctor.id, chip.id)
    assert (stored.tipo, stored.autor_tipo, stored.origem) == ("entrada", "medico", "whatsapp_inbound")
    assert (stored.conteudo, stored.autor_nome) == ("Pode ser amanhã?", "Maria Inventada")
    assert (stored.instance, stored.provider_message_id) == (chip.instance_name, "3A01")
    assert stored.created_at == event.recebido_em, "our receipt time, the only one we trust"


def test_the_next_message_joins_the_open_conversation(chip: Chip, doctor: Cliente) -> None:
    for text in ("oi", "tudo bem?"):
        receive(chip, upsert(doctor.telefone, text))
    assert Conversa.objects.get().message_count == 2
    assert Interacao.objects.count() == 2


@pytest.mark.parametrize(
    ("status", "conversations"),
    [("active", 1), ("paused", 1), ("escalated", 1), ("aguardando_gestor", 1), ("completed", 2), ("abandoned", 2)],
)
def test_only_a_closed_conversation_gives_way_to_a_new_one(
    chip: Chip, doctor: Cliente, status: str, conversations: int
) -> None:
    Conversa.objects.create(cliente=doctor, lead_phone=doctor.telefone, status=status)
    receive(chip, upsert(doctor.telefone))
    assert Conversa.objects.count() == conversations


def test_the_conversation_moves_to_the_chip_that_was_written_to(chip: Chip, doctor: Cliente) -> None:
    other = factories.chip()
    for each in (chip, other):
        receive(each, upsert(doctor.telefone))
    assert ConversaChip.objects.get(active=True).chip_id == other.id


def test_a_message_delivered_twice_is_stored_once(chip: Chip, doctor: Cliente) -> None:
    body = upsert(doctor.telefone, key={"id": "3A01"})
    assert [deliver(chip, body), deliver(chip, body)] == ["received", "duplicate"]
    assert process() == 1
    assert Conversa.objects.get().message_count == Interacao.objects.count() == 1


def test_a_repetition_that_the_inbox_no_longer_remembers_changes_nothing(chip: Chip, doctor: Cliente) -> None:
    body = upsert(doctor.telefone, key={"id": "3A01"})
    receive(chip, body)
    EventoRecebido.objects.all().delete()
    assert receive(chip, body).motivo == "repetida"
    chip.refresh_from_db()
    assert (chip.msgs_recebidas_total, Conversa.objects.get().message_count, Interacao.objects.count()) == (1, 1, 1)


def test_the_same_key_on_two_chips_is_two_messages(chip: Chip, doctor: Cliente) -> None:
    for each in (chip, factories.chip()):
        receive(each, upsert(doctor.telefone, key={"id": "3A01"}))
    assert Interacao.objects.count() == 2


# --- the person


def test_a_stranger_becomes_known_by_number_and_name(chip: Chip) -> None:
    receive(chip, upsert("5511900009999"))
    stranger = Cliente.objects.get()
    assert (stranger.telefone, stranger.nome, stranger.origem) == ("5511900009999", "Maria Inventada", "entrada")
    assert DoctorState.objects.get().permission_state == "active"


@pytest.mark.parametrize("known_as", [WITH_NINTH, WITHOUT_NINTH])
def test_with_and_without_the_ninth_digit_it_is_one_person(chip: Chip, known_as: str) -> None:
    person = factories.cliente(telefone=known_as)
    for spelling in (WITH_NINTH, WITHOUT_NINTH):
        receive(chip, upsert(spelling))
    assert Cliente.objects.get() == person
    assert Conversa.objects.get().message_count == 2


def test_the_number_outranks_a_lid_that_was_somebody_elses(chip: Chip, doctor: Cliente) -> None:
    identity.learn(None, LID, factories.cliente())
    receive(chip, upsert(doctor.telefone, key=by_lid(doctor.telefone)))
    assert Interacao.objects.get().cliente_id == doctor.id
    assert identity.resolve(LID) == doctor.id, "a LID belongs to whom it was seen with last"


def test_a_known_lid_alone_is_enough(chip: Chip, doctor: Cliente) -> None:
    receive(chip, upsert(doctor.telefone, key=by_lid(doctor.telefone)))
    receive(chip, upsert("", key=by_lid()))
    assert set(Interacao.objects.values_list("cliente_id", flat=True)) == {doctor.id}
    assert Interacao.objects.count() == 2


def test_a_lid_that_nobody_knows_waits_until_the_map_does(chip: Chip, doctor: Cliente) -> None:
    waiting = receive(chip, upsert("", "PARE", key=by_lid()))
    assert (waiting.status, waiting.motivo) == ("aguardando", "remetente só conhecido por LID")
    assert not Interacao.objects.exists()
    receive(chip, upsert(doctor.telefone, key=by_lid(doctor.telefone)))
    process_waiting()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.pessoa) == ("processado", doctor.telefone)
    assert DoctorState.objects.get(cliente=doctor).permission_state == "opted_out"


# --- what it changes


def test_a_message_warms_the_person_up(chip: Chip, doctor: Cliente) -> None:
    event = receive(chip, upsert(doctor.telefone))
    state = DoctorState.objects.get(cliente=doctor)
    assert (state.permission_state, state.lifecycle_stage) == ("active", "engaged")
    assert (float(state.temperature), state.temperature_trend) == (0.6, "warming")
    assert state.last_inbound_at == event.recebido_em


def test_the_temperature_ends_at_one(chip: Chip, doctor: Cliente) -> None:
    for _ in range(6):
        receive(chip, upsert(doctor.telefone))
    assert DoctorState.objects.get(cliente=doctor).temperature == 1


@pytest.mark.parametrize(
    ("before", "after"), [("initial", "active"), ("cooling_off", "cooling_off"), ("opted_out", "opted_out")]
)
def test_a_friendly_message_does_not_lift_a_pause_or_an_opt_out(
    chip: Chip, doctor: Cliente, before: str, after: str
) -> None:
    DoctorState.objects.filter(cliente=doctor).update(permission_state=before)
    receive(chip, upsert(doctor.telefone, "bom dia"))
    assert DoctorState.objects.get(cliente=doctor).permission_state == after


@pytest.mark.parametrize(("days_ago", "today"), [(0, 4), (1, 1), (None, 1)])
def test_the_chip_counts_what_it_received_today(chip: Chip, doctor: Cliente, days_ago: int | None, today: int) -> None:
    day = None if days_ago is None else database_now().astimezone(BRASILIA).date() - timedelta(days=days_ago)
    Chip.objects.update(msgs_recebidas_total=10, msgs_recebidas_hoje=3, peso_dia=7, contadores_data=day)
    receive(chip, upsert(doctor.telefone))
    chip.refresh_from_db()
    assert (chip.msgs_recebidas_total, chip.msgs_recebidas_hoje) == (11, today)
    assert chip.peso_dia == (7 if days_ago == 0 else 0), "yesterday's weight does not become today's"
    assert chip.ultima_resposta_em is not None


def test_the_first_answer_makes_the_conversation_two_sided_once(chip: Chip, doctor: Cliente) -> None:
    factories.mensagem(cliente=doctor)
    accept(open_one(), "3EB01")
    for _ in range(2):
        receive(chip, upsert(doctor.telefone))
    chip.refresh_from_db()
    sent = ChipInteraction.objects.get(tipo="msg_enviada")
    assert chip.conversas_bidirecionais == 1
    assert (sent.obteve_resposta, sent.resposta_em is not None) == (True, True)
    assert ChipInteraction.objects.filter(tipo="msg_recebida", remetente=doctor.telefone).count() == 2


@pytest.mark.parametrize(("days", "attributed"), [(6.9, True), (7.1, False)])
def test_an_answer_within_seven_days_of_the_touch_is_the_campaigns(
    chip: Chip, doctor: Cliente, days: float, attributed: bool
) -> None:
    campanha = factories.campanha()
    factories.mensagem(cliente=doctor, campanha=campanha)
    accept(open_one(), "3EB01")
    execute("UPDATE conversations SET last_touch_at = agora() - %s * interval '1 day'", [days])
    receive(chip, upsert(doctor.telefone))
    answer = Interacao.objects.get(tipo="entrada")
    assert answer.attributed_campaign_id == (campanha.id if attributed else None)


# --- what is no text of a doctor


@pytest.mark.parametrize(
    ("message", "kind", "stored"),
    [
        ({"reactionMessage": {"text": "PARE"}}, "reactionMessage", "PARE"),
        ({"audioMessage": {"seconds": 4}}, "audioMessage", "[audio]"),
        ({"stickerMessage": {}}, "stickerMessage", "[sticker]"),
        ({"imageMessage": {"url": "https://midia.invalid/1"}}, "imageMessage", "[imagem]"),
    ],
)
def test_what_is_no_text_is_stored_and_asks_for_nothing(
    chip: Chip, doctor: Cliente, message: dict[str, Any], kind: str, stored: str
) -> None:
    receive(chip, upsert(doctor.telefone, message=message, messageType=kind))
    assert (Interacao.objects.get().conteudo, Interacao.objects.get().intencao) == (stored, "")
    assert DoctorState.objects.get(cliente=doctor).permission_state == "active"


def test_what_stands_under_a_picture_is_their_text(chip: Chip, doctor: Cliente) -> None:
    message = {"imageMessage": {"caption": "parem de me mandar mensagem", "url": "https://midia.invalid/1"}}
    receive(chip, upsert(doctor.telefone, message=message, messageType="imageMessage"))
    assert DoctorState.objects.get(cliente=doctor).permission_state == "opted_out"


def test_a_message_in_a_group_is_ignored(chip: Chip) -> None:
    assert deliver(chip, upsert("", "PARE", key={"remoteJid": "120363000000000000@g.us"})) == "group"
    assert process() == 0
    assert not Cliente.objects.exists()


@pytest.mark.parametrize("spelling", [WITH_NINTH, WITHOUT_NINTH])
def test_another_chip_of_ours_is_no_doctor(chip: Chip, spelling: str) -> None:
    factories.chip(telefone=WITH_NINTH)
    event = receive(chip, upsert(spelling, "PARE"))
    assert (event.status, event.motivo) == ("processado", "chip_proprio")
    assert not Cliente.objects.exists()
    assert not Interacao.objects.exists()


# --- what leaves our own phones


def typed(telefone: str, text: str = "Doutora, aqui é a Ana.") -> dict[str, Any]:
    """`fromMe` in `messages.upsert`: somebody typed it on the phone (contracts §1.8)."""
    return upsert(telefone, text, key={"fromMe": True})


def test_a_person_who_types_on_the_phone_takes_the_conversation_over(chip: Chip, doctor: Cliente) -> None:
    receive(chip, upsert(doctor.telefone))
    receive(chip, typed(doctor.telefone))
    conversation = Conversa.objects.get()
    written = Interacao.objects.latest("id")
    assert (conversation.controlled_by, conversation.message_count, conversation.response_count) == ("human", 1, 1)
    assert (written.tipo, written.autor_tipo, written.origem) == ("saida", "humano", "whatsapp_humano")


def test_while_a_person_holds_the_conversation_a_campaigns_message_ends(chip: Chip, doctor: Cliente) -> None:
    receive(chip, typed(doctor.telefone))
    message = factories.mensagem(cliente=doctor, campanha=factories.campanha())
    assert look() == []
    message.refresh_from_db()
    assert (message.status, message.outcome) == ("bloqueada", "BLOCKED_HANDOFF")


def test_what_a_person_of_ours_types_is_never_an_opt_out(chip: Chip, doctor: Cliente) -> None:
    receive(chip, typed(doctor.telefone, "PARE de mandar mensagem"))
    assert DoctorState.objects.get(cliente=doctor).permission_state == "none"
    assert Interacao.objects.get().intencao == ""


def test_what_a_person_of_ours_types_is_not_counted_as_received(chip: Chip, doctor: Cliente) -> None:
    receive(chip, typed(doctor.telefone))
    chip.refresh_from_db()
    assert (chip.msgs_recebidas_total, Conversa.objects.get().message_count) == (0, 0)


@pytest.mark.parametrize("event", ["send.message", "messages.upsert"])
def test_our_own_message_coming_back_pauses_nothing(chip: Chip, doctor: Cliente, event: str) -> None:
    message = factories.mensagem(cliente=doctor)
    accept(open_one(), "3EB01")
    body = upsert(doctor.telefone, message.conteudo, key={"fromMe": True, "id": "3EB01"}) | {"event": event}
    arrived = receive(chip, body)
    assert (arrived.status, arrived.motivo[:3]) == ("processado", "eco")
    assert Conversa.objects.get().controlled_by == "ai"
    assert Interacao.objects.get().autor_tipo == "julia", "the one that settling wrote"


def test_an_echo_that_overtakes_the_answer_waits_for_it(chip: Chip, doctor: Cliente) -> None:
    message = factories.mensagem(cliente=doctor)
    attempt = open_one()
    body = upsert(doctor.telefone, message.conteudo, key={"fromMe": True, "id": "3EB01"}) | {"event": "send.message"}
    early = receive(chip, body)
    assert early.status == "aguardando"
    accept(attempt, "3EB01")
    process()
    early.refresh_from_db()
    assert early.status == "processado"
    assert Conversa.objects.get().controlled_by == "ai"
    assert Mensagem.objects.get().status == "enviada"
