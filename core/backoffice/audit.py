"""Acts of the backoffice in the audit trail: who was logged in, from where."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from core.audit import services
from core.audit.models import AuditEntry


def actor_of(request: HttpRequest) -> str:
    """The login name: what `actor` means in every service."""
    return request.user.get_username()


def ip_of(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None


def record(
    request: HttpRequest, acao: str, row: Model, *, motivo: str = "", detalhes: Mapping[str, Any] | None = None
) -> None:
    """One entry about a row. `detalhes` holds no message text and no full phone."""
    record_named(request, acao, str(row._meta.model_name), row.pk, motivo=motivo, detalhes=detalhes)


def record_named(
    request: HttpRequest,
    acao: str,
    entidade: str,
    entidade_id: object,
    *,
    motivo: str = "",
    detalhes: Mapping[str, Any] | None = None,
) -> None:
    """One entry about something that is no row of a table."""
    with transaction.atomic():
        services.record(
            acao, entidade, entidade_id, usuario=request.user, motivo=motivo, detalhes=detalhes, ip=ip_of(request)
        )


def entries_of(row: Model, limit: int = 20) -> list[AuditEntry]:
    """The newest entries about a row."""
    names = [row._meta.db_table, row._meta.model_name]
    found = AuditEntry.objects.filter(entidade__in=names, entidade_id=str(row.pk))
    return list(found.order_by("-created_at")[:limit])
