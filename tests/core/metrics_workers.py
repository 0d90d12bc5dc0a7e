"""Real processes that count: `python -m tests.core.metrics_workers ROLE` (with DATABASE_URL and APP_ENV set)."""

import multiprocessing
import os
import sys
import time

import django

LABELS = {"integration": "slack", "operation": "post", "status": "success"}


def count(times: int) -> None:
    from core.metrics import counters

    for _ in range(times):
        counters.inc("integration_requests_total", LABELS)
        counters.observe("integration_request_duration_seconds", LABELS, 0.25)


def ends_in_order() -> None:
    count(1000)


def forks() -> None:
    """Counts, then forks children that count: each writes its own, the child nothing of its parent's."""
    count(10)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=count, args=(100,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def is_killed() -> None:
    """Counts, says so once the table has it, counts again and waits to be killed."""
    from core.metrics import store

    count(7)
    while not store.read():
        time.sleep(0.01)
    count(5)
    print("contado", flush=True)
    time.sleep(60)


def scrapes() -> None:
    from core.clock import database_now
    from core.metrics.exposition import exposition

    print("\n".join(line for line in exposition(database_now()).splitlines() if "integration_" in line))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "julia.settings")
    django.setup()
    {each.__name__: each for each in (ends_in_order, forks, is_killed, scrapes)}[sys.argv[1]]()
