"""How many calls a provider may begin: a slow one its share, none all of a consumer's senders."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from chips.choices import TipoMensagem
from core.database import execute
from fila.bulkhead import places
from fila.claim import Room
from fila.worker.steps import allowed_calls
from guardrails.policy import Policy
from tests import factories
from tests.chips.test_selection import NOW, chip
from tests.fila.attempts import look

EVOLUTION = [chip(n) for n in range(1, 5)]
ZAPI = [chip(n, provider="z-api") for n in range(5, 9)]


def test_a_provider_alone_may_take_every_sender() -> None:
    assert allowed_calls({}, EVOLUTION, {}, senders=8, now=NOW) == {}


@pytest.mark.parametrize(("held", "allowed"), [(0, 6), (5, 1), (6, 0), (8, 0)])
def test_beside_another_provider_none_may_take_all_senders(held: int, allowed: int) -> None:
    found = allowed_calls({}, EVOLUTION + ZAPI, {"evolution": held}, senders=8, now=NOW)
    assert found == {"evolution": allowed, "z-api": 6}


@pytest.mark.parametrize(("age_s", "allowed"), [(5, 0), (29, 0), (30, 1), (60, 1)])
def test_a_slow_provider_holds_its_share_until_a_hanging_call_has_had_its_trial(age_s: int, allowed: int) -> None:
    hanging = [chip(1, em_voo=True, em_voo_desde=NOW - timedelta(seconds=age_s)), chip(2)]
    found = allowed_calls({"evolution": 1, "z-api": None}, hanging + ZAPI, {}, senders=8, now=NOW)
    assert found == {"evolution": allowed, "z-api": 6}


def test_the_room_keeps_the_preferred_chips_of_a_provider_with_a_share() -> None:
    fleet = [chip(1, peso_hora=4), chip(2), *ZAPI]
    room = Room.of(fleet, Policy(), senders=8, now=NOW).within({"evolution": 1, "z-api": 2})
    assert [each.id.int for each in room.shortlists[TipoMensagem.PROSPECCAO].eligible] == [2, 5, 6]


def test_a_provider_without_a_limit_keeps_every_chip_beside_one_that_has() -> None:
    room = Room.of([*EVOLUTION, *ZAPI], Policy(), senders=8, now=NOW).within({"evolution": 0})
    assert [each.id.int for each in room.shortlists[TipoMensagem.PROSPECCAO].eligible] == [5, 6, 7, 8]


@pytest.mark.django_db
def test_a_batch_beside_no_slow_provider_opens_for_every_chip(open_operation: None) -> None:
    for _ in range(5):
        factories.chip()
    factories.mensagens(5, campanha=factories.campanha())
    assert len(look()) == 5


@pytest.mark.django_db
def test_two_consumers_that_look_at_once_begin_one_call_at_a_slow_provider(open_operation: None) -> None:
    """The second does not see the first's attempt yet: it waits a moment instead of guessing."""
    factories.chip(), factories.chip()
    execute("UPDATE circuits SET share = 1, slow_since = agora(), share_since = agora() WHERE name = 'evolution'")
    factories.mensagens(4, campanha=factories.campanha())
    (only,) = look()
    assert only.provider == "evolution"
    execute("UPDATE fila_mensagens SET agendar_para = agora() WHERE status = 'pendente'")
    assert look() == []


@pytest.mark.django_db(transaction=True)
def test_while_another_transaction_begins_a_call_there_is_no_place(open_operation: None) -> None:
    taken, done = threading.Event(), threading.Event()

    def other() -> None:
        with transaction.atomic():
            assert places({"evolution": 1}, [], NOW) == {"evolution": 1}
            taken.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    assert taken.wait(10)
    with transaction.atomic():
        assert places({"evolution": 1}, [], NOW) == {"evolution": 0}
    done.set()
    thread.join()
