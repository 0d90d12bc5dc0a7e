"""Signs of life in database time: each process upserts its own row, whoever watches reads the newest."""

import json
import socket
from collections.abc import Mapping
from typing import Any

from core.clock import Agora
from core.database import execute
from core.health.models import RoleBeat


def beat(papel: str, instancia: str, detalhe: Mapping[str, Any] | None = None) -> None:
    """Say that this instance lives now. A beat after `close` is a new start."""
    sql = """
        INSERT INTO role_beats (papel, instancia, detalhe) VALUES (%s, %s, %s)
        ON CONFLICT (instancia) DO UPDATE SET papel = excluded.papel, detalhe = excluded.detalhe, beat_at = agora(),
            started_at = CASE WHEN role_beats.encerrado_em IS NULL THEN role_beats.started_at ELSE agora() END,
            encerrado_em = NULL
    """
    execute(sql, [papel, instancia, json.dumps(dict(detalhe or {}), default=str)])


def newest(papel: str) -> RoleBeat | None:
    """The newest beat of the role on any machine; of one that has closed only when no other is left."""
    of_role = RoleBeat.objects.filter(papel=papel)
    return of_role.filter(encerrado_em=None).order_by("-beat_at").first() or of_role.order_by("-beat_at").first()


def close(instancia: str) -> None:
    """Say that this instance ended on purpose; its last beat stays."""
    RoleBeat.objects.filter(instancia=instancia, encerrado_em=None).update(encerrado_em=Agora())


def machine() -> str:
    return socket.gethostname()[:60]
