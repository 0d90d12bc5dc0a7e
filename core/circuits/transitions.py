"""What the result of a call, or a person, does to a circuit. Pure: the row comes in as facts, time as an argument.

`closed` lets everything through, `open` nothing until `retry_at`, `half_open` one probe under a leased permit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from core.circuits.config import Config
from core.circuits.models import CircuitState, Forced

PERMIT = timedelta(seconds=120)
SUCCESS_EVERY = timedelta(seconds=10)
MOST_SCOPES = 10
MOST_STEPS = 1000


class Gate(StrEnum):
    """What a circuit says to the next call. PROBE: only to whoever wins the permit."""

    PASS = "pass"  # noqa: S105
    PROBE = "probe"
    CLOSED = "closed"


class CallResult(StrEnum):
    """What a call says about a circuit. TIMEOUT never opens a closed one (S-36 T02.3); TRIP opens it at once."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    TRIP = "trip"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that ended. `scope` names who made it (a provider's chip), `kind` what went wrong.

    `probe`: it was made under the permit; with its `token` a late result cannot be mistaken for that of the present
    holder. `only_scope`: the provider has one chip, whose failures are enough to open it. `correlation_id` and `cause`
    (`mensagem:<id>`) name the work that made it: a transition keeps them.
    """

    name: str
    result: CallResult
    scope: str = ""
    kind: str = ""
    started_at: datetime = field(kw_only=True)
    probe: bool = False
    only_scope: bool = False
    token: int | None = None
    correlation_id: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class CircuitFacts:
    """A row of `circuits`, without the bulkhead's columns. The defaults are those of a circuit without a row.

    `opened_at` is the beginning of the newest outage and stays after it: calls that left before change nothing.
    """

    name: str
    state: CircuitState = CircuitState.CLOSED
    forced: Forced = Forced.NO
    failures: int = 0
    failing_scopes: tuple[str, ...] = ()
    step: int = 0
    generation: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    permit_token: int | None = None
    permit_until: datetime | None = None
    permit_owner: str = ""
    last_failure_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error_kind: str = ""
    version: int = 0

    @property
    def is_plain(self) -> bool:
        """Closed, automatic and without a failure to forget."""
        return self.state is CircuitState.CLOSED and self.forced is Forced.NO and not self.failures

    @property
    def effective(self) -> CircuitState:
        """What calls meet: a person's decision outranks the circuit's own."""
        if self.forced is Forced.NO:
            return self.state
        return CircuitState.OPEN if self.forced is Forced.OPEN else CircuitState.CLOSED


@dataclass(frozen=True, slots=True)
class Transition:
    name: str
    from_state: CircuitState
    to_state: CircuitState
    reason: str
    failures: int
    step: int
    at: datetime
    correlation_id: str = ""
    cause: str = ""


Stepped = tuple[CircuitFacts, Transition | None]


def gate(facts: CircuitFacts, now: datetime) -> Gate:
    match facts.effective:
        case CircuitState.CLOSED:
            return Gate.PASS
        case CircuitState.OPEN:
            due = facts.forced is Forced.NO and facts.retry_at is not None and facts.retry_at <= now
            return Gate.PROBE if due else Gate.CLOSED
    free = facts.permit_token is None or facts.permit_until is None or facts.permit_until <= now
    return Gate.PROBE if free else Gate.CLOSED


def acquire(facts: CircuitFacts, now: datetime, *, owner: str, permit: timedelta = PERMIT) -> Stepped | None:
    """The permit goes to `owner`; None when the gate is no PROBE. `store.ACQUIRE` is the same rule as one statement."""
    if gate(facts, now) is not Gate.PROBE:
        return None
    taken = replace(
        facts,
        state=CircuitState.HALF_OPEN,
        permit_token=facts.version + 1,
        permit_until=now + permit,
        permit_owner=owner,
        version=facts.version + 1,
    )
    if facts.state is CircuitState.HALF_OPEN:
        return taken, None
    return taken, _transition(facts, taken, f"timeout_reset_{_reset_s(facts)}s", now)


def give_back(facts: CircuitFacts, token: int, now: datetime) -> CircuitFacts:
    """The permit is free for the next caller at once, unless somebody else holds it by now."""
    return _permit_free(facts, now) if facts.permit_token == token else facts


def after(facts: CircuitFacts, call: Call, config: Config, now: datetime) -> Stepped:
    """The circuit after one result. Unchanged facts mean that there is nothing to write."""
    if call.probe and facts.state is not CircuitState.CLOSED:
        return _after_probe(facts, call, config, now)
    left_before = facts.opened_at is not None and call.started_at < facts.opened_at
    if facts.state is not CircuitState.CLOSED or facts.forced is not Forced.NO or left_before:
        return facts, None
    match call.result:
        case CallResult.SUCCESS:
            return _after_success(facts, config, now), None
        case CallResult.FAILURE:
            return _after_failure(facts, call, config, now)
        case CallResult.TRIP:
            return _opened(_counted(facts, call, now), config, "restricao_classificada", now)
    return facts, None


def fold(
    facts: CircuitFacts, calls: Iterable[Call], config: Config, now: datetime
) -> tuple[CircuitFacts, list[Transition]]:
    """The circuit after several results, in the order in which they ended."""
    found = []
    for call in calls:
        facts, transition = after(facts, call, config, now)
        if transition is not None:
            found.append(replace(transition, correlation_id=call.correlation_id, cause=call.cause))
    return facts, found


def forced_open(facts: CircuitFacts, now: datetime) -> Stepped:
    """No call passes until a person says so. Unchanged when it is so already, like the three below."""
    return _by_hand(facts, replace(facts, forced=Forced.OPEN), "aberto_manual", now)


def disabled(facts: CircuitFacts, now: datetime) -> Stepped:
    """Every call passes, and none is counted."""
    return _by_hand(facts, replace(facts, forced=Forced.DISABLED), "desligado_manual", now)


def enabled(facts: CircuitFacts, now: datetime) -> Stepped:
    """The circuit decides again, from the state that it had and without old failures."""
    return _by_hand(facts, replace(_without_failures(facts), forced=Forced.NO), "automatico_manual", now)


def reset(facts: CircuitFacts, now: datetime) -> Stepped:
    """Closed and automatic, everything at zero."""
    return _by_hand(facts, replace(_closed(facts), forced=Forced.NO), "reset_manual", now)


def _by_hand(facts: CircuitFacts, changed: CircuitFacts, reason: str, now: datetime) -> Stepped:
    return (facts, None) if changed == facts else (changed, _transition(facts, changed, reason, now))


def _after_success(facts: CircuitFacts, config: Config, now: datetime) -> CircuitFacts:
    noted = facts.last_success_at is not None and now - facts.last_success_at < SUCCESS_EVERY
    if facts.failures == 0 and (noted or not config.notes_success):
        return facts
    return replace(_without_failures(facts), last_success_at=now)


def _after_failure(facts: CircuitFacts, call: Call, config: Config, now: datetime) -> Stepped:
    counted = _counted(facts, call, now)
    needed = 1 if call.only_scope else config.scopes
    if counted.failures < config.failures or len(counted.failing_scopes) < needed:
        return counted, None
    return _opened(counted, config, f"muitas_falhas_{counted.failures}", now)


def _counted(facts: CircuitFacts, call: Call, now: datetime) -> CircuitFacts:
    scopes = facts.failing_scopes
    if call.scope not in scopes and len(scopes) < MOST_SCOPES:
        scopes = (*scopes, call.scope)
    return replace(
        facts,
        failures=facts.failures + 1,
        failing_scopes=scopes,
        last_failure_at=now,
        last_error_kind=call.kind[:24],
    )


def _after_probe(facts: CircuitFacts, call: Call, config: Config, now: datetime) -> Stepped:
    """Success closes, whoever brings it; anything else is only believed from the holder of the permit."""
    if call.result is CallResult.SUCCESS:
        healthy = replace(_closed(facts), last_success_at=now)
        return healthy, _transition(facts, healthy, "recuperado", now)
    holds = facts.state is CircuitState.HALF_OPEN and call.token in (None, facts.permit_token)
    if not holds:
        return facts, None
    if call.result is CallResult.NEUTRAL:
        return _permit_free(facts, now), None
    timed_out = call.result is CallResult.TIMEOUT
    failed = replace(facts, last_failure_at=now, last_error_kind=call.kind[:24])
    step = min(facts.step + 1, MOST_STEPS)
    reason = f"{'timeout' if timed_out else 'falha'}_half_open_tentativa_{step}"
    again = _open_until(replace(failed, step=step, failures=facts.failures + (0 if timed_out else 1)), config, now)
    return again, _transition(facts, again, reason, now)


def _opened(facts: CircuitFacts, config: Config, reason: str, now: datetime) -> Stepped:
    opened = _open_until(replace(facts, opened_at=now), config, now)
    return opened, _transition(facts, opened, reason, now)


def _open_until(facts: CircuitFacts, config: Config, now: datetime) -> CircuitFacts:
    return replace(
        _without_permit(facts),
        state=CircuitState.OPEN,
        generation=facts.generation + 1,
        retry_at=now + config.reset_after(facts.step),
    )


def _closed(facts: CircuitFacts) -> CircuitFacts:
    bare = _without_permit(_without_failures(facts))
    return replace(bare, state=CircuitState.CLOSED, step=0, retry_at=None)


def _without_failures(facts: CircuitFacts) -> CircuitFacts:
    return replace(facts, failures=0, failing_scopes=())


def _without_permit(facts: CircuitFacts) -> CircuitFacts:
    return replace(facts, permit_token=None, permit_until=None, permit_owner="")


def _permit_free(facts: CircuitFacts, now: datetime) -> CircuitFacts:
    """Half open, with nobody probing: the row keeps an instant, which is over."""
    return replace(_without_permit(facts), permit_until=now)


def _reset_s(facts: CircuitFacts) -> int:
    """How long an open circuit had to wait: it opened with its newest failure."""
    if facts.retry_at is None or facts.last_failure_at is None:
        return 0
    return round((facts.retry_at - facts.last_failure_at).total_seconds())


def _transition(before: CircuitFacts, now_is: CircuitFacts, reason: str, at: datetime) -> Transition:
    failures = max(before.failures, now_is.failures)
    return Transition(
        before.name, before.effective, now_is.effective, reason, failures, max(before.step, now_is.step), at
    )
