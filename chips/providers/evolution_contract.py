"""What the answers of Evolution API 2.3.6 prove: the table of contracts §1.6, without any network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chips.providers import classification as say
from chips.providers.base import Code, ConnectionState, ErrorKind, ProviderError, SendResult, State
from chips.vocabulario import catalogo
from core.clientes.phones import bare_jid, is_lid, legal_jids

# A 500 whose message is exactly one of these, as a plain string, comes from the number check that precedes the send.
_CHECK_STAGE: Mapping[str, str] = {
    "Cannot read properties of undefined (reading 'onWhatsApp')": "evolution.checagem_nao_carregada",
    "Connection Closed": "evolution.checagem_fechada",
    "Timed Out": "evolution.checagem_tempo",
    "rate-overlimit": "evolution.checagem_limite",
    "forbidden": "evolution.checagem_proibido",
}
# Queries that the server makes before it sends; a 500 naming one stopped there.
_PRE_SEND_QUERIES = ("contact.findMany", "isOnWhatsapp")

# A 400 holding exactly one of these texts: thrown while sending or after it, so unknown; only the cause is clearer.
_SEND_STAGE: Mapping[str, str] = {
    "Error: Connection Closed": "evolution.envio_fechado",
    "Error: No sessions": "evolution.envio_sem_sessao",
    "SessionError: No sessions": "evolution.envio_sem_sessao",
    "Error: Timed Out": "evolution.envio_tempo",
    "Error: rate-overlimit": "evolution.envio_limite",
    "Error: forbidden": "evolution.envio_proibido",
}


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """One row of `fetchInstances`, without its token.

    `connection_status` is stale during a reconnection: `connection_state` is the live one. `disconnection_code`
    survives a reconnection: read it together with `disconnected_at`.
    """

    name: str
    connection_status: State
    owner_jid: str | None
    number: str | None
    disconnection_code: int | None
    disconnected_at: datetime | None


def classify(
    status: int,
    body: bytes,
    *,
    number: str = "",
    retry_after: timedelta | None = None,
    secrets: Iterable[str] = (),
) -> SendResult:
    """What an answer to `sendText` proves (contracts §1.6). What is not listed there is unknown.

    With `number`, an accepted message addressed to anybody else is flagged as misdelivered.
    """
    envelope = say.parsed(body)
    if status in (200, 201):
        return _success(status, envelope, number)
    message = _message(envelope)
    texts = list(say.strings_in(message))
    detail = say.told(texts, body, secrets=tuple(secrets))
    if name := _provably_not_sent(status, envelope, message, texts) or _known_but_unknown(status, message):
        told = "exists=false" if name == "evolution.exists_false" else detail
        return catalogo.result(name, told, status=status, retry_after=retry_after)
    from_provider = isinstance(envelope, dict) and message is not None
    return say.unlisted("evolution", status, texts, detail, from_provider=from_provider, retry_after=retry_after)


def error_acknowledged(detail: str = "") -> SendResult:
    """What an `ERROR` acknowledgement means once no positive one has followed it for 60 s (decisions §6)."""
    return catalogo.result("evolution.ack_erro", detail)


def classify_state(status: int, body: bytes, *, secrets: Iterable[str] = ()) -> ConnectionState:
    """What an answer to `connectionState` says. An instance without `state` is known but not loaded: unknown."""
    envelope = say.parsed(body)
    if status == 200 and isinstance(envelope, dict) and isinstance(instance := envelope.get("instance"), dict):
        state = _state(instance.get("state"))
        detail = "" if state is not State.UNKNOWN else "instância não carregada no servidor"
        return ConnectionState(state is State.OPEN, state, detail)
    texts = list(say.strings_in(_message(envelope)))
    detail = say.told(texts, body, secrets=tuple(secrets))
    if status == 401:
        return ConnectionState(False, State.UNKNOWN, detail, ErrorKind.CREDENCIAL)
    if status == 404 and _is_missing_instance(texts):
        return ConnectionState(False, State.CLOSE, "a instância não existe no servidor")
    kind = ErrorKind.SERVIDOR if status >= 500 else ErrorKind.DESCONHECIDO
    return ConnectionState(False, State.UNKNOWN, detail, kind)


def _state(value: Any) -> State:
    return next((state for state in State if state == value), State.UNKNOWN)


def _success(status: int, envelope: Any, number: str) -> SendResult:
    key = envelope.get("key") if isinstance(envelope, dict) else None
    message_id = key.get("id") if isinstance(key, dict) else None
    if not isinstance(key, dict) or not isinstance(message_id, str) or not message_id:
        return catalogo.result("evolution.sem_chave", "resposta sem key.id", status=status)
    jid = key.get("remoteJid")
    remote_jid = jid if isinstance(jid, str) and jid else None
    result = say.accepted(message_id, status=status, remote_jid=remote_jid)
    return replace(result, misdelivered=_is_misdelivered(remote_jid, number))


def _is_misdelivered(remote_jid: str | None, number: str) -> bool:
    """A LID hides the number and proves nothing; any other address must be a legal spelling of ours (§1.11)."""
    if not remote_jid or not number or is_lid(remote_jid):
        return False
    return bare_jid(remote_jid) not in legal_jids(number)


def _provably_not_sent(status: int, envelope: Any, message: Any, texts: list[str]) -> str | None:
    """The name of the result, for the short list of answers that prove it (contracts §1.6)."""
    if status >= 400 and any(item.get("exists") is False for item in say.objects_in(message)):
        return "evolution.exists_false"
    if status == 400 and _is_schema_error(message):
        return "evolution.esquema"
    if status == 400 and _is_malformed_json(envelope, message):
        return "evolution.json_invalido"
    if status == 401:
        return "evolution.nao_autorizado"
    if status == 404:
        return _missing_place(texts)
    return _stopped_before_sending(message, texts) if status == 500 else None


def _missing_place(texts: list[str]) -> str | None:
    if _is_missing_instance(texts):
        return "evolution.instancia_inexistente"
    if len(texts) == 1 and texts[0].startswith("Cannot POST /"):
        return "evolution.rota_inexistente"
    return None


def _stopped_before_sending(message: Any, texts: list[str]) -> str | None:
    if isinstance(message, str) and message in _CHECK_STAGE:
        return _CHECK_STAGE[message]
    if any(query in text for query in _PRE_SEND_QUERIES for text in texts):
        return "evolution.checagem_banco"
    return None


def _known_but_unknown(status: int, message: Any) -> str | None:
    if status != 400 or not isinstance(message, list) or len(message) != 1 or not isinstance(message[0], str):
        return None
    if message[0].startswith("PrismaClient"):
        return "evolution.envio_banco"
    return _SEND_STAGE.get(message[0])


def _message(envelope: Any) -> Any:
    """`response.message`, or `message` where the server leaves the level out (number checks, contracts §1.3)."""
    if not isinstance(envelope, dict):
        return None
    response = envelope.get("response")
    return response.get("message") if isinstance(response, dict) else envelope.get("message")


def _is_schema_error(message: Any) -> bool:
    """An array holding an array of strings."""
    if not (isinstance(message, list) and message):
        return False
    return all(isinstance(inner, list) and inner and all(isinstance(s, str) for s in inner) for inner in message)


def _is_malformed_json(envelope: Any, message: Any) -> bool:
    """The only 400 that calls itself an internal error: the body parser's, in front of every route."""
    return isinstance(message, str) and envelope.get("error") == "Internal Server Error"


def _is_missing_instance(texts: list[str]) -> bool:
    return len(texts) == 1 and texts[0].startswith('The "') and texts[0].endswith('" instance does not exist')


def is_unlisted_instance(body: bytes) -> bool:
    texts = list(say.strings_in(_message(say.parsed(body))))
    return len(texts) == 1 and texts[0].startswith('Instance "') and texts[0].endswith('" not found')


def refusal(status: int, body: bytes, *, secrets: Iterable[str] = ()) -> ProviderError:
    """The error of a management call that the server answered, but not with what was asked."""
    texts = list(say.strings_in(_message(say.parsed(body))))
    detail = say.told(texts, body, secrets=tuple(secrets))
    if status == 401:
        return ProviderError(ErrorKind.CREDENCIAL, Code.CREDENTIALS_REJECTED, detail, status)
    if status == 404 and _is_missing_instance(texts):
        return ProviderError(ErrorKind.SESSAO, Code.INSTANCE_NOT_FOUND, detail, status)
    kind = ErrorKind.SERVIDOR if status >= 500 else ErrorKind.DESCONHECIDO
    return ProviderError(kind, Code.UNKNOWN if status >= 400 else Code.INVALID_REPLY, detail, status)


def instance_info(row: Any) -> InstanceInfo | None:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return None
    code = row.get("disconnectionReasonCode")
    return InstanceInfo(
        name=row["name"],
        connection_status=_state(row.get("connectionStatus")),
        owner_jid=row["ownerJid"] if isinstance(row.get("ownerJid"), str) else None,
        number=row["number"] if isinstance(row.get("number"), str) else None,
        disconnection_code=code if isinstance(code, int) else None,
        disconnected_at=_instant(row.get("disconnectionAt")),
    )


def _instant(value: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return instant if instant.tzinfo else None
