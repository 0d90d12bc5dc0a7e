"""The table of counters: added to in one statement, read in one statement."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections

from core.database import rows
from core.metrics.declared import METRICS, Values

Key = tuple[str, Values]
CONNECT_TIMEOUT_S = 2  # libpq knows no smaller one
STATEMENT_TIMEOUT_MS = 2000

# metric_counters_one_per_series; in one order everywhere, so that two processes never wait for each other in a circle
_ADD = """
INSERT INTO metric_counters (metric_name, labels, value, buckets)
SELECT n.metric_name, n.labels, n.value, n.buckets
FROM jsonb_to_recordset(%s) AS n(metric_name text, labels jsonb, value double precision, buckets bigint[])
ORDER BY n.metric_name, n.labels
ON CONFLICT (metric_name, labels) DO UPDATE SET value = metric_counters.value + excluded.value, updated_at = agora(),
    buckets = (SELECT coalesce(array_agg(coalesce(u.a, 0) + coalesce(u.b, 0) ORDER BY u.i), '{}')
               FROM unnest(metric_counters.buckets, excluded.buckets) WITH ORDINALITY AS u(a, b, i))
"""


@dataclass(slots=True)
class Sums:
    """`value` as in the table; `counts` per bucket, one more than there are bounds, empty for a counter."""

    value: float = 0.0
    counts: list[int] = field(default_factory=list)

    def add(self, amount: float, bounds: tuple[float, ...]) -> None:
        """A counter grows by `amount`; a histogram observes it."""
        self.value += amount
        if bounds:
            if not self.counts:
                self.counts = [0] * (len(bounds) + 1)
            self.counts[bisect_left(bounds, amount)] += 1

    def plus(self, other: "Sums") -> "Sums":
        longer, shorter = sorted((self.counts, other.counts), key=len, reverse=True)
        added = [count + (shorter[at] if at < len(shorter) else 0) for at, count in enumerate(longer)]
        return Sums(self.value + other.value, added)


def add(sums: Mapping[Key, Sums]) -> None:
    """Add to the rows, over a connection of its own, which is closed again. Raises django.db.Error.

    A commit whose answer is lost may have happened: the caller that repeats it counts those sums twice.
    """
    records = [
        {
            "metric_name": name,
            "labels": dict(zip(METRICS[name].labels, values, strict=True)),
            "value": each.value,
            "buckets": each.counts,
        }
        for (name, values), each in sums.items()
    ]
    connection = connections.create_connection("default")
    options = {
        **connection.settings_dict.get("OPTIONS", {}),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
    }
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ADD, [json.dumps(records)])
    finally:
        connection.close()


def read() -> dict[Key, Sums]:
    """Every series of a declared metric; rows that a former version left under other labels are passed over."""
    found = rows("SELECT metric_name, labels, value, buckets FROM metric_counters")
    return {key: Sums(row["value"], list(row["buckets"])) for row in found if (key := _key(row)) is not None}


def _key(row: Mapping[str, Any]) -> Key | None:
    declared, labels = METRICS.get(row["metric_name"]), row["labels"]
    if declared is None or not isinstance(labels, dict) or set(labels) != set(declared.labels):
        return None
    return declared.name, tuple(str(labels[name]) for name in declared.labels)
