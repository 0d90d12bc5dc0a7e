"""Reading webhook bodies: one shape for both providers, and no body that breaks the reader."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.choices import DeliveryStatus, InboxKind
from chips.webhooks.parsing import InvalidPayload, MessageType, parse_evolution, parse_zapi
from tests.chips.webhook_bodies import JID, LID, PERSON, received, state, update, upsert, zapi_delivery, zapi_status

# --- parsing: Evolution


def test_a_message_of_a_person_is_inbound_with_number_text_and_time() -> None:
    parsed = parse_evolution(upsert())
    assert (parsed.kind, parsed.instance, parsed.key_ids) == (InboxKind.ENTRADA, "chip-01", ("3A01",))
    assert (parsed.pessoa, parsed.from_me, parsed.push_name) == (PERSON, False, "Maria")
    assert (parsed.message_type, parsed.text) == (MessageType.TEXTO, "pode ser amanhã?")
    assert parsed.at == datetime(2026, 3, 3, 13, 0, tzinfo=UTC)


def test_a_number_without_the_ninth_digit_is_the_same_person() -> None:
    parsed = parse_evolution(upsert({"remoteJid": "554198887777@s.whatsapp.net"}))
    assert parsed.pessoa == "5541998887777"


@pytest.mark.parametrize(
    ("key", "pessoa", "lid"),
    [
        ({"remoteJid": LID, "remoteJidAlt": JID}, PERSON, LID),
        ({"remoteJid": JID, "remoteJidAlt": LID}, PERSON, LID),
        ({"remoteJid": LID}, "", LID),
        ({"remoteJid": f"{PERSON}:12@s.whatsapp.net"}, PERSON, ""),
    ],
)
def test_a_person_is_known_by_number_or_by_lid(key: dict[str, Any], pessoa: str, lid: str) -> None:
    parsed = parse_evolution(upsert(key))
    assert (parsed.kind, parsed.pessoa, parsed.lid) == (InboxKind.ENTRADA, pessoa, lid)


@pytest.mark.parametrize(
    ("jid", "reason"),
    [
        ("120363000000000000@g.us", "group"),
        ("status@broadcast", "not_a_person"),
        ("120363@newsletter", "not_a_person"),
        ("", "unreadable_data"),
    ],
)
def test_what_no_person_wrote_is_kept_and_ignored(jid: str, reason: str) -> None:
    parsed = parse_evolution(upsert({"remoteJid": jid}))
    assert (parsed.kind, parsed.ignored_because) == (InboxKind.OUTRO, reason)


@pytest.mark.parametrize(("event", "from_api"), [("messages.upsert", False), ("send.message", True)])
def test_our_own_message_is_an_echo_and_says_whether_the_api_sent_it(event: str, from_api: bool) -> None:
    parsed = parse_evolution({**upsert({"fromMe": True}), "event": event})
    assert (parsed.kind, parsed.from_me, parsed.from_api) == (InboxKind.ECO, True, from_api)
    assert parsed.text == "pode ser amanhã?"


@pytest.mark.parametrize(
    ("message", "kind", "message_type", "text"),
    [
        ({"extendedTextMessage": {"text": "oi"}}, "extendedTextMessage", MessageType.TEXTO, "oi"),
        ({"imageMessage": {"caption": "foto", "url": "https://x"}}, "imageMessage", MessageType.IMAGEM, "foto"),
        ({"audioMessage": {}}, "audioMessage", MessageType.AUDIO, ""),
        ({"reactionMessage": {"text": "👍"}}, "reactionMessage", MessageType.REACAO, "👍"),
        (
            {"buttonsResponseMessage": {"selectedDisplayText": "Sim"}},
            "buttonsResponseMessage",
            MessageType.TEXTO,
            "Sim",
        ),
        ({"ephemeralMessage": {"message": {"conversation": "oi"}}}, "conversation", MessageType.TEXTO, "oi"),
        (None, "pollCreationMessage", MessageType.OUTRO, ""),
    ],
)
def test_the_text_is_found_wherever_the_kind_keeps_it(message: Any, kind: str, message_type: str, text: str) -> None:
    parsed = parse_evolution(upsert(message=message, messageType=kind))
    assert (parsed.message_type, parsed.text) == (message_type, text)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("SERVER_ACK", DeliveryStatus.SENT),
        ("DELIVERY_ACK", DeliveryStatus.DELIVERED),
        ("READ", DeliveryStatus.READ),
        ("PLAYED", DeliveryStatus.READ),
        ("ERROR", DeliveryStatus.FAILED),
    ],
)
def test_a_receipt_names_its_message_and_its_step(raw: str, status: DeliveryStatus) -> None:
    parsed = parse_evolution(update(raw))
    assert (parsed.kind, parsed.key_ids, parsed.status) == (InboxKind.RECIBO, ("3EB01",), status)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (update("PENDING"), "status_without_meaning"),
        (update("DELETED"), "status_without_meaning"),
        (update("READ", fromMe=False), "receipt_of_inbound"),
        (update("READ", key_id=""), "unreadable_data"),
        ({"event": "logout.instance", "instance": "chip-01", "data": None}, "unknown_event"),
        ({"event": "messages.upsert", "instance": "chip-01", "data": None}, "unreadable_data"),
        ({"event": "messages.upsert", "instance": "chip-01", "data": [1]}, "unreadable_data"),
        ({"event": "presence.update", "instance": "chip-01"}, "unknown_event"),
        ({"event": "connection.update", "instance": "chip-01", "data": None}, "unknown_event"),
    ],
)
def test_what_says_nothing_is_kept_and_ignored(body: dict[str, Any], reason: str) -> None:
    parsed = parse_evolution(body)
    assert (parsed.kind, parsed.ignored_because) == (InboxKind.OUTRO, reason)


def test_a_receipt_by_lid_still_names_its_message() -> None:
    parsed = parse_evolution(update("READ", remoteJid=LID))
    assert (parsed.kind, parsed.key_ids, parsed.lid) == (InboxKind.RECIBO, ("3EB01",), LID)


def test_a_connection_event_carries_state_and_code() -> None:
    parsed = parse_evolution(state("close", 403))
    assert (parsed.kind, parsed.connection_state, parsed.status_reason) == (InboxKind.CONEXAO, "close", 403)


def test_the_other_event_of_a_close_says_the_same() -> None:
    data = {"instance": "chip-01", "status": "closed", "disconnectionReasonCode": 401}
    parsed = parse_evolution({"event": "status.instance", "instance": "chip-01", "data": data})
    assert (parsed.connection_state, parsed.status_reason) == ("close", 401)


@pytest.mark.parametrize("body", [{}, {"event": ""}, {"event": None}, {"event": 7}, {"data": {}}])
def test_a_body_without_an_event_is_invalid(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        parse_evolution(body)


# --- parsing: Z-API


def test_a_zapi_message_is_inbound_with_number_text_and_time() -> None:
    parsed = parse_zapi(received(referenceMessageId="3EB0"))
    assert (parsed.kind, parsed.instance, parsed.key_ids) == (InboxKind.ENTRADA, "ZAPI-1", ("3A02",))
    assert (parsed.pessoa, parsed.text, parsed.push_name) == (PERSON, "pode ser amanhã?", "Maria")
    assert (parsed.quoted_id, parsed.at) == ("3EB0", datetime(2026, 3, 3, 13, 0, tzinfo=UTC))


@pytest.mark.parametrize(("from_api", "expected"), [(True, True), (False, False)])
def test_a_zapi_echo_says_whether_a_person_typed_it(from_api: bool, expected: bool) -> None:
    parsed = parse_zapi(received(fromMe=True, fromApi=from_api))
    assert (parsed.kind, parsed.from_api) == (InboxKind.ECO, expected)


def test_a_zapi_lid_is_no_telephone() -> None:
    parsed = parse_zapi(received(phone=LID))
    assert (parsed.kind, parsed.pessoa, parsed.lid) == (InboxKind.ENTRADA, "", LID)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"isGroup": True}, "group"),
        ({"isNewsletter": True}, "not_a_person"),
        ({"broadcast": True}, "not_a_person"),
        ({"waitingMessage": True}, "waiting_content"),
        ({"notification": "REVOKE"}, "notification"),
        ({"phone": "0000"}, "not_a_person"),
    ],
)
def test_what_cannot_be_answered_on_zapi_is_kept_and_ignored(change: dict[str, Any], reason: str) -> None:
    parsed = parse_zapi(received(**change))
    assert (parsed.kind, parsed.ignored_because) == (InboxKind.OUTRO, reason)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("SENT", DeliveryStatus.SENT),
        ("RECEIVED", DeliveryStatus.DELIVERED),
        ("READ", DeliveryStatus.READ),
        ("PLAYED", DeliveryStatus.READ),
    ],
)
def test_a_zapi_receipt_names_all_its_messages(raw: str, status: DeliveryStatus) -> None:
    parsed = parse_zapi(zapi_status(raw, ["A", "B", "A"]))
    assert (parsed.kind, parsed.key_ids, parsed.status) == (InboxKind.RECIBO, ("A", "B"), status)


def test_read_by_ourselves_means_nothing() -> None:
    assert parse_zapi(zapi_status("READ_BY_ME", ["A"])).kind == InboxKind.OUTRO


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, DeliveryStatus.SENT),
        ("WhatsApp did not allow sending this message", DeliveryStatus.FAILED),
        ("Phone number does not exist", DeliveryStatus.FAILED),
        ("Timeout on send message", None),
    ],
)
def test_a_delivery_callback_proves_sent_or_not_sent_and_a_timeout_neither(error: str | None, status: Any) -> None:
    parsed = parse_zapi(zapi_delivery(**({"error": error} if error else {})))
    assert (parsed.kind, parsed.key_ids, parsed.queue_id) == (InboxKind.RECIBO, ("3EB02",), "Z9")
    assert (parsed.status, parsed.error) == (status, error or "")


@pytest.mark.parametrize(("type_", "expected"), [("ConnectedCallback", "open"), ("DisconnectedCallback", "close")])
def test_a_zapi_connection_event_has_no_code(type_: str, expected: str) -> None:
    parsed = parse_zapi({"type": type_, "instanceId": "ZAPI-1", "momment": 1772542800})
    assert (parsed.kind, parsed.connection_state, parsed.status_reason) == (InboxKind.CONEXAO, expected, None)
    assert parsed.at == datetime(2026, 3, 3, 13, 0, tzinfo=UTC)  # this one is in seconds


def test_without_a_type_the_shape_tells() -> None:
    body = {"phone": PERSON, "event": "message", "text": {"message": "oi"}, "fromMe": False, "momment": 1772542800000}
    assert parse_zapi(body).kind == InboxKind.ENTRADA
    assert parse_zapi({"status": "READ", "ids": ["A"], "phone": PERSON}).kind == InboxKind.RECIBO
    assert parse_zapi({"disconnected": True}).connection_state == "close"


@pytest.mark.parametrize("body", [{}, {"phone": PERSON}, {"type": None, "phone": PERSON, "text": "oi"}])
def test_a_zapi_body_of_no_known_shape_is_invalid(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        parse_zapi(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
EVENTS = ["messages.upsert", "send.message", "messages.update", "connection.update", "status.instance"]
CALLBACKS = ["ReceivedCallback", "DeliveryCallback", "MessageStatusCallback", "ConnectedCallback"]
EVOLUTION_FIELDS = ["key", "keyId", "remoteJid", "status", "message", "messageTimestamp", "state", "statusReason"]
ZAPI_FIELDS = ["phone", "ids", "status", "text", "image", "momment", "messageId", "error", "isGroup", "chatLid"]


@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(EVOLUTION_FIELDS), JSON), JSON)
def test_no_evolution_body_breaks_the_parser(event: str, data: dict[str, Any], instance: Any) -> None:
    parsed = parse_evolution({"event": event, "instance": instance, "data": data})
    assert parsed.kind in InboxKind


@given(st.sampled_from(CALLBACKS), st.dictionaries(st.sampled_from(ZAPI_FIELDS), JSON))
def test_no_zapi_body_breaks_the_parser(type_: str, fields: dict[str, Any]) -> None:
    assert parse_zapi({"type": type_, **fields}).kind in InboxKind
