"""Webhook bodies as the providers write them (contracts §1.8 and §2). All numbers and ids are invented."""

from typing import Any

PERSON = "5511900001234"
JID = f"{PERSON}@s.whatsapp.net"
LID = "111222333444@lid"


def upsert(key: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """`messages.upsert` as contracts §1.8 shows it."""
    return {
        "event": "messages.upsert",
        "instance": "chip-01",
        "data": {
            "key": {"remoteJid": JID, "fromMe": False, "id": "3A01", **(key or {})},
            "pushName": "Maria",
            "message": {"conversation": "pode ser amanhã?"},
            "contextInfo": {},
            "messageType": "conversation",
            "messageTimestamp": 1772542800,
            **data,
        },
        "destination": "https://julia.example/webhooks/evolution/chip-01/s/a-secret",
        "date_time": "2026-03-03T10:00:00.000Z",
        "apikey": "INSTANCE-TOKEN",
    }


def update(status: str, key_id: str = "3EB01", **data: Any) -> dict[str, Any]:
    body = {"keyId": key_id, "remoteJid": JID, "fromMe": True, "status": status, **data}
    return {"event": "messages.update", "instance": "chip-01", "data": body}


def state(value: str, reason: int = 200, at: str = "10:00:00") -> dict[str, Any]:
    data = {"instance": "chip-01", "state": value, "statusReason": reason}
    return {"event": "connection.update", "instance": "chip-01", "data": data, "date_time": f"2026-03-03T{at}.000Z"}


def received(**body: Any) -> dict[str, Any]:
    """Z-API's ReceivedCallback (contracts §2)."""
    return {
        "type": "ReceivedCallback",
        "instanceId": "ZAPI-1",
        "messageId": "3A02",
        "phone": PERSON,
        "fromMe": False,
        "fromApi": False,
        "momment": 1772542800000,
        "status": "RECEIVED",
        "senderName": "Maria",
        "isGroup": False,
        "waitingMessage": False,
        "text": {"message": "pode ser amanhã?"},
        **body,
    }


def zapi_status(status: str, ids: Any, **body: Any) -> dict[str, Any]:
    base = {"type": "MessageStatusCallback", "instanceId": "ZAPI-1", "phone": PERSON, "momment": 1772542800000}
    return {**base, "status": status, "ids": ids, **body}


def zapi_delivery(**body: Any) -> dict[str, Any]:
    base = {"type": "DeliveryCallback", "phone": PERSON, "messageId": "3EB02", "zaapId": "Z9", "instanceId": "ZAPI-1"}
    return {**base, "momment": 1772542800000, **body}
