"""django-q2's brokers, which also let a canary into their own cluster and show that its parts turn.

Named in `Q_CLUSTER["broker_class"]`. The pusher asks `dequeue`, the sentinel's guard loop calls `set_stat`.
"""

import time
from typing import Any, ClassVar

import redis
from django.db import Error
from django_q.brokers import orm, redis_broker

from core.health import progress
from core.jobs import canary

Task = tuple[Any, str]


class Supervised:
    """Mixin in front of a broker of django-q2. Without a supervisor it changes nothing."""

    away: ClassVar[tuple[type[Exception], ...]] = ()
    _canary_due_at = 0.0

    def dequeue(self) -> list[Task] | None:
        """What the broker has, and every few seconds a canary: after a read that succeeded, never instead of one."""
        try:
            found: list[Task] | None = super().dequeue()  # type: ignore[misc]
        except self.away:
            progress.beat(progress.WAITING)
            raise
        now = time.monotonic()
        if not progress.is_supervised() or now < self._canary_due_at:
            return found
        self._canary_due_at = now + progress.every_s()
        _, package = canary.package()
        return [*(found or []), (None, package)]

    def set_stat(self, key: str, value: str, timeout: int) -> Any:
        progress.beat(progress.GUARD)
        return super().set_stat(key, value, timeout)  # type: ignore[misc]


class OrmBroker(Supervised, orm.ORM):
    away = (Error,)


class RedisBroker(Supervised, redis_broker.Redis):
    away = (redis.RedisError,)
