"""Threads that read for the health pages: few, each with a connection of its own, none lost for ever.

The number of connections is bounded whatever hangs: a statement ends after `STATEMENT_TIMEOUT_MS`, a connection that is
not made after `CONNECT_TIMEOUT_S`, and one whose server fell silent is hung up on after `HANG_UP_AFTER_S`.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Condition, Lock, Thread, get_ident
from typing import Any

from django.db import connections

LANES = 6  # per process
IDLE_S = 15.0
STATEMENT_TIMEOUT_MS = 2000
CONNECT_TIMEOUT_S = 2  # libpq knows no smaller one
HANG_UP_AFTER_S = 5.0

_seconds = time.monotonic


class Lane:
    """One thread's connection. Belongs to the thread that made it; only `hang_up` may be called by others."""

    def __init__(self) -> None:
        self.busy_since: float | None = None
        self._connection = connections["default"] = connections.create_connection("default")
        self._lock = Lock()
        self._tap: socket.socket | None = None  # a descriptor of our own: the connection's number may be reused

    def ready(self) -> None:
        """The thread's `django.db.connection` answers, the one it has or a new one. Raises django.db.Error."""
        self._connection.close_if_unusable_or_obsolete()
        self._connection.close_if_health_check_failed()
        if self._connection.connection is None:
            self._connection.settings_dict = _bounded(connections.settings["default"])
            with self._connection.wrap_database_errors:
                self._connection.connect()
            driver: Any = self._connection.connection
            self._hold(socket.socket(fileno=os.dup(driver.pgconn.socket)))

    def hang_up(self) -> None:
        """What the lane waits for fails at once."""
        with self._lock:
            if self._tap is not None:
                try:
                    self._tap.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # it is over already

    def close(self) -> None:
        self._connection.close()
        self._hold(None)

    def _hold(self, tap: socket.socket | None) -> None:
        with self._lock:
            if self._tap is not None:
                self._tap.close()
            self._tap = tap


Work = Callable[[Lane], None]


class Lanes:
    """At most `most` threads, started when there is work and ended after `IDLE_S` without any."""

    def __init__(self, most: int = LANES) -> None:
        self._most = most
        self._changed = Condition()
        self._work: deque[Work] = deque()
        self._threads: set[Thread] = set()
        self._lanes: set[Lane] = set()
        self._free = 0
        self._epoch = 0

    @property
    def count(self) -> int:
        return len(self._threads)

    def submit(self, work: Work) -> None:
        """`work(lane)` runs as soon as a lane is free. It must not raise."""
        with self._changed:
            self._work.append(work)
            if self._free >= len(self._work) or len(self._threads) >= self._most:
                self._changed.notify()
                return
            thread = Thread(target=self._live, args=(self._epoch,), name="health-lane", daemon=True)
            self._threads.add(thread)
        thread.start()

    def close(self, wait_s: float = 2.5) -> None:
        """Ends every thread and its connection. Work that nobody has begun is dropped; `submit` begins anew."""
        with self._changed:
            self._epoch += 1
            self._work.clear()
            threads = set(self._threads)
            self._changed.notify_all()
        ends = _seconds() + wait_s
        for thread in threads:
            thread.join(max(0.0, ends - _seconds()))
        with self._changed:
            lanes = list(self._lanes)
        for lane in lanes:
            lane.hang_up()
        for thread in threads:
            thread.join(wait_s)

    def hang_up_on_the_silent(self) -> None:
        """To be called by whoever waits: a lane that has waited too long for its server has its connection ended."""
        with self._changed:
            lanes = list(self._lanes)
        for lane in lanes:
            since = lane.busy_since
            if since is not None and _seconds() - since > HANG_UP_AFTER_S:
                lane.hang_up()

    def _live(self, epoch: int) -> None:
        lane = Lane()
        with self._changed:
            self._lanes.add(lane)
        try:
            while (work := self._next(epoch)) is not None:
                lane.busy_since = _seconds()
                work(lane)
                lane.busy_since = None
        finally:
            with self._changed:
                self._lanes.discard(lane)
            lane.close()

    def _next(self, epoch: int) -> Work | None:
        """None when there is nothing left to do: from then on this thread no longer counts."""
        with self._changed:
            self._free += 1
            self._changed.wait_for(lambda: self._work or self._epoch != epoch, timeout=IDLE_S)
            self._free -= 1
            if self._work and self._epoch == epoch:
                return self._work.popleft()
            self._threads = {thread for thread in self._threads if thread.ident != get_ident()}
            return None


def _bounded(configured: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a connection that only reads, within the limits above."""
    given = configured.get("OPTIONS", {})
    limits = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on"
    options = {
        **given,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "julia saude",
        "options": f"{given.get('options', '')} {limits}".strip(),
    }
    return {**configured, "OPTIONS": options}


lanes = Lanes()
