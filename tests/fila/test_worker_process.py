"""`manage.py fila_worker` as the operating system sees it: it starts, works, loses its database, and ends in order."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from django.conf import settings
from django.db import DataError

from chips.models import Chip, Tentativa
from chips.simulator.client import SimulatorProcess
from core.database import execute, rows
from core.health.models import RoleBeat
from fila.models import Mensagem
from fila.results import Settled
from fila.settle import settle
from fila.worker import loop, process
from fila.worker.loop import Drain
from fila.worker.process import WorkerProcess
from guardrails.models import DoctorState
from tests import factories
from tests.conftest import connect
from tests.fila.killing import environment_for
from tests.fila.webhooks import deliver, upsert

pytestmark = pytest.mark.django_db(transaction=True)

STOPS_WITHIN_S = 25.0


def wait_until(reached: Callable[[], object], *, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


class Worker:
    """The command in a process of its own, on this test's database and simulator."""

    def __init__(self, simulator: SimulatorProcess, log: Path) -> None:
        self._log = log
        self._environment = environment_for(simulator) | {"LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}

    def __enter__(self) -> Self:
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "fila_worker", "--remetentes", "8", "--semente", "1"],
                cwd=settings.BASE_DIR,
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: "Worker de fila iniciado" in self.said or self._process.poll() is not None, seconds=30)
            assert self._process.poll() is None, self.said
        except AssertionError:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kill()

    @property
    def said(self) -> str:
        return self._log.read_text()

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def exit_code(self) -> int:
        return self._process.wait(STOPS_WITHIN_S)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def chip(simulator: SimulatorProcess, open_operation: None) -> Chip:
    chip = factories.chip()
    connect(simulator, chip)
    return chip


@pytest.fixture
def worker(simulator: SimulatorProcess, chip: Chip, tmp_path: Path) -> Iterator[Worker]:
    with Worker(simulator, tmp_path / "worker.log") as worker:
        yield worker


def status_of(message: Mensagem) -> str:
    return Mensagem.objects.values_list("status", flat=True).get(pk=message.pk)


def is_sent(message: Mensagem) -> bool:
    return status_of(message) == "enviada"


def send_one() -> None:
    """Enqueue a message and wait until it is sent."""
    message = factories.mensagem()
    wait_until(lambda: is_sent(message))


def worker_backends() -> set[int]:
    """Every connection to this test's database but our own."""
    found = rows(
        """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND backend_type = 'client backend'"""
    )
    return {row["pid"] for row in found}


def listeners() -> list[dict[str, Any]]:
    return rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'")


def cut_every_connection() -> set[int]:
    backends = worker_backends()
    execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS b(pid)", [sorted(backends)])
    wait_until(lambda: not worker_backends() & backends)
    return backends


def test_it_says_that_it_lives_once_it_looks_at_the_fila(worker: Worker) -> None:
    wait_until(lambda: RoleBeat.objects.filter(papel="worker", encerrado_em=None).exists())
    assert worker.said.count("Worker de fila iniciado") == 1


def test_it_is_woken_by_each_new_message_without_waiting_for_its_poll(worker: Worker) -> None:
    started = time.monotonic()
    for _ in range(6):
        send_one()
    assert time.monotonic() - started < 0.7 * 6 * loop.POLL_S


def test_it_reads_what_doctors_write_and_confirms_an_opt_out(
    worker: Worker, simulator: SimulatorProcess, chip: Chip
) -> None:
    doctor = factories.cliente()
    deliver(chip, upsert(doctor.telefone, "PARE"))
    truth = simulator.wait_for(lambda truth: truth.total == 1)
    assert truth.records[0].recipient == doctor.telefone
    assert DoctorState.objects.get(cliente=doctor).permission_state == "opted_out"


def test_it_survives_the_loss_of_every_connection_and_sends_on(worker: Worker, simulator: SimulatorProcess) -> None:
    wait_until(RoleBeat.objects.exists)
    for _ in range(2):
        send_one()
        assert len(cut_every_connection()) >= 3, "its ears, its claims and its inbox"
    send_one()
    assert (simulator.truth().total, simulator.truth().duplicates) == (3, [])
    wait_until(
        lambda: rows("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'")
    )


def test_a_result_that_finds_no_database_is_written_when_it_is_back(
    worker: Worker, simulator: SimulatorProcess
) -> None:
    simulator.adjust(latency_ms=[800, 800])
    message = factories.mensagem()
    simulator.wait_for(lambda truth: len(truth.open_calls) == 1)
    cut_every_connection()
    wait_until(lambda: is_sent(message))
    assert simulator.truth().total == 1


def test_asked_to_stop_it_finishes_what_is_on_the_wire_and_takes_nothing_new(
    worker: Worker, simulator: SimulatorProcess
) -> None:
    simulator.adjust(latency_ms=[2000, 2000])
    on_the_wire = factories.mensagem()
    simulator.wait_for(lambda truth: len(truth.open_calls) == 1)
    worker.ask_to_stop()
    wait_until(lambda: "encerrando" in worker.said)
    connect(simulator, factories.chip())
    too_late = factories.mensagem()
    assert worker.exit_code() == 0
    assert (status_of(on_the_wire), status_of(too_late)) == ("enviada", "pendente")
    assert simulator.truth().total == 1
    assert not Mensagem.objects.filter(status="processando").exists()
    assert RoleBeat.objects.get(papel="worker").encerrado_em is not None
    assert "Worker de fila encerrado" in worker.said


def test_a_call_still_open_when_the_grace_is_over_is_recorded_as_unknown(
    simulator: SimulatorProcess, chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "DRAIN_ON_STOP_S", 0.2)
    simulator.adjust(latency_ms=[5000, 5000])
    message = factories.mensagem()

    async def stop_with_a_call_open() -> None:
        drain = Drain("teste", senders=4, rng=random.Random(1))
        running = asyncio.create_task(drain.run(deadline_s=20))
        async with asyncio.timeout(10):
            await asyncio.to_thread(simulator.wait_for, lambda truth: len(truth.open_calls) == 1)
            drain.stop()
            await running

    asyncio.run(stop_with_a_call_open())
    attempt = Tentativa.objects.get()
    assert (status_of(message), attempt.resultado) == ("incerta", "desconhecido")
    assert attempt.erro == "encerrado com a chamada aberta"


def drained(*, seconds: float = 5.0) -> Drain:
    """A drain that stops when nothing is left to do, and stops anyway after `seconds`."""

    async def main() -> Drain:
        drain = Drain("teste", senders=4, rng=random.Random(1))
        await drain.run(deadline_s=seconds, until_empty=True)
        return drain

    return asyncio.run(main())


@pytest.mark.parametrize("error", [DataError("value too long"), ValueError("surrogates not allowed")])
def test_one_result_that_cannot_be_written_does_not_hold_up_the_others(
    simulator: SimulatorProcess, chip: Chip, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    connect(simulator, factories.chip(), factories.chip())
    poison, *others = (factories.mensagem() for _ in range(3))

    def fails_with_poison(results: Sequence[Settled], **kwargs: Any) -> None:
        if any(one.attempt.mensagem.id == poison.id and one.result.provider_message_id for one in results):
            raise error
        settle(results, **kwargs)

    monkeypatch.setattr(loop, "settle", fails_with_poison)
    drained()
    assert [status_of(each) for each in others] == ["enviada", "enviada"]
    assert status_of(poison) in ("processando", "incerta"), "its lease or a reader of evidence decides, no second send"
    assert simulator.truth().total == 3


@pytest.mark.parametrize("part", ["process_inbox", "conclude_finished"])
def test_a_part_that_breaks_ends_the_whole_process_instead_of_missing_in_silence(
    chip: Chip, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def breaks(**_: Any) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(process, part, breaks)
    monkeypatch.setattr(process, "CARE_EVERY_S", 0.05)

    async def main() -> None:
        async with asyncio.timeout(10):
            await WorkerProcess(senders=2, seed=1).run()

    with pytest.raises(RuntimeError, match="a fault of ours"):
        asyncio.run(main())
    assert RoleBeat.objects.get(papel="worker").encerrado_em is not None
