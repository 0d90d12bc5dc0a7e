"""A consumer's own steps without a wire: open attempts as a look does, and settle what they came to."""

import random

from chips import addresses
from chips.providers.base import SendResult
from chips.providers.classification import accepted
from fila.dispatch import OpenAttempt
from fila.results import Settled
from fila.settle import settle
from fila.worker.steps import Consumer


def look() -> list[OpenAttempt]:
    """Claim what can be carried and open its attempts, as towards the simulator."""
    proved = dict.fromkeys(addresses.base_urls(), True)
    return Consumer("teste", random.Random(1), senders=16).look(senders=16, proved=proved).attempts


def open_one() -> OpenAttempt:
    (attempt,) = look()
    return attempt


def settle_as(result: SendResult, *attempts: OpenAttempt) -> None:
    settle([Settled(attempt, result, 12) for attempt in attempts], rng=random.Random(1))


def accept(attempt: OpenAttempt, key_id: str) -> None:
    settle_as(accepted(key_id, status=201), attempt)
