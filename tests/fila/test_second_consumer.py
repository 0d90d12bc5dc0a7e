"""The job that looks at the fila every minute: idle beside a living worker, a whole consumer without one."""

from datetime import timedelta
from typing import Any

import pytest

from chips.models import Chip, Tentativa
from chips.simulator.client import SimulatorProcess
from core.clock import database_now
from core.database import execute
from core.health import beats
from core.health.models import RoleBeat
from core.jobs import runner
from core.jobs.models import JobExecution
from fila.conversas.opt_out import opt_out
from fila.jobs import processar_mensagens_agendadas
from fila.models import Mensagem
from tests import factories
from tests.conftest import connect
from tests.fila.attempts import open_one
from tests.fila.webhooks import deliver, upsert

pytestmark = pytest.mark.django_db(transaction=True)

COUNTS = {"processados", "processadas", "enviadas", "bloqueadas_optout", "erros", "incertas"}


@pytest.fixture
def chip(simulator: SimulatorProcess, open_operation: None) -> Chip:
    chip = factories.chip()
    connect(simulator, chip)
    return chip


def worker_beat(instancia: str = "maquina:1", *, seconds_ago: float = 0, closed: bool = False) -> None:
    beats.beat("worker", instancia)
    if closed:
        beats.close(instancia)
    at = database_now() - timedelta(seconds=seconds_ago)
    RoleBeat.objects.filter(instancia=instancia).update(beat_at=at)


def counts(answer: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in answer.items() if key in COUNTS and value}


def test_without_a_worker_it_drains_the_fila(simulator: SimulatorProcess, chip: Chip) -> None:
    factories.mensagens(3, campanha=factories.campanha())
    answer = processar_mensagens_agendadas(database_now())
    assert answer["worker_vivo"] is False
    assert counts(answer) == {"processados": 3, "processadas": 3, "enviadas": 3}
    assert simulator.truth().total == Mensagem.objects.filter(status="enviada").count() == 3


def test_beside_a_living_worker_it_leaves_the_fila_alone(simulator: SimulatorProcess, chip: Chip) -> None:
    worker_beat()
    factories.mensagens(3, campanha=factories.campanha())
    answer = processar_mensagens_agendadas(database_now())
    assert answer["worker_vivo"] is True
    assert counts(answer) == {}
    assert simulator.truth().total == 0
    assert Mensagem.objects.filter(status="pendente").count() == 3


@pytest.mark.parametrize(
    ("workers", "alive"),
    [
        ([], False),
        ([{"seconds_ago": 59}], True),
        ([{"seconds_ago": 61}], False),
        ([{"closed": True}], False),
        ([{"seconds_ago": 61}, {"seconds_ago": 5}], True),
        ([{"closed": True}, {"seconds_ago": 30}], True),
    ],
    ids=["never", "fresh", "silent", "closed", "one of two silent", "one of two closed"],
)
def test_a_worker_lives_while_any_of_them_beats(chip: Chip, workers: list[dict[str, Any]], alive: bool) -> None:
    for number, beat in enumerate(workers):
        worker_beat(f"maquina:{number}", **beat)
    assert processar_mensagens_agendadas(database_now())["worker_vivo"] is alive


@pytest.mark.parametrize("alive", [True, False])
def test_its_answer_has_the_same_counts_with_and_without_a_worker(chip: Chip, alive: bool) -> None:
    if alive:
        worker_beat()
    answer = processar_mensagens_agendadas(database_now())
    assert answer.keys() >= COUNTS
    assert all(answer[key] == 0 for key in COUNTS)


def test_each_end_is_counted_under_its_name(simulator: SimulatorProcess, chip: Chip) -> None:
    connect(simulator, factories.chip(), factories.chip())
    gone = factories.cliente()
    opt_out(gone.id, origem="operador", motivo="pediu para sair", actor="ana", now=database_now())
    factories.mensagem(cliente=gone)
    nobody, lost, reached = (factories.mensagem() for _ in range(3))
    simulator.fault("inexistente", numbers=[nobody.telefone_destino])
    simulator.fault("reset_depois", after=1, count=1)
    answer = processar_mensagens_agendadas(database_now(), limite=1)
    ends = dict(Mensagem.objects.values_list("id", "status"))
    assert [ends[each.id] for each in (nobody, lost, reached)] == ["erro", "incerta", "enviada"]
    assert counts(answer) == {
        "processados": 4, "processadas": 4, "enviadas": 1, "erros": 1, "incertas": 1, "bloqueadas_optout": 1,
    }  # fmt: skip


def test_it_reads_what_doctors_wrote_before_it_sends(simulator: SimulatorProcess, chip: Chip) -> None:
    message = factories.mensagem(campanha=factories.campanha())
    deliver(chip, upsert(message.telefone_destino, "PARE"))
    processar_mensagens_agendadas(database_now())
    message.refresh_from_db()
    assert message.status == "bloqueada"
    assert [record.text[:10] for record in simulator.truth().records] == ["Tudo certo"]


@pytest.mark.parametrize("alive", [True, False])
def test_it_rescues_what_a_dead_worker_left_behind(chip: Chip, alive: bool) -> None:
    if alive:
        worker_beat()
    factories.mensagem(campanha=factories.campanha())
    open_one()
    execute("UPDATE fila_mensagens SET lease_ate = agora() - interval '1 second'")
    answer = processar_mensagens_agendadas(database_now())
    assert (Mensagem.objects.get().status, Tentativa.objects.get().resultado) == ("incerta", "desconhecido")
    assert answer["incertas"] == 1, "what this run found uncertain, by rescue or by sending"


def test_its_run_is_recorded_with_what_it_did(chip: Chip) -> None:
    factories.mensagem(campanha=factories.campanha())
    result = runner.run("processar_mensagens_agendadas", now=database_now(), origem="teste")
    row = JobExecution.objects.get()
    assert (result.ok, row.status, row.items_processed) == (True, "success", 1)
