"""May this process take requests? Each dependency is asked in its own thread with a deadline of its own.

A thread per question, because nothing else bounds a connection that hangs, and a connection per question, because
readiness is about opening one.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from threading import Lock, Thread

import redis
from django.conf import settings
from django.db import connections

from core.health.registry import CheckResult, run_check

CACHE_S = 5.0
STATEMENT_TIMEOUT_MS = 2000
CONNECT_TIMEOUT_S = 2  # libpq knows no smaller one
ANSWER_WITHIN_S = 2.1  # as long as the pages that show it wait

Probe = Callable[[], None]
_seconds = time.monotonic
_lock = Lock()
_open: dict[str, "Future[CheckResult]"] = {}
_cached: tuple[float, dict[str, CheckResult]] | None = None


def readiness(now: datetime) -> dict[str, CheckResult]:
    """`redis` (the shared cache) and `supabase` (PostgreSQL), at most `CACHE_S` old."""
    global _cached
    known = _cached
    if known is not None and _seconds() - known[0] < CACHE_S:
        return known[1]
    results = _ask({"redis": shared_cache, "supabase": database}, now)
    _cached = (_seconds(), results)
    return results


def forget() -> None:
    """Ask again on the next call."""
    global _cached
    _cached = None


def database() -> None:
    """Reads the settings table over a connection of its own. Raises django.db.Error."""
    _select("SELECT key FROM app_settings LIMIT 1")


def shared_cache() -> None:
    """Pings Redis when it is configured, else reads the cache table."""
    if settings.REDIS_URL:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=CONNECT_TIMEOUT_S
        ) as client:
            client.ping()
        return
    _select(f"SELECT 1 FROM {_quoted(settings.CACHES['default']['LOCATION'])} LIMIT 1")  # noqa: S608 (our own name)


def _ask(probes: dict[str, Probe], now: datetime) -> dict[str, CheckResult]:
    pending = {name: _start(name, probe, now) for name, probe in probes.items()}
    ends = time.monotonic() + ANSWER_WITHIN_S
    return {name: _answer(future, ends) for name, future in pending.items()}


def _start(name: str, probe: Probe, now: datetime) -> "Future[CheckResult]":
    """The question still open from last time, or a new one: hanging threads never add up."""
    with _lock:
        future = _open.get(name)
        if future is None or future.done():
            future = _open[name] = Future()
            Thread(target=_run, args=(future, probe, now), name=f"readiness-{name}", daemon=True).start()
        return future


def _run(future: "Future[CheckResult]", probe: Probe, now: datetime) -> None:
    def check(_now: datetime) -> CheckResult:
        probe()
        return CheckResult(ok=True)

    future.set_result(run_check(check, now))


def _answer(future: "Future[CheckResult]", ends: float) -> CheckResult:
    try:
        return future.result(timeout=max(0.0, ends - time.monotonic()))
    except TimeoutError:
        return CheckResult(ok=False, detail="TimeoutError: não respondeu a tempo")


def _select(sql: str) -> None:
    connection = connections.create_connection("default")
    options = {
        **connection.settings_dict.get("OPTIONS", {}),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
    }
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchone()
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return connections["default"].ops.quote_name(name)
