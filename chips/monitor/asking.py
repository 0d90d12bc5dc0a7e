"""The calls: the state of many chips, each within its own time, so that one slow provider holds up nobody else."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import httpx

from chips.providers.base import ChipAddress, ConnectionState, ErrorKind, State
from chips.providers.registry import provider_for
from chips.simulated import may_be_asked
from core import correlation
from core.integrations.http import call_with_total, new_client
from core.logging import get_logger

log = get_logger("chips.monitor")

CALL_S = 10.0
AT_ONCE = 50
"""Calls in flight per provider: 200 chips of one that answers nobody are through in 40 s."""


NOBODY_THERE = ConnectionState(False, State.UNKNOWN, "ninguém responde no endereço do provedor", ErrorKind.REDE)


@dataclass(frozen=True, slots=True)
class Answer:
    """`asked_at`: when the call began, on the database's clock as read before the batch, plus what passed since."""

    state: ConnectionState
    asked_at: datetime


def ask(addresses: Collection[ChipAddress], *, now: datetime, deadline_s: float) -> Mapping[UUID, Answer]:
    """By chip; absent is who may not be asked from here, and who was not reached before `deadline_s`.

    `now` is the database's, of this moment. Opens an event loop of its own.
    """
    return asyncio.run(_ask(addresses, now, deadline_s)) if addresses else {}


async def _ask(addresses: Collection[ChipAddress], now: datetime, deadline_s: float) -> dict[UUID, Answer]:
    answers: dict[UUID, Answer] = {}
    began = time.monotonic()
    flights: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
    urls = {address.base_url for address in addresses}
    async with new_client(max_connections=AT_ONCE * max(1, len(urls))) as client:
        allowed = {url: await may_be_asked(client, url) for url in sorted(urls) if url}

        async def one(address: ChipAddress) -> None:
            async with flights[address.base_url]:
                asked_at = now + timedelta(seconds=time.monotonic() - began)
                reached = allowed.get(address.base_url, True)
                state = NOBODY_THERE if reached is None else await _state_of(client, address)
                answers[address.chip_id] = Answer(state, asked_at)

        try:
            async with asyncio.timeout(deadline_s):
                ours = (address for address in addresses if allowed.get(address.base_url) is not False)
                await asyncio.gather(*(one(address) for address in ours))
        except TimeoutError:
            log.warning("verificação das conexões sem tempo", chips=len(addresses), respondidas=len(answers))
    return answers


async def _state_of(client: httpx.AsyncClient, address: ChipAddress) -> ConnectionState:
    provider = provider_for(address.provider, client)
    try:
        return await call_with_total(
            provider.connection_state(address, correlation_id=correlation.get()), total_s=CALL_S
        )
    except TimeoutError:
        return ConnectionState(False, State.UNKNOWN, f"sem resposta em {CALL_S:.0f} s", ErrorKind.TIMEOUT)
