"""Consulting, reporting to and operating circuits. What a result means is decided in `transitions`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from django.db import connection, transaction

from core import correlation
from core.audit import services as audit
from core.circuits import store, transitions
from core.circuits.config import config_of, default_of
from core.circuits.models import CircuitState, Forced
from core.circuits.names import SUPABASE, check
from core.circuits.transitions import PERMIT, Call, CallResult, CircuitFacts, Gate, Stepped, Transition
from core.logging import get_logger

__all__ = [
    "Call",
    "CallResult",
    "CircuitRefused",
    "Gate",
    "Snapshot",
    "Transition",
    "acquire",
    "confirm",
    "disable",
    "enable",
    "force_open",
    "give_back",
    "record",
    "reset",
    "snapshot",
]

NO_CAUSES: Mapping[str, tuple[str, str]] = MappingProxyType({})

log = get_logger("circuitos")


class CircuitRefused(Exception):
    """This circuit is not a person's to operate; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every circuit that is not plainly closed, as one statement found it at `now` (database time)."""

    now: datetime
    circuits: Mapping[str, CircuitFacts]
    shares: Mapping[str, int]

    def gate(self, name: str) -> Gate:
        facts = self.circuits.get(name)
        return Gate.PASS if facts is None else transitions.gate(facts, self.now)

    def share(self, name: str) -> int | None:
        """How many senders a slow provider may hold; None without a limit."""
        return self.shares.get(name)

    def retry_at(self, name: str) -> datetime | None:
        """When a closed gate is worth another look; None when it is not closed, or only a person opens it."""
        facts = self.circuits.get(name)
        if facts is None or facts.forced is not Forced.NO or self.gate(name) is not Gate.CLOSED:
            return None
        return facts.retry_at if facts.state is CircuitState.OPEN else facts.permit_until


def snapshot() -> Snapshot:
    """One query, whatever the number of chips and messages."""
    return Snapshot(*store.not_plain())


def acquire(
    names: Collection[str],
    *,
    owner: str,
    permit: timedelta = PERMIT,
    causes: Mapping[str, tuple[str, str]] = NO_CAUSES,
) -> dict[str, int]:
    """Take the probe permits of those circuits whose gate says PROBE: name → token for each one won.

    One compare-and-set statement in the caller's transaction; rows that somebody else holds at this moment are not
    waited for. A permit that is neither used (a `Call` with `probe`) nor given back expires after `permit`. `causes`:
    for whose sake, as (correlation id, `mensagem:<id>`) by name.
    """
    return store.acquire(names, owner=owner, permit=permit, causes=causes) if names else {}


def give_back(tokens: Mapping[str, int]) -> int:
    """Permits that are not needed after all are free at once; those that somebody else holds by now stay theirs."""
    return store.give_back(tokens) if tokens else 0


def confirm(names: Collection[str]) -> frozenset[str]:
    """Those of `names` that still let calls through, held `FOR SHARE` until the caller's transaction ends.

    An opening waits for that commit, so that no attempt begins after it. Last of all locks. Names without a row pass.
    """
    return frozenset(names) - store.refusing(names) if names else frozenset()


def record(calls: Sequence[Call]) -> list[Transition]:
    """Tell the circuits what became of calls, in the order in which they ended; returns what changed state.

    In the caller's transaction (raises TransactionManagementError outside of one), whose last locks these are. One
    query and no lock while nothing changes: successes on closed circuits, timeouts, results without a meaning. A
    success is noted on a provider's row at most every 10 s.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("circuits.record runs inside the transaction of the results")
    of: dict[str, list[Call]] = {}
    for call in calls:
        of.setdefault(call.name, []).append(call)
    if not of:
        return []
    now, known = store.read(of)
    concerned = [name for name, told in of.items() if _matters(known.get(name, CircuitFacts(name)), told, now)]
    if not concerned:
        return []
    missing = [name for name in concerned if name not in known]
    if missing:
        store.ensure(missing)
    only_noted = all(
        known.get(name, CircuitFacts(name)).is_plain and all(call.result is CallResult.SUCCESS for call in of[name])
        for name in concerned
    )
    return _step({name: of[name] for name in concerned}, waits=not only_noted)


def force_open(name: str, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> bool:
    """No call passes from now on, until a person closes it. False when it was so already.

    This and the three below raise MotivoMissing, UnknownCircuit or CircuitRefused, each with a sentence for the
    operator, and commit with their audit entry and their row in `circuit_transitions`, or not at all.
    """
    return _by_hand(name, transitions.forced_open, "circuito_aberto", actor=actor, motivo=motivo, ip=ip)


def disable(name: str, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> bool:
    """Every call passes and none is counted, until a person says otherwise."""
    return _by_hand(name, transitions.disabled, "circuito_desligado", actor=actor, motivo=motivo, ip=ip)


def enable(name: str, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> bool:
    """The circuit decides by itself again, from the state it had."""
    return _by_hand(name, transitions.enabled, "circuito_automatico", actor=actor, motivo=motivo, ip=ip)


def reset(name: str, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> bool:
    """Closed, automatic and without a memory of failures. False when it was so already."""
    return _by_hand(name, transitions.reset, "circuito_fechado", actor=actor, motivo=motivo, ip=ip)


def _matters(facts: CircuitFacts, calls: Sequence[Call], now: datetime) -> bool:
    """Whether anything would change; what exactly is decided under the lock, with the settings."""
    return transitions.fold(facts, calls, default_of(facts.name), now)[0] != facts


def _step(of: Mapping[str, Sequence[Call]], *, waits: bool) -> list[Transition]:
    locked = store.lock(of, waits=waits)
    if locked is None:
        return []
    changed: list[CircuitFacts] = []
    found: list[Transition] = []
    for name, facts in locked.facts.items():
        stepped, happened = transitions.fold(facts, of[name], config_of(name, locked.settings), locked.now)
        if stepped != facts:
            changed.append(stepped)
            found += happened
    if changed:
        store.write(changed, found)
        transaction.on_commit(lambda: _log(found))
    return found


def _by_hand(
    name: str,
    step: Callable[[CircuitFacts, datetime], Stepped],
    acao: str,
    *,
    actor: audit.Actor,
    motivo: str,
    ip: str | None,
) -> bool:
    motivo = audit.check_motivo(motivo)
    if check(name) == SUPABASE:
        raise CircuitRefused("O circuito do banco é de cada processo e se fecha sozinho quando o banco volta.")
    with transaction.atomic():
        store.ensure([name])
        locked = store.lock([name])
        if locked is None:
            return False
        before = locked.facts[name]
        after, happened = step(before, locked.now)
        if happened is None:
            return False
        happened = replace(happened, correlation_id=correlation.get())
        store.write([after], [happened])
        audit.record(
            acao,
            "circuits",
            name,
            usuario=actor,
            motivo=motivo,
            detalhes={"antes": _words(before), "depois": _words(after)},
            ip=ip,
        )
        transaction.on_commit(lambda: _log([happened]))
    return True


def _words(facts: CircuitFacts) -> dict[str, str | int]:
    return {"estado": facts.state.value, "forcado": facts.forced.value, "falhas": facts.failures}


def _log(happened: Sequence[Transition]) -> None:
    for each in happened:
        say = log.info if each.to_state is CircuitState.CLOSED else log.warning
        with correlation.use(each.correlation_id or correlation.peek()):
            say("circuito mudou", circuito=each.name, de=each.from_state, para=each.to_state, motivo=each.reason)
