"""Which chip an event is about, and whether whoever delivers it may do so."""

from django.conf import settings
from django.db.models import Case, Value, When
from django.http import HttpRequest

from chips.choices import ChipStatus, ChipTipo, ProviderName
from chips.models import Chip
from core.api import bearer_of, is_local_developer, same_secret


def chip_named(provider: ProviderName, name: str) -> Chip | None:
    """By instance name, for Z-API by instance id. Raises django.db.Error, and SecretUnreadable for a lost key."""
    field = "zapi_instance_id" if provider == ProviderName.ZAPI else "instance_name"
    chips = Chip.objects.filter(**{field: name}, provider=provider).only("instance_name", "provider", "webhook_secret")
    return chips.first()


def default_chip() -> Chip | None:
    """The chip of a body that names none (runbook): the oldest one in production, Z-API before others."""
    in_production = Case(When(status=ChipStatus.ACTIVE, then=Value(0)), default=Value(1))
    zapi_first = Case(When(provider=ProviderName.ZAPI, then=Value(0)), default=Value(1))
    chips = Chip.objects.filter(tipo=ChipTipo.JULIA).exclude(status__in=[ChipStatus.BANNED, ChipStatus.CANCELLED])
    return chips.order_by(in_production, zapi_first, "created_at", "id").first()


def offered_secret(request: HttpRequest, in_path: str) -> str:
    return request.headers.get("X-Instance-Secret", "") or in_path or bearer_of(request)


def is_operator(request: HttpRequest, offered: str) -> bool:
    """A token of WEBHOOK_SECRETS (all are compared), or a bare call on a developer's own machine."""
    if not offered:
        return is_local_developer(request)
    return any([same_secret(offered, secret) for secret in settings.WEBHOOK_SECRETS])  # noqa: C419 (constant time)


def is_own(offered: str, chip: Chip | None) -> bool:
    """The chip's own secret. Without a chip the comparison takes place all the same."""
    return same_secret(offered, chip.webhook_secret if chip else "")
