"""The worker process: the drain, its ears (LISTEN), the inbox lane and its sign of life."""

import asyncio
import math
import os
import random
import signal
import socket
import time
import uuid
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from chips.webhooks.inbox import process_inbox
from core.clock import database_now
from core.health import beats
from core.logging import get_logger
from fila.campanhas.services import conclude_finished
from fila.reconciliacao import fila_zapi
from fila.reconciliacao import services as reconciliacao
from fila.worker.lanes import Lane, close_lanes
from fila.worker.loop import Drain

log = get_logger("fila.worker")

BEAT_EVERY_S = 10.0
INBOX_POLL_S = 1.0
INBOX_BATCH = 200
CARE_EVERY_S = 2.0
QUEUES_EVERY_S, QUEUES_WITHIN_S = 10.0, 5.0
QUEUES_AGAIN = timedelta(seconds=20)
LISTEN_RETRY_S = 1.0
LISTEN_CHECK_S = 10.0
STALLED_S = 30.0
GOODBYE_WITHIN_S = 0.5


class WorkerProcess:
    """Everything the role `worker` does in one process. SIGTERM and SIGINT end it in order.

    A part that breaks in a way nobody foresaw ends the whole process, in order: the supervisor starts it again, and
    that is seen. Half a worker is not.
    """

    def __init__(self, *, senders: int | None = None, seed: int | None = None) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.drain = Drain(self.name, senders=senders or settings.FILA_SENDERS, rng=random.Random(seed))
        self._inbox_wake = asyncio.Event()
        self._inbox_lane, self._beat_lane, self._care_lane = Lane("caixa"), Lane("vida"), Lane("fim")
        self._queue_lane = Lane("fila-zapi")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        drain = asyncio.create_task(self.drain.run())
        parts = (self._listen, self._consume_inbox, self._beat, self._care, self._watch_queues)
        helpers = [asyncio.create_task(work()) for work in parts]
        try:
            await asyncio.wait([drain, *helpers], return_when=asyncio.FIRST_COMPLETED)
            self.drain.stop()
            await drain
            _raise_what_ended(helpers)
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._say_goodbye()
            close_lanes(self._inbox_lane, self._beat_lane, self._care_lane, self._queue_lane)
            log.info("Worker de fila encerrado", consumidor=self.name, **self.drain.counts)

    def _stop(self) -> None:
        log.info("encerrando: termina o que está no fio", abertas=self.drain.in_flight)
        self.drain.stop()

    async def _listen(self) -> None:
        """Notifications wake the drain and the inbox and tell what stopped; the poll behind them needs none."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**listen_params(), autocommit=True) as ears:
                    for channel in ("julia_fila", "julia_caixa", "julia_parar"):
                        await ears.execute(f"LISTEN {channel}")
                    self.drain.stops.listening_since = time.monotonic()
                    while True:
                        async for heard in ears.notifies(timeout=LISTEN_CHECK_S):
                            self._heard(heard.channel, heard.payload)
                        await ears.execute("SELECT 1")  # a connection that died without a word is deaf for ever
            except psycopg.Error:
                self.drain.stops.listening_since = math.inf
                await asyncio.sleep(LISTEN_RETRY_S)

    def _heard(self, channel: str, payload: str) -> None:
        if channel == "julia_parar":
            self.drain.stops.note(payload)
        elif channel == "julia_caixa":
            self._inbox_wake.set()
        else:
            self.drain.wake.set()

    async def _consume_inbox(self) -> None:
        while True:
            self._inbox_wake.clear()
            try:
                done = await self._inbox_lane.run(_consume_inbox, INBOX_BATCH)
            except (DatabaseError, InterfaceError):
                done = 0
            if done < INBOX_BATCH:
                await _wait(self._inbox_wake, INBOX_POLL_S)

    async def _beat(self) -> None:
        """A sign of progress, not of being alive: while the drain stands still there is none."""
        while True:
            stands_still_s = time.monotonic() - self.drain.progress_at
            if stands_still_s > STALLED_S:
                log.error("a fila não é olhada há tempo demais", segundos=round(stands_still_s))
                await asyncio.sleep(BEAT_EVERY_S)
                continue
            try:
                await self._beat_lane.run(beats.beat, "worker", self.name, self._doing())
            except (DatabaseError, InterfaceError):
                log.warning("sinal de vida não gravado: banco indisponível")
            await asyncio.sleep(BEAT_EVERY_S)

    def _doing(self) -> dict[str, Any]:
        return {
            "olhadas": self.drain.looks,
            "abertas": self.drain.in_flight,
            "tomadas": self.drain.taken,
            "simulado": self.drain.simulated,
            "lista_de_teste": len(settings.OUTBOUND_ALLOWLIST),
        }

    async def _care(self) -> None:
        while True:
            await asyncio.sleep(CARE_EVERY_S)
            try:
                await self._care_lane.run(_look_after)
            except (DatabaseError, InterfaceError) as error:
                log.warning("recibos e fins não cuidados", erro=type(error).__name__)

    async def _watch_queues(self) -> None:
        """Begins nothing once the process is asked to stop: the calls go outside and end within their own time."""
        while True:
            await asyncio.sleep(QUEUES_EVERY_S)
            if self.drain.stopping.is_set():
                continue
            try:
                await self._queue_lane.run(_look_at_queues)
            except (DatabaseError, InterfaceError) as error:
                log.warning("filas da Z-API não olhadas", erro=type(error).__name__)

    async def _say_goodbye(self) -> None:
        try:
            await asyncio.wait_for(self._beat_lane.run(beats.close, self.name), GOODBYE_WITHIN_S)
        except (DatabaseError, InterfaceError, TimeoutError):
            log.warning("encerramento não gravado: banco indisponível")


def _consume_inbox(limit: int) -> int:
    return process_inbox(limit=limit, now=database_now())


def _look_after() -> None:
    """What follows from receipts and ends: chips out, undelivered messages back, finished campaigns concluded."""
    reconciliacao.look()
    conclude_finished(now=database_now())


def _look_at_queues() -> None:
    """What waits in a disconnected Z-API phone must be out before it comes back."""
    fila_zapi.run(now=database_now(), deadline_s=QUEUES_WITHIN_S, again_after=QUEUES_AGAIN)


def listen_params() -> dict[str, Any]:
    """Connection parameters of the default database for a connection of our own (PgBouncer cannot carry LISTEN)."""
    params = dict(connections["default"].get_connection_params())
    for ours in ("cursor_factory", "context", "prepare_threshold", "client_encoding"):
        params.pop(ours, None)
    return params


def _raise_what_ended(helpers: list[asyncio.Task[None]]) -> None:
    for task in helpers:
        if task.done():
            task.result()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
