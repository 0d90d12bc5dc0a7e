"""docs/jobs.md: what the registry knows of each job, for people."""

from collections.abc import Iterator
from datetime import timedelta

from core.jobs.registry import Job, Perdida, registered

HEAD = """# Jobs

Written by `python manage.py documentar_jobs` from the registry (`core/jobs/registry.py`); a test holds it equal.

Times of day are Brasília. Each planned instant runs once, however many schedulers there are, and every run is a row of
`job_executions`, shown in the backoffice under Jobs. A run that finds its predecessor alive is recorded as skipped.

The SLA says how old a job's newest run may be: stale is one that has not run by the planned instant after its newest
run plus (SLA - interval), weekday-only and half-hourly jobs plus at most an hour. Outside its window of hours or days
a job is never late. A person is told after min(2 x interval, SLA). Three faults are kept apart: a run that began more
than two minutes after its planned instant, a job of which nothing has begun in time, and a run that takes longer than
the job declares. Each job says what becomes of a planned instant that nothing ran at; the run that comes instead says
in its result since when instants were missed.

With `dry_run=true` a job that has it runs for at most 20 s and everything it wrote is taken back: its counts are what
it would have done. In the backoffice such jobs ask for a motivo when they are not rehearsed.

Run one by hand:

```
python manage.py executar_job NOME --param nome=valor
curl -X POST -H "Authorization: Bearer $JOBS_TOKEN" "http://127.0.0.1:8000/jobs/CAMINHO?nome=valor"
```

On a developer's own machine (`APP_ENV=dev`, loopback, no proxy) the call needs no token.

| Job | Schedule | SLA | Critical | Cluster | Path |
|---|---|---|---|---|---|
"""


def render() -> str:
    jobs = sorted(registered(), key=lambda job: job.name)
    return HEAD + "".join(map(_row, jobs)) + "".join(line for job in jobs for line in _section(job))


def _row(job: Job) -> str:
    critical = "yes" if job.critical else "no"
    return (
        f"| [`{job.name}`](#{job.name}) | `{job.cron.text}` | {_spoken(job.sla)} | {critical} | {job.cluster.value} "
        f"| `/jobs/{job.path}` |\n"
    )


def _section(job: Job) -> Iterator[str]:
    yield f"\n## {job.name}\n\n{job.description}\n\n"
    yield f"In `{job.function.__module__}`. It may take {_spoken(job.longest)}"
    yield f"; {_missed(job)}.\n"
    if job.aliases:
        yield "Also at " + ", ".join(f"`/jobs/{alias}`" for alias in job.aliases) + ".\n"
    if job.params:
        yield "\n| Parameter | Type | Default |\n|---|---|---|\n"
        for param in job.params.values():
            yield f"| `{param.name}` | {param.type.__name__} | `{param.default}` |\n"


def _missed(job: Job) -> str:
    if job.perdida is Perdida.PULA:
        return "a missed instant is given up"
    return f"a missed instant runs once, unless it is more than {_spoken(job.catch_up)} ago"


def _spoken(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
