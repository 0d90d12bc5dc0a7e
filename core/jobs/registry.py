"""The one list of jobs: schedules, endpoints, SLA table and documentation come from it.

A function becomes a job by `@job` in its app's `jobs.py` (`core/maintenance_jobs.py` here); what has no function cannot
be listed.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from core.clock import BRASILIA
from core.jobs.cron import Cron, InvalidCron, parse
from core.jobs.deadline import Deadline

Function = TypeVar("Function", bound=Callable[..., Mapping[str, Any]])

SHORT = timedelta(seconds=60)
CATCH_UP = timedelta(hours=2)
_TRUE, _FALSE = frozenset({"1", "true", "sim"}), frozenset({"0", "false", "nao", "não"})


class Cluster(StrEnum):
    """django-q2 clusters."""

    CRITICO = "critico"
    TRABALHOS = "trabalhos"


class UnknownJob(LookupError):
    """No job has this name or path."""


class InvalidParam(ValueError):
    """The job takes no such parameter, or not with this value; the text is for whoever called."""


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    type: type
    default: Any

    def read(self, text: str) -> Any:
        """The typed value of what somebody wrote. Raises InvalidParam."""
        try:
            if self.type is bool:
                if text.lower() in _TRUE | _FALSE:
                    return text.lower() in _TRUE
                raise ValueError(text)
            if self.type in (date, datetime):
                return self.type.fromisoformat(text)
            return self.type(text)
        except ValueError:
            raise InvalidParam(f"{self.name}={text!r} não é {_TYPE_NAMES[self.type]}") from None


_TYPE_NAMES: dict[type, str] = {
    int: "um número inteiro",
    float: "um número",
    bool: "true nem false",
    str: "um texto",
    date: "uma data (2026-03-31)",
    datetime: "um instante (2026-03-31T10:00:00-03:00)",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One registered job. `longest` is how long it may take; `catch_up` how late a missed instant still runs."""

    name: str
    function: Callable[..., Mapping[str, Any]]
    cron: Cron
    sla: timedelta
    critical: bool
    path: str
    aliases: tuple[str, ...]
    longest: timedelta
    catch_up: timedelta
    params: Mapping[str, Param]
    takes_deadline: bool

    @property
    def cluster(self) -> Cluster:
        return Cluster.CRITICO if self.longest <= SHORT else Cluster.TRABALHOS

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    def slot_of(self, planned: datetime) -> str:
        """What makes a planned instant run once: its minute in UTC, or the local date for jobs of at most once a day.

        Cron libraries fire twice at the hour that a clock change repeats; a date does not repeat.
        """
        local = planned.astimezone(BRASILIA)
        if self.cron.at_most_daily:
            return local.date().isoformat()
        return planned.astimezone(UTC).replace(second=0, microsecond=0).isoformat(timespec="minutes")

    def read_params(self, written: Mapping[str, str]) -> dict[str, Any]:
        """Typed parameters from text. Raises InvalidParam."""
        unknown = set(written) - set(self.params)
        if unknown:
            takes = ", ".join(self.params) or "nenhum"
            raise InvalidParam(f"{self.name} não tem o parâmetro {', '.join(sorted(unknown))}. Aceita: {takes}")
        return {name: self.params[name].read(text) for name, text in written.items()}

    def call(self, now: datetime, deadline: Deadline, params: Mapping[str, Any]) -> Mapping[str, Any]:
        extra = {"deadline": deadline} if self.takes_deadline else {}
        return self.function(now, **extra, **params)


_jobs: dict[str, Job] = {}


def job(
    name: str,
    cron: str,
    sla: timedelta,
    critical: bool = False,
    path: str | None = None,
    aliases: tuple[str, ...] = (),
    longest: timedelta = SHORT,
    catch_up: timedelta = CATCH_UP,
) -> Callable[[Function], Function]:
    """Register `function(now, …)` under `name`.

    `now` is aware; further parameters are keyword ones with a default, of type int, float, bool, str, date or datetime,
    and can be given by a manual run; `deadline: Deadline` is handed over to a function that takes it. The result is a
    mapping with the integer `processados`; `{"status": "error", …}` in it makes the run a failed one.

    `path` is the name with dashes unless given. Raises InvalidCron or ValueError: a process with a faulty job does not
    start.
    """
    parsed = parse(cron)

    def decorate(function: Function) -> Function:
        params, takes_deadline = _signature(name, function)
        _add(
            Job(
                name=name,
                function=function,
                cron=parsed,
                sla=sla,
                critical=critical,
                path=path or name.replace("_", "-"),
                aliases=aliases,
                longest=longest,
                catch_up=catch_up,
                params=params,
                takes_deadline=takes_deadline,
            )
        )
        return function

    return decorate


def registered() -> list[Job]:
    return list(_jobs.values())


def find(name: str) -> Job:
    """Raises UnknownJob."""
    try:
        return _jobs[name]
    except KeyError:
        raise UnknownJob(f"não existe o job {name!r}. Existem: {', '.join(sorted(_jobs))}") from None


def find_path(path: str) -> Job:
    """By the path below `/jobs/`, aliases included. Raises UnknownJob."""
    for each in _jobs.values():
        if path == each.path or path in each.aliases:
            return each
    raise UnknownJob(f"não existe /jobs/{path}. Existem: {', '.join(sorted(each.path for each in _jobs.values()))}")


def _add(new: Job) -> None:
    taken = {path for each in _jobs.values() for path in (each.path, *each.aliases)}
    if new.name in _jobs or taken & {new.path, *new.aliases}:
        raise ValueError(f"job {new.name!r} (/jobs/{new.path}) is registered twice")
    _jobs[new.name] = new


def _signature(name: str, function: Callable[..., Any]) -> tuple[dict[str, Param], bool]:
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    if not parameters or parameters[0].name != "now":
        raise ValueError(f"job {name!r} must take `now` first")
    rest = [each for each in parameters[1:] if each.name != "deadline"]
    for each in rest:
        if each.annotation not in _TYPE_NAMES or each.default is inspect.Parameter.empty:
            raise ValueError(f"job {name!r}: parameter {each.name!r} needs a default and a type a caller can write")
    takes_deadline = any(each.name == "deadline" for each in parameters)
    return {each.name: Param(each.name, each.annotation, each.default) for each in rest}, takes_deadline


__all__ = [
    "Cluster",
    "Deadline",
    "InvalidCron",
    "InvalidParam",
    "Job",
    "Param",
    "UnknownJob",
    "find",
    "find_path",
    "job",
    "registered",
]
