"""Core's own jobs: the scheduler's sign of life, and clearing away what nobody reads any more."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from core.alerts import cleanup
from core.circuits.models import CircuitTransition
from core.clientes import tasks
from core.health import beats
from core.health.models import RoleBeat
from core.jobs import runner
from core.jobs.deadline import Deadline
from core.jobs.models import FIRST_SEEN, JobExecution, JobSlot
from core.jobs.registry import AGENDA, job

KEEP_EXECUTIONS = timedelta(days=30)  # the runbook's widest question looks back 7 days
KEEP_SLOTS = timedelta(days=7)
KEEP_BEATS = timedelta(days=7)
KEEP_TRANSITIONS = timedelta(days=30)  # fila reference §4.4
BATCH = 5000


@job("heartbeat", cron="* * * * *", sla=timedelta(minutes=3))
def heartbeat(now: datetime, origem: str = AGENDA) -> dict[str, int]:
    """Says that the scheduler's tick arrives, and closes the rows of runs whose process died. `processados` is 1.

    A run that a person or the API starts is no sign of the scheduler's life.
    """
    if origem == AGENDA:
        beats.beat("scheduler", f"scheduler@{beats.machine()}", {"job": "heartbeat", "em": now.isoformat()})
    return {"processados": 1, "execucoes_encerradas": runner.close_abandoned(now)}


@job("retomar_importacoes", cron="*/2 * * * *", sla=timedelta(minutes=15))
def retomar_importacoes(now: datetime) -> dict[str, int]:
    """Offers imports to the cluster again that the broker lost or a dead process left. `processados`: how many."""
    return {"processados": tasks.offer_untaken(now)}


@job("limpar_execucoes", cron="40 3 * * *", sla=timedelta(hours=25), longest=timedelta(seconds=270), ensaio=True)
def limpar_execucoes(now: datetime, deadline: Deadline, dias: int = KEEP_EXECUTIONS.days) -> dict[str, int]:
    """Deletes runs older than `dias` days, changes of circuits older than 30, slots and signs of life older than 7,
    alerts that ended more than 90 days ago and what was said of them.

    `processados` counts the runs.
    """
    if dias < 1:
        raise ValueError("dias precisa ser pelo menos 1")
    old: dict[str, QuerySet[Any]] = {
        "processados": JobExecution.objects.filter(started_at__lt=now - timedelta(days=dias)),
        "mudancas_de_circuito": CircuitTransition.objects.filter(created_at__lt=now - KEEP_TRANSITIONS),
        "horarios": JobSlot.objects.exclude(slot=FIRST_SEEN).filter(taken_at__lt=now - KEEP_SLOTS),
        "sinais_de_vida": RoleBeat.objects.filter(beat_at__lt=now - KEEP_BEATS),
    }
    removed = {name: _delete(rows, deadline) for name, rows in old.items()}
    return removed | {"alertas": cleanup.clean(now, deadline=deadline)}


def _delete(rows: QuerySet[Any], deadline: Deadline) -> int:
    """In batches, so that no lock is held long; what a deadline cuts off is left for tomorrow."""
    removed = 0
    while not deadline.passed:
        batch = list(rows.order_by().values_list("pk", flat=True)[:BATCH])
        if not batch:
            break
        rows.model._base_manager.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed
