"""What health pages say while something they need is away: within 3 s, by name, and well again by themselves."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from django.test import Client

from core.circuits import services
from core.health import readiness
from core.health.lanes import LANES, lanes
from core.health.reading import forget_all
from core.health.views import HEALTH, READY
from julia.health.urls import PAGES
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

WITHIN_S = 3.0
EVERY_PAGE = {"health": HEALTH, "health/ready": READY, **PAGES}
NEED_DATABASE = [path for path in EVERY_PAGE if path not in ("health", "health/ready")]
# Tables that are locked together, each with the pages that cannot do without it.
LOCKED: tuple[dict[str, set[str]], ...] = (
    {
        "fila_mensagens": {"health/fila"},
        "role_beats": {"health/worker"},
        "job_executions": {"health/jobs"},
        "alertas": {"health/alerts"},
        "metrics_snapshots": {"metrics/history"},
    },
    {
        "chips": {"health/chips"},
        "circuit_transitions": {"health/circuits/history", "health/circuits/dashboard", "circuits/dashboard"},
        "limites_minutos": {"health/rate-limit"},
        "metric_counters": {"metrics"},
    },
    {"circuits": {"health/circuits", "health/circuits/dashboard", "circuits/dashboard", "health/chips"}},
    {"app_settings": {"health/rate-limit", "health/chips", "health/circuits"}},
)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    forget_all()
    readiness.forget()
    factories.chip()
    yield
    forget_all()
    readiness.forget()


def timed(path: str) -> tuple[Any, float]:
    started = time.monotonic()
    response = Client().get(f"/{path}")
    return response, time.monotonic() - started


class Stalls:
    """How long a thread that only sleeps was kept waiting by a busy machine: no page is to blame for that."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure)

    def __enter__(self) -> "Stalls":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            time.sleep(0.02)
            self.seconds += max(0.0, time.monotonic() - started - 0.03)


def all_at_once() -> dict[str, tuple[Any, float]]:
    """As a monitor, a dashboard and operators ask: every page at the same time; with the seconds that each took."""
    found: dict[str, tuple[Any, float]] = {}

    def ask(path: str) -> None:
        with Stalls() as stalls:
            response, seconds = timed(path)
        found[path] = response, seconds - stalls.seconds
        connections.close_all()

    threads = [threading.Thread(target=ask, args=(path,)) for path in EVERY_PAGE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def named_faults(path: str, response: Any) -> list[dict[str, str]]:
    """What a body says is wrong."""
    if path == "metrics":
        text = response.content.decode()
        return [{"classe": text[2:].partition(":")[0], "mensagem": text}] if response.status_code == 503 else []
    body = response.json()
    faults = [body["erro"]] if "erro" in body else []
    faults += list(body.get("nao_lidos", {}).values())
    checks = body.get("checks", {})
    return faults + [check["erro"] for check in checks.values() if isinstance(check, dict) and "erro" in check]


def assert_all_well(*paths: str) -> None:
    """Within the seconds that a failure is remembered, without anything being started again. No path means all."""
    deadline = time.monotonic() + 30
    while True:
        readiness.forget()
        wrong = {path: faults for path in paths or NEED_DATABASE if (faults := named_faults(path, timed(path)[0]))}
        if not wrong and (paths or timed("health/ready")[0].status_code == 200):
            return
        assert time.monotonic() < deadline, wrong
        time.sleep(0.2)


def assert_said(found: dict[str, tuple[Any, float]], *, database_away: bool) -> None:
    slow = {path: round(seconds, 2) for path, (_, seconds) in found.items() if seconds >= WITHIN_S}
    assert not slow
    assert found["health"][0].status_code == 200
    for path in NEED_DATABASE:
        response = found[path][0]
        assert response.status_code in EVERY_PAGE[path].codes, path
        if database_away:
            faults = named_faults(path, response)
            assert faults, path
            assert all(fault["classe"] and " " in fault["mensagem"] for fault in faults)
    if database_away:
        assert found["health/ready"][0].status_code == 503
        assert found["health/score"][0].json()["components"]["supabase"] == 0
        assert found["health/worker"][0].status_code == 503


@contextmanager
def database_at(port: int) -> Iterator[None]:
    """Every new connection goes there; those that are open go on."""
    before = {key: connection.settings_dict[key] for key in ("HOST", "PORT")}
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(port)}
    try:
        yield
    finally:
        connection.settings_dict |= before


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# --- the database


def test_a_database_that_refuses_is_named_by_every_page_which_is_well_afterwards() -> None:
    with database_at(closed_port()):
        found = all_at_once()
    assert_said(found, database_away=True)
    assert "127.0.0.1" not in "".join(response.content.decode() for response, _ in found.values())
    assert_all_well()


def test_a_database_that_hangs_is_waited_for_by_nobody_and_by_few_connections() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, database_at(silent.getsockname()[1]):
        for _ in range(3):
            assert_said(all_at_once(), database_away=True)
            assert lanes.count <= LANES
    assert_all_well()


class Proxy:
    """Between us and the database, until `freeze`: then bytes go nowhere, also on connections that are open."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._address = address
        self._frozen = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen.set()

    def thaw(self) -> None:
        """For connections made from here on; what was swallowed stays so."""
        self._frozen.clear()

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it; closing alone does not
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET)
            server.connect(self._address)
            self._open += [client, server]
            lost = threading.Event()
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, target, lost), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, lost: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if self._frozen.is_set():
                    lost.set()
                if not lost.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    address = connection.settings_dict
    host = address["HOST"] or address["OPTIONS"].get("host", "localhost")
    port = int(address["PORT"] or 5432)
    between = Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
    yield between
    between.close()


def test_connections_that_fell_silent_are_given_up_and_made_anew(proxy: Proxy) -> None:
    """A failover: what was open never answers again, what is new works."""
    with database_at(proxy.port):
        assert_said(all_at_once(), database_away=False)
        time.sleep(5.1)  # what was read is old
        proxy.freeze()
        assert_said(all_at_once(), database_away=True)
        proxy.thaw()
        assert_all_well()
        assert lanes.count <= LANES


# --- one table


@pytest.fixture
def other_session() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as session:
        yield session
        session.rollback()


@pytest.mark.parametrize("tables", LOCKED, ids=["+".join(tables) for tables in LOCKED])
def test_locked_tables_take_only_their_own_pages_down(
    tables: dict[str, set[str]], other_session: psycopg.Connection[Any]
) -> None:
    for table in tables:
        other_session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    found = all_at_once()
    assert_said(found, database_away=False)
    for path in set().union(*tables.values()):
        faults = named_faults(path, found[path][0])
        assert faults, path
        assert faults[0]["classe"] in ("QueryCanceled", "TimeoutError", "SettingUnreadable"), (path, faults)
    if "circuits" not in tables and "app_settings" not in tables and "chips" not in tables:
        for path in ("health/chips", "health/circuits", "health/rate-limit"):
            assert not named_faults(path, found[path][0]), path
    other_session.rollback()
    assert_all_well()


# --- the others


def test_a_redis_that_is_not_there_is_named_and_everything_else_is_shown(settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{closed_port()}/0"
    found = all_at_once()
    assert_said(found, database_away=False)
    assert found["health/ready"][0].json()["checks"]["redis"].startswith("error: ConnectionError")
    assert found["health/score"][0].json()["components"]["redis"] == 0
    assert found["health/deep"][0].json()["checks"]["redis"]["status"] == "error"
    assert_all_well("health/fila", "health/jobs", "health/chips", "health/circuits", "metrics")
    settings.REDIS_URL = ""
    assert_all_well()


def test_a_slack_that_is_down_is_a_circuit_and_nothing_waits_for_it(settings: Any) -> None:
    settings.SLACK_WEBHOOK_URL = f"http://127.0.0.1:{closed_port()}/services/T/B/x"
    services.force_open("slack", actor="sistema", motivo="Slack fora do ar no teste")
    found = all_at_once()
    assert_said(found, database_away=False)
    assert found["health/circuits"][0].json()["circuits"]["slack"]["estado"] == "open"
    assert any(alert["chave"] == "slack" for alert in found["health/alerts"][0].json()["alerts"])
