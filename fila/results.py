"""What a call came to, on its way from the wire to the database."""

from dataclasses import dataclass

from chips.providers.base import SendResult
from fila.dispatch import OpenAttempt


@dataclass(frozen=True, slots=True)
class Settled:
    """One attempt and what its call came to. `duracao_ms` from commit to answer."""

    attempt: OpenAttempt
    result: SendResult
    duracao_ms: int
