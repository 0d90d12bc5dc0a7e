"""`/health/jobs`: the body is made where the facts are; here it becomes a page that answers also without them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from core.health.pages import Answers, Body, from_one
from core.health.reading import Reading
from core.jobs import registry
from core.jobs.status import health_body, sla_config
from julia.health.shapes import Erro

JOBS: Reading[Body] = Reading("jobs", health_body)


class JobBody(TypedDict):
    last_run: str | None
    last_status: Literal["success", "error", "timeout", "running"] | None
    last_success: str | None
    running_since: str | None
    runs_24h: int | None
    success_24h: int | None
    errors_24h: int | None
    timeouts_24h: int | None
    avg_duration_ms: int | None
    total_items_processed: int | None
    last_error: str | None
    sla_seconds: int
    is_stale: bool | None
    is_late: bool | None
    is_too_long: bool | None
    deadline: str | None
    seconds_since_last_run: int | None


class JobAlerts(TypedDict):
    jobs_with_errors: list[str]
    jobs_with_timeouts: list[str]
    stale_jobs: list[str]
    critical_stale: list[str]
    missing_critical: list[str]
    late_jobs: NotRequired[list[str]]
    late_start_jobs: NotRequired[list[str]]
    too_long_jobs: NotRequired[list[str]]
    critical_without_success: NotRequired[list[str]]


class SlaConfig(TypedDict):
    critical_jobs: list[str]
    sla_definitions: dict[str, int]


class JobsBody(TypedDict):
    status: Literal["healthy", "degraded", "critical", "error"]
    jobs: dict[str, JobBody]
    alerts: JobAlerts
    sla_config: SlaConfig
    period: str
    total_executions: int | None
    timestamp: str
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    def body(found: Body, at: datetime) -> Body:
        return found

    return from_one(answers["jobs"], body, _nothing_read)


def _nothing_read() -> Body:
    """Every job is named also while nothing can be read."""
    nothing = dict.fromkeys(JobBody.__annotations__)
    return {
        "jobs": {
            job.name: {**nothing, "sla_seconds": int(job.sla.total_seconds())}
            for job in sorted(registry.registered(), key=lambda job: job.name)
        },
        "alerts": {name: [] for name in JobAlerts.__annotations__},
        "sla_config": sla_config(),
        "period": "24h",
        "total_executions": None,
    }


EXAMPLE: Body = {
    "status": "critical",
    "jobs": {
        "processar_mensagens_agendadas": {
            "last_run": "2026-03-03T12:51:00+00:00",
            "last_status": "success",
            "last_success": "2026-03-03T12:51:00+00:00",
            "running_since": None,
            "runs_24h": 1431,
            "success_24h": 1431,
            "errors_24h": 0,
            "timeouts_24h": 0,
            "avg_duration_ms": 210,
            "total_items_processed": 5200,
            "last_error": None,
            "sla_seconds": 180,
            "is_stale": True,
            "is_late": True,
            "is_too_long": False,
            "deadline": "2026-03-03T12:54:00+00:00",
            "seconds_since_last_run": 540,
        }
    },
    "alerts": {
        "jobs_with_errors": [],
        "jobs_with_timeouts": [],
        "stale_jobs": ["processar_mensagens_agendadas"],
        "critical_stale": ["processar_mensagens_agendadas"],
        "missing_critical": [],
    },
    "sla_config": {
        "critical_jobs": ["processar_mensagens_agendadas"],
        "sla_definitions": {"processar_mensagens_agendadas": 180},
    },
    "period": "24h",
    "total_executions": 1431,
    "timestamp": "2026-03-03T13:00:00+00:00",
}
