"""Evolution's webhooks as contracts §1.8 shows them, posted to the real view and taken from the inbox."""

import itertools
from typing import Any

from django.test import Client

from chips.models import Chip
from chips.webhooks.inbox import process_inbox
from chips.webhooks.models import EventoRecebido
from core.clock import Agora, database_now

_keys = itertools.count(1)
_client = Client()


def upsert(telefone: str, text: str = "oi", *, key: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """`messages.upsert` of a private chat, without its instance."""
    return {
        "event": "messages.upsert",
        "data": {
            "key": {
                "remoteJid": f"{telefone}@s.whatsapp.net",
                "fromMe": False,
                "id": f"3A{next(_keys):06d}",
                **(key or {}),
            },
            "pushName": "Maria Inventada",
            "message": {"conversation": text},
            "contextInfo": {},
            "messageType": "conversation",
            "messageTimestamp": 1772542800,
            **data,
        },
    }


def receipt(status: str, key_id: str, **data: Any) -> dict[str, Any]:
    """`messages.update`, without its instance."""
    body = {"keyId": key_id, "remoteJid": "5511900000001@s.whatsapp.net", "fromMe": True, "status": status, **data}
    return {"event": "messages.update", "data": body}


def deliver(chip: Chip, body: dict[str, Any]) -> str:
    """Post an event as the chip's instance does; what was answered, `received` or the reason to ignore it."""
    response = _client.post(
        f"/webhooks/evolution/{chip.instance_name}",
        data={"instance": chip.instance_name, **body},
        content_type="application/json",
        headers={"X-Instance-Secret": chip.webhook_secret},
    )
    assert response.status_code == 200, response.content
    answer = response.json()
    return str(answer.get("reason") or answer["status"])


def receive(chip: Chip, body: dict[str, Any]) -> EventoRecebido:
    """Deliver an event and look at the inbox; the event as it is afterwards."""
    assert deliver(chip, body) == "received"
    process()
    return EventoRecebido.objects.latest("id")


def process() -> int:
    """One look at the inbox, as the worker takes it."""
    return process_inbox(limit=200, now=database_now())


def process_waiting() -> int:
    """One look when the pause of every waiting event is over."""
    EventoRecebido.objects.filter(status="aguardando").update(proxima_em=Agora())
    return process()
