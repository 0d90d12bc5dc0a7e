"""What every provider of WhatsApp must be able to say, and the words for it.

A send ends in exactly one of three verdicts. Only `NAO_ENVIADA` may ever be sent again; `DESCONHECIDA` is reconciled,
never repeated (contracts §1.6).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

MAX_DETAIL = 200

# A provider may answer anything; what we keep of it fits its column and is text to PostgreSQL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_COLUMNS = {"provider_message_id": 100, "remote_jid": 80, "queue_id": 100, "detail": MAX_DETAIL}
MAX_REASON_DETAIL = 80  # domain reference, fila §1.8


class ProviderName(StrEnum):
    EVOLUTION = "evolution"
    ZAPI = "z-api"


class Verdict(StrEnum):
    ACEITA = "aceita"
    NAO_ENVIADA = "nao_enviada"
    DESCONHECIDA = "desconhecida"


class ErrorKind(StrEnum):
    DESTINO_INVALIDO = "destino_invalido"
    RESTRICAO = "restricao"
    RATE_LIMIT = "rate_limit"
    SESSAO = "sessao"
    SERVIDOR = "servidor"
    REDE = "rede"
    TIMEOUT = "timeout"
    CREDENCIAL = "credencial"
    INTERNO = "interno"
    DESCONHECIDO = "desconhecido"


class Fault(StrEnum):
    """Whose circuit, cooldown or record a failure belongs to."""

    DESTINATARIO = "destinatario"
    CHIP = "chip"
    PROVEDOR = "provedor"
    NOS = "nos"


class Code(StrEnum):
    """Stable short reasons; those of the domain reference (fila §1.8) and the ones it lacks."""

    OK = "ok"
    NOT_ON_WHATSAPP = "not_on_whatsapp"
    INVALID_NUMBER = "invalid_number"
    ACCOUNT_RESTRICTED = "account_restricted"
    BANNED = "banned"
    BLOCKED = "blocked"
    SPAM_DETECTED = "spam_detected"
    RATE_LIMITED = "rate_limited"
    NOT_CONNECTED = "not_connected"
    INSTANCE_NOT_FOUND = "instance_not_found"
    ROUTE_NOT_FOUND = "route_not_found"
    CREDENTIALS_REJECTED = "credentials_rejected"
    CREDENTIALS_MISSING = "credentials_missing"
    REQUEST_REJECTED = "request_rejected"
    REQUEST_INVALID = "request_invalid"
    WITHDRAWN = "withdrawn"
    TIMEOUT = "timeout"
    NETWORK_ERROR = "network_error"
    SERVER_ERROR = "server_error"
    INVALID_REPLY = "invalid_reply"
    ERROR_ACK = "error_ack"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one call.

    `kind` and `fault` are None exactly when it was accepted. `rule` names the result in the error vocabulary
    (`chips.vocabulario.catalogo`), whose rule decided fault, retry and rest; empty when it was accepted. `retryable` is
    only ever true when it was provably not sent. `cooldown` is how long the chip should rest from now, `retry_after`
    what the answer itself asked for. `restriction`: WhatsApp holds the chip back. `queue_id` finds or cancels the
    message in the vendor's own queue. `misdelivered`: accepted, but addressed to a number that is not the recipient's.
    `detail` is scrubbed.
    """

    verdict: Verdict
    code: Code
    kind: ErrorKind | None = None
    fault: Fault | None = None
    retryable: bool = False
    provider_message_id: str | None = None
    remote_jid: str | None = None
    queue_id: str | None = None
    misdelivered: bool = False
    http_status: int | None = None
    detail: str = ""
    cooldown: timedelta | None = None
    rule: str = ""
    retry_after: timedelta | None = None
    restriction: bool = False

    def __post_init__(self) -> None:
        for name, length in _COLUMNS.items():
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, _UNSTORABLE.sub("", value)[:length])
        accepted = self.verdict is Verdict.ACEITA
        if accepted != (self.kind is None) or accepted != (self.fault is None):
            raise ValueError("a result has a kind and a fault exactly when it was not accepted")
        if accepted and not self.provider_message_id:
            raise ValueError("an accepted message has a provider id")
        if self.retryable and self.verdict is not Verdict.NAO_ENVIADA:
            raise ValueError("only what was provably not sent may be sent again")

    @property
    def reason_code(self) -> str:
        """`ok`, or the code followed by at most 80 characters of detail, as `outcome_reason_code` wants it."""
        if self.verdict is Verdict.ACEITA or not self.detail:
            return self.code.value
        return f"{self.code}:{self.detail[:MAX_REASON_DETAIL]}"


@dataclass(frozen=True, slots=True)
class ChipAddress:
    """Where a chip is reached and with what credentials, read fresh for each batch: credentials change."""

    chip_id: UUID
    provider: str
    base_url: str
    instance_name: str = ""
    api_key: str = field(default="", repr=False)
    zapi_instance_id: str = ""
    zapi_token: str = field(default="", repr=False)
    zapi_client_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.api_key, self.zapi_token, self.zapi_client_token) if secret)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about a provider that change how a send is guarded and how an unknown outcome is reconciled."""

    client_message_id: bool
    """We may choose the message id (`send_text(client_message_id=…)`), so that a repetition would be recognised."""
    checks_number_on_send: bool
    """Sending checks the number by itself: a check before it only doubles the queries (contracts §1.3, §2)."""
    search_messages: bool
    """Sent messages can be searched afterwards."""
    queues_when_disconnected: bool
    """Accepts messages while disconnected and fires them on reconnection."""
    cancel_queued: bool
    """What the vendor has queued can be found and cancelled by `SendResult.queue_id`."""


class State(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    CONNECTING = "connecting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """`kind` is None when the provider answered the question; otherwise why it did not.

    A provider that cannot be reached says nothing about the chip: `state` is then `unknown`, and a caller must not
    mark the chip disconnected. `retry_after`: how long a provider that did not answer asked us to wait.
    """

    connected: bool
    state: State
    detail: str = ""
    kind: ErrorKind | None = None
    retry_after: timedelta | None = None


class ProviderError(Exception):
    """A management call (webhooks, instance lists) that did not succeed. `detail` is scrubbed."""

    def __init__(self, kind: ErrorKind, code: Code, detail: str, http_status: int | None = None) -> None:
        self.kind, self.code, self.detail, self.http_status = kind, code, detail, http_status
        super().__init__(f"{code}: {detail}")


GoAhead = Callable[[], bool]
"""Asked once, right before the message is written; False closes the attempt as not sent (`Code.WITHDRAWN`)."""


class Provider(Protocol):
    """One vendor, over one HTTP client. Holds nothing about any chip."""

    @property
    def name(self) -> ProviderName: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def send_text(
        self,
        chip: ChipAddress,
        *,
        number: str,
        text: str,
        correlation_id: str,
        go_ahead: GoAhead | None = None,
        client_message_id: str = "",
    ) -> SendResult:
        """Send one text to `number` (E.164 digits, no `+`); at most one write, and never a silent repetition.

        `client_message_id` becomes the message's id where the capability `client_message_id` is true: the caller then
        knows the key before the wire, an echo or receipt of it settles even a call whose answer was lost, and a
        repetition is recognised. It must be the same for every write of one attempt and differ between attempts. Where
        the capability is false it is not written at all.

        Whatever the network or the provider does comes back as a result; nothing is raised for it. A cancelled call
        raises CancelledError once its connection is closed: the message may have left, so the caller records it as
        unknown.
        """
        ...

    async def connection_state(self, chip: ChipAddress, *, correlation_id: str = "") -> ConnectionState:
        """The live state of the chip's session. Raises nothing for what the network or the provider does."""
        ...
