from dataclasses import fields, replace

import pytest

from guardrails.choices import Kind, ReasonCode, SwitchState
from guardrails.policy import (
    SWITCH_RULES,
    Policy,
    Switches,
    contact_cap_of,
    held_kinds,
    holding_switches,
)

NORMAL = Switches()


def test_every_switch_has_a_rule():
    assert {rule.name for rule in SWITCH_RULES} == {field.name for field in fields(Switches)}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("proactive", [True, False])
def test_a_normal_day_holds_nothing(kind, proactive):
    assert list(holding_switches(NORMAL, kind, proactive=proactive)) == []


@pytest.mark.parametrize("kind", Kind)
def test_switches_that_nobody_can_read_hold_every_kind(kind):
    reasons = {reason for _, reason in holding_switches(Switches.unreadable(), kind, proactive=True)}
    assert reasons == {ReasonCode.SWITCH_UNREADABLE}


def test_a_value_that_is_no_state_counts_as_unreadable():
    switches = replace(NORMAL, envio_resposta="talvez")  # type: ignore[arg-type]
    assert list(holding_switches(switches, Kind.RESPOSTA, proactive=False)) == [
        ("envio_resposta", ReasonCode.SWITCH_UNREADABLE)
    ]


REPLIES = {Kind.RESPOSTA, Kind.MANUAL, Kind.AVISO_HANDOFF, Kind.CONFIRMACAO_OPT_OUT}


@pytest.mark.parametrize(
    ("switches", "held"),
    [
        ({}, set()),
        ({"operacao_pausada": SwitchState.ON}, set(Kind)),
        ({"worker_fila": SwitchState.OFF}, set(Kind)),
        ({"ambiente_travado": SwitchState.ON}, set(Kind)),
        ({"safe_mode": SwitchState.ON}, set(Kind) - REPLIES - {Kind.TESTE}),
        ({"safe_mode": SwitchState.UNREADABLE}, set(Kind) - REPLIES - {Kind.TESTE}),
        ({"campaigns_enabled": SwitchState.OFF}, {Kind.CAMPANHA}),
        ({"envio_campanha": SwitchState.OFF}, {Kind.CAMPANHA}),
        ({"envio_prospeccao": SwitchState.OFF}, {Kind.CAMPANHA, Kind.DISCOVERY, Kind.OFERTA}),
        (
            {"envio_followup": SwitchState.OFF},
            {Kind.FOLLOWUP, Kind.REATIVACAO, Kind.FEEDBACK, Kind.LEMBRETE},
        ),
        ({"envio_resposta": SwitchState.OFF}, REPLIES),
    ],
    ids=lambda value: str(next(iter(value.items()), "normal")) if isinstance(value, dict) else "",
)
def test_the_claim_leaves_the_kinds_that_a_switch_holds(switches, held):
    assert held_kinds(replace(NORMAL, **switches)) == held


def test_emergency_mode_leaves_the_replies():
    emergency = replace(
        NORMAL, envio_prospeccao=SwitchState.OFF, envio_followup=SwitchState.OFF, envio_campanha=SwitchState.OFF
    )
    assert held_kinds(emergency) == set(Kind) - REPLIES - {Kind.TESTE}


@pytest.mark.parametrize(
    ("flag", "cap"),
    [
        ({"enabled": True, "limite": 2}, 2),
        ({"limite": 7}, 7),
        ({"enabled": False}, None),
        ({"enabled": False, "limite": 2}, None),
        (None, 5),
        ("5", 5),
        ([], 5),
        ({}, 5),
        ({"enabled": True}, 5),
        ({"enabled": True, "limite": 0}, 5),
        ({"enabled": True, "limite": -3}, 5),
        ({"enabled": True, "limite": True}, 5),
        ({"enabled": True, "limite": "9"}, 5),
        ({"enabled": True, "limite": 9.5}, 5),
        ({"enabled": 0, "limite": 9}, 9),
        ({"enabled": None}, 5),
    ],
)
def test_only_an_explicit_false_turns_the_contact_cap_off(flag, cap):
    assert contact_cap_of(flag) == cap


def test_a_campaign_message_weighs_two():
    assert {kind: Policy().weight_of(kind) for kind in Kind} == {
        kind: 2 if kind is Kind.CAMPANHA else 1 for kind in Kind
    }
