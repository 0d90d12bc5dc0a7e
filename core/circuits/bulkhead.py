"""The bulkhead: a provider that answers slowly holds one sender, and gets its share back answer by answer. Pure.

Timeouts never open a circuit (S-36 T02.3), so a provider that accepts connections and never answers is met here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

SLOW_S = 10.0
WINDOW = 20
WITHIN = timedelta(minutes=2)
RECENT = timedelta(seconds=30)
FEWEST_SLOW = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """One call: `seconds` it took, or has been in flight for. `answered`: the provider itself replied."""

    started_at: datetime
    seconds: float
    answered: bool = False

    @property
    def slow(self) -> bool:
        return self.seconds >= SLOW_S

    @property
    def decided_at(self) -> datetime:
        """When it was known whether it is slow: at its end, or after `SLOW_S` in flight."""
        return self.started_at + timedelta(seconds=min(self.seconds, SLOW_S))

    @property
    def healthy(self) -> bool:
        return self.answered and not self.slow


@dataclass(frozen=True, slots=True)
class Share:
    """How many senders a provider may hold; `senders` None: as many as there are.

    Calls that began up to `since` count no more: neither for growing again nor for shrinking again.
    """

    senders: int | None = None
    slow_since: datetime | None = None
    since: datetime | None = None


def step(share: Share, calls: Sequence[Seen], *, full: int, now: datetime) -> Share:
    """The share after a look at a provider's last 20 decided calls of the last 2 minutes.

    At least half of them slow, and at least two: one sender. The same for those decided in the last 30 s alone: a
    provider with few chips makes 20 calls in many minutes, and its good past must not hide that it hangs now. Each
    healthy answer doubles; at `full` the limit is gone. One sender cannot shrink: there, only healthy answers count.
    """
    fresh = [call for call in calls if share.since is None or call.started_at > share.since]
    recent = [call for call in fresh if now - call.decided_at <= RECENT]
    if share.senders != 1 and (_mostly_slow(fresh) or _mostly_slow(recent)):
        return Share(senders=1, slow_since=share.slow_since or now, since=now)
    if share.senders is None:
        return share
    healthy = [call.started_at for call in fresh if call.healthy]
    grown = share.senders * 2 ** len(healthy)
    if healthy:
        share = replace(share, senders=grown, since=max(healthy))
    return replace(share, senders=None, slow_since=None) if grown >= max(full, 2) else share


def _mostly_slow(calls: Sequence[Seen]) -> bool:
    slow = sum(call.slow for call in calls)
    return slow >= FEWEST_SLOW and 2 * slow >= len(calls)
