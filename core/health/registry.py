"""Checks of health: each app states its own in `health.py`, one runner asks them, views report. Core names no app."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import Error

from core.logging import get_logger

T = TypeVar("T")
log = get_logger("core.health")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`detail` is a fixed sentence: never a driver's message, a telephone or a text."""

    ok: bool
    detail: str = ""


Check = Callable[[datetime], CheckResult]


@dataclass(frozen=True, slots=True)
class Report:
    results: dict[str, CheckResult]

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.results.values())


_checks: dict[str, Check] = {}


def health_check(name: str) -> Callable[[Check], Check]:
    """Register `check(now)` under `name`, e.g. `fila.backlog`. Raises ValueError for a name used twice."""

    def decorate(check: Check) -> Check:
        if name in _checks:
            raise ValueError(f"health check {name!r} is registered twice")
        _checks[name] = check
        return check

    return decorate


def names() -> list[str]:
    return sorted(_checks)


def run_checks(now: datetime, only: Iterable[str] | None = None) -> Report:
    """Every registered check, or those named; one that breaks is a failed check."""
    return Report({name: run_check(_checks[name], now) for name in (names() if only is None else only)})


def run_check(check: Check, now: datetime) -> CheckResult:
    try:
        return check(now)
    except Exception as error:  # one of the two places that may catch all: a broken check is a failed one
        log.warning("verificação de saúde quebrou", check=getattr(check, "__name__", "?"), exc_info=True)
        return CheckResult(ok=False, detail=f"{type(error).__name__}: a verificação não terminou")


_SENTENCES = {
    "QueryCanceled": "a leitura passou de 2 segundos e foi interrompida: tabela travada ou banco sobrecarregado",
    "LockNotAvailable": "a tabela está travada por outra sessão",
    "UndefinedTable": "o banco está atrás do código: rode python manage.py migrate",
    "UndefinedColumn": "o banco está atrás do código: rode python manage.py migrate",
    "TimeoutError": "não respondeu a tempo",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in words that are safe to show: the class of the error and a fixed sentence."""

    classe: str
    mensagem: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """A driver's error by the driver's own class, which tells more than Django's."""
        known = error.__cause__ if isinstance(error, Error) and error.__cause__ is not None else error
        classe = type(known).__name__
        away = "o banco de dados não responde" if isinstance(error, Error) else "a leitura não terminou"
        return cls(classe, _SENTENCES.get(classe, away))


def attempt(read: Callable[[], T], what: str) -> T | Failure:
    """What `read` returns, or why it could not."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001  (as above: what breaks is reported, and nothing else stops for it)
        failure = Failure.of(error)
        log.warning("leitura de saúde falhou", leitura=what, erro=failure.classe)
        return failure
