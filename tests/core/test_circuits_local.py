"""The database's own circuit: it works without the database, and the table learns of it afterwards."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import DataError, InterfaceError, OperationalError, connection
from psycopg import errors

from core.circuits import services
from core.circuits.local import MOST_BUFFERED, LocalCircuit, judge
from core.circuits.models import Circuit, CircuitState, CircuitTransition
from core.circuits.services import CallResult
from core.database import rows
from tests import factories

NOW = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def away() -> LocalCircuit:
    circuit = LocalCircuit("supabase")
    for _ in range(5):
        circuit.failed(NOW)
    return circuit


def driver_error(cause: type[psycopg.Error]) -> OperationalError:
    error = OperationalError("x")
    error.__cause__ = cause("x")
    return error


def test_five_failures_in_a_row_keep_everybody_away_for_thirty_seconds() -> None:
    circuit = LocalCircuit("supabase")
    for _ in range(4):
        circuit.failed(NOW)
    assert circuit.allows(NOW)
    circuit.failed(NOW)
    assert not circuit.allows(at(29))
    assert circuit.allows(at(30))


def test_one_probe_at_a_time_and_each_failed_one_doubles_the_wait_up_to_120_s() -> None:
    circuit, probed = away(), []
    for second in range(400):
        if circuit.allows(at(second)):
            assert not circuit.allows(at(second))
            circuit.failed(at(second))
            probed.append(second)
    assert probed == [30, 90, 210, 330]


def test_a_success_closes_it() -> None:
    circuit = away()
    assert circuit.allows(at(30))
    circuit.succeeded(at(31))
    assert circuit.facts.state is CircuitState.CLOSED
    assert circuit.allows(at(31))


def test_timeouts_of_statements_never_open_it() -> None:
    circuit = LocalCircuit("supabase")
    for _ in range(20):
        circuit.report(CallResult.TIMEOUT, NOW)
    assert circuit.allows(NOW)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (driver_error(errors.AdminShutdown), CallResult.FAILURE),
        (driver_error(errors.CannotConnectNow), CallResult.FAILURE),
        (driver_error(errors.TooManyConnections), CallResult.FAILURE),
        (driver_error(psycopg.OperationalError), CallResult.FAILURE),
        (InterfaceError("connection already closed"), CallResult.FAILURE),
        (driver_error(errors.ConnectionTimeout), CallResult.TIMEOUT),
        (driver_error(errors.QueryCanceled), CallResult.TIMEOUT),
        (driver_error(errors.LockNotAvailable), CallResult.TIMEOUT),
        (driver_error(errors.DeadlockDetected), CallResult.SUCCESS),
    ],
)
def test_what_an_error_of_the_driver_says_about_the_server(error: Exception, expected: CallResult) -> None:
    assert judge(error)[0] is expected


def watched(circuit: LocalCircuit, error: Exception | None = None) -> Callable[[], None]:
    def run() -> None:
        with circuit.watch(lambda: NOW):
            if error is not None:
                raise error

    return run


def test_what_is_watched_is_reported_and_raised_again() -> None:
    circuit = LocalCircuit("supabase")
    for _ in range(4):
        with pytest.raises(OperationalError):
            watched(circuit, driver_error(errors.AdminShutdown))()
    assert circuit.facts.failures == 4
    with pytest.raises(DataError):
        watched(circuit, DataError("nosso"))()
    assert circuit.facts.failures == 0
    watched(circuit)()
    assert circuit.facts.last_success_at == NOW


@pytest.mark.django_db
def test_the_table_learns_of_the_outage_when_the_database_is_back() -> None:
    circuit = away()
    assert circuit.allows(at(30))
    circuit.succeeded(at(31))
    assert (circuit.pending, CircuitTransition.objects.count()) == (3, 0)
    assert circuit.flush() == 3
    assert circuit.flush() == 0
    found = rows("SELECT reason, created_at FROM circuit_transitions ORDER BY created_at")
    assert [(each["reason"], each["created_at"]) for each in found] == [
        ("muitas_falhas_5", NOW),
        ("timeout_reset_30s", at(30)),
        ("recuperado", at(31)),
    ]
    row = Circuit.objects.get(pk="supabase")
    assert (row.state, row.last_failure_at, row.last_success_at) == ("closed", NOW, at(31))


@pytest.mark.django_db
def test_flushing_nothing_asks_nothing() -> None:
    from django.test.utils import CaptureQueriesContext

    circuit = LocalCircuit("supabase")
    circuit.succeeded(NOW)
    with CaptureQueriesContext(connection) as queries:
        assert circuit.flush() == 0
    assert len(queries) == 0


@pytest.mark.django_db
def test_the_numbers_of_the_setting_are_taken_over_when_the_database_is_back() -> None:
    factories.set_setting("circuito_supabase", {"falhas": 2, "inicial_s": 5, "max_s": 5})
    circuit = away()
    circuit.flush()
    assert circuit.config.failures == 2


@pytest.mark.django_db(transaction=True)
def test_a_flush_that_fails_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = away()
    with monkeypatch.context() as broken:
        broken.setitem(connection.settings_dict, "NAME", "nao_existe")
        connection.close()
        with pytest.raises(OperationalError):
            circuit.flush()
    connection.close()
    assert circuit.pending == 1
    assert circuit.flush() == 1
    assert services.snapshot().gate("supabase") is services.Gate.PASS


def test_a_very_long_outage_keeps_the_newest_thousand_changes() -> None:
    circuit = away()
    second = 0
    while circuit.lost == 0:
        second += 30
        if circuit.allows(at(second)):
            circuit.failed(at(second))
    assert circuit.pending == MOST_BUFFERED
