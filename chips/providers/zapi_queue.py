"""Z-API's own queue (contracts §2): what its pages say. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chips.providers import classification as say
from chips.providers.evidence import Queued

PAGE_SIZE = 30
MAX_PAGES = 50  # the vendor queues at most 1000 messages
_MILLISECONDS_FROM = 10**11  # the vendor mixes seconds and milliseconds (contracts §2)
_LATEST = 32_503_680_000  # year 3000


@dataclass(frozen=True, slots=True)
class Page:
    """`state` asks for the page after this one; None after the last."""

    queued: tuple[Queued, ...]
    state: Any


def page_query(state: Any) -> dict[str, Any]:
    return {"pageSize": PAGE_SIZE, **({} if state is None else {"pagingState": state})}


def read_page(body: bytes) -> Page | None:
    """One page; None when it, or one of its entries, cannot be read: what cannot be named cannot be removed."""
    answer = say.parsed(body)
    if not isinstance(answer, dict) or not isinstance(messages := answer.get("messages"), list):
        return None
    more, state = answer.get("hasMore"), answer.get("pagingState")
    entries = [queued for entry in messages if (queued := _queued(entry))]
    if not isinstance(more, bool) or (more and state in (None, "")) or len(entries) != len(messages):
        return None
    return Page(tuple(entries), state if more else None)


def _queued(entry: Any) -> Queued | None:
    if not isinstance(entry, dict) or not (zaap_id := _word(entry.get("ZaapId"))):
        return None
    return Queued(
        zaap_id=zaap_id,
        message_id=_word(entry.get("MessageId")),
        phone=_word(entry.get("Phone")),
        text=_word(entry.get("Message")),
        created_at=_instant(entry.get("Created")),
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return None
    seconds = value if value < _MILLISECONDS_FROM else value / 1000
    return datetime.fromtimestamp(seconds, UTC) if seconds < _LATEST else None
