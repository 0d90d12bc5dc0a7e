"""Raw settings as operators leave them, by page or by SQL, and the rules that are made of them: doubt holds."""

from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError

from core.database import execute
from fila import policy
from fila.policy import Outside, Pacing, build, outside, read
from guardrails.choices import SwitchState
from guardrails.hours import BUSINESS_HOURS, Window
from guardrails.models import Feriado
from guardrails.policy import Switches
from tests import factories
from tests.fila.attempts import look

ON, OFF, UNREADABLE = SwitchState.ON, SwitchState.OFF, SwitchState.UNREADABLE
NAMES = [field.name for field in fields(Switches) if field.name != "ambiente_travado"]
NORMAL = factories.NORMAL_SWITCHES


def switches_of(**found: Any) -> Switches:
    return build(NORMAL | found).policy.switches


# --- switches


def test_a_normal_day_reads_as_the_normal_position_of_every_switch() -> None:
    assert switches_of() == Switches()


def test_the_factories_know_every_switch() -> None:
    assert set(NORMAL) == {*NAMES, "envio_travado"}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_switch_is_unreadable(name: str) -> None:
    found = {key: value for key, value in NORMAL.items() if key != name}
    assert getattr(build(found).policy.switches, name) is UNREADABLE


@pytest.mark.parametrize("value", [None, "true", "false", 0, 1, 1.0, [], {}, {"enabled": True}])
def test_a_switch_that_is_no_boolean_is_unreadable(value: Any) -> None:
    assert switches_of(safe_mode=value).safe_mode is UNREADABLE


@pytest.mark.parametrize(("value", "state"), [(True, ON), (False, OFF)])
def test_a_switch_is_what_it_says(value: bool, state: SwitchState) -> None:
    assert switches_of(safe_mode=value).safe_mode is state


# --- hours


def test_no_window_means_business_hours() -> None:
    assert build(NORMAL).policy.window == BUSINESS_HOURS


def test_a_window_is_read_in_local_clock_time() -> None:
    found = NORMAL | {"janela_envio": {"inicio": "09:30", "fim": "24:00", "dias": [6, 7]}}
    rules = build(found)
    assert rules.policy.window == Window(9 * 60 + 30, 24 * 60, frozenset({6, 7}))
    assert rules.policy.switches.operacao_pausada is OFF


@pytest.mark.parametrize(
    "window",
    [
        "08:00-20:00",
        [],
        {},
        {"inicio": "20:00", "fim": "08:00", "dias": [1]},
        {"inicio": "8h", "fim": "20:00", "dias": [1]},
        {"inicio": "08:00", "fim": "25:00", "dias": [1]},
        {"inicio": "08:00", "fim": "20:00", "dias": []},
        {"inicio": "08:00", "fim": "20:00", "dias": [0]},
        {"inicio": "08:00", "fim": "20:00", "dias": None},
        {"inicio": "08:00", "fim": "20:00", "dias": "12345"},
        {"inicio": "08:00", "fim": "20:00", "dias": [[1]]},
        {"inicio": "08:00", "fim": "20:00"},
        {"inicio": None, "fim": None, "dias": [1]},
        7,
    ],
)
def test_a_window_that_cannot_be_read_holds_everything(window: Any) -> None:
    rules = build(NORMAL | {"janela_envio": window})
    assert rules.policy.switches.operacao_pausada is UNREADABLE


def test_holidays_are_handed_on() -> None:
    assert build(NORMAL, frozenset({date(2026, 12, 25)})).policy.holidays == {date(2026, 12, 25)}


# --- numbers


@pytest.mark.parametrize(
    ("flag", "cap"),
    [
        ({"enabled": True, "limite": 2}, 2),
        ({"limite": 7}, 7),
        ({"enabled": False, "limite": 2}, None),
        ({"enabled": False}, None),
        ({"enabled": True}, 5),
        ({"enabled": True, "limite": 0}, 5),
        ({"enabled": True, "limite": "3"}, 5),
        ({"enabled": "false", "limite": 3}, 3),
        (False, 5),
        (3, 5),
        (None, 5),
    ],
)
def test_only_an_explicit_enabled_false_turns_the_contact_cap_off(flag: Any, cap: int | None) -> None:
    assert build(NORMAL | {"contact_cap_7d": flag}).policy.contact_cap_7d == cap


def test_without_a_flag_the_contact_cap_is_five() -> None:
    assert build(NORMAL).policy.contact_cap_7d == 5


GARBAGE = ["10", -1, 2.5, True, [], {}]


@pytest.mark.parametrize("value", GARBAGE)
def test_a_number_that_cannot_be_read_is_the_default(value: Any) -> None:
    keys = ("limite_diario_pessoa", "peso_campanha", "dias_entre_campanhas")
    rules = build(NORMAL | dict.fromkeys(keys, value)).policy
    assert (rules.daily_person_limit, rules.campaign_weight, rules.campaign_cooldown) == (3, 2, timedelta(days=3))


def test_numbers_are_what_they_say() -> None:
    rules = build(NORMAL | {"limite_diario_pessoa": 1, "peso_campanha": 4, "dias_entre_campanhas": 7}).policy
    assert (rules.daily_person_limit, rules.campaign_weight, rules.campaign_cooldown) == (1, 4, timedelta(days=7))


def test_a_campaign_message_always_weighs_something() -> None:
    assert build(NORMAL | {"peso_campanha": 0}).policy.campaign_weight == 1


@pytest.mark.parametrize(("value", "limit"), [(None, None), (0, 0), (7, 7)])
def test_a_global_limit_is_what_it_says_and_only_null_lifts_it(value: int | None, limit: int | None) -> None:
    rules = build(NORMAL | {"limite_global_hora": value, "limite_global_dia": value})
    assert (rules.global_hour, rules.global_day) == (limit, limit)


@pytest.mark.parametrize("found", [{}, *({"limite_global_hora": bad, "limite_global_dia": bad} for bad in GARBAGE)])
def test_a_global_limit_that_is_missing_or_garbled_is_the_default(found: dict[str, Any]) -> None:
    rules = build(NORMAL | found)
    assert (rules.global_hour, rules.global_day) == (20, 100)


@pytest.mark.parametrize(
    ("value", "pacing"),
    [
        ({"min": 1, "max": 2.5}, Pacing(1, 2.5)),
        ({"min": 0, "max": 0}, Pacing(0, 0)),
        ({}, Pacing()),
        ({"min": 5}, Pacing()),
        ({"min": "x", "max": 9}, Pacing()),
        ({"min": -1, "max": 9}, Pacing()),
        ([45, 180], Pacing()),
        (None, Pacing()),
    ],
)
def test_a_pace_that_cannot_be_read_is_the_default(value: Any, pacing: Pacing) -> None:
    assert build(NORMAL | {"pacing_s": value}).pacing == pacing


# --- which environment


@pytest.mark.parametrize(
    ("stored", "ours", "state"),
    [
        ({}, "projeto-a", OFF),
        ({"supabase_project_ref": ""}, "projeto-a", OFF),
        ({"supabase_project_ref": "projeto-a"}, "projeto-a", OFF),
        ({"supabase_project_ref": "projeto-b"}, "projeto-a", ON),
        ({"supabase_project_ref": 7}, "projeto-a", ON),
        ({"environment": "test"}, "", OFF),
        ({"environment": "production"}, "", ON),
        ({"environment": "production", "supabase_project_ref": "projeto-a"}, "projeto-a", ON),
        ({"envio_travado": True, "supabase_project_ref": "projeto-a"}, "projeto-a", ON),
        ({"envio_travado": "não", "supabase_project_ref": "projeto-a"}, "projeto-a", UNREADABLE),
    ],
)
def test_a_database_of_another_environment_locks_sending(
    monkeypatch: pytest.MonkeyPatch, stored: dict[str, Any], ours: str, state: SwitchState
) -> None:
    monkeypatch.setattr(settings, "SUPABASE_PROJECT_REF", ours)
    monkeypatch.setattr(settings, "APP_ENV", "test")
    assert switches_of(**stored).ambiente_travado is state


def test_a_missing_lock_is_unreadable() -> None:
    found = {key: value for key, value in NORMAL.items() if key != "envio_travado"}
    assert build(found).policy.switches.ambiente_travado is UNREADABLE


# --- where this process may send


ELSEWHERE = Outside(production=False, simulated=False, allowlist=frozenset({"5541980000001", "554180000001"}))


@pytest.mark.parametrize(
    ("telefone", "allowed"), [("5541980000001", True), ("554180000001", True), ("5541980000002", False)]
)
def test_the_allowlist_knows_both_spellings_of_a_number(telefone: str, allowed: bool) -> None:
    assert ELSEWHERE.allows(telefone) is allowed


def test_an_empty_allowlist_is_no_answer() -> None:
    assert Outside(production=False, simulated=False, allowlist=frozenset()).allows("5541980000001") is None


def test_the_allowlist_is_read_in_any_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "OUTBOUND_ALLOWLIST", ["+55 41 98000-0001"])
    assert outside(simulated=False) == ELSEWHERE


# --- what the database says


@pytest.mark.django_db
def test_what_the_migrations_write_is_a_normal_day() -> None:
    assert read() == build(NORMAL)


@pytest.mark.django_db
def test_an_operators_update_counts_at_the_next_read() -> None:
    execute("UPDATE app_settings SET value = 'true' WHERE key = 'safe_mode'")
    assert read().policy.switches.safe_mode is ON


@pytest.mark.django_db
def test_holidays_come_from_their_table() -> None:
    Feriado.objects.create(data=date(2099, 12, 25), nome="Natal")
    assert date(2099, 12, 25) in read().policy.holidays


def test_a_database_that_does_not_answer_holds_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(policy, "rows", away)
    assert read().policy.switches == Switches.unreadable()


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["operacao_pausada", "worker_fila", "envio_travado", "janela_envio"])
def test_what_garbage_guards_is_not_even_claimed(open_operation: None, key: str) -> None:
    factories.chip()
    message = factories.mensagem(campanha=factories.campanha())
    factories.set_setting(key, "talvez")
    assert look() == []
    message.refresh_from_db()
    assert message.status == "pendente"
