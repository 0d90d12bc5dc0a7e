"""Both providers behind one door: `parse(provider, body)`."""

from typing import Any

from chips.choices import ProviderName
from chips.webhooks.parsed import InvalidPayload, MessageType, ParsedEvent
from chips.webhooks.parsing_evolution import parse_evolution
from chips.webhooks.parsing_zapi import parse_zapi

_PARSERS = {ProviderName.EVOLUTION.value: parse_evolution, ProviderName.ZAPI.value: parse_zapi}


def parse(provider: str, body: dict[str, Any]) -> ParsedEvent:
    """Raises InvalidPayload, and KeyError for a provider that does not exist."""
    return _PARSERS[provider](body)


__all__ = ["InvalidPayload", "MessageType", "ParsedEvent", "parse", "parse_evolution", "parse_zapi"]
