"""The provider of the canary (`manage.py smoke`): takes a message as any other does, and sends it nowhere."""

import hashlib
from typing import ClassVar, cast

from chips.choices import NULL_PROVIDER
from chips.providers.base import (
    Capabilities,
    ChipAddress,
    Code,
    ConnectionState,
    GoAhead,
    ProviderName,
    SendResult,
    State,
    Verdict,
)
from chips.providers.wire import withdrawn


class NullProvider:
    """Accepts everything. Its message id proves which text reached it."""

    # No member of the enumeration: nothing that lists providers may offer it.
    name: ClassVar[ProviderName] = cast("ProviderName", NULL_PROVIDER)
    capabilities: ClassVar[Capabilities] = Capabilities(
        client_message_id=False,
        checks_number_on_send=False,
        search_messages=False,
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
        if go_ahead is not None and not go_ahead():
            return withdrawn()
        return SendResult(Verdict.ACEITA, Code.OK, provider_message_id=message_id_of(text))

    async def connection_state(self, chip: ChipAddress, *, correlation_id: str = "") -> ConnectionState:
        return ConnectionState(connected=True, state=State.OPEN)


def message_id_of(text: str) -> str:
    """The id under which exactly this text arrived."""
    return f"nulo-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
