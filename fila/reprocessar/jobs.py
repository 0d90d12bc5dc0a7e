"""The sweep behind long runs."""

from datetime import datetime, timedelta

from core.jobs.registry import job
from fila.reprocessar import tasks


@job("retomar_reprocessamentos", cron="*/2 * * * *", sla=timedelta(minutes=15))
def retomar_reprocessamentos(now: datetime) -> dict[str, int]:
    """Offers runs of reprocessing to the cluster again that nobody took or finished. `processados`: how many."""
    return {"processados": tasks.offer_untaken(now)}
