"""Synchronous single calls behind a circuit: the language model, Slack, Chatwoot."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import httpx
from django.db import Error, transaction

from core.circuits import services
from core.circuits.names import check
from core.circuits.services import Call, CallResult, Gate
from core.logging import get_logger

T = TypeVar("T")

TOO_MANY_REQUESTS = 429
SERVER_ERRORS = 500

log = get_logger("circuitos")


class CircuitOpen(Exception):
    """The circuit lets nothing through now. `retry_at` in database time; None when only a person opens it again."""

    def __init__(self, name: str, retry_at: datetime | None) -> None:
        self.name, self.retry_at = name, retry_at
        super().__init__(f"circuito {name} aberto")


def call(name: str, function: Callable[[], T], *, owner: str = "guard") -> T:
    """What `function` returns; raises CircuitOpen without calling it while the circuit is open.

    Errors of `httpx` are judged by type and status and raised again; of other errors the circuit learns nothing. Not
    for use inside a transaction: what is recorded must not be rolled back, and no lock spans a network call.
    """
    snapshot = services.snapshot()
    gate = snapshot.gate(check(name))
    token = services.acquire([name], owner=owner).get(name) if gate is Gate.PROBE else None
    if gate is Gate.CLOSED or (gate is Gate.PROBE and token is None):
        raise CircuitOpen(name, snapshot.retry_at(name))
    result, kind = CallResult.NEUTRAL, ""
    try:
        answer = function()
        result = CallResult.SUCCESS
    except httpx.HTTPError as error:
        result, kind = judge(error)
        raise
    finally:
        _record(Call(name, result, "", kind, started_at=snapshot.now, probe=token is not None, token=token))
    return answer


def judge(error: httpx.HTTPError) -> tuple[CallResult, str]:
    """The result and the kind of error (fila reference §4.3). Refused connections are network, 429 is no failure."""
    if isinstance(error, httpx.TimeoutException):
        return CallResult.TIMEOUT, "timeout"
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status == TOO_MANY_REQUESTS:
            return CallResult.NEUTRAL, "client_4xx"
        return CallResult.FAILURE, "server_5xx" if status >= SERVER_ERRORS else "client_4xx"
    return CallResult.FAILURE, "network"


def _record(made: Call) -> None:
    """A database that went away meanwhile does not take the answer with it: an unused permit expires."""
    try:
        with transaction.atomic():
            services.record([made])
    except Error as error:
        log.error("resultado sem registro no circuito", circuito=made.name, erro=type(error).__name__)
