"""Gauges: what is true now, asked of the same functions that health and the backoffice ask."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db import Error, transaction

from core.flags import SettingUnreadable
from core.logging import get_logger

Number = int | float
Readings = Mapping[str, "Number | Iterable[Sample] | None"]
Read = Callable[[datetime], Readings]
Function = TypeVar("Function", bound=Read)
# What a broken fact can raise: the database, or a row that is not as its reader expects.
UNREADABLE = (Error, SettingUnreadable, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)

log = get_logger("metricas")


@dataclass(frozen=True, slots=True)
class Sample:
    value: Number
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A function and what its gauges are called: name → help text."""

    name: str
    gauges: Mapping[str, str]
    read: Read


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source said. `ok` False: it said nothing, and none of its gauges has a value: no zero stands for it."""

    source: Source
    ok: bool
    samples: Mapping[str, tuple[Sample, ...]]


_sources: dict[str, Source] = {}


def gauges(source: str, named: Mapping[str, str]) -> Callable[[Function], Function]:
    """Register `function(now)` as the one that knows these gauges; name → help text in Portuguese.

    It answers name → number, None (nothing to measure) or samples with labels. Raises ValueError for a name that
    another source has already.
    """

    def decorate(function: Function) -> Function:
        taken = {name for each in _sources.values() for name in each.gauges}
        if source in _sources or taken & set(named):
            raise ValueError(f"gauges of {source!r} are registered twice")
        _sources[source] = Source(source, named, function)
        return function

    return decorate


def sources() -> list[Source]:
    return list(_sources.values())


def read_all(now: datetime, only: Iterable[str] | None = None) -> list[Reading]:
    """Every source, or those named; one that fails says so and takes nothing away from the others."""
    wanted = set(_sources) if only is None else set(only)
    return [_read(each, now) for each in _sources.values() if each.name in wanted]


def _read(source: Source, now: datetime) -> Reading:
    try:
        with transaction.atomic():
            said = source.read(now)
            samples = {name: _samples(said.get(name)) for name in source.gauges}
    except UNREADABLE as error:
        log.warning("métrica não lida", fonte=source.name, error_class=type(error).__name__)
        return Reading(source, False, {})
    return Reading(source, True, samples)


def _samples(said: "Number | Iterable[Sample] | None") -> tuple[Sample, ...]:
    if said is None:
        return ()
    if isinstance(said, int | float):
        return (Sample(said),)
    return tuple(said)
