"""The job of campaigns: starts what is due, goes on with what is unfinished, ends what is done."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import Error, connection

from core import correlation
from core.jobs.deadline import Deadline
from core.jobs.registry import job
from core.logging import get_logger
from fila.campanhas import lifecycle, upkeep
from fila.campanhas.editing import refuse_scheduled
from fila.campanhas.enqueue import RUNNING, continue_start
from fila.campanhas.errors import CampanhaConflict, CampanhaError, CampanhaInvalida
from fila.campanhas.models import Campanha
from fila.choices import CampanhaStatus

log = get_logger("fila.campanhas")

BUDGET = timedelta(seconds=45)  # of the minute; the batch in hand is finished


@job("processar_campanhas_agendadas", cron="* * * * *", sla=timedelta(minutes=3), critical=True)
def processar_campanhas_agendadas(now: datetime) -> dict[str, int]:
    """Starts due campaigns, resumes unfinished starts and concludes finished ones.

    `processados` counts campaigns started or concluded. One campaign that fails does not keep the others from their
    turn; the run fails afterwards.
    """
    round_ = _Round(now)
    counts = {
        "iniciadas": sum(round_.each(_due(now), round_.begin)),
        "enfileiradas": sum(round_.each(_unfinished(), round_.go_on)),
        "retomadas": round_.resumed,
        "recusadas": round_.refused,
        "concluidas": upkeep.conclude_finished(now=now),
        "prolongadas": upkeep.keep_alive(now=now),
        "replanejadas": upkeep.foretell_stranded(now=now),
    }
    if round_.errors:
        raise round_.errors[0]
    return {"processados": counts["iniciadas"] + counts["concluidas"], **counts}


def _due(now: datetime) -> list[int]:
    due = Campanha.objects.filter(status=CampanhaStatus.AGENDADA, agendar_para__lte=now)
    return list(due.order_by("agendar_para", "id").values_list("id", flat=True))


def _unfinished() -> list[int]:
    unfinished = Campanha.objects.filter(status__in=RUNNING, enfileirada_em=None)
    return list(unfinished.order_by("iniciada_em", "id").values_list("id", flat=True))


class _Round:
    """One run: what it has done so far and how long it may go on."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.deadline = Deadline(BUDGET)
        self.started: set[int] = set()
        self.resumed = 0
        self.refused = 0
        self.errors: list[Error | CampanhaError] = []

    def each(self, ids: list[int], act: Callable[[int], int]) -> list[int]:
        results = []
        for campanha_id in ids:
            if self.deadline.passed:
                break
            try:
                results.append(act(campanha_id))
            except (Error, CampanhaError) as error:
                log.exception("campanha com erro", campanha_id=campanha_id)
                if connection.in_atomic_block:  # nothing could be done in it any more
                    raise
                self.errors.append(error)
        return results

    def begin(self, campanha_id: int) -> int:
        try:
            lifecycle.begin(campanha_id, actor=upkeep.SYSTEM, now=self.now)
        except CampanhaConflict:
            return 0  # somebody else was faster
        except CampanhaInvalida as error:
            refuse_scheduled(campanha_id, erros=error.erros, actor=upkeep.SYSTEM)
            self.refused += 1
            return 0
        self.started.add(campanha_id)
        return 1

    def go_on(self, campanha_id: int) -> int:
        self.resumed += campanha_id not in self.started
        with correlation.use(_correlation_of(campanha_id)):
            return continue_start(campanha_id, now=self.now, deadline=self.deadline)


def _correlation_of(campanha_id: int) -> str | None:
    return Campanha.objects.values_list("correlation_id", flat=True).get(pk=campanha_id) or None
