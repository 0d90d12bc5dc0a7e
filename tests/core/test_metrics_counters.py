import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from core.metrics import counters, store
from core.metrics.calls import CountedCall
from core.metrics.declared import METRICS, OTHER, closed
from core.metrics.store import Sums
from tests.core.metrics_workers import LABELS, count
from tests.core.test_circuits_processes import environment

REQUESTS = ("integration_requests_total", ("slack", "post", "success"))
DURATIONS = ("integration_request_duration_seconds", ("slack", "post"))


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    counters.forget()
    yield
    counters.forget()


def value_of(key: tuple[str, tuple[str, ...]]) -> float:
    return store.read().get(key, Sums()).value


def process(role: str, *, flush_every_s: float = 60.0) -> "subprocess.Popen[str]":
    env = environment() | {"METRICS_FLUSH_EVERY_S": str(flush_every_s)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.core.metrics_workers", role]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE)


def together(*roles: str) -> list[tuple[str, int]]:
    """What each said, and how it ended."""
    workers = [process(role) for role in roles]
    return [(each.communicate(timeout=120)[0], each.returncode) for each in workers]


def test_a_value_outside_its_closed_list_counts_as_other():
    labels = {"integration": "https://x.example/5511900001234", "operation": "post", "status": "success"}
    assert closed(METRICS["integration_requests_total"], labels) == (OTHER, "post", "success")
    counters.inc("integration_requests_total", labels)
    assert list(counters.pending()) == [("integration_requests_total", (OTHER, "post", "success"))]


def test_a_metric_that_nobody_declared_is_not_counted_and_breaks_nothing():
    counters.inc("inventada_total", {})
    assert not counters.pending()


def test_an_observation_falls_into_the_first_bucket_that_holds_it():
    for seconds in (0.05, 0.1, 0.11, 61.0):
        counters.observe("integration_request_duration_seconds", LABELS, seconds)
    sums = counters.pending()[DURATIONS]
    assert sums.counts == [2, 1, 0, 0, 0, 0, 0, 0, 1]
    assert sums.value == pytest.approx(61.26)


def test_threads_lose_no_count():
    threads = [threading.Thread(target=count, args=(2000,)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counters.pending()[REQUESTS].value == 16_000
    assert sum(counters.pending()[DURATIONS].counts) == 16_000


def test_a_call_is_an_error_when_it_raises_or_says_so():
    with CountedCall("slack", "post"):
        pass
    with CountedCall("slack", "post") as call:
        call.ok = False
    with pytest.raises(TimeoutError), CountedCall("slack", "post"):
        raise TimeoutError
    assert counters.pending()[REQUESTS].value == 1
    assert counters.pending()[("integration_requests_total", ("slack", "post", "error"))].value == 2
    assert sum(counters.pending()[DURATIONS].counts) == 3


def test_counting_takes_microseconds():
    count(100)
    started = time.perf_counter()
    count(10_000)
    assert (time.perf_counter() - started) / 20_000 < 20e-6  # about 1.5 µs on an idle machine


def test_what_a_client_makes_up_grows_no_series_without_end():
    for number in range(counters.MOST_SERIES + 500):
        counters.inc("http_requests_total", {"endpoint": f"/x/{number}", "method": f"M{number}", "status": "200"})
    assert list(counters.pending()) == [("http_requests_total", (OTHER, OTHER, "200"))]


@pytest.mark.django_db(transaction=True)
def test_a_flush_adds_to_what_others_wrote():
    count(3)
    assert counters.flush() == 2
    count(4)
    counters.flush()
    assert value_of(REQUESTS) == 7
    assert store.read()[DURATIONS].counts == [0, 7, 0, 0, 0, 0, 0, 0, 0]
    assert store.read()[DURATIONS].value == pytest.approx(7 * 0.25)


@pytest.mark.django_db(transaction=True)
def test_an_idle_process_writes_nothing_about_its_own_flushes():
    count(1)
    assert counters.flush() == 2
    assert counters.flush() == 0
    count(1)
    assert counters.flush() == 4  # with what the first flush told of itself
    assert value_of(("integration_requests_total", ("supabase", "flush", "success"))) == 1


@pytest.mark.django_db(transaction=True)
def test_with_the_database_away_it_keeps_counting_and_writes_all_of_it_later(monkeypatch: pytest.MonkeyPatch):
    def away(_sums: object) -> None:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(store, "add", away)
        for _ in range(3):
            count(2)
            assert counters.flush() == 0
    assert counters.pending()[REQUESTS].value == 6
    counters.flush()
    assert value_of(REQUESTS) == 6
    assert value_of(("integration_requests_total", ("supabase", "flush", "error"))) == 3


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_processes_that_end_in_order_lose_nothing_and_every_scrape_says_the_same():
    assert [code for _, code in together("ends_in_order", "ends_in_order", "ends_in_order")] == [0, 0, 0]
    assert value_of(REQUESTS) == 3000
    assert sum(store.read()[DURATIONS].counts) == 3000
    scrapes = [text for text, _ in together("scrapes", "scrapes")]
    assert scrapes[0] == scrapes[1]
    assert 'integration_requests_total{integration="slack",operation="post",status="success"} 3000.0' in scrapes[0]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_forked_child_writes_its_own_counts_and_not_its_parents():
    assert together("forks")[0][1] == 0
    assert value_of(REQUESTS) == 10 + 2 * 100


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_process_loses_what_it_counted_since_its_last_flush_and_no_more():
    worker = process("is_killed", flush_every_s=1.0)
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == "contado"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    worker.stdout.close()
    assert value_of(REQUESTS) in (7, 12)
