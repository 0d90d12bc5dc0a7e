"""The reconciler's job."""

import time
from datetime import datetime, timedelta

from core.clock import database_now
from core.jobs.registry import job
from fila.reconciliacao import acesso, buscas, fila_zapi, prazo, services

WITHIN_S = 50.0
QUEUES_WITHIN_S = 20.0


@job("reconciliar_incertas", cron="* * * * *", sla=timedelta(minutes=3), critical=True)
def reconciliar_incertas(now: datetime, limite: int = buscas.AT_ONCE) -> dict[str, int]:
    """Settle unknown messages by evidence: the provider's search, Z-API's queue, refusals; end them after 24 hours.

    Echoes and receipts settle theirs as they come. `limite` is how many searches one run makes; a run takes at most
    50 s, and what it did not reach is asked about by the next. Nothing is asked while the database belongs to another
    environment. `processados` counts what was settled, returned or ended.
    """
    began = time.monotonic()
    counts = services.look()
    counts |= {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0, "buscas": 0, "confirmadas": 0, "adiadas": 0}
    if acesso.environment_is_ours():
        counts |= fila_zapi.run(now=database_now(), deadline_s=QUEUES_WITHIN_S)
        left = WITHIN_S - (time.monotonic() - began)
        counts |= buscas.run(now=database_now(), deadline_s=max(left, 1.0), limit=limite)
    counts["encerradas"] = prazo.end_overdue()
    done = ("confirmadas", "nao_enviadas", "nao_entregues", "encerradas")
    return {"processados": sum(counts[name] for name in done)} | counts
