"""The providers by the name that a chip carries."""

import httpx

from chips.choices import NULL_PROVIDER
from chips.providers.base import Provider, ProviderName
from chips.providers.evidence import HoldsQueue, SearchesMessages
from chips.providers.evolution import EvolutionProvider
from chips.providers.nulo import NullProvider
from chips.providers.zapi import ZapiProvider


class UnknownProviderError(LookupError):
    """A chip names a provider that does not exist here."""


def provider_for(name: str, client: httpx.AsyncClient) -> Provider:
    """The provider called `name` over `client`; cheap, so build it per batch. Raises UnknownProviderError."""
    match name:
        case ProviderName.EVOLUTION:
            return EvolutionProvider(client)
        case ProviderName.ZAPI:
            return ZapiProvider(client)
        case _ if name == NULL_PROVIDER:
            return NullProvider()
    raise UnknownProviderError(name)


def search_of(name: str, client: httpx.AsyncClient) -> SearchesMessages | None:
    """Its message search; None for a provider that has none (capability `search_messages`)."""
    return EvolutionProvider(client) if name == ProviderName.EVOLUTION else None


def queue_of(name: str, client: httpx.AsyncClient) -> HoldsQueue | None:
    """The queue that it keeps itself; None for a provider that keeps none (capability `cancel_queued`)."""
    return ZapiProvider(client) if name == ProviderName.ZAPI else None
