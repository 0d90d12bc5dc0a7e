"""What a provider can tell about a message afterwards. It can prove that something was sent, never that it was not."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chips.providers.base import ChipAddress


class Ack(StrEnum):
    """How far one message got, in the provider's words. `ERROR` is the end unless a positive word stands beside it."""

    ERROR = "ERROR"
    PENDING = "PENDING"
    SERVER_ACK = "SERVER_ACK"
    DELIVERY_ACK = "DELIVERY_ACK"
    READ = "READ"
    PLAYED = "PLAYED"

    @property
    def positive(self) -> bool:
        """It reached the recipient's phone; `SERVER_ACK` does not prove that (decisions §14)."""
        return self in _POSITIVE


_POSITIVE = (Ack.DELIVERY_ACK, Ack.READ, Ack.PLAYED)
_STEPS = (Ack.PENDING, Ack.SERVER_ACK, *_POSITIVE)


def furthest(words: Iterable[str]) -> Ack | None:
    """The state that several steps, repeated or out of order, come to; None when none of them says anything."""
    steps = [ack for word in words if (ack := _known(word))]
    reached = max((ack for ack in steps if ack in _STEPS), key=_STEPS.index, default=None)
    failed = Ack.ERROR in steps and not (reached and reached.positive)
    return Ack.ERROR if failed else reached


def _known(word: str) -> Ack | None:
    return next((ack for ack in Ack if ack == word), None)


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message of ours that the provider has stored. `at` in whole seconds of the provider's clock.

    `jid` as stored, which may be another spelling than the recipient's. `status` None: no step was stored (the row's
    own status stays `PENDING` for ever and says nothing).
    """

    key_id: str
    jid: str
    text: str
    at: datetime
    status: Ack | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, newest first, and whether the whole answer was read.

    **Absence is no proof**, not even when `complete`: a send whose insert failed leaves no row, echo or later
    acknowledgement at all, a jid may be stored in a spelling that nobody asked for, and a request that still sleeps in
    its `delay` has no row yet (contracts §1.7). Not `complete`: pages were missing, or the server ignored a filter.
    """

    found: tuple[FoundMessage, ...]
    complete: bool

    def with_text(self, text: str) -> tuple[FoundMessage, ...]:
        """Those whose text is exactly this one: the provider ignores the text of a query."""
        return tuple(message for message in self.found if message.text == text)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits in the vendor's own queue. `created_at` None when its time stamp cannot be read."""

    zaap_id: str
    message_id: str
    phone: str
    text: str
    created_at: datetime | None


class SearchesMessages(Protocol):
    """A provider whose `search_messages` capability is true. Every call raises ProviderError."""

    async def find_messages(
        self, chip: ChipAddress, *, jids: Collection[str], since: datetime, until: datetime, correlation_id: str = ""
    ) -> SearchResult:
        """Messages of ours to any of `jids`, stored between two aware instants of the provider's clock, inclusive.

        `jids` must be whole and spelled as stored: `search_jids` gives the spellings of a number. Raises ValueError for
        what would silently match nothing: no jid, bare digits, an instant without zone, an empty window.
        """
        ...

    async def find_status(
        self, chip: ChipAddress, *, key_id: str, jid: str = "", correlation_id: str = ""
    ) -> Ack | None:
        """How far the message with this key got. None: nothing is known, which proves nothing."""
        ...


class HoldsQueue(Protocol):
    """A provider whose `cancel_queued` capability is true. Every call raises ProviderError."""

    async def list_queue(self, chip: ChipAddress, *, correlation_id: str = "") -> list[Queued]:
        """The whole queue, all pages; a list that could not be read to its end raises instead of looking whole."""
        ...

    async def remove_queued(self, chip: ChipAddress, zaap_id: str, *, correlation_id: str = "") -> bool:
        """Take one message out of the queue. False when the vendor says that it is not there.

        True alone does not prove that it was not sent: the vendor answers the same for an entry that left a moment
        before. The proof is: the chip was disconnected before the entry was listed and still is after the removal, and
        the entry is not listed any more.
        """
        ...

    async def clear_queue(self, chip: ChipAddress, *, correlation_id: str = "") -> None:
        """Empty the queue, entries that nobody of ours put there included."""
        ...
