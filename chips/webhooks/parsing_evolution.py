"""Evolution's webhook envelope (contracts §1.8). Pure."""

from typing import Any

from chips.choices import DeliveryStatus, InboxKind
from chips.webhooks.parsed import InvalidPayload, MessageType, ParsedEvent, instant_of, number, table, word
from core.clientes.phones import canonical_from_jid, is_lid

_STATUSES = {
    "SERVER_ACK": DeliveryStatus.SENT,
    "DELIVERY_ACK": DeliveryStatus.DELIVERED,
    "READ": DeliveryStatus.READ,
    "PLAYED": DeliveryStatus.READ,
    "ERROR": DeliveryStatus.FAILED,
}
_TYPES = {
    "conversation": MessageType.TEXTO,
    "extendedTextMessage": MessageType.TEXTO,
    "buttonsResponseMessage": MessageType.TEXTO,
    "templateButtonReplyMessage": MessageType.TEXTO,
    "listResponseMessage": MessageType.TEXTO,
    "imageMessage": MessageType.IMAGEM,
    "audioMessage": MessageType.AUDIO,
    "videoMessage": MessageType.VIDEO,
    "ptvMessage": MessageType.VIDEO,
    "documentMessage": MessageType.DOCUMENTO,
    "documentWithCaptionMessage": MessageType.DOCUMENTO,
    "stickerMessage": MessageType.STICKER,
    "reactionMessage": MessageType.REACAO,
    "contactMessage": MessageType.CONTATO,
    "contactsArrayMessage": MessageType.CONTATO,
    "locationMessage": MessageType.LOCALIZACAO,
    "liveLocationMessage": MessageType.LOCALIZACAO,
}
_WRAPPERS = (
    "ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
)  # fmt: skip
_TEXT_FIELDS = (
    ("extendedTextMessage", "text"),
    ("imageMessage", "caption"),
    ("videoMessage", "caption"),
    ("documentMessage", "caption"),
    ("buttonsResponseMessage", "selectedDisplayText"),
    ("templateButtonReplyMessage", "selectedDisplayText"),
    ("listResponseMessage", "title"),
    ("reactionMessage", "text"),
)
_MEDIA = ("imageMessage", "audioMessage", "videoMessage", "documentMessage", "stickerMessage")


def parse_evolution(body: dict[str, Any]) -> ParsedEvent:
    """Raises InvalidPayload for a body without an event name."""
    event = word(body.get("event")).strip().lower().replace("_", ".")
    if not event:
        raise InvalidPayload("no event name")
    instance, data = word(body.get("instance")), table(body.get("data"))
    if event in ("messages.upsert", "send.message"):
        return _message(event, instance, data)
    if event == "messages.update":
        return _receipt(event, instance, data)
    if event == "connection.update" and data.get("state"):
        state, reason = word(data.get("state")), number(data.get("statusReason"))
        return ParsedEvent(
            event=event, kind=InboxKind.CONEXAO, instance=instance, connection_state=state, status_reason=reason
        )
    if event == "status.instance" and data.get("status") == "closed":
        reason = number(data.get("disconnectionReasonCode"))
        return ParsedEvent(
            event=event, kind=InboxKind.CONEXAO, instance=instance, connection_state="close", status_reason=reason
        )
    return _ignored(event, instance, "unknown_event")


def _ignored(event: str, instance: str, because: str, **known: Any) -> ParsedEvent:
    return ParsedEvent(event=event, kind=InboxKind.OUTRO, instance=instance, ignored_because=because, **known)


def _message(event: str, instance: str, data: dict[str, Any]) -> ParsedEvent:
    key = table(data.get("key"))
    key_id, jid = word(key.get("id")), word(key.get("remoteJid"))
    if not jid:
        return _ignored(event, instance, "unreadable_data")
    pessoa, lid = _person(jid, word(key.get("remoteJidAlt")) or word(key.get("senderPn")))
    is_group = jid.endswith("@g.us")
    if not pessoa and not lid:
        return _ignored(event, instance, "group" if is_group else "not_a_person", is_group=is_group, remote_jid=jid)
    from_me = key.get("fromMe") is True or event == "send.message"
    content = _unwrapped(table(data.get("message")))
    return ParsedEvent(
        event=event,
        kind=InboxKind.ECO if from_me else InboxKind.ENTRADA,
        instance=instance,
        key_ids=(key_id,) if key_id else (),
        pessoa=pessoa,
        lid=lid,
        remote_jid=jid,
        from_me=from_me,
        from_api=event == "send.message",
        message_type=_TYPES.get(word(data.get("messageType")), MessageType.OUTRO),
        text=_text(content),
        media_url=next((url for name in _MEDIA if (url := word(table(content.get(name)).get("url")))), ""),
        quoted_id=word(table(data.get("contextInfo")).get("stanzaId")),
        push_name=word(data.get("pushName")),
        at=instant_of(data.get("messageTimestamp")),
    )


def _person(jid: str, alternative: str) -> tuple[str, str]:
    """Canonical number and LID: either may stand in `remoteJid`, the other beside it or nowhere (contracts §0.10)."""
    jids = (jid, alternative)
    pessoa = next((found for each in jids if (found := canonical_from_jid(each))), "")
    return pessoa, next((each for each in jids if is_lid(each)), "")


def _unwrapped(content: dict[str, Any]) -> dict[str, Any]:
    for name in _WRAPPERS:
        inner = table(table(content.get(name)).get("message"))
        if inner:
            return inner
    return content


def _text(content: dict[str, Any]) -> str:
    plain = word(content.get("conversation"))
    return plain or next(
        (text for name, part in _TEXT_FIELDS if (text := word(table(content.get(name)).get(part)))), ""
    )


def _receipt(event: str, instance: str, data: dict[str, Any]) -> ParsedEvent:
    """There is no `key` object here. The jid may be a LID though the send used a phone: match by key id only."""
    key_id = word(data.get("keyId"))
    raw = word(data.get("status")).upper()
    if not key_id:
        return _ignored(event, instance, "unreadable_data")
    if data.get("fromMe") is False:
        return _ignored(event, instance, "receipt_of_inbound", key_ids=(key_id,), raw_status=raw)
    if raw not in _STATUSES:
        return _ignored(event, instance, "status_without_meaning", key_ids=(key_id,), raw_status=raw)
    jid = word(data.get("remoteJid"))
    pessoa, lid = _person(jid, "")
    return ParsedEvent(
        event=event,
        kind=InboxKind.RECIBO,
        instance=instance,
        key_ids=(key_id,),
        pessoa=pessoa,
        lid=lid,
        remote_jid=jid,
        from_me=True,
        status=_STATUSES[raw],
        raw_status=raw,
    )
