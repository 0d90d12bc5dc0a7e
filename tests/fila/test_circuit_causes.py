"""An opening of a circuit names the messages whose calls failed before it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chips.models import Chip
from core.circuits.causes import causes_of
from core.circuits.models import CircuitTransition
from core.circuits.names import of_chip
from core.clock import database_now
from fila.models import Mensagem
from tests import factories
from tests.julia.backoffice import attempt

pytestmark = pytest.mark.django_db


def opening(name: str, at: datetime, failures: int) -> CircuitTransition:
    return CircuitTransition.objects.create(
        circuit_name=name, from_state="closed", to_state="open", reason=f"muitas_falhas_{failures}",
        falhas_consecutivas=failures, created_at=at,
    )  # fmt: skip


def failed(chip: Chip, at: datetime, **values: Any) -> Mensagem:
    message = factories.mensagem()
    attempt(message, chip, iniciado_em=at, encerrado_em=at + timedelta(seconds=1), regra="rede.recusada", **values)
    return message


def named(transition: CircuitTransition) -> list[str]:
    return [cause.label for cause in causes_of([transition]).get(transition.id, [])]


def test_the_last_failures_of_that_provider_stand_beside_the_opening_newest_first() -> None:
    now = database_now()
    evolution, zapi = factories.chip(), factories.chip(provider="z-api")
    older, first, second = (failed(evolution, now - timedelta(minutes=back)) for back in (9, 3, 2))
    failed(zapi, now - timedelta(minutes=1))
    told = named(opening("evolution", now, failures=2))
    assert told == [f"mensagem {str(message.id)[:8]}" for message in (second, first)]
    assert str(older.id)[:8] not in "".join(told)


def test_what_was_sent_or_ended_after_the_opening_is_no_cause() -> None:
    now = database_now()
    chip = factories.chip()
    failed(chip, now - timedelta(minutes=2), resultado="enviado")
    failed(chip, now + timedelta(seconds=30))
    assert named(opening("evolution", now, failures=5)) == []


def test_a_chips_circuit_names_the_calls_of_that_chip() -> None:
    now = database_now()
    ours, other = factories.chip(), factories.chip()
    mine = failed(ours, now - timedelta(minutes=2))
    failed(other, now - timedelta(minutes=1))
    assert named(opening(of_chip(ours.id), now, failures=3)) == [f"mensagem {str(mine.id)[:8]}"]


def test_a_page_of_changes_costs_two_statements() -> None:
    now = database_now()
    chip = factories.chip()
    failed(chip, now - timedelta(minutes=1))
    changes = [opening(name, now, failures=1) for name in ("evolution", "zapi", of_chip(chip.id)) for _ in range(4)]
    with CaptureQueriesContext(connection) as queries:
        causes_of(changes)
    assert len(queries) == 2
