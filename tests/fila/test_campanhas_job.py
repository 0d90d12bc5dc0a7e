"""The job of every minute: starts what is due, resumes what broke off, ends what is done, keeps waiting rows alive."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.db import OperationalError

from core.audit.models import AuditEntry
from core.health import beats
from core.jobs import registry
from fila.campanhas import jobs, services, upkeep
from fila.campanhas.enqueue import continue_start, enqueue_step, prepare
from fila.campanhas.errors import CampanhaInvalida
from fila.campanhas.jobs import processar_campanhas_agendadas
from fila.models import Campanha, Mensagem
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_operation")]

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MOTIVO = "motivo escrito no teste"


def created(**values: Any) -> Campanha:
    defaults: dict[str, Any] = {"nome": "Campanha", "tipo": "oferta", "corpo": "Oi!"}
    return services.create(**(defaults | values), actor="ana", now=NOW)


def status_of(campanha: Campanha) -> str:
    campanha.refresh_from_db()
    return campanha.status


def test_it_is_registered_as_critical_every_minute():
    job = registry.find("processar_campanhas_agendadas")
    assert (job.critical, job.sla, job.path) == (True, timedelta(minutes=3), "processar-campanhas-agendadas")


def test_with_nothing_to_do_it_says_so():
    assert set(processar_campanhas_agendadas(NOW).values()) == {0}


def test_a_due_campaign_starts_and_a_later_one_waits():
    factories.clientes(3)
    due, later = created(agendar_para=NOW + MINUTE), created(agendar_para=NOW + 3 * MINUTE)
    counts = processar_campanhas_agendadas(NOW + MINUTE)
    assert (counts["processados"], counts["iniciadas"], counts["enfileiradas"], counts["retomadas"]) == (1, 1, 3, 0)
    assert (status_of(due), status_of(later)) == ("ativa", "agendada")
    assert AuditEntry.objects.get(acao="campanha_iniciada").usuario == "sistema"


def test_running_it_twice_changes_nothing_more():
    factories.clientes(3)
    created(agendar_para=NOW + MINUTE)
    processar_campanhas_agendadas(NOW + MINUTE)
    again = processar_campanhas_agendadas(NOW + MINUTE)
    assert (again["iniciadas"], again["enfileiradas"], again["retomadas"]) == (0, 0, 0)
    assert Mensagem.objects.count() == 3


def test_a_start_that_broke_off_is_resumed():
    factories.clientes(5)
    campanha = services.begin(created().pk, actor="ana", now=NOW)
    prepare(campanha.pk, now=NOW)
    enqueue_step(campanha.pk, now=NOW, limit=2)
    counts = processar_campanhas_agendadas(NOW)
    assert (counts["retomadas"], counts["enfileiradas"]) == (1, 3)
    assert Mensagem.objects.count() == 5


def test_a_finished_campaign_is_concluded():
    factories.clientes(1)
    campanha = services.start(created().pk, actor="ana", now=NOW)
    Mensagem.objects.update(status="enviada")
    assert processar_campanhas_agendadas(NOW)["concluidas"] == 1
    assert status_of(campanha) == "concluida"


def test_a_scheduled_campaign_that_cannot_be_sent_becomes_a_draft_again_and_says_why():
    bad, good = created(agendar_para=NOW + MINUTE), created(agendar_para=NOW + MINUTE)
    Campanha.objects.filter(pk=bad.pk).update(corpo="Oi {vaga}")
    counts = processar_campanhas_agendadas(NOW + MINUTE)
    assert (counts["iniciadas"], counts["recusadas"]) == (1, 1)
    assert (status_of(bad), status_of(good)) == ("rascunho", "concluida")  # nobody to write to
    assert "vaga" in str(AuditEntry.objects.get(acao="campanha_nao_iniciada").detalhes)


@pytest.mark.parametrize("failure", [OperationalError("lost"), CampanhaInvalida({"x": ["filtro desconhecido"]})])
def test_a_campaign_that_fails_does_not_keep_the_others_from_their_turn(failure: Exception):
    factories.clientes(2)
    first, second = (services.begin(created().pk, actor="ana", now=NOW) for _ in range(2))
    real = continue_start

    def failing(campanha_id: int, **kwargs: Any) -> int:
        if campanha_id == first.pk:
            raise failure
        return real(campanha_id, **kwargs)

    with (
        patch.object(jobs, "continue_start", failing),
        patch.object(jobs, "connection", Mock(in_atomic_block=False)),  # unlike this test
        pytest.raises(type(failure)),
    ):
        processar_campanhas_agendadas(NOW)
    second.refresh_from_db()
    assert second.enfileirada_em is not None


class TestWaitingRows:
    def waiting(self, **values: Any) -> Mensagem:
        factories.cliente()
        campanha = services.start(created().pk, actor="ana", now=NOW)
        Campanha.objects.filter(pk=campanha.pk).update(status=values.pop("campanha_status", "ativa"))
        message = Mensagem.objects.get(campanha=campanha)
        defaults = {"agendar_para": NOW - timedelta(hours=20), "expira_em": NOW + timedelta(hours=4)}
        Mensagem.objects.filter(pk=message.pk).update(**(defaults | values))
        return message

    def lives_until(self, message: Mensagem) -> datetime | None:
        message.refresh_from_db()
        return message.expira_em

    def worker_lives(self) -> datetime:
        """Now on the database's clock, by which beats are dated."""
        beats.beat("worker", "worker:1")
        newest = beats.newest("worker")
        assert newest is not None
        return newest.beat_at

    def test_a_row_that_waits_for_capacity_while_a_worker_lives_does_not_expire(self):
        message = self.waiting()
        now = self.worker_lives()
        assert upkeep.keep_alive(now=now) == 1
        assert self.lives_until(message) == now + timedelta(hours=24)
        assert upkeep.keep_alive(now=now) == 0

    def test_without_any_worker_rows_grow_old(self):
        self.waiting()
        assert upkeep.keep_alive(now=NOW) == 0
        now = self.worker_lives()
        beats.close("worker:1")
        assert upkeep.keep_alive(now=now) == 0

    def test_a_paused_campaign_waits_whether_or_not_a_worker_lives(self):
        message = self.waiting(campanha_status="pausada")
        assert upkeep.keep_alive(now=NOW) == 1
        assert self.lives_until(message) == NOW + timedelta(hours=24)

    @pytest.mark.parametrize(
        "values",
        [
            {"tentativas": 1},
            {"agendar_para": NOW + timedelta(hours=1)},
            {"expira_em": NOW + timedelta(hours=13)},
            {"status": "enviada"},
            {"campanha_status": "cancelada"},
        ],
    )
    def test_retries_later_rows_fresh_rows_and_ended_ones_are_left_alone(self, values: dict[str, Any]):
        self.waiting(**({"campanha_status": "pausada"} | values))
        assert upkeep.keep_alive(now=NOW) == 0

    def test_a_campaign_that_started_without_chips_gets_its_end_when_there_are_some(self):
        factories.clientes(3)
        campanha = services.start(created().pk, actor="ana", now=NOW)
        assert (campanha.plano["sem_capacidade"], campanha.termina_em) == (True, None)
        factories.chip()
        assert processar_campanhas_agendadas(NOW)["replanejadas"] == 1
        campanha.refresh_from_db()
        assert (campanha.plano["sem_capacidade"], campanha.plano["motivo"]) == (False, "")
        assert campanha.termina_em is not None
        assert campanha.plano["segmentos"]
        assert processar_campanhas_agendadas(NOW)["replanejadas"] == 0
