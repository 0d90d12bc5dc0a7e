"""The one place where a provider request is built and written."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx

from chips.providers import classification as say
from chips.providers.base import ErrorKind, Fault, GoAhead, SendResult
from chips.vocabulario import catalogo
from core import correlation
from core.integrations.http import CORRELATION_HEADER, TOTAL_S, WIRE_ERRORS, Reply, call_with_total, exchange
from core.metrics.calls import CountedCall
from core.metrics.declared import OTHER

# What metrics call the vendors' paths; an id behind `queue/` stays out of them.
_OPERATIONS = {
    "instance/connectionState": "connection_state",
    "instance/fetchInstances": "fetch_instances",
    "webhook/set": "set_webhook",
    "chat/findMessages": "find_messages",
    "chat/findStatusMessage": "find_status",
    "status": "status",
    "queue": "queue",
    "update-every-webhooks": "set_webhook",
}


class InvalidRequestError(ValueError):
    """The request cannot be written; the message names what is wrong, never its value.

    `kind`: `credencial` when another chip may well carry it (address, key), `interno` when none can (text, number).
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def build_request(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    correlation_id: str,
    json_body: Any = None,
    timeout: httpx.Timeout | None = None,
) -> httpx.Request:
    """A request that is certain to fit the wire; raises `InvalidRequestError`, before anything is opened.

    Without a `correlation_id` it goes by that of the work that asks (a job, a click).
    """
    headers = {**headers, CORRELATION_HEADER: correlation_id or correlation.get(), "Content-Type": "application/json"}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidRequestError(ErrorKind.CREDENCIAL, f"cabeçalho {name} com caracteres inválidos")
    extra: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    if json_body is not None:
        try:
            extra["content"] = json.dumps(json_body, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            raise InvalidRequestError(ErrorKind.INTERNO, "texto com caracteres inválidos") from None
    try:
        request = client.build_request(method, url, headers=headers, **extra)
    except (httpx.InvalidURL, ValueError):
        raise InvalidRequestError(ErrorKind.CREDENCIAL, "endereço do provedor inválido") from None
    if not _is_address(request.url):
        raise InvalidRequestError(ErrorKind.CREDENCIAL, "endereço do provedor inválido")
    return request


def _is_address(url: httpx.URL) -> bool:
    """Whether a connection could be tried at all: a typing error such as "http://evolution..br" is no network fault."""
    try:
        url.host.encode("idna")
    except UnicodeError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and 0 < (url.port or 80) <= 65_535


async def post_once(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    integration: str,
    classify: Callable[[Reply], SendResult],
    go_ahead: GoAhead | None,
    total_s: float = TOTAL_S,
) -> SendResult:
    """Write the message, once, and say what became of it."""
    if go_ahead is not None and not go_ahead():
        return withdrawn()
    with CountedCall(integration, "send_text") as call:
        try:
            reply = await call_with_total(exchange(client, request), total_s=total_s)
        except WIRE_ERRORS as error:
            call.ok = False
            return say.failed_call(error)
        result = classify(reply)
        call.ok = result.fault in (None, Fault.DESTINATARIO)
        return result


async def query_once(
    client: httpx.AsyncClient, request: httpx.Request, *, integration: str, path: str, total_s: float
) -> Reply:
    """A call that sends nothing to anybody, counted under its path. Raises one of `WIRE_ERRORS`."""
    resource = path.partition("?")[0]
    operation = _OPERATIONS.get(resource) or _OPERATIONS.get(resource.partition("/")[0], OTHER)
    with CountedCall(integration, operation) as call:
        reply = await call_with_total(exchange(client, request), total_s=total_s)
        call.ok = reply.status < 400
        return reply


def withdrawn() -> SendResult:
    return catalogo.result("nos.retirada", "a condição de envio mudou antes da escrita")


def refused_here(error: InvalidRequestError) -> SendResult:
    name = "nos.pedido_invalido" if error.kind is ErrorKind.INTERNO else "nos.endereco_invalido"
    return catalogo.result(name, str(error))


def missing_credentials(fields: Iterable[str]) -> SendResult:
    return catalogo.result("nos.sem_credenciais", lacking(fields))


def lacking(fields: Iterable[str]) -> str:
    return f"chip sem {', '.join(fields)}"


def require_number_and_text(number: str, text: str) -> None:
    """Neither vendor checks the length of a number, and one of them delivers "0" somewhere (contracts §1.11)."""
    if not (number.isascii() and number.isdigit() and 8 <= len(number) <= 15 and number[0] != "0"):
        raise InvalidRequestError(ErrorKind.INTERNO, "número fora do formato E.164 sem +")
    if not text.strip():
        raise InvalidRequestError(ErrorKind.INTERNO, "texto vazio")
