"""A look at every fact: what it writes, that it writes it once, and that one broken rule stops nobody else."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import Error, connection, transaction
from django.test.utils import CaptureQueriesContext

from core import clock, correlation
from core.alerts import evaluator, rules, services
from core.alerts import notices as notices_module
from core.alerts.declared import EVALUATION_FAILED
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Severidade
from core.alerts.services import acknowledge, open_alerts, raise_alert, resolve, silence, unsilence
from core.database import execute, rows
from tests.core.alerting import MIN, finding, notices, rule, said

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_rules", {EVALUATION_FAILED: rules.rule_of(EVALUATION_FAILED)})


@pytest.fixture
def t0(db: None) -> datetime:
    return clock.database_now()


def opened(tipo: str = "fila_acumulada", chave: str = "") -> Alerta:
    return Alerta.objects.get(tipo=tipo, chave=chave, resolvido_em=None)


# Notification ----------------------------------------------------------------------------------------------------


def test_one_notification_per_rest_and_a_reminder_after_it(t0: datetime) -> None:
    """S-36 T01.5: 51 rows, one alert; run again, none; after 61 minutes, one."""
    rule("fila_acumulada", finding())
    assert evaluate(t0).notified == 1
    assert evaluate(t0).notified == 0
    assert evaluate(t0 + 30 * MIN).notified == 0
    assert evaluate(t0 + 61 * MIN).notified == 1
    assert said() == [("aberto", "fila_acumulada"), ("lembrete", "fila_acumulada")]
    assert opened().ocorrencias == 4


def test_a_recovery_is_told_once(t0: datetime) -> None:
    facts = rule("fila_acumulada", finding())
    evaluate(t0)
    facts.found.clear()
    assert evaluate(t0 + MIN).resolved == 1
    assert evaluate(t0 + 2 * MIN).resolved == 0
    assert said() == [("aberto", "fila_acumulada"), ("resolvido", "fila_acumulada")]


def test_an_alert_that_opens_again_within_its_rest_is_not_announced_again_until_the_rest_is_over(t0: datetime) -> None:
    facts = rule("fila_acumulada", finding())
    evaluate(t0)
    facts.found.clear()
    evaluate(t0 + MIN)
    facts.found.append(finding())
    assert evaluate(t0 + 10 * MIN).opened == 1
    assert said() == [("aberto", "fila_acumulada"), ("resolvido", "fila_acumulada")]
    assert evaluate(t0 + 61 * MIN).notified == 1
    assert [each for each, _ in said()] == ["aberto", "resolvido", "aberto"]


def test_an_end_that_nobody_was_told_the_beginning_of_is_not_told(t0: datetime) -> None:
    facts = rule("fila_acumulada", finding(), notifica=False)
    evaluate(t0)
    facts.found.clear()
    evaluate(t0 + MIN)
    assert said() == []
    assert Alerta.objects.get().resolvido_em is not None


def test_scopes_of_one_kind_make_one_message(t0: datetime) -> None:
    rule("whatsapp_desconectado", *(finding(f"chip:{n}") for n in range(7)))
    rule("fila_acumulada", finding())
    found = evaluate(t0)
    assert (found.opened, found.notified, found.findings) == (8, 8, 8)
    assert said() == [("aberto", "fila_acumulada"), ("aberto", "whatsapp_desconectado")]


def test_nobody_taking_an_alert_escalates_it_once(t0: datetime) -> None:
    rule("fila_acumulada", finding(), escala_apos=15 * MIN)
    for minutes in (0, 14, 15, 16, 40):
        evaluate(t0 + minutes * MIN)
    assert [each for each, _ in said()] == ["aberto", "escalado"]
    (message,) = rows("SELECT corpo FROM alerta_entregas WHERE especie = 'escalado'")
    assert "ninguém assumiu em 15 min" in message["corpo"]["text"]


def test_a_worse_severity_breaks_the_rest_once(t0: datetime) -> None:
    facts = rule("taxa_erro_alta", finding(severidade=Severidade.WARNING))
    evaluate(t0)
    for minutes in (1, 2, 3):
        facts.found[:] = [finding(severidade=Severidade.CRITICAL if minutes % 2 else Severidade.WARNING)]
        evaluate(t0 + minutes * MIN)
    assert [each for each, _ in said()] == ["aberto", "escalado"]


def test_an_owner_hears_no_reminder_and_no_escalation(t0: datetime) -> None:
    rule("fila_acumulada", finding(), escala_apos=15 * MIN)
    evaluate(t0)
    acknowledge(opened().pk, actor="ana")
    for minutes in (16, 61, 200):
        assert evaluate(t0 + minutes * MIN).notified == 0


# Inhibition and silence --------------------------------------------------------------------------------------------


def test_what_a_cause_explains_is_open_and_not_told(t0: datetime) -> None:
    cause = rule("banco_fora", finding())
    effect = rule("job_atrasado", finding("heartbeat"), inibido_por=("banco_fora",))
    evaluate(t0)
    assert said() == [("aberto", "banco_fora")]
    assert opened("job_atrasado", "heartbeat").inibido_por == "banco_fora"

    cause.found.clear()
    evaluate(t0 + MIN)
    assert said()[1:] == [("resolvido", "banco_fora")]  # what it caused gets a moment to recover
    evaluate(t0 + 2 * MIN)
    evaluate(t0 + 4 * MIN)
    assert said()[2:] == [("aberto", "job_atrasado")]
    assert opened("job_atrasado", "heartbeat").inibido_por == ""
    effect.found.clear()
    evaluate(t0 + 5 * MIN)
    assert said()[3:] == [("resolvido", "job_atrasado")]


def test_a_held_back_alert_that_recovers_with_its_cause_is_never_told(t0: datetime) -> None:
    cause = rule("banco_fora", finding())
    effect = rule("job_atrasado", finding("heartbeat"), inibido_por=("banco_fora",))
    evaluate(t0)
    cause.found.clear()
    evaluate(t0 + MIN)
    effect.found.clear()
    evaluate(t0 + 2 * MIN)
    evaluate(t0 + 60 * MIN)
    assert {tipo for _, tipo in said()} == {"banco_fora"}


def test_a_cause_that_is_not_sure_yet_holds_back_too(t0: datetime) -> None:
    rule("banco_fora", finding(), segura=5 * MIN)
    rule("job_atrasado", finding(), inibido_por=("banco_fora",))
    evaluate(t0)
    assert said() == []


def test_a_cause_that_nobody_is_told_of_holds_nothing_back(t0: datetime) -> None:
    rule("cluster_reiniciado", finding(), notifica=False)
    rule("job_atrasado", finding(), inibido_por=("cluster_reiniciado",))
    assert evaluate(t0).notified == 1


def test_rules_that_would_inhibit_each_other_are_refused() -> None:
    rule("a", inibido_por=("b",))
    rule("b", inibido_por=("c",))
    with pytest.raises(ValueError, match="nobody would ever be told"):
        rule("c", inibido_por=("a",))
    with pytest.raises(ValueError, match="nobody would ever be told"):
        rule("d", inibido_por=("d",))
    with pytest.raises(ValueError, match="declared twice"):
        rule("a")


@pytest.mark.parametrize("scope", ["", "chip:1"])
def test_a_silence_holds_everything_back_until_it_ends(t0: datetime, scope: str) -> None:
    rule("whatsapp_desconectado", finding("chip:1"))
    silence("whatsapp_desconectado", scope, ate=t0 + 60 * MIN, motivo="troca de aparelho", actor="ana")
    assert evaluate(t0).opened == 1
    assert said() == []
    assert [alert.silenciado_ate for alert in open_alerts()] == [t0 + 60 * MIN]
    evaluate(t0 + 61 * MIN)
    assert said() == [("aberto", "whatsapp_desconectado")]


def test_another_scope_is_not_silenced(t0: datetime) -> None:
    rule("whatsapp_desconectado", finding("chip:2"))
    silence("whatsapp_desconectado", "chip:1", ate=t0 + 60 * MIN, motivo="troca de aparelho", actor="ana")
    assert evaluate(t0).notified == 1


def test_a_silence_taken_back_ends_at_once_and_is_audited(t0: datetime) -> None:
    rule("fila_acumulada", finding())
    silence("fila_acumulada", "", ate=t0 + 60 * MIN, motivo="manutenção combinada", actor="ana")
    evaluate(t0)
    assert unsilence("fila_acumulada", "", actor="bia") == 1
    assert evaluate(t0 + MIN).notified == 1
    acts = [row["acao"] for row in rows("SELECT acao FROM audit_trail ORDER BY created_at")]
    assert acts == ["alerta_silenciado", "alerta_silencio_retirado"]


@pytest.mark.parametrize("hours", [-1, 25])
def test_a_silence_ends_within_a_day(t0: datetime, hours: int) -> None:
    with pytest.raises(services.AlertRefused):
        silence("x", "", ate=t0 + timedelta(hours=hours), motivo="motivo comprido", actor="ana")


# Alerts that events raise ------------------------------------------------------------------------------------------


def test_an_alert_of_an_event_is_announced_recalled_escalated_and_ended_by_the_same_outbox(t0: datetime) -> None:
    with correlation.use("abc12345"):
        raise_alert("chip_degradado", "chip:1", severidade=Severidade.CRITICAL, titulo="Chip fora", mensagem="Confira.")
    now = clock.database_now()
    for minutes in (0, 1, 30, 31, 91):
        evaluate(now + minutes * MIN)
    assert [each for each, _ in said()] == ["aberto", "escalado", "lembrete"]
    resolve("chip_degradado", "chip:1")
    evaluate(now + 92 * MIN)
    evaluate(now + 93 * MIN)
    assert [each for each, _ in said()] == ["aberto", "escalado", "lembrete", "resolvido"]
    assert Alerta.objects.get().correlation_id == "abc12345"


def test_an_end_by_raw_sql_is_told_as_well(t0: datetime) -> None:
    raise_alert("pedido_recusado", "chip:1", severidade=Severidade.ERROR, titulo="Recusado", mensagem="Confira.")
    now = clock.database_now()
    evaluate(now)
    execute("UPDATE alertas SET resolvido_em = agora() WHERE tipo = 'pedido_recusado'")
    evaluate(now + MIN)
    assert [each for each, _ in said()] == ["aberto", "resolvido"]


def test_a_flapping_event_is_announced_once_per_rest(t0: datetime) -> None:
    for _ in range(10):
        raise_alert("chip_degradado", "chip:1", severidade=Severidade.CRITICAL, titulo="Fora", mensagem="Confira.")
        evaluate(clock.database_now())
        resolve("chip_degradado", "chip:1")
        evaluate(clock.database_now())
    assert [each for each, _ in said()] == ["aberto", "resolvido"]


def test_what_no_rule_watches_is_closed_by_a_person_and_the_rest_is_not(t0: datetime) -> None:
    raise_alert("entregue_apos_reenvio", "m", severidade=Severidade.ERROR, titulo="Duas vezes", mensagem="Avise.")
    services.close(opened("entregue_apos_reenvio", "m").pk, actor="ana", motivo="avisei o médico por telefone")
    rule("fila_acumulada", finding())
    evaluate(t0)
    with pytest.raises(services.AlertRefused):
        services.close(opened().pk, actor="ana", motivo="não quero mais ver")


# Broken rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), RuntimeError("x"), TypeError("x")])
def test_a_broken_rule_changes_nothing_of_its_alerts_and_is_reported_after_three_failures(
    t0: datetime, error: Exception
) -> None:
    sick = rule("fila_acumulada", finding())
    sound = rule("job_atrasado")
    evaluate(t0)
    sick.error = error
    sound.found.append(finding("heartbeat"))
    looks = [evaluate(t0 + minutes * MIN) for minutes in (1, 2, 3, 4)]
    assert [look.failures for look in looks] == [("fila_acumulada",)] * 4
    assert [look.opened for look in looks] == [1, 0, 1, 0]
    assert opened().ocorrencias == 1
    assert opened(EVALUATION_FAILED, "fila_acumulada").valor == 4

    sick.error = None
    evaluate(t0 + 5 * MIN)
    evaluate(t0 + 7 * MIN)
    assert opened().ocorrencias == 3
    assert not Alerta.objects.filter(tipo=EVALUATION_FAILED, resolvido_em=None).exists()


def test_a_rule_that_takes_too_long_is_cut_off_and_the_others_go_on(
    t0: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "RULE_TIMEOUT_MS", 50)

    def sleeps(now: datetime) -> list[rules.Finding]:
        rows("SELECT pg_sleep(5)")
        return []

    rules.alert_rule("fila_acumulada", significa="", proximo="", link="")(sleeps)
    rule("job_atrasado", finding("heartbeat"))
    look = evaluate(t0)
    assert (look.failures, look.opened) == (("fila_acumulada",), 1)
    assert rows("SHOW statement_timeout")[0]["statement_timeout"] == "0"


def test_a_rule_cannot_write(t0: datetime) -> None:
    def writes(now: datetime) -> list[rules.Finding]:
        execute("DELETE FROM alertas")
        return []

    raise_alert("x", severidade=Severidade.ERROR, titulo="x", mensagem="x")
    rules.alert_rule("faz_estrago", significa="", proximo="", link="")(writes)
    assert evaluate(t0).failures == ("faz_estrago",)
    assert Alerta.objects.count() == 1
    execute("UPDATE alertas SET ocorrencias = 5")  # writing is allowed again


def test_a_rule_that_finds_everything_finds_nothing(t0: datetime) -> None:
    rule("whatsapp_desconectado", *(finding(f"chip:{n}") for n in range(evaluator.MOST_FINDINGS + 1)))
    assert evaluate(t0).failures == ("whatsapp_desconectado",)
    assert not Alerta.objects.exists()


def test_only_the_asked_rules_are_touched(t0: datetime) -> None:
    fila = rule("fila_acumulada", finding())
    job = rule("job_atrasado", finding("heartbeat"))
    evaluate(t0)
    fila.found.clear()
    job.found.clear()
    look = evaluate(t0 + MIN, only=["job_atrasado"])
    assert (look.resolved, fila.asked, job.asked) == (1, 1, 2)
    assert opened().resolvido_em is None


# What is written -----------------------------------------------------------------------------------------------------


def test_neither_phone_nor_credential_reaches_row_or_message(t0: datetime) -> None:
    rule(
        "x",
        finding(
            "chip:1",
            titulo="julia_5511900001234 <!channel>",
            mensagem="token=abcdefgh123 de +55 11 90000-1234",
            contexto={"apikey": "abcdefgh123", "por_tipo": {"FAILED_TIMEOUT": 7}},
        ),
    )
    evaluate(t0)
    (row,) = rows("SELECT a.*, m.corpo FROM alertas a, alerta_entregas m")
    text = str(row)
    assert "90000" not in text
    assert "abcdefgh123" not in text
    assert "***1234" in text
    assert "<!channel>" not in str(row["corpo"])
    assert "FAILED TIMEOUT: 7" in str(row["corpo"])


def test_a_message_says_everything_that_an_operator_needs(t0: datetime) -> None:
    since = t0 - 31 * MIN
    with correlation.use("feedbeef"):
        rule("fila_acumulada", finding(valor=1234, limite=50, desde=since, contexto={"por_tipo": {"campanha": 51}}))
        evaluate(t0)
    (body,) = (row["corpo"] for row in rows("SELECT corpo FROM alerta_entregas"))
    (attachment,) = body["attachments"]
    assert body["text"] == "[CRÍTICO] fila_acumulada: Alerta de tudo"
    assert attachment["color"] == "#9C27B0"
    fields = {each["title"]: each["value"] for each in attachment["fields"]}
    assert fields["Valor"] == "1.234"
    assert fields["Limite"] == "50"
    assert fields["Desde"] == since.astimezone(clock.BRASILIA).strftime("%d/%m/%Y %H:%M:%S")
    assert fields["Detalhe"] == "por tipo: campanha: 51"
    assert fields["O que significa"] == "Mensagens vencidas esperam."
    assert fields["Próximo passo"] == "Veja o worker."
    assert fields["Onde ver"] == "<http://127.0.0.1:8000/admin/fila/mensagem/?situacao=vencidas|Abrir na Julia>"
    assert attachment["title_link"] == f"http://127.0.0.1:8000/admin/core/alerta/{opened().pk}/change/"
    assert "feedbeef" in attachment["footer"]
    assert opened().correlation_id == "feedbeef"


def test_open_alerts_are_one_statement_worst_first(t0: datetime) -> None:
    for number, severity in enumerate([Severidade.INFO, Severidade.CRITICAL, Severidade.WARNING, Severidade.ERROR]):
        raise_alert("x", str(number), severidade=severity, titulo="x", mensagem="x")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = open_alerts(3)
    assert [alert.severidade for alert in found] == [Severidade.CRITICAL, Severidade.ERROR, Severidade.WARNING]
    assert len(queries) == 1


def test_the_number_of_statements_does_not_grow_with_the_findings(t0: datetime) -> None:
    facts = rule("whatsapp_desconectado", finding("chip:0"))
    with CaptureQueriesContext(connection) as few:
        evaluate(t0)
    facts.found[:] = [finding(f"chip:{n}") for n in range(1, 300)]
    with CaptureQueriesContext(connection) as many:
        evaluate(t0 + MIN)
    assert len(many) <= len(few) + 3


# Several evaluators ----------------------------------------------------------------------------------------------


@pytest.fixture
def outside(transactional_db: None) -> Iterator[None]:
    yield
    execute("TRUNCATE alertas, alerta_estados, alerta_entregas, alerta_silencios CASCADE")


@pytest.mark.django_db(transaction=True)
def test_evaluators_at_the_same_time_say_everything_once(outside: None) -> None:
    rule("whatsapp_desconectado", *(finding(f"chip:{n}") for n in range(20)))
    raise_alert("chip_degradado", "chip:x", severidade=Severidade.CRITICAL, titulo="Fora", mensagem="Confira.")
    now = clock.database_now()
    together = threading.Barrier(6)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            together.wait()
            for turn in range(5):
                evaluate(now + turn * timedelta(seconds=30))
        except Exception as error:  # noqa: BLE001 (told below, in the test's own thread)
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(notices()) == len(set(notices())) == 21
    assert Alerta.objects.count() == 21


@pytest.mark.django_db(transaction=True)
def test_an_alert_that_somebody_holds_is_left_for_the_next_look_and_stops_nothing(outside: None) -> None:
    """A send path in mid-transaction, or an operator's open psql session, holds the row of `fila_acumulada`."""
    facts = rule("fila_acumulada", finding())
    held_by_event = ("chip_degradado", "chip:1")
    raise_alert(*held_by_event, severidade=Severidade.CRITICAL, titulo="Fora", mensagem="Confira.")
    evaluate(clock.database_now())
    rule("job_atrasado", finding("heartbeat"))
    facts.found.clear()
    holds, free = threading.Event(), threading.Event()

    def holder() -> None:
        try:
            with transaction.atomic():
                execute("UPDATE alertas SET ocorrencias = ocorrencias + 1 WHERE tipo <> 'job_atrasado'")
                holds.set()
                free.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=holder)
    thread.start()
    assert holds.wait(10)
    look = evaluate(clock.database_now())
    assert (look.opened, look.resolved, look.notified) == (1, 0, 1)
    free.set()
    thread.join(10)
    assert evaluate(clock.database_now()).resolved == 1


@pytest.mark.django_db(transaction=True)
def test_an_evaluator_that_stands_still_in_mid_turn_is_ended_by_the_server(
    outside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP, or a machine that vanished: whoever holds the lock and says nothing more loses it."""
    monkeypatch.setattr(evaluator, "ABANDONED_AFTER_MS", 1000)
    stuck, released, ended = threading.Event(), threading.Event(), threading.Event()
    lost: list[str] = []

    def stands_still(now: datetime) -> list[rules.Finding]:
        if threading.current_thread() is thread:
            stuck.set()
            released.wait(20)
        return [finding()]

    def evaluates() -> None:
        try:
            evaluate(clock.database_now())
        except Error as error:
            lost.append(type(error).__name__)
        finally:
            connection.close()
            ended.set()

    rules.alert_rule("fila_acumulada", significa="", proximo="", link="")(stands_still)
    thread = threading.Thread(target=evaluates)
    thread.start()
    assert stuck.wait(10)
    assert evaluate(clock.database_now()).opened == 1
    released.set()
    assert ended.wait(10)
    assert lost
    assert said() == [("aberto", "fila_acumulada")]


def test_health_can_tell_when_everything_was_last_looked_at(t0: datetime) -> None:
    assert evaluator.last_look_at() is None
    rule("fila_acumulada")
    evaluate(t0, only=["fila_acumulada"])
    assert evaluator.last_look_at() is None
    evaluate(t0 + MIN)
    assert evaluator.last_look_at() == t0 + MIN


def test_a_crash_before_the_commit_leaves_nothing_half_said(t0: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    rule("fila_acumulada", finding())

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(notices_module, "_note_said", dies)
        with pytest.raises(Killed):
            evaluate(t0)
    assert (said(), Alerta.objects.count()) == ([], 0)
    evaluate(t0)
    assert said() == [("aberto", "fila_acumulada")]


# Shared facts ----------------------------------------------------------------------------------------------------


def test_what_several_rules_read_is_read_once_per_look(t0: datetime) -> None:
    readings: list[datetime] = []

    @rules.shared
    def fact(now: datetime) -> int:
        readings.append(now)
        return len(readings)

    found: list[int] = []
    for tipo in ("uma", "outra"):

        @rules.alert_rule(tipo, significa="", proximo="", link="")
        def asks(now: datetime) -> list[rules.Finding]:
            found.append(fact(now))
            return []

    evaluate(t0)
    evaluate(t0)
    assert found == [1, 1, 2, 2]
    assert (fact(t0), fact(t0)) == (3, 4)  # outside of a look nothing is remembered


def test_a_shared_fact_that_could_not_be_read_is_tried_again_by_the_next_rule(t0: datetime) -> None:
    readings: list[datetime] = []

    @rules.shared
    def fact(now: datetime) -> int:
        readings.append(now)
        if len(readings) == 1:
            raise LookupError
        return 7

    for tipo in ("uma", "outra"):

        @rules.alert_rule(tipo, significa="", proximo="", link="")
        def asks(now: datetime) -> list[rules.Finding]:
            return [finding()] if fact(now) == 7 else []

    looked = evaluate(t0)
    assert (looked.failures, looked.opened, len(readings)) == (("uma",), 1, 2)
