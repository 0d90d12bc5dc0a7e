"""Scratch databases: made, owned, and cleared away when their owner is gone; their clock is simulated."""

import os
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from chips.simulator.client import SimulatorProcess
from julia.exercicio.banco import PREFIX, Banco, Scratch, url_of
from julia.exercicio.errors import DrillRefused
from julia.exercicio.relogio import START, Relogio
from julia.exercicio.servidor import SharedServer


@pytest.fixture
def server() -> SharedServer:
    return SharedServer(os.environ["DATABASE_URL"])


@pytest.fixture
def maintenance(server: SharedServer) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(url_of(server.url, "postgres"), autocommit=True) as connection:
        yield connection


def exists(connection: "psycopg.Connection[tuple[object, ...]]", name: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://julia@/julia?host=/tmp/x&port=5432", "postgresql://julia@/other?host=/tmp/x&port=5432"),
        ("postgres://u:p@db:5432/julia", "postgres://u:p@db:5432/other"),
        ("postgresql:///julia", "postgresql:///other"),
        ("postgresql://db", "postgresql://db/other"),
    ],
)
def test_the_same_server_another_database(url: str, expected: str) -> None:
    assert url_of(url, "other") == expected


def test_what_is_no_address_of_a_server_is_refused() -> None:
    with pytest.raises(DrillRefused):
        url_of("dbname=julia", "other")


def test_a_leftover_is_cleared_and_what_somebody_owns_is_not(
    server: SharedServer, maintenance: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    leftover, owned = PREFIX + "000000000001", PREFIX + "000000000002"
    scratch = Scratch(owned, url_of(server.url, owned), server.url)
    scratch.hold()
    try:
        for name in (leftover, owned):
            maintenance.execute(f'CREATE DATABASE "{name}"')
        dropped = server.clear_leftovers()
        assert leftover in dropped
        assert owned not in dropped
        assert not exists(maintenance, leftover)
        assert exists(maintenance, owned)
    finally:
        scratch.drop()
    assert not exists(maintenance, owned)


def test_a_database_that_calls_itself_production_is_refused(
    server: SharedServer, maintenance: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    name = PREFIX + "000000000003"
    scratch = Scratch(name, url_of(server.url, name), server.url)
    scratch.hold()
    try:
        maintenance.execute(f'CREATE DATABASE "{name}"')
        with psycopg.connect(scratch.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE app_settings (key text, value jsonb)")
            connection.execute("INSERT INTO app_settings VALUES ('environment', '\"production\"')")
        with pytest.raises(DrillRefused):
            SharedServer(scratch.url).refuse_production()
    finally:
        scratch.drop()


@pytest.mark.slow
def test_simulated_time_starts_on_a_working_morning_and_moves_when_told(server: SharedServer) -> None:
    with server.scratch() as scratch, SimulatorProcess() as simulador:
        banco = Banco(scratch.url)
        relogio = Relogio(banco, simulador)
        relogio.install()
        first = relogio.now()
        assert first - START < timedelta(seconds=30)
        relogio.advance(3600)
        second = relogio.now()
        assert timedelta(hours=1) <= second - first < timedelta(hours=1, seconds=30)
        relogio.leap(-600)
        assert relogio.now() < second
        banco.close()


def test_no_other_database_gets_the_simulated_clock(server: SharedServer) -> None:
    with SimulatorProcess() as simulador:
        banco = Banco(url_of(server.url, "postgres"))
        with pytest.raises(DrillRefused):
            Relogio(banco, simulador).install()
        banco.close()
