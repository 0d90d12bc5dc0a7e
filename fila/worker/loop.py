"""The drain: look, send, settle, again. One event loop, one thread for claiming and one for settling."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import psycopg
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError

from chips.simulated import is_simulator
from core.circuits.local import LocalCircuit
from core.circuits.names import SUPABASE
from core.clock import now as clock_now
from core.health import progress
from core.logging import get_logger
from fila.dispatch import OpenAttempt
from fila.rescue import rescue_expired_leases
from fila.results import Settled
from fila.settle import settle
from fila.traces import work_of
from fila.worker.lanes import CANCEL_WITHIN_S, Lane, close_lanes
from fila.worker.steps import Consumer, Turn, renew_leases
from fila.worker.wire import Stops, Wire, cut_off, unwritable

log = get_logger("fila.worker")

POLL_S = 1.0
SETTLE_EVERY_S = 0.02
SETTLE_BATCH = 100
MOST_UNWRITTEN = 1000
RESCUE_EVERY_S = 5.0
RENEW_EVERY_S = 30.0
PROVE_EVERY_S = 30.0
DRAIN_ON_STOP_S = 18.0  # with what follows it, within the 25 s of SIGTERM
WRITE_WITHIN_S = 2.5
LAST_TURN_S = 0.5  # a look takes milliseconds, unless somebody holds the table
CANCEL_TIMES = 4  # a statement may begin right after one was cancelled
LONGEST_CALL_S = 95.0
DATABASE_PAUSE_S = 1.0
HANGING_S = 10.0  # from here on a call is slow (decisions: the bulkhead)


# What may be the fault of one result alone. Every other error of the database is shared by all: it is away, read-only
# after a failover, or in the middle of a deployment.
OWN_FAULT = (DataError, IntegrityError, ValueError, TypeError, LookupError, AttributeError)
SOMEBODYS_LOCK = (
    psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure,
)  # fmt: skip
ONE_BY_ONE_LOCK_MS = 100


def settle_batch(batch: Sequence[Settled], *, rng: random.Random) -> list[Settled]:
    """Settle together; when that fails one by one, so that no result holds up the others. Those to try again later.

    A result that can never be written is recorded as unknown, without its words: the message becomes `incerta`.
    Raises DatabaseError or InterfaceError while the database takes nothing at all: nothing is dropped then.
    """
    try:
        settle(batch, rng=rng)
        return []
    except OWN_FAULT:
        log.warning("resultados gravados um a um", resultados=len(batch), exc_info=True)
    except DatabaseError as error:
        if not isinstance(error.__cause__, SOMEBODYS_LOCK):
            raise
    return [one for one in batch if not _settled_alone(one, rng)]


def _settled_alone(one: Settled, rng: random.Random) -> bool:
    """False when somebody holds its campaign or person: later."""
    for result in (one.result, unwritable()):
        try:
            settle([replace(one, result=result)], rng=rng, lock_ms=ONE_BY_ONE_LOCK_MS)
            return True
        except OWN_FAULT:
            with work_of(one.attempt):
                log.exception("resultado não gravado: fica desconhecido")
        except DatabaseError as error:
            if not isinstance(error.__cause__, SOMEBODYS_LOCK):
                raise
            return False
    return False


class Drain:
    """One consumer. `run` drains until `stop` is called or `deadline_s` is over, then finishes what is on the wire."""

    def __init__(self, name: str, *, senders: int, rng: random.Random) -> None:
        self.consumer = Consumer(name, rng, senders=senders)
        self.database = LocalCircuit(SUPABASE)
        self.senders = senders
        self.stops = Stops()
        self.wake = asyncio.Event()
        self.stopping = asyncio.Event()
        self.looks = 0
        self.progress_at = time.monotonic()
        self.taken = 0
        self.opted_out = 0
        self.counts = {"enviadas": 0, "nao_enviadas": 0, "incertas": 0}
        self._rng = rng
        self._asked_to_stop = False
        self._claims, self._settles, self._leases = Lane("claim"), Lane("settle"), Lane("lease")
        self._open: dict[asyncio.Task[Settled], OpenAttempt] = {}
        self._began: dict[int, float] = {}
        self._slow: frozenset[str] = frozenset()
        self._results: list[Settled] = []
        self._proved: dict[str, bool] = {}
        self._proved_at = self._rescued_at = self._renewed_at = float("-inf")
        self._wire = Wire(senders)

    @property
    def in_flight(self) -> int:
        return len(self._open) + len(self._results)

    @property
    def simulated(self) -> bool:
        """Whether every provider asked so far proved to be the simulator."""
        return bool(self._proved) and all(self._proved.values())

    @property
    def _free_senders(self) -> int:
        """Results that wait for the database take no sender, but too many of them stop the drain."""
        return self.senders - sum(self._held().values()) if len(self._results) < MOST_UNWRITTEN else 0

    def _held(self) -> Counter[str]:
        """Senders that each provider holds. A call that hangs at a slow provider has given its sender back."""
        hanging_since = time.monotonic() - HANGING_S
        return Counter(
            attempt.provider
            for attempt in self._open.values()
            if attempt.provider not in self._slow or self._began[attempt.id] > hanging_since
        )

    def stop(self) -> None:
        self._asked_to_stop = self.stops.ending = True
        self.stopping.set()
        self.wake.set()

    async def run(self, *, deadline_s: float | None = None, until_empty: bool = False) -> None:
        """Drain. `until_empty`: leave when a look brought nothing and nothing is open."""
        settling = asyncio.create_task(self._settle_continuously())
        ends = time.monotonic() + deadline_s if deadline_s is not None else None
        try:
            while not (self.stopping.is_set() or settling.done()) and (ends is None or time.monotonic() < ends):
                turn = await self._turn_until_stopped()
                self.progress_at = time.monotonic()
                progress.beat(progress.LOOK if turn is not None else progress.WAITING)
                if turn is not None and (turn.attempts or turn.ended or self._newly_proved(turn)):
                    continue
                if until_empty and turn is not None and not (turn.unproved or turn.taken) and self.in_flight == 0:
                    break
                await self._sleep(POLL_S if turn is not None else DATABASE_PAUSE_S)
        finally:
            await self._finish(settling)

    def _newly_proved(self, turn: Turn) -> bool:
        return bool(turn.unproved) and all(url in self._proved for url in turn.unproved)

    async def _turn_until_stopped(self) -> Turn | None:
        """One look. Asked to stop, it has a moment to end; then whatever it waits for in the database is cancelled."""
        turn, stopped = asyncio.create_task(self._turn()), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({turn, stopped}, return_when=asyncio.FIRST_COMPLETED)
            patience = LAST_TURN_S
            for _ in range(CANCEL_TIMES):
                _, late = await asyncio.wait({turn}, timeout=patience)
                if not late:
                    return turn.result()
                await asyncio.to_thread(self._claims.cancel)
                await asyncio.to_thread(self._leases.cancel)
                patience = CANCEL_WITHIN_S
            return None
        finally:
            stopped.cancel()
            turn.cancel()

    async def _turn(self) -> Turn | None:
        """One look; None when the database did not answer, or its circuit is open."""
        if not self.database.allows(clock_now()):
            return None
        try:
            with self.database.watch(clock_now):
                await self._upkeep()
                self.wake.clear()
                turn = await self._claims.run(
                    self.consumer.look, senders=self._free_senders, proved=self._proved, open_calls=self._held()
                )
            await self._claims.run(self.database.flush)
        except (DatabaseError, InterfaceError) as error:
            log.error("banco indisponível para a fila", erro=type(error).__name__)
            return None
        self.looks += 1
        self.taken += turn.taken
        self.opted_out += turn.opted_out
        self._slow = turn.slow
        await self._prove(turn.unproved)
        if self.looks == 1:
            log.info("Worker de fila iniciado", consumidor=self.consumer.name, remetentes=self.senders)
        for attempt in turn.attempts:
            task = asyncio.create_task(
                self._wire.send(
                    attempt,
                    turn.addresses.get(attempt.chip_id),
                    committed=turn.committed,
                    opened=turn.opened,
                    stops=self.stops,
                )
            )
            self._open[task] = attempt
            self._began[attempt.id] = turn.committed
            task.add_done_callback(self._done)
        return turn

    def _done(self, task: asyncio.Task[Settled]) -> None:
        """Every call ends in a result: one that broke in a way nobody foresaw may have left."""
        attempt = self._open.pop(task)
        self._began.pop(attempt.id, None)
        if task.cancelled():
            self._results.append(Settled(attempt, cut_off(), 0))
        elif (error := task.exception()) is not None:
            with work_of(attempt):
                log.error("chamada com erro inesperado", exc_info=error)
            self._results.append(Settled(attempt, unwritable(), 0))
        else:
            self._results.append(task.result())

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
            held = [(attempt.mensagem.id, attempt.mensagem.token) for attempt in self._open.values()]
            await self._leases.run(renew_leases, held)

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
            if not (self.database.allows(clock_now()) or self.stopping.is_set()):
                await asyncio.sleep(DATABASE_PAUSE_S)
                continue
            batch = self._results[:SETTLE_BATCH]
            try:
                with self.database.watch(clock_now):
                    later = await self._settles.run(settle_batch, batch, rng=self._rng)
            except (DatabaseError, InterfaceError) as error:
                log.error("resultados à espera do banco", erro=type(error).__name__, resultados=len(self._results))
                await asyncio.sleep(DATABASE_PAUSE_S)
                continue
            self._results = self._results[len(batch) :] + later
            self._count([one for one in batch if one not in later])
            self.wake.set()
            if later:
                await asyncio.sleep(DATABASE_PAUSE_S)

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
        """Finish what is on the wire, then write every result.

        Asked to stop, open calls end as unknown after 18 s; a drain that merely ran out of time waits for them.
        """
        self.stopping.set()
        if self._open:
            patience = DRAIN_ON_STOP_S if self._asked_to_stop else LONGEST_CALL_S
            await asyncio.wait(list(self._open), timeout=patience)
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=CANCEL_WITHIN_S)
        repairing = asyncio.create_task(self._close_doubts())
        _, late = await asyncio.wait({repairing, settling}, timeout=WRITE_WITHIN_S)
        for hanging in late:
            hanging.cancel()
        await asyncio.gather(repairing, settling, return_exceptions=True)
        if self._results:
            log.error("resultados sem gravar: os leases vencem e as mensagens ficam incertas", n=len(self._results))
        await self._wire.close()
        close_lanes(self._claims, self._settles, self._leases)
        if not settling.cancelled() and (error := settling.exception()) is not None:
            raise error

    async def _close_doubts(self) -> None:
        try:
            await self._claims.run(self.consumer.repair)
        except (DatabaseError, InterfaceError):
            log.error("lotes em dúvida por fechar: os leases vencem", lotes=len(self.consumer.in_doubt))
