"""What health pages read: asked once at a time, remembered for seconds, bounded in connections, mended by itself."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from core.database import rows
from core.health import lanes as lanes_module
from core.health import reading as reading_module
from core.health.lanes import LANES, lanes
from core.health.reading import BUSY, Answer, Reading
from core.health.registry import Failure

pytestmark = pytest.mark.django_db


def backends(condition: str = "true") -> int:
    """Connections of health pages that the server knows of now."""
    rows("SELECT pg_stat_clear_snapshot()")
    sql = f"SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'julia saude' AND {condition}"
    return int(rows(sql)[0]["n"])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Reading[Any]]]:
    """Readings of a test are forgotten with it."""
    before = list(reading_module._all)
    yield reading_module._all
    reading_module._all[:] = before


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(reading_module, "_seconds", lambda: now[0])
    return now


def test_a_question_is_read_in_database_time_over_a_connection_that_cannot_write(made: Any) -> None:
    def write(now: datetime) -> str:
        assert now.tzinfo is not None
        return str(rows("SHOW default_transaction_read_only")[0]["default_transaction_read_only"])

    answer = Reading("escreve", write).ask().wait()
    assert (answer.value, answer.failure) == ("on", None)
    assert answer.known_at is not None


def test_an_answer_is_read_again_after_five_seconds(made: Any, seconds: list[float]) -> None:
    asked: list[int] = []

    def count(now: datetime) -> int:
        asked.append(1)
        return len(asked)

    reading = Reading("conta", count)
    assert reading.ask().wait().value == 1
    seconds[0] += 4.9
    assert reading.ask().wait().value == 1
    seconds[0] += 0.2
    assert reading.ask().wait().value == 2


def test_a_failure_keeps_what_was_known_and_is_asked_again_after_a_second(made: Any, seconds: list[float]) -> None:
    fails: list[bool] = []

    def read(now: datetime) -> int:
        if fails:
            raise ValueError("segredo")
        return 7

    reading = Reading("falha", read)
    assert reading.ask().wait().value == 7
    fails.append(True)
    seconds[0] += 6
    answer = reading.ask().wait()
    assert (answer.value, answer.known) == (None, 7)
    assert answer.failure == Failure("ValueError", "a leitura não terminou")
    fails.clear()
    assert reading.ask().wait().value is None
    seconds[0] += 1.1
    assert reading.ask().wait().value == 7


def test_a_statement_that_is_too_slow_is_interrupted_and_named(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "STATEMENT_TIMEOUT_MS", 100)
    answer = Reading("lenta", lambda now: rows("SELECT pg_sleep(5)")).ask().wait()
    assert answer.failure is not None
    assert answer.failure.classe == "QueryCanceled"
    assert "interrompida" in answer.failure.mensagem


def test_a_question_under_way_is_asked_once_and_its_late_answer_counts(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading_module, "ANSWER_WITHIN_S", 0.1)
    go_on, asked = threading.Event(), []

    def hangs(now: datetime) -> int:
        asked.append(1)
        go_on.wait(30)
        return 7

    reading = Reading("pendura", hangs)
    for _ in range(3):
        answer = reading.ask().wait()
        assert answer.failure == Failure("TimeoutError", "não respondeu a tempo")
    assert len(asked) == 1
    go_on.set()
    monkeypatch.setattr(reading_module, "ANSWER_WITHIN_S", 10.0)
    open_question = reading._kept[()].open
    assert (open_question.result(10) if open_question else reading.ask().wait()).known == 7
    assert reading.ask().wait().value == 7


def test_other_arguments_are_other_questions_and_only_so_many_at_a_time(made: Any) -> None:
    go_on = threading.Event()

    def read(now: datetime, n: int) -> int:
        go_on.wait(30)
        return n

    reading = Reading("parametros", read, most_kept=2)
    first, second, third = (reading.ask(n) for n in (1, 2, 3))
    assert third.wait().failure == BUSY
    go_on.set()
    assert (first.wait().value, second.wait().value) == (1, 2)
    assert reading.ask(3).wait().value == 3
    assert len(reading._kept) == 2


def test_connections_never_add_up_whatever_hangs(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading_module, "ANSWER_WITHIN_S", 0.05)
    go_on = threading.Event()
    readings = [Reading(f"pendura {n}", lambda now: go_on.wait(30)) for n in range(3 * LANES)]
    for _ in range(3):
        for each in readings:
            each.ask()
    assert all(each.ask().wait().failure is not None for each in readings)
    assert (lanes.count, backends()) == (LANES, LANES)
    go_on.set()
    monkeypatch.setattr(reading_module, "ANSWER_WITHIN_S", 10.0)
    assert all(each._kept[()].open is None or each._kept[()].open.result(10) for each in readings)


def test_a_server_that_fell_silent_is_hung_up_on(made: Any, monkeypatch: Any) -> None:
    """A proxy that took the question and never answers, while new connections work."""
    monkeypatch.setattr(lanes_module, "HANG_UP_AFTER_S", 0.2)
    monkeypatch.setattr(lanes_module, "STATEMENT_TIMEOUT_MS", 3000)
    monkeypatch.setattr(reading_module, "ANSWER_WITHIN_S", 0.1)
    reading = Reading("muda", lambda now: rows("SELECT pg_sleep(60)"))
    started = time.monotonic()
    assert reading.ask().wait().failure is not None
    while reading._kept[()].open is not None and time.monotonic() - started < 2:
        reading.ask().wait()
    assert time.monotonic() - started < 2
    failure = reading._kept[()].answer.failure
    assert failure is not None
    assert failure.classe == "OperationalError"
    deadline = time.monotonic() + 10
    while backends("state = 'active'") and time.monotonic() < deadline:
        time.sleep(0.05)  # the server notices the end at the statement's own limit
    assert not backends("state = 'active'")


def test_a_connection_that_the_server_ended_is_not_an_error(made: Any) -> None:
    reading = Reading("pid", lambda now: rows("SELECT pg_backend_pid() AS pid")[0]["pid"], cache_s=0.0)
    first = reading.ask().wait().value
    rows("SELECT pg_terminate_backend(%s)", [first])
    second = reading.ask().wait()
    assert second.failure is None
    assert second.value != first


def test_an_idle_lane_ends_with_its_connection(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "IDLE_S", 0.05)
    Reading("breve", lambda now: 1).ask().wait()
    threads = list(lanes._threads)
    for thread in threads:
        thread.join(5)
    deadline = time.monotonic() + 10
    while backends() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (lanes.count, backends()) == (0, 0)


def test_questions_from_many_threads_are_one(made: Any) -> None:
    asked: list[int] = []

    def count(now: datetime) -> int:
        asked.append(1)
        rows("SELECT pg_sleep(0.2)")
        return len(asked)

    reading = Reading("muitos", count)
    found: list[Answer[Any]] = []
    threads = [threading.Thread(target=lambda: found.append(reading.ask().wait())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(asked)) == (16, 1)


def test_a_refused_connection_says_so_without_an_address(made: Any, monkeypatch: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(port))
    answer = Reading("recusada", lambda now: 1).ask().wait()
    assert answer.failure == Failure("OperationalError", "o banco de dados não responde")


def test_the_process_clock_is_for_readings_that_need_no_database(made: Any) -> None:
    answer = Reading("sem banco", lambda now: now, database=False).ask().wait()
    assert answer.value is not None
    assert abs((answer.value - datetime.now(UTC)).total_seconds()) < 5
    assert lanes.count == 0
