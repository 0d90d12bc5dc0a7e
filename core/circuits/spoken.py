"""Circuits as operators read them, chips by the name that people gave them: told by whoever knows chips."""

from collections.abc import Callable, Collection, Iterable, Mapping
from uuid import UUID

from core.backoffice import ui
from core.circuits import names

Namer = Callable[[Collection[UUID]], Mapping[UUID, str]]
_namers: list[Namer] = []


def register(namer: Namer) -> None:
    """`namer` answers for many chips in one statement; those it does not know keep the beginning of their id."""
    if namer not in _namers:
        _namers.append(namer)


def titles(circuits: Iterable[str]) -> dict[str, str]:
    """By the circuit's name; at most one statement."""
    wanted = list(circuits)
    chips = {name: chip for name in wanted if (chip := names.chip_of(name)) is not None}
    known = chip_names(chips.values())
    return {
        name: f"Chip {known[chips[name]]}" if name in chips and chips[name] in known else names.spoken(name)
        for name in wanted
    }


def title(circuit: str) -> str:
    return titles([circuit])[circuit]


def chip_names(chips: Collection[UUID]) -> dict[UUID, str]:
    """What people call these chips, never with a whole telephone number in it."""
    found: dict[UUID, str] = {}
    for namer in _namers if chips else ():
        found |= {chip: ui.short_digits(name) for chip, name in namer(set(chips)).items()}
    return found
