"""Where each chip is reached and with which credentials, read fresh for each batch: credentials change."""

from collections.abc import Collection
from uuid import UUID

from django.conf import settings

from chips.choices import ProviderName
from chips.models import Chip
from chips.providers.base import ChipAddress


def load(ids: Collection[UUID]) -> dict[UUID, ChipAddress]:
    """Addresses by chip id; secrets are decrypted here and live only as long as the batch."""
    return {chip.id: address_of(chip) for chip in Chip.objects.filter(id__in=list(ids))}


def address_of(chip: Chip) -> ChipAddress:
    zapi = chip.provider == ProviderName.ZAPI
    return ChipAddress(
        chip_id=chip.id,
        provider=chip.provider,
        base_url=settings.ZAPI_BASE_URL if zapi else settings.EVOLUTION_API_URL,
        instance_name=chip.instance_name,
        api_key=chip.api_key or settings.EVOLUTION_API_KEY,
        zapi_instance_id=chip.zapi_instance_id,
        zapi_token=chip.zapi_token or "",
        zapi_client_token=chip.zapi_client_token or "",
    )


def base_urls() -> list[str]:
    """Every provider address that chips in production would be called at."""
    used = set(Chip.objects.filter(status="active").values_list("provider", flat=True).distinct())
    urls = {ProviderName.EVOLUTION: settings.EVOLUTION_API_URL, ProviderName.ZAPI: settings.ZAPI_BASE_URL}
    return sorted(urls[ProviderName(name)] for name in used)
