"""Writing down every five minutes what the gauges say (S-36 T03.2), and forgetting it after a week."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from core.database import execute, rows
from core.metrics import store
from core.metrics.declared import ERROR, REFUSED
from core.metrics.gauges import Reading, read_all, sources

SLOT = timedelta(minutes=5)
LOOK_BACK = timedelta(minutes=16)  # how far apart two snapshots may lie for a rate between them: three slots
WEBHOOKS, WEBHOOK_ERROR_RATE = "webhook_events_total", "webhook_error_rate"

# The names of the domain's `/metrics/history` whose feature exists, and two that the charts want.
NAMES = (
    "fila_pendentes",
    "fila_processando",
    "fila_incertas",
    "fila_enviadas_ultima_hora",
    "fila_erros_ultima_hora",
    "fila_idade_mais_antiga_min",
    "jobs_stale",
    "jobs_errors_24h",
    "chips_disponiveis",
    "chips_trust_medio",
    "circuit_open",
    "health_score",
    "alertas_abertos",
)

Row = dict[str, Any]

# idx_metrics_name_time for what this slot has already
_INSERT = """
INSERT INTO metrics_snapshots (metric_name, value, labels, created_at)
SELECT n.metric_name, n.value, n.labels, %(now)s
FROM jsonb_to_recordset(%(rows)s) AS n(metric_name text, value numeric, labels jsonb)
WHERE NOT EXISTS (SELECT FROM metrics_snapshots s WHERE s.metric_name = n.metric_name AND s.labels = n.labels
    AND s.created_at >= %(slot)s AND s.created_at < %(next)s)
"""
_BEFORE = """
SELECT DISTINCT ON (labels) labels ->> 'status' AS status, value FROM metrics_snapshots
WHERE metric_name = %s AND created_at >= %s AND created_at < %s ORDER BY labels, created_at DESC
"""


def take(now: datetime, *, keep: timedelta) -> dict[str, Any]:
    """Insert this slot's values, once however often it is called, and delete what is older than `keep`.

    A source that cannot be read leaves a gap, never a zero; when none can, the run has failed.
    """
    slot = _slot(now)
    readings = _readings(now)
    silent = [reading.source.name for reading in readings if not reading.ok]
    written = [*_gauges(readings), *_webhooks(slot)]
    params = {"now": now, "rows": json.dumps(written), "slot": slot, "next": slot + SLOT}
    result = {
        "processados": execute(_INSERT, params),
        "removidos": execute("DELETE FROM metrics_snapshots WHERE created_at < %s", [now - keep]),
        "fontes_sem_resposta": silent,
    }
    if readings and len(silent) == len(readings):
        return {**result, "status": "error", "message": "nenhuma fonte de métricas respondeu"}
    return result


def _readings(now: datetime) -> list[Reading]:
    """Who is silent is asked once more: what came too late for a page is known a moment later."""
    first = read_all(now, only={each.name for each in sources() if set(each.gauges) & set(NAMES)})
    again = read_all(now, only={each.source.name for each in first if not each.ok})
    return [*(each for each in first if each.ok), *again]


def _slot(now: datetime) -> datetime:
    return now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)


def _gauges(readings: Iterable[Reading]) -> Iterator[Row]:
    for reading in readings:
        for name in NAMES:
            for sample in reading.samples.get(name, ()):
                yield {"metric_name": name, "value": sample.value, "labels": dict(sample.labels)}


def _webhooks(slot: datetime) -> Iterator[Row]:
    """The counter as it stands, and the share of errors since the snapshot before; none where nothing came.

    Deliveries without a valid secret are left out: anybody on the network could make them.
    """
    totals: dict[str, float] = {}
    for (name, values), sums in store.read().items():
        if name == WEBHOOKS and values[1] != REFUSED:
            totals[values[2]] = totals.get(values[2], 0.0) + sums.value
    before = {row["status"]: float(row["value"]) for row in rows(_BEFORE, [WEBHOOKS, slot - LOOK_BACK, slot])}
    grown = {status: total - before.get(status, 0.0) for status, total in totals.items()}
    for status, total in totals.items():
        yield {"metric_name": WEBHOOKS, "value": total, "labels": {"status": status}}
    came = sum(grown.values())
    if before and came > 0:
        yield {"metric_name": WEBHOOK_ERROR_RATE, "value": round(grown.get(ERROR, 0.0) / came, 4), "labels": {}}
