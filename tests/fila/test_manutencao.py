"""The housekeeping jobs: what is stuck, what is too old, and what they never touch."""

from datetime import timedelta
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction

from core.clock import database_now
from core.database import execute
from core.jobs import registry, runner
from core.jobs.deadline import Deadline
from core.outcomes import SendOutcome
from fila import manutencao
from fila.models import Campanha, Mensagem, MensagemDlq, MensagemEvento
from tests import factories
from tests.factories import set_setting
from tests.fila.attempts import look
from tests.fila.held import attempt_of, hold

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def normal_day(open_operation: None) -> None:
    """Switches in their normal position."""


def resetar(**params: int) -> dict[str, Any]:
    return dict(manutencao.resetar_fila_travada(database_now(), Deadline(timedelta(seconds=60)), **params))


def limpar(**params: int) -> dict[str, Any]:
    return dict(manutencao.limpar_fila_antiga(database_now(), Deadline(timedelta(seconds=60)), **params))


def stuck(minutes: int = 61, **values: Any) -> Mensagem:
    """In `processando` for so long under a lease that somebody keeps alive."""
    message = factories.mensagem(**values)
    hold(message, minutes_ago=minutes, lease_s=minutes * 60 + 600)
    return message


def old(hours: float = 25, **values: Any) -> Mensagem:
    """Planned for so many hours ago, and waiting since."""
    at = database_now() - timedelta(hours=hours)
    return factories.mensagem(created_at=at, agendar_para=at, **values)


class TestParameters:
    def test_an_operator_may_call_less_than_an_hour_stuck(self):
        message, young = stuck(12), stuck(8)
        assert resetar(timeout_minutos=10)["devolvidas"] == 1
        message.refresh_from_db()
        young.refresh_from_db()
        assert (message.status, message.tentativas, young.status) == ("pendente", 1, "processando")

    def test_with_an_open_attempt_even_a_short_timeout_only_makes_it_unknown(self):
        message = stuck(12)
        attempt_of(message)
        assert resetar(timeout_minutos=10)["incertas"] == 1
        message.refresh_from_db()
        assert message.status == "incerta"

    @pytest.mark.parametrize(("hours", "ended"), [(12, 1), (24, 0), (48, 0)])
    def test_an_operator_may_expire_messages_sooner_or_later_than_after_a_day(self, hours: int, ended: int):
        message, fresh = old(13), old(0.5)
        assert limpar(max_idade_horas=hours)["processados"] == ended
        message.refresh_from_db()
        fresh.refresh_from_db()
        assert (message.status == "cancelada", fresh.status) == (bool(ended), "pendente")

    def test_a_longer_age_leaves_what_a_day_would_have_ended(self):
        old(30)
        assert limpar(max_idade_horas=48)["processados"] == 0
        assert limpar()["processados"] == 1

    def test_the_reason_names_the_age_that_was_asked_for(self):
        message = old(13)
        limpar(max_idade_horas=12)
        message.refresh_from_db()
        assert (message.outcome, message.outcome_reason_code) == (SendOutcome.FAILED_EXPIRED, "expired:12h")

    @pytest.mark.parametrize(
        ("job", "params"),
        [
            ("resetar_fila_travada", {"timeout_minutos": 4}),
            ("resetar_fila_travada", {"timeout_minutos": 1441}),
            ("limpar_fila_antiga", {"max_idade_horas": 0}),
            ("limpar_fila_antiga", {"max_idade_horas": 721}),
        ],
    )
    def test_a_value_out_of_bounds_changes_nothing_and_says_its_bounds(self, job: str, params: dict[str, int]):
        message, waiting = stuck(70), old(30)
        run = runner.run(job, now=database_now(), origem="manual", params=params)
        assert not run.ok
        assert " vai de " in (run.error or "")
        message.refresh_from_db()
        waiting.refresh_from_db()
        assert (message.status, waiting.status) == ("processando", "pendente")

    def test_a_rehearsal_counts_and_changes_nothing(self):
        message = stuck(12)
        params = registry.find("resetar_fila_travada").read_params({"timeout_minutos": "10", "dry_run": "true"})
        run = runner.run("resetar_fila_travada", now=database_now(), origem="manual", params=params)
        message.refresh_from_db()
        assert (run.processados, message.status) == (1, "processando")


class TestStuck:
    def test_after_sixty_minutes_a_row_goes_back_with_one_attempt_counted(self):
        message, young = stuck(61), stuck(59)
        assert resetar() | {"canceladas": 0} == {
            "processados": 1, "devolvidas": 1, "esgotadas": 0, "incertas": 0, "encerradas": 0, "canceladas": 0,
            "campanhas_reabertas": 0,
        }  # fmt: skip
        message.refresh_from_db()
        young.refresh_from_db()
        assert (message.status, message.tentativas, message.processando_desde) == ("pendente", 1, None)
        assert (message.lease_ate, message.lease_owner) == (None, "")
        assert message.agendar_para <= database_now()
        assert young.status == "processando"

    def test_twice_changes_nothing_more(self):
        message = stuck()
        resetar()
        assert resetar()["processados"] == 0
        message.refresh_from_db()
        assert message.tentativas == 1

    def test_with_its_attempts_used_up_it_ends_in_the_dlq(self):
        message = stuck(tentativas=2, max_tentativas=3)
        assert resetar()["esgotadas"] == 1
        message.refresh_from_db()
        assert (message.status, message.outcome, message.tentativas) == ("erro", SendOutcome.FAILED_TIMEOUT, 3)
        failure = MensagemDlq.objects.get()
        assert (failure.mensagem_original_id, failure.outcome, failure.tentativas) == (message.pk, "FAILED_TIMEOUT", 3)
        assert MensagemEvento.objects.get(mensagem=message).tipo == "falha"

    def test_one_that_may_be_on_the_wire_becomes_uncertain_and_is_not_sent_again(self):
        message = stuck()
        attempt = attempt_of(message)
        factories.chip()
        assert resetar()["incertas"] == 1
        message.refresh_from_db()
        attempt.refresh_from_db()
        assert (message.status, message.tentativas) == ("incerta", 0)
        assert attempt.resultado == "desconhecido"
        assert look() == []

    def test_of_a_cancelled_campaign_or_of_somebody_who_left_it_ends(self):
        cancelled = stuck(campanha=factories.campanha(status="cancelada"))
        left = stuck()
        execute("UPDATE doctor_state SET permission_state='opted_out' WHERE cliente_id=%s", [left.cliente_id])
        assert resetar()["encerradas"] == 2
        cancelled.refresh_from_db()
        left.refresh_from_db()
        assert (cancelled.status, left.status) == ("cancelada", "bloqueada")
        assert {event.tipo for event in MensagemEvento.objects.all()} == {"cancelada", "bloqueada"}

    def test_a_row_put_into_processando_by_raw_sql_is_stuck_by_its_last_change(self):
        message = factories.mensagem()
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute("ALTER TABLE fila_mensagens DISABLE TRIGGER fila_volta_guardada")
        execute(
            "UPDATE fila_mensagens SET status = 'processando', updated_at = agora() - interval '61 minutes' "
            "WHERE id = %s", [message.pk]
        )  # fmt: skip
        execute("ALTER TABLE fila_mensagens ENABLE TRIGGER fila_volta_guardada")
        assert resetar()["devolvidas"] == 1

    def test_somebody_without_a_readable_state_is_reset_too(self):
        message = stuck()
        execute("DELETE FROM doctor_state WHERE cliente_id = %s", [message.cliente_id])
        assert resetar()["devolvidas"] == 1

    def test_the_count_is_logged(self, monkeypatch: pytest.MonkeyPatch):
        told: list[dict[str, Any]] = []
        monkeypatch.setattr(manutencao.log, "warning", lambda event, **fields: told.append(fields))
        stuck()
        resetar()
        assert told[0]["resetadas"] == 1


class TestLeftovers:
    def test_rows_that_wait_for_a_cancelled_campaign_end(self):
        waiting = factories.mensagem(campanha=factories.campanha(status="cancelada"))
        other = factories.mensagem(campanha=factories.campanha())
        assert resetar()["canceladas"] == 1
        waiting.refresh_from_db()
        other.refresh_from_db()
        assert (waiting.status, waiting.outcome_reason_code) == ("cancelada", "campanha_cancelada")
        assert waiting.outcome_at is not None
        assert other.status == "pendente"

    def test_more_than_one_batch_of_them_ends(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(manutencao, "BATCH", 3)
        factories.mensagens(8, campanha=factories.campanha(status="cancelada"))
        assert resetar()["canceladas"] == 8

    def test_an_ended_campaign_with_open_rows_runs_again(self):
        campanha = factories.campanha(status="concluida", concluida_em=database_now() - timedelta(days=40))
        factories.mensagem(campanha=campanha)
        assert resetar()["campanhas_reabertas"] == 1
        assert Campanha.objects.get(pk=campanha.pk).status == "ativa"


class TestOld:
    def test_after_twenty_four_hours_a_waiting_row_expires(self):
        message, young = old(25), old(23)
        assert limpar()["processados"] == 1
        message.refresh_from_db()
        young.refresh_from_db()
        assert (message.status, message.outcome, message.outcome_reason_code) == (
            "cancelada", SendOutcome.FAILED_EXPIRED, "expired_after_24h",
        )  # fmt: skip
        assert message.outcome_at is not None
        assert young.status == "pendente"
        event = MensagemEvento.objects.get(mensagem=message)
        assert (event.tipo, event.outcome, event.motivo) == ("cancelada", "FAILED_EXPIRED", "expired_after_24h")
        assert limpar()["processados"] == 0

    def test_one_that_is_scheduled_for_later_is_left_alone(self):
        planned = factories.mensagem(
            created_at=database_now() - timedelta(days=5), agendar_para=database_now() + timedelta(days=3)
        )
        moved = old(30)
        execute("UPDATE fila_mensagens SET agendar_para = agora() + interval '3 days' WHERE id = %s", [moved.pk])
        assert limpar()["processados"] == 0
        assert set(Mensagem.objects.filter(pk__in=[planned.pk, moved.pk]).values_list("status", flat=True)) == {
            "pendente"
        }

    def test_a_retry_prolongs_nothing(self):
        message = old(25, tentativas=1)
        execute("UPDATE fila_mensagens SET agendar_para = agora() + interval '4 minutes' WHERE id = %s", [message.pk])
        assert limpar()["processados"] == 1

    def test_waiting_moves_the_end_and_then_it_does_not_expire(self):
        message = old(30)
        execute("UPDATE fila_mensagens SET expira_em = agora() + interval '1 hour' WHERE id = %s", [message.pk])
        assert limpar()["processados"] == 0

    @pytest.mark.parametrize("status", ["processando", "enviada", "erro", "bloqueada", "incerta"])
    def test_any_other_status_is_left_alone(self, status: str):
        message = old(50, status=status)
        assert limpar()["processados"] == 0
        message.refresh_from_db()
        assert message.status == status

    def test_rows_of_a_paused_campaign_get_another_day(self):
        message = old(30, campanha=factories.campanha(status="pausada"))
        assert limpar() == {"processados": 0, "prolongadas": 1, "campanhas_concluidas": 0}
        message.refresh_from_db()
        assert message.status == "pendente"
        assert message.expira_em is not None
        assert message.expira_em > database_now() + timedelta(hours=23)

    @pytest.mark.parametrize(
        ("switch", "position", "held", "free"),
        [
            ("operacao_pausada", True, ["campanha", "lembrete", "resposta"], []),
            ("safe_mode", True, ["campanha", "lembrete"], ["resposta"]),
            ("campaigns_enabled", False, ["campanha"], ["lembrete", "resposta"]),
            ("envio_followup", False, ["lembrete", "aniversario"], ["campanha", "resposta"]),
            ("worker_fila", False, ["campanha", "lembrete", "resposta"], []),
            ("envio_resposta", "talvez", ["resposta"], ["campanha"]),
        ],
    )
    def test_rows_that_a_switch_holds_get_another_day(
        self, switch: str, position: object, held: list[str], free: list[str]
    ):
        set_setting(switch, position)
        campanha = factories.campanha()
        for tipo in held + free:
            old(30, tipo=tipo, campanha=campanha if tipo == "campanha" else None)
        assert limpar() | {"campanhas_concluidas": 0} == {
            "processados": len(free), "prolongadas": len(held), "campanhas_concluidas": 0,
        }  # fmt: skip
        assert sorted(Mensagem.objects.filter(status="pendente").values_list("tipo", flat=True)) == sorted(held)

    def test_the_campaign_of_the_last_one_concludes(self):
        campanha = factories.campanha(enfileirada_em=database_now())
        old(25, campanha=campanha)
        assert limpar()["campanhas_concluidas"] == 1
        campanha.refresh_from_db()
        assert campanha.status == "concluida"

    def test_more_than_one_batch_expires_in_one_run(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(manutencao, "BATCH", 3)
        at = database_now() - timedelta(hours=30)
        factories.mensagens(8, created_at=at, agendar_para=at, expira_em=at + timedelta(hours=24))
        old(30, campanha=factories.campanha(status="pausada"))
        assert limpar() | {"campanhas_concluidas": 0} == {
            "processados": 8, "prolongadas": 1, "campanhas_concluidas": 0,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "cron", "path"),
    [
        ("resetar_fila_travada", "*/15 * * * *", "resetar-fila-travada"),
        ("limpar_fila_antiga", "0 3 * * *", "limpar-fila-antiga"),
    ],
)
def test_the_jobs_are_registered_as_the_runbook_names_them(name: str, cron: str, path: str) -> None:
    found = registry.find_path(path)
    assert (found.name, found.cron.text) == (name, cron)
    assert runner.run(name, now=database_now(), origem="manual").ok


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_else_holds_is_left_for_the_next_time() -> None:
    message = stuck()
    locked, done = Signal(), Signal()

    def holder() -> None:
        try:
            with transaction.atomic():
                execute("SELECT 1 FROM fila_mensagens WHERE id = %s FOR UPDATE", [message.pk])
                locked.set()
                done.wait(20)
        finally:
            connection.close()

    thread = Thread(target=holder)
    thread.start()
    assert locked.wait(20)
    assert resetar()["processados"] == 0
    done.set()
    thread.join()
    assert resetar()["devolvidas"] == 1
