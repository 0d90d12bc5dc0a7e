"""Z-API: its calls (contracts §2). What the answers mean is in `zapi_contract`.

A 200 means queued by the vendor. While the phone is disconnected it still queues, and fires everything on reconnection:
so the connection is asked for before each send, and nothing is written when it is not certain.
"""

from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from chips.providers import classification as say
from chips.providers import wire, zapi_queue
from chips.providers.base import (
    Capabilities,
    ChipAddress,
    Code,
    ConnectionState,
    ErrorKind,
    GoAhead,
    ProviderError,
    ProviderName,
    SendResult,
    State,
)
from chips.providers.evidence import Queued
from chips.providers.zapi_contract import classify, classify_state, not_connected, refusal
from core.circuits.names import ZAPI
from core.integrations.http import TOTAL_S, WIRE_ERRORS, Reply, describe

STATUS_READ_S = 3.0
STATUS_TOTAL_S = 4.0  # a sender's view of chip and person must still be fresh when the status is known
QUEUE_READ_S = 15.0
QUEUE_TOTAL_S = 30.0


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
        self,
        chip: ChipAddress,
        *,
        number: str,
        text: str,
        correlation_id: str,
        go_ahead: GoAhead | None = None,
        client_message_id: str = "",
    ) -> SendResult:
        """See `Provider`. This vendor chooses the id itself and ignores ours: `client_message_id` is not written."""
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
            return not_connected(state)

        def classify_reply(reply: Reply) -> SendResult:
            secrets = (*_secrets(chip), text)
            return classify(reply.status, reply.body, retry_after=reply.retry_after, secrets=secrets)

        return await wire.post_once(
            self.client, request, integration=ZAPI, classify=classify_reply, go_ahead=go_ahead, total_s=self.total_s
        )

    async def connection_state(self, chip: ChipAddress, *, correlation_id: str = "") -> ConnectionState:
        try:
            reply = await self._query("GET", "status", chip, correlation_id)
        except ProviderError as error:
            return ConnectionState(False, State.UNKNOWN, error.detail, error.kind)
        return classify_state(reply.status, reply.body, retry_after=reply.retry_after, secrets=_secrets(chip))

    async def set_webhook(self, chip: ChipAddress, *, url: str, correlation_id: str = "") -> None:
        """Point every webhook at `url` (HTTPS, secret in its path: nothing is signed). Raises ProviderError."""
        body = {"value": url, "notifySentByMe": True}
        reply = await self._query("PUT", "update-every-webhooks", chip, correlation_id, json_body=body)
        answer = say.parsed(reply.body)
        if reply.status != 200 or not (isinstance(answer, dict) and answer.get("value") is True):
            raise refusal(reply.status, reply.body, secrets=(*_secrets(chip), url))

    async def list_queue(self, chip: ChipAddress, *, correlation_id: str = "") -> list[Queued]:
        """See `HoldsQueue`. Entries may leave between two pages while the chip is connected."""
        found: dict[str, Queued] = {}
        state: Any = None
        for _ in range(zapi_queue.MAX_PAGES):
            query = zapi_queue.page_query(state)
            reply = await self._queue_call("POST", "queue", chip, correlation_id, json_body=query)
            page = zapi_queue.read_page(reply.body) if reply.status == 200 else None
            if page is None:
                raise refusal(reply.status, reply.body, secrets=_secrets(chip))
            found.update({queued.zaap_id: queued for queued in page.queued})
            if page.state is None:
                return list(found.values())
            state = page.state
        raise ProviderError(ErrorKind.SERVIDOR, Code.INVALID_REPLY, "a fila não termina")

    async def remove_queued(self, chip: ChipAddress, zaap_id: str, *, correlation_id: str = "") -> bool:
        """See `HoldsQueue`. Raises ValueError without an id: that address would empty the whole queue."""
        if not zaap_id.strip():
            raise ValueError("an entry without an id would be the whole queue")
        reply = await self._queue_call("DELETE", f"queue/{quote(zaap_id, safe='')}", chip, correlation_id)
        if not 200 <= reply.status < 300:
            raise refusal(reply.status, reply.body, secrets=_secrets(chip))
        answer = say.parsed(reply.body)
        return not (isinstance(answer, dict) and answer.get("value") is False)

    async def clear_queue(self, chip: ChipAddress, *, correlation_id: str = "") -> None:
        """See `HoldsQueue`."""
        reply = await self._queue_call("DELETE", "queue", chip, correlation_id)
        if not 200 <= reply.status < 300:
            raise refusal(reply.status, reply.body, secrets=_secrets(chip))

    async def _queue_call(self, method: str, path: str, chip: ChipAddress, correlation_id: str, **body: Any) -> Reply:
        return await self._query(
            method, path, chip, correlation_id, read_s=QUEUE_READ_S, total_s=min(QUEUE_TOTAL_S, self.total_s), **body
        )

    async def _query(
        self,
        method: str,
        path: str,
        chip: ChipAddress,
        correlation_id: str,
        *,
        json_body: Any = None,
        read_s: float | None = None,
        total_s: float | None = None,
    ) -> Reply:
        """A call that sends nothing to anybody. Raises ProviderError when no whole answer came."""
        if missing := _missing(chip):
            raise ProviderError(ErrorKind.CREDENCIAL, Code.CREDENTIALS_MISSING, wire.lacking(missing))
        read_s = read_s or self.status_read_s
        timeout = httpx.Timeout(connect=min(3.0, read_s), read=read_s, write=read_s, pool=read_s)
        try:
            request = self._request(method, path, chip, correlation_id, json_body=json_body, timeout=timeout)
        except wire.InvalidRequestError as error:
            raise ProviderError(error.kind, Code.REQUEST_INVALID, str(error)) from None
        try:
            total_s = total_s or self.status_total_s
            return await wire.query_once(self.client, request, integration=ZAPI, path=path, total_s=total_s)
        except WIRE_ERRORS as error:
            raise ProviderError(*say.failure_words(error), describe(error)) from error

    def _request(self, method: str, path: str, chip: ChipAddress, correlation_id: str, **options: Any) -> httpx.Request:
        instance, token = quote(chip.zapi_instance_id, safe=""), quote(chip.zapi_token, safe="")
        url = f"{chip.base_url.rstrip('/')}/instances/{instance}/token/{token}/{path}"
        headers = {"Client-Token": chip.zapi_client_token} if chip.zapi_client_token else {}
        return wire.build_request(self.client, method, url, headers=headers, correlation_id=correlation_id, **options)


def _secrets(chip: ChipAddress) -> tuple[str, ...]:
    """What no text may repeat; the instance id stands beside the token in every address."""
    return (*chip.secrets, chip.zapi_instance_id)


def _missing(chip: ChipAddress) -> list[str]:
    fields = {"endereço": chip.base_url, "instância": chip.zapi_instance_id, "token": chip.zapi_token}
    return [name for name, value in fields.items() if not value]
