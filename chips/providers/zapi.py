"""Z-API: calls, and what its answers mean (contracts §2).

A 200 means queued by the vendor. While the phone is disconnected it still queues, and fires everything on reconnection:
so the connection is asked for before each send, and nothing is written when it is not certain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from chips.providers import classification as say
from chips.providers import wire
from chips.providers.base import (
    Capabilities,
    ChipAddress,
    Code,
    ConnectionState,
    ErrorKind,
    Fault,
    GoAhead,
    ProviderError,
    ProviderName,
    SendResult,
    State,
)
from core.integrations.http import TOTAL_S, WIRE_ERRORS, Reply, call_with_total, describe, exchange
from core.integrations.redaction import REDACTED

STATUS_READ_S = 3.0
STATUS_TOTAL_S = 4.0  # a sender's view of chip and person must still be fresh when the status is known

_NOT_ALLOWED = " not allowed"
_INVALID_PHONE = "Invalid phone"
_DISCONNECTED = ("You are not connected.", "You need to restore the session.")


@dataclass(frozen=True, slots=True)
class ZapiProvider:
    client: httpx.AsyncClient
    total_s: float = TOTAL_S
    status_read_s: float = STATUS_READ_S
    status_total_s: float = STATUS_TOTAL_S

    name: ClassVar[ProviderName] = ProviderName.ZAPI
    capabilities: ClassVar[Capabilities] = Capabilities(
        client_message_id=False,
        checks_number_on_send=True,
        search_messages=False,
        queues_when_disconnected=True,
        cancel_queued=True,
    )

    async def send_text(
        self, chip: ChipAddress, *, number: str, text: str, correlation_id: str, go_ahead: GoAhead | None = None
    ) -> SendResult:
        if missing := _missing(chip):
            return wire.missing_credentials(missing)
        try:
            wire.require_number_and_text(number, text)
            body = {"phone": number, "message": text}
            request = self._request("POST", "send-text", chip, correlation_id, json_body=body)
        except wire.InvalidRequestError as error:
            return wire.refused_here(error)
        state = await self.connection_state(chip, correlation_id=correlation_id)
        if not state.connected:
            return _not_connected(state)

        def classify_reply(reply: Reply) -> SendResult:
            secrets = (*chip.secrets, chip.zapi_instance_id, text)
            return classify(reply.status, reply.body, retry_after=reply.retry_after, secrets=secrets)

        return await wire.post_once(
            self.client, request, classify=classify_reply, go_ahead=go_ahead, total_s=self.total_s
        )

    async def connection_state(self, chip: ChipAddress, *, correlation_id: str = "") -> ConnectionState:
        try:
            reply = await self._query("GET", "status", chip, correlation_id)
        except ProviderError as error:
            return ConnectionState(False, State.UNKNOWN, error.detail, error.kind)
        return classify_state(reply.status, reply.body, secrets=(*chip.secrets, chip.zapi_instance_id))

    async def set_webhook(self, chip: ChipAddress, *, url: str, correlation_id: str = "") -> None:
        """Point every webhook at `url` (HTTPS, secret in its path: nothing is signed). Raises ProviderError."""
        body = {"value": url, "notifySentByMe": True}
        reply = await self._query("PUT", "update-every-webhooks", chip, correlation_id, json_body=body)
        answer = say.parsed(reply.body)
        if reply.status != 200 or not (isinstance(answer, dict) and answer.get("value") is True):
            detail = _told(answer, reply.body, (*chip.secrets, chip.zapi_instance_id, url))
            kind = ErrorKind.CREDENCIAL if _is_auth_refusal(reply.status, answer) else ErrorKind.DESCONHECIDO
            raise ProviderError(kind, Code.UNKNOWN, detail, reply.status)

    async def _query(
        self, method: str, path: str, chip: ChipAddress, correlation_id: str, *, json_body: Any = None
    ) -> Reply:
        """A call that sends nothing to anybody. Raises ProviderError when no whole answer came."""
        if missing := _missing(chip):
            raise ProviderError(ErrorKind.CREDENCIAL, Code.CREDENTIALS_MISSING, wire.lacking(missing))
        read_s = self.status_read_s
        timeout = httpx.Timeout(connect=min(3.0, read_s), read=read_s, write=read_s, pool=read_s)
        try:
            request = self._request(method, path, chip, correlation_id, json_body=json_body, timeout=timeout)
        except wire.InvalidRequestError as error:
            raise ProviderError(error.kind, Code.REQUEST_INVALID, str(error)) from None
        try:
            return await call_with_total(exchange(self.client, request), total_s=self.status_total_s)
        except WIRE_ERRORS as error:
            raise ProviderError(*say.failure_words(error), describe(error)) from error

    def _request(self, method: str, path: str, chip: ChipAddress, correlation_id: str, **options: Any) -> httpx.Request:
        instance, token = quote(chip.zapi_instance_id, safe=""), quote(chip.zapi_token, safe="")
        url = f"{chip.base_url.rstrip('/')}/instances/{instance}/token/{token}/{path}"
        headers = {"Client-Token": chip.zapi_client_token} if chip.zapi_client_token else {}
        return wire.build_request(self.client, method, url, headers=headers, correlation_id=correlation_id, **options)


def classify(
    status: int, body: bytes, *, retry_after: timedelta | None = None, secrets: Iterable[str] = ()
) -> SendResult:
    """What an answer to `send-text` proves. Only documented refusals are provably not sent."""
    answer = say.parsed(body)
    if status == 200:
        return _queued(answer)
    error = _error_text(answer)
    detail = _told(answer, body, secrets)
    if _is_auth_refusal(status, answer):
        return say.not_sent(ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, detail, status=status)
    if 400 <= status < 500 and error == [_INVALID_PHONE]:
        return say.not_sent(
            ErrorKind.DESTINO_INVALIDO,
            Fault.DESTINATARIO,
            Code.INVALID_NUMBER,
            detail,
            retryable=False,
            status=status,
        )
    if status in (405, 415):
        return say.not_sent(ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, detail, retryable=False, status=status)
    return say.unlisted(status, error, detail, from_provider=bool(error), retry_after=retry_after)


def classify_state(status: int, body: bytes, *, secrets: Iterable[str] = ()) -> ConnectionState:
    """What an answer to `/status` says; `error` is filled even when all is well, so only `connected` counts."""
    answer = say.parsed(body)
    error = _error_text(answer)
    if status == 200 and isinstance(answer, dict) and isinstance(answer.get("connected"), bool):
        if not answer["connected"]:
            known = next((text for text in error if text in _DISCONNECTED), "")
            return ConnectionState(False, State.CLOSE, known)
        phone_off = answer.get("smartphoneConnected") is False
        return ConnectionState(True, State.OPEN, "celular sem conexão" if phone_off else "")
    detail = _told(answer, body, secrets)
    if _is_auth_refusal(status, answer):
        return ConnectionState(False, State.UNKNOWN, detail, ErrorKind.CREDENCIAL)
    kind = ErrorKind.SERVIDOR if status >= 500 else ErrorKind.DESCONHECIDO
    return ConnectionState(False, State.UNKNOWN, detail, kind)


def _queued(answer: Any) -> SendResult:
    fields = answer if isinstance(answer, dict) else {}
    message_id, short_id, queue_id = (_text(fields.get(name)) for name in ("messageId", "id", "zaapId"))
    known = message_id or short_id or queue_id
    if known is None:
        detail = "resposta sem messageId"
        return say.unknown(ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, detail, status=200)
    return say.accepted(known, status=200, queue_id=queue_id)


def _not_connected(state: ConnectionState) -> SendResult:
    """Nothing was written: the refusal is the chip's when it is down, else of whoever kept us from knowing."""
    if state.kind is None:
        detail = state.detail or "desconectado"
        rest = say.SESSION_COOLDOWN
        return say.not_sent(ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, detail, cooldown=rest)
    fault, code = _STATUS_UNKNOWN.get(state.kind, (Fault.PROVEDOR, Code.SERVER_ERROR))
    return say.not_sent(state.kind, fault, code, f"status não confirmado: {state.detail}")


_STATUS_UNKNOWN = {
    ErrorKind.CREDENCIAL: (Fault.NOS, Code.CREDENTIALS_REJECTED),
    ErrorKind.TIMEOUT: (Fault.PROVEDOR, Code.TIMEOUT),
    ErrorKind.REDE: (Fault.PROVEDOR, Code.NETWORK_ERROR),
    ErrorKind.DESCONHECIDO: (Fault.PROVEDOR, Code.UNKNOWN),
}


def _is_auth_refusal(status: int, answer: Any) -> bool:
    """`<value> not allowed`: the vendor does not document with which status (contracts §2)."""
    return status in (400, 401, 403) and any(text.endswith(_NOT_ALLOWED) for text in _error_text(answer))


def _error_text(answer: Any) -> list[str]:
    text = _text(answer.get("error")) if isinstance(answer, dict) else None
    return [text] if text else []


def _told(answer: Any, body: bytes, secrets: Iterable[str]) -> str:
    """The scrubbed evidence; the value that was not allowed is a token or an address, and is left out."""
    if any(text.endswith(_NOT_ALLOWED) for text in _error_text(answer)):
        return f"{REDACTED}{_NOT_ALLOWED}"
    return say.told(_error_text(answer), body, secrets=tuple(secrets))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _missing(chip: ChipAddress) -> list[str]:
    fields = {"endereço": chip.base_url, "instância": chip.zapi_instance_id, "token": chip.zapi_token}
    return [name for name, value in fields.items() if not value]
