"""Before the clusters start: their schedules as the registry of jobs says, told to whoever reads the log."""

import threading
from collections.abc import Callable
from datetime import datetime

from django.db import DatabaseError, InterfaceError, connection

from core import clock
from core.clock import BRASILIA
from core.jobs import registry, schedules
from core.jobs.cron import next_fire
from core.logging import FILE_ONLY, get_logger

RETRY_S = 5.0

log = get_logger(FILE_ONLY)


class Synchronisation:
    """Tried until the database takes it, in a thread of its own: the other roles do not wait for it."""

    def __init__(self, say: Callable[[str], None], *, url: str) -> None:
        self._say = say
        self._url = url
        self._done = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="agenda", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def is_done(self) -> bool:
        return self._done.is_set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                now = clock.now()
                try:
                    schedules.synchronise(now)
                except (DatabaseError, InterfaceError) as error:
                    connection.close()
                    reason = str(error).strip().partition("\n")[0]
                    self._say(f"Os jobs não puderam ser agendados ({reason}); nova tentativa em {RETRY_S:.0f} s.")
                    self._stopped.wait(RETRY_S)
                else:
                    for line in announcement(now, self._url):
                        self._say(line)
                        log.info(line)
                    self._done.set()
                    return
        finally:
            connection.close()


def announcement(now: datetime, url: str) -> list[str]:
    jobs = sorted(registry.registered(), key=lambda job: job.name)
    width = max((len(job.name) for job in jobs), default=0)
    cron_width = max((len(job.cron.text) for job in jobs), default=0)
    return [
        f"API: {url}",
        f"Fuso: {BRASILIA.key}",
        f"Hora atual: {now.astimezone(BRASILIA):%d/%m/%Y %H:%M:%S}",
        f"Jobs: {len(jobs)}",
        *(
            f"  {job.name:{width}}  {job.cron.text:{cron_width}}  próximo: "
            f"{next_fire(job.cron, now).astimezone(BRASILIA):%d/%m %H:%M}"
            for job in jobs
        ),
    ]
