"""Where each chip is reached and with which credentials, read fresh for each batch: credentials change."""

from collections.abc import Collection
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings

from chips.choices import NULL_PROVIDER, ProviderName
from chips.models import Chip
from chips.providers.base import ChipAddress
from core.crypto import SecretUnreadable, decrypt
from core.database import rows
from core.logging import get_logger

log = get_logger("chips")


def load(ids: Collection[UUID]) -> dict[UUID, ChipAddress]:
    """Addresses by chip id; secrets are decrypted here and live only as long as the batch.

    A chip whose secret cannot be read is left out: it carries nothing until somebody stores the secret again.
    """
    found: dict[UUID, ChipAddress] = {}
    for row in rows(_STORED, [list(ids)]):
        try:
            found[row["id"]] = _address_of(row)
        except SecretUnreadable:
            log.error("segredo do chip ilegível: grave-o de novo em Chips", chip_id=str(row["id"]))
    return found


_STORED = """SELECT id, provider, instance_name, api_key, zapi_instance_id, zapi_token, zapi_client_token
    FROM chips WHERE id = ANY(%s)"""


def _address_of(row: dict[str, Any]) -> ChipAddress:
    zapi = row["provider"] == ProviderName.ZAPI
    return ChipAddress(
        chip_id=row["id"],
        provider=row["provider"],
        base_url=settings.ZAPI_BASE_URL if zapi else settings.EVOLUTION_API_URL,
        instance_name=row["instance_name"],
        api_key=_clear(row["api_key"]) or settings.EVOLUTION_API_KEY,
        zapi_instance_id=row["zapi_instance_id"],
        zapi_token=_clear(row["zapi_token"]),
        zapi_client_token=_clear(row["zapi_client_token"]),
    )


@lru_cache(maxsize=8192)
def _clear(stored: str) -> str:
    """Remembered by what is stored: a credential that changes is stored anew."""
    return decrypt(stored)


def base_urls() -> list[str]:
    """Every provider address that chips in production would be called at."""
    active = Chip.objects.filter(status="active").exclude(provider=NULL_PROVIDER)
    used = set(active.values_list("provider", flat=True).distinct())
    urls = {ProviderName.EVOLUTION: settings.EVOLUTION_API_URL, ProviderName.ZAPI: settings.ZAPI_BASE_URL}
    return sorted(urls[ProviderName(name)] for name in used)
