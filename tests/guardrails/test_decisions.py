import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.outcomes import SendOutcome
from guardrails.choices import Kind, PermissionState, ReasonCode, SuppressionReason, SwitchState
from guardrails.decisions import (
    Allow,
    Block,
    Defer,
    Facts,
    Hold,
    Nature,
    ReplyProof,
    apply_bypass,
    as_record,
    decide,
    explain,
    missing_motivos,
    nature_of,
)
from guardrails.policy import Policy, Switches

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
RIO_BRANCO = ZoneInfo("America/Rio_Branco")
TUESDAY_10H = datetime(2026, 3, 3, 10, 0, tzinfo=SAO_PAULO)
TUESDAY_03H = TUESDAY_10H.replace(hour=3)
WEDNESDAY_08H = datetime(2026, 3, 4, 8, 0, tzinfo=SAO_PAULO)
IN_AN_HOUR = TUESDAY_10H + timedelta(hours=1)
POLICY = Policy()

CAMPAIGN = Facts(
    kind=Kind.CAMPANHA,
    telefone="5511900000001",
    campaign_id=16,
    permission_state=PermissionState.ACTIVE,
    production=True,
)
FOLLOWUP = replace(CAMPAIGN, kind=Kind.FOLLOWUP, campaign_id=None)
PROOF = ReplyProof(inbound_id=7, conversation_id="c-1", inbound_at=TUESDAY_10H - timedelta(minutes=5))
REPLY = replace(FOLLOWUP, kind=Kind.RESPOSTA, proof=PROOF)
CONFIRMATION = replace(
    FOLLOWUP,
    kind=Kind.CONFIRMACAO_OPT_OUT,
    permission_state=PermissionState.OPTED_OUT,
    opted_out=True,
    opted_out_at=TUESDAY_10H,
)
PROACTIVE_KINDS = [kind for kind in Kind if kind is not Kind.CONFIRMACAO_OPT_OUT]


def switched(**states):
    return Policy(switches=replace(Switches(), **states))


def test_a_reachable_person_in_business_hours_is_written_to():
    decision = decide(CAMPAIGN, POLICY, now=TUESDAY_10H)
    assert decision == Allow(ReasonCode.OK)
    assert decision.outcome is SendOutcome.SENT
    assert decision.objections == ()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"production": False, "allowlisted": None}, ReasonCode.DEV_ALLOWLIST_EMPTY),
        ({"production": False, "allowlisted": False}, ReasonCode.DEV_ALLOWLIST),
        ({"production": False, "allowlisted": True}, None),
        ({"production": False, "to_simulator": True}, None),
        ({"production": True, "allowlisted": None}, None),
        ({"production": True, "allowlisted": False}, None),
    ],
)
@pytest.mark.parametrize("facts", [CAMPAIGN, REPLY, CONFIRMATION], ids=["campaign", "reply", "confirmation"])
def test_outside_production_only_the_simulator_and_the_allowlist_are_reached(facts, environment, reason):
    decision = decide(replace(facts, **environment), POLICY, now=TUESDAY_10H)
    if reason is None:
        assert isinstance(decision, Allow)
    else:
        assert decision == Block(SendOutcome.BLOCKED_DEV_ALLOWLIST, reason)


def test_the_defaults_of_the_facts_reach_nobody():
    facts = Facts(kind=Kind.RESPOSTA, telefone="5511900000001", proof=PROOF)
    assert decide(facts, POLICY, now=TUESDAY_10H).outcome is SendOutcome.BLOCKED_DEV_ALLOWLIST


def test_the_allowlist_outranks_even_an_opt_out():
    facts = replace(CAMPAIGN, production=False, opted_out=True)
    assert decide(facts, POLICY, now=TUESDAY_10H).outcome is SendOutcome.BLOCKED_DEV_ALLOWLIST


@pytest.mark.parametrize(
    "trace",
    [
        {"opted_out": True},
        {"permission_state": PermissionState.OPTED_OUT},
        {"permission_state": "opted_out"},
        {"suppression": SuppressionReason.PEDIDO},
        {"suppression": SuppressionReason.ADMINISTRATIVO},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", PROACTIVE_KINDS)
def test_any_trace_of_an_opt_out_ends_a_proactive_row(kind, trace):
    decision = decide(replace(CAMPAIGN, kind=kind, **trace), POLICY, now=TUESDAY_10H)
    assert decision == Block(SendOutcome.BLOCKED_OPTED_OUT, ReasonCode.OPTED_OUT)


@pytest.mark.parametrize(
    ("suppression", "reason"),
    [
        (SuppressionReason.NUMERO_ERRADO, ReasonCode.WRONG_NUMBER),
        (SuppressionReason.FALECIMENTO, ReasonCode.DECEASED),
    ],
)
def test_a_suppressed_number_says_why(suppression, reason):
    decision = decide(replace(CAMPAIGN, suppression=suppression), POLICY, now=TUESDAY_10H)
    assert decision == Block(SendOutcome.BLOCKED_OPTED_OUT, reason)


def test_opt_out_outweighs_the_clock():
    decision = decide(replace(CAMPAIGN, opted_out=True), POLICY, now=TUESDAY_03H)
    assert decision.outcome is SendOutcome.BLOCKED_OPTED_OUT


def test_opt_out_ends_the_row_even_under_a_kill_switch():
    policy = switched(campaigns_enabled=SwitchState.OFF, safe_mode=SwitchState.ON, operacao_pausada=SwitchState.ON)
    decision = decide(replace(CAMPAIGN, opted_out=True), policy, now=TUESDAY_10H)
    assert decision.outcome is SendOutcome.BLOCKED_OPTED_OUT


@pytest.mark.parametrize(
    ("opted_out_at", "expected"),
    [
        (PROOF.inbound_at - timedelta(days=2), Allow(ReasonCode.REPLY_TO_OPTED_OUT)),
        (PROOF.inbound_at, Block(SendOutcome.BLOCKED_OPTED_OUT, ReasonCode.OPTED_OUT)),
        (PROOF.inbound_at + timedelta(seconds=1), Block(SendOutcome.BLOCKED_OPTED_OUT, ReasonCode.OPTED_OUT)),
        (None, Block(SendOutcome.BLOCKED_OPTED_OUT, ReasonCode.OPTED_OUT)),
    ],
    ids=["wrote again after leaving", "wrote the opt-out itself", "wrote before leaving", "left nobody knows when"],
)
def test_only_who_wrote_again_after_leaving_is_answered(opted_out_at, expected):
    facts = replace(REPLY, opted_out=True, opted_out_at=opted_out_at)
    assert decide(facts, POLICY, now=TUESDAY_10H) == expected


def test_the_one_confirmation_of_an_opt_out_leaves_at_any_hour():
    assert decide(CONFIRMATION, POLICY, now=TUESDAY_03H) == Allow(ReasonCode.NON_PROACTIVE)
    crowded = replace(CONFIRMATION, human_control=True, inbound_pendente=True, contact_count_7d=9, daily_count=9)
    assert isinstance(decide(crowded, POLICY, now=TUESDAY_03H), Allow)


def test_a_second_confirmation_does_not_leave():
    decision = decide(replace(CONFIRMATION, confirmation_sent=True), POLICY, now=TUESDAY_10H)
    assert decision.outcome is SendOutcome.BLOCKED_OPTED_OUT


def test_without_a_telephone_nothing_leaves_not_even_a_reply():
    expected = Block(SendOutcome.FAILED_VALIDATION, ReasonCode.TELEFONE_NAO_ENCONTRADO)
    for facts in (CAMPAIGN, REPLY, CONFIRMATION):
        for missing in (None, ""):
            assert decide(replace(facts, telefone=missing), POLICY, now=TUESDAY_10H) == expected


def test_an_invalid_number_stops_contacts_but_not_the_reply_to_who_wrote_from_it():
    assert decide(replace(CAMPAIGN, telefone_valido=False), POLICY, now=TUESDAY_10H) == Block(
        SendOutcome.FAILED_VALIDATION, ReasonCode.INVALID_NUMBER
    )
    assert isinstance(decide(replace(REPLY, telefone_valido=False), POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize("kind", PROACTIVE_KINDS)
def test_under_human_control_proactive_rows_end(kind):
    decision = decide(replace(CAMPAIGN, kind=kind, human_control=True), POLICY, now=TUESDAY_10H)
    assert decision == Block(SendOutcome.BLOCKED_HANDOFF, ReasonCode.HANDOFF_ATIVO)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": Kind.RESPOSTA}, Block(SendOutcome.BLOCKED_HANDOFF, ReasonCode.HANDOFF_ATIVO)),
        ({"kind": Kind.RESPOSTA, "by_holder": True}, Allow(ReasonCode.REPLY_VALID)),
        ({"kind": Kind.MANUAL}, Allow(ReasonCode.REPLY_VALID)),
        ({"kind": Kind.MANUAL, "proof": None}, Block(SendOutcome.BLOCKED_HANDOFF, ReasonCode.HANDOFF_ATIVO)),
        ({"kind": Kind.MANUAL, "proof": None, "by_holder": True}, Allow(ReasonCode.OK)),
        ({"kind": Kind.AVISO_HANDOFF}, Allow(ReasonCode.REPLY_VALID)),
        ({"kind": Kind.AVISO_HANDOFF, "proof": None}, Block(SendOutcome.BLOCKED_HANDOFF, ReasonCode.HANDOFF_ATIVO)),
    ],
    ids=[
        "julia's reply",
        "holder's reply",
        "a person's reply",
        "somebody else's contact",
        "holder's contact",
        "notice",
        "late notice",
    ],
)
def test_julia_is_silent_while_a_person_holds_the_conversation(change, expected):
    assert decide(replace(REPLY, human_control=True, **change), POLICY, now=TUESDAY_10H) == expected


FREES_AT = TUESDAY_10H + timedelta(days=2)
PERSONAL = [
    ({"contact_count_7d": 5, "contact_cap_frees_at": FREES_AT}, SendOutcome.BLOCKED_CONTACT_CAP, "contact_cap"),
    (
        {"permission_state": PermissionState.COOLING_OFF, "cooling_off_until": FREES_AT},
        SendOutcome.BLOCKED_COOLING_OFF,
        "cooling_off",
    ),
    ({"next_allowed_at": FREES_AT}, SendOutcome.BLOCKED_NEXT_ALLOWED, "next_allowed_at"),
]


@pytest.mark.parametrize(("change", "outcome", "reason"), PERSONAL)
def test_a_personal_pause_ends_a_campaigns_row(change, outcome, reason):
    assert decide(replace(CAMPAIGN, **change), POLICY, now=TUESDAY_10H) == Block(outcome, ReasonCode(reason))


@pytest.mark.parametrize(("change", "outcome", "reason"), PERSONAL)
@pytest.mark.parametrize("kind", [kind for kind in PROACTIVE_KINDS if kind is not Kind.CAMPANHA])
def test_a_personal_pause_postpones_other_kinds_to_the_instant_it_names(kind, change, outcome, reason):
    decision = decide(replace(FOLLOWUP, kind=kind, **change), POLICY, now=TUESDAY_10H)
    assert decision == Defer(outcome, ReasonCode(reason), until=FREES_AT)


@pytest.mark.parametrize(("change", "outcome", "reason"), PERSONAL)
def test_a_personal_pause_does_not_touch_a_reply(change, outcome, reason):
    assert isinstance(decide(replace(REPLY, **change), POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize(
    "change",
    [
        {"contact_count_7d": 4},
        {"permission_state": PermissionState.COOLING_OFF, "cooling_off_until": TUESDAY_10H},
        {"permission_state": PermissionState.ACTIVE, "cooling_off_until": FREES_AT},
        {"next_allowed_at": TUESDAY_10H},
    ],
    ids=["below the cap", "pause over", "pause lifted", "contact allowed from now"],
)
def test_a_pause_that_is_over_does_not_count(change):
    assert isinstance(decide(replace(CAMPAIGN, **change), POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize(
    "change",
    [
        {"contact_count_7d": 5},
        {"contact_count_7d": 5, "contact_cap_frees_at": TUESDAY_10H - timedelta(hours=1)},
        {"permission_state": PermissionState.COOLING_OFF},
    ],
    ids=["cap without a date", "cap with a date gone by", "pause without an end"],
)
def test_a_pause_that_names_no_instant_is_looked_at_again_on_the_next_open_day(change):
    decision = decide(replace(FOLLOWUP, **change), POLICY, now=TUESDAY_10H)
    assert isinstance(decision, Defer)
    assert decision.until == WEDNESDAY_08H


def test_the_contact_cap_is_configurable_and_says_its_numbers():
    facts = replace(CAMPAIGN, contact_count_7d=2)
    decision = decide(facts, replace(POLICY, contact_cap_7d=2), now=TUESDAY_10H)
    assert isinstance(decision, Block)
    assert decision.details == {"cap": 2, "count": 2, "until": None}
    assert isinstance(
        decide(replace(facts, contact_count_7d=99), replace(POLICY, contact_cap_7d=None), now=TUESDAY_10H), Allow
    )


@pytest.mark.parametrize(
    ("last_campaign", "elapsed", "allowed"),
    [
        (15, timedelta(hours=71, minutes=59), False),
        (15, timedelta(hours=72), True),
        (15, timedelta(0), False),
        (16, timedelta(hours=1), True),
        (None, timedelta(hours=1), True),
    ],
    ids=["just before 72 h", "72 h sharp", "at once", "the same campaign", "not a campaign"],
)
def test_another_campaign_within_72_elapsed_hours_ends_the_row(last_campaign, elapsed, allowed):
    facts = replace(CAMPAIGN, last_touch_campaign_id=last_campaign, last_touch_at=TUESDAY_10H - elapsed)
    decision = decide(facts, POLICY, now=TUESDAY_10H)
    expected = Allow() if allowed else Block(SendOutcome.BLOCKED_CAMPAIGN_COOLDOWN, ReasonCode.CAMPAIGN_COOLDOWN)
    assert decision == expected


def test_the_cooldown_between_campaigns_leaves_other_kinds_alone():
    facts = replace(FOLLOWUP, last_touch_campaign_id=15, last_touch_at=TUESDAY_10H - timedelta(hours=1))
    assert isinstance(decide(facts, POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize("facts", [CAMPAIGN, FOLLOWUP], ids=["campaign", "followup"])
def test_the_fourth_message_of_a_local_day_waits_for_the_next_open_day(facts):
    assert isinstance(decide(replace(facts, daily_count=2), POLICY, now=TUESDAY_10H), Allow)
    assert decide(replace(facts, daily_count=3), POLICY, now=TUESDAY_10H) == Defer(
        SendOutcome.FAILED_RATE_LIMIT, ReasonCode.DAILY_LIMIT, until=WEDNESDAY_08H
    )


def test_the_daily_limit_on_a_friday_waits_for_monday():
    friday = datetime(2026, 3, 6, 10, 0, tzinfo=SAO_PAULO)
    decision = decide(replace(FOLLOWUP, daily_count=3), POLICY, now=friday)
    assert isinstance(decision, Defer)
    assert decision.until == datetime(2026, 3, 9, 8, 0, tzinfo=SAO_PAULO)


@pytest.mark.parametrize(("hour", "opens_on"), [(7, 3), (20, 4), (23, 4)])
@pytest.mark.parametrize("facts", [CAMPAIGN, FOLLOWUP], ids=["campaign", "followup"])
def test_outside_hours_waits_for_the_next_opening(facts, hour, opens_on):
    opening = datetime(2026, 3, opens_on, 8, 0, tzinfo=SAO_PAULO)
    decision = decide(facts, POLICY, now=TUESDAY_10H.replace(hour=hour))
    assert decision == Defer(SendOutcome.BLOCKED_QUIET_HOURS, ReasonCode.QUIET_HOURS, until=opening)


def test_the_recipients_zone_decides_the_hours():
    decision = decide(replace(CAMPAIGN, zone=RIO_BRANCO), POLICY, now=TUESDAY_10H.replace(hour=9))
    opening = datetime(2026, 3, 3, 8, 0, tzinfo=RIO_BRANCO)
    assert decision == Defer(SendOutcome.BLOCKED_QUIET_HOURS, ReasonCode.QUIET_HOURS, until=opening)


def test_holidays_are_closed():
    decision = decide(CAMPAIGN, replace(POLICY, holidays=frozenset({date(2026, 3, 3)})), now=TUESDAY_10H)
    assert decision == Defer(SendOutcome.BLOCKED_QUIET_HOURS, ReasonCode.QUIET_HOURS, until=WEDNESDAY_08H)


def test_a_postponement_lasts_until_no_known_objection_is_left():
    """The cap frees at 04:00, the window opens at 08:00: the cap is named, the opening is the date."""
    facts = replace(FOLLOWUP, contact_count_7d=5, contact_cap_frees_at=TUESDAY_10H.replace(hour=4))
    decision = decide(facts, POLICY, now=TUESDAY_03H)
    assert decision == Defer(SendOutcome.BLOCKED_CONTACT_CAP, ReasonCode.CONTACT_CAP, until=TUESDAY_10H.replace(hour=8))


@pytest.mark.parametrize("facts", [CAMPAIGN, FOLLOWUP], ids=["campaign", "followup"])
def test_an_unreadable_state_postpones_by_300_seconds(facts):
    decision = decide(replace(facts, state_readable=False), POLICY, now=TUESDAY_10H)
    assert decision == Defer(
        SendOutcome.FAILED_RATE_LIMIT, ReasonCode.STATE_UNAVAILABLE, until=TUESDAY_10H + timedelta(seconds=300)
    )
    assert isinstance(decide(replace(REPLY, state_readable=False), POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize(
    ("states", "facts", "expected"),
    [
        ({"operacao_pausada": SwitchState.ON}, REPLY, Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.OPERATION_PAUSED)),
        (
            {"operacao_pausada": SwitchState.ON},
            CAMPAIGN,
            Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.OPERATION_PAUSED),
        ),
        ({"worker_fila": SwitchState.OFF}, REPLY, Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.WORKER_DISABLED)),
        (
            {"ambiente_travado": SwitchState.ON},
            CONFIRMATION,
            Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.ENVIRONMENT_LOCKED),
        ),
        ({"safe_mode": SwitchState.ON}, FOLLOWUP, Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.SAFE_MODE)),
        ({"safe_mode": SwitchState.ON}, REPLY, Allow(ReasonCode.REPLY_VALID)),
        (
            {"safe_mode": SwitchState.ON},
            replace(REPLY, proof=None),
            Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.SAFE_MODE),
        ),
        (
            {"campaigns_enabled": SwitchState.OFF},
            CAMPAIGN,
            Hold(SendOutcome.BLOCKED_CAMPAIGNS_DISABLED, ReasonCode.CAMPAIGNS_DISABLED),
        ),
        ({"campaigns_enabled": SwitchState.OFF}, FOLLOWUP, Allow()),
        (
            {"envio_campanha": SwitchState.OFF},
            CAMPAIGN,
            Hold(SendOutcome.BLOCKED_CAMPAIGNS_DISABLED, ReasonCode.KIND_DISABLED),
        ),
        ({"envio_followup": SwitchState.OFF}, FOLLOWUP, Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.KIND_DISABLED)),
        ({"envio_resposta": SwitchState.OFF}, REPLY, Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.KIND_DISABLED)),
        ({"envio_resposta": SwitchState.OFF}, CAMPAIGN, Allow()),
        (
            {"safe_mode": SwitchState.UNREADABLE},
            FOLLOWUP,
            Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.SWITCH_UNREADABLE),
        ),
        (
            {"envio_resposta": SwitchState.UNREADABLE},
            REPLY,
            Hold(SendOutcome.BLOCKED_SAFE_MODE, ReasonCode.SWITCH_UNREADABLE),
        ),
    ],
)
def test_a_switch_holds_what_it_names_replies_included(states, facts, expected):
    assert decide(facts, switched(**states), now=TUESDAY_10H) == expected


def test_a_held_row_names_its_switch():
    decision = decide(CAMPAIGN, switched(envio_prospeccao=SwitchState.OFF), now=TUESDAY_10H)
    assert isinstance(decision, Hold)
    assert decision.details == {"switch": "envio_prospeccao"}


def test_a_final_refusal_outranks_a_switch_and_a_switch_outranks_a_postponement():
    policy = switched(campaigns_enabled=SwitchState.OFF, envio_followup=SwitchState.OFF)
    capped: dict[str, Any] = {"contact_count_7d": 5, "contact_cap_frees_at": FREES_AT}
    assert isinstance(decide(replace(CAMPAIGN, **capped), policy, now=TUESDAY_10H), Block)
    assert isinstance(decide(replace(FOLLOWUP, **capped), policy, now=TUESDAY_10H), Hold)


def test_an_unprocessed_inbound_holds_contacts_and_not_the_reply():
    decision = decide(replace(CAMPAIGN, inbound_pendente=True), POLICY, now=TUESDAY_10H)
    assert decision == Hold(SendOutcome.BLOCKED_NEXT_ALLOWED, ReasonCode.INBOUND_PENDENTE)
    assert isinstance(decide(replace(REPLY, inbound_pendente=True), POLICY, now=TUESDAY_10H), Allow)


@pytest.mark.parametrize(
    ("age", "nature"),
    [
        (timedelta(0), Nature.REPLY),
        (timedelta(minutes=30), Nature.REPLY),
        (timedelta(minutes=30, microseconds=1), Nature.PROACTIVE),
        (timedelta(minutes=-30), Nature.REPLY),
        (timedelta(minutes=-31), Nature.PROACTIVE),
    ],
    ids=["just now", "30 min", "over 30 min", "clock set back", "clock nonsense"],
)
def test_a_proof_of_reply_lasts_30_minutes(age, nature):
    facts = replace(REPLY, proof=replace(PROOF, inbound_at=TUESDAY_10H - age))
    assert nature_of(facts, POLICY, now=TUESDAY_10H) is nature


@pytest.mark.parametrize("kind", [Kind.CAMPANHA, Kind.FOLLOWUP, Kind.REATIVACAO, Kind.OFERTA, Kind.LEMBRETE])
def test_a_proof_does_not_turn_a_contact_into_a_reply(kind):
    assert nature_of(replace(REPLY, kind=kind), POLICY, now=TUESDAY_10H) is Nature.PROACTIVE


@pytest.mark.parametrize(
    "parts",
    [(None, "c-1", TUESDAY_10H), ("", "c-1", TUESDAY_10H), (7, None, TUESDAY_10H), (7, "c-1", None)],
)
def test_a_proof_needs_all_its_parts(parts):
    assert ReplyProof.of(*parts) is None


def test_a_complete_proof_is_kept():
    assert ReplyProof.of(7, "c-1", PROOF.inbound_at) == PROOF


def test_a_reply_without_proof_is_treated_as_proactive():
    decision = decide(replace(REPLY, proof=None), POLICY, now=TUESDAY_03H)
    assert decision.outcome is SendOutcome.BLOCKED_QUIET_HOURS


def test_a_test_message_is_exempt_only_on_its_way_to_the_simulator():
    canary = replace(FOLLOWUP, kind=Kind.TESTE, to_simulator=True)
    assert decide(canary, POLICY, now=TUESDAY_03H) == Allow(ReasonCode.NON_PROACTIVE)
    assert isinstance(decide(replace(canary, to_simulator=False), POLICY, now=TUESDAY_03H), Defer)


def test_every_rule_is_asked_and_the_gravest_comes_first():
    facts = replace(
        CAMPAIGN,
        opted_out=True,
        human_control=True,
        inbound_pendente=True,
        daily_count=3,
        contact_count_7d=5,
        permission_state=PermissionState.COOLING_OFF,
        next_allowed_at=FREES_AT,
        last_touch_campaign_id=15,
        last_touch_at=TUESDAY_03H,
        state_readable=False,
        production=False,
        telefone_valido=False,
    )
    policy = switched(safe_mode=SwitchState.ON, campaigns_enabled=SwitchState.OFF)
    decision = decide(facts, policy, now=TUESDAY_03H)
    assert [objection.reason.value for objection in decision.objections] == [
        "dev_allowlist_empty",
        "opted_out",
        "invalid_number",
        "handoff_ativo",
        "contact_cap",
        "cooling_off",
        "next_allowed_at",
        "campaign_cooldown",
        "campaigns_disabled",
        "safe_mode",
        "inbound_pendente",
        "daily_limit",
        "quiet_hours",
        "state_unavailable",
    ]
    assert list(decision.objections) == explain(facts, policy, now=TUESDAY_03H)
    assert decision == decision.objections[0]


def test_a_record_is_json_and_carries_neither_phone_nor_name():
    facts = replace(FOLLOWUP, contact_count_7d=5, contact_cap_frees_at=FREES_AT, daily_count=3)
    record = as_record(decide(facts, switched(safe_mode=SwitchState.ON), now=TUESDAY_03H))
    text = json.dumps(record)
    assert record["verdict"] == "hold"
    assert record["reason"] == "safe_mode"
    assert [objection["reason"] for objection in record["objections"]] == [
        "safe_mode",
        "contact_cap",
        "daily_limit",
        "quiet_hours",
    ]
    assert "900000001" not in text
    assert "900000001" not in repr(facts)


def test_a_record_of_a_send_says_so():
    assert as_record(decide(CAMPAIGN, POLICY, now=TUESDAY_10H)) == {
        "verdict": "allow",
        "outcome": "SENT",
        "reason": "ok",
        "objections": [],
        "bypassed": [],
    }


MOTIVO = "médico pediu por telefone"


def test_a_bypass_needs_a_motivo_for_every_objection():
    manual = replace(FOLLOWUP, kind=Kind.MANUAL, daily_count=3)
    decision = decide(manual, POLICY, now=TUESDAY_03H)
    assert missing_motivos(decision, {}) == (ReasonCode.DAILY_LIMIT, ReasonCode.QUIET_HOURS)
    assert apply_bypass(decision, {ReasonCode.DAILY_LIMIT: MOTIVO}) == decision
    assert apply_bypass(decision, {ReasonCode.DAILY_LIMIT: MOTIVO, ReasonCode.QUIET_HOURS: " curto    "}) == decision
    allowed = apply_bypass(decision, {ReasonCode.DAILY_LIMIT: MOTIVO, ReasonCode.QUIET_HOURS: MOTIVO})
    assert allowed == Allow(bypassed=(ReasonCode.DAILY_LIMIT, ReasonCode.QUIET_HOURS))
    assert allowed.outcome is SendOutcome.BYPASS
    assert allowed.objections == decision.objections


def test_an_opt_out_is_bypassed_only_with_a_motivo():
    manual = replace(FOLLOWUP, kind=Kind.MANUAL, opted_out=True)
    decision = decide(manual, POLICY, now=TUESDAY_10H)
    refused = apply_bypass(decision, {})
    assert refused == Block(SendOutcome.BLOCKED_OPTED_OUT, ReasonCode.OPTED_OUT_BYPASS_NO_REASON)
    assert isinstance(apply_bypass(decision, {ReasonCode.OPTED_OUT: MOTIVO}), Allow)


@pytest.mark.parametrize(
    ("change", "policy"),
    [
        ({"production": False}, POLICY),
        ({"human_control": True}, POLICY),
        ({"inbound_pendente": True}, POLICY),
        ({"state_readable": False}, POLICY),
        ({"suppression": SuppressionReason.NUMERO_ERRADO}, POLICY),
        ({}, switched(safe_mode=SwitchState.ON)),
        ({}, switched(operacao_pausada=SwitchState.ON)),
        ({}, switched(safe_mode=SwitchState.UNREADABLE)),
    ],
)
def test_no_motivo_overrides_the_allowlist_a_handoff_or_a_switch(change, policy):
    manual = replace(FOLLOWUP, kind=Kind.MANUAL, **change)
    decision = decide(manual, policy, now=TUESDAY_03H)
    assert apply_bypass(decision, dict.fromkeys(ReasonCode, MOTIVO)) == decision


def test_what_may_leave_needs_no_bypass():
    decision = decide(CAMPAIGN, POLICY, now=TUESDAY_10H)
    assert apply_bypass(decision, {}) == decision
    assert missing_motivos(decision, {}) == ()


def test_a_kind_is_read_from_its_column_and_an_unknown_one_is_refused():
    facts = replace(CAMPAIGN, kind="campanha")  # type: ignore[arg-type]
    assert decide(facts, switched(campaigns_enabled=SwitchState.OFF), now=TUESDAY_10H).outcome is (
        SendOutcome.BLOCKED_CAMPAIGNS_DISABLED
    )
    with pytest.raises(ValueError, match="promocao"):
        replace(CAMPAIGN, kind="promocao")  # type: ignore[arg-type]


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        decide(CAMPAIGN, POLICY, now=datetime(2026, 3, 3, 10))  # noqa: DTZ001


def test_a_postponement_is_given_in_utc():
    decision = decide(replace(FOLLOWUP, next_allowed_at=IN_AN_HOUR), POLICY, now=TUESDAY_10H)
    assert isinstance(decision, Defer)
    assert decision.until.tzinfo is UTC
