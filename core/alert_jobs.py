"""Jobs that look at the alerts of core: the evaluator's own code, for whoever calls it by hand or by schedule."""

from datetime import datetime, timedelta

from core.alert_rules import late_jobs
from core.alerts.evaluator import evaluate
from core.jobs.registry import job


@job("verificar_alertas", cron="*/15 * * * *", sla=timedelta(minutes=45))
def verificar_alertas(now: datetime) -> dict[str, int]:
    """Asks every alert rule once. The supervisors do the same every 30 s; this run counts in the jobs' history.

    `processados` counts the alerts told of (opened, reminded, escalated) by this look.
    """
    looked = evaluate(now)
    return {
        "processados": looked.notified,
        "abertos": looked.opened,
        "resolvidos": looked.resolved,
        "regras_quebradas": len(looked.failures),
    }


@job("verificar_jobs_atrasados", cron="*/5 * * * *", sla=timedelta(minutes=15))
def verificar_jobs_atrasados(now: datetime) -> dict[str, int]:
    """Asks which jobs are later than min(2 x interval, SLA) (S-36 T03.6). `processados` counts them."""
    looked = evaluate(now, only=("job_atrasado",))
    return {"processados": len(late_jobs(now)), "alertas": looked.notified}
