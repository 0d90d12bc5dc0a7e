"""Parts of the supervisor, with small processes instead of roles."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from julia.supervisor import groups, guardian
from julia.supervisor.child import Child, Fall, Program, described
from julia.supervisor.policy import Policy
from julia.supervisor.preflight import CannotStart, only_one, parse_port
from julia.supervisor.relay import Relay
from tests.julia.processes import is_alive, wait_until

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print("ready", flush=True)
time.sleep(600)
"""
LEAVES_A_CHILD = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
"""


class Listener:
    """The outside of a child; keeps what it hears."""

    def __init__(self) -> None:
        self.sessions: list[int] = []
        self.gone: list[int] = []
        self.outputs: list[IO[bytes]] = []

    def started(self, name: str, session: int, output: IO[bytes]) -> None:
        self.sessions.append(session)
        self.outputs.append(output)

    def ended(self, name: str, session: int) -> None:
        self.gone.append(session)
        self.outputs.pop(0).close()


def python(code: str, **values: object) -> Program:
    return Program("filho", "worker", (sys.executable, "-c", code), **values)  # type: ignore[arg-type]


def step_until(child: Child, reached: object, *, now: float) -> Fall | None:
    """Step at a standing clock until there is a fall or `reached` is true."""
    falls: list[Fall] = []

    def moved() -> bool:
        fall = child.step(now)
        if fall:
            falls.append(fall)
        return bool(falls) or (callable(reached) and bool(reached()))

    wait_until(moved, within_s=20)
    return falls[0] if falls else None


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_long_life() -> None:
    policy = Policy(first_pause_s=1, longest_pause_s=30, settled_after_s=60)
    pauses, pause = [], 0.0
    for _ in range(7):
        pause = policy.next_pause(pause, lived_s=0.1)
        pauses.append(pause)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert policy.next_pause(30, lived_s=60) == 1


def test_a_child_that_cannot_run_waits_for_its_next_turn_instead_of_spinning() -> None:
    listener = Listener()
    child = Child(python("raise SystemExit(3)"), listener, now=100.0)
    first = step_until(child, None, now=100.0)
    assert first is not None
    assert (first.reason, first.pause_s) == ("terminou com o código 3", 1.0)
    child.step(100.9)
    assert len(listener.sessions) == 1
    second = step_until(child, None, now=101.0)
    assert second is not None
    assert (second.pause_s, second.restarts) == (2.0, 2)
    assert listener.gone == listener.sessions


def test_a_program_that_does_not_exist_is_a_fall_that_says_so() -> None:
    child = Child(Program("filho", "worker", ("/nao/existe",)), Listener(), now=0.0)
    fall = child.step(0.0)
    assert fall is not None
    assert fall.reason.startswith("não pôde ser iniciado: ")


def test_a_child_starts_only_when_it_may() -> None:
    allowed: list[bool] = []
    listener = Listener()
    child = Child(python("pass", may_start=lambda: bool(allowed)), listener, now=0.0)
    child.step(0.0)
    assert listener.sessions == []
    allowed.append(True)
    child.step(0.1)
    assert listener.sessions == [child.pid]
    step_until(child, None, now=0.2)


def test_whoever_ignores_sigterm_is_killed_with_all_it_started() -> None:
    listener = Listener()
    child = Child(python(STUBBORN, policy=Policy(stop_within_s=5.0)), listener, now=0.0)
    child.step(0.0)
    assert listener.outputs[0].readline() == b"ready\n"
    members = groups.members(listener.sessions[0])
    assert len(members) == 2

    child.stop(1.0)
    child.step(5.9)
    assert all(map(is_alive, members))
    step_until(child, lambda: child.is_done, now=6.0)

    assert not any(map(is_alive, members))


def test_what_a_dead_child_left_behind_ends_before_it_is_started_again() -> None:
    listener = Listener()
    child = Child(python(LEAVES_A_CHILD), listener, now=0.0)
    fall = step_until(child, None, now=0.0)
    assert fall is not None
    assert groups.members(listener.sessions[0]) == []


def test_a_stopped_child_is_not_started_again() -> None:
    child = Child(python("import time; time.sleep(600)"), Listener(), now=0.0)
    child.step(0.0)
    child.stop(0.1)
    assert step_until(child, lambda: child.is_done, now=0.2) is None
    assert child.step(100.0) is None


def test_exit_codes_are_told_in_words() -> None:
    assert described(1) == "terminou com o código 1"
    assert described(-signal.SIGKILL) == "foi morto por SIGKILL"


def test_the_guardian_ends_the_groups_of_a_supervisor_that_is_gone() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    watch = subprocess.Popen([sys.executable, "-m", "julia.supervisor.guardian"], stdin=subprocess.PIPE, text=True)
    watch.communicate(f"+{sleeper.pid}\n", timeout=30)
    assert watch.returncode == 0
    assert sleeper.wait(10) == -signal.SIGTERM


def test_the_guardian_leaves_alone_what_ended_in_order() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        for words in (f"+{sleeper.pid}\n-{sleeper.pid}\n", f"+{sleeper.pid}\nfim\n"):
            watch = subprocess.Popen(
                [sys.executable, "-m", "julia.supervisor.guardian"], stdin=subprocess.PIPE, text=True
            )
            watch.communicate(words, timeout=30)
            assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_guardian_gives_25_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == "ready\n"
    began = time.monotonic()
    guardian.end_all({stubborn.pid}, within_s=0.3)
    assert time.monotonic() - began >= 0.3
    assert stubborn.wait(10) == -signal.SIGKILL
    stubborn.stdout.close()
    assert groups.members(stubborn.pid) == []


def test_only_one_supervisor_runs_everything_of_a_clone(tmp_path: Path) -> None:
    lock = only_one(tmp_path, "postgresql:///one", "http://127.0.0.1:8000", say=lambda _: None)
    with pytest.raises(CannotStart, match=rf"http://127.0.0.1:8000 \(processo {os.getpid()}\)"):
        only_one(tmp_path, "postgresql:///one", "http://127.0.0.1:8001", say=lambda _: None)
    os.close(only_one(tmp_path, "postgresql:///another", "http://127.0.0.1:8001", say=lambda _: None))
    os.close(lock)
    os.close(only_one(tmp_path, "postgresql:///one", "http://127.0.0.1:8000", say=lambda _: None))


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "80 80", "８０００"])
def test_a_port_is_a_number_of_the_lawful_range(text: str) -> None:
    with pytest.raises(CannotStart, match="PORT="):
        parse_port(text)


@pytest.mark.parametrize(
    ("as_json", "line", "expected"),
    [
        (False, b"ola\n", b"worker    | ola\n"),
        (False, b'{"a": 1}\n', b'worker    | {"a": 1}\n'),
        (True, b'{"a": 1}\n', b'{"processo": "worker", "a": 1}\n'),
        (True, b"Traceback\n", b"worker    | Traceback\n"),
    ],
)
def test_lines_carry_the_name_of_who_said_them(as_json: bool, line: bytes, expected: bytes) -> None:
    out, into = os.pipe()
    theirs, ours = os.pipe()
    relay = Relay(into, as_json=as_json)
    relay.follow("worker", os.fdopen(theirs, "rb"))
    os.write(ours, line)
    os.close(ours)
    assert os.read(out, 1000) == expected
    relay.close()
    os.close(out)
    os.close(into)


def test_our_own_words_are_records_too_where_records_are_wanted() -> None:
    out, into = os.pipe()
    relay = Relay(into, as_json=True)
    relay.say("Hora atual: 09:00", name="agenda")
    assert os.read(out, 1000) == b'{"processo": "agenda", "message": "Hora atual: 09:00"}\n'
    relay.close()
    os.close(out)
    os.close(into)


def test_a_terminal_that_is_gone_does_not_stop_those_who_write() -> None:
    out, into = os.pipe()
    theirs, ours = os.pipe()
    relay = Relay(into)
    os.close(out)
    relay.follow("worker", os.fdopen(theirs, "rb"))
    for _ in range(3):
        os.write(ours, b"x" * 60_000 + b"\n")
    os.close(ours)
    relay.close()
    os.close(into)
