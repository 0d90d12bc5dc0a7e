"""The one list of what can be alarming: what each kind means, what to do, and how insistent it is.

`@alert_rule` registers a function over facts, in its app's `alert_rules.py`; `event_alert` says the same about alerts
that are raised where something happens (`core.alerts.services.raise_alert`), which no function could find again.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from core.alerts.models import Severidade

MINUTE = timedelta(minutes=1)
Link = str | Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One condition that holds now.

    `chave` is its scope: "chip:<id>", a job's name, a circuit's name; "" is the system. `mensagem` is the evidence in
    one or two sentences (value, limit, since when), `contexto` its breakdown: neither holds a phone or a text. `desde`
    is since when it holds as the facts say.
    """

    severidade: Severidade
    titulo: str
    mensagem: str
    chave: str = ""
    valor: Decimal | int | None = None
    limite: Decimal | int | None = None
    contexto: Mapping[str, Any] = field(default_factory=dict)
    desde: datetime | None = None
    correlation_id: str = ""


Evaluate = Callable[[datetime], Iterable[Finding]]
Function = TypeVar("Function", bound=Evaluate)
Given = ParamSpec("Given")
Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of alert. `evaluate` is None where only events raise it.

    `segura`: how long the condition must hold before it opens; `solta`: how long it must be gone before it resolves;
    `descanso`: no second notification of the same (tipo, chave) within it, and a reminder after it while nobody took
    the alert; `escala_apos`: unowned for so long after the notification, it is said louder, once. While one of
    `inibido_por` is open, the alert opens and is not notified.
    """

    tipo: str
    significa: str = ""
    proximo: str = ""
    link: Link = ""
    segura: timedelta = timedelta(0)
    solta: timedelta = MINUTE
    descanso: timedelta = 60 * MINUTE
    inibido_por: tuple[str, ...] = ()
    escala_apos: timedelta | None = None
    notifica: bool = True
    evaluate: Evaluate | None = None

    def link_of(self, chave: str) -> str:
        """The path of the filtered list where this is seen and mended, or an empty string."""
        return self.link(chave) if callable(self.link) else self.link


_rules: dict[str, Rule] = {}


def alert_rule(
    tipo: str,
    *,
    significa: str,
    proximo: str,
    link: Link,
    segura: timedelta = timedelta(0),
    solta: timedelta = MINUTE,
    descanso: timedelta = 60 * MINUTE,
    inibido_por: tuple[str, ...] = (),
    escala_apos: timedelta | None = None,
    notifica: bool = True,
) -> Callable[[Function], Function]:
    """Register `function(now)`, which returns every condition of this kind that holds at `now` (database time).

    It only reads: it runs in a read-only savepoint with a statement timeout of 2 s. What it no longer finds resolves,
    also what an event raised under the same `tipo`. Raises ValueError for a `tipo` registered twice, and where rules
    would inhibit each other in a circle: a process with such rules does not start.
    """

    def decorate(function: Function) -> Function:
        _add(
            Rule(
                tipo=tipo,
                significa=significa,
                proximo=proximo,
                link=link,
                segura=segura,
                solta=solta,
                descanso=descanso,
                inibido_por=inibido_por,
                escala_apos=escala_apos,
                notifica=notifica,
                evaluate=function,
            )
        )
        return function

    return decorate


def event_alert(
    tipo: str,
    *,
    significa: str,
    proximo: str,
    link: Link,
    descanso: timedelta = 60 * MINUTE,
    inibido_por: tuple[str, ...] = (),
    escala_apos: timedelta | None = None,
    notifica: bool = True,
) -> None:
    """Declare a kind that `raise_alert` opens and `resolve`, or a person, ends. Raises ValueError as `alert_rule`."""
    _add(
        Rule(
            tipo=tipo,
            significa=significa,
            proximo=proximo,
            link=link,
            descanso=descanso,
            inibido_por=inibido_por,
            escala_apos=escala_apos,
            notifica=notifica,
        )
    )


def registered() -> list[Rule]:
    """The rules that are evaluated."""
    return [rule for rule in _rules.values() if rule.evaluate is not None]


def declared() -> list[Rule]:
    """Every kind with its meaning, those of events included."""
    return list(_rules.values())


def rule_of(tipo: str) -> Rule:
    """A kind that nobody declared is an event's: reminders every hour, escalated after half an hour."""
    return _rules.get(tipo) or Rule(tipo=tipo, escala_apos=30 * MINUTE)


# Facts that several rules read ------------------------------------------------------------------------------------

_look: ContextVar[dict[Hashable, Any] | None] = ContextVar("alert_look", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """While the block lasts each `shared` fact is read once: rules that ask for the same thing judge the same thing."""
    token = _look.set({})
    try:
        yield
    finally:
        _look.reset(token)


def shared(function: Callable[Given, Read]) -> Callable[Given, Read]:
    """Remember what `function` read, by its positional arguments, for the present look; outside of one, read anew.

    A reading that raises is not remembered: the next rule tries for itself.
    """

    @wraps(function)
    def read(*args: Given.args, **kwargs: Given.kwargs) -> Read:
        facts = _look.get()
        if facts is None or kwargs:
            return function(*args, **kwargs)
        key = (function, args)
        if key not in facts:
            facts[key] = function(*args, **kwargs)
        found: Read = facts[key]
        return found

    return read


def _add(new: Rule) -> None:
    if new.tipo in _rules:
        raise ValueError(f"alert {new.tipo!r} is declared twice")
    if _reaches(new.inibido_por, new.tipo):
        raise ValueError(f"alert {new.tipo!r} would be inhibited by what it inhibits: nobody would ever be told")
    _rules[new.tipo] = new


def _reaches(tipos: Iterable[str], target: str) -> bool:
    """Whether one of `tipos` is `target`, or is inhibited by it over however many steps."""
    seen: set[str] = set()
    pending = list(tipos)
    while pending:
        tipo = pending.pop()
        if tipo == target:
            return True
        if tipo not in seen:
            seen.add(tipo)
            pending += _rules[tipo].inibido_por if tipo in _rules else ()
    return False
