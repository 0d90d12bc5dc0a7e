"""The inbox takes an event once: a unique key decides, whatever the provider repeats."""

import hashlib
import json
import re
from typing import Any

from chips.choices import InboxKind, InboxStatus
from chips.webhooks.parsed import ParsedEvent
from core import correlation
from core.database import execute
from core.integrations.redaction import scrub_payload

_KEY_LENGTH = 200
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's jsonb holds neither NUL nor half a surrogate pair
_PAIRING = frozenset({"qrcode.updated"})  # whoever holds the code may link a device: it is not kept

_INSERT = """
INSERT INTO webhook_eventos (provider, instance, evento, kind, chave, key_id, pessoa, payload, status, motivo,
                             correlation_id, processado_em)
SELECT %(provider)s, %(instance)s, %(evento)s, %(kind)s, k.chave, k.key_id,
       coalesce(nullif(%(pessoa)s, ''), (
           SELECT c.telefone FROM clientes_jids j JOIN clientes c ON c.id = j.cliente_id WHERE j.jid = %(lid)s), ''),
       %(payload)s, %(status)s, %(motivo)s, %(correlation_id)s,
       CASE WHEN %(status)s = 'ignorado' THEN agora() END
FROM unnest(%(chaves)s::text[], %(key_ids)s::text[]) AS k (chave, key_id)
ON CONFLICT (chave) DO NOTHING
"""


def store(parsed: ParsedEvent, raw: dict[str, Any], *, provider: str, instance: str) -> int:
    """One row per message id of the event; returns how many were new, 0 for a repetition.

    `instance` is the chip's own name. The payload is kept without tokens and without our webhook address. A LID that
    is known already names its person. Raises django.db.Error.
    """
    payload = storable(scrub_payload(raw))
    if parsed.event in _PAIRING:
        payload.pop("data", None)
    ids = parsed.key_ids if parsed.kind in (InboxKind.ENTRADA, InboxKind.ECO, InboxKind.RECIBO) else parsed.key_ids[:1]
    key_ids = [storable(key_id) for key_id in ids] or [synthetic_id(parsed, payload)]
    ignored = parsed.kind == InboxKind.OUTRO
    return execute(
        _INSERT,
        {
            "provider": provider,
            "instance": instance,
            "evento": storable(parsed.event)[:64],
            "kind": parsed.kind.value,
            "pessoa": parsed.pessoa,
            "lid": parsed.lid[:80],
            "payload": json.dumps(payload),
            "status": (InboxStatus.IGNORADO if ignored else InboxStatus.PENDENTE).value,
            "motivo": parsed.ignored_because,
            "correlation_id": correlation.get(),
            "chaves": [dedupe_key(parsed, provider, instance, key_id, payload) for key_id in key_ids],
            "key_ids": [key_id[:100] for key_id in key_ids],
        },
    )


def dedupe_key(parsed: ParsedEvent, provider: str, instance: str, key_id: str, payload: dict[str, Any]) -> str:
    """Inbound: (provider, instance, message id). Receipts add event and status; what has no id, the whole body."""
    parts = [provider, instance]
    if parsed.kind == InboxKind.ENTRADA:
        parts += ["entrada", key_id] + ([_digest(payload)] if parsed.is_edit else [])
    elif parsed.kind == InboxKind.ECO:
        parts += [parsed.event, key_id]
    elif parsed.kind == InboxKind.RECIBO:
        parts += [parsed.event, key_id, parsed.raw_status]
    else:
        parts += [parsed.event, _digest(payload)]
    readable = "|".join(parts)
    return readable if len(readable) <= _KEY_LENGTH else f"sha256:{hashlib.sha256(readable.encode()).hexdigest()}"


def synthetic_id(parsed: ParsedEvent, payload: dict[str, Any]) -> str:
    """For a message without an id: sha256 of phone, time and text (domain reference §5.2); empty for other kinds."""
    if parsed.kind not in (InboxKind.ENTRADA, InboxKind.ECO):
        return ""
    when = payload.get("momment") or (parsed.at.isoformat() if parsed.at else "")
    said = f"{parsed.pessoa or parsed.lid}|{when}|{parsed.text}"
    return hashlib.sha256(storable(said).encode()).hexdigest()


def storable(value: Any) -> Any:
    """A copy that PostgreSQL can keep: no NUL, no half surrogate pair, in keys and values."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


def _digest(payload: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
