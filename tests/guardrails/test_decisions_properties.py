"""What holds of every decision, whatever the facts."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.choices import SENTENCES, Kind, PermissionState, SuppressionReason, SwitchState
from guardrails.decisions import (
    GRAVITY,
    Allow,
    Block,
    Defer,
    Facts,
    Hold,
    Nature,
    ReplyProof,
    apply_bypass,
    decide,
    explain,
    nature_of,
)
from guardrails.hours import ALWAYS, BUSINESS_HOURS, Window
from guardrails.policy import Policy, Switches

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
ZONES = [ZoneInfo(key) for key in ("America/Sao_Paulo", "America/Rio_Branco", "America/Noronha", "America/New_York")]

moments = st.datetimes(datetime(2026, 2, 1), datetime(2026, 4, 30), timezones=st.just(UTC))  # noqa: DTZ001
maybe_moment = st.none() | moments
maybe_id = st.none() | st.integers(1, 3)
proofs = st.builds(
    ReplyProof,
    inbound_id=st.just(7),
    conversation_id=st.just("c-1"),
    inbound_at=st.integers(-60, 60).map(lambda minutes: NOW - timedelta(minutes=minutes)),
)
facts_of_any_kind = st.builds(
    Facts,
    kind=st.sampled_from(Kind),
    telefone=st.sampled_from(["5511900000001", "5568900000001", None]),
    telefone_valido=st.booleans(),
    zone=st.sampled_from(ZONES),
    campaign_id=maybe_id,
    proof=st.none() | proofs,
    state_readable=st.booleans(),
    permission_state=st.sampled_from(PermissionState),
    opted_out=st.booleans(),
    opted_out_at=maybe_moment,
    suppression=st.none() | st.sampled_from(SuppressionReason),
    confirmation_sent=st.booleans(),
    cooling_off_until=maybe_moment,
    next_allowed_at=maybe_moment,
    contact_count_7d=st.integers(0, 8),
    contact_cap_frees_at=maybe_moment,
    daily_count=st.integers(0, 5),
    last_touch_campaign_id=maybe_id,
    last_touch_at=maybe_moment,
    human_control=st.booleans(),
    by_holder=st.booleans(),
    inbound_pendente=st.booleans(),
    production=st.booleans(),
    to_simulator=st.booleans(),
    allowlisted=st.none() | st.booleans(),
)
any_switches = st.builds(Switches, **{field.name: st.sampled_from(SwitchState) for field in fields(Switches)})
any_policy = st.builds(
    Policy,
    switches=st.just(Switches()) | any_switches,
    window=st.sampled_from([BUSINESS_HOURS, ALWAYS, Window.between("10:00", "10:30", {7})]),
    holidays=st.frozensets(st.dates(date(2026, 2, 1), date(2026, 4, 30)), max_size=10),
    contact_cap_7d=st.none() | st.integers(1, 8),
)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_an_opted_out_person_is_never_written_to_proactively(facts, policy):
    for out in (
        {"opted_out": True},
        {"permission_state": PermissionState.OPTED_OUT},
        {"suppression": SuppressionReason.PEDIDO},
    ):
        gone = replace(facts, **out)
        if nature_of(gone, policy, now=NOW) is Nature.PROACTIVE:
            assert isinstance(decide(gone, policy, now=NOW), Block)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_nothing_leaves_a_development_machine_but_to_simulator_or_allowlist(facts, policy):
    trapped = replace(facts, production=False, to_simulator=False, allowlisted=None)
    decision = decide(trapped, policy, now=NOW)
    assert isinstance(decision, Block)
    assert decision.outcome == "BLOCKED_DEV_ALLOWLIST"
    assert apply_bypass(decision, dict.fromkeys(SENTENCES, "um motivo bem longo")) == decision


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_a_paused_operation_lets_nothing_through(facts, policy):
    paused = replace(policy, switches=replace(policy.switches, operacao_pausada=SwitchState.ON))
    assert isinstance(decide(facts, paused, now=NOW), Block | Hold)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_switches_that_cannot_be_read_let_nothing_through(facts, policy):
    blind = replace(policy, switches=Switches.unreadable())
    assert not isinstance(decide(facts, blind, now=NOW), Allow)


WORSE = [
    {"opted_out": True},
    {"permission_state": PermissionState.OPTED_OUT},
    {"suppression": SuppressionReason.FALECIMENTO},
    {"telefone": None},
    {"telefone_valido": False},
    {"state_readable": False},
    {"permission_state": PermissionState.COOLING_OFF, "cooling_off_until": NOW + timedelta(days=30)},
    {"next_allowed_at": NOW + timedelta(days=1)},
    {"contact_count_7d": 99},
    {"daily_count": 99},
    {"last_touch_campaign_id": 99, "last_touch_at": NOW},
    {"human_control": True, "by_holder": False},
    {"inbound_pendente": True},
    {"production": False, "to_simulator": False, "allowlisted": False},
    {"proof": None},
    {"confirmation_sent": True},
]


@pytest.mark.parametrize("change", WORSE, ids=lambda change: next(iter(change)))
@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_one_more_objection_never_frees_a_refused_message(change, facts, policy):
    is_already_out = facts.permission_state == PermissionState.OPTED_OUT
    if is_already_out and "permission_state" in change:
        return  # would lift the graver state
    if not isinstance(decide(facts, policy, now=NOW), Allow):
        assert not isinstance(decide(replace(facts, **change), policy, now=NOW), Allow)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy, worse=any_switches)
def test_one_more_switch_never_frees_a_refused_message(facts, policy, worse):
    """Each switch goes to the state that holds, if it is not there already."""
    union = {
        field.name: (
            getattr(worse, field.name)
            if getattr(policy.switches, field.name) == getattr(Switches(), field.name)
            else getattr(policy.switches, field.name)
        )
        for field in fields(Switches)
    }
    if not isinstance(decide(facts, policy, now=NOW), Allow):
        assert not isinstance(decide(facts, replace(policy, switches=Switches(**union)), now=NOW), Allow)


@settings(deadline=None)
@given(
    facts=facts_of_any_kind, policy=any_policy, window=st.sampled_from([ALWAYS, Window.between("02:00", "02:01", {7})])
)
def test_hours_limits_and_caps_do_not_touch_a_proved_reply(facts, policy, window):
    if nature_of(facts, policy, now=NOW) is not Nature.REPLY:
        return
    strict = replace(policy, window=window, contact_cap_7d=1, daily_person_limit=1)
    crowded = replace(
        facts,
        contact_count_7d=50,
        daily_count=50,
        next_allowed_at=NOW + timedelta(days=9),
        cooling_off_until=NOW + timedelta(days=9),
        inbound_pendente=True,
        state_readable=False,
        last_touch_campaign_id=99,
        last_touch_at=NOW,
    )
    assert decide(crowded, strict, now=NOW) == decide(facts, policy, now=NOW)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_the_decision_is_the_gravest_of_its_objections(facts, policy):
    decision = decide(facts, policy, now=NOW)
    objections = explain(facts, policy, now=NOW)
    assert list(decision.objections) == objections
    ranks = [GRAVITY.index(type(objection)) for objection in objections]
    assert ranks == sorted(ranks)
    if objections:
        assert (type(decision), decision.outcome, decision.reason) == (
            type(objections[0]),
            objections[0].outcome,
            objections[0].reason,
        )
    else:
        assert isinstance(decision, Allow)


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_a_postponement_lies_ahead_and_clears_every_postponement_known_today(facts, policy):
    decision = decide(facts, policy, now=NOW)
    if isinstance(decision, Defer):
        assert decision.until > NOW
        assert decision.until == max(each.until for each in decision.objections if isinstance(each, Defer))


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_a_campaigns_row_is_postponed_only_by_hours_the_daily_limit_and_an_unreadable_state(facts, policy):
    decision = decide(replace(facts, kind=Kind.CAMPANHA), policy, now=NOW)
    if isinstance(decision, Defer):
        assert decision.reason in {"quiet_hours", "daily_limit", "state_unavailable"}


@settings(deadline=None)
@given(facts=facts_of_any_kind, policy=any_policy)
def test_every_refusal_has_an_outcome_and_a_sentence_and_no_personal_data(facts, policy):
    for objection in explain(facts, policy, now=NOW):
        assert objection.outcome.is_blocked or objection.outcome.is_failed
        assert SENTENCES[objection.reason]
        assert "9000000" not in repr(objection)
