"""The wire truth: what really left, to whom, and which calls are open. Drills judge by this and nothing else."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from chips.simulator import clock


@dataclass(slots=True)
class WireRecord:
    """One message that left.

    `recipient` is the person reached (canonical digits, or the group's jid); `jid` the spelling used. `delivered`
    is False only where WhatsApp itself turned it down afterwards (restricted account). `status` is the last
    acknowledgement WhatsApp gave, whether or not anybody was told. `at` is unix time on the simulator's clock.
    """

    seq: int
    chip: str
    provider: str
    recipient: str
    text: str
    key_id: str
    at: float
    delivered: bool
    jid: str
    status: str = "PENDING"


@dataclass(slots=True)
class Call:
    """One send request as received. `wire_seq` is the record it produced; for Z-API the message may leave later.

    `correlation_id` is what the caller's header said.
    """

    seq: int
    chip: str
    provider: str
    at: float
    recipient: str = ""
    text: str = ""
    fault: str = ""
    result: str = ""
    ended_at: float | None = None
    wire_seq: int | None = None
    correlation_id: str = ""


@dataclass(slots=True)
class ChipTotals:
    """`calls` and `open` count send requests, `other_calls` everything else the chip was asked."""

    sent: int = 0
    delivered: int = 0
    calls: int = 0
    other_calls: int = 0
    open: int = 0
    max_open: int = 0


@dataclass(slots=True)
class Duplicate:
    """The same text delivered more than once to one person."""

    recipient: str
    text: str
    seqs: list[int]


@dataclass(slots=True)
class WireTruth:
    """With `keep_calls` off only counters are kept for calls (long benchmarks). `ever_sent` is never cleared."""

    keep_calls: bool = True
    records: list[WireRecord] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    totals: defaultdict[str, ChipTotals] = field(default_factory=lambda: defaultdict(ChipTotals))
    open_calls: dict[int, Call] = field(default_factory=dict)
    ever_sent: Counter[str] = field(default_factory=Counter)
    max_open: int = 0
    _next_call: int = 0
    _next_record: int = 0

    def open_call(self, chip: str, provider: str) -> Call:
        self._next_call += 1
        call = Call(self._next_call, chip, provider, clock.now())
        if self.keep_calls:
            self.calls.append(call)
        self.open_calls[call.seq] = call
        self.max_open = max(self.max_open, len(self.open_calls))
        totals = self.totals[chip]
        totals.calls += 1
        totals.open += 1
        totals.max_open = max(totals.max_open, totals.open)
        return call

    def close_call(self, call: Call) -> None:
        call.ended_at = clock.now()
        if self.open_calls.pop(call.seq, None) is not None:
            self.totals[call.chip].open -= 1

    def left(
        self, *, chip: str, provider: str, recipient: str, jid: str, text: str, key_id: str, delivered: bool
    ) -> WireRecord:
        self._next_record += 1
        record = WireRecord(self._next_record, chip, provider, recipient, text, key_id, clock.now(), delivered, jid)
        self.records.append(record)
        totals = self.totals[chip]
        totals.sent += 1
        totals.delivered += delivered
        self.ever_sent[chip] += 1
        return record

    def duplicates(self) -> list[Duplicate]:
        seqs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for record in self.records:
            if record.delivered:
                seqs[record.recipient, record.text].append(record.seq)
        return [Duplicate(recipient, text, found) for (recipient, text), found in seqs.items() if len(found) > 1]

    def clear(self) -> None:
        """Forget records and counters; calls still open stay counted as open."""
        self.records.clear()
        self.calls.clear()
        self.totals.clear()
        for call in self.open_calls.values():
            self.totals[call.chip].open += 1
        self.max_open = len(self.open_calls)
