"""Core's own jobs: the scheduler's sign of life, and clearing away what nobody reads any more."""

from datetime import datetime, timedelta

from core.circuits.models import CircuitTransition
from core.clientes import tasks
from core.health import beats
from core.health.models import RoleBeat
from core.jobs import runner
from core.jobs.deadline import Deadline
from core.jobs.models import JobExecution, JobSlot
from core.jobs.registry import job

KEEP_EXECUTIONS = timedelta(days=30)  # the runbook's widest question looks back 7 days
KEEP_SLOTS = timedelta(days=7)
KEEP_BEATS = timedelta(days=7)
KEEP_TRANSITIONS = timedelta(days=30)  # fila reference §4.4
BATCH = 5000


@job("heartbeat", cron="* * * * *", sla=timedelta(minutes=3))
def heartbeat(now: datetime) -> dict[str, int]:
    """Says that the scheduler's tick arrives, and closes the rows of runs whose process died. `processados` is 1."""
    beats.beat("scheduler", f"scheduler@{beats.machine()}", {"job": "heartbeat", "em": now.isoformat()})
    return {"processados": 1, "execucoes_encerradas": runner.close_abandoned(now)}


@job("retomar_importacoes", cron="*/2 * * * *", sla=timedelta(minutes=15))
def retomar_importacoes(now: datetime) -> dict[str, int]:
    """Offers imports to the cluster again that the broker lost or a dead process left. `processados`: how many."""
    return {"processados": tasks.offer_untaken(now)}


@job("limpar_execucoes", cron="40 3 * * *", sla=timedelta(hours=25), longest=timedelta(seconds=270))
def limpar_execucoes(now: datetime, deadline: Deadline, dias: int = KEEP_EXECUTIONS.days) -> dict[str, int]:
    """Deletes runs older than `dias` days, changes of circuits older than 30, slots and signs of life older than 7.

    `processados` counts the runs.
    """
    CircuitTransition.objects.filter(created_at__lt=now - KEEP_TRANSITIONS).delete()
    JobSlot.objects.filter(taken_at__lt=now - KEEP_SLOTS).delete()
    RoleBeat.objects.filter(beat_at__lt=now - KEEP_BEATS).delete()
    old = JobExecution.objects.filter(started_at__lt=now - timedelta(days=dias))
    removed = 0
    while not deadline.passed:
        batch = list(old.values_list("pk", flat=True)[:BATCH])
        if not batch:
            break
        removed += JobExecution.objects.filter(pk__in=batch).delete()[0]
    return {"processados": removed}
