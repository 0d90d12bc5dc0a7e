"""The correlation id: one short word that follows a piece of work from click or webhook to provider call.

With it travels what log lines of that work should carry (`note`) and what they must never carry (`hide`). All of it
belongs to the scope that `use` or `bind` opened: an asyncio task or a thread begins with a copy of its own, or with
nothing, and what a scope learns ends with it.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, HttpResponse

_VALID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
# An id is shown and logged as it is: nobody may send us a telephone number in its place.
_TELEPHONE = re.compile(r"(?<![0-9A-Fa-f])\d{10,15}(?![0-9A-Fa-f])")


@dataclass(frozen=True, slots=True)
class _Work:
    id: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hidden: tuple[str, ...] = ()


_NOTHING = _Work()
_current: ContextVar[_Work] = ContextVar("correlation", default=_NOTHING)
_outer: ContextVar[tuple[_Work, Any] | None] = ContextVar("correlation_outer", default=None)  # what `begin` covers


def fresh() -> str:
    return str(uuid.uuid4())[:8]


def is_valid(value: str) -> bool:
    """1 to 64 letters, digits, `_` or `-`, and no telephone number."""
    return bool(_VALID.match(value)) and not _TELEPHONE.search(value)


def get() -> str:
    """The current id; one of 8 characters is made on first use (S-36 T03.5)."""
    work = _current.get()
    if not work.id:
        work = replace(work, id=fresh())
        _current.set(work)
    return work.id


def peek() -> str:
    """The current id, or an empty string where no work has begun."""
    return _current.get().id


def fields() -> Mapping[str, str]:
    """What the log lines of this piece of work carry besides their own fields."""
    return _current.get().fields


def hidden() -> tuple[str, ...]:
    """Message texts and other private words that no line about this piece of work may carry."""
    return _current.get().hidden


@contextmanager
def use(value: str | None = None) -> Iterator[str]:
    """Work under `value` (or a fresh id when it is missing or malformed) and restore what was there before."""
    chosen = value if value and is_valid(value) else fresh()
    token = _current.set(replace(_current.get(), id=chosen))
    try:
        yield _current.get().id
    finally:
        _current.reset(token)


@contextmanager
def bind(**values: object) -> Iterator[None]:
    """The lines inside carry these fields; None and "" are left out."""
    token = _current.set(_current.get())
    try:
        note(**values)
        yield
    finally:
        _current.reset(token)


def note(**values: object) -> None:
    """Like `bind`, to the end of the scope we are in."""
    said = {name: str(value) for name, value in values.items() if value not in (None, "")}
    work = _current.get()
    _current.set(replace(work, fields={**work.fields, **said}))


def hide(*texts: str) -> None:
    """To the end of the scope we are in no line may carry these texts, whatever exception quotes them."""
    work = _current.get()
    _current.set(replace(work, hidden=(*work.hidden, *(text for text in texts if text))))


def become(value: str) -> None:
    """The work turns out to belong to `value` (an echo finds its attempt): from here to the end of the scope."""
    if is_valid(value):
        _current.set(replace(_current.get(), id=value))


def begin(value: str) -> None:
    """Work under `value`, or a fresh id, until `end`: for hooks that cannot hold a scope open. May be nested."""
    _outer.set((_current.get(), _outer.get()))
    _current.set(_Work(id=value if is_valid(value) else fresh()))


def end() -> None:
    """Back to what was there before `begin`; without one, to nothing."""
    outer = _outer.get()
    work, before = outer if outer is not None else (_NOTHING, None)
    _current.set(work)
    _outer.set(before)


class CorrelationMiddleware:
    """Takes `X-Correlation-ID` (or `X-Trace-ID`) from the request and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.headers.get("X-Correlation-ID") or request.headers.get("X-Trace-ID")
        with use(offered) as value:
            response = self.get_response(request)
            response["X-Correlation-ID"] = value
            return response
