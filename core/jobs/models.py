"""Each run of each job, and the slot that makes a planned instant run once."""

from typing import ClassVar

from django.db import models

from core.clock import Agora
from core.database import GenRandomUUID

FIRST_SEEN = "primeira_vez"  # the slot that a job takes when a scheduler plans it for the first time; kept for ever


class JobExecution(models.Model):
    """One run. `started_at` and `finished_at` in UTC; `error` at most 500 characters; manual runs are rows too."""

    class Status(models.TextChoices):
        RUNNING = "running", "Em andamento"
        SUCCESS = "success", "Concluído"
        ERROR = "error", "Erro"
        TIMEOUT = "timeout", "Tempo esgotado"
        SKIPPED = "skipped", "Pulado"

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    job_name = models.TextField("job")
    started_at = models.DateTimeField("início", db_default=Agora())
    finished_at = models.DateTimeField("fim", null=True)
    status = models.TextField(choices=Status.choices, db_default=Status.RUNNING)
    duration_ms = models.IntegerField("duração (ms)", null=True)
    response_code = models.IntegerField(null=True)
    error = models.CharField("erro", max_length=500, null=True)
    items_processed = models.IntegerField("itens", null=True)
    origem = models.CharField(max_length=16, db_default="agenda")
    slot = models.CharField(max_length=40, null=True)
    resultado = models.JSONField(db_default={})
    correlation_id = models.CharField(max_length=64, db_default="")

    class Meta:
        db_table = "job_executions"
        verbose_name = "execução"
        verbose_name_plural = "execuções"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=["running", "success", "error", "timeout", "skipped"]),
                name="job_executions_status_is_known",
            )
        ]
        indexes: ClassVar = [
            # newest runs of one job: WHERE job_name = … ORDER BY started_at DESC LIMIT 20
            models.Index(fields=["job_name", "-started_at"], name="job_executions_by_job"),
            # errors of the last 24 h: WHERE started_at > … ORDER BY started_at DESC
            models.Index(fields=["-started_at"], name="job_executions_newest_first"),
            # newest failure of one job: WHERE job_name = … AND status IN ('error', 'timeout') ORDER BY started_at DESC
            models.Index(
                fields=["job_name", "-started_at"],
                condition=models.Q(status__in=["error", "timeout"]),
                name="job_executions_failed",
            ),
            # is one running now: WHERE job_name = … AND status = 'running'
            models.Index(fields=["job_name"], condition=models.Q(status="running"), name="job_executions_running"),
            # Rastro: WHERE correlation_id = … ORDER BY started_at
            models.Index(
                fields=["correlation_id", "started_at"],
                condition=~models.Q(correlation_id=""),
                name="job_executions_by_correlation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_name} {self.started_at:%d/%m %H:%M}"


class JobSlot(models.Model):
    """(job, planned instant): whoever inserts the row runs it. Daily jobs are keyed by local date.

    One more row per job, `FIRST_SEEN`, tells since when it is planned at all.
    """

    id = models.BigAutoField(primary_key=True)
    job_name = models.TextField()
    slot = models.CharField(max_length=40)
    taken_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "job_slots"
        constraints: ClassVar = [models.UniqueConstraint(fields=["job_name", "slot"], name="job_slots_run_once")]

    def __str__(self) -> str:
        return f"{self.job_name} {self.slot}"
