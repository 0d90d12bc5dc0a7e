"""The inbox: each event reaches its consumer once, and one that breaks never blocks another."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from chips.choices import InboxKind, InboxStatus
from chips.models import Chip
from chips.webhooks import connection as connection_events
from chips.webhooks import inbox
from chips.webhooks.models import EventoRecebido
from chips.webhooks.outcomes import Done, Ignore, Outcome, Received, Wait
from chips.webhooks.parsing import parse
from chips.webhooks.store import store
from core import correlation
from core.audit.models import AuditEntry
from core.clock import Agora
from core.database import execute
from tests import factories
from tests.chips.webhook_bodies import state, upsert

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)


@pytest.fixture
def chip(db: None) -> Chip:
    return factories.chip("chip-01")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> dict[InboxKind, Callable[[Received], Outcome]]:
    own: dict[InboxKind, Callable[[Received], Outcome]] = {InboxKind.CONEXAO: connection_events.handle}
    monkeypatch.setattr(inbox, "_handlers", own)
    return own


def stored(body: dict[str, Any], **columns: Any) -> EventoRecebido:
    """One event as its webhook would have left it."""
    before = set(EventoRecebido.objects.values_list("pk", flat=True))
    store(parse("evolution", body), body, provider="evolution", instance="chip-01")
    events = EventoRecebido.objects.exclude(pk__in=before)
    events.update(**columns) if columns else None
    return events.get()


def inbound(key_id: str, **columns: Any) -> EventoRecebido:
    return stored(upsert({"id": key_id}), **columns)


def status_of(event: EventoRecebido) -> tuple[str, int, str]:
    event.refresh_from_db()
    return event.status, event.tentativas, event.motivo


def due_now(event: EventoRecebido) -> None:
    EventoRecebido.objects.filter(pk=event.pk).update(proxima_em=Agora())


@pytest.fixture
def seen(handlers: Any, chip: Chip) -> list[Received]:
    """Handles inbound messages by remembering them."""
    taken: list[Received] = []

    def handler(received: Received) -> Outcome:
        taken.append(received)
        return Done("lida")

    handlers[InboxKind.ENTRADA] = handler
    return taken


def test_each_event_reaches_the_consumer_of_its_kind_once(seen: list[Received], chip: Chip) -> None:
    first, second = inbound("A"), inbound("B")
    assert inbox.process_inbox(limit=10, now=NOW) == 2
    assert inbox.process_inbox(limit=10, now=NOW) == 0
    assert [one.event.key_id for one in seen] == ["A", "B"]
    assert seen[0].chip == chip
    assert seen[0].parsed.text == "pode ser amanhã?"
    assert status_of(first) == status_of(second) == ("processado", 0, "lida")


def test_the_limit_leaves_the_rest_for_later(seen: list[Received]) -> None:
    for key_id in "ABC":
        inbound(key_id)
    assert inbox.process_inbox(limit=2, now=NOW) == 2
    assert inbox.process_inbox(limit=2, now=NOW) == 1


def test_a_kind_without_a_consumer_stays_where_it_is(handlers: Any, chip: Chip) -> None:
    event = inbound("A")
    assert inbox.process_inbox(limit=10, now=NOW) == 0
    assert status_of(event) == ("pendente", 0, "")


def test_a_kind_has_one_consumer(handlers: Any) -> None:
    handler = lambda received: Done()  # noqa: E731
    inbox.register_handler(InboxKind.RECIBO, handler)
    inbox.register_handler(InboxKind.RECIBO, handler)
    with pytest.raises(ValueError, match="consumer already"):
        inbox.register_handler(InboxKind.RECIBO, lambda received: Done())


def test_the_work_of_an_event_runs_under_its_correlation_id(handlers: Any, chip: Chip) -> None:
    found = []

    def handler(received: Received) -> Outcome:
        found.append(correlation.get())
        return Done()

    handlers[InboxKind.ENTRADA] = handler
    inbound("A", correlation_id="abc12345")
    inbox.process_inbox(limit=10, now=NOW)
    assert found == ["abc12345"]


def poisoned(handlers: Any, error: BaseException) -> None:
    """Inbound message A breaks after writing something; every other one is fine."""

    def handler(received: Received) -> Outcome:
        if received.event.key_id == "A":
            Chip.objects.update(cooldown_motivo="meio caminho")
            raise error
        return Done()

    handlers[InboxKind.ENTRADA] = handler


@pytest.mark.parametrize("error", [KeyError("data"), ValueError("x"), AttributeError("None"), RecursionError("deep")])
def test_a_poisoned_event_does_not_block_the_rest_and_leaves_nothing_half_done(
    handlers: Any, chip: Chip, error: Exception
) -> None:
    poisoned(handlers, error)
    bad, good = inbound("A"), inbound("B")
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(good)[0] == "processado"
    assert status_of(bad) == ("pendente", 1, f"{type(error).__name__}: {error}")
    chip.refresh_from_db()
    assert chip.cooldown_motivo == ""


def test_a_broken_statement_is_contained_too(handlers: Any, chip: Chip) -> None:
    def handler(received: Received) -> Outcome:
        Chip.objects.update(status="nao_existe")
        return Done()

    handlers[InboxKind.ENTRADA] = handler
    event = inbound("A")
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event)[:2] == ("pendente", 1)


def test_after_three_tries_an_event_is_an_error_with_its_reason(handlers: Any, chip: Chip) -> None:
    poisoned(handlers, ValueError("número 5511900001234 sem sentido"))
    event = inbound("A")
    for _ in range(4):
        due_now(event)
        inbox.process_inbox(limit=10, now=NOW)
    status, tries, motivo = status_of(event)
    assert (status, tries) == ("erro", 3)
    assert motivo.startswith("ValueError")
    assert "90000" not in motivo


def test_between_tries_an_event_waits(handlers: Any, chip: Chip) -> None:
    poisoned(handlers, ValueError("x"))
    event = inbound("A")
    inbox.process_inbox(limit=10, now=NOW)
    assert inbox.process_inbox(limit=10, now=NOW) == 0
    assert status_of(event)[1] == 1


class Unforeseen(Exception):
    """What no handler announces."""


def test_even_what_nobody_foresaw_is_counted_before_it_comes_out(handlers: Any, chip: Chip) -> None:
    poisoned(handlers, Unforeseen())
    bad, good = inbound("A"), inbound("B")
    with pytest.raises(Unforeseen):
        inbox.process_inbox(limit=10, now=NOW)
    assert status_of(bad)[:2] == ("pendente", 1)
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(good)[0] == "processado"


@pytest.mark.parametrize(
    ("age", "pause"),
    [
        (timedelta(seconds=1), timedelta(seconds=2)),
        (timedelta(minutes=1), timedelta(seconds=30)),
        (timedelta(minutes=20), timedelta(minutes=10)),
        (timedelta(hours=40), timedelta(hours=1)),
    ],
)
def test_what_waits_for_its_message_is_asked_again_at_growing_distance(
    handlers: Any, chip: Chip, age: timedelta, pause: timedelta
) -> None:
    handlers[InboxKind.ENTRADA] = lambda received: Wait("ainda não há tentativa")
    event = inbound("A", recebido_em=NOW - age)
    before = EventoRecebido.objects.annotate(agora=Agora()).get().agora
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event) == ("aguardando", 0, "ainda não há tentativa")
    assert timedelta() <= event.proxima_em - before - pause < timedelta(seconds=5)


def test_what_waited_is_processed_when_its_message_is_there(handlers: Any, chip: Chip) -> None:
    answers: list[Outcome] = [Wait("ainda não"), Done("achada")]
    handlers[InboxKind.ENTRADA] = lambda received: answers.pop(0)
    event = inbound("A")
    inbox.process_inbox(limit=10, now=NOW)
    due_now(event)
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event) == ("processado", 0, "achada")


def test_after_48_hours_nothing_waits_any_more(handlers: Any, chip: Chip) -> None:
    handlers[InboxKind.ENTRADA] = lambda received: Wait("ainda não há tentativa")
    event = inbound("A", recebido_em=NOW - timedelta(hours=48))
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event) == ("ignorado", 0, "48 h sem resposta: ainda não há tentativa")


def test_what_a_consumer_ignores_is_kept_with_the_reason(handlers: Any, chip: Chip) -> None:
    handlers[InboxKind.ENTRADA] = lambda received: Ignore("chip de coleta")
    event = inbound("A")
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event) == ("ignorado", 0, "chip de coleta")


def test_an_event_of_a_chip_that_is_gone_is_ignored(seen: list[Received], chip: Chip) -> None:
    event = inbound("A")
    chip.delete()
    inbox.process_inbox(limit=10, now=NOW)
    assert status_of(event)[0] == InboxStatus.IGNORADO
    assert seen == []


@pytest.mark.django_db(transaction=True)
def test_an_event_that_another_consumer_holds_is_skipped_without_waiting(seen: list[Received]) -> None:
    held, free = inbound("A"), inbound("B")
    other = connections.create_connection("default")
    execute("SET lock_timeout = '2s'")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM webhook_eventos WHERE id = %s FOR UPDATE", [held.pk])
            assert inbox.process_inbox(limit=10, now=NOW) == 1
        other.rollback()
    finally:
        other.close()
        execute("RESET lock_timeout")
    assert [one.event.pk for one in seen] == [free.pk]
    assert inbox.process_inbox(limit=10, now=NOW) == 1


# --- connection


def connect_event(value: str, reason: int = 200, *, at: datetime = NOW) -> None:
    stored(state(value, reason, at=f"{at:%H:%M:%S}"), recebido_em=at)
    inbox.process_inbox(limit=10, now=at)


def connection_of(chip: Chip) -> tuple[bool, str, datetime | None]:
    chip.refresh_from_db()
    return chip.evolution_connected, chip.connection_state, chip.disconnected_since


@pytest.mark.parametrize(
    ("value", "reason", "status"),
    [
        ("connecting", 200, "active"),
        ("close", 402, "active"),
        ("close", 406, "active"),
        ("close", 401, "paused"),
        ("close", 403, "banned"),
        ("refused", 500, "active"),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_only_401_and_403_touch_the_status(chip: Chip, value: str, reason: int, status: str) -> None:
    connect_event(value, reason)
    assert connection_of(chip) == (False, value, NOW)
    assert chip.status == status


@pytest.mark.usefixtures("handlers")
def test_a_ban_is_dated_and_audited(chip: Chip) -> None:
    connect_event("close", 403)
    chip.refresh_from_db()
    assert chip.banned_at == NOW
    entry = AuditEntry.objects.get()
    assert (entry.acao, entry.entidade_id, entry.usuario) == ("chip_banido", str(chip.pk), "sistema")
    assert entry.detalhes == {"antes": "active", "depois": "banned"}


@pytest.mark.usefixtures("handlers")
def test_open_connects_again_and_does_not_unpause(chip: Chip) -> None:
    connect_event("close", 401)
    connect_event("open", at=NOW + timedelta(minutes=5))
    assert connection_of(chip) == (True, "open", None)
    assert chip.status == "paused"


@pytest.mark.usefixtures("handlers")
def test_disconnected_since_is_the_first_of_a_burst(chip: Chip) -> None:
    for second in range(3):
        connect_event("connecting", at=NOW + timedelta(seconds=second))
    assert connection_of(chip) == (False, "connecting", NOW)
    assert chip.connection_checked_at == NOW + timedelta(seconds=2)


@pytest.mark.usefixtures("handlers")
def test_an_older_event_does_not_undo_a_newer_one(chip: Chip) -> None:
    connect_event("open", at=NOW)
    connect_event("close", 401, at=NOW - timedelta(seconds=1))
    assert connection_of(chip) == (True, "open", None)
    assert chip.status == "active"


@pytest.mark.usefixtures("handlers")
def test_a_ban_counts_even_when_a_newer_check_is_known(chip: Chip) -> None:
    connect_event("open", at=NOW)
    connect_event("close", 403, at=NOW - timedelta(seconds=1))
    chip.refresh_from_db()
    assert chip.status == "banned"


@pytest.mark.usefixtures("handlers")
def test_the_same_close_twice_is_one_change(chip: Chip) -> None:
    connect_event("close", 403)
    connect_event("close", 403, at=NOW + timedelta(seconds=1))
    chip.refresh_from_db()
    assert chip.banned_at == NOW
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("status", ["provisioned", "pending", "cancelled", "paused"])
@pytest.mark.usefixtures("handlers")
def test_a_chip_that_was_not_working_is_not_paused(chip: Chip, status: str) -> None:
    Chip.objects.update(status=status)
    connect_event("close", 401)
    chip.refresh_from_db()
    assert chip.status == status
