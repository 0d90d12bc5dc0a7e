"""The watch in real processes: one of any number, another when it dies, and a voice when the database is away."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from core.alerts import lease, outage
from core.alerts.models import Alerta, Severidade
from core.alerts.outage import Outage
from core.alerts.services import raise_alert
from core.alerts.watch import LEASE
from core.database import execute, rows
from tests.core.alerting import said
from tests.core.slack_stub import HANGS, SlackStub, slack_stub
from tests.julia.processes import Servir, Supervised, wait_until
from tests.julia.test_progress_processes import closed_database

__all__ = ["closed_database"]  # the fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


class Watcher(Servir):
    program: ClassVar[tuple[str, ...]] = ("-m", "tests.julia.watcher")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def channel(transactional_db: None) -> Iterator[SlackStub]:
    execute("CREATE TABLE ensaio_fatos (chave text)")
    with slack_stub() as stub:
        yield stub
    execute("DROP TABLE ensaio_fatos")
    execute("TRUNCATE alertas, alerta_estados, alerta_entregas, leases CASCADE")


@pytest.fixture
def watch(tmp_path: Path, channel: SlackStub) -> Iterator[Callable[..., Watcher]]:
    started: list[Watcher] = []

    def start(owner: str, **environment: str) -> Watcher:
        values = {"SLACK_WEBHOOK_URL": channel.url, "DEADMAN_URL": f"{channel.url}/vivo", **environment}
        started.append(Watcher(tmp_path / f"{owner}.log", owner, **values))
        return started[-1]

    yield start
    for each in started:
        each.close()


def happens(chave: str) -> None:
    execute("INSERT INTO ensaio_fatos VALUES (%s)", [chave])


def holder() -> str:
    return lease.holder(LEASE)


def evaluated_by(chave: str) -> str:
    """Whose look wrote the alert's evidence last."""
    return str(Alerta.objects.filter(chave=chave).values_list("mensagem", flat=True).first() or "")


# Real processes -------------------------------------------------------------------------------------------------------


def test_one_watch_alone_sees_delivers_and_gives_a_sign_outwards(
    watch: Callable[..., Watcher], channel: SlackStub
) -> None:
    running = watch("so")
    wait_until(lambda: holder() == "so", otherwise=lambda: running.said)
    happens("chip:1")
    wait_until(lambda: channel.posted, otherwise=lambda: running.said)
    assert channel.texts[0] == "[ERRO] ensaio: Ensaio"
    wait_until(lambda: len(channel.asked) >= 2)
    assert running.terminate() == 0
    assert holder() == ""  # given back: whoever is there goes on at once


def test_when_the_one_that_watches_is_killed_another_goes_on_within_the_lease(
    watch: Callable[..., Watcher], channel: SlackStub
) -> None:
    first = watch("primeiro")
    wait_until(lambda: holder() == "primeiro", otherwise=lambda: first.said)
    second = watch("segundo")
    happens("chip:1")
    wait_until(lambda: channel.posted)
    first.kill()
    killed_at = time.monotonic()
    wait_until(lambda: holder() == "segundo", otherwise=lambda: second.said)
    assert time.monotonic() - killed_at < 10
    happens("chip:2")
    wait_until(lambda: len(channel.posted) == 2, otherwise=lambda: second.said)
    wait_until(lambda: evaluated_by("chip:2") == "segundo")
    assert said() == [("aberto", "ensaio"), ("aberto", "ensaio")]


def test_three_watches_say_everything_once(watch: Callable[..., Watcher], channel: SlackStub) -> None:
    for owner in ("a", "b", "c"):
        watch(owner)
    wait_until(holder)
    for number in range(3):
        happens(f"chip:{number}")
        wait_until(partial(evaluated_by, f"chip:{number}"))
    execute("DELETE FROM ensaio_fatos")
    wait_until(lambda: not Alerta.objects.filter(resolvido_em=None).exists())
    waiting = "SELECT 1 FROM alerta_entregas WHERE situacao <> 'enviada'"
    wait_until(lambda: len(said()) >= 4 and not rows(waiting))
    assert len(channel.posted) == len(said())
    told = rows("SELECT alerta_id, especie, count(*) AS n FROM alerta_avisos GROUP BY 1, 2")
    assert {row["n"] for row in told} == {1}


def test_a_slack_that_hangs_delays_no_evaluation(watch: Callable[..., Watcher], channel: SlackStub) -> None:
    channel.answers = [HANGS]
    running = watch("so")
    happens("chip:1")
    wait_until(lambda: channel.posted, otherwise=lambda: running.said)
    happens("chip:2")
    began = time.monotonic()
    wait_until(lambda: evaluated_by("chip:2"))
    assert time.monotonic() - began < 5
    assert Alerta.objects.filter(notificado=True).count() == 0
    channel.answers = [200]
    channel.released.set()
    assert running.terminate() == 0
    assert float(running.said.split("encerrado em ")[1].split()[0]) < 12


def test_a_database_that_is_away_is_told_from_memory_and_written_down_when_it_is_back(
    watch: Callable[..., Watcher], channel: SlackStub, closed_database: Callable[[], None]
) -> None:
    running, other = watch("so"), watch("outro")
    for each in (running, other):
        each.wait_for("vigia dos alertas")
    wait_until(lambda: channel.asked)
    closed_database()
    wait_until(lambda: channel.posted, otherwise=lambda: running.said)
    (text,) = channel.texts
    assert text.startswith("[CRÍTICO] banco_fora: o banco de dados não responde a ")
    time.sleep(1)  # nothing more is said of it: neither again, nor by the other one
    assert len(channel.posted) == 1
    pings = len(channel.asked)
    time.sleep(1)
    assert len(channel.asked) <= pings + 1  # who sees nothing gives no sign
    closed_database()
    wait_until(lambda: Alerta.objects.filter(tipo="banco_fora").exists(), otherwise=lambda: running.said)
    wait_until(
        lambda: any(each.startswith("[RESOLVIDO] banco_fora: ") for each in channel.texts),
        otherwise=lambda: running.said,
    )
    row = Alerta.objects.get(tipo="banco_fora")
    assert row.resolvido_em is not None
    assert (row.resolvido_em - row.primeira_ocorrencia_em).total_seconds() > 2
    wait_until(Alerta.objects.filter(tipo="banco_fora", notificado=True).exists)


def test_looks_that_never_get_through_are_told_past_the_outbox_once(
    watch: Callable[..., Watcher], channel: SlackStub
) -> None:
    execute("ALTER TABLE alerta_estados RENAME TO alerta_estados_sumiu")
    try:
        running = watch("so")
        wait_until(lambda: channel.posted, otherwise=lambda: running.said)
        time.sleep(1)
        (text,) = channel.texts
        assert text.startswith("[CRÍTICO] os alertas não estão sendo avaliados")
        assert channel.asked == []  # no sign of life outwards
    finally:
        execute("ALTER TABLE alerta_estados_sumiu RENAME TO alerta_estados")
    wait_until(lambda: channel.asked, otherwise=lambda: running.said)


def test_a_supervisor_of_any_role_keeps_the_watch_and_ends_it_with_itself(tmp_path: Path, channel: SlackStub) -> None:
    running = Supervised(tmp_path / "log", "boneco", "30", SLACK_WEBHOOK_URL=channel.url)
    try:
        raise_alert("chip_degradado", "chip:1", severidade=Severidade.CRITICAL, titulo="Fora", mensagem="Confira.")
        wait_until(lambda: any("chip_degradado" in text for text in channel.texts), otherwise=lambda: running.said)
        assert holder().endswith(f":{running.pid}")
        began = time.monotonic()
        assert running.terminate() == 0
        assert time.monotonic() - began < 15
        assert holder() == ""
    finally:
        running.close()


def test_a_stopped_supervisor_loses_the_watch_to_another(tmp_path: Path, watch: Callable[..., Watcher]) -> None:
    """SIGSTOP: it neither dies nor gives anything back; its lease runs out."""
    first = watch("primeiro")
    wait_until(lambda: holder() == "primeiro", otherwise=lambda: first.said)
    watch("segundo")
    os.kill(first.pid, signal.SIGSTOP)
    wait_until(lambda: holder() == "segundo")
    os.kill(first.pid, signal.SIGCONT)


# The lease and the outage, by themselves ------------------------------------------------------------------------------


def test_a_lease_is_one_holders_until_it_runs_out(transactional_db: None) -> None:
    span = timedelta(seconds=60)
    assert lease.take("x", "a", span)
    assert lease.take("x", "a", span)
    assert not lease.take("x", "b", span)
    assert not lease.give_back("x", "b")
    execute("UPDATE leases SET until = agora() - interval '1 second' WHERE name = 'x'")
    assert lease.take("x", "b", span)
    assert not lease.take("x", "a", span)
    assert lease.give_back("x", "b")
    execute("DELETE FROM leases")


@pytest.mark.parametrize(
    ("silent_s", "is_ours", "told"),
    [(9, True, False), (59, True, False), (60, True, True), (60, False, False), (300, False, True)],
)
def test_when_an_outage_is_told(silent_s: float, is_ours: bool, told: bool) -> None:
    away = outage.look(None, answered_at=100.0, now=100.0 + silent_s)
    assert (away is not None and outage.is_to_be_told(away, is_ours=is_ours, now=100.0 + silent_s)) == told


def test_an_outage_is_told_once_and_ends_with_the_first_answer() -> None:
    away = Outage(since=100.0)
    assert outage.look(away, answered_at=100.0, now=500.0) == away
    assert not outage.is_to_be_told(replace(away, is_told=True), is_ours=True, now=500.0)
    over = outage.look(away, answered_at=170.0, now=171.0)
    assert over == replace(away, back_at=170.0)
    assert outage.is_worth_a_row(over)
    assert not outage.is_worth_a_row(Outage(since=100.0, back_at=130.0))
    text = outage.sentence(away, machine="m:1", now=160.0, wall=datetime(2026, 3, 3, 13, 1, tzinfo=UTC))
    assert "03/03/2026 10:00:00" in text


def test_two_supervisors_write_one_row_of_one_outage(transactional_db: None) -> None:
    over = Outage(since=100.0, back_at=190.0)
    assert outage.write_down(over, machine="a", now=200.0)
    assert not outage.write_down(replace(over, since=101.0, was_sent=True), machine="b", now=200.0)
    row = Alerta.objects.get(tipo="banco_fora")
    assert row.resolvido_em is not None
    assert 89 < (row.resolvido_em - row.primeira_ocorrencia_em).total_seconds() < 91
    assert row.notificado
    row.delete()
