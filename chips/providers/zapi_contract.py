"""What the answers and the delivery callback of Z-API prove (contracts §2), without any network."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from chips.providers import classification as say
from chips.providers.base import Code, ConnectionState, ErrorKind, ProviderError, SendResult, State
from chips.vocabulario import catalogo
from core.integrations.redaction import REDACTED

_NOT_ALLOWED = " not allowed"
_INVALID_PHONE = "Invalid phone"
_DISCONNECTED = ("You are not connected.", "You need to restore the session.")

_STATUS_UNKNOWN: Mapping[ErrorKind, str] = {
    ErrorKind.CREDENCIAL: "zapi.status_credencial",
    ErrorKind.RATE_LIMIT: "zapi.status_limite",
    ErrorKind.SESSAO: "zapi.status_instancia",
    ErrorKind.TIMEOUT: "zapi.status_tempo",
    ErrorKind.REDE: "zapi.status_rede",
    ErrorKind.SERVIDOR: "zapi.status_erro",
}

# The texts that the vendor documents for a delivery that failed, without case: the whole text decides, never a part.
_SHADOW_BAN = "SHADOW_BAN"
_DELIVERY_ERRORS: Mapping[str, str] = {
    "did not have permission to send this message.": "zapi.entrega_restrita",
    "does not have permission to send the message": "zapi.entrega_restrita",
    "whatsapp rejected sending this message": "zapi.entrega_restrita",
    "whatsapp did not allow sending this message": "zapi.entrega_restrita",
    "phone number does not exist": "zapi.entrega_numero_inexistente",
    "message has not been sent because it got invalid phone number": "zapi.entrega_numero_inexistente",
    "timeout on send message": "zapi.entrega_tempo",
}


def classify(
    status: int, body: bytes, *, retry_after: timedelta | None = None, secrets: Iterable[str] = ()
) -> SendResult:
    """What an answer to `send-text` proves. Only documented refusals are provably not sent."""
    answer = say.parsed(body)
    if status == 200:
        return _queued(answer)
    error = _error_text(answer)
    detail = _told(answer, body, secrets)
    if name := _listed(status, answer, error):
        return catalogo.result(name, detail, status=status, retry_after=retry_after)
    return say.unlisted("zapi", status, error, detail, from_provider=bool(error), retry_after=retry_after)


def _listed(status: int, answer: Any, error: list[str]) -> str | None:
    if _is_auth_refusal(status, answer):
        return "zapi.not_allowed"
    if 400 <= status < 500 and error == [_INVALID_PHONE]:
        return "zapi.telefone_invalido"
    if status in (405, 415):
        return "zapi.pedido_recusado"
    return "zapi.http_404" if status == 404 and error else None


def delivery_failed(error: str, error_code: str = "") -> SendResult:
    """What the `error` of a delivery callback means: a send that failed, and only a time-out proves neither.

    `error_code` is the callback's `errorCode`: so far only `SHADOW_BAN`, a restriction whatever the text says.
    """
    name = _DELIVERY_ERRORS.get(error.strip().casefold(), "zapi.entrega_erro")
    if error_code == _SHADOW_BAN:
        name = "zapi.entrega_restrita"
    return catalogo.result(name, say.told([error], b"", secrets=()))


def classify_state(
    status: int, body: bytes, *, retry_after: timedelta | None = None, secrets: Iterable[str] = ()
) -> ConnectionState:
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
    if status == 429:
        return ConnectionState(False, State.UNKNOWN, detail, ErrorKind.RATE_LIMIT, retry_after)
    if status == 404 and error:
        return ConnectionState(False, State.UNKNOWN, detail, ErrorKind.SESSAO)
    kind = ErrorKind.SERVIDOR if status >= 500 else ErrorKind.DESCONHECIDO
    return ConnectionState(False, State.UNKNOWN, detail, kind, retry_after)


def _queued(answer: Any) -> SendResult:
    fields = answer if isinstance(answer, dict) else {}
    message_id, short_id, queue_id = (_text(fields.get(name)) for name in ("messageId", "id", "zaapId"))
    known = message_id or short_id or queue_id
    if known is None:
        return catalogo.result("zapi.sem_identificador", "resposta sem messageId", status=200)
    return say.accepted(known, status=200, queue_id=queue_id)


def not_connected(state: ConnectionState) -> SendResult:
    """Nothing was written: the refusal is the chip's when it is down, else of whoever kept us from knowing."""
    if state.kind is None:
        return catalogo.result("zapi.desconectado", state.detail or "desconectado")
    name = _STATUS_UNKNOWN.get(state.kind, "zapi.status_ilegivel")
    return catalogo.result(name, f"status não confirmado: {state.detail}", retry_after=state.retry_after)


def refusal(status: int, body: bytes, *, secrets: Iterable[str] = ()) -> ProviderError:
    """The error of a management call that the vendor answered, but not with what was asked."""
    answer = say.parsed(body)
    detail = _told(answer, body, secrets)
    if _is_auth_refusal(status, answer):
        return ProviderError(ErrorKind.CREDENCIAL, Code.CREDENTIALS_REJECTED, detail, status)
    kind = ErrorKind.SERVIDOR if status >= 500 else ErrorKind.DESCONHECIDO
    return ProviderError(kind, Code.UNKNOWN if status >= 400 else Code.INVALID_REPLY, detail, status)


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
