"""What django-q2 calls. The broker carries an id; the run's row says what is to be done."""

import random
from datetime import datetime, timedelta
from uuid import UUID

from core import clock, correlation
from core.jobs.deadline import Deadline
from fila.mensagens import Reprocessamento
from fila.reprocessar.services import continue_run, offer

NOT_TAKEN_AFTER = timedelta(minutes=2)
LONGEST = timedelta(seconds=240)  # the cluster ends a task after 300 s; what is left is for the sweep
OFFERED_AT_ONCE = 50


def continuar_reprocessamento(run_id: str) -> str:
    """Go on with a run. Harmless twice or too late."""
    run = Reprocessamento.objects.only("correlation_id").filter(pk=run_id).first()
    with correlation.use(run.correlation_id if run else None):
        done = continue_run(
            UUID(run_id), rng=random.Random(run_id), now=clock.database_now(), deadline=Deadline(LONGEST)
        )
    return "concluído" if done else "continua"


def offer_untaken(now: datetime) -> int:
    """Offer again what no cluster took, and what one took and did not finish; returns how many."""
    late = Reprocessamento.objects.filter(concluido_em__isnull=True, iniciado_em__lt=now - NOT_TAKEN_AFTER)
    ids = list(late.order_by("iniciado_em").values_list("pk", flat=True)[:OFFERED_AT_ONCE])
    for run_id in ids:
        offer(run_id)
    return len(ids)
