"""What the fila watches: each rule at its limit, and quiet where waiting has a reason that nobody need mend."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chips.choices import TipoMensagem
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Entrega, Severidade
from core.alerts.rules import Finding
from core.clock import database_now
from core.database import execute, rows
from core.health import beats
from core.jobs import runner
from fila import policy
from fila.alert_rules import ambiente, facts, falhas, movimento
from fila.alert_rules.facts import Outcomes
from fila.models import Campanha, Mensagem
from tests import factories
from tests.core.test_alert_rules import beat, ran
from tests.core.test_circuits_services import open_circuit
from tests.fila.held import attempt_of
from tests.fila.test_claim_plan import make_a_long_past, nodes

pytestmark = pytest.mark.django_db

Rule = Callable[[datetime], Iterable[Finding]]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def an_open_operation(open_operation: None) -> None:
    """Hours open all day, switches in place, no global limit."""


@pytest.fixture
def now() -> datetime:
    return database_now()


def found(rule: Rule, now: datetime) -> dict[str, Finding]:
    return {each.chave: each for each in rule(now)}


def waiting(now: datetime, count: int = 1, *, minutes: float, **values: Any) -> list[Mensagem]:
    """Due for so long, planned for then."""
    due = now - minutes * MINUTE
    return factories.mensagens(count, agendar_para=due, agendada_originalmente_para=due, **values)


def sent(now: datetime, *, minutes_ago: float, tipo: str = "prospeccao", times: int = 1, **values: Any) -> None:
    for _ in range(times):
        message = factories.mensagem(status="enviada", **values)
        chip = factories.chip(status="paused")
        attempt = attempt_of(message, chip=chip, resultado="enviado", tipo_mensagem=tipo)
        execute("UPDATE envios_tentativas SET iniciado_em = %s WHERE id = %s", [now - minutes_ago * MINUTE, attempt.pk])


def free_chip(now: datetime, **values: Any) -> None:
    factories.chip(proximo_envio_em=now - MINUTE, **values)


def busy_chips(now: datetime, count: int) -> None:
    """Chips that pace: nobody is free this second."""
    for _ in range(count):
        factories.chip(proximo_envio_em=now + MINUTE)


# fila_acumulada (S-36 T01.5) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "minutes", "is_told"),
    [(51, 31, True), (50, 31, False), (51, 29, False), (51, 5, False), (51, -1440, False), (120, 31, True)],
)
def test_more_than_fifty_due_for_more_than_thirty_minutes(
    now: datetime, count: int, minutes: float, is_told: bool
) -> None:
    waiting(now, count, minutes=minutes)
    assert bool(found(movimento.fila_acumulada, now)) is is_told


def test_it_is_told_once_and_again_after_an_hour(now: datetime) -> None:
    waiting(now, 51, minutes=31)
    told = []
    for minutes in (0, 10, 50, 61):
        told.append(evaluate(now + minutes * MINUTE, only=("fila_acumulada",)).notified)
        Entrega.objects.update(situacao="enviada", enviada_em=now)
    assert told == [1, 0, 0, 1]
    assert Alerta.objects.filter(tipo="fila_acumulada").count() == 1


def test_it_carries_what_an_operator_needs(now: datetime) -> None:
    campaign = factories.campanha()
    waiting(now, 40, minutes=45, campanha=campaign)
    waiting(now, 20, minutes=31)
    open_circuit("evolution")
    beat("worker", now - 20 * SECOND)
    finding = found(movimento.fila_acumulada, now)[""]
    assert "60 mensagens" in finding.titulo
    for piece in ("45 min", f"campanha {campaign.pk} (40)", "sem campanha (20)", "último sinal há 20 s", "Evolution"):
        assert piece in finding.mensagem
    assert finding.contexto["por_tipo"] == {"prospeccao": 40, "followup": 20}
    assert (finding.valor, finding.limite) == (60, 50)


@pytest.mark.parametrize("status", ["pausada", "cancelada", "concluida", "agendada"])
def test_what_a_campaign_that_does_not_run_holds_is_no_backlog(now: datetime, status: str) -> None:
    waiting(now, 60, minutes=90, campanha=factories.campanha(status=status))
    assert not found(movimento.fila_acumulada, now)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("operacao_pausada", True), ("safe_mode", True), ("campaigns_enabled", False), ("worker_fila", False),
        ("envio_campanha", False), ("envio_travado", True),
    ],
)  # fmt: skip
def test_what_a_person_holds_by_a_switch_is_no_backlog(now: datetime, key: str, value: bool) -> None:
    waiting(now, 60, minutes=90, campanha=factories.campanha())
    factories.set_setting(key, value)
    assert not found(movimento.fila_acumulada, now)
    assert not found(movimento.fila_parada, now)
    assert not found(movimento.campanha_sem_envio, now)


def test_what_waits_for_the_global_limit_is_no_backlog_and_replies_do_not_wait_for_it(now: datetime) -> None:
    factories.set_setting("limite_global_hora", 1)
    waiting(now, 60, minutes=90, campanha=factories.campanha())
    assert not found(movimento.fila_acumulada, now)
    waiting(now, 60, minutes=90, tipo="resposta")
    assert found(movimento.fila_acumulada, now)


def test_a_campaign_that_goes_out_as_fast_as_it_may_is_no_backlog_for_two_hours(now: datetime) -> None:
    factories.set_setting("pacing_s", {"min": 45, "max": 180})
    busy_chips(now, 1)
    waiting(now, 60, minutes=100, campanha=factories.campanha())
    assert found(movimento.fila_acumulada, now)
    sent(now, minutes_ago=5, times=2)  # of four that one chip may send in twelve minutes at 180 s
    assert not found(movimento.fila_acumulada, now)
    assert found(movimento.fila_acumulada, now + 21 * MINUTE)


def test_chips_at_their_limit_per_hour_work_as_fast_as_they_may(now: datetime) -> None:
    factories.set_setting("pacing_s", {"min": 0, "max": 5})  # by its pauses a chip would send 144 in twelve minutes
    factories.chip(proximo_envio_em=now + MINUTE, limite_hora=20)  # 10 campaign messages an hour, 2 in twelve minutes
    waiting(now, 60, minutes=100, campanha=factories.campanha())
    assert found(movimento.fila_acumulada, now)
    sent(now, minutes_ago=5)
    assert not found(movimento.fila_acumulada, now)


def test_with_no_worker_the_backlog_opens_and_the_worker_is_told_of(now: datetime) -> None:
    waiting(now, 60, minutes=31)
    beat("worker", now - HOUR)
    evaluate(now, only=("worker_sem_heartbeat", "fila_acumulada"))
    backlog = Alerta.objects.get(tipo="fila_acumulada")
    assert (backlog.inibido_por, backlog.anunciado_em) == ("worker_sem_heartbeat", None)


def test_the_january_afternoon_is_told_of_within_three_minutes(now: datetime) -> None:
    """Fifty messages are queued, api and scheduler run, the worker was never started."""
    waiting(now, 50, minutes=0, campanha=factories.campanha(iniciada_em=now))
    told_at = None
    for step in range(0, 241, 30):
        moment = now + step * SECOND
        execute("DELETE FROM role_beats")
        for papel in ("api", "scheduler"):
            beat(papel, moment, started=now)
        evaluate(moment)
        if told_at is None and Entrega.objects.filter(tipo="worker_sem_heartbeat").exists():
            told_at = moment
    assert told_at is not None
    assert told_at - now < 3 * MINUTE
    alert = Alerta.objects.get(tipo="worker_sem_heartbeat", chave="worker")
    assert "nunca" in alert.titulo
    assert "A fila não é consumida" in alert.mensagem
    assert "python manage.py servir --papel worker" in alert.mensagem


def test_the_job_counts_what_is_pending_and_takes_other_limits(now: datetime) -> None:
    waiting(now, 6, minutes=11)
    waiting(now, 3, minutes=-60)
    quiet = runner.run("verificar_fila_acumulada", now=now)
    assert quiet.ok, quiet.error
    assert quiet.resultado == {"processados": 9, "acumuladas": 0, "alertas": 0}
    told = runner.run("verificar_fila_acumulada", now=now, params={"limite_pendentes": 5, "limite_idade_minutos": 10})
    assert told.resultado == {"processados": 9, "acumuladas": 6, "alertas": 1}


# fila_parada -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "is_told"), [(11.9, False), (12, True), (15, True), (600, True)])
def test_the_fila_stands_still_when_nothing_due_has_left(now: datetime, minutes: float, is_told: bool) -> None:
    free_chip(now)
    waiting(now, minutes=minutes, campanha=factories.campanha())
    assert bool(found(movimento.fila_parada, now)) is is_told


def test_it_is_told_within_fifteen_minutes_of_the_last_send(now: datetime) -> None:
    free_chip(now)
    waiting(now, 30, minutes=0, campanha=factories.campanha())
    sent(now, minutes_ago=0)
    for step in range(0, 15 * 60, 30):
        evaluate(now + step * SECOND, only=("fila_parada",))
    alert = Alerta.objects.get(tipo="fila_parada", chave="prospeccao")
    assert alert.primeira_ocorrencia_em - now < 15 * MINUTE
    assert "Há chip livre" in alert.mensagem


@pytest.mark.parametrize(("minutes_ago", "is_told"), [(11.9, False), (12.1, True)])
def test_one_send_of_the_class_proves_that_it_moves(now: datetime, minutes_ago: float, is_told: bool) -> None:
    free_chip(now)
    waiting(now, 5, minutes=40, campanha=factories.campanha())
    sent(now, minutes_ago=minutes_ago)
    assert bool(found(movimento.fila_parada, now)) is is_told


def test_campaigns_that_stand_still_behind_replies_that_go_are_seen(now: datetime) -> None:
    free_chip(now)
    waiting(now, 5, minutes=40, campanha=factories.campanha())
    sent(now, minutes_ago=1, tipo="resposta")
    assert set(found(movimento.fila_parada, now)) == {"prospeccao"}


def test_chips_that_work_for_other_messages_are_a_reason(now: datetime) -> None:
    busy_chips(now, 2)
    waiting(now, 5, minutes=40, campanha=factories.campanha())
    assert found(movimento.fila_parada, now)
    sent(now, minutes_ago=20, tipo="resposta")
    assert not found(movimento.fila_parada, now)


def test_chips_at_their_limit_that_have_sent_are_a_reason(now: datetime) -> None:
    free_chip(now, limite_hora=0)
    waiting(now, 5, minutes=40, campanha=factories.campanha())
    sent(now, minutes_ago=25)
    assert not found(movimento.fila_parada, now)


def test_an_open_circuit_is_an_alert_of_its_own(now: datetime) -> None:
    free_chip(now)
    waiting(now, 5, minutes=40, campanha=factories.campanha())
    open_circuit("evolution")
    assert not found(movimento.fila_parada, now)
    assert not found(movimento.campanha_sem_envio, now)


TUESDAY = datetime.fromisoformat("2026-03-03T00:00:00-03:00")


@pytest.mark.parametrize(
    ("hour", "minute", "is_told"), [(7, 59, False), (8, 11, False), (8, 12, True), (19, 59, True), (20, 1, False)]
)
def test_only_contact_time_of_the_recipient_counts(hour: int, minute: int, is_told: bool) -> None:
    factories.set_setting("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]})
    factories.chip(proximo_envio_em=TUESDAY - HOUR)
    at = TUESDAY + hour * HOUR + minute * MINUTE
    due = TUESDAY - 12 * HOUR
    factories.mensagens(3, agendar_para=due, agendada_originalmente_para=due, campanha=factories.campanha())
    assert bool(found(movimento.fila_parada, at)) is is_told


def test_the_zone_is_the_recipients(now: datetime) -> None:
    factories.set_setting("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]})
    at = TUESDAY + 8 * HOUR + 30 * MINUTE
    factories.chip(proximo_envio_em=TUESDAY)
    waiting(at, 3, minutes=600, campanha=factories.campanha())
    execute("UPDATE clientes SET fuso = 'America/Manaus'")  # an hour behind: 07:30 there
    assert not found(movimento.fila_parada, at)
    assert found(movimento.fila_parada, at + HOUR)


def test_at_night_replies_count_and_campaigns_do_not() -> None:
    factories.set_setting("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]})
    factories.chip(proximo_envio_em=TUESDAY - 2 * HOUR)
    at = TUESDAY + 2 * HOUR
    waiting(at, 3, minutes=60, campanha=factories.campanha())
    waiting(at, 3, minutes=60, tipo="resposta")
    assert set(found(movimento.fila_parada, at)) == {"resposta"}


def test_a_switch_that_was_just_released_has_a_minute(now: datetime) -> None:
    free_chip(now)
    waiting(now, 5, minutes=180, campanha=factories.campanha())
    evaluate(now, only=("fila_parada",))
    assert not Alerta.objects.filter(tipo="fila_parada").exists()
    sent(now, minutes_ago=-0.2)
    evaluate(now + 30 * SECOND, only=("fila_parada",))
    evaluate(now + 90 * SECOND, only=("fila_parada",))
    assert not Alerta.objects.filter(tipo="fila_parada").exists()


def released(now: datetime, *, minutes_ago: float, campanha: Campanha | None = None) -> None:
    what = (
        ("campanha_retomada", "campanha", str(campanha.pk))
        if campanha
        else ("feature_flag_change", "app_settings", "operacao_pausada")
    )
    execute(
        "INSERT INTO audit_trail (acao, entidade, entidade_id, usuario, created_at) VALUES (%s, %s, %s, 'ana', %s)",
        [*what, now - minutes_ago * MINUTE],
    )


@pytest.mark.parametrize(("minutes_ago", "backlog", "still"), [(5, False, False), (13, False, True), (31, True, True)])
def test_what_was_held_until_a_moment_ago_counts_from_its_release(
    now: datetime, minutes_ago: float, backlog: bool, still: bool
) -> None:
    free_chip(now)
    waiting(now, 60, minutes=200, campanha=factories.campanha(iniciada_em=now - 4 * HOUR))
    released(now, minutes_ago=minutes_ago)
    assert bool(found(movimento.fila_acumulada, now)) is backlog
    assert bool(found(movimento.fila_parada, now)) is still
    assert bool(found(movimento.campanha_sem_envio, now)) is still


def test_a_resumed_campaign_counts_from_then_and_the_others_as_before(now: datetime) -> None:
    free_chip(now)
    resumed, running = factories.campanha(), factories.campanha()
    released(now, minutes_ago=3, campanha=resumed)
    waiting(now, 60, minutes=200, campanha=resumed)
    assert not found(movimento.fila_acumulada, now)
    waiting(now, 51, minutes=200, campanha=running)
    assert found(movimento.fila_acumulada, now)[""].valor == 51


def left(now: datetime, *, due_minutes_ago: float, left_minutes_ago: float = 1, **values: Any) -> None:
    factories.mensagem(
        status="enviada",
        outcome="SENT",
        agendar_para=now - due_minutes_ago * MINUTE,
        outcome_at=now - left_minutes_ago * MINUTE,
        **values,
    )


@pytest.mark.parametrize(
    ("waits", "due", "values", "is_told"),
    [
        (20, 5, {}, True),
        (11, 5, {}, False),  # not for twelve minutes yet
        (20, 20, {}, False),  # in order: the fila is slow
        (20, 30, {}, False),
        (20, 5, {"prioridade": 9}, False),  # a graver one may pass
        (20, 5, {"tipo": "resposta"}, False),  # another queue
        (20, 5, {"left_minutes_ago": 13}, False),
    ],
)
def test_messages_that_later_ones_of_their_queue_overtake_are_held_by_something(
    now: datetime, waits: float, due: float, values: dict[str, Any], is_told: bool
) -> None:
    waiting(now, 3, minutes=waits)
    left(now, due_minutes_ago=due, **values)
    assert bool(found(movimento.mensagem_parada, now)) is is_told


def test_one_campaign_may_overtake_another(now: datetime) -> None:
    waiting(now, 3, minutes=20, campanha=factories.campanha())
    left(now, due_minutes_ago=5, campanha=factories.campanha())
    assert not found(movimento.mensagem_parada, now)


def test_an_empty_fila_and_future_rows_are_quiet_for_one_statement_more_than_the_rules(now: datetime) -> None:
    waiting(now, 60, minutes=-30, campanha=factories.campanha())
    with CaptureQueriesContext(connection) as asked:
        assert not found(movimento.fila_parada, now)
    assert len(asked) == 3  # settings, holidays, what is late
    waiting(now, 60, minutes=60, campanha=factories.campanha())
    with CaptureQueriesContext(connection) as asked:
        assert found(movimento.fila_parada, now)
    few = len(asked)
    for _ in range(5):
        waiting(now, 20, minutes=60, campanha=factories.campanha())
    with CaptureQueriesContext(connection) as asked:
        assert found(movimento.fila_parada, now)
    assert len(asked) == few


# campanha_sem_envio ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "is_told"), [(12.9, False), (13, True), (16, True)])
def test_a_started_campaign_without_a_send_is_told_of_within_fifteen_minutes(
    now: datetime, minutes: float, is_told: bool
) -> None:
    free_chip(now)
    campaign = factories.campanha(iniciada_em=now - minutes * MINUTE, enfileirada_em=now)
    waiting(now, 5, minutes=30, campanha=campaign)
    assert set(found(movimento.campanha_sem_envio, now)) == ({f"campanha:{campaign.pk}"} if is_told else set())


def test_one_sent_message_is_enough(now: datetime) -> None:
    campaign = factories.campanha(iniciada_em=now - HOUR, enfileirada_em=now)
    waiting(now, 5, minutes=60, campanha=campaign)
    sent(now, minutes_ago=50, campanha=campaign)
    assert not found(movimento.campanha_sem_envio, now)


def test_a_campaign_planned_for_later_has_its_time(now: datetime) -> None:
    campaign = factories.campanha(iniciada_em=now - HOUR, enfileirada_em=now)
    waiting(now, 5, minutes=-120, campanha=campaign)
    assert not found(movimento.campanha_sem_envio, now)


def test_postponed_rows_count_from_when_they_were_planned(now: datetime) -> None:
    campaign = factories.campanha(iniciada_em=now - HOUR, enfileirada_em=now)
    waiting(now, 5, minutes=60, campanha=campaign)
    Mensagem.objects.update(agendar_para=now + 4 * MINUTE, outcome="FAILED_NO_CAPACITY")
    finding = found(movimento.campanha_sem_envio, now)[f"campanha:{campaign.pk}"]
    assert "Nenhum chip pode levá-las" in finding.mensagem


def test_a_campaign_that_never_reached_the_fila_is_told_of(now: datetime) -> None:
    started = factories.campanha(iniciada_em=now - 13 * MINUTE)
    factories.campanha(iniciada_em=now - 12 * MINUTE)
    factories.campanha(iniciada_em=now - HOUR, enfileirada_em=now - HOUR)  # and everybody was excluded
    finding = found(movimento.campanha_sem_envio, now)
    assert set(finding) == {f"campanha:{started.pk}"}
    assert "não entraram na fila" in finding[f"campanha:{started.pk}"].mensagem


@pytest.mark.parametrize("status", ["rascunho", "agendada", "pausada", "concluida", "cancelada"])
def test_a_campaign_that_does_not_run_need_not_send(now: datetime, status: str) -> None:
    waiting(now, 5, minutes=60, campanha=factories.campanha(status=status, iniciada_em=now - HOUR))
    assert not found(movimento.campanha_sem_envio, now)


def test_a_campaign_waits_its_turn_behind_others_at_full_rate(now: datetime) -> None:
    busy_chips(now, 1)
    waiting(now, 5, minutes=60, campanha=factories.campanha(iniciada_em=now - HOUR))
    other: Campanha = factories.campanha(iniciada_em=now - 5 * HOUR)
    sent(now, minutes_ago=2, campanha=other)
    assert not found(movimento.campanha_sem_envio, now)


# erros_acumulados (S-36 T03.3), taxa_erro_alta (P14) ----------------------------------------------------------------


def ended(now: datetime, count: int, outcome: str, *, minutes_ago: float = 1, status: str = "erro") -> None:
    factories.mensagens(count, status=status, outcome=outcome, outcome_at=now - minutes_ago * MINUTE)


@pytest.mark.parametrize(
    ("count", "minutes_ago", "is_told"), [(10, 1, False), (11, 1, True), (11, 4.9, True), (11, 5.1, False)]
)
def test_more_than_ten_errors_in_five_minutes(now: datetime, count: int, minutes_ago: float, is_told: bool) -> None:
    ended(now, count, "FAILED_PROVIDER", minutes_ago=minutes_ago)
    assert bool(found(falhas.erros_acumulados, now)) is is_told


def test_they_are_counted_by_what_failed(now: datetime) -> None:
    ended(now, 4, "FAILED_PROVIDER")
    ended(now, 3, "FAILED_TIMEOUT", status="pendente")
    for seconds in (10, 70, 130):
        ran("heartbeat", now - seconds * SECOND, status="error")
    execute(
        """INSERT INTO webhook_eventos (provider, instance, evento, chave, payload, status, recebido_em)
           SELECT 'evolution', 'julia_1', 'messages.upsert', 'k' || n, '{}', 'erro', %s FROM generate_series(1, 2) n""",
        [now - MINUTE],
    )
    finding = found(falhas.erros_acumulados, now)[""]
    assert finding.valor == 12
    for piece in ("FAILED_PROVIDER (Falha do provedor): 4", "job heartbeat: 3", "webhook messages.upsert: 2"):
        assert piece in finding.mensagem
    assert finding.contexto["mensagens"] == {"FAILED_PROVIDER": 4, "FAILED_TIMEOUT": 3}


@pytest.mark.parametrize("outcome", ["FAILED_CIRCUIT_OPEN", "FAILED_NO_CAPACITY", "FAILED_RATE_LIMIT", "SENT"])
def test_waiting_is_no_error(now: datetime, outcome: str) -> None:
    ended(now, 200, outcome, status="pendente")
    assert not found(falhas.erros_acumulados, now)
    assert not found(falhas.taxa_erro_alta, now)


def test_errors_are_told_once_within_half_an_hour(now: datetime) -> None:
    ended(now, 11, "FAILED_PROVIDER")
    told = [evaluate(now + step * MINUTE, only=("erros_acumulados",)).notified for step in (0, 1, 2)]
    assert told == [1, 0, 0]


def test_the_job_of_errors_counts_them_and_takes_other_limits(now: datetime) -> None:
    ended(now, 4, "FAILED_PROVIDER", minutes_ago=7)
    quiet = runner.run("verificar_erros_acumulados", now=now)
    assert quiet.ok, quiet.error
    assert (quiet.processados, quiet.resultado["alertas"]) == (0, 0)
    told = runner.run("verificar_erros_acumulados", now=now, params={"limite": 3, "janela_minutos": 10})
    assert (told.processados, told.resultado["alertas"]) == (4, 1)


@pytest.mark.parametrize(
    ("sent_ok", "failed", "severidade"),
    [
        (18, 2, None),  # 10 %
        (17, 3, Severidade.WARNING),  # 15 %
        (27, 3, None),  # 10 %, three of thirty
        (12, 4, Severidade.CRITICAL),  # 25 %
        (13, 4, Severidade.WARNING),
        (6, 3, None),  # nine events are no rate
        (7, 3, Severidade.CRITICAL),
        (8, 2, None),  # nor are two failures
    ],
)
def test_the_error_rate_at_its_limits(now: datetime, sent_ok: int, failed: int, severidade: Severidade | None) -> None:
    ended(now, sent_ok, "SENT", status="enviada")
    ended(now, failed, "FAILED_PROVIDER")
    finding = found(falhas.taxa_erro_alta, now).get("")
    assert (finding.severidade if finding else None) is severidade


def test_a_small_fleet_is_judged_by_half_an_hour_and_wrong_numbers_by_nobody() -> None:
    near = Outcomes(3, {"FAILED_PROVIDER": 2})
    far = Outcomes(10, {"FAILED_PROVIDER": 5})
    assert falhas.high_rate(near, far) == (far, 5, 15)
    assert falhas.high_rate(Outcomes(10, {"FAILED_VALIDATION": 8}), far) is None


# dlq_crescendo, incertas_antigas, ambiente_travado ------------------------------------------------------------------


def dead(now: datetime, count: int, *, minutes_ago: float = 10, **values: Any) -> None:
    for message in factories.mensagens(count, status="erro", outcome="FAILED_PROVIDER"):
        execute(
            """INSERT INTO fila_mensagens_dlq (mensagem_original_id, conteudo, tipo, outcome, movido_para_dlq_em,
                   reprocessado) VALUES (%s, 'x', 'campanha', 'FAILED_PROVIDER', %s, %s)""",
            [message.pk, now - minutes_ago * MINUTE, values.get("reprocessado", False)],
        )


@pytest.mark.parametrize(
    ("count", "minutes_ago", "severidade"),
    [(10, 10, None), (11, 10, Severidade.WARNING), (11, 61, None), (51, 10, Severidade.ERROR)],
)
def test_the_dlq_grows_when_more_than_ten_fail_for_good_within_an_hour(
    now: datetime, count: int, minutes_ago: float, severidade: Severidade | None
) -> None:
    dead(now, count, minutes_ago=minutes_ago)
    finding = found(falhas.dlq_crescendo, now).get("")
    assert (finding.severidade if finding else None) is severidade


def test_a_small_share_of_a_large_campaign_and_what_was_reprocessed_are_no_growth(now: datetime) -> None:
    dead(now, 11)
    ended(now, 209, "SENT", status="enviada")  # 5 %
    assert not found(falhas.dlq_crescendo, now)
    dead(now, 30, reprocessado=True)
    assert not found(falhas.dlq_crescendo, now)


@pytest.mark.parametrize(
    ("minutes", "severidade"),
    [(59, None), (61, Severidade.WARNING), (359, Severidade.WARNING), (361, Severidade.CRITICAL)],
)
def test_what_stays_unknown_is_told_of_after_an_hour_and_gravely_after_six(
    now: datetime, minutes: float, severidade: Severidade | None
) -> None:
    message = factories.mensagem(status="incerta")
    attempt = attempt_of(message)
    execute(
        "UPDATE envios_tentativas SET resultado = 'desconhecido', iniciado_em = %s WHERE id = %s",
        [now - minutes * MINUTE, attempt.pk],
    )
    finding = found(falhas.incertas_antigas, now).get("")
    assert (finding.severidade if finding else None) is severidade


@pytest.mark.parametrize(
    ("key", "value", "severidade"),
    [
        ("envio_travado", False, None),
        ("envio_travado", True, Severidade.INFO),
        ("envio_travado", "talvez", Severidade.CRITICAL),
        ("environment", "production", Severidade.CRITICAL),
    ],
)
def test_locked_sending_is_critical_unless_a_person_locked_it(
    now: datetime, key: str, value: Any, severidade: Severidade | None
) -> None:
    factories.set_setting(key, value)
    finding = found(ambiente.ambiente_travado, now).get("")
    assert (finding.severidade if finding else None) is severidade


# Reading ---------------------------------------------------------------------------------------------------------


LIVE_INDEXES = {
    "fila_due_of_campanha", "fila_due_without_campanha", "fila_expiring", "fila_oldest_due", "fila_incertas",
    "fila_by_campanha_and_status",
}  # fmt: skip


def test_what_is_read_every_thirty_seconds_are_live_rows_through_their_indexes(now: datetime) -> None:
    make_a_long_past()
    with CaptureQueriesContext(connection) as asked:
        facts.late(policy.read(), before=now)
        facts.campaigns_without_sends()
        facts.old_unknown(now)
    for query in (each["sql"] for each in asked if "fila_mensagens" in each["sql"]):
        (explained,) = rows("EXPLAIN (FORMAT JSON) " + query.replace("%", "%%"))
        plan = explained["QUERY PLAN"]
        found = list(nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
        read = {node["Node Type"] for node in found if node.get("Relation Name") == "fila_mensagens"}
        assert read <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
        indexes = {node["Index Name"] for node in found if str(node.get("Index Name", "")).startswith("fila_")}
        assert indexes
        assert indexes <= LIVE_INDEXES


def test_classes_are_told_apart(now: datetime) -> None:
    waiting(now, 2, minutes=60, campanha=factories.campanha())
    waiting(now, 3, minutes=60, tipo="oferta")
    waiting(now, 4, minutes=60, tipo="um_tipo_que_ninguem_conhece")
    waiting(now, 5, minutes=60, tipo="resposta")
    waiting(now, 6, minutes=60, tipo="canario")
    counts: dict[str, int] = {}
    for group in facts.late(policy.read(), before=now):
        counts[group.classe.value] = counts.get(group.classe.value, 0) + len(group.desdes)
    assert counts == {
        TipoMensagem.PROSPECCAO.value: 5,
        TipoMensagem.FOLLOWUP.value: 4,
        TipoMensagem.RESPOSTA.value: 5,
    }


def test_the_newest_worker_is_named_when_it_was_closed(now: datetime) -> None:
    waiting(now, 51, minutes=31)
    beats.beat("worker", "worker-1")
    beats.close("worker-1")
    assert "encerrado" in found(movimento.fila_acumulada, now + SECOND)[""].mensagem
