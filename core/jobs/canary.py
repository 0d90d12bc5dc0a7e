"""A canary for each cluster: a task that does nothing, and whose return proves that all the others can pass.

It goes from the pusher through a worker to the monitor, like any task. It is made by the cluster's own broker object
(`core.jobs.brokers`) and stored nowhere: it needs no address between machines, and a stuck cluster collects none.
"""

import threading
import time
from typing import Any
from uuid import uuid4

from django.utils import timezone
from django_q.conf import Conf
from django_q.signals import post_execute, post_execute_in_worker, pre_execute
from django_q.signing import SignedPackage

from core.health import beats, progress

FUNCTION = "core.jobs.canary.sing"
LONGEST_TASK_S = (Conf.TIMEOUT or 300) + 10  # past its timeout django-q2 ends a task: it excuses nothing any more


def sing() -> None:
    """The canary itself."""


def echo(word: str) -> dict[str, str]:
    """The canary of `manage.py smoke`: what it was told, and by whom it was carried."""
    return {"palavra": word, "maquina": beats.machine()}


def package(function: str = FUNCTION, *args: str) -> tuple[str, str]:
    """(task id, the task as a broker hands it over: signed). The canary itself is neither saved nor acknowledged."""
    task_id = uuid4().hex
    signed: str = SignedPackage.dumps(
        {
            "id": task_id,
            "name": "canario",
            "func": function,
            "args": args,
            "kwargs": {},
            "started": timezone.now(),
            "save": function != FUNCTION,
            "ack_failure": True,
        }
    )
    return task_id, signed


class Busy:
    """While this process works on a task a thread of its own says so: a canary behind long tasks is late, not lost.

    A process that is stopped or dead says nothing, and neither does one past the longest time a task may take.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._thread: threading.Thread | None = None

    def begin(self, **_: Any) -> None:
        if not progress.is_supervised():
            return
        self._since = time.monotonic()
        if self._thread is None or not self._thread.is_alive():  # a fork leaves the thread behind
            self._thread = threading.Thread(target=self._tell, name="ocupado", daemon=True)
            self._thread.start()

    def end(self, **_: Any) -> None:
        self._since = None

    def is_at_work(self, now: float) -> bool:
        since = self._since
        return since is not None and now - since < LONGEST_TASK_S

    def _tell(self) -> None:
        while True:
            time.sleep(progress.every_s() / 2)
            if self.is_at_work(time.monotonic()):
                progress.beat(progress.BUSY)


def _returned(*, task: dict[str, Any], **_: Any) -> None:
    """In the monitor, once the result has come back."""
    if task["func"] == FUNCTION:
        progress.beat(progress.CANARY)


_busy = Busy()
pre_execute.connect(_busy.begin, dispatch_uid="canary busy")
post_execute_in_worker.connect(_busy.end, dispatch_uid="canary free")
post_execute.connect(_returned, dispatch_uid="canary returned")
