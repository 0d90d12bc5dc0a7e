"""The worker beats whatever it waits for: nothing to do, the pace of a chip, an open circuit, a long call."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core.circuits import services as circuits
from core.circuits.names import EVOLUTION
from core.database import execute, rows
from fila.models import Mensagem
from fila.worker import process
from fila.worker.process import WorkerProcess
from tests import factories
from tests.conftest import connect

pytestmark = pytest.mark.django_db(transaction=True)

BEAT_S = 0.1
BEATS = 6


@pytest.fixture
def chip(simulator: SimulatorProcess, open_operation: None, monkeypatch: pytest.MonkeyPatch) -> Chip:
    monkeypatch.setattr(process, "BEAT_EVERY_S", BEAT_S)
    chip = factories.chip()
    connect(simulator, chip)
    return chip


def beats_while(holds: Callable[[], bool]) -> None:
    """Run the worker; once the situation holds its beat must move `BEATS` times, and it holds all the while."""

    def watch() -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, "the situation never came"
            time.sleep(0.02)
        seen: set[Any] = set()
        while len(seen) < BEATS:
            assert time.monotonic() < deadline, f"{len(seen)} beats"
            seen |= {row["beat_at"] for row in rows("SELECT beat_at FROM role_beats WHERE encerrado_em IS NULL")}
            time.sleep(BEAT_S / 4)
        assert holds()

    async def main() -> None:
        worker = WorkerProcess(senders=2, seed=1)
        running = asyncio.create_task(worker.run())
        try:
            await asyncio.to_thread(in_a_thread, watch)
        finally:
            worker.drain.stop()
            await running

    asyncio.run(main())


def in_a_thread(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        connections.close_all()


def has_status(status: str) -> bool:
    return [row["status"] for row in rows("SELECT status FROM fila_mensagens")] == [status]


def test_while_idle(chip: Chip) -> None:
    beats_while(lambda: not Mensagem.objects.exists())


def test_while_it_waits_between_two_messages_of_a_chip(chip: Chip) -> None:
    execute("UPDATE chips SET proximo_envio_em = agora() + interval '10 minutes'")
    factories.mensagem()
    beats_while(lambda: has_status("pendente"))


def test_behind_an_open_circuit(chip: Chip) -> None:
    circuits.force_open(EVOLUTION, actor="teste", motivo="o provedor está em manutenção")
    factories.mensagem()
    beats_while(lambda: has_status("pendente"))


def test_while_a_call_stays_open(chip: Chip, simulator: SimulatorProcess) -> None:
    simulator.adjust(latency_ms=[3000, 3000])
    factories.mensagem()
    beats_while(lambda: len(simulator.truth().open_calls) == 1)
