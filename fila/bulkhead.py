"""The share of a slow provider, held to over all processes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from chips.selection import ChipFacts
from core.database import rows

TRIAL = timedelta(seconds=30)  # a call that hangs longer counts no more: the next may try whether it is better by now
_SHARES = 7_406_100  # advisory locks, one per provider: of those who begin calls there, one at a time counts


def holding(chips: Sequence[ChipFacts], provider: str, now: datetime) -> int:
    """How many senders a provider's calls hold at this moment, whoever made them."""
    return sum(
        chip.provider == provider and chip.em_voo_desde is not None and now - chip.em_voo_desde < TRIAL
        for chip in chips
    )


def places(shares: Mapping[str, int], chips: Sequence[ChipFacts], now: datetime) -> dict[str, int]:
    """How many calls each slow provider may begin in this transaction.

    `chips` were read after the caller's locks. None while another transaction is about to begin some: it is not seen
    yet, and the caller's messages come back in a moment.
    """
    found = {}
    for provider, share in sorted(shares.items()):
        ours = rows("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s)) AS ours", [_SHARES, provider])[0]["ours"]
        found[provider] = max(0, share - holding(chips, provider, now)) if ours else 0
    return found
