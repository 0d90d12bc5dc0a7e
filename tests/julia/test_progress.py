"""Measured progress: what counts as standing still, what excuses it, and that telling it never gets in the way."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import Error
from django_q.brokers.orm import ORM
from django_q.brokers.redis_broker import Redis
from django_q.signing import SignedPackage
from redis.exceptions import RedisError

from core.health import progress
from core.jobs import brokers, canary
from julia.supervisor.policy import Policy
from julia.supervisor.preflight import CannotStart
from julia.supervisor.progress import Progress
from julia.supervisor.senses import Ears, Probe, Sign, understood
from tests.julia.processes import wait_until

POLICY = Policy(stuck_after_s=60, boot_within_s=90, waits_believed_s=600)
WORKER = (progress.LOOK,)
CLUSTER = (progress.CANARY, progress.GUARD)


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ears]:
    """A supervisor's ears, and this process as one of its children."""
    ears = Ears()
    for name, value in ears.environment(POLICY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "_sent", {})
    yield ears
    ears.close()


def stands_still(child: Progress, now: float) -> tuple[str, float] | None:
    stall = child.stall(now)
    return (stall.what, round(stall.silent_s, 3)) if stall else None


class TestStandingStill:
    def test_silence_of_more_than_60_s_is_a_stall(self) -> None:
        worker = Progress(WORKER, POLICY, now=0.0)
        worker.saw(progress.LOOK, 10.0)
        assert worker.stall(70.0) is None
        assert stands_still(worker, 70.1) == (progress.LOOK, 60.1)

    def test_a_child_has_time_to_boot(self) -> None:
        worker = Progress(WORKER, POLICY, now=100.0)
        assert worker.stall(190.0) is None
        assert stands_still(worker, 190.1) == (progress.LOOK, 90.1)

    def test_each_part_must_move_the_others_do_not_stand_in_for_it(self) -> None:
        cluster = Progress(CLUSTER, POLICY, now=0.0)
        cluster.saw(progress.CANARY, 5.0)
        for second in range(5, 80, 10):
            cluster.saw(progress.GUARD, float(second))
        stall = cluster.stall(80.0)
        assert stall is not None
        assert stall.sentence == "não conclui nenhuma tarefa há 75 s"

    def test_it_flows_once_every_part_has_moved_and_none_is_late(self) -> None:
        cluster = Progress(CLUSTER, POLICY, now=0.0)
        cluster.saw(progress.GUARD, 2.0)
        assert not cluster.is_flowing(3.0)
        cluster.saw(progress.CANARY, 4.0)
        assert cluster.is_flowing(5.0)
        assert not cluster.is_flowing(63.0)

    def test_what_nobody_owes_is_no_progress(self) -> None:
        worker = Progress(WORKER, POLICY, now=0.0)
        worker.saw(progress.CANARY, 80.0)
        assert worker.stall(91.0) is not None

    def test_who_owes_nothing_never_stands_still(self) -> None:
        assert Progress((), POLICY, now=0.0).stall(1e6) is None


class TestExcuses:
    def test_while_nobody_could_have_shown_progress_none_is_owed(self) -> None:
        worker = Progress(WORKER, POLICY, now=0.0)
        worker.saw(progress.LOOK, 10.0)
        for second in range(25, 3600, 1):
            worker.excuse(float(second))
        assert worker.stall(3659.0) is None
        assert worker.stall(3659.1) is not None

    def test_a_child_that_says_it_waits_for_the_database_is_believed_for_ten_minutes(self) -> None:
        worker = Progress(WORKER, POLICY, now=0.0)
        for second in range(10, 1000, 10):
            worker.saw(progress.WAITING, float(second))
            if worker.stall(float(second)):
                break
        assert second == 680  # 10 + 600 s believed, then 60 s of silence

    def test_a_new_wait_is_believed_anew(self) -> None:
        worker = Progress(WORKER, POLICY, now=0.0)
        worker.saw(progress.WAITING, 10.0)
        for second in range(20, 3000, 20):
            worker.saw(progress.LOOK, float(second))
        worker.saw(progress.WAITING, 3000.0)
        assert worker.stall(3059.0) is None

    def test_a_canary_behind_long_tasks_is_late_not_lost(self) -> None:
        cluster = Progress(CLUSTER, POLICY, workers=2, now=0.0)
        cluster.saw(progress.CANARY, 10.0)
        for second in range(12, 300, 5):
            cluster.saw(progress.GUARD, float(second))
            cluster.saw(progress.BUSY, float(second), pid=71)
            cluster.saw(progress.BUSY, float(second), pid=72)
            assert cluster.stall(float(second)) is None

    def test_one_free_worker_owes_the_canary(self) -> None:
        cluster = Progress(CLUSTER, POLICY, workers=2, now=0.0)
        cluster.saw(progress.CANARY, 10.0)
        for second in range(12, 72, 5):
            cluster.saw(progress.GUARD, float(second))
            cluster.saw(progress.BUSY, float(second), pid=71)
        assert stands_still(cluster, 72.0) == (progress.CANARY, 62.0)

    def test_busy_workers_that_fall_silent_excuse_nothing_any_more(self) -> None:
        cluster = Progress((progress.CANARY,), POLICY, workers=1, now=0.0)
        cluster.saw(progress.CANARY, 10.0)
        cluster.saw(progress.BUSY, 20.0, pid=71)
        assert cluster.stall(30.0) is None
        assert cluster.stall(35.0) is None  # the last excuse: 20 s + 15 s
        assert cluster.stall(95.0) is None
        assert cluster.stall(95.1) is not None

    def test_busy_workers_do_not_excuse_the_guard(self) -> None:
        cluster = Progress(CLUSTER, POLICY, workers=1, now=0.0)
        cluster.saw(progress.CANARY, 1.0)
        cluster.saw(progress.GUARD, 1.0)
        for second in range(5, 62, 5):
            cluster.saw(progress.BUSY, float(second), pid=71)
        stall = cluster.stall(62.0)
        assert stall is not None
        assert stall.what == progress.GUARD


class TestTelling:
    def test_a_sign_names_its_session_its_process_and_what_moved(self, ears: Ears) -> None:
        progress.beat(progress.LOOK)
        assert ears.heard() == [Sign(os.getsid(0), os.getpid(), "olhada")]

    def test_a_fast_loop_does_not_drown_the_others(self, ears: Ears) -> None:
        for _ in range(10_000):
            progress.beat(progress.LOOK)
        progress.beat(progress.CANARY)
        assert [sign.what for sign in ears.heard()] == ["olhada", "canario"]

    def test_nobody_reading_neither_blocks_nor_fails(self, ears: Ears) -> None:
        began = time.monotonic()
        for number in range(5_000):
            progress.beat(f"coisa-{number}")
        assert time.monotonic() - began < 2
        assert 0 < len(ears.heard()) <= 5_000

    def test_a_supervisor_that_is_gone_is_no_error(self, ears: Ears) -> None:
        ears.close()
        progress.beat(progress.LOOK)

    def test_without_a_supervisor_nothing_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(progress.SOCKET, raising=False)
        progress.beat(progress.LOOK)
        assert not progress.is_supervised()

    @pytest.mark.parametrize("text", ["", "nada", "0", "-"])
    def test_an_unreadable_pace_is_the_usual_one(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv(progress.EVERY, text)
        assert progress.every_s() == 10.0

    @pytest.mark.parametrize("datagram", [b"", b"1 2", b"a b c", b"1 2 3 4", b"-1 2 x", b"\xff\xfe", b"1 \xb2 x"])
    def test_noise_on_the_socket_is_no_sign(self, datagram: bytes) -> None:
        assert understood(datagram) is None

    def test_noise_does_not_hide_the_signs_behind_it(self, ears: Ears) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"", os.environ[progress.SOCKET])
        progress.beat(progress.LOOK)
        assert [sign.what for sign in ears.heard()] == ["olhada"]

    def test_the_socket_is_out_of_reach_of_other_users_and_leaves_nothing_behind(self) -> None:
        ears = Ears()
        home = Path(ears.environment(POLICY)[progress.SOCKET]).parent
        assert home.stat().st_mode & 0o077 == 0
        ears.close()
        assert not home.exists()

    def test_what_a_killed_supervisor_left_is_swept_and_a_living_ones_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        short = Path(tempfile.mkdtemp(dir="/tmp"))
        monkeypatch.setattr(tempfile, "tempdir", str(short))
        killed, living = Ears(), Ears()
        killed.socket.close()
        newest = Ears()
        assert len(list(short.iterdir())) == 2
        for ears in (living, newest):
            ears.close()
        assert not list(short.iterdir())
        short.rmdir()

    def test_without_a_place_for_the_socket_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", "/nao/existe")
        with pytest.raises(CannotStart, match="Aponte TMPDIR para um diretório"):
            Ears()

    def test_a_long_temporary_directory_does_not_silence_anybody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = tmp_path / ("x" * 100)
        deep.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(deep))
        ears = Ears()
        assert ears.environment(POLICY)[progress.SOCKET].startswith("/tmp/")
        ears.close()


class TestCanary:
    def test_a_canary_enters_every_few_seconds_behind_what_the_broker_has(
        self, ears: Ears, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = brokers.OrmBroker.__new__(brokers.OrmBroker)
        monkeypatch.setattr(ORM, "dequeue", lambda _self: [(7, "task")])
        first, second = broker.dequeue(), broker.dequeue()
        assert first is not None
        assert first[0] == (7, "task")
        assert SignedPackage.loads(first[1][1])["func"] == canary.FUNCTION
        assert second == [(7, "task")]

    def test_without_a_supervisor_there_is_no_canary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(progress.SOCKET, raising=False)
        monkeypatch.setattr(ORM, "dequeue", lambda _self: None)
        assert brokers.OrmBroker.__new__(brokers.OrmBroker).dequeue() is None

    def test_a_broker_that_is_away_is_said_and_stays_an_error(
        self, ears: Ears, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_self: object) -> None:
            raise Error("away")

        monkeypatch.setattr(ORM, "dequeue", away)
        with pytest.raises(Error):
            brokers.OrmBroker.__new__(brokers.OrmBroker).dequeue()
        assert [sign.what for sign in ears.heard()] == ["espera"]

    def test_a_redis_broker_does_the_same(self, ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
        broker = brokers.RedisBroker.__new__(brokers.RedisBroker)
        monkeypatch.setattr(Redis, "dequeue", lambda _self: None)
        found = broker.dequeue()
        assert found is not None
        assert SignedPackage.loads(found[0][1])["func"] == canary.FUNCTION

        def away(_self: object) -> None:
            raise RedisError("away")

        monkeypatch.setattr(Redis, "dequeue", away)
        with pytest.raises(RedisError):
            broker.dequeue()
        assert [sign.what for sign in ears.heard()] == ["espera"]

    def test_only_the_canarys_own_return_is_progress(self, ears: Ears) -> None:
        canary._returned(task={"func": "core.jobs.tasks.run_scheduled"})
        canary._returned(task={"func": canary.FUNCTION})
        assert [sign.what for sign in ears.heard()] == ["canario"]

    def test_a_process_in_the_middle_of_a_task_says_so_until_its_end_or_its_timeout(
        self, ears: Ears, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(progress.EVERY, "0.1")
        busy = canary.Busy()
        busy.begin()
        wait_until(lambda: progress.BUSY in [sign.what for sign in ears.heard()], within_s=5)
        now = time.monotonic()
        assert busy.is_at_work(now)
        assert not busy.is_at_work(now + canary.LONGEST_TASK_S)
        busy.end()
        assert not busy.is_at_work(now)


def test_a_question_that_is_answered_no_keeps_the_last_yes() -> None:
    answers = [True, False, False]
    probe = Probe("x", lambda: answers.pop(0) if answers else False, every_s=0.01)
    began = time.monotonic()
    probe.start()
    wait_until(lambda: not answers, within_s=5)
    probe.stop()
    assert probe.answered_at is not None
    assert began <= probe.answered_at <= time.monotonic()
