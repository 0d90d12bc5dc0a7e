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
from core.jobs.cron import Cron, InvalidCron, interval, parse
from core.jobs.deadline import Deadline
from core.jobs.ensaio import DRY_RUN, rehearse
from core.jobs.ensaio import LIMIT as REHEARSAL

Function = TypeVar("Function", bound=Callable[..., Mapping[str, Any]])

SHORT = timedelta(seconds=60)
CATCH_UP = timedelta(hours=2)
LATE_START = timedelta(minutes=2)  # django-q2 looks at its schedules every 30 s; the rest is waiting for a free process
AGENDA = "agenda"  # origin of a run that the scheduler's tick started
_HANDED_OVER = frozenset({"deadline", "origem"})
_TRUE, _FALSE = frozenset({"1", "true", "sim"}), frozenset({"0", "false", "nao", "não"})


class Cluster(StrEnum):
    """django-q2 clusters."""

    CRITICO = "critico"
    TRABALHOS = "trabalhos"


class Perdida(StrEnum):
    """What becomes of a planned instant at which nothing ran."""

    RODA_UMA_VEZ = "roda_uma_vez"  # the newest one runs once, when it is not later than `catch_up`
    PULA = "pula"  # it is given up: the next planned instant is soon enough


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
    perdida: Perdida
    params: Mapping[str, Param]
    takes: frozenset[str]
    rehearses: bool

    @property
    def cluster(self) -> Cluster:
        return Cluster.CRITICO if self.longest <= SHORT else Cluster.TRABALHOS

    @property
    def latest_start(self) -> timedelta:
        """How long after its planned instant a run may still begin."""
        return self.catch_up if self.perdida is Perdida.RODA_UMA_VEZ else LATE_START

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

    def call(
        self, now: datetime, deadline: Deadline, params: Mapping[str, Any], origem: str = AGENDA
    ) -> Mapping[str, Any]:
        given = dict(params)
        if not (self.rehearses and given.pop(DRY_RUN, False)):
            return self._call(now, deadline, given, origem)
        return rehearse(lambda: self._call(now, Deadline(REHEARSAL), given, origem))

    def _call(self, now: datetime, deadline: Deadline, params: Mapping[str, Any], origem: str) -> Mapping[str, Any]:
        extra = {name: value for name, value in (("deadline", deadline), ("origem", origem)) if name in self.takes}
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
    perdida: str = Perdida.RODA_UMA_VEZ,
    ensaio: bool = False,
) -> Callable[[Function], Function]:
    """Register `function(now, …)` under `name`.

    `now` is aware; further parameters are keyword ones with a default, of type int, float, bool, str, date or datetime,
    and can be given by a manual run; `deadline: Deadline` and `origem: str` (`AGENDA`, `manual`, `api` …) are handed
    over to a function that takes them. The result is a mapping with the integer `processados`; `{"status": "error", …}`
    in it makes the run a failed one.

    `path` is the name with dashes unless given. `perdida` says what becomes of a missed instant. `ensaio` gives a job
    that does nothing outside the database the parameter `dry_run`: it runs and is taken back. Raises InvalidCron or
    ValueError: a process with a faulty job does not start.
    """
    parsed = parse(cron)
    if sla <= interval(parsed):
        raise ValueError(f"job {name!r}: its SLA must be longer than the {interval(parsed)} between two runs")

    def decorate(function: Function) -> Function:
        params, takes = _signature(name, function)
        if ensaio:
            params[DRY_RUN] = Param(DRY_RUN, bool, False)
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
                perdida=Perdida(perdida),
                params=params,
                takes=takes,
                rehearses=ensaio,
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


def _signature(name: str, function: Callable[..., Any]) -> tuple[dict[str, Param], frozenset[str]]:
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    if not parameters or parameters[0].name != "now":
        raise ValueError(f"job {name!r} must take `now` first")
    rest = [each for each in parameters[1:] if each.name not in _HANDED_OVER]
    for each in rest:
        if each.annotation not in _TYPE_NAMES or each.default is inspect.Parameter.empty:
            raise ValueError(f"job {name!r}: parameter {each.name!r} needs a default and a type a caller can write")
    takes = _HANDED_OVER & {each.name for each in parameters}
    return {each.name: Param(each.name, each.annotation, each.default) for each in rest}, takes


__all__ = [
    "AGENDA",
    "Cluster",
    "Deadline",
    "InvalidCron",
    "InvalidParam",
    "Job",
    "Param",
    "Perdida",
    "UnknownJob",
    "find",
    "find_path",
    "job",
    "registered",
]
