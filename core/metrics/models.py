"""Counters that outlive every process, and what the gauges were at five-minute intervals."""

from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from core.clock import Agora
from core.database import GenRandomUUID


class MetricCounter(models.Model):
    """One series of a counter or histogram: what all processes together have counted since the database exists.

    `value` is a counter's total or the sum of what a histogram observed (seconds). `buckets` are a histogram's
    observations per bucket, not cumulative, the last one without an upper bound; empty for a counter.
    """

    id = models.BigAutoField(primary_key=True)
    metric_name = models.TextField()
    labels = models.JSONField(db_default={})
    value = models.FloatField(db_default=0.0)
    buckets = ArrayField(models.BigIntegerField(), db_default=[])
    updated_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "metric_counters"
        constraints: ClassVar = [
            # flush: INSERT … ON CONFLICT (metric_name, labels) DO UPDATE
            models.UniqueConstraint(fields=["metric_name", "labels"], name="metric_counters_one_per_series")
        ]

    def __str__(self) -> str:
        return f"{self.metric_name} {self.labels}"


class Numeric(models.DecimalField[Decimal, Decimal]):
    """PostgreSQL's `numeric` without a precision, as the printed table has it."""

    def __init__(self) -> None:
        super().__init__(max_digits=38, decimal_places=6)

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "numeric"

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, _args, _kwargs = super().deconstruct()
        return name, path, [], {}


class MetricsSnapshot(models.Model):
    """A gauge at one instant (S-36 T03.2). Kept for 7 days; columns as printed there."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    metric_name = models.TextField()
    value = Numeric()
    labels = models.JSONField(null=True, db_default={})
    created_at = models.DateTimeField(null=True, db_default=Agora())

    class Meta:
        db_table = "metrics_snapshots"
        indexes: ClassVar = [
            # history: WHERE metric_name = … AND created_at > … ORDER BY created_at DESC LIMIT 1000
            models.Index(fields=["metric_name", "-created_at"], name="idx_metrics_name_time")
        ]

    def __str__(self) -> str:
        return f"{self.metric_name} {self.value}"
