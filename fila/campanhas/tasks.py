"""What django-q2 calls. The broker carries an id; the row says what is to be done."""

from datetime import timedelta

from core import clock, correlation
from core.jobs.deadline import Deadline
from fila.campanhas.enqueue import continue_start
from fila.campanhas.models import Campanha

LONGEST = timedelta(seconds=240)  # the cluster ends a task after 300 s; what is left is for the job of every minute


def continue_enqueue(campanha_id: int) -> int:
    """Go on with a started campaign; returns how many messages were enqueued. Harmless twice or too late."""
    campanha = Campanha.objects.filter(pk=campanha_id).first()
    if campanha is None:
        return 0
    with correlation.use(campanha.correlation_id or None):
        return continue_start(campanha_id, now=clock.database_now(), deadline=Deadline(LONGEST))
