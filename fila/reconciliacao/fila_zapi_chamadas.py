"""The calls to Z-API's queues: state and list of many chips, then removal with the looks that prove it."""

import asyncio
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


@dataclass(frozen=True, slots=True)
class Listed:
    """A whole queue. `connected`: before it was listed; None where the vendor did not say."""

    connected: bool | None
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """`still`: ids that are listed all the same. `connected`: after the removal."""

    connected: bool | None
    still: frozenset[str]


def list_queues(known: Mapping[UUID, ChipAddress], *, deadline_s: float) -> dict[UUID, Listed]:
    """By chip; absent where the vendor gave no whole answer, or may not be asked."""

    async def list_one(client: httpx.AsyncClient, address: ChipAddress, queue: HoldsQueue) -> Listed:
        connected = await _connected(client, address)
        return Listed(connected, tuple(await queue.list_queue(address)))

    return asyncio.run(_each(known, list_one, deadline_s))


def remove(
    known: Mapping[UUID, ChipAddress], ids: Mapping[UUID, Sequence[str]], *, deadline_s: float
) -> dict[UUID, Removal]:
    """Take entries out, by chip; absent where that did not come to its end: some may be out, and nobody knows which."""

    async def remove_of(client: httpx.AsyncClient, address: ChipAddress, queue: HoldsQueue) -> Removal:
        for zaap_id in ids[address.chip_id]:
            await queue.remove_queued(address, zaap_id)
        still = frozenset(queued.zaap_id for queued in await queue.list_queue(address))
        return Removal(await _connected(client, address), still)

    chosen = {chip_id: known[chip_id] for chip_id in ids if ids[chip_id]}
    return asyncio.run(_each(chosen, remove_of, deadline_s)) if chosen else {}


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
