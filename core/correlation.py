"""The correlation id: one short word that follows a piece of work from click or webhook to provider call."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

_VALID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_current: ContextVar[str] = ContextVar("correlation_id", default="")


def get() -> str:
    """The current id; one of 8 characters is made on first use (S-36 T03.5)."""
    value = _current.get()
    if not value:
        value = str(uuid.uuid4())[:8]
        _current.set(value)
    return value


def peek() -> str:
    """The current id, or an empty string where no work has begun."""
    return _current.get()


@contextmanager
def use(value: str | None = None) -> Iterator[str]:
    """Work under `value` (or a fresh id when it is missing or malformed) and restore what was there before."""
    token = _current.set(value if value and _VALID.match(value) else str(uuid.uuid4())[:8])
    try:
        yield _current.get()
    finally:
        _current.reset(token)


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
