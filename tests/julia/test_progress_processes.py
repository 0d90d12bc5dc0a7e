"""Stuck processes are found and replaced: real roles and real supervisors, with the patience of a test."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from django.db import connection
from django_q.models import Task
from django_q.tasks import async_task

from core.alerts.models import Alerta
from core.audit.models import AuditEntry
from core.database import rows
from julia.supervisor.serving import free_ports
from tests.julia.processes import Supervised, children_of, is_alive, tree_of, wait_until
from tests.julia.test_servir import answers

StartSupervised = Callable[..., Supervised]
STUCK_AFTER_S = 4.0
PATIENT_S = 8.0  # where nothing must be found: a busy machine is slow
MONITOR, PUSHER = 2, 3  # behind the two workers, in the order in which a sentinel starts its processes

pytestmark = pytest.mark.slow


@pytest.fixture
def supervised(tmp_path: Path, transactional_db: None) -> Iterator[StartSupervised]:
    started: list[Supervised] = []

    def start(papel: str, stuck_after_s: float = STUCK_AFTER_S, **environment: str) -> Supervised:
        log = tmp_path / f"supervised-{len(started)}.log"
        started.append(Supervised(log, papel, str(stuck_after_s), **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def closed_database() -> Iterator[Callable[[], None]]:
    """Called, it lets nobody but this test use the database, until the test ends or calls it again."""
    name = connection.settings_dict["NAME"]
    quoted = connection.ops.quote_name(name)
    closed = False

    def toggle() -> None:
        nonlocal closed
        closed = not closed
        ours = rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {quoted} ALLOW_CONNECTIONS {'false' if closed else 'true'}")
            if closed:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                    [name, ours],
                )

    yield toggle
    if closed:
        toggle()


def is_gone(pid: int) -> bool:
    return not is_alive(pid)


def pool_of(leader: int) -> list[int]:
    """What the cluster's sentinel started, oldest first: workers, monitor, pusher, then those that replaced one."""
    (sentinel,) = children_of(leader)
    return sorted(children_of(sentinel))


class TestStuckCluster:
    def test_a_cluster_that_lost_an_idle_worker_is_found_and_flows_again(self, supervised: StartSupervised) -> None:
        running = supervised("scheduler")
        running.wait_until_flowing("critico")
        running.wait_until_flowing("trabalhos")
        rng = random.Random(3)

        def kill_until_stuck() -> bool:
            """A worker that dies while it waits takes the queue's lock with it, sooner or later."""
            os.kill(rng.choice(pool_of(running.started("critico")[-1])), signal.SIGKILL)
            told = running.count("processo travado", "critico")
            try:
                wait_until(lambda: running.count("processo travado", "critico") > told, within_s=STUCK_AFTER_S * 2)
            except AssertionError:
                return False
            return True

        wait_until(kill_until_stuck, within_s=120, otherwise=lambda: running.said)

        wait_until(Alerta.objects.filter(tipo="papel_travado").exists)
        running.wait_until_flowing("critico", times=2)
        task = async_task("core.jobs.canary.echo", "flows again", cluster="critico")
        wait_until(Task.objects.filter(id=task, success=True).exists, otherwise=lambda: running.said)
        wait_until(Alerta.objects.filter(tipo="papel_travado").exclude(resolvido_em=None).exists)
        assert not Alerta.objects.filter(tipo="papel_travado", resolvido_em=None).exists()
        entry = AuditEntry.objects.get(acao="processo_reiniciado")
        assert entry.motivo.startswith("critico travou: não conclui nenhuma tarefa há ")
        assert running.terminate() == 0

    def test_each_part_of_a_cluster_is_missed_when_it_is_stopped(self, supervised: StartSupervised) -> None:
        running = supervised("scheduler")
        cases: list[tuple[Callable[[int], int], str]] = [
            (lambda leader: next(iter(children_of(leader))), "o guardião do cluster não dá voltas"),
            (lambda leader: pool_of(leader)[MONITOR], "não conclui nenhuma tarefa"),
            (lambda leader: pool_of(leader)[PUSHER], "não conclui nenhuma tarefa"),
        ]
        for round_no, (part_of, stands_still) in enumerate(cases, start=1):
            running.wait_until_flowing("trabalhos", times=round_no)
            victim = part_of(running.started("trabalhos")[-1])
            os.kill(victim, signal.SIGSTOP)
            running.wait_until_stuck("trabalhos", times=round_no)
            assert running.reasons("trabalhos")[-1].startswith(stands_still)
            wait_until(partial(is_gone, victim), otherwise=lambda: running.said)

    def test_workers_in_the_middle_of_long_tasks_are_left_to_finish_them(self, supervised: StartSupervised) -> None:
        running = supervised("scheduler", PATIENT_S)
        running.wait_until_flowing("trabalhos")
        tasks = [async_task("time.sleep", PATIENT_S * 2, cluster="trabalhos") for _ in range(2)]
        wait_until(
            lambda: Task.objects.filter(id__in=tasks, success=True).count() == len(tasks),
            otherwise=lambda: running.said,
        )
        assert running.count("processo travado", "trabalhos") == 0


class TestStuckProcess:
    def test_who_lives_without_moving_is_ended_and_started_again(self, supervised: StartSupervised) -> None:
        running = supervised("boneco")
        stopped, locked, spinning = signal.SIGSTOP, signal.SIGUSR1, signal.SIGUSR2
        for round_no, fault in enumerate((stopped, locked, spinning), start=1):
            running.wait_until_flowing("boneco", times=round_no)
            os.kill(running.started("boneco")[-1], fault)
            running.wait_until_stuck("boneco", times=round_no)
        running.wait_until_flowing("boneco", times=4)
        assert all(reason.startswith("não olha a fila há 4 s") for reason in running.reasons("boneco"))
        assert [is_alive(pid) for pid in running.started("boneco")] == [False, False, False, True]
        wait_until(lambda: AuditEntry.objects.filter(acao="processo_reiniciado").count() == 3)
        wait_until(lambda: not Alerta.objects.filter(tipo="papel_travado", resolvido_em=None).exists())
        assert Alerta.objects.filter(tipo="papel_travado").count() == 3

    def test_the_real_worker_is_found_when_it_is_stopped(self, supervised: StartSupervised) -> None:
        running = supervised("worker")
        running.wait_until_flowing("worker")
        (first,) = running.started("worker")
        os.kill(first, signal.SIGSTOP)
        running.wait_until_stuck("worker")
        running.wait_until_flowing("worker", times=2)
        assert "Worker de fila encerrado" in running.said  # woken, it ended in order

    def test_an_api_that_does_not_answer_is_started_again(self, supervised: StartSupervised) -> None:
        (port,) = free_ports(1)
        running = supervised("api", PORT=str(port))
        running.wait_until_flowing("api")
        (first,) = running.started("api")
        for pid in tree_of(first):
            os.kill(pid, signal.SIGSTOP)
        running.wait_until_stuck("api")
        running.wait_until_flowing("api", times=2)
        assert answers(port)

    def test_a_role_that_cannot_start_says_why_and_waits_longer_each_time(self, supervised: StartSupervised) -> None:
        running = supervised("invalido", 60.0)
        running.wait_for("nova_tentativa_em_s=4.0")
        assert running.said.count("falta a variável que eu preciso") == 3
        assert [f"nova_tentativa_em_s={pause}" in running.said for pause in (1.0, 2.0, 4.0)] == [True] * 3
        assert running.terminate() == 0

    def test_an_alert_ends_with_the_supervisor_that_raised_it(self, supervised: StartSupervised) -> None:
        running = supervised("boneco")
        running.wait_until_flowing("boneco")
        os.kill(running.started("boneco")[0], signal.SIGUSR2)
        wait_until(Alerta.objects.filter(tipo="papel_travado", resolvido_em=None).exists)
        assert running.terminate() == 0
        assert not Alerta.objects.filter(tipo="papel_travado", resolvido_em=None).exists()


class TestExcused:
    def test_while_the_database_is_away_nobody_is_restarted(
        self, supervised: StartSupervised, closed_database: Callable[[], None]
    ) -> None:
        running = supervised("tudo", PATIENT_S, PORT=str(free_ports(1)[0]))
        for name in ("api", "critico", "trabalhos", "worker"):
            running.wait_until_flowing(name)
        closed_database()
        os.kill(running.started("worker")[0], signal.SIGSTOP)  # nor for lack of anything else
        wait_until(lambda: "sinais de vida não gravados" in running.said, otherwise=lambda: running.said)
        time.sleep(PATIENT_S * 2)
        os.kill(running.started("worker")[0], signal.SIGCONT)

        closed_database()

        task = async_task("core.jobs.canary.echo", "back", cluster="critico")
        wait_until(Task.objects.filter(id=task).exists, otherwise=lambda: running.said)
        assert "processo travado" not in running.said
        assert running.terminate() == 0

    def test_a_supervisor_that_was_not_looking_judges_nobody(self, supervised: StartSupervised) -> None:
        running = supervised("boneco", PATIENT_S)
        running.wait_until_flowing("boneco")
        os.kill(running.pid, signal.SIGSTOP)
        time.sleep(PATIENT_S + 2)
        os.kill(running.pid, signal.SIGCONT)
        time.sleep(2.0)
        assert len(running.started("boneco")) == 1
        assert "processo travado" not in running.said
        assert running.terminate() == 0
