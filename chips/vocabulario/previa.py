"""What a changed rule would have done: recorded attempts, replayed under both rules. Pure, apart from `read`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from chips.providers.base import Code, Fault
from chips.selection import RAMP_AFTER
from chips.vocabulario.catalogo import ENTRIES
from chips.vocabulario.circuitos import told
from chips.vocabulario.rules import Rule
from core.circuits import transitions
from core.circuits.config import Config, config_of
from core.circuits.models import CircuitState
from core.circuits.names import is_chip, of_chip, of_provider
from core.circuits.services import Call, CallResult, Gate
from core.circuits.transitions import CircuitFacts
from core.database import rows

MOST_ATTEMPTS = 50_000
MOST_DAYS = 30
_SHORTEST_S = 1e-6  # a call begins before it ends
_START = 4

# The newest attempts of each provider: tentativas_newest_of_provider (provider, -iniciado_em), read from its end.
_ATTEMPTS = """
SELECT a.* FROM (VALUES ('evolution'), ('z-api')) AS p(provider), LATERAL (
    SELECT t.chip_id::text, t.provider, t.regra, t.resultado = 'rejeitado' OR t.nao_entregue_em IS NOT NULL,
           extract(epoch FROM t.iniciado_em)::float8 AS inicio, extract(epoch FROM t.encerrado_em)::float8,
           t.resultado = 'enviado'
    FROM envios_tentativas t
    WHERE t.provider = p.provider AND t.iniciado_em > %s AND t.iniciado_em <= %s
    ORDER BY t.iniciado_em DESC LIMIT %s) a
ORDER BY a.inicio DESC LIMIT %s
"""


class Past(NamedTuple):
    """One attempt that ended. Instants in unix seconds; `regra` empty: the provider accepted the call.

    `rejected`: provably not sent, or provably not delivered afterwards. `circuits`: its provider's and its chip's.
    """

    chip: str
    provider: str
    regra: str
    rejected: bool
    start: float
    end: float
    circuits: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """What is replayed, oldest first. `since` is the oldest attempt's beginning where `capped`, else the window's."""

    attempts: Sequence[Past]
    since: datetime
    until: datetime
    capped: bool
    configs: Mapping[str, Any]
    lonely: frozenset[str]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one set of rules makes of a record. `rest_s` is the union of each chip's rests, `avoided` the calls that an
    open circuit would have held back; openings count every closed circuit that opened."""

    retried: int
    ended: int
    rest_s: float
    ejected: frozenset[str]
    provider_openings: int
    chip_openings: int
    avoided: int


@dataclass(frozen=True, slots=True)
class Preview:
    """`with_rule`: how many of the attempts carried the changed rule."""

    record: Record
    with_rule: int
    before: Effect
    after: Effect


def preview(codigo: str, rule: Rule, rules: Mapping[str, Rule], record: Record) -> Preview:
    """The effect of putting `rule` in the place of the one in force, everything else as it was."""
    mine = [past for past in record.attempts if past.regra == codigo]
    return Preview(record, len(mine), effect(codigo, rules, record), effect(codigo, {**rules, codigo: rule}, record))


def read(*, days: int, now: datetime, most: int = MOST_ATTEMPTS) -> Record:
    """The newest attempts of the last `days`, at most `most`, and what the circuits are set to: two statements."""
    since = now - timedelta(days=days)
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS, [since, now, most + 1, most + 1])
        found = cursor.fetchall()
    capped = len(found) > most
    attempts = [
        Past(chip, provider, regra, rejected, start, max(end, start + _SHORTEST_S), circuits_of(provider, chip))
        for chip, provider, regra, rejected, start, end, accepted in reversed(found[:most])
        if end is not None and (regra or accepted)
    ]
    if capped:
        since = datetime.fromtimestamp(found[most - 1][_START], UTC)
    stored = rows(
        """SELECT (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM app_settings WHERE key LIKE 'circuito_%%')
               AS ajustes, (SELECT coalesce(array_agg(provider), '{}') FROM (SELECT provider FROM chips
                   WHERE status = 'active' AND tipo = 'julia' GROUP BY provider HAVING count(*) = 1) s) AS sozinhos"""
    )[0]
    return Record(attempts, since, now, capped, stored["ajustes"], frozenset(stored["sozinhos"]))


def effect(codigo: str, rules: Mapping[str, Rule], record: Record) -> Effect:
    rejected = sum(past.regra == codigo and past.rejected for past in record.attempts)
    failed = [past for past in record.attempts if _rests(past, rules)]
    circuits = _Replay(rules, record)
    circuits.run()
    return Effect(
        retried=rejected if rules[codigo].retryable else 0,
        ended=0 if rules[codigo].retryable else rejected,
        rest_s=_rest_s(failed, rules),
        ejected=frozenset(past.chip for past in failed if rules[past.regra].restriction),
        provider_openings=circuits.openings["provider"],
        chip_openings=circuits.openings["chip"],
        avoided=circuits.avoided,
    )


def _rests(past: Past, rules: Mapping[str, Rule]) -> bool:
    """A recipient's fault and a withdrawal leave the chip alone."""
    if past.regra not in rules or ENTRIES[past.regra].code is Code.WITHDRAWN:
        return False
    return rules[past.regra].fault is not Fault.DESTINATARIO


def _rest_s(failed: Iterable[Past], rules: Mapping[str, Rule]) -> float:
    """Rests of one chip that overlap count once: a chip rests until the latest end. An ejected one rests at least
    `RAMP_AFTER`."""
    total, until = 0.0, dict[str, float]()
    for past in sorted(failed, key=lambda each: each.end):
        rule = rules[past.regra]
        rest = max(rule.cooldown, RAMP_AFTER) if rule.restriction else rule.cooldown
        if rest:
            end = past.end + rest.total_seconds()
            begins = max(past.end, until.get(past.chip, past.end))
            total += max(0.0, end - begins)
            until[past.chip] = max(end, begins)
    return total


class _Replay:
    """The circuits over a record: calls that one of them would have held back are left out, probes probe."""

    def __init__(self, rules: Mapping[str, Rule], record: Record) -> None:
        self._record = record
        self._said = {codigo: told(codigo, rules) for codigo in {past.regra for past in record.attempts}}
        self._facts: dict[str, CircuitFacts] = {}  # those that are not plainly healthy
        self._outages: dict[str, datetime | None] = {}
        self._configs: dict[str, Config] = {}
        self._tokens: dict[tuple[int, str], int] = {}
        self._held_back: set[int] = set()
        self.openings: Counter[str] = Counter()
        self.avoided = 0

    def run(self) -> None:
        """Every beginning and every end in its order; an end before a beginning of the same instant."""
        attempts, facts = self._record.attempts, self._facts
        moments = [(past.end, False, n) for n, past in enumerate(attempts)]
        moments += [(past.start, True, n) for n, past in enumerate(attempts)]
        moments.sort()
        for at, begins, n in moments:
            past = attempts[n]
            of_provider, of_chip = past.circuits
            noted = of_provider in facts or of_chip in facts
            if begins and noted:
                self._begin(n, past, at)
            elif not begins and (noted or past.regra) and n not in self._held_back:
                self._end(n, past, at)

    def _begin(self, n: int, past: Past, at: float) -> None:
        noted = [name for name in past.circuits if name in self._facts]
        now = _instant(at)
        gates = {name: transitions.gate(self._facts[name], now) for name in noted}
        if Gate.CLOSED in gates.values():
            self._held_back.add(n)
            self.avoided += 1
            return
        for name, gate in gates.items():
            if gate is Gate.PROBE and (taken := transitions.acquire(self._facts[name], now, owner="previa")):
                self._facts[name] = taken[0]
                self._tokens[n, name] = self._facts[name].permit_token or 0

    def _end(self, n: int, past: Past, at: float) -> None:
        for name, result in zip(past.circuits, self._said[past.regra], strict=True):
            facts = self._facts.get(name)
            if facts is None and result not in _COUNT:
                continue
            token = self._tokens.pop((n, name), None)
            call = Call(
                name,
                result,
                scope=past.chip,
                started_at=_instant(past.start),
                probe=token is not None,
                token=token,
                only_scope=is_chip(name) or past.provider in self._record.lonely,
            )
            self._step(facts or CircuitFacts(name, opened_at=self._outages.get(name)), call, _instant(at))

    def _step(self, facts: CircuitFacts, call: Call, now: datetime) -> None:
        after, transition = transitions.after(facts, call, self._config(call.name), now)
        if transition and transition.from_state is CircuitState.CLOSED and after.state is CircuitState.OPEN:
            self.openings["chip" if is_chip(call.name) else "provider"] += 1
        if after.state is CircuitState.CLOSED and not after.failures:
            self._facts.pop(call.name, None)  # healthy again: every call passes
            self._outages[call.name] = after.opened_at
        else:
            self._facts[call.name] = after

    def _config(self, name: str) -> Config:
        if name not in self._configs:
            self._configs[name] = replace(config_of(name, self._record.configs), notes_success=False)
        return self._configs[name]


_COUNT = (CallResult.FAILURE, CallResult.TRIP)


@lru_cache(maxsize=8192)
def circuits_of(provider: str, chip: str) -> tuple[str, str]:
    return of_provider(provider), of_chip(UUID(chip))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
