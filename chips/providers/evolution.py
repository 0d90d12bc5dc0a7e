"""Evolution API 2.3.6: its calls. What the answers mean is in `evolution_contract`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from chips.providers import classification as say
from chips.providers import evolution_search as searching
from chips.providers import wire
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
from chips.providers.evidence import Ack, FoundMessage, SearchResult
from chips.providers.evolution_contract import (
    InstanceInfo,
    classify,
    classify_state,
    instance_info,
    is_unlisted_instance,
    refusal,
)
from core.circuits.names import EVOLUTION
from core.integrations.http import TOTAL_S, WIRE_ERRORS, Reply, describe

QUERY_TIMEOUT = httpx.Timeout(connect=3.0, read=15.0, write=15.0, pool=5.0)
QUERY_TOTAL_S = 30.0
WEBHOOK_EVENTS = (
    "MESSAGES_UPSERT",
    "MESSAGES_UPDATE",
    "SEND_MESSAGE",
    "CONNECTION_UPDATE",
    "QRCODE_UPDATED",
    "STATUS_INSTANCE",
    "LOGOUT_INSTANCE",
)
INSTANCE_HEADER = "X-Instance-Secret"


@dataclass(frozen=True, slots=True)
class EvolutionProvider:
    client: httpx.AsyncClient
    total_s: float = TOTAL_S

    name: ClassVar[ProviderName] = ProviderName.EVOLUTION
    capabilities: ClassVar[Capabilities] = Capabilities(
        client_message_id=False,
        checks_number_on_send=True,
        search_messages=True,
        queues_when_disconnected=False,
        cancel_queued=False,
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
            body = {"number": number, "text": text, "linkPreview": False}
            request = self._request("POST", "message/sendText", chip, correlation_id, json_body=body)
        except wire.InvalidRequestError as error:
            return wire.refused_here(error)

        def classify_reply(reply: Reply) -> SendResult:
            secrets = (*chip.secrets, text)
            return classify(reply.status, reply.body, number=number, retry_after=reply.retry_after, secrets=secrets)

        return await wire.post_once(
            self.client,
            request,
            integration=EVOLUTION,
            classify=classify_reply,
            go_ahead=go_ahead,
            total_s=self.total_s,
        )

    async def connection_state(self, chip: ChipAddress, *, correlation_id: str = "") -> ConnectionState:
        try:
            reply = await self._query("GET", "instance/connectionState", chip, correlation_id)
        except ProviderError as error:
            return ConnectionState(False, State.UNKNOWN, error.detail, error.kind)
        return classify_state(reply.status, reply.body, secrets=chip.secrets)

    async def fetch_state(self, chip: ChipAddress, *, correlation_id: str = "") -> InstanceInfo | None:
        """The durable record of this chip's instance (why it dropped); None when the server does not know it.

        Raises ProviderError.
        """
        name = quote(chip.instance_name, safe="")
        found = await self.fetch_instances(chip, correlation_id=correlation_id, query=f"?instanceName={name}")
        return next((instance for instance in found if instance.name == chip.instance_name), None)

    async def fetch_instances(
        self, chip: ChipAddress, *, correlation_id: str = "", query: str = ""
    ) -> list[InstanceInfo]:
        """All instances that this chip's key may see; tokens are dropped unread. Raises ProviderError."""
        reply = await self._query("GET", f"instance/fetchInstances{query}", chip, correlation_id, with_instance=False)
        if query and reply.status == 404 and is_unlisted_instance(reply.body):
            return []
        rows = say.parsed(reply.body)
        if reply.status != 200 or not isinstance(rows, list):
            raise refusal(reply.status, reply.body, secrets=chip.secrets)
        return [info for row in rows if (info := instance_info(row))]

    async def set_webhook(
        self,
        chip: ChipAddress,
        *,
        url: str,
        secret: str,
        events: Sequence[str] = WEBHOOK_EVENTS,
        correlation_id: str = "",
    ) -> None:
        """Point the instance's webhook at `url`, which will get `secret` in a header. Raises ProviderError."""
        webhook = {
            "enabled": True,
            "url": url,
            "byEvents": False,
            "base64": False,
            "headers": {INSTANCE_HEADER: secret},
            "events": list(events),
        }
        reply = await self._query("POST", "webhook/set", chip, correlation_id, json_body={"webhook": webhook})
        if reply.status != 201:
            raise refusal(reply.status, reply.body, secrets=(*chip.secrets, secret))

    async def find_messages(
        self, chip: ChipAddress, *, jids: Collection[str], since: datetime, until: datetime, correlation_id: str = ""
    ) -> SearchResult:
        """See `SearchesMessages`: one query per jid and page, newest first."""
        searching.check_query(jids, since, until)
        found: dict[str, FoundMessage] = {}
        complete = True
        for jid in dict.fromkeys(jids):
            of_jid, whole = await self._messages_to(chip, jid, since, until, correlation_id)
            complete = complete and whole
            found.update({message.key_id: message for message in of_jid})
        newest_first = sorted(found.values(), key=lambda message: message.at, reverse=True)
        return SearchResult(tuple(newest_first), complete)

    async def _messages_to(
        self, chip: ChipAddress, jid: str, since: datetime, until: datetime, correlation_id: str
    ) -> tuple[list[FoundMessage], bool]:
        """All pages of one jid; False when they do not add up to what the server says it has."""
        found: list[FoundMessage] = []
        first_total, seen = None, 0
        for number in range(1, searching.MAX_PAGES + 1):
            query = searching.page_query(jid, since, until, number)
            reply = await self._query("POST", "chat/findMessages", chip, correlation_id, json_body=query)
            page = searching.read_page(reply.body, jid, since, until) if reply.status == 200 else None
            if page is None:
                raise refusal(reply.status, reply.body, secrets=chip.secrets)
            found += page.found
            seen += page.rows
            first_total = page.total if first_total is None else first_total
            if page.strange or page.total != first_total or (not page.rows and seen < page.total):
                return found, False
            if seen >= page.total:
                return found, True
        return found, False

    async def find_status(
        self, chip: ChipAddress, *, key_id: str, jid: str = "", correlation_id: str = ""
    ) -> Ack | None:
        """See `SearchesMessages`. Steps may be stored under a LID though the send used a phone: the key decides."""
        for asked in dict.fromkeys(("", jid)):
            query = searching.status_query(key_id, asked)
            reply = await self._query("POST", "chat/findStatusMessage", chip, correlation_id, json_body=query)
            readable, ack = searching.read_statuses(reply.body, key_id)
            if reply.status != 200 or not readable:
                raise refusal(reply.status, reply.body, secrets=chip.secrets)
            if ack is not None:
                return ack
        return None

    async def _query(
        self,
        method: str,
        path: str,
        chip: ChipAddress,
        correlation_id: str,
        *,
        json_body: Any = None,
        with_instance: bool = True,
    ) -> Reply:
        """A call that sends nothing to anybody. Raises ProviderError when no whole answer came."""
        if missing := _missing(chip, with_instance=with_instance):
            raise ProviderError(ErrorKind.CREDENCIAL, Code.CREDENTIALS_MISSING, wire.lacking(missing))
        try:
            request = self._request(
                method,
                path,
                chip,
                correlation_id,
                json_body=json_body,
                with_instance=with_instance,
                timeout=QUERY_TIMEOUT,
            )
        except wire.InvalidRequestError as error:
            raise ProviderError(error.kind, Code.REQUEST_INVALID, str(error)) from None
        try:
            total_s = min(QUERY_TOTAL_S, self.total_s)
            return await wire.query_once(self.client, request, integration=EVOLUTION, path=path, total_s=total_s)
        except WIRE_ERRORS as error:
            raise ProviderError(*say.failure_words(error), describe(error)) from error

    def _request(
        self,
        method: str,
        path: str,
        chip: ChipAddress,
        correlation_id: str,
        *,
        with_instance: bool = True,
        **options: Any,
    ) -> httpx.Request:
        url = f"{chip.base_url.rstrip('/')}/{path}"
        if with_instance:
            url = f"{url}/{quote(chip.instance_name, safe='')}"
        return wire.build_request(
            self.client, method, url, headers={"apikey": chip.api_key}, correlation_id=correlation_id, **options
        )


def _missing(chip: ChipAddress, *, with_instance: bool = True) -> list[str]:
    fields = {"endereço": chip.base_url, "chave": chip.api_key}
    if with_instance:
        fields["instância"] = chip.instance_name
    return [name for name, value in fields.items() if not value]
