"""What a handler is given and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chips.models import Chip
from chips.webhooks.models import EventoRecebido
from chips.webhooks.parsed import ParsedEvent


@dataclass(frozen=True, slots=True)
class Received:
    """One event to handle. `event.key_id` is the message it is about: a body may name several, each has its own row.

    `chip` was read when the batch began; what depends on its newest state reads it again under a lock.
    """

    event: EventoRecebido
    parsed: ParsedEvent
    chip: Chip
    now: datetime


@dataclass(frozen=True, slots=True)
class Done:
    motivo: str = ""


@dataclass(frozen=True, slots=True)
class Ignore:
    motivo: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What it matches is not there yet: ask again later, at most 48 h after it came."""

    motivo: str


Outcome = Done | Ignore | Wait
Handler = Callable[[Received], Outcome]
