"""Signs of life in database time: each process upserts its own row, whoever watches reads the newest."""

import json
import socket
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.clock import Agora
from core.database import rows
from core.health.models import RoleBeat
from core.logging import get_logger

log = get_logger("core.health")

WORKER_KEY, WORKER_KEY_S = "worker:fila:heartbeat", 120
"""The worker's sign of life in Redis (S-36 T01.6): an ISO instant that is gone after two minutes."""

REDIS_TIMEOUT_S = 0.5


def beat(papel: str, instancia: str, detalhe: Mapping[str, Any] | None = None) -> None:
    """Say that this instance lives now. A beat after `close` is a new start.

    The worker's is copied to Redis where there is one; a Redis that is away, or hangs for a second, changes nothing.
    """
    sql = """
        INSERT INTO role_beats (papel, instancia, detalhe) VALUES (%s, %s, %s)
        ON CONFLICT (instancia) DO UPDATE SET papel = excluded.papel, detalhe = excluded.detalhe, beat_at = agora(),
            started_at = CASE WHEN role_beats.encerrado_em IS NULL THEN role_beats.started_at ELSE agora() END,
            encerrado_em = NULL
        RETURNING beat_at
    """
    written = rows(sql, [papel, instancia, json.dumps(dict(detalhe or {}), default=str)])
    if papel == "worker" and settings.REDIS_URL:
        _copy_to_redis(written[0]["beat_at"])


def _copy_to_redis(beat_at: datetime) -> None:
    try:
        _redis(settings.REDIS_URL).set(WORKER_KEY, beat_at.isoformat(), ex=WORKER_KEY_S)
    except redis.RedisError as error:
        log.warning("sinal de vida não copiado para o Redis", erro=type(error).__name__)


@lru_cache(maxsize=2)
def _redis(url: str) -> redis.Redis:
    """One client per address, shared by the threads of a process; it asks once and never repeats."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        socket_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def newest(papel: str) -> RoleBeat | None:
    """The newest beat of the role on any machine; of one that has closed only when no other is left."""
    of_role = RoleBeat.objects.filter(papel=papel)
    return of_role.filter(encerrado_em=None).order_by("-beat_at").first() or of_role.order_by("-beat_at").first()


def close(instancia: str) -> None:
    """Say that this instance ended on purpose; its last beat stays."""
    RoleBeat.objects.filter(instancia=instancia, encerrado_em=None).update(encerrado_em=Agora())


def machine() -> str:
    return socket.gethostname()[:60]
