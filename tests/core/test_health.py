"""Health: alive touches nothing, ready names what is missing and answers in time while the database is away."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from core.health import beats, readiness, registry, views
from core.health.models import RoleBeat
from core.health.registry import CheckResult, health_check, run_checks

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
TOKEN = "test-health-token"


@pytest.fixture(autouse=True)
def _ask_anew() -> Iterator[None]:
    readiness.forget()
    yield
    readiness.forget()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


def point_database_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(port))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# --- GET /health


def test_alive_touches_neither_database_nor_cache(client: Client, settings: Any) -> None:
    settings.HEALTH_TOKEN = TOKEN
    response = client.get("/health")  # this test may not use the database: pytest would refuse
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["service"]) == ("healthy", "julia-api")
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None


def test_health_is_read_only(client: Client) -> None:
    assert client.post("/health").status_code == 405
    assert client.head("/health").status_code == 200


# --- GET /health/ready


@pytest.mark.django_db
def test_ready_when_database_and_cache_answer(client: Client) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.json()["checks"] == {"redis": "ok", "supabase": "ok"}


@pytest.mark.django_db
def test_not_ready_names_the_dead_database_without_its_message(client: Client, monkeypatch: Any) -> None:
    point_database_at(monkeypatch, closed_port())
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "not_ready"
    assert response.json()["checks"]["supabase"] == "error: OperationalError: a verificação não terminou"
    assert "127.0.0.1" not in response.content.decode()


@pytest.mark.django_db
def test_not_ready_answers_within_three_seconds_while_the_database_is_silent(
    client: Client, monkeypatch: Any, black_hole: int
) -> None:
    point_database_at(monkeypatch, black_hole)
    started = time.monotonic()
    response = client.get("/health/ready")
    assert time.monotonic() - started < 3
    assert response.status_code == 503
    assert response.json()["checks"]["supabase"].startswith("error: ")


@pytest.mark.django_db
def test_not_ready_names_the_dead_redis_alone(client: Client, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{closed_port()}/0"
    response = client.get("/health/ready")
    assert response.status_code == 503
    checks = response.json()["checks"]
    assert (checks["redis"], checks["supabase"]) == ("error: ConnectionError: a verificação não terminou", "ok")


@pytest.mark.django_db
def test_a_silent_redis_is_not_waited_for(client: Client, settings: Any, black_hole: int) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{black_hole}/0"
    started = time.monotonic()
    checks = client.get("/health/ready").json()["checks"]
    assert time.monotonic() - started < 3
    assert checks["redis"].startswith("error: ")
    assert checks["supabase"] == "ok"


@pytest.mark.django_db
def test_without_redis_the_cache_table_must_exist(client: Client, settings: Any) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "cache_that_was_never_created"}}
    assert "ProgrammingError" in client.get("/health/ready").json()["checks"]["redis"]


def test_an_answer_holds_for_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, asked = 100.0, []
    monkeypatch.setattr(readiness, "database", lambda: asked.append("database"))
    monkeypatch.setattr(readiness, "shared_cache", lambda: None)
    monkeypatch.setattr("core.health.readiness._seconds", lambda: seconds)
    readiness.readiness(NOW)
    seconds = 104.9
    readiness.readiness(NOW)
    assert len(asked) == 1
    seconds = 105.0
    readiness.readiness(NOW)
    assert len(asked) == 2


def test_a_question_that_hangs_is_asked_by_one_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    answer, asked = Event(), []

    def hangs() -> None:
        asked.append(1)
        answer.wait(30)

    monkeypatch.setattr(readiness, "_open", {})
    monkeypatch.setattr(readiness, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(readiness, "database", hangs)
    monkeypatch.setattr(readiness, "shared_cache", lambda: None)
    for _ in range(3):
        readiness.forget()
        assert readiness.readiness(NOW)["supabase"].detail.startswith("TimeoutError")
    assert len(asked) == 1
    answer.set()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": f"Bearer {TOKEN}"}, 200), ({"Authorization": "Bearer x"}, 401), ({}, 401)],
)
def test_ready_can_be_closed_with_a_token(
    client: Client, settings: Any, monkeypatch: Any, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setattr(views, "readiness", lambda now: {"redis": CheckResult(ok=True)})
    settings.HEALTH_TOKEN = TOKEN
    assert client.get("/health/ready", headers=headers).status_code == status
    settings.HEALTH_TOKEN = ""
    assert client.get("/health/ready").status_code == 200


# --- registry


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_checks", {})


@pytest.mark.usefixtures("_own_registry")
def test_a_report_is_as_good_as_its_worst_check() -> None:
    health_check("fila.backlog")(lambda now: CheckResult(ok=True))
    health_check("fila.worker")(lambda now: CheckResult(ok=False, detail="nenhum worker"))
    report = run_checks(NOW)
    assert not report.ok
    assert report.results["fila.worker"].detail == "nenhum worker"
    assert run_checks(NOW, only=["fila.backlog"]).ok


@pytest.mark.usefixtures("_own_registry")
def test_a_check_that_breaks_is_a_failed_check_and_keeps_its_message_to_itself() -> None:
    @health_check("fila.backlog")
    def breaks(now: datetime) -> CheckResult:
        raise ValueError("segredo")

    health_check("fila.worker")(lambda now: CheckResult(ok=True))
    report = run_checks(NOW)
    assert report.results["fila.backlog"] == CheckResult(ok=False, detail="ValueError: a verificação não terminou")
    assert report.results["fila.worker"].ok


@pytest.mark.usefixtures("_own_registry")
def test_a_check_is_registered_once() -> None:
    health_check("fila.backlog")(lambda now: CheckResult(ok=True))
    with pytest.raises(ValueError, match="twice"):
        health_check("fila.backlog")(lambda now: CheckResult(ok=True))


# --- signs of life


@pytest.mark.django_db
def test_a_beat_renews_the_row_of_its_instance() -> None:
    beats.beat("worker", "worker@host:1", {"olhadas": 1})
    RoleBeat.objects.update(beat_at=NOW, started_at=NOW)
    beats.beat("worker", "worker@host:1", {"olhadas": 2})
    row = RoleBeat.objects.get()
    assert (row.detalhe, row.started_at) == ({"olhadas": 2}, NOW)
    assert row.beat_at > NOW


@pytest.mark.django_db
def test_the_newest_beat_of_a_role_is_of_any_machine_and_no_other_role() -> None:
    for minutes, name in enumerate(("worker@c", "worker@b", "worker@a")):
        beats.beat("worker", name)
        RoleBeat.objects.filter(instancia=name).update(beat_at=NOW - timedelta(minutes=minutes))
    beats.beat("scheduler", "scheduler@a")
    newest = beats.newest("worker")
    assert newest is not None
    assert newest.instancia == "worker@c"
    assert beats.newest("api") is None


@pytest.mark.django_db
def test_an_instance_that_ended_on_purpose_says_so_until_it_beats_again() -> None:
    beats.beat("worker", "worker@a")
    RoleBeat.objects.update(started_at=NOW)
    beats.close("worker@a")
    ended = beats.newest("worker")
    assert ended is not None
    assert ended.encerrado_em is not None
    beats.beat("worker", "worker@a")
    again = beats.newest("worker")
    assert again is not None
    assert (again.encerrado_em, again.started_at > NOW) == (None, True)
