"""How each registered job is doing: one reading for `/health/jobs`, the backoffice, alert rules and metrics."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.database import rows
from core.jobs import registry, runner, sla
from core.jobs.models import FIRST_SEEN, JobExecution
from core.jobs.registry import AGENDA, Job
from core.jobs.sla import Situacao

PERIOD = timedelta(hours=24)
_FAILED = (JobExecution.Status.ERROR.value, JobExecution.Status.TIMEOUT.value)
_ERROR_CLASS = re.compile(r"^([A-Za-z_]\w*(?:Error|Exception|Timeout|Interrupt|Exit|Failed))\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One job now. Runs are those that ended (success, error, timeout); one in progress shows in `running_since` only
    (and no longer when it must be dead), skipped ones and rehearsals nowhere. `last_success` is None also when it lies
    further back than 24 h and two SLAs.

    `is_stale` is the SLA's word (`deadline`), `is_late` the one a person is told of (`alert_deadline`, and nothing in
    progress); `is_too_long` a run in progress beyond what the job declares; `began_late` its newest scheduled run;
    `without_success` runs, but not one success in time.
    """

    name: str
    job: Job
    first_seen: datetime
    last_run: datetime | None
    last_status: str | None
    last_success: datetime | None
    running_since: datetime | None
    runs_24h: int
    success_24h: int
    errors_24h: int
    timeouts_24h: int
    avg_duration_ms: int | None
    total_items_processed: int
    last_error: str | None
    deadline: datetime
    alert_deadline: datetime
    is_stale: bool
    is_late: bool
    is_too_long: bool
    began_late: bool
    without_success: bool
    seconds_since_last_run: int | None

    @property
    def newest_failed(self) -> bool:
        return self.last_status in _FAILED

    @property
    def situacao(self) -> Situacao:
        if self.is_too_long:
            return Situacao.DEMORANDO
        if self.last_run is None and self.running_since is None:
            return Situacao.NUNCA_RODOU
        if self.is_late or self.is_stale:
            return Situacao.ATRASADO
        return Situacao.COMECOU_TARDE if self.began_late else Situacao.EM_DIA


def job_states(now: datetime) -> list[JobState]:
    """Every registered job by name, read in one statement."""
    jobs = {job.name: job for job in registry.registered()}
    horizons = [max(PERIOD, 2 * job.sla) for job in jobs.values()]
    found = rows(
        _STATES,
        {
            "names": list(jobs),
            "horizons": horizons,
            "now": now,
            "since": now - PERIOD,
            "abandoned": runner.ABANDONED_AFTER,
        },
    )
    return sorted((_state(jobs[row["name"]], row, now) for row in found), key=lambda state: state.name)


# job_executions_newest_first for the 24 hours; per job probes of job_executions_by_job for the newest run and the
# newest success, of job_executions_failed for the newest error, one of job_executions_running, one of
# job_slots_run_once. BETWEEN and not `=`: with an equality the planner may walk the table by time alone, through all of
# it for a job that never ran. A success is looked for within two SLAs, so that a job that has failed for a month is not
# walked through run by run.
_STATES = f"""
WITH lately AS MATERIALIZED (
    SELECT job_name, count(*) AS runs,
        count(*) FILTER (WHERE status = 'success') AS successes,
        count(*) FILTER (WHERE status = 'error') AS errors,
        count(*) FILTER (WHERE status = 'timeout') AS timeouts,
        round(avg(duration_ms))::int AS duration_ms, coalesce(sum(items_processed), 0) AS items
    FROM job_executions
    WHERE started_at > %(since)s AND status IN ('success', 'error', 'timeout') AND origem <> 'ensaio' GROUP BY job_name
)
SELECT n.name, coalesce(seen.taken_at, (SELECT min(applied) FROM django_migrations), %(now)s) AS first_seen,
    newest.started_at AS last_run, newest.status AS last_status, newest.origem, good.started_at AS last_success,
    running.started_at AS running_since, bad.error, lately.*
FROM unnest(%(names)s::text[], %(horizons)s::interval[]) AS n(name, horizon)
LEFT JOIN lately ON lately.job_name = n.name
LEFT JOIN job_slots seen ON seen.job_name = n.name AND seen.slot = '{FIRST_SEEN}'
LEFT JOIN LATERAL (
    SELECT e.started_at, e.status, e.origem FROM job_executions e
    WHERE e.job_name BETWEEN n.name AND n.name AND e.status IN ('success', 'error', 'timeout') AND e.origem <> 'ensaio'
    ORDER BY e.job_name, e.started_at DESC LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
    SELECT e.started_at FROM job_executions e
    WHERE e.job_name BETWEEN n.name AND n.name AND e.status = 'success' AND e.origem <> 'ensaio'
        AND e.started_at > %(now)s - n.horizon
    ORDER BY e.job_name, e.started_at DESC LIMIT 1
) good ON true
LEFT JOIN LATERAL (
    SELECT e.error FROM job_executions e
    WHERE lately.errors + lately.timeouts > 0 AND e.job_name BETWEEN n.name AND n.name
        AND e.status IN ('error', 'timeout') AND e.origem <> 'ensaio' AND e.started_at > %(since)s
    ORDER BY e.job_name, e.started_at DESC LIMIT 1
) bad ON true
LEFT JOIN LATERAL (
    SELECT max(e.started_at) AS started_at FROM job_executions e
    WHERE e.job_name = n.name AND e.status = 'running' AND e.origem <> 'ensaio'
        AND e.started_at >= %(now)s - %(abandoned)s
) running ON true
"""  # noqa: S608 (constants of this module)


def _state(job: Job, row: dict[str, Any], now: datetime) -> JobState:
    last_run, running_since, first_seen = row["last_run"], row["running_since"], row["first_seen"]
    deadline = sla.deadline(job, last_run, first_seen)
    return JobState(
        name=job.name,
        job=job,
        first_seen=first_seen,
        last_run=last_run,
        last_status=row["last_status"] or (JobExecution.Status.RUNNING.value if running_since else None),
        last_success=row["last_success"],
        running_since=running_since,
        runs_24h=row["runs"] or 0,
        success_24h=row["successes"] or 0,
        errors_24h=row["errors"] or 0,
        timeouts_24h=row["timeouts"] or 0,
        avg_duration_ms=row["duration_ms"],
        total_items_processed=int(row["items"] or 0),
        last_error=row["error"],
        deadline=deadline,
        alert_deadline=sla.alert_deadline(job, last_run, first_seen),
        is_stale=now > deadline,
        is_late=sla.is_overdue(job, last_run, running_since, first_seen, now),
        is_too_long=sla.is_too_long(job, running_since, now),
        began_late=last_run is not None and row["origem"] == AGENDA and sla.began_late(job, last_run),
        without_success=last_run is not None and now > sla.deadline(job, row["last_success"], first_seen),
        seconds_since_last_run=None if last_run is None else max(0, int((now - last_run).total_seconds())),
    )


def health_body(now: datetime) -> dict[str, Any]:
    """The body of `GET /health/jobs`.

    `critical`: a critical job is stale. `degraded`: another is stale, the newest run of any failed, or a critical one
    runs but had no success within its SLA. An old error of a job that has succeeded since stays in the lists and does
    not colour the status.
    """
    states = job_states(now)
    stale = [state for state in states if state.is_stale]
    critical = [state for state in stale if state.job.critical]
    ailing = [state for state in states if state.newest_failed or (state.job.critical and state.without_success)]
    return {
        "status": "critical" if critical else "degraded" if stale or ailing else "healthy",
        "jobs": {state.name: _job_body(state) for state in states},
        "alerts": {
            "jobs_with_errors": _names(state for state in states if state.errors_24h),
            "jobs_with_timeouts": _names(state for state in states if state.timeouts_24h),
            "stale_jobs": _names(stale),
            "critical_stale": _names(critical),
            "missing_critical": _names(state for state in critical if state.last_run is None),
            "late_jobs": _names(state for state in states if state.is_late),
            "late_start_jobs": _names(state for state in states if state.began_late),
            "too_long_jobs": _names(state for state in states if state.is_too_long),
            "critical_without_success": _names(s for s in states if s.job.critical and s.without_success),
        },
        "sla_config": sla_config(),
        "period": "24h",
        "total_executions": sum(state.runs_24h for state in states),
        "timestamp": now.isoformat(),
    }


def sla_config() -> dict[str, Any]:
    """The table of SLAs in seconds, from the registry."""
    jobs = sorted(registry.registered(), key=lambda job: job.name)
    return {
        "critical_jobs": [job.name for job in jobs if job.critical],
        "sla_definitions": {job.name: int(job.sla.total_seconds()) for job in jobs},
    }


def public_error(error: str | None) -> str | None:
    """What may be told without credentials: the class and a fixed sentence, never a driver's or a job's own text."""
    if not error:
        return None
    found = _ERROR_CLASS.match(error)
    if error.startswith("Timeout após 300s"):
        return "Timeout após 300s"
    return f"{found[1] if found else 'Erro'}: o texto está na página da execução"


def _job_body(state: JobState) -> dict[str, Any]:
    return {
        "last_run": _iso(state.last_run),
        "last_status": state.last_status,
        "last_success": _iso(state.last_success),
        "running_since": _iso(state.running_since),
        "runs_24h": state.runs_24h,
        "success_24h": state.success_24h,
        "errors_24h": state.errors_24h,
        "timeouts_24h": state.timeouts_24h,
        "avg_duration_ms": state.avg_duration_ms,
        "total_items_processed": state.total_items_processed,
        "last_error": public_error(state.last_error),
        "sla_seconds": int(state.job.sla.total_seconds()),
        "is_stale": state.is_stale,
        "is_late": state.is_late,
        "is_too_long": state.is_too_long,
        "deadline": _iso(state.deadline),
        "seconds_since_last_run": state.seconds_since_last_run,
    }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _names(states: Iterable[JobState]) -> list[str]:
    return [state.name for state in states]
