"""The drain: look, send, settle, again. One event loop, one thread for claiming and one for settling."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from chips.simulated import is_simulator
from core.logging import get_logger
from fila.rescue import rescue_expired_leases
from fila.settle import Settled, settle
from fila.worker.steps import Consumer, Turn, renew_leases
from fila.worker.wire import Stops, Wire

T = TypeVar("T")
log = get_logger("fila.worker")

POLL_S = 1.0
SETTLE_EVERY_S = 0.02
SETTLE_BATCH = 100
RESCUE_EVERY_S = 5.0
RENEW_EVERY_S = 30.0
PROVE_EVERY_S = 30.0
DRAIN_ON_STOP_S = 20.0
DATABASE_PAUSE_S = 1.0


def settle_batch(batch: Sequence[Settled], *, rng: random.Random) -> None:
    """Settle together; when one result cannot be written, the others are all the same.

    What is left unwritten keeps its open attempt: its lease runs out and the message becomes `incerta`, never resent.
    Raises OperationalError or InterfaceError while the database is away: nothing is dropped then.
    """
    try:
        settle(batch, rng=rng)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        for one in batch:
            try:
                settle([one], rng=rng)
            except (OperationalError, InterfaceError):
                raise
            except DatabaseError as error:
                log.error("resultado não gravado: fica incerta", tentativa=one.attempt.id, erro=type(error).__name__)


class Lane:
    """A thread with its own database connection: statements of one lane run one after another."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"fila-{name}")

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: _on_fresh_connection(work, *args, **kwargs))

    def close(self) -> None:
        self._executor.submit(_close_own_connection)
        self._executor.shutdown(wait=True)


def _close_own_connection() -> None:
    """`connection` stands for the calling thread's one, so this must run on the lane."""
    connection.close()


def _on_fresh_connection(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Django drops a connection that broke; the next statement then opens another."""
    try:
        return work(*args, **kwargs)
    except (DatabaseError, InterfaceError):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        raise


class Drain:
    """One consumer. `run` drains until `stop` is called or `deadline_s` is over, then finishes what is on the wire."""

    def __init__(self, name: str, *, senders: int, rng: random.Random) -> None:
        self.consumer = Consumer(name, rng)
        self.senders = senders
        self.stops = Stops()
        self.wake = asyncio.Event()
        self.stopping = asyncio.Event()
        self.looks = 0
        self.taken = 0
        self.opted_out = 0
        self.counts = {"enviadas": 0, "nao_enviadas": 0, "incertas": 0}
        self._rng = rng
        self._claims, self._settles = Lane("claim"), Lane("settle")
        self._open: dict[asyncio.Task[Settled], Any] = {}
        self._results: list[Settled] = []
        self._proved: dict[str, bool] = {}
        self._proved_at = self._rescued_at = self._renewed_at = float("-inf")
        self._wire = Wire(senders)

    @property
    def in_flight(self) -> int:
        return len(self._open) + len(self._results)

    def stop(self) -> None:
        self.stopping.set()
        self.wake.set()

    async def run(self, *, deadline_s: float | None = None, until_empty: bool = False) -> None:
        """Drain. `until_empty`: leave when a look brought nothing and nothing is open."""
        settling = asyncio.create_task(self._settle_continuously())
        ends = time.monotonic() + deadline_s if deadline_s is not None else None
        try:
            while not (self.stopping.is_set() or settling.done()) and (ends is None or time.monotonic() < ends):
                turn = await self._turn()
                if turn is not None and (turn.attempts or turn.ended or self._newly_proved(turn)):
                    continue
                if until_empty and turn is not None and not turn.unproved and self.in_flight == 0:
                    break
                await self._sleep(POLL_S if turn is not None else DATABASE_PAUSE_S)
        finally:
            await self._finish(settling)

    def _newly_proved(self, turn: Turn) -> bool:
        return bool(turn.unproved) and all(url in self._proved for url in turn.unproved)

    async def _turn(self) -> Turn | None:
        """One look; None when the database did not answer."""
        try:
            await self._upkeep()
            self.wake.clear()
            turn = await self._claims.run(
                self.consumer.look, senders=self.senders - self.in_flight, proved=self._proved
            )
        except (DatabaseError, InterfaceError) as error:
            log.error("banco indisponível para a fila", erro=type(error).__name__)
            return None
        self.looks += 1
        self.taken += turn.taken
        self.opted_out += turn.opted_out
        await self._prove(turn.unproved)
        if self.looks == 1:
            log.info("Worker de fila iniciado", consumidor=self.consumer.name, remetentes=self.senders)
        for attempt in turn.attempts:
            task = asyncio.create_task(
                self._wire.send(
                    attempt, turn.addresses.get(attempt.chip_id), committed=turn.committed, stops=self.stops
                )
            )
            self._open[task] = (attempt.mensagem.id, attempt.mensagem.token)
            task.add_done_callback(self._done)
        return turn

    def _done(self, task: asyncio.Task[Settled]) -> None:
        self._results.append(task.result())
        self._open.pop(task, None)

    async def _upkeep(self) -> None:
        """What time asks for between looks: the simulator's proof, expired leases, our own leases."""
        now = time.monotonic()
        if now - self._proved_at >= PROVE_EVERY_S:
            self._proved_at = now
            await self._prove(list(self._proved))
        if now - self._rescued_at >= RESCUE_EVERY_S:
            self._rescued_at = now
            found = await self._claims.run(rescue_expired_leases)
            if any(found.values()):
                log.warning("leases vencidos", **found)
            self.stops.forget_before(now - 60)
        if now - self._renewed_at >= RENEW_EVERY_S and self._open:
            self._renewed_at = now
            await self._claims.run(renew_leases, list(self._open.values()))

    async def _prove(self, urls: Sequence[str]) -> None:
        """Only an answer changes what is known: an address that is silent now sends nothing to anybody."""
        for url in urls:
            answer = await is_simulator(self._wire.any_client, url, settings.SIMULADOR_NONCE)
            if answer is not None:
                self._proved[url] = answer

    async def _settle_continuously(self) -> None:
        """Results are written in batches of up to 100 every 20 ms, and kept until the database takes them."""
        while not (self.stopping.is_set() and not self._open and not self._results):
            if not self._results:
                await asyncio.sleep(SETTLE_EVERY_S)
                continue
            batch = self._results[:SETTLE_BATCH]
            try:
                await self._settles.run(settle_batch, batch, rng=self._rng)
            except (OperationalError, InterfaceError) as error:
                log.error("resultados à espera do banco", erro=type(error).__name__, resultados=len(self._results))
                await asyncio.sleep(DATABASE_PAUSE_S)
                continue
            del self._results[: len(batch)]
            self._count(batch)
            self.wake.set()

    def _count(self, batch: list[Settled]) -> None:
        for one in batch:
            verdict = {"aceita": "enviadas", "nao_enviada": "nao_enviadas"}.get(one.result.verdict, "incertas")
            self.counts[verdict] += 1

    async def _sleep(self, seconds: float) -> None:
        """Until a notification, a settled batch, or `seconds`."""
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            return

    async def _finish(self, settling: asyncio.Task[None]) -> None:
        """Finish what is on the wire; after 20 s close open calls as unknown; then write every result."""
        self.stopping.set()
        if self._open:
            await asyncio.wait(list(self._open), timeout=DRAIN_ON_STOP_S)
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=2.0)
        try:
            await asyncio.wait_for(settling, timeout=3.0)
        except TimeoutError:
            log.error("resultados sem gravar: os leases vencem e as mensagens ficam incertas", n=len(self._results))
        await self._wire.close()
        self._claims.close()
        self._settles.close()
