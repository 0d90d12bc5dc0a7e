"""Whom the reconciler may ask: the same walls as for sending, though it sends nothing to anybody."""

from collections.abc import Collection

import httpx
from django.conf import settings

from chips.providers.base import ChipAddress
from chips.simulated import is_simulator
from core.circuits.names import UnknownCircuit, of_provider
from core.circuits.services import Gate, Snapshot
from fila import policy
from guardrails.choices import SwitchState


def environment_is_ours() -> bool:
    """False for a restored or cloned database, and while its lock cannot be read: its chips are another's."""
    return policy.read().policy.switches.ambiente_travado is SwitchState.OFF


async def may_ask(client: httpx.AsyncClient, addresses: Collection[ChipAddress]) -> frozenset[str]:
    """The provider addresses that may be called: in production all, elsewhere the simulator, or with a test list."""
    urls = {address.base_url for address in addresses if address.base_url}
    if settings.PRODUCTION or settings.OUTBOUND_ALLOWLIST:
        return frozenset(urls)
    return frozenset([url for url in sorted(urls) if await is_simulator(client, url, settings.SIMULADOR_NONCE)])


def may_call(snapshot: Snapshot, provider: str) -> bool:
    """False while the provider's circuit is open and its time has not come.

    Once it wants a probe a question may be asked too: it sends nothing, and where every chip waits for the answer (a
    queue to be purged) no send would ever come to probe.
    """
    try:
        return snapshot.gate(of_provider(provider)) is not Gate.CLOSED
    except UnknownCircuit:
        return True
