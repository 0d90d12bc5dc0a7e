"""Circuits in the database: what is asked and written, at what cost, and what a person may do."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from core.audit.services import MotivoMissing
from core.circuits import guard, services, transitions
from core.circuits.models import Circuit, CircuitTransition
from core.circuits.names import KNOWN, UnknownCircuit, of_chip, of_provider
from core.circuits.services import Call, CallResult, CircuitRefused, Gate
from core.circuits.transitions import CircuitFacts
from core.clock import database_now
from core.database import execute
from core.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db

CHIP = of_chip(uuid.UUID("0b7f4c2e-0000-4000-8000-000000000001"))
LONG_AGO = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MOTIVO = "a Evolution avisou da manutenção"


def calls(result: CallResult, *scopes: str, name: str = "evolution", **more: Any) -> list[Call]:
    return [Call(name, result, scope, "servidor", started_at=database_now(), **more) for scope in scopes]


def row(name: str = "evolution") -> Circuit:
    return Circuit.objects.get(pk=name)


def reasons(name: str = "evolution") -> list[str]:
    found = CircuitTransition.objects.filter(circuit_name=name).order_by("created_at")
    return list(found.values_list("reason", flat=True))


def put(name: str = "evolution", **values: Any) -> None:
    """A row as it stands, with instants relative to the database's clock."""
    Circuit.objects.update_or_create(pk=name, defaults=values)


def open_circuit(name: str = "evolution", *, due: bool = False) -> None:
    now = database_now()
    put(
        name,
        state="open",
        failures=5,
        opened_at=now,
        last_failure_at=now - timedelta(seconds=300 if due else 0),
        retry_at=now + timedelta(seconds=0 if due else 300),
    )


def test_every_service_has_its_circuit_from_the_first_migration() -> None:
    assert set(Circuit.objects.values_list("name", "state")) == {(name, "closed") for name in KNOWN}


@pytest.mark.parametrize(("provider", "name"), [("evolution", "evolution"), ("z-api", "zapi")])
def test_a_provider_has_a_circuit(provider: str, name: str) -> None:
    assert of_provider(provider) == name
    with pytest.raises(UnknownCircuit):
        of_provider("correio")


def test_five_failures_of_two_chips_open_the_row_and_leave_a_transition() -> None:
    (opened,) = services.record(calls(CallResult.FAILURE, *"ababa"))
    assert opened.reason == "muitas_falhas_5"
    found = row()
    assert (found.state, found.failures, found.failing_scopes, found.generation) == ("open", 5, ["a", "b"], 1)
    assert found.retry_at
    assert found.opened_at
    assert (found.retry_at - found.opened_at).total_seconds() == 300
    assert reasons() == ["muitas_falhas_5"]
    transition = CircuitTransition.objects.get()
    assert (transition.from_state, transition.to_state, transition.falhas_consecutivas) == ("closed", "open", 5)
    assert transition.created_at == found.opened_at


def test_failures_add_up_over_batches_and_processes() -> None:
    for scope in "abab":
        assert services.record(calls(CallResult.FAILURE, scope)) == []
    assert services.record(calls(CallResult.FAILURE, "a"))


def test_a_chip_without_a_row_gets_one_when_it_fails() -> None:
    services.record(calls(CallResult.TRIP, "a", name=CHIP))
    assert row(CHIP).state == "open"
    assert reasons(CHIP) == ["restricao_classificada"]


def test_the_numbers_of_the_settings_count() -> None:
    factories.set_setting("circuito_evolution", {"falhas": 2, "inicial_s": 7, "max_s": 7})
    services.record(calls(CallResult.FAILURE, "a", "b"))
    found = row()
    assert found.state == "open"
    assert found.retry_at
    assert found.opened_at
    assert (found.retry_at - found.opened_at).total_seconds() == 7


def test_the_whole_life_of_an_outage_is_written_down() -> None:
    services.record(calls(CallResult.FAILURE, *"ababa"))
    for outcome in (CallResult.FAILURE, CallResult.TIMEOUT, CallResult.SUCCESS):
        execute("UPDATE circuits SET retry_at = agora(), last_failure_at = agora() - interval '300 s'")
        token = services.acquire(["evolution"], owner="w")["evolution"]
        services.record(calls(outcome, "a", probe=True, token=token))
    assert reasons() == [
        "muitas_falhas_5",
        "timeout_reset_300s",
        "falha_half_open_tentativa_1",
        "timeout_reset_300s",
        "timeout_half_open_tentativa_2",
        "timeout_reset_300s",
        "recuperado",
    ]
    assert (row().state, row().step, row().failures) == ("closed", 0, 0)


def test_a_batch_of_a_hundred_successes_costs_one_query_and_no_write() -> None:
    names = [of_chip(uuid.uuid4()) for _ in range(50)]
    batch = [each for name in names for each in calls(CallResult.SUCCESS, "a", name=name)]
    batch += calls(CallResult.SUCCESS, *map(str, range(50)))
    services.record(batch)
    with CaptureQueriesContext(connection) as queries:
        assert services.record(batch) == []
    assert len(queries) == 1
    assert queries.captured_queries[0]["sql"].lstrip().startswith("SELECT")
    assert "FOR" not in queries.captured_queries[0]["sql"].split("FROM", 1)[1]


def test_a_batch_of_a_hundred_mixed_results_costs_four_statements() -> None:
    scopes = [str(uuid.uuid4()) for _ in range(20)]
    batch = [
        each
        for number, scope in enumerate(scopes)
        for result, name in (
            (CallResult.FAILURE, "evolution"),
            (CallResult.SUCCESS, "zapi"),
            (CallResult.TIMEOUT, "zapi"),
            (CallResult.FAILURE if number % 2 else CallResult.TRIP, of_chip(uuid.UUID(scope))),
            (CallResult.NEUTRAL, of_chip(uuid.UUID(scope))),
        )
        for each in calls(result, scope, name=name)
    ]
    assert len(batch) == 100
    with CaptureQueriesContext(connection) as queries:
        happened = services.record(batch)
    assert len(queries) <= 4
    assert len(happened) == 11
    assert Circuit.objects.exclude(state="closed").count() == 11


def test_asking_costs_one_query_whatever_the_fleet() -> None:
    for _ in range(30):
        open_circuit(of_chip(uuid.uuid4()))
    with CaptureQueriesContext(connection) as queries:
        snapshot = services.snapshot()
    assert len(queries) == 1
    assert len(snapshot.circuits) == 30


def test_a_success_is_noted_on_a_provider_and_not_again_for_ten_seconds() -> None:
    services.record(calls(CallResult.SUCCESS, "a"))
    noted = row().last_success_at
    services.record(calls(CallResult.SUCCESS, "a"))
    assert noted is not None
    assert row().last_success_at == noted
    execute("UPDATE circuits SET last_success_at = agora() - interval '11 s'")
    services.record(calls(CallResult.SUCCESS, "a"))
    assert row().last_success_at != noted


def test_recording_belongs_in_the_transaction_of_the_results(transactional_db: None) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        services.record(calls(CallResult.SUCCESS, "a"))


def test_a_snapshot_knows_gates_shares_and_when_to_look_again() -> None:
    open_circuit()
    put("zapi", share=2)
    now = database_now()
    put(CHIP, state="half_open", permit_token=3, permit_until=now + timedelta(seconds=90))
    put("claude", forced="aberto")
    snapshot = services.snapshot()
    names = ["evolution", "zapi", CHIP, "claude", "slack"]
    assert [snapshot.gate(name) for name in names] == [
        Gate.CLOSED,
        Gate.PASS,
        Gate.CLOSED,
        Gate.CLOSED,
        Gate.PASS,
    ]
    assert [snapshot.share(name) for name in names] == [None, 2, None, None, None]
    assert [snapshot.retry_at(name) for name in names] == [
        row().retry_at,
        None,
        now + timedelta(seconds=90),
        None,
        None,
    ]


@pytest.mark.parametrize("forced", ["", "aberto", "desligado"])
@pytest.mark.parametrize("state", ["closed", "open", "half_open"])
@pytest.mark.parametrize("due", [True, False])
@pytest.mark.parametrize("permit", ["free", "held", "expired"])
def test_the_statement_that_takes_permits_is_the_pure_rule(state: str, forced: str, due: bool, permit: str) -> None:
    now = database_now()
    until = {"free": now, "held": now + timedelta(seconds=60), "expired": now - timedelta(seconds=1)}[permit]
    put(
        state=state,
        forced=forced,
        retry_at=now - timedelta(seconds=1) if due else now + timedelta(seconds=60),
        last_failure_at=now - timedelta(seconds=61),
        permit_token=None if permit == "free" else 3,
        permit_until=until,
        version=8,
    )
    facts: CircuitFacts = services.snapshot().circuits.get("evolution", CircuitFacts("evolution"))
    expected = transitions.acquire(facts, database_now(), owner="w")
    won = services.acquire(["evolution"], owner="w")
    if expected is None:
        assert won == {}
        assert row().version == 8
        return
    found, (pure, transition) = row(), expected
    assert won == {"evolution": pure.permit_token}
    assert (found.state, found.permit_owner, found.version) == ("half_open", "w", pure.version)
    assert found.permit_until
    assert abs((found.permit_until - now).total_seconds() - 120) < 30
    assert reasons() == ([transition.reason] if transition else [])


def test_a_permit_given_back_is_free_at_once_and_a_foreign_one_is_not() -> None:
    open_circuit(due=True)
    tokens = services.acquire(["evolution", "zapi"], owner="w1")
    assert set(tokens) == {"evolution"}
    assert services.give_back({"evolution": tokens["evolution"] + 1}) == 0
    assert services.acquire(["evolution"], owner="w2") == {}
    assert services.give_back(tokens) == 1
    assert services.acquire(["evolution"], owner="w2") != {}


def test_confirming_names_those_that_still_pass() -> None:
    open_circuit()
    put("slack", forced="aberto")
    put("claude", state="open", retry_at=LONG_AGO, forced="desligado")
    assert services.confirm(["evolution", "zapi", "slack", "claude", CHIP]) == {"zapi", "claude", CHIP}


ACTS = [services.force_open, services.reset, services.disable, services.enable]


@pytest.mark.parametrize("act", ACTS)
def test_no_motivo_no_act(act: Any) -> None:
    open_circuit()
    with pytest.raises(MotivoMissing):
        act("evolution", actor="ana", motivo="curto")
    assert row().state == "open"


@pytest.mark.parametrize("act", ACTS)
def test_a_circuit_that_cannot_exist_is_not_made(act: Any) -> None:
    with pytest.raises(UnknownCircuit):
        act("evolutoin", actor="ana", motivo=MOTIVO)


@pytest.mark.parametrize("act", ACTS)
def test_the_databases_circuit_is_nobodys_to_operate(act: Any) -> None:
    with pytest.raises(CircuitRefused):
        act("supabase", actor="ana", motivo=MOTIVO)


@pytest.mark.parametrize(
    ("act", "acao", "reason", "gate"),
    [
        (services.force_open, "circuito_aberto", "aberto_manual", Gate.CLOSED),
        (services.reset, "circuito_fechado", "reset_manual", Gate.PASS),
        (services.disable, "circuito_desligado", "desligado_manual", Gate.PASS),
    ],
)
def test_an_act_is_audited_and_written_down_once(act: Any, acao: str, reason: str, gate: Gate) -> None:
    open_circuit()
    assert act("evolution", actor="ana", motivo=MOTIVO) is True
    assert act("evolution", actor="ana", motivo=MOTIVO) is False
    assert services.snapshot().gate("evolution") is gate
    assert reasons() == [reason]
    entry = AuditEntry.objects.get(acao=acao)
    assert (entry.usuario, entry.motivo, entry.entidade_id) == ("ana", MOTIVO, "evolution")
    assert entry.detalhes["antes"]["estado"] == "open"


def test_back_to_automatic_keeps_the_state_it_had() -> None:
    open_circuit()
    services.disable("evolution", actor="ana", motivo=MOTIVO)
    assert services.enable("evolution", actor="ana", motivo=MOTIVO)
    assert services.snapshot().gate("evolution") is Gate.CLOSED


def test_a_chip_without_a_row_can_be_forced_open() -> None:
    assert services.force_open(CHIP, actor="ana", motivo=MOTIVO)
    assert services.snapshot().gate(CHIP) is Gate.CLOSED


def test_resetting_a_healthy_circuit_says_that_nothing_changed() -> None:
    assert services.reset(CHIP, actor="ana", motivo=MOTIVO) is False
    assert not AuditEntry.objects.exists()


def raising(error: Exception) -> Any:
    def function() -> None:
        raise error

    return function


def status(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://exemplo.invalid/")
    return httpx.HTTPStatusError("x", request=request, response=httpx.Response(code, request=request))


def attempt(error: Exception | None, times: int = 1, name: str = "claude") -> None:
    for _ in range(times):
        if error is None:
            assert guard.call(name, lambda: "resposta") == "resposta"
            continue
        with pytest.raises(type(error)):
            guard.call(name, raising(error))


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (httpx.ConnectError("recusada"), True),
        (status(500), True),
        (status(401), True),
        (status(429), False),
        (httpx.ReadTimeout("10 s"), False),
        (ValueError("nosso"), False),
    ],
)
def test_what_counts_on_a_guarded_call(error: Exception, opens: bool) -> None:
    attempt(error, times=3)
    assert (row("claude").state == "open") is opens


def test_an_open_circuit_does_not_even_call() -> None:
    attempt(httpx.ConnectError("recusada"), times=3)
    called: list[int] = []
    with pytest.raises(guard.CircuitOpen) as refused:
        guard.call("claude", lambda: called.append(1))
    assert called == []
    assert refused.value.retry_at == row("claude").retry_at


@pytest.mark.parametrize(("error", "state"), [(None, "closed"), (httpx.ReadTimeout("10 s"), "open")])
def test_the_next_guarded_call_after_the_wait_is_the_probe(error: Exception | None, state: str) -> None:
    open_circuit("claude", due=True)
    attempt(error)
    assert row("claude").state == state


def test_our_own_slip_during_a_probe_gives_the_permit_back() -> None:
    open_circuit("claude", due=True)
    attempt(ValueError("nosso"))
    attempt(None)
    assert row("claude").state == "closed"


def test_changes_are_kept_for_thirty_days() -> None:
    from core.jobs import runner

    for days in (29, 31):
        CircuitTransition.objects.create(
            circuit_name="evolution",
            from_state="closed",
            to_state="open",
            reason=f"dia_{days}",
            created_at=database_now() - timedelta(days=days),
        )
    assert runner.run("limpar_execucoes", now=database_now(), origem="manual").ok
    assert reasons() == ["dia_29"]
