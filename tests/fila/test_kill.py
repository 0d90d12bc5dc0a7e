"""kill -9 of a worker at every step of a send, judged by what really left the simulator."""

import random

import pytest

from chips.models import Tentativa
from chips.simulator.client import SimulatorProcess
from fila.models import Mensagem
from tests import factories
from tests.conftest import connect
from tests.fila.killing import KillHarness

pytestmark = pytest.mark.django_db(transaction=True)

# (step of the send, status that the message must end in, how often it may have left)
STEPS = [
    ("before_claim", "enviada", 1),
    ("after_claim", "enviada", 1),
    ("inside_attempt_transaction", "enviada", 1),
    ("after_attempt_row", "incerta", 0),
    ("before_settle", "incerta", 1),
    ("after_settle", "enviada", 1),
]


@pytest.mark.parametrize(("step", "ends_as", "left"), STEPS, ids=[step for step, _, _ in STEPS])
def test_a_worker_killed_at_this_step_neither_loses_nor_repeats(
    simulator: SimulatorProcess, open_operation: None, step: str, ends_as: str, left: int
) -> None:
    chip = factories.chip()
    connect(simulator, chip)
    message = factories.mensagem(campanha=factories.campanha())
    with KillHarness(simulator) as harness:
        assert harness.worker(step=step), "the worker was meant to die"
        assert not harness.worker(deadline_s=2.5)
    message.refresh_from_db()
    assert message.status == ends_as
    assert len(simulator.truth().records) == left
    assert not Tentativa.objects.filter(resultado="iniciado").exists()


def test_a_worker_killed_while_its_call_is_open_leaves_the_message_uncertain(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    connect(simulator, factories.chip())
    message = factories.mensagem(campanha=factories.campanha())
    simulator.adjust(latency_ms=[1500, 1500])
    with KillHarness(simulator) as harness:
        harness.order(kill_after_s=1.0)
        simulator.wait_for(lambda truth: len(truth.open_calls) == 1)
        assert harness.result()
        simulator.adjust(latency_ms=[0, 0])
        simulator.wait_for(lambda truth: truth.total == 1)
        harness.worker(deadline_s=2.5)
    message.refresh_from_db()
    assert message.status == "incerta"
    assert simulator.truth().total == 1


@pytest.mark.slow
def test_sixty_kills_during_two_thousand_messages(simulator: SimulatorProcess, open_operation: None) -> None:
    """0 duplicates on the wire, 0 lost in the table, and no more unknown than calls were open at the kills."""
    chips = [factories.chip() for _ in range(120)]
    connect(simulator, *chips)
    for part in range(4):
        factories.mensagens(500, campanha=factories.campanha(nome_template=f"parte {part}"))
    simulator.adjust(latency_ms=[100, 400])
    rng = random.Random(20260123)
    kills = kills_on_open_calls = 0
    open_at_a_kill: set[int] = set()
    with KillHarness(simulator) as harness:
        while kills < 60 or (kills_on_open_calls < 20 and kills < 150):  # a busy machine starts workers slowly
            harness.order(kill_after_s=rng.uniform(0.15, 0.7), senders=16, seed=kills)
            assert harness.result()
            kills += 1
            open_at_a_kill |= set(Tentativa.objects.filter(resultado="iniciado").values_list("id", flat=True))
            kills_on_open_calls += len(simulator.truth().open_calls) > 0
        simulator.adjust(latency_ms=[0, 5])
        harness.worker(senders=64, deadline_s=90, lease_s=5)
    truth = simulator.truth()
    by_status = {
        status: set(Mensagem.objects.filter(status=status).values_list("telefone_destino", flat=True))
        for status in ("enviada", "incerta")
    }
    left = {record.recipient for record in truth.records}
    assert kills_on_open_calls >= 20
    assert not truth.duplicates
    assert len(by_status["enviada"]) + len(by_status["incerta"]) == Mensagem.objects.count() == 2000
    assert len(by_status["incerta"]) <= len(open_at_a_kill)
    assert by_status["enviada"] <= left <= by_status["enviada"] | by_status["incerta"]


def test_two_worker_processes_send_each_message_once(simulator: SimulatorProcess, open_operation: None) -> None:
    connect(simulator, *(factories.chip() for _ in range(8)))
    for _ in range(2):
        factories.mensagens(80, campanha=factories.campanha())
    simulator.adjust(latency_ms=[20, 60])
    with KillHarness(simulator) as one, KillHarness(simulator) as other:
        one.order(deadline_s=8, lease_s=30, seed=1, senders=4)
        other.order(deadline_s=8, lease_s=30, seed=2, senders=4)
        assert not one.result()
        assert not other.result()
        assert not one.worker(until_empty=True, lease_s=30)
    truth = simulator.truth()
    assert (truth.total, truth.duplicates) == (160, [])
    assert Mensagem.objects.filter(status="enviada").count() == 160
