"""The jobs of simulated time: each planned slot goes through the production runner, which writes its execution."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from core.jobs import registry, runner
from core.jobs.cron import matches
from core.jobs.registry import Job

MINUTE = timedelta(minutes=1)
#: Jobs whose work the simulation needs. The others run too, slot by slot, but with nothing inside: an alert reads that
#: a job ran and how it ended, never what it did.
REAL = frozenset({"heartbeat", "processar_campanhas_agendadas", "verificar_whatsapp"})


class JobBroke(RuntimeError):
    """What a job raises while a fault says that it fails."""


class Agenda:
    """Which slots are due and whether they run. `parados` do not run at all, `quebrados` run and fail."""

    def __init__(self, since: datetime) -> None:
        self.parados: set[str] = set()
        self.quebrados: set[str] = set()
        self.runs = 0
        self._newest: dict[str, datetime] = {}
        self._minute = since.replace(second=0, microsecond=0)

    def tick(self, now: datetime, *, alive: bool) -> None:
        """Run the newest slot of every job that fell due since the last tick; with no scheduler alive they are lost.

        A tick that comes after several minutes runs each job once, as django-q2 does after it was busy.
        """
        last, self._minute = self._minute, now.replace(second=0, microsecond=0)
        if not alive or last == self._minute:
            return
        minutes = [self._minute - each * MINUTE for each in range(int((self._minute - last) / MINUTE))]
        for job in registry.registered():
            if job.name in self.parados:
                continue
            planned = next((minute for minute in minutes if matches(job.cron, minute)), None)
            if planned is not None:
                self._run(job.name, now, slot=job.slot_of(planned))

    def run_now(self, name: str, now: datetime) -> None:
        """As a person does it in the backoffice."""
        self._run(name, now, origem="manual")

    def since_last_run(self, name: str, span: timedelta, now: datetime) -> timedelta:
        """How long until `span` will have passed since the job last ran; one second where it has."""
        return max(self._newest.get(name, now) + span - now, timedelta(seconds=1))

    def _run(self, name: str, now: datetime, **values: Any) -> None:
        runner.run(name, now=now, **values)
        self._newest[name] = now
        self.runs += 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """While the block lasts the registry's jobs are ours to break, and empty but for `REAL`."""
        before = dict(registry._jobs)
        for name, job in before.items():
            registry._jobs[name] = replace(job, function=self._breakable(job))
        try:
            yield
        finally:
            registry._jobs.update(before)

    def _breakable(self, job: Job) -> Any:
        def run(now: datetime, **values: Any) -> Any:
            if job.name in self.quebrados:
                raise JobBroke("falha de propósito deste exercício")
            return job.function(now, **values) if job.name in REAL else {"processados": 0}

        return run
