"""What one webhook body says, in one shape for both providers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from chips.choices import DeliveryStatus, InboxKind

_MILLISECONDS_FROM = 10**11  # below it a time stamp is in seconds (contracts §2)
_LATEST = 32_503_680_000  # year 3000


class InvalidPayload(ValueError):
    """The body is no event of this provider."""


class MessageType(StrEnum):
    TEXTO = "texto"
    AUDIO = "audio"
    IMAGEM = "imagem"
    DOCUMENTO = "documento"
    VIDEO = "video"
    STICKER = "sticker"
    REACAO = "reacao"
    CONTATO = "contato"
    LOCALIZACAO = "localizacao"
    OUTRO = "outro"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedEvent:
    """`event` is the provider's own name for it, `instance` its own name for the chip.

    `pessoa` is the canonical number, empty where the event names only a LID. `from_api` tells our own API call from a
    person typing on the phone. `status` is None for a receipt that proves nothing (`error` may say why). `at` is the
    provider's clock, which may be wrong by hours. `ignored_because` is set for kind `outro` only.
    """

    event: str
    kind: InboxKind
    instance: str = ""
    key_ids: tuple[str, ...] = ()
    pessoa: str = ""
    lid: str = ""
    remote_jid: str = ""
    from_me: bool = False
    from_api: bool = False
    is_group: bool = False
    is_edit: bool = False
    message_type: MessageType = MessageType.OUTRO
    text: str = ""
    media_url: str = ""
    quoted_id: str = ""
    push_name: str = ""
    status: DeliveryStatus | None = None
    raw_status: str = ""
    error: str = ""
    queue_id: str = ""
    at: datetime | None = None
    connection_state: str = ""
    status_reason: int | None = None
    ignored_because: str = ""


def instant_of(value: Any) -> datetime | None:
    """A provider's time stamp in seconds or milliseconds, as number or digits; None for anything else."""
    if isinstance(value, dict):
        value = value.get("low")  # a 64-bit number as the socket library writes it
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:16])
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    seconds = value if value < _MILLISECONDS_FROM else value / 1000
    return datetime.fromtimestamp(seconds, UTC) if seconds < _LATEST else None


def word(value: Any) -> str:
    """A string as it is, everything else as nothing."""
    return value if isinstance(value, str) else ""


def table(value: Any) -> dict[str, Any]:
    """An object as it is, everything else (`data: null`) as an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
