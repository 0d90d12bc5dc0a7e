"""Who knows better about a connection when two write at once: real threads, real row locks."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from chips.models import Chip
from chips.monitor import store
from chips.monitor.rules import judge
from chips.providers.base import ConnectionState, State
from chips.webhooks import connection as webhook
from core.clock import database_now
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

Start = Callable[[Callable[[], Any]], threading.Thread]
MINUTE = timedelta(minutes=1)


def fresh(chip: Chip) -> Chip:
    return Chip.objects.get(pk=chip.pk)


def found(chip: Chip, answer: ConnectionState, asked_at: datetime) -> store.Found:
    (target,) = store.targets([chip.pk])
    return store.Found(target, judge(target.known, answer, asked_at=asked_at), asked_at)


CLOSED, OPEN = ConnectionState(False, State.CLOSE), ConnectionState(True, State.OPEN)


@pytest.fixture
def elsewhere() -> Iterator[Start]:
    """Runs something on a connection of its own, in a thread that is joined at the end."""
    threads: list[threading.Thread] = []

    def start(work: Callable[[], Any]) -> threading.Thread:
        def main() -> None:
            try:
                work()
            finally:
                connections.close_all()

        thread = threading.Thread(target=main)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(20)


def wait_for_a_waiting_lock() -> None:
    with connection.cursor() as cursor:
        for _ in range(2000):
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')")
            if cursor.fetchone():
                return
            cursor.execute("SELECT pg_sleep(0.005)")
    raise AssertionError("nobody waits for the row")


@pytest.mark.parametrize(("webhook_says", "check_says"), [("open", CLOSED), ("close", OPEN)])
def test_a_webhook_that_commits_while_the_check_waits_for_the_row_wins(
    elsewhere: Start, webhook_says: str, check_says: ConnectionState
) -> None:
    chip = factories.chip()
    asked_at = database_now()
    written: list[set[UUID]] = []
    with transaction.atomic():
        webhook.apply(chip.pk, webhook_says, status_reason=402, at=asked_at + MINUTE)
        thread = elsewhere(lambda: written.append(store.write([found(chip, check_says, asked_at)])))
        wait_for_a_waiting_lock()
    thread.join(20)
    assert written == [set()]
    assert (fresh(chip).connection_state, fresh(chip).evolution_connected) == (webhook_says, webhook_says == "open")
    assert fresh(chip).conexao_falhas == 0


def test_a_webhook_older_than_the_check_does_not_undo_it(
    elsewhere: Start,
) -> None:
    chip = factories.chip()
    asked_at = database_now()
    applied: list[bool] = []
    with transaction.atomic():
        assert store.write([found(chip, CLOSED, asked_at)]) == {chip.pk}
        late = asked_at - timedelta(seconds=1)
        thread = elsewhere(lambda: applied.append(webhook.apply(chip.pk, "open", status_reason=200, at=late)))
        wait_for_a_waiting_lock()
    thread.join(20)
    assert (applied, fresh(chip).evolution_connected) == ([False], False)


def test_two_checks_at_once_count_once(elsewhere: Start) -> None:
    chip = factories.chip()
    both = [found(chip, CLOSED, database_now()) for _ in range(2)]
    start = threading.Barrier(2)
    written: list[set[UUID]] = []

    def race(one: store.Found) -> None:
        start.wait(10)
        written.append(store.write([one]))

    threads = [elsewhere(partial(race, one)) for one in both]
    for thread in threads:
        thread.join(20)
    assert sorted(map(len, written)) == [0, 1]
    assert fresh(chip).conexao_falhas == 1
