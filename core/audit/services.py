"""Writing the audit trail: the entry commits with the act it tells of, or not at all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction

from core import correlation
from core.audit.models import AuditEntry

MOTIVO_MIN = 10
MOTIVO_MAX = 500

Actor = AbstractBaseUser | AnonymousUser | str


class MotivoMissing(ValueError):
    """No motivo, no change; the text is a sentence for the operator."""


def check_motivo(motivo: str) -> str:
    """The motivo without surrounding space. Raises MotivoMissing outside 10 to 500 characters."""
    stripped = motivo.strip()
    if not MOTIVO_MIN <= len(stripped) <= MOTIVO_MAX:
        raise MotivoMissing(f"escreva um motivo de {MOTIVO_MIN} a {MOTIVO_MAX} caracteres")
    return stripped


def name_of(actor: Actor) -> str:
    """The login name, or the name of the part of the system that acted. Raises ValueError when there is none."""
    name = actor if isinstance(actor, str) else actor.get_username()
    if not name:
        raise ValueError("an audited act needs somebody who did it")
    return name


def record(
    acao: str,
    entidade: str,
    entidade_id: object = "",
    *,
    usuario: Actor,
    motivo: str = "",
    detalhes: Mapping[str, Any] | None = None,
    ip: str | None = None,
    now: datetime | None = None,
) -> AuditEntry:
    """Insert one entry under the current correlation id; without `now` it carries the database's time.

    Must run inside the transaction of the act itself: raises TransactionManagementError outside of one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("audit.record runs inside the transaction of the act it records")
    entry = AuditEntry(
        acao=acao,
        entidade=entidade,
        entidade_id=str(entidade_id),
        usuario=name_of(usuario),
        motivo=motivo,
        detalhes=dict(detalhes or {}),
        ip_address=ip,
        correlation_id=correlation.get(),
    )
    if now is not None:
        entry.created_at = now
    entry.save(force_insert=True)
    return entry
