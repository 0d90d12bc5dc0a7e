"""The correlation id goes with a task: from whoever queued it through the broker to the process that runs it.

django-q2 calls these hooks around every task, whoever's it is. What a failed one says is kept by django-q2 in a table
of its own and in the log: it is scrubbed first.
"""

from typing import Any

from django.dispatch import receiver
from django_q.signals import post_execute, post_execute_in_worker, pre_enqueue, pre_execute

from core import correlation
from core.scrubbing import scrubbed_text

_KEY = "correlation_id"
Task = dict[str, Any]


@receiver(pre_enqueue, dispatch_uid="core.jobs.tracing")
def _queued(task: Task, **_signal: Any) -> None:
    task.setdefault(_KEY, correlation.peek())


@receiver(pre_execute, dispatch_uid="core.jobs.tracing")
def _begins(task: Task, **_signal: Any) -> None:
    correlation.begin(task.get(_KEY, ""))


@receiver(post_execute_in_worker, dispatch_uid="core.jobs.tracing")
def _ends(task: Task, **_signal: Any) -> None:
    if not task.get("success", True):
        task["result"] = scrubbed_text(str(task.get("result", "")))
    task[_KEY] = correlation.peek()
    correlation.end()


@receiver(post_execute, dispatch_uid="core.jobs.tracing")
def _reported(task: Task, **_signal: Any) -> None:
    """In the process that writes results, where the line about a failure is logged next."""
    if not task.get("sync", False):
        correlation.end()
        correlation.begin(task.get(_KEY, ""))
