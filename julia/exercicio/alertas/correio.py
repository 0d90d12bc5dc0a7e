"""The worker of simulated time: claims, opens and settles through the fila's own code; only the wire is imagined."""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from chips.choices import ProviderName
from chips.providers.base import SendResult
from chips.providers.classification import accepted
from chips.vocabulario import catalogo
from fila.dispatch import OpenAttempt
from fila.results import Settled
from fila.settle import settle
from fila.worker.steps import Consumer

SENDERS = 32
#: One look takes at most one message per chip; more looks than this within one step is no worker of ours.
MOST_LOOKS = 8

Answer = tuple[SendResult, int]
Mode = Callable[[random.Random, str], Answer]


def well(rng: random.Random, key: str) -> Answer:
    """Accepted within a second."""
    return accepted(key, status=201), rng.randint(200, 900)


def unhurried(rng: random.Random, key: str) -> Answer:
    """Slow, but working: below the ten seconds at which a call counts as slow."""
    return accepted(key, status=201), rng.randint(4_000, 9_000)


def slow(rng: random.Random, key: str) -> Answer:
    return accepted(key, status=201), rng.randint(12_000, 25_000)


def failing(codigo: str, *, status: int | None = None, took_ms: int = 300) -> Mode:
    """Every call comes to this result of the closed set."""
    return lambda rng, key: (catalogo.result(codigo, status=status), took_ms)


def sometimes(mode: Mode, share: float) -> Mode:
    """This share of the calls; the others go well."""
    return lambda rng, key: mode(rng, key) if rng.random() < share else well(rng, key)


def the_first(mode: Mode, count: int) -> Mode:
    """So many calls, then all is well again."""
    left = [count]

    def answer(rng: random.Random, key: str) -> Answer:
        if left[0] > 0:
            left[0] -= 1
            return mode(rng, key)
        return well(rng, key)

    return answer


@dataclass(frozen=True, slots=True)
class Enviada:
    """What the provider will tell of by a receipt."""

    chip: UUID
    key_id: str
    destino: str
    pessoa: UUID


class Correio:
    """One worker's looks at the fila. `condenadas` (messages), `chips` and `provedores` say, in that order, how a call
    ends; one that nobody speaks of goes well.

    `remetentes`: calls it may have open at once; `looks`: how often it looks within one step.
    """

    def __init__(self, nome: str, rng: random.Random) -> None:
        self.nome = nome
        self.remetentes = SENDERS
        self.looks = MOST_LOOKS
        self.provedores: dict[str, Mode] = {}
        self.chips: dict[UUID, Mode] = {}
        self.condenadas: dict[UUID, Mode] = {}
        self.enviadas: list[Enviada] = []
        self.chamadas = 0
        self.falhou = False
        self._rng = rng

    def restore(self) -> None:
        """All senders again."""
        self.remetentes, self.looks = SENDERS, MOST_LOOKS

    def condemn(self, ids: Collection[UUID], mode: Mode) -> None:
        self.condenadas |= dict.fromkeys(ids, mode)

    def look(self) -> None:
        """Looks until one brings nothing, as a worker does that is woken by each settled batch."""
        self.falhou = False
        for _ in range(self.looks):
            consumer = Consumer(self.nome, self._rng, senders=self.remetentes)
            turn = consumer.look(senders=self.remetentes, proved=_proved())
            if not turn.attempts:
                return
            settle([self._sent(attempt) for attempt in turn.attempts], rng=self._rng)

    def _sent(self, attempt: OpenAttempt) -> Settled:
        self.chamadas += 1
        message = attempt.mensagem
        mode = (
            self.condenadas.pop(message.id, None)
            or self.chips.get(attempt.chip_id)
            or self.provedores.get(attempt.provider, well)
        )
        result, took_ms = mode(self._rng, f"EX{attempt.id:018d}")
        self.falhou = self.falhou or not result.provider_message_id
        if key := result.provider_message_id:
            self.enviadas.append(Enviada(attempt.chip_id, key, message.telefone_destino, message.cliente_id))
        return Settled(attempt, result, took_ms)


def _proved() -> Mapping[str, bool]:
    """Nothing leaves this process: there is no wire to be proved."""
    return {settings.EVOLUTION_API_URL: True, settings.ZAPI_BASE_URL: True}


def credentials_rejected(provider: str) -> Mode:
    name = "zapi.not_allowed" if provider == ProviderName.ZAPI else "evolution.nao_autorizado"
    return failing(name, status=403 if provider == ProviderName.ZAPI else 401)
