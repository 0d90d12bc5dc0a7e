"""Running one job: once per slot, never beside itself, and always with a row that tells how it went."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django_q.exceptions import TimeoutException

from core import correlation
from core.database import execute, rows
from core.integrations.redaction import scrub
from core.jobs import ensaio, registry
from core.jobs.deadline import Deadline
from core.jobs.models import JobExecution
from core.logging import get_logger
from core.metrics import counters

INNER_DEADLINE = timedelta(seconds=270)
ABANDONED_AFTER = timedelta(minutes=10)
ERROR_LENGTH = 500
ENSAIO = "ensaio"  # origin of a rehearsal
_LOCK_CLASS = 0x4A6F6273  # "Jobs": the first half of the advisory lock's key

Status = JobExecution.Status
_RESPONSE_CODES = {Status.SUCCESS: 200, Status.SKIPPED: 200, Status.ERROR: 500}
log = get_logger("core.jobs")


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of one run. `execution_id` is None where no row was written: another process had the slot."""

    job: str
    status: JobExecution.Status
    resultado: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    execution_id: UUID | None = None

    @property
    def processados(self) -> int:
        return int(self.resultado.get("processados", 0))

    @property
    def ok(self) -> bool:
        return self.status in (Status.SUCCESS, Status.SKIPPED)

    @property
    def body(self) -> dict[str, Any]:
        """As `POST /jobs/…` and `executar_job` answer: `status` is ok, skipped or error."""
        if self.ok:
            status = "skipped" if self.status == Status.SKIPPED else "ok"
            return {"status": status, "processados": self.processados, **self.resultado}
        return {"processados": 0, **self.resultado, "status": "error", "message": self.error}


def run(
    name: str,
    *,
    now: datetime,
    slot: str | None = None,
    origem: str = registry.AGENDA,
    params: Mapping[str, Any] | None = None,
    atraso: Mapping[str, Any] | None = None,
    started_at: datetime | None = None,
) -> JobResult:
    """Run the job and say how it went; an error of the job itself does not come out of here.

    `slot` is the planned instant as `Job.slot_of` spells it: whoever takes its row runs, the others skip in silence. A
    run that finds its predecessor alive is recorded as skipped with reason `em_execucao`. `atraso` is kept with the
    result: which planned instants were missed. `started_at` is what the row says where that is not `now`. A rehearsal
    (`dry_run`) is recorded with origin `ensaio`, counts as no run of the job, and its items are in its result only.
    Raises UnknownJob, and django.db.Error when not even the row could be written.
    """
    job = registry.find(name)
    with correlation.use(correlation.peek() or None):
        if slot is not None and not _take_slot(name, slot):
            return _slot_lost(name)
        with _alone(name) as alone:
            if not alone:
                return _skipped(name, now, slot, origem, "em_execucao")
            origem = ENSAIO if (params or {}).get(ensaio.DRY_RUN) else origem
            start = _Start(now, started_at or now, slot, origem, atraso or {})
            return _run_recorded(job, start, params or {})


def skip_late(name: str, *, now: datetime, slot: str, atraso: Mapping[str, Any] | None = None) -> JobResult:
    """Give up a slot that is too old to be worth running; recorded once, with reason `atrasado`."""
    if not _take_slot(name, slot):
        return _slot_lost(name)
    return _skipped(name, now, slot, registry.AGENDA, "atrasado", atraso)


def _skipped(
    name: str, now: datetime, slot: str | None, origem: str, reason: str, atraso: Mapping[str, Any] | None = None
) -> JobResult:
    resultado = {"reason": reason, **({"atraso": dict(atraso)} if atraso else {})}
    row = JobExecution.objects.create(
        job_name=name,
        started_at=now,
        finished_at=now,
        status=Status.SKIPPED,
        duration_ms=0,
        response_code=_RESPONSE_CODES[Status.SKIPPED],
        items_processed=0,
        origem=origem,
        slot=slot,
        resultado=resultado,
        correlation_id=correlation.get(),
    )
    log.info("job pulado", job=name, reason=reason)
    return JobResult(name, Status.SKIPPED, resultado, execution_id=row.id)


def close_abandoned(now: datetime) -> int:
    """Close as timeout the rows whose process died: still running after more than 10 minutes. Returns how many."""
    return JobExecution.objects.filter(status=Status.RUNNING, started_at__lt=now - ABANDONED_AFTER).update(
        status=Status.TIMEOUT, finished_at=now, error="Timeout após 300s: o processo não terminou a execução"
    )


def _take_slot(name: str, slot: str) -> bool:
    sql = "INSERT INTO job_slots (job_name, slot) VALUES (%s, %s) ON CONFLICT (job_name, slot) DO NOTHING"
    return execute(sql, [name, slot]) == 1


def _drop_lost_connection() -> None:
    """Django opens a new one for the next statement; a job that lost its connection is recorded all the same."""
    if not connection.in_atomic_block:  # there it would close a sound one
        connection.close_if_unusable_or_obsolete()


def _slot_lost(name: str) -> JobResult:
    return JobResult(name, Status.SKIPPED, {"reason": "slot_ja_executado"})


@contextmanager
def _alone(name: str) -> Iterator[bool]:
    """A session lock per job: it ends with the session, so a killed process leaves nothing behind."""
    key = [_LOCK_CLASS, name]
    taken = bool(rows("SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS taken", key)[0]["taken"])
    try:
        yield taken
    finally:
        if taken:
            _drop_lost_connection()
            execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


@dataclass(frozen=True, slots=True)
class _Start:
    now: datetime
    started_at: datetime
    slot: str | None
    origem: str
    atraso: Mapping[str, Any]


def _run_recorded(job: registry.Job, start: _Start, params: Mapping[str, Any]) -> JobResult:
    row = JobExecution.objects.create(
        job_name=job.name,
        started_at=start.started_at,
        status=Status.RUNNING,
        origem=start.origem,
        slot=start.slot,
        resultado={"atraso": start.atraso} if start.atraso else {},
        correlation_id=correlation.get(),
    )
    log.info("Executando job", job=job.name, origem=start.origem, slot=start.slot)
    started = time.monotonic()
    try:
        resultado = _checked(job.call(start.now, Deadline(INNER_DEADLINE), params, start.origem))
    except Exception as failure:  # one of the two places that may catch all: it records what it caught
        log.exception("FAIL", job=job.name)
        return _finished(row, started, Status.ERROR, error=f"{type(failure).__name__}: {failure}")
    except (SystemExit, KeyboardInterrupt) as stop:
        log.error("FAIL", job=job.name, error_class=type(stop).__name__)
        if isinstance(stop, TimeoutException):
            _finished(row, started, Status.TIMEOUT, error="Timeout após 300s")
        else:
            _finished(row, started, Status.ERROR, error="o processo foi encerrado durante a execução")
        raise
    if resultado.get("status") == "error":
        log.error("FAIL", job=job.name)
        message = str(resultado.get("message", "o job respondeu com erro"))
        return _finished(row, started, Status.ERROR, resultado, message)
    return _finished(row, started, Status.SUCCESS, resultado)


def _checked(returned: object) -> dict[str, Any]:
    """The result as plain JSON. Raises TypeError for one that counts nothing."""
    if not isinstance(returned, Mapping) or not isinstance(returned.get("processados"), int):
        raise TypeError("a job returns a mapping with the integer `processados`")
    plain: dict[str, Any] = json.loads(json.dumps(dict(returned), default=str))
    return plain


def _finished(
    row: JobExecution,
    started: float,
    status: JobExecution.Status,
    resultado: Mapping[str, Any] | None = None,
    error: str = "",
) -> JobResult:
    _drop_lost_connection()
    duration = timedelta(seconds=time.monotonic() - started)
    error = scrub(error)[:ERROR_LENGTH]
    resultado = {**(resultado or {}), **row.resultado}
    JobExecution.objects.filter(pk=row.pk).update(
        status=status,
        finished_at=row.started_at + duration,
        duration_ms=round(duration.total_seconds() * 1000),
        response_code=_RESPONSE_CODES.get(status),
        error=error or None,
        items_processed=None if row.origem == ENSAIO else resultado.get("processados"),
        resultado=resultado,
    )
    if row.origem != ENSAIO:
        _count(row.job_name, status, duration)
    return JobResult(row.job_name, status, resultado, error, row.pk)


def _count(name: str, status: JobExecution.Status, duration: timedelta) -> None:
    labels = {"operation": name, "status": "success" if status == Status.SUCCESS else "error"}
    counters.inc("operation_total", labels)
    counters.observe("operation_duration_seconds", labels, duration.total_seconds())
