"""Evolution's searches (contracts §1.7): queries that avoid its traps, and reading what they answer. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chips.providers import classification as say
from chips.providers.evidence import Ack, FoundMessage, furthest
from core.clientes.phones import legal_jids

PAGE_SIZE = 50
MAX_PAGES = 20  # per jid: a thousand messages to one person within one window is no conversation of ours
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Page:
    """`total` over all pages. `strange`: rows that are unreadable or that the filter should have kept out."""

    total: int
    found: tuple[FoundMessage, ...]
    rows: int
    strange: bool


def search_jids(number: str, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Every address under which a message to this canonical number may be stored.

    Both Brazilian spellings, and what the caller knows of the person beside them: LIDs, jids of earlier messages.
    """
    return tuple(dict.fromkeys((*legal_jids(number), *(jid for jid in known if jid))))


def check_query(jids: Collection[str], since: datetime, until: datetime) -> None:
    """Raises ValueError for a query that the server would answer with a misleading nothing."""
    if not jids or not all(jid.partition("@")[0] and jid.partition("@")[2] for jid in jids):
        raise ValueError("a search needs whole jids, with their suffix")
    if since.tzinfo is None or until.tzinfo is None or since > until:
        raise ValueError("a search needs a window of two aware instants")


def page_query(jid: str, since: datetime, until: datetime, page: int) -> dict[str, Any]:
    """Both bounds as ISO text (one alone is ignored, numbers match nothing); `offset` is the size of a page."""
    return {
        "where": {
            "key": {"remoteJid": jid, "fromMe": True},
            "messageTimestamp": {"gte": _iso(since), "lte": _iso(until)},
        },
        "offset": PAGE_SIZE,
        "page": page,
    }


def read_page(body: bytes, jid: str, since: datetime, until: datetime) -> Page | None:
    """One page; None when the answer is not shaped like one."""
    answer = say.parsed(body)
    messages = answer.get("messages") if isinstance(answer, dict) else None
    if not isinstance(messages, dict):
        return None
    total, records = messages.get("total"), messages.get("records")
    if not isinstance(total, int) or isinstance(total, bool) or not isinstance(records, list):
        return None
    read = [_found(record) for record in records]
    wanted = tuple(each for each in read if each and each.jid == jid and since - _SECOND <= each.at <= until)
    return Page(total, wanted, len(records), strange=len(wanted) != len(records))


def status_query(key_id: str, jid: str) -> dict[str, Any]:
    return {"where": {"id": key_id, **({"remoteJid": jid} if jid else {})}}


def read_statuses(body: bytes, key_id: str) -> tuple[bool, Ack | None]:
    """Whether the answer is a list of steps at all, and how far those of this key got."""
    rows = say.parsed(body)
    if not isinstance(rows, list):
        return False, None
    ours = [row for row in rows if isinstance(row, dict) and row.get("keyId") == key_id]
    return True, furthest(_words(ours))


def _found(record: Any) -> FoundMessage | None:
    """A message of ours, or None for a row that is somebody else's, has no key or no time stamp."""
    if not isinstance(record, dict) or not isinstance(key := record.get("key"), dict):
        return None
    key_id, jid, at = key.get("id"), key.get("remoteJid"), _instant(record.get("messageTimestamp"))
    if not (isinstance(key_id, str) and key_id and isinstance(jid, str) and at) or key.get("fromMe") is not True:
        return None
    return FoundMessage(key_id, jid, _text(record.get("message")), at, furthest(_words(record.get("MessageUpdate"))))


def _text(message: Any) -> str:
    """The server keeps plain texts as `conversation`; a text with a preview stays as its library made it."""
    if not isinstance(message, dict):
        return ""
    extended = message.get("extendedTextMessage")
    candidates = (message.get("conversation"), extended.get("text") if isinstance(extended, dict) else None)
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _words(rows: Any) -> list[str]:
    listed = rows if isinstance(rows, list) else []
    return [row["status"] for row in listed if isinstance(row, dict) and isinstance(row.get("status"), str)]


def _instant(value: Any) -> datetime | None:
    """Seconds, as a number or as the two halves in which the socket library writes 64 bits."""
    seconds = value.get("low") if isinstance(value, dict) else value
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 32_503_680_000:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
