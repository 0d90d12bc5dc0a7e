"""The loop that keeps every child alive and moving until it is told to end, and then ends them all."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from core.alerts.watch import Watch
from core.health import beats
from core.health.progress import HEALTH
from core.logging import get_logger
from julia.supervisor.child import DEFAULT_POLICY, Child, Fall, Program
from julia.supervisor.guardian import Guardian
from julia.supervisor.policy import Policy
from julia.supervisor.recorder import Beat, Recorder
from julia.supervisor.relay import Relay
from julia.supervisor.senses import Ears, Probe, database_answers

TICK_S = 0.2
INATTENTIVE_AFTER_S = 5.0  # a loop that stood still itself (SIGSTOP, a machine asleep) has heard nothing meanwhile
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SELF_REPORTING = frozenset({"worker", "simulador"})  # they write their own signs of life, or have none

log = get_logger("julia.servir")


class Supervisor:
    """One life: `run` returns when everything has ended. All of it happens in the calling (main) thread."""

    def __init__(
        self,
        programs: Iterable[Program],
        relay: Relay,
        guardian: Guardian,
        *,
        policy: Policy = DEFAULT_POLICY,
        database: Callable[[], bool] = database_answers,
        on_stop: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._relay = relay
        self._guardian = guardian
        self._on_stop = on_stop
        self._policy = policy
        self._recorder = Recorder(self._alive)
        self._ears = Ears()
        env = self._ears.environment(policy)
        self.children = [Child(program, self, now=clock(), env=env) for program in programs]
        self._database = Probe("banco", database, every_s=policy.progress_every_s / 5)
        self._watch = Watch(f"{beats.machine()}:{os.getpid()}", answered_at=lambda: self._database.answered_at)
        self._probes = {
            child.program.name: Probe(child.program.name, child.program.probe, every_s=policy.progress_every_s)
            for child in self.children
            if child.program.probe is not None
        }
        self._flowing: set[str] = set()
        self._looked_at = clock()
        self._stopped_at: float | None = None

    # What a child tells us (Outside) ------------------------------------------

    def started(self, name: str, session: int, output: IO[bytes]) -> None:
        self._guardian.watch(session)
        self._relay.follow(name, output)
        log.info("processo iniciado", nome=name, pid=session)

    def ended(self, name: str, session: int) -> None:
        self._guardian.forget(session)
        log.info("processo encerrado", nome=name, pid=session)

    # The loop -------------------------------------------------------------------

    def run(self) -> None:
        """Until SIGTERM, SIGINT or SIGHUP; then at most `stop_within_s` per group."""
        self._recorder.start()
        probes = [self._database, *self._probes.values()]
        for probe in probes:
            probe.start()
        self._watch.start()
        with _Signals() as signals:
            while not all(child.is_done for child in self.children):
                self._step(signals.received)
                signals.wait(TICK_S, self._ears.socket)
        for probe in probes:
            probe.stop()
        self._watch.close()
        self._recorder.close()
        self._ears.close()
        self._guardian.dismiss()

    def _step(self, received: list[int]) -> None:
        now = self._clock()
        self._guardian.check()
        if received and self._stopped_at is None:
            self._stopped_at = now
            log.info("encerrando", motivo=signal.Signals(received[0]).name)
            self._watch.stop()
            self._on_stop()
        if self._stopped_at is not None:
            self._stop(now)
        self._listen(now)
        for child in self.children:
            if self._stopped_at is None:
                self._judge(child, now)
            fall = child.step(now)
            if fall is not None:
                self._tell(fall)

    def _stop(self, now: float) -> None:
        """Those that the others need while they stop end after them."""
        first = [child for child in self.children if not child.program.ends_last]
        ending = first if not all(child.is_done for child in first) else self.children
        for child in ending:
            child.stop(now)

    # Progress -----------------------------------------------------------------------

    def _listen(self, now: float) -> None:
        by_session = {child.pid: child for child in self.children if child.is_alive}
        for sign in self._ears.heard():
            if child := by_session.get(sign.session):
                child.progress.saw(sign.what, now, pid=sign.pid)
        for child in self.children:
            probe = self._probes.get(child.program.name)
            if probe and probe.answered_at is not None and probe.answered_at >= child.started_at:
                child.progress.saw(HEALTH, probe.answered_at)
        if self._is_database_away(now) or now - self._looked_at > INATTENTIVE_AFTER_S:
            for child in self.children:
                child.progress.excuse(now)
        self._looked_at = now

    def _is_database_away(self, now: float) -> bool:
        """Then everything may stand still, and a restart would help nobody."""
        answered_at = self._database.answered_at
        return answered_at is None or now - answered_at > self._policy.away_after_s

    def _judge(self, child: Child, now: float) -> None:
        name, stall = child.program.name, child.stall(now)
        if stall is not None:
            self._flowing.discard(name)
            log.error(
                "processo travado: será encerrado e iniciado de novo",
                nome=name,
                motivo=stall.sentence,
                parado=stall.what,
            )
            self._recorder.stuck(name, child.program.papel, stall)
            child.give_up(now, f"travou: {stall.sentence}")
        elif name not in self._flowing and child.program.points and child.is_flowing(now):
            self._flowing.add(name)
            log.info("processo andando", nome=name, depois_de_s=round(now - child.started_at, 1))
            self._recorder.flows(name)
        elif not child.is_alive:
            self._flowing.discard(name)

    def _tell(self, fall: Fall) -> None:
        log.error(
            "processo caiu e será iniciado de novo; o que ele disse está nas linhas acima",
            nome=fall.name,
            motivo=fall.reason,
            viveu_s=round(fall.lived_s, 1),
            nova_tentativa_em_s=fall.pause_s,
            reinicios=fall.restarts,
        )
        self._recorder.fell(fall)

    # Signs of life ----------------------------------------------------------------

    def _alive(self) -> list[Beat]:
        """A role lives while all of its children get on: one living cluster must not hide that the other is stuck."""
        now = self._clock()
        by_role: dict[str, list[Child]] = {}
        for child in self.children:
            if child.program.papel not in SELF_REPORTING:
                by_role.setdefault(child.program.papel, []).append(child)
        return [
            Beat(papel, f"{beats.machine()}:{os.getpid()}:{papel}", _detail(children, now))
            for papel, children in by_role.items()
            if all(child.is_flowing(now) for child in children)
        ]


def _detail(children: list[Child], now: float) -> dict[str, Any]:
    return {
        child.program.name: {
            "pid": child.pid,
            "vivo_ha_s": round(now - child.started_at),
            "progresso_ha_s": round(child.progress.silent_s(now)),
            "reinicios": child.restarts,
        }
        for child in children
    }


class _Signals:
    """Signals as something to wait for. A second Ctrl-C changes nothing: the first is being obeyed."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}
        self._ours, self._theirs = socket.socketpair()
        self._wakeup_before = -1

    def __enter__(self) -> "_Signals":
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (*ENDING_SIGNALS, signal.SIGCHLD):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the terminal may go
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._ours.close()
        self._theirs.close()

    def wait(self, seconds: float, other: socket.socket) -> None:
        """Until a signal came, a child's end included, or `other` can be read."""
        ready, _, _ = select.select([self._ours, other], [], [], seconds)
        if self._ours in ready:
            self._ours.recv(1024)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.received.append(number)
