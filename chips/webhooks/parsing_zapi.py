"""Z-API's callbacks (contracts §2), and the runbook's body, which has their shape without type and ids. Pure."""

from typing import Any

from chips.choices import DeliveryStatus, InboxKind
from chips.webhooks.parsed import InvalidPayload, MessageType, ParsedEvent, instant_of, table, word
from core.clientes.phones import canonical_from_jid, is_lid

_STATUSES = {
    "SENT": DeliveryStatus.SENT,
    "RECEIVED": DeliveryStatus.DELIVERED,
    "DELIVERED": DeliveryStatus.DELIVERED,
    "READ": DeliveryStatus.READ,
    "VIEWED": DeliveryStatus.READ,
    "PLAYED": DeliveryStatus.READ,
}
_CONTENT = (
    ("text", MessageType.TEXTO, "message"),
    ("buttonsResponseMessage", MessageType.TEXTO, "message"),
    ("listResponseMessage", MessageType.TEXTO, "message"),
    ("buttonReply", MessageType.TEXTO, "message"),
    ("image", MessageType.IMAGEM, "caption"),
    ("audio", MessageType.AUDIO, "caption"),
    ("video", MessageType.VIDEO, "caption"),
    ("document", MessageType.DOCUMENTO, "caption"),
    ("sticker", MessageType.STICKER, "caption"),
    ("reaction", MessageType.REACAO, "value"),
    ("location", MessageType.LOCALIZACAO, "name"),
    ("contact", MessageType.CONTATO, "displayName"),
)
_MEDIA_URLS = {"image": "imageUrl", "audio": "audioUrl", "video": "videoUrl", "document": "documentUrl"}
_UNKNOWN_OUTCOME = "timeout on send message"


def parse_zapi(body: dict[str, Any]) -> ParsedEvent:
    """Raises InvalidPayload for a body that is none of the callbacks."""
    event = word(body.get("type")) or _type_by_shape(body)
    instance = word(body.get("instanceId"))
    if event == "ReceivedCallback":
        return _message(event, instance, body)
    if event == "DeliveryCallback":
        return _delivery(event, instance, body)
    if event == "MessageStatusCallback":
        return _status(event, instance, body)
    if event in ("ConnectedCallback", "DisconnectedCallback"):
        state = "open" if event == "ConnectedCallback" else "close"
        return ParsedEvent(
            event=event,
            kind=InboxKind.CONEXAO,
            instance=instance,
            connection_state=state,
            error=word(body.get("error")),
            at=instant_of(body.get("momment")),
        )
    if not event:
        raise InvalidPayload("no callback type")
    return _ignored(event, instance, "unknown_event")


def _type_by_shape(body: dict[str, Any]) -> str:
    if body.get("phone") and any(isinstance(body.get(name), dict) for name, _, _ in _CONTENT):
        return "ReceivedCallback"
    if body.get("status") and isinstance(body.get("ids"), list):
        return "MessageStatusCallback"
    if body.get("disconnected") is True:
        return "DisconnectedCallback"
    return "ConnectedCallback" if body.get("connected") is True else ""


def _ignored(event: str, instance: str, because: str, **known: Any) -> ParsedEvent:
    return ParsedEvent(event=event, kind=InboxKind.OUTRO, instance=instance, ignored_because=because, **known)


def _person(body: dict[str, Any]) -> tuple[str, str]:
    """Canonical number and LID. `phone` is international digits, or a LID with its suffix."""
    phone = word(body.get("phone"))
    jid = phone if "@" in phone else f"{phone}@s.whatsapp.net"
    lids = (phone, word(body.get("chatLid")), word(body.get("senderLid")))
    return canonical_from_jid(jid) or "", next((each for each in lids if is_lid(each)), "")


def _message(event: str, instance: str, body: dict[str, Any]) -> ParsedEvent:
    key_id, phone = word(body.get("messageId")), word(body.get("phone"))
    because = _why_not_answerable(body)
    pessoa, lid = _person(body)
    if because or not (pessoa or lid):
        return _ignored(event, instance, because or "not_a_person", is_group=because == "group", remote_jid=phone)
    from_me = body.get("fromMe") is True
    name, message_type, part = next(
        (each for each in _CONTENT if table(body.get(each[0]))), ("", MessageType.OUTRO, "")
    )
    content = table(body.get(name))
    return ParsedEvent(
        event=event,
        kind=InboxKind.ECO if from_me else InboxKind.ENTRADA,
        instance=instance,
        key_ids=(key_id,) if key_id else (),
        pessoa=pessoa,
        lid=lid,
        remote_jid=phone,
        from_me=from_me,
        from_api=from_me and body.get("fromApi") is True,
        is_edit=body.get("isEdit") is True,
        message_type=message_type,
        text=word(content.get(part)),
        media_url=word(content.get(_MEDIA_URLS.get(name, ""))),
        quoted_id=word(body.get("referenceMessageId")),
        push_name=word(body.get("senderName")) or word(body.get("chatName")),
        at=instant_of(body.get("momment")),
    )


def _why_not_answerable(body: dict[str, Any]) -> str:
    if body.get("isGroup") is True:
        return "group"
    if body.get("isNewsletter") is True or body.get("broadcast") is True or body.get("isStatusReply") is True:
        return "not_a_person"
    if body.get("waitingMessage") is True:
        return "waiting_content"  # not decrypted yet: the content follows under the same message id
    return "notification" if body.get("notification") else ""


def _delivery(event: str, instance: str, body: dict[str, Any]) -> ParsedEvent:
    """Handed to WhatsApp, or, with `error`, why not. A time-out there proves neither."""
    queue_id = word(body.get("zaapId"))
    key_id = word(body.get("messageId")) or queue_id
    if not key_id:
        return _ignored(event, instance, "unreadable_data")
    error = word(body.get("error"))
    status = DeliveryStatus.FAILED if error else DeliveryStatus.SENT
    pessoa, lid = _person(body)
    return ParsedEvent(
        event=event,
        kind=InboxKind.RECIBO,
        instance=instance,
        key_ids=(key_id,),
        pessoa=pessoa,
        lid=lid,
        remote_jid=word(body.get("phone")),
        from_me=True,
        status=None if _UNKNOWN_OUTCOME in error.lower() else status,
        raw_status="ERROR" if error else "DELIVERED_TO_WHATSAPP",
        error=error,
        queue_id=queue_id,
        at=instant_of(body.get("momment")),
    )


def _status(event: str, instance: str, body: dict[str, Any]) -> ParsedEvent:
    raw = word(body.get("status")).upper()
    ids = body.get("ids")
    key_ids = (
        tuple(dict.fromkeys(each for each in ids if isinstance(each, str) and each)) if isinstance(ids, list) else ()
    )
    if not key_ids:
        return _ignored(event, instance, "unreadable_data", raw_status=raw)
    if raw not in _STATUSES:
        return _ignored(event, instance, "status_without_meaning", key_ids=key_ids, raw_status=raw)
    pessoa, lid = _person(body)
    return ParsedEvent(
        event=event,
        kind=InboxKind.RECIBO,
        instance=instance,
        key_ids=key_ids,
        pessoa=pessoa,
        lid=lid,
        remote_jid=word(body.get("phone")),
        from_me=True,
        status=_STATUSES[raw],
        raw_status=raw,
        at=instant_of(body.get("momment")),
    )
