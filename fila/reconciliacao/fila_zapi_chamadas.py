"""The calls to Z-API's queues: state and list of many chips, then removal with the looks that prove it."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import httpx

from chips.providers.base import ChipAddress, ProviderError, State
from chips.providers.evidence import HoldsQueue, Queued
from chips.providers.registry import provider_for, queue_of
from core.integrations.http import new_client
from core.logging import get_logger
from fila.reconciliacao import acesso

T = TypeVar("T")
log = get_logger("fila.reconciliacao")

CHIPS_IN_FLIGHT = 8
REMOVED_AT_ONCE = 5  # of one chip, after a list of their own: one leaves every 1 to 3 s while the phone is connected


@dataclass(frozen=True, slots=True)
class Listed:
    """A whole queue. `connected`: before it was listed; None where the vendor did not say."""

    connected: bool | None
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """`taken`: ids that were listed right before, and whose removal the vendor answered with 2xx.

    `still`: ids that are listed all the same; None: not listed again. `connected`: after the removal.
    """

    taken: frozenset[str]
    still: frozenset[str] | None = None
    connected: bool | None = None


def list_queues(known: Mapping[UUID, ChipAddress], *, deadline_s: float) -> dict[UUID, Listed]:
    """By chip; absent where the vendor gave no whole answer, or may not be asked."""

    async def list_one(client: httpx.AsyncClient, address: ChipAddress, queue: HoldsQueue) -> Listed:
        connected = await _connected(client, address)
        return Listed(connected, tuple(await queue.list_queue(address)))

    return asyncio.run(_each(known, list_one, deadline_s))


def remove(
    known: Mapping[UUID, ChipAddress], ids: Mapping[UUID, Sequence[str]], *, deadline_s: float
) -> dict[UUID, Removal]:
    """Take entries out, by chip. What the vendor did not confirm is not `taken`: it may be out, or have left before.

    A removal that did not come to its end, here or in time, tells of what was confirmed until then.
    """
    taken: defaultdict[UUID, set[str]] = defaultdict(set)

    async def remove_of(client: httpx.AsyncClient, address: ChipAddress, queue: HoldsQueue) -> Removal:
        confirmed = taken[address.chip_id]
        still = await _take_out(queue, address, ids[address.chip_id], confirmed)
        return Removal(frozenset(confirmed), still, await _connected(client, address))

    chosen = {chip_id: known[chip_id] for chip_id in ids if ids[chip_id]}
    whole = asyncio.run(_each(chosen, remove_of, deadline_s)) if chosen else {}
    return {chip_id: Removal(frozenset(confirmed)) for chip_id, confirmed in taken.items()} | whole


async def _take_out(
    queue: HoldsQueue, address: ChipAddress, wanted: Sequence[str], confirmed: set[str]
) -> frozenset[str]:
    """A few at a time, each time only what a list of this moment shows; returns the last list.

    The vendor answers 2xx for an entry that left a moment before, too: the shorter that moment, the less it hides.
    """

    async def take(zaap_id: str) -> None:
        try:
            if await queue.remove_queued(address, zaap_id):
                confirmed.add(zaap_id)
        except ProviderError as error:
            log.warning("retirada da fila da Z-API sem confirmação", chip_id=str(address.chip_id), codigo=error.code)

    waiting = list(wanted)
    while True:
        listed = frozenset(queued.zaap_id for queued in await queue.list_queue(address))
        waiting = [zaap_id for zaap_id in waiting if zaap_id in listed]
        if not waiting:
            return listed
        await asyncio.gather(*(take(zaap_id) for zaap_id in waiting[:REMOVED_AT_ONCE]))
        waiting = waiting[REMOVED_AT_ONCE:]


Work = Callable[[httpx.AsyncClient, ChipAddress, HoldsQueue], Awaitable[T]]


async def _each(known: Mapping[UUID, ChipAddress], work: Work[T], deadline_s: float) -> dict[UUID, T]:
    done: dict[UUID, T] = {}
    flights = asyncio.Semaphore(CHIPS_IN_FLIGHT)
    async with new_client() as client:
        allowed = await acesso.may_ask(client, known.values())

        async def one(address: ChipAddress) -> None:
            queue = queue_of(address.provider, client)
            if queue is None or address.base_url not in allowed:
                return
            async with flights:
                try:
                    done[address.chip_id] = await work(client, address, queue)
                except ProviderError as error:
                    log.warning("fila da Z-API sem resposta", chip_id=str(address.chip_id), codigo=error.code.value)

        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(one(address) for address in known.values()))
        except TimeoutError:
            log.warning("filas da Z-API sem tempo", chips=len(known), respondidas=len(done))
    return done


async def _connected(client: httpx.AsyncClient, address: ChipAddress) -> bool | None:
    state = (await provider_for(address.provider, client).connection_state(address)).state
    return {State.OPEN: True, State.CLOSE: False}.get(state)
