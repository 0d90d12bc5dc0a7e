"""Jobs of the fila. Campaign jobs live beside their services and are found through this module."""

import asyncio
import random
import uuid
from datetime import datetime, timedelta

from chips.webhooks.inbox import process_inbox
from core.clock import database_now
from core.health import beats
from core.jobs.registry import job
from core.logging import get_logger
from fila import manutencao  # noqa: F401  (registers resetar_fila_travada and limpar_fila_antiga)
from fila.campanhas import jobs as campanha_jobs  # noqa: F401  (registers processar_campanhas_agendadas)
from fila.reconciliacao import jobs as reconciliacao_jobs  # noqa: F401  (registers reconciliar_incertas)
from fila.reprocessar import jobs as reprocessar_jobs  # noqa: F401  (registers retomar_reprocessamentos)
from fila.rescue import rescue_expired_leases
from fila.worker.lanes import Lane, close_lanes
from fila.worker.loop import Drain

log = get_logger("fila.jobs")

WORKER_SILENT_S = 60
DRAIN_S = 50.0
NOTHING = dict.fromkeys(("processados", "processadas", "enviadas", "bloqueadas_optout", "erros", "incertas"), 0)


@job(
    "processar_mensagens_agendadas",
    cron="* * * * *",
    sla=timedelta(minutes=3),
    critical=True,
    aliases=("processar-fila-mensagens",),
)
def processar_mensagens_agendadas(now: datetime, limite: int = 20) -> dict[str, int | bool]:
    """The second, independent consumer: with no live worker it drains for up to 50 s itself.

    `limite` is the number of calls open at once. `processados` counts messages taken from the fila, whatever became
    of them. The inbox of webhooks is processed by the same look, since nobody else does it then.
    """
    rescued = rescue_expired_leases()
    newest = beats.newest("worker")
    alive = (
        newest is not None and newest.encerrado_em is None and (now - newest.beat_at).total_seconds() < WORKER_SILENT_S
    )
    if alive:
        return NOTHING | {"worker_vivo": True, **rescued}
    log.warning("nenhum worker vivo: o job drena a fila", worker_visto=str(newest.beat_at) if newest else "nunca")
    drained = asyncio.run(_drain(limite))
    return {"worker_vivo": False, **rescued, **drained, "incertas": rescued["incertas"] + drained["incertas"]}


def _consume_inbox() -> int:
    return process_inbox(limit=1000, now=database_now())


async def _drain(senders: int) -> dict[str, int]:
    drain = Drain(f"job:{uuid.uuid4().hex[:8]}", senders=senders, rng=random.Random())
    inbox = Lane("caixa")
    try:
        await inbox.run(_consume_inbox)
    finally:
        await drain.run(deadline_s=DRAIN_S, until_empty=True)
        close_lanes(inbox)
    return NOTHING | {
        "processados": drain.taken,
        "processadas": drain.taken,
        "enviadas": drain.counts["enviadas"],
        "bloqueadas_optout": drain.opted_out,
        "erros": drain.counts["nao_enviadas"],
        "incertas": drain.counts["incertas"],
    }
