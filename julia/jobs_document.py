"""docs/jobs.md: what the registry knows of each job, for people."""

from collections.abc import Iterator
from datetime import timedelta

from core.jobs.registry import Job, registered

HEAD = """# Jobs

Written by `python manage.py documentar_jobs` from the registry (`core/jobs/registry.py`); a test holds it equal.

Times of day are Brasília. Each planned instant runs once, however many schedulers there are, and every run is a row of
`job_executions`, shown in the backoffice under Jobs. The SLA says how old a job's newest run may be. A run that finds
its predecessor alive is recorded as skipped.

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
    yield f"; an instant missed by more than {_spoken(job.catch_up)} is given up.\n"
    if job.aliases:
        yield "Also at " + ", ".join(f"`/jobs/{alias}`" for alias in job.aliases) + ".\n"
    if job.params:
        yield "\n| Parameter | Type | Default |\n|---|---|---|\n"
        for param in job.params.values():
            yield f"| `{param.name}` | {param.type.__name__} | `{param.default}` |\n"


def _spoken(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
