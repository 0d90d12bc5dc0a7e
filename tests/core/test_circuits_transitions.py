"""The rules of a circuit, each by one example, and its invariants under any order of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.circuits import transitions
from core.circuits.config import Config, config_of, default_of
from core.circuits.models import CircuitState, Forced
from core.circuits.transitions import Call, CallResult, CircuitFacts, Gate, Transition, after, fold, gate

NOW = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
EVOLUTION = default_of("evolution")
CHIP = default_of("chip:0b7f4c2e-0000-4000-8000-000000000001")
CLOSED = CircuitFacts("evolution")
OPEN = replace(
    CLOSED,
    state=CircuitState.OPEN,
    failures=5,
    opened_at=NOW,
    last_failure_at=NOW,
    retry_at=NOW + timedelta(seconds=300),
    generation=1,
)
HALF_OPEN = replace(
    OPEN, state=CircuitState.HALF_OPEN, permit_token=7, permit_until=NOW + timedelta(seconds=120), permit_owner="w1"
)
FREE = replace(HALF_OPEN, permit_token=None, permit_owner="", permit_until=NOW)


def call(
    result: CallResult, scope: str = "a", *, at: datetime = NOW, probe: bool = False, token: int | None = None
) -> Call:
    return Call("evolution", result, scope, "servidor", started_at=at, probe=probe, token=token)


def failures(*scopes: str) -> list[Call]:
    return [call(CallResult.FAILURE, scope) for scope in scopes]


def after_all(calls: list[Call], config: Config = EVOLUTION, facts: CircuitFacts = CLOSED) -> CircuitFacts:
    return fold(facts, calls, config, NOW)[0]


@pytest.mark.parametrize(
    ("facts", "at", "expected"),
    [
        (CLOSED, NOW, Gate.PASS),
        (OPEN, NOW, Gate.CLOSED),
        (OPEN, NOW + timedelta(seconds=299), Gate.CLOSED),
        (OPEN, NOW + timedelta(seconds=300), Gate.PROBE),
        (HALF_OPEN, NOW, Gate.CLOSED),
        (HALF_OPEN, NOW + timedelta(seconds=119), Gate.CLOSED),
        (HALF_OPEN, NOW + timedelta(seconds=120), Gate.PROBE),
        (FREE, NOW, Gate.PROBE),
        (replace(CLOSED, forced=Forced.OPEN), NOW, Gate.CLOSED),
        (replace(OPEN, forced=Forced.OPEN), NOW + timedelta(days=9), Gate.CLOSED),
        (replace(OPEN, forced=Forced.DISABLED), NOW, Gate.PASS),
        (replace(HALF_OPEN, forced=Forced.DISABLED), NOW, Gate.PASS),
    ],
)
def test_what_the_gate_says(facts: CircuitFacts, at: datetime, expected: Gate) -> None:
    assert gate(facts, at) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("evolution", [300, 600, 600]),
        ("zapi", [300, 600, 600]),
        ("claude", [60, 120, 240, 300, 300]),
        ("supabase", [30, 60, 120, 120]),
        ("slack", [60, 120, 240, 480, 600, 600]),
        ("chip:0b7f4c2e-0000-4000-8000-000000000001", [300, 600, 1200, 1800, 1800]),
    ],
)
def test_each_failed_probe_doubles_the_wait_up_to_the_longest(name: str, expected: list[int]) -> None:
    config = default_of(name)
    assert [config.reset_after(step).total_seconds() for step in range(len(expected))] == expected


@pytest.mark.parametrize(
    ("name", "needed"), [("evolution", 5), ("zapi", 5), ("claude", 3), ("chatwoot", 5), ("slack", 5), ("supabase", 5)]
)
def test_so_many_failures_in_a_row_open(name: str, needed: int) -> None:
    assert default_of(name).failures == needed


def test_five_failures_of_two_chips_open_a_provider() -> None:
    facts, (opened,) = fold(CLOSED, failures("a", "b", "a", "a", "a"), EVOLUTION, NOW)
    assert facts.state is CircuitState.OPEN
    assert facts.retry_at == NOW + timedelta(seconds=300)
    assert facts.opened_at == NOW
    assert (opened.from_state, opened.to_state, opened.reason, opened.failures) == (
        CircuitState.CLOSED,
        CircuitState.OPEN,
        "muitas_falhas_5",
        5,
    )


def test_one_chip_never_opens_its_provider() -> None:
    assert after_all(failures(*"aaaaaaaaaaaa")).state is CircuitState.CLOSED


def test_one_chip_opens_a_provider_that_has_no_other() -> None:
    lonely = [replace(each, only_scope=True) for each in failures(*"aaaaa")]
    assert after_all(lonely).state is CircuitState.OPEN


def test_three_failures_open_a_chip() -> None:
    assert after_all(failures("a", "a"), CHIP).state is CircuitState.CLOSED
    assert after_all(failures("a", "a", "a"), CHIP).state is CircuitState.OPEN


def test_one_restriction_opens_a_chip_at_once() -> None:
    facts, (opened,) = fold(CLOSED, [call(CallResult.TRIP)], CHIP, NOW)
    assert facts.state is CircuitState.OPEN
    assert opened.reason == "restricao_classificada"


def test_a_success_zeroes_the_run_of_failures() -> None:
    facts = after_all([*failures(*"abab"), call(CallResult.SUCCESS), *failures(*"abab")])
    assert (facts.state, facts.failures) == (CircuitState.CLOSED, 4)


def test_timeouts_never_open_a_closed_circuit() -> None:
    facts = after_all([call(CallResult.TIMEOUT, scope) for scope in "ab" * 50])
    assert facts == CLOSED


def test_a_timeout_neither_counts_nor_forgives() -> None:
    facts = after_all([*failures(*"abab"), call(CallResult.TIMEOUT), *failures("a")])
    assert facts.state is CircuitState.OPEN


def test_a_neutral_result_changes_nothing() -> None:
    assert after_all([call(CallResult.NEUTRAL)]) == CLOSED


@pytest.mark.parametrize("result", [CallResult.FAILURE, CallResult.TRIP, CallResult.SUCCESS])
@pytest.mark.parametrize("facts", [OPEN, HALF_OPEN])
def test_results_of_ordinary_calls_change_nothing_while_it_is_not_closed(
    facts: CircuitFacts, result: CallResult
) -> None:
    assert after(facts, call(result, at=NOW + timedelta(seconds=1)), EVOLUTION, NOW) == (facts, None)


@pytest.mark.parametrize("result", [CallResult.FAILURE, CallResult.TRIP, CallResult.SUCCESS])
def test_a_call_that_left_before_the_opening_changes_nothing_even_after_recovery(result: CallResult) -> None:
    recovered = replace(CLOSED, opened_at=NOW, last_success_at=NOW)
    late = call(result, at=NOW - timedelta(seconds=1))
    assert after(recovered, late, EVOLUTION, NOW + timedelta(minutes=6)) == (recovered, None)


def test_whoever_is_due_takes_the_permit_and_the_next_one_waits() -> None:
    due = OPEN.retry_at
    assert due
    assert transitions.acquire(OPEN, due - timedelta(seconds=1), owner="w1") is None
    taken = transitions.acquire(OPEN, due, owner="w1")
    assert taken
    facts, transition = taken
    assert facts.permit_until == due + timedelta(seconds=120)
    assert transition
    assert transition.reason == "timeout_reset_300s"
    assert transitions.acquire(facts, due, owner="w2") is None


def test_an_expired_permit_goes_to_the_next_caller_under_another_token() -> None:
    taken = transitions.acquire(HALF_OPEN, NOW + timedelta(seconds=120), owner="w2")
    assert taken
    assert taken[0].permit_owner == "w2"
    assert taken[0].permit_token != HALF_OPEN.permit_token
    assert taken[1] is None


def test_a_probe_that_succeeds_closes_and_forgets_the_backoff() -> None:
    facts, transition = after(replace(HALF_OPEN, step=3), call(CallResult.SUCCESS, probe=True), EVOLUTION, NOW)
    assert (facts.state, facts.failures, facts.step, facts.permit_token) == (CircuitState.CLOSED, 0, 0, None)
    assert transition
    assert (transition.reason, transition.from_state) == ("recuperado", CircuitState.HALF_OPEN)


@pytest.mark.parametrize(
    ("result", "reason", "counted"),
    [
        (CallResult.FAILURE, "falha_half_open_tentativa_1", 6),
        (CallResult.TRIP, "falha_half_open_tentativa_1", 6),
        (CallResult.TIMEOUT, "timeout_half_open_tentativa_1", 5),
    ],
)
def test_a_probe_that_fails_or_times_out_reopens_with_the_next_step(
    result: CallResult, reason: str, counted: int
) -> None:
    facts, transition = after(HALF_OPEN, call(result, probe=True), EVOLUTION, NOW)
    assert (facts.state, facts.step, facts.failures) == (CircuitState.OPEN, 1, counted)
    assert facts.retry_at == NOW + timedelta(seconds=600)
    assert facts.opened_at == OPEN.opened_at
    assert transition
    assert transition.reason == reason


def test_a_neutral_probe_leaves_the_permit_to_the_next_caller() -> None:
    facts, transition = after(HALF_OPEN, call(CallResult.NEUTRAL, probe=True), EVOLUTION, NOW)
    assert gate(facts, NOW) is Gate.PROBE
    assert transition is None


def test_a_late_failure_of_an_expired_permit_does_not_touch_the_present_probe() -> None:
    late = call(CallResult.FAILURE, probe=True, token=3)
    assert after(HALF_OPEN, late, EVOLUTION, NOW) == (HALF_OPEN, None)


def test_a_late_success_of_a_probe_closes_even_after_reopening() -> None:
    facts, transition = after(OPEN, call(CallResult.SUCCESS, probe=True, token=3), EVOLUTION, NOW)
    assert facts.state is CircuitState.CLOSED
    assert transition


def test_a_permit_that_is_given_back_by_a_former_holder_stays_with_the_present_one() -> None:
    assert transitions.give_back(HALF_OPEN, 3, NOW) == HALF_OPEN
    assert gate(transitions.give_back(HALF_OPEN, 7, NOW), NOW) is Gate.PROBE


def test_in_ten_minutes_of_persistent_failure_there_is_one_probe() -> None:
    """Due at 300 s; the next one only at 900 s (fila reference §4.6)."""
    facts, probes = after_all(failures(*"ababa")), []
    for second in range(901):
        now = NOW + timedelta(seconds=second)
        if taken := transitions.acquire(facts, now, owner="w"):
            probes.append(second)
            facts = after(taken[0], call(CallResult.FAILURE, probe=True, at=now), EVOLUTION, now)[0]
    assert probes == [300, 900]


@pytest.mark.parametrize(
    ("act", "facts", "forced", "state", "reason"),
    [
        (transitions.forced_open, CLOSED, Forced.OPEN, CircuitState.CLOSED, "aberto_manual"),
        (transitions.disabled, OPEN, Forced.DISABLED, CircuitState.OPEN, "desligado_manual"),
        (
            transitions.enabled,
            replace(OPEN, forced=Forced.DISABLED),
            Forced.NO,
            CircuitState.OPEN,
            "automatico_manual",
        ),
        (transitions.reset, HALF_OPEN, Forced.NO, CircuitState.CLOSED, "reset_manual"),
        (transitions.reset, replace(CLOSED, forced=Forced.OPEN), Forced.NO, CircuitState.CLOSED, "reset_manual"),
    ],
)
def test_what_a_person_does(act: object, facts: CircuitFacts, forced: Forced, state: CircuitState, reason: str) -> None:
    assert callable(act)
    changed, transition = act(facts, NOW)
    assert (changed.forced, changed.state, transition.reason) == (forced, state, reason)
    assert transition.to_state is changed.effective
    assert act(changed, NOW) == (changed, None)


@pytest.mark.parametrize("forced", [Forced.OPEN, Forced.DISABLED])
def test_while_a_person_decides_nothing_is_counted(forced: Forced) -> None:
    facts = replace(CLOSED, forced=forced)
    assert after_all([*failures(*"ababab"), call(CallResult.TRIP)], facts=facts) == facts


def test_a_healthy_success_is_noted_every_ten_seconds_and_never_for_a_chip() -> None:
    noted = after_all([call(CallResult.SUCCESS)])
    assert noted.last_success_at == NOW
    assert fold(noted, [call(CallResult.SUCCESS)], EVOLUTION, NOW + timedelta(seconds=9))[0] == noted
    assert fold(noted, [call(CallResult.SUCCESS)], EVOLUTION, NOW + timedelta(seconds=10))[0] != noted
    assert after_all([call(CallResult.SUCCESS)], CHIP) == CLOSED


@pytest.mark.parametrize(
    ("stored", "failures_needed"),
    [({"falhas": 2, "inicial_s": 1, "max_s": 2}, 2), ({"falhas": 0, "inicial_s": 1, "max_s": 2}, 5), ("?", 5)],
)
def test_stored_numbers_outrank_the_defaults_unless_they_are_unlawful(stored: object, failures_needed: int) -> None:
    assert config_of("evolution", {"circuito_evolution": stored}).failures == failures_needed


class AnyOrder(RuleBasedStateMachine):
    """Sixteen callers that consult, probe, die, answer late, and an operator, in any order."""

    config = Config(failures=3, initial=timedelta(seconds=60), longest=timedelta(seconds=600), scopes=2)

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.facts = CLOSED
        self.history: list[Transition] = []
        self.holders: dict[int, datetime] = {}

    def move(self, facts: CircuitFacts, transition: Transition | None) -> None:
        self.facts = replace(facts, version=max(facts.version, self.facts.version) + 1)
        if transition:
            self.history.append(transition)
        if facts.state is CircuitState.CLOSED:  # whoever still probes is an ordinary caller from here on
            self.holders = dict.fromkeys(self.holders, self.now)

    @rule(seconds=st.integers(0, 700))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        result=st.sampled_from(CallResult),
        scope=st.sampled_from("abc"),
        age=st.integers(0, 90),
    )
    def an_ordinary_call_ends(self, result: CallResult, scope: str, age: int) -> None:
        started = self.now - timedelta(seconds=age)
        before = self.facts
        self.move(*after(before, call(result, scope, at=started), self.config, self.now))
        if before.state is not CircuitState.CLOSED:
            assert self.facts.state is before.state
        if result in (CallResult.TIMEOUT, CallResult.NEUTRAL, CallResult.SUCCESS):
            assert self.facts.state is before.state
        if before.opened_at and started < before.opened_at:
            assert self.facts.failures == before.failures

    @rule()
    def somebody_wants_to_probe(self) -> None:
        wanted = gate(self.facts, self.now)
        taken = transitions.acquire(self.facts, self.now, owner="w")
        assert (taken is not None) == (wanted is Gate.PROBE)
        if taken:
            live = [until for until in self.holders.values() if until > self.now]
            assert not live
            token = taken[0].permit_token
            assert token
            assert token not in self.holders
            self.holders[token] = self.now + transitions.PERMIT
            self.move(*taken)

    @rule(data=st.data(), result=st.sampled_from(CallResult))
    def a_probe_ends(self, data: st.DataObject, result: CallResult) -> None:
        if not self.holders:
            return
        token = data.draw(st.sampled_from(sorted(self.holders)))
        holds = token == self.facts.permit_token
        before = self.facts
        del self.holders[token]
        self.move(*after(before, call(result, at=self.now, probe=True, token=token), self.config, self.now))
        if holds and result in (CallResult.FAILURE, CallResult.TIMEOUT, CallResult.TRIP):
            assert self.facts.state is CircuitState.OPEN
        if holds and result is CallResult.NEUTRAL and self.facts.forced is Forced.NO:
            assert gate(self.facts, self.now) is Gate.PROBE
        if not holds and before.state is not CircuitState.CLOSED and result is not CallResult.SUCCESS:
            assert self.facts.permit_token == before.permit_token

    @rule(data=st.data())
    def a_permit_is_given_back(self, data: st.DataObject) -> None:
        if self.holders:
            token = data.draw(st.sampled_from(sorted(self.holders)))
            del self.holders[token]
            self.move(transitions.give_back(self.facts, token, self.now), None)

    @rule(act=st.sampled_from([transitions.forced_open, transitions.disabled, transitions.enabled, transitions.reset]))
    def a_person_decides(self, act: object) -> None:
        assert callable(act)
        self.move(*act(self.facts, self.now))

    @invariant()
    def the_row_is_lawful(self) -> None:
        facts = self.facts
        if facts.state is CircuitState.OPEN:
            assert facts.retry_at is not None
            assert facts.last_failure_at is not None
            assert facts.permit_token is None
            wait = facts.retry_at - facts.last_failure_at
            assert self.config.initial <= wait <= self.config.longest
        if facts.state is CircuitState.HALF_OPEN:
            assert facts.permit_until is not None
        if facts.state is CircuitState.CLOSED:
            assert (facts.permit_token, facts.retry_at, facts.step) == (None, None, 0)
            enough = facts.failures >= self.config.failures and len(facts.failing_scopes) >= self.config.scopes
            assert not enough

    @invariant()
    def the_history_explains_the_state(self) -> None:
        assert self.facts.effective is (self.history[-1].to_state if self.history else CircuitState.CLOSED)
        for earlier, later in zip(self.history, self.history[1:], strict=False):
            assert later.from_state is earlier.to_state

    @invariant()
    def nothing_is_stuck(self) -> None:
        """However it came here: with time, and without a person's veto, somebody may call again."""
        later = self.now + self.config.longest + transitions.PERMIT
        if self.facts.forced is not Forced.OPEN:
            assert gate(self.facts, later) is not Gate.CLOSED


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
