"""Threads with a database connection each, beside an event loop."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.signals import connection_created
from django.dispatch import receiver

T = TypeVar("T")

CANCEL_WITHIN_S = 0.5


class Lane:
    """A thread with its own database connection: statements of one lane run one after another."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"fila-{name}", initializer=_become_a_lane, initargs=(self,)
        )
        self.raw: psycopg.Connection[Any] | None = None

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        # A context of its own for each: no correlation id of one batch is left behind in the thread for the next.
        context = contextvars.Context()
        return await loop.run_in_executor(
            self._executor, lambda: context.run(_on_lane_connection, work, *args, **kwargs)
        )

    def begin_close(self) -> Future[None]:
        return self._executor.submit(_close_own_connection)

    def end(self) -> None:
        """Take no more work and cancel the statement that may still run: its thread must not outlive the process."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.cancel()

    def cancel(self) -> None:
        """Cancel the statement that may run at this moment; its work sees a DatabaseError."""
        if self.raw is not None and not self.raw.closed:
            with contextlib.suppress(psycopg.Error):
                self.raw.cancel_safe(timeout=CANCEL_WITHIN_S)


_thread = threading.local()


def _become_a_lane(lane: Lane) -> None:
    _thread.lane = lane


@receiver(connection_created, dispatch_uid="fila.lane")
def _never_wait_for_ever(connection: Any, **_signal: Any) -> None:
    """Whenever a lane's connection opens, and wherever in its work that happens."""
    lane: Lane | None = getattr(_thread, "lane", None)
    if lane is not None:
        lane.raw = connection.connection
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'")


def close_lanes(*lanes: Lane, within_s: float = 0.7) -> None:
    """All of them together, and no longer than that even while a statement hangs."""
    wait([lane.begin_close() for lane in lanes], timeout=within_s)
    for lane in lanes:
        lane.end()


def _close_own_connection() -> None:
    """`connection` stands for the calling thread's one, so this must run on the lane."""
    connection.close()
    _thread.lane.raw = None


def _on_lane_connection(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """On this thread's connection, which never waits for ever; one that broke is dropped and opened again."""
    try:
        return work(*args, **kwargs)
    except (DatabaseError, InterfaceError):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        raise
