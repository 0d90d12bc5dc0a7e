"""The loop that keeps every child alive until it is told to end, and then ends them all."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from core.health import beats
from core.logging import get_logger
from julia.supervisor.child import Child, Fall, Program
from julia.supervisor.guardian import Guardian
from julia.supervisor.recorder import Beat, Recorder
from julia.supervisor.relay import Relay

TICK_S = 0.2
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
        on_stop: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._relay = relay
        self._guardian = guardian
        self._on_stop = on_stop
        self._recorder = Recorder(self._alive)
        self.children = [Child(program, self, now=clock()) for program in programs]
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
        with _Signals() as signals:
            while not all(child.is_done for child in self.children):
                self._step(signals.received)
                signals.wait(TICK_S)
        self._recorder.close()
        self._guardian.dismiss()

    def _step(self, received: list[int]) -> None:
        now = self._clock()
        self._guardian.check()
        if received and self._stopped_at is None:
            self._stopped_at = now
            log.info("encerrando", motivo=signal.Signals(received[0]).name)
            self._on_stop()
        if self._stopped_at is not None:
            self._stop(now)
        for child in self.children:
            fall = child.step(now)
            if fall is not None:
                self._tell(fall)

    def _stop(self, now: float) -> None:
        """Those that the others need while they stop end after them."""
        first = [child for child in self.children if not child.program.ends_last]
        ending = first if not all(child.is_done for child in first) else self.children
        for child in ending:
            child.stop(now)

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
        """A role lives while all of its children do: one living cluster must not hide that the other is dead."""
        now = self._clock()
        by_role: dict[str, list[Child]] = {}
        for child in self.children:
            if child.program.papel not in SELF_REPORTING:
                by_role.setdefault(child.program.papel, []).append(child)
        return [
            Beat(papel, f"{beats.machine()}:{os.getpid()}:{papel}", _detail(children, now))
            for papel, children in by_role.items()
            if all(child.is_alive for child in children)
        ]


def _detail(children: list[Child], now: float) -> dict[str, Any]:
    return {
        child.program.name: {
            "pid": child.pid,
            "vivo_ha_s": round(now - child.started_at),
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

    def wait(self, seconds: float) -> None:
        """Until a signal came, a child's end included."""
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            self._ours.recv(1024)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.received.append(number)
