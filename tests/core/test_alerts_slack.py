"""From the outbox to Slack over real HTTP: paced, in order, again after every failure, never lost."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings

from core import clock
from core.alerts import rules, slack, wire
from core.alerts.declared import EVALUATION_FAILED
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Entrega, Severidade
from core.alerts.services import raise_alert, resolve
from core.alerts.slack import Deliverer, Outcome
from core.circuits.models import Circuit, CircuitState
from core.database import execute, rows
from core.flags import services as flags
from tests.core.alerting import MIN
from tests.core.slack_stub import HANGS, RESETS, SlackStub, slack_stub

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = timedelta(0)


@pytest.fixture(autouse=True)
def quiet(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_rules", {EVALUATION_FAILED: rules.rule_of(EVALUATION_FAILED)})
    execute("DELETE FROM circuits WHERE name = 'slack'")
    execute("DELETE FROM leases")


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackStub]:
    with slack_stub() as stub:
        monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", stub.url)
        yield stub


def alert(*kinds: str) -> None:
    for kind in kinds or ("chip_degradado",):
        raise_alert(kind, "chip:1", severidade=Severidade.CRITICAL, titulo=f"Alerta {kind}", mensagem="Confira.")
    evaluate(clock.database_now())


def due() -> None:
    """As if every pause were over, that of the channel too."""
    execute("UPDATE alerta_entregas SET proxima_em = agora() - interval '1 second'")
    execute("DELETE FROM leases")


def message(kind: str = "chip_degradado") -> Entrega:
    return Entrega.objects.get(tipo=kind, especie="aberto")


def test_a_message_arrives_and_its_alert_says_when(channel: SlackStub) -> None:
    alert()
    assert Deliverer("a").deliver() is Outcome.SENT
    assert channel.texts == ["[CRÍTICO] chip_degradado: Alerta chip_degradado"]
    assert Alerta.objects.get().notificado
    assert Alerta.objects.get().notificado_em is not None
    assert message().situacao == "enviada"
    assert Deliverer("a").deliver() is Outcome.EMPTY


def test_one_message_per_second_however_many_deliver(channel: SlackStub) -> None:
    alert("a", "b", "c")
    outcomes = [Deliverer(owner).deliver() for owner in ("x", "y", "x")]
    assert outcomes == [Outcome.SENT, Outcome.PACED, Outcome.PACED]
    assert rows("SELECT until > agora() AND until <= agora() + interval '1 second' AS ok FROM leases")[0]["ok"]
    execute("UPDATE leases SET until = agora()")
    assert Deliverer("y").deliver() is Outcome.SENT


def test_messages_leave_in_the_order_written(channel: SlackStub) -> None:
    alert("a", "b", "c")
    deliverer = Deliverer("x", pace=AT_ONCE)
    while deliverer.deliver() is Outcome.SENT:
        pass
    assert [text.split()[1] for text in channel.texts] == ["a:", "b:", "c:"]


def test_retry_after_holds_the_whole_channel(channel: SlackStub) -> None:
    channel.answers = [(429, {"Retry-After": "30"}), 200]
    alert("a", "b")
    deliverer = Deliverer("x", pace=AT_ONCE)
    assert deliverer.deliver() is Outcome.LATER
    assert deliverer.deliver() is Outcome.PACED
    (held,) = rows("SELECT extract(epoch FROM until - agora()) AS s FROM leases")
    assert 28 < held["s"] <= 30
    assert not Circuit.objects.filter(name="slack").exclude(failures=0).exists()
    due()
    assert [deliverer.deliver() for _ in range(3)] == [Outcome.SENT, Outcome.SENT, Outcome.EMPTY]
    assert len(channel.posted) == 3


@pytest.mark.parametrize("fault", [500, 404, 302, RESETS])
def test_a_failure_is_tried_again_later_and_later(channel: SlackStub, fault: object) -> None:
    channel.answers = [fault, fault, 200]
    alert()
    deliverer = Deliverer("x", pace=AT_ONCE)
    pauses = []
    for _ in range(2):
        assert deliverer.deliver() is Outcome.LATER
        pauses.append(rows("SELECT extract(epoch FROM proxima_em - agora()) AS s FROM alerta_entregas")[0]["s"])
        due()
    assert deliverer.deliver() is Outcome.SENT
    assert 4 < pauses[0] <= 5 < 9 < pauses[1] <= 10
    assert message().tentativas == 3


def test_a_slack_that_hangs_costs_ten_seconds_at_most_and_never_opens_the_circuit(
    channel: SlackStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wire.POST_TOTAL_S <= 10
    monkeypatch.setattr(wire.post_json, "__kwdefaults__", {"total_s": 0.3})
    channel.answers = [HANGS]
    alert()
    began = time.monotonic()
    for _ in range(6):
        assert Deliverer("x", pace=AT_ONCE).deliver() is Outcome.LATER
        due()
    assert time.monotonic() - began < 10
    assert message().situacao == "pendente"
    assert not Circuit.objects.filter(name="slack", state=CircuitState.OPEN).exists()


def test_a_refused_connection_opens_the_circuit_and_the_probe_brings_everything(
    channel: SlackStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/x")
        alert("a", "b")
        outcomes = []
        for _ in range(7):
            outcomes.append(Deliverer("x", pace=AT_ONCE).deliver())
            due()
    assert outcomes == [Outcome.LATER] * 5 + [Outcome.BLOCKED] * 2
    assert sum(Entrega.objects.values_list("tentativas", flat=True)) == 5  # what never left is no attempt
    monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", channel.url)
    execute("UPDATE circuits SET retry_at = agora() - interval '1 second' WHERE name = 'slack'")
    due()
    assert [Deliverer("x", pace=AT_ONCE).deliver() for _ in range(2)] == [Outcome.SENT, Outcome.SENT]
    assert Circuit.objects.get(name="slack").state == CircuitState.CLOSED


def test_one_message_that_slack_cannot_read_stops_no_other_kind_and_goes_without_its_form(channel: SlackStub) -> None:
    channel.answers = [400, 200]
    alert("a", "b")
    deliverer = Deliverer("x", pace=AT_ONCE)
    assert [deliverer.deliver() for _ in range(2)] == [Outcome.LATER, Outcome.SENT]
    due()
    assert deliverer.deliver() is Outcome.SENT
    assert [text.split()[1] for text in channel.texts] == ["a:", "b:", "a:"]
    assert "attachments" not in channel.posted[2]


def test_the_end_of_an_alert_never_arrives_before_its_beginning(channel: SlackStub) -> None:
    channel.answers = [500, 200]
    alert()
    deliverer = Deliverer("x", pace=AT_ONCE)
    assert deliverer.deliver() is Outcome.LATER
    resolve("chip_degradado", "chip:1")
    evaluate(clock.database_now())
    assert deliverer.deliver() is Outcome.EMPTY
    due()
    assert [deliverer.deliver() for _ in range(2)] == [Outcome.SENT, Outcome.SENT]
    assert [text.split("]")[0] for text in channel.texts[1:]] == ["[CRÍTICO", "[RESOLVIDO"]


def test_whoever_dies_between_the_post_and_the_mark_costs_at_most_one_repetition(channel: SlackStub) -> None:
    alert()
    first = Deliverer("dies", pace=AT_ONCE)
    taken = first._take()
    assert isinstance(taken, slack._Taken)
    assert first._post(taken) is Outcome.SENT
    other = Deliverer("other", pace=AT_ONCE)
    assert other.deliver() is Outcome.EMPTY  # somebody may still be at it
    execute("UPDATE alerta_entregas SET tentada_em = agora() - interval '61 seconds'")
    assert other.deliver() is Outcome.SENT
    assert other.deliver() is Outcome.EMPTY
    assert len(channel.posted) == 2


def test_what_was_sent_and_could_not_be_marked_is_marked_later_and_not_sent_again(
    channel: SlackStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Exception):
        pass

    def away(_: object) -> None:
        raise Away

    alert()
    deliverer = Deliverer("x", pace=AT_ONCE)
    with monkeypatch.context() as patched:
        patched.setattr(slack, "_mark_sent", away)
        with pytest.raises(Away):
            deliverer.deliver()
    execute("UPDATE alerta_entregas SET tentada_em = agora() - interval '61 seconds'")
    assert deliverer.deliver() is Outcome.SENT
    assert len(channel.posted) == 1
    assert message().situacao == "enviada"


def test_without_a_channel_everything_is_kept_for_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", "")
    alert()
    assert Deliverer("x").deliver() is Outcome.EMPTY
    assert message().situacao == "sem_canal"


def test_the_switch_of_the_operators_pauses_and_loses_nothing(channel: SlackStub) -> None:
    def switch(on: bool) -> None:
        flags.set_setting("slack_notificacoes", on, actor="ana", motivo="canal em manutenção", now=clock.now())

    switch(on=False)
    alert()
    for minutes in (61, 122, 183):  # nor do reminders pile up behind what nobody could read
        evaluate(clock.database_now() + minutes * MIN)
    assert Deliverer("x", pace=AT_ONCE).deliver() is Outcome.PAUSED
    switch(on=True)
    deliverer = Deliverer("x", pace=AT_ONCE)
    assert [deliverer.deliver() for _ in range(2)] == [Outcome.SENT, Outcome.EMPTY]


def test_a_message_is_kept_until_its_alerts_are_over_for_a_day(channel: SlackStub) -> None:
    alert()
    execute("UPDATE alerta_entregas SET created_at = created_at - interval '10 days'")
    assert slack.discard_unwanted() == 0
    execute("UPDATE alertas SET resolvido_em = agora() - interval '23 hours'")
    assert slack.discard_unwanted() == 0
    execute("UPDATE alertas SET resolvido_em = agora() - interval '25 hours'")
    assert slack.discard_unwanted() == 1
    assert message().situacao == "descartada"


def test_the_address_of_the_channel_is_in_no_row_and_no_log(
    channel: SlackStub, capfd: pytest.CaptureFixture[str]
) -> None:
    channel.answers = [500]
    alert()
    Deliverer("x", pace=AT_ONCE).deliver()
    told = capfd.readouterr()
    assert "segredodocanal" not in told.err + told.out + str(rows("SELECT * FROM alerta_entregas"))
    assert slack.backlog()[0] == 1
