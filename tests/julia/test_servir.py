"""The supervisor with real processes; the database is the test's."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core.audit.models import AuditEntry
from core.health.models import RoleBeat
from core.jobs import registry
from fila.models import Mensagem
from julia.embedded import is_embedded
from julia.supervisor.serving import free_ports
from tests.julia.processes import Servir, children_of, is_alive, tree_of, wait_until

StartServir = Callable[..., Servir]
WORKER_LOOKED = "Worker de fila iniciado"


@pytest.fixture
def servir(tmp_path: Path, transactional_db: None) -> Iterator[StartServir]:
    started: list[Servir] = []

    def start(*words: str, **environment: str) -> Servir:
        started.append(Servir(tmp_path / f"servir-{len(started)}.log", *words, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("words", [(), ("--papel", "patrao")], ids=["none", "unknown"])
def test_without_a_role_it_says_which_there_are_and_does_not_start(servir: StartServir, words: tuple[str, ...]) -> None:
    refused = servir(*words)
    assert refused.process.wait(60) != 0
    assert "tudo, api, scheduler, worker" in refused.said
    assert "RUN_MODE" in refused.said


def test_a_busy_port_is_named_with_its_owner_and_another_one(servir: StartServir) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = servir("--papel", "api", PORT=str(port))
        assert refused.process.wait(60) != 0
    assert f"A porta {port} já está em uso pelo processo {os.getpid()}" in refused.said
    assert "ou escolha outra: PORT=" in refused.said
    assert "processo iniciado" not in refused.said


def test_a_port_that_is_no_number_is_refused(servir: StartServir) -> None:
    refused = servir("--papel", "api", PORT="oito mil")
    assert refused.process.wait(60) != 0
    assert "PORT='oito mil'" in refused.said


def test_a_killed_worker_is_started_again_and_the_restart_is_recorded(servir: StartServir) -> None:
    running = servir(RUN_MODE="worker")
    running.wait_for(WORKER_LOOKED)
    assert [
        command for command in children_of(running.pid).values() if "gunicorn" in command or "qcluster" in command
    ] == []
    first = running.child("fila_worker")

    os.kill(first, signal.SIGKILL)

    running.wait_for(WORKER_LOOKED, times=2)
    assert running.child("fila_worker") != first
    wait_until(AuditEntry.objects.filter(acao="processo_reiniciado", entidade_id="worker").exists)
    entry = AuditEntry.objects.get(acao="processo_reiniciado")
    assert entry.motivo == "worker foi morto por SIGKILL"
    assert entry.detalhes["reinicios"] == 1
    assert running.terminate() == 0


def test_sigterm_ends_the_clusters_with_all_they_started(servir: StartServir) -> None:
    running = servir("--papel", "scheduler")
    clusters_with_their_pools = 1 + 1 + 2 * 6  # supervisor, guardian, and per cluster six processes
    wait_until(lambda: len(tree_of(running.pid)) >= clusters_with_their_pools, otherwise=lambda: running.said)
    tree = tree_of(running.pid)

    assert running.terminate() == 0

    assert [pid for pid in tree if is_alive(pid)] == []


def test_the_scheduler_tells_the_hour_and_every_job(servir: StartServir) -> None:
    running = servir("--papel", "scheduler")
    running.wait_for("Jobs:")
    for text in (
        "API: http://127.0.0.1:8000",
        "Fuso: America/Sao_Paulo",
        "Hora atual:",
        f"Jobs: {len(registry.registered())}",
    ):
        assert text in running.said
    wait_until(lambda: all(job.name in running.said for job in registry.registered()), otherwise=lambda: running.said)


def test_a_killed_supervisor_leaves_nobody_behind(servir: StartServir) -> None:
    running = servir("--papel", "worker")
    running.wait_for(WORKER_LOOKED)
    tree = tree_of(running.pid)

    os.kill(running.pid, signal.SIGKILL)
    running.process.wait(10)

    wait_until(lambda: not any(map(is_alive, tree)), within_s=30)


def test_a_killed_guardian_is_replaced_and_still_ends_what_is_left(servir: StartServir) -> None:
    running = servir("--papel", "worker")
    running.wait_for(WORKER_LOOKED)
    first = running.child("guardian")
    os.kill(first, signal.SIGKILL)
    wait_until(
        lambda: [pid for pid, command in children_of(running.pid).items() if "guardian" in command and pid != first]
    )
    tree = tree_of(running.pid)

    os.kill(running.pid, signal.SIGKILL)
    running.process.wait(10)

    wait_until(lambda: not any(map(is_alive, tree)), within_s=30)


def test_the_api_answers_and_gives_a_sign_of_life_until_it_ends(servir: StartServir) -> None:
    (port,) = free_ports(1)
    running = servir("--papel", "api", PORT=str(port))
    wait_until(lambda: answers(port), otherwise=lambda: running.said)
    wait_until(RoleBeat.objects.filter(papel="api", encerrado_em=None).exists)
    assert running.terminate() == 0
    assert RoleBeat.objects.get(papel="api").encerrado_em is not None


@pytest.mark.slow
def test_the_demonstration_moves_by_itself_and_ends_without_a_trace(servir: StartServir) -> None:
    if not is_embedded(os.environ["DATABASE_URL"]):
        pytest.skip("the demonstration exists only in the private database")
    (port,) = free_ports(1)
    running = servir("--papel", "tudo", "--demo", PORT=str(port))
    running.wait_for(f"http://127.0.0.1:{port}/")
    running.wait_for("Um médico pediu para sair", within_s=120)
    assert Mensagem.objects.filter(campanha__isnull=False, status="enviada").exists()
    assert not Mensagem.objects.filter(campanha__isnull=False, status__in=["bloqueada", "erro", "incerta"]).exists()
    assert Mensagem.objects.filter(tipo="lembrete", outcome="BLOCKED_OPTED_OUT").exists()
    assert answers(port)
    tree = tree_of(running.pid)

    assert running.terminate() == 0

    assert [pid for pid in tree if is_alive(pid)] == []
    assert not RoleBeat.objects.filter(encerrado_em=None).exists()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
