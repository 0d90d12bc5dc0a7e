"""Jobs over facts of several apps."""

from datetime import datetime, timedelta
from typing import Any

from core.jobs.registry import job
from core.metrics import snapshots


@job("snapshot_metricas", cron="*/5 * * * *", sla=timedelta(minutes=15))
def snapshot_metricas(now: datetime, retencao_dias: int = 7) -> dict[str, Any]:
    """Writes down what the metrics say now, for charts and `/metrics/history`, and deletes rows older than
    `retencao_dias`.

    `processados` counts the rows written, `removidos` those deleted; a second run within the same five minutes writes
    nothing. `fontes_sem_resposta` names facts that could not be read: their metrics have a gap at that instant.
    """
    if retencao_dias < 1:
        raise ValueError("retencao_dias precisa ser pelo menos 1")
    return snapshots.take(now, keep=timedelta(days=retencao_dias))
