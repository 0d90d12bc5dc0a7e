"""The calls themselves: a few HTTP clients, one write per attempt, and a last look before it."""

import asyncio
import math
import time

import httpx

from chips.providers.base import ChipAddress, SendResult
from chips.providers.registry import provider_for
from chips.vocabulario import catalogo
from core.integrations.http import new_client
from fila.dispatch import OpenAttempt
from fila.results import Settled
from fila.traces import work_of

SENDERS_PER_CLIENT = 8
DEAF_COMMIT_S = 2.0
STALE_COMMIT_S = 5.0  # an attempt that waited longer than this since its commit is closed as not sent


class Stops:
    """What stopped since when (monotonic): campaigns, chips and people, told by the database's notifications.

    `listening_since`: infinite while nobody listens. `ending`: this consumer was asked to stop; what is not written yet
    is withdrawn.
    """

    def __init__(self) -> None:
        self._stopped: dict[str, float] = {}
        self.ending = False
        self.listening_since = math.inf

    def note(self, what: str) -> None:
        """`campanha:<id>`, `chip:<id>` or `pessoa:<id>`."""
        self._stopped[what] = time.monotonic()

    def patience(self, committed: float) -> float:
        """Seconds that an attempt may wait for its write. What nobody could have told us is only graced for 2 s."""
        return STALE_COMMIT_S if self.listening_since <= committed else DEAF_COMMIT_S

    def forget_before(self, instant: float) -> None:
        self._stopped = {what: at for what, at in self._stopped.items() if at >= instant}

    def since(self, attempt: OpenAttempt, committed: float) -> bool:
        if self.ending:
            return True
        about = [f"chip:{attempt.chip_id}", f"pessoa:{attempt.mensagem.cliente_id}"]
        if attempt.mensagem.campanha_id is not None:
            about.append(f"campanha:{attempt.mensagem.campanha_id}")
        return any(self._stopped.get(what, 0.0) >= committed for what in about)


class Wire:
    """A pool of clients, each shared by a few senders: one client gets slower with every sender it serves."""

    def __init__(self, senders: int) -> None:
        count = max(1, -(-senders // SENDERS_PER_CLIENT))
        self._clients = [new_client(max_connections=SENDERS_PER_CLIENT * 4) for _ in range(count)]
        self._next = 0

    @property
    def any_client(self) -> httpx.AsyncClient:
        return self._clients[0]

    async def send(
        self, attempt: OpenAttempt, address: ChipAddress | None, *, committed: float, opened: float, stops: Stops
    ) -> Settled:
        """One call and its result; nothing the network does is raised.

        `committed`: monotonic instant before the attempt's commit; what stopped since then is not sent. `opened`: the
        instant after it, from which the write's patience runs: a process that was frozen in between writes nothing. A
        cancelled call is `unknown`: it may have left.
        """
        if address is None:
            return Settled(attempt, _no_address(), 0)
        self._next = (self._next + 1) % len(self._clients)
        provider = provider_for(attempt.provider, self._clients[self._next])

        started = time.monotonic()

        def go_ahead() -> bool:
            return time.monotonic() - opened <= stops.patience(committed) and not stops.since(attempt, committed)

        with work_of(attempt):
            try:
                result = await provider.send_text(
                    address,
                    number=attempt.mensagem.telefone_destino,
                    text=attempt.mensagem.conteudo,
                    correlation_id=attempt.mensagem.correlation_id,
                    go_ahead=go_ahead,
                    client_message_id=client_message_id(attempt.id),
                )
            except asyncio.CancelledError:
                result = cut_off()
        return Settled(attempt, result, round((time.monotonic() - started) * 1000))

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


def client_message_id(attempt_id: int) -> str:
    """The id that a provider with that capability gives the message, in WhatsApp's own form."""
    return f"3EB0{attempt_id:018X}"


def cut_off() -> SendResult:
    """For a call that was ended while it was open: it may have left."""
    return catalogo.result("nos.cortada", "encerrado com a chamada aberta")


def unwritable() -> SendResult:
    """For a call or an answer that nobody can make sense of: it may have left."""
    return catalogo.result("nos.erro_interno", "erro interno")


def _no_address() -> SendResult:
    return catalogo.result("nos.chip_removido", "chip removido entre a escolha e o envio")
