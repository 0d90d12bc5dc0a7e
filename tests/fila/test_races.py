"""Several consumers and several wills at once, judged by the wire and by commit order."""

import asyncio
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from chips.models import Tentativa
from chips.simulator.client import SimulatorProcess
from core.clock import database_now
from core.database import execute
from fila.conversas.opt_out import opt_out
from fila.models import Mensagem
from fila.worker.loop import Drain
from tests import factories
from tests.conftest import connect

pytestmark = pytest.mark.django_db(transaction=True)


def drain_with(consumers: int, *, seconds: float = 40.0, meanwhile: Callable[[], None] | None = None) -> None:
    """Several consumers, each with its own connections, until the fila is empty; `meanwhile` runs beside them."""

    async def main() -> None:
        drains = [Drain(f"c{n}", senders=8, rng=random.Random(n)) for n in range(consumers)]
        await asyncio.gather(*(each.run(deadline_s=seconds, until_empty=True) for each in drains))

    beside = threading.Thread(target=_and_close(meanwhile)) if meanwhile else None
    if beside:
        beside.start()
    asyncio.run(main())
    if beside:
        beside.join()


def _and_close(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    return run


def test_three_consumers_send_each_message_once(simulator: SimulatorProcess, open_operation: None) -> None:
    connect(simulator, *(factories.chip() for _ in range(6)))
    for _ in range(3):
        factories.mensagens(60, campanha=factories.campanha())
    drain_with(3)
    truth = simulator.truth()
    assert (truth.total, truth.duplicates) == (180, [])
    assert Mensagem.objects.filter(status="enviada").count() == 180


def test_three_consumers_never_exceed_a_chips_limits(simulator: SimulatorProcess, open_operation: None) -> None:
    chips = [factories.chip(limite_hora=20, limite_dia=20) for _ in range(3)]
    connect(simulator, *chips)
    factories.mensagens(60, campanha=factories.campanha())
    drain_with(3, seconds=8)
    assert {chip: totals.sent for chip, totals in simulator.truth().totals.items()} == {
        chip.instance_name: 10 for chip in chips
    }, "a campaign message weighs 2"
    assert Mensagem.objects.filter(status="pendente").count() == 30


def test_three_consumers_never_exceed_the_global_budget(simulator: SimulatorProcess, open_operation: None) -> None:
    factories.set_setting("limite_global_hora", 25)
    connect(simulator, *(factories.chip() for _ in range(6)))
    factories.mensagens(40, campanha=factories.campanha())
    drain_with(3, seconds=8)
    assert simulator.truth().total == 12


def test_ten_messages_for_one_person_at_once_become_exactly_three(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    connect(simulator, *(factories.chip() for _ in range(10)))
    person = factories.cliente()
    for _ in range(10):
        factories.mensagem(cliente=person)
    soon = timedelta(seconds=5)
    while Mensagem.objects.pendentes().filter(agendar_para__lt=database_now() + soon).exists():
        simulator.wait_until(lambda: Mensagem.objects.due().exists(), timeout_s=5)
        drain_with(3, seconds=8)
    assert simulator.truth().total == 3
    assert set(Mensagem.objects.exclude(status="enviada").values_list("outcome_reason_code", flat=True)) == {
        "daily_limit"
    }


def test_no_attempt_begins_after_an_opt_out_commits(simulator: SimulatorProcess, open_operation: None) -> None:
    connect(simulator, *(factories.chip() for _ in range(4)))
    messages = factories.mensagens(120, campanha=factories.campanha())
    left: dict[UUID, datetime] = {}

    def leave_one_after_the_other() -> None:
        for message in messages[::3]:
            opt_out(message.cliente_id, origem="mensagem", motivo="pediu para sair", actor="teste", now=database_now())
            left[message.cliente_id] = database_now()

    drain_with(2, meanwhile=leave_one_after_the_other)
    late = [
        attempt
        for attempt in Tentativa.objects.filter(cliente_id__in=left)
        if attempt.cliente_id and attempt.iniciado_em > left[attempt.cliente_id]
    ]
    assert late == []
    ends = set(Mensagem.objects.filter(cliente_id__in=left).values_list("status", flat=True))
    assert ends <= {"enviada", "bloqueada"}
    assert Mensagem.objects.filter(status="bloqueada").exists()


def test_no_attempt_begins_after_a_pause_by_hand_commits(simulator: SimulatorProcess, open_operation: None) -> None:
    connect(simulator, *(factories.chip() for _ in range(4)))
    simulator.adjust(latency_ms=[20, 40])
    campanha = factories.campanha()
    factories.mensagens(120, campanha=campanha)
    paused: list[datetime] = []

    def pause_when_some_left() -> None:
        simulator.wait_for(lambda truth: truth.total >= 20)
        execute("UPDATE campanhas SET status='pausada' WHERE id=%s", [campanha.id])
        paused.append(database_now())

    drain_with(2, meanwhile=pause_when_some_left)
    assert not Tentativa.objects.filter(iniciado_em__gt=paused[0]).exists()
    assert Mensagem.objects.filter(status="pendente").count() > 0
    assert Mensagem.objects.filter(status__in=["pendente", "enviada"]).count() == 120
