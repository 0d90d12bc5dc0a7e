"""What a changed rule would have done: recorded attempts, replayed under both rules. Pure, apart from `read`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chips.providers.base import Code, Fault
from chips.selection import RAMP_AFTER
from chips.vocabulario.catalogo import ENTRIES
from chips.vocabulario.circuitos import told
from chips.vocabulario.rules import Rule
from core.circuits import transitions
from core.circuits.config import Config, config_of
from core.circuits.models import CircuitState
from core.circuits.names import of_provider
from core.circuits.services import Call, CallResult, Gate
from core.circuits.transitions import CircuitFacts
from core.database import rows

MOST_ATTEMPTS = 50_000
MOST_DAYS = 30
_SHORTEST_S = 1e-6  # a call begins before it ends

# The newest attempts of each provider: tentativas_newest_of_provider (provider, -iniciado_em), read from its end.
_ATTEMPTS = """
SELECT a.* FROM (VALUES ('evolution'), ('z-api')) AS p(provider), LATERAL (
    SELECT t.chip_id::text AS chip, t.provider, t.regra, t.resultado,
           t.resultado = 'rejeitado' OR t.nao_entregue_em IS NOT NULL AS recusada,
           extract(epoch FROM t.iniciado_em)::float8 AS inicio, extract(epoch FROM t.encerrado_em)::float8 AS fim
    FROM envios_tentativas t
    WHERE t.provider = p.provider AND t.iniciado_em > %s AND t.iniciado_em <= %s
    ORDER BY t.iniciado_em DESC LIMIT %s) a
ORDER BY a.inicio DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Past:
    """One attempt that ended. Instants in unix seconds; `regra` empty: the provider accepted the call.

    `rejected`: provably not sent, or provably not delivered afterwards.
    """

    chip: str
    provider: str
    regra: str
    rejected: bool
    start: float
    end: float


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
    found = rows(_ATTEMPTS, [since, now, most + 1, most + 1])
    capped = len(found) > most
    attempts = [
        Past(
            row["chip"],
            row["provider"],
            row["regra"],
            row["recusada"],
            row["inicio"],
            max(row["fim"], row["inicio"] + _SHORTEST_S),
        )
        for row in reversed(found[:most])
        if row["fim"] is not None and (row["regra"] or row["resultado"] == "enviado")
    ]
    if capped:
        since = datetime.fromtimestamp(found[most - 1]["inicio"], UTC)
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
        self._facts: dict[str, CircuitFacts] = {}
        self._configs: dict[str, Config] = {}
        self._tokens: dict[tuple[int, str], int] = {}
        self._held_back: set[int] = set()
        self.openings: Counter[str] = Counter()
        self.avoided = 0

    def run(self) -> None:
        """Every beginning and every end in its order; an end before a beginning of the same instant."""
        attempts = self._record.attempts
        moments = [(past.end, False, n) for n, past in enumerate(attempts)]
        moments += [(past.start, True, n) for n, past in enumerate(attempts)]
        moments.sort()
        for at, begins, n in moments:
            if begins:
                self._begin(n, attempts[n], at)
            elif n not in self._held_back:
                self._end(n, attempts[n], at)

    def _begin(self, n: int, past: Past, at: float) -> None:
        noted = [name for name in _names(past) if name in self._facts]
        if not noted:
            return
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
        for name, result in zip(_names(past), self._said[past.regra], strict=True):
            facts = self._facts.get(name)
            healthy = facts is None or (facts.state is CircuitState.CLOSED and not facts.failures)
            if healthy and result not in _COUNT:
                continue
            token = self._tokens.pop((n, name), None)
            call = Call(
                name,
                result,
                scope=past.chip,
                started_at=_instant(past.start),
                probe=token is not None,
                token=token,
                only_scope=name.startswith("chip:") or past.provider in self._record.lonely,
            )
            self._step(facts or CircuitFacts(name), call, _instant(at))

    def _step(self, facts: CircuitFacts, call: Call, now: datetime) -> None:
        after, transition = transitions.after(facts, call, self._config(call.name), now)
        if transition and transition.from_state is CircuitState.CLOSED and after.state is CircuitState.OPEN:
            self.openings["chip" if call.name.startswith("chip:") else "provider"] += 1
        if after.state is CircuitState.CLOSED and after.failures == 0 and after.opened_at is None:
            self._facts.pop(call.name, None)
        else:
            self._facts[call.name] = after

    def _config(self, name: str) -> Config:
        if name not in self._configs:
            self._configs[name] = replace(config_of(name, self._record.configs), notes_success=False)
        return self._configs[name]


_COUNT = (CallResult.FAILURE, CallResult.TRIP)


def _names(past: Past) -> tuple[str, str]:
    return of_provider(past.provider), f"chip:{past.chip}"


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
