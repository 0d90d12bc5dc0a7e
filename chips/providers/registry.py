"""The providers by the name that a chip carries."""

import httpx

from chips.providers.base import Provider, ProviderName
from chips.providers.evolution import EvolutionProvider
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
    raise UnknownProviderError(name)
