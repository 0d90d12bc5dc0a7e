"""Which calls were behind a change of a circuit: told by whoever makes the calls, shown beside the change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.circuits.models import CircuitTransition


@dataclass(frozen=True, slots=True)
class Cause:
    """One call that failed. `label` names what it carried, `url` is its page; `sentence` says how it ended."""

    at: datetime
    label: str
    url: str
    sentence: str


Finder = Callable[[Sequence[CircuitTransition]], Mapping[UUID, list[Cause]]]
_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """`finder` gets the changes of one page at once and answers by their id, in a constant number of statements."""
    if finder not in _finders:
        _finders.append(finder)


def causes_of(transitions: Sequence[CircuitTransition]) -> dict[UUID, list[Cause]]:
    """The failed calls behind each opening, newest first; nothing for changes that no call caused."""
    found: dict[UUID, list[Cause]] = {}
    for finder in _finders:
        for transition_id, causes in finder(transitions).items():
            found.setdefault(transition_id, []).extend(causes)
    return found
