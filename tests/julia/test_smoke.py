"""The smoke: a canary through the real fila, worker and clusters, to nobody, and without a trace."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from chips.choices import NULL_PROVIDER
from chips.models import Chip
from chips.providers.base import ChipAddress, SendResult
from chips.providers.nulo import message_id_of
from chips.providers.registry import provider_for
from core.clientes.models import Cliente
from core.clock import database_now
from core.database import execute, rows
from core.jobs import runner
from core.jobs.registry import Cluster
from fila.models import Mensagem
from fila.worker.process import listen_params
from julia.embedded.places import PROJECT
from julia.smoke import canario, clusters, run
from julia.smoke.report import Parte, Relatorio
from tests import factories
from tests.fila.drains import drain
from tests.julia.processes import Supervised, environment_of_test


@pytest.fixture
def roles(tmp_path: Path, transactional_db: None) -> Iterator[Callable[[str], Supervised]]:
    started: list[Supervised] = []

    def start(papel: str) -> Supervised:
        started.append(Supervised(tmp_path / f"{papel}.log", papel, "60"))
        return started[-1]

    yield start
    for each in started:
        each.close()


def census() -> dict[str, int]:
    """Rows of every table, but for what the roles write about themselves meanwhile."""
    alive = {"role_beats", "job_executions", "job_slots", "cache", "audit_log", "django_q_schedule", "django_q_ormq"}
    found = rows("SELECT table_name AS t FROM information_schema.tables WHERE table_schema = 'public'")
    names = {row["t"] for row in found} - alive
    return {name: rows(f'SELECT count(*) AS n FROM "{name}"')[0]["n"] for name in sorted(names)}


def smoke_command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "smoke", *words],
        cwd=PROJECT,
        env=environment_of_test(**environment),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_every_canary_arrives_and_leaves_no_trace(roles: Callable[[str], Supervised]) -> None:
    scheduler, worker = roles("scheduler"), roles("worker")
    for running, name in ((worker, "worker"), (scheduler, "critico"), (scheduler, "trabalhos")):
        running.wait_until_flowing(name)
    before = census()

    done = smoke_command("--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["ok"] is True
    assert report["limpo"] is True
    assert [parte["parte"] for parte in report["partes"]] == ["fila e worker", "cluster critico", "cluster trabalhos"]
    assert report["partes"][0]["por"].split(":")[1] == str(worker.started("worker")[0])
    assert census() == before


@pytest.mark.slow
def test_what_does_not_arrive_is_named_with_what_to_do_and_leaves_no_trace(transactional_db: None) -> None:
    before = census()
    done = smoke_command("--timeout", "1")
    assert done.returncode == 1
    assert "fila e worker: ninguém a tomou da fila, e não há worker" in done.stdout
    assert "python manage.py servir --papel worker" in done.stdout
    assert "cluster trabalhos: a tarefa não voltou, e não há scheduler no ar" in done.stdout
    assert "3 de 3 não chegaram." in done.stdout
    assert census() == before
    assert rows("SELECT count(*) AS n FROM django_q_ormq")[0]["n"] == 0


@pytest.mark.slow
def test_a_database_that_is_away_is_no_failed_canary(transactional_db: None) -> None:
    done = smoke_command(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert done.returncode == 2
    assert "O smoke não pôde rodar" in done.stderr
    assert "Confira DATABASE_URL" in done.stderr


class TestInTheFila:
    """With a consumer in this process; what a worker process does more is above."""

    @pytest.fixture(autouse=True)
    def _operation(self, open_operation: None) -> None: ...

    @pytest.mark.django_db(transaction=True)
    def test_neither_switches_nor_hours_hold_it_and_it_spends_no_limit(self) -> None:
        factories.open_operation(
            operacao_pausada=True, worker_fila=False, safe_mode=True, limite_global_hora=0, limite_global_dia=0,
            janela_envio={"inicio": "00:00", "fim": "00:01", "dias": [1]},
        )  # fmt: skip
        canary = canario.place()
        drain()
        assert canario.look(canary).chegou
        assert not rows("SELECT 1 FROM limites_minutos WHERE escopo = 'global'")
        assert not rows("SELECT 1 FROM circuits WHERE name = %s OR name LIKE %s", ["nulo", "chip:%"])
        (aviso,) = run.held_by_switches()
        assert "seguram todos os envios de verdade" in aviso
        assert "operacao_pausada" in aviso

    @pytest.mark.django_db(transaction=True)
    def test_no_real_chip_takes_it(self) -> None:
        factories.chip()
        canary = canario.place()
        Chip.objects.filter(provider=NULL_PROVIDER).delete()
        drain()
        assert canario.look(canary).detalhe == "ninguém a tomou da fila, e não há worker"

    @pytest.mark.django_db(transaction=True)
    def test_its_chip_takes_nothing_else(self) -> None:
        canario.place()
        Chip.objects.filter(provider=NULL_PROVIDER).update(
            status="active", evolution_connected=True, pode_prospectar=True, pode_followup=True, pode_responder=True,
            trust_score=100, webhook_secret="x",
        )  # fmt: skip
        doctors = [factories.mensagem(tipo=tipo) for tipo in ("lembrete", "oferta")]
        doctors.append(factories.resposta())
        drain()
        assert set(Mensagem.objects.filter(pk__in=[each.pk for each in doctors]).values_list("status", flat=True)) == {
            "pendente"
        }

    @pytest.mark.django_db(transaction=True)
    def test_the_stand_in_of_a_dead_worker_is_no_worker(self) -> None:
        canary = canario.place()
        assert runner.run("processar_mensagens_agendadas", now=database_now()).ok
        found = canario.look(canary)
        assert not found.chegou
        assert "nenhum worker está consumindo a fila" in found.detalhe

    @pytest.mark.django_db(transaction=True)
    def test_sent_by_hand_is_not_arrived(self) -> None:
        canary = canario.place()
        execute("UPDATE fila_mensagens SET status = 'enviada' WHERE id = %s", [canary.mensagem_id])
        assert canario.look(canary).detalhe == "a mensagem consta como enviada, mas o provedor nulo não a recebeu"

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"status": "processando", "lease_owner": "vm:1:a"}, "vm:1:a a tomou e não a terminou"),
            ({"status": "incerta"}, "o processo que a levava parou no meio"),
            ({"status": "erro", "outcome_reason_code": "x"}, "terminou como erro (x)"),
        ],
    )
    def test_where_it_stopped_is_told(self, change: dict[str, str], told: str) -> None:
        canary = canario.place()
        Mensagem.objects.filter(pk=canary.mensagem_id).update(**change)
        assert canario.look(canary).detalhe == told

    @pytest.mark.django_db(transaction=True)
    def test_what_a_killed_smoke_left_behind_goes_with_the_next_one(self) -> None:
        before = census()
        canario.place()
        drain()
        canario.place()
        canario.remove_all()
        assert census() == before

    @pytest.mark.django_db(transaction=True)
    def test_a_doctor_is_never_taken_for_a_canary(self) -> None:
        doctor = factories.cliente()
        message = factories.mensagem(cliente=doctor, tipo="canario")
        canario.remove_all()
        assert Cliente.objects.filter(pk=doctor.pk).exists()
        assert Mensagem.objects.filter(pk=message.pk).exists()

    @pytest.mark.django_db(transaction=True)
    def test_a_row_that_somebody_holds_is_left_to_the_next_smoke_and_said(self) -> None:
        canary = canario.place()
        with psycopg.connect(**listen_params()) as other:
            other.execute("SELECT 1 FROM fila_mensagens WHERE id = %s FOR UPDATE", [canary.mensagem_id])
            assert run._clean(0.0) is False
        assert run._clean(0.0) is True


@pytest.mark.django_db(transaction=True)
def test_one_smoke_at_a_time() -> None:
    with psycopg.connect(**listen_params()) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [run._LOCK])
        with pytest.raises(run.AnotherRuns):
            run.smoke(0.0)
    assert not run.smoke(0.0).ok


@pytest.mark.django_db(transaction=True)
def test_an_offer_that_nobody_took_is_taken_back() -> None:
    offered = clusters.offer(Cluster.CRITICO)
    assert rows("SELECT count(*) AS n FROM django_q_ormq")[0]["n"] == 1
    clusters.remove(offered)
    assert rows("SELECT count(*) AS n FROM django_q_ormq")[0]["n"] == 0


@pytest.mark.parametrize(("may_go", "verdict"), [(True, "aceita"), (False, "nao_enviada")])
def test_the_null_provider_asks_before_it_takes_and_proves_what_it_took(may_go: bool, verdict: str) -> None:
    async def send() -> SendResult:
        async with httpx.AsyncClient() as client:
            provider = provider_for(NULL_PROVIDER, client)
            address = ChipAddress(uuid4(), NULL_PROVIDER, "")
            return await provider.send_text(
                address, number="999", text="Canário 1", correlation_id="c", go_ahead=lambda: may_go
            )

    result = asyncio.run(send())
    assert result.verdict == verdict
    assert (result.provider_message_id == message_id_of("Canário 1")) is may_go


def test_the_report_names_late_ones_and_what_was_left() -> None:
    arrived = Parte("fila e worker", True, segundos=0.25, por="vm:1:a")
    late = Parte("cluster critico", False, detalhe="a tarefa não voltou", proximo="Espere.")
    text = Relatorio((arrived, late), avisos=("as chaves seguram",), limpo=False).as_text()
    assert text.splitlines()[1].split("  ")[0] == "fila e worker"
    assert "0,2 s" in text
    assert "NÃO CHEGOU" in text
    assert "cluster critico: a tarefa não voltou\n  Espere." in text
    assert "Aviso: as chaves seguram" in text
    assert "o próximo smoke as apaga" in text
    assert text.endswith("1 de 2 não chegaram.")
