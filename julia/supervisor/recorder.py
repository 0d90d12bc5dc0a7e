"""What the supervisor leaves in the database: signs of life of its roles, and each restart.

A thread of its own: a database that is away, or that hangs, never stops the supervision. Restarts wait until they can
be written; signs of life do not, the next one is as good.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction

from core.audit import services as audit
from core.health import beats
from core.logging import get_logger
from julia.supervisor.child import Fall

LOOK_EVERY_S = 1.0
BEAT_EVERY_S = 10.0
CLOSE_WITHIN_S = 3.0
KEPT_FALLS = 1000

log = get_logger("julia.servir")


@dataclass(frozen=True, slots=True)
class Beat:
    papel: str
    instancia: str
    detalhe: Mapping[str, Any]


class Recorder:
    """`alive` says which roles live right now; it is called from the recorder's thread."""

    def __init__(self, alive: Callable[[], list[Beat]]) -> None:
        self._alive = alive
        self._falls: deque[Fall] = deque(maxlen=KEPT_FALLS)
        self._beaten: set[str] = set()
        self._due_at = 0.0
        self._is_silent = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registro", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def fell(self, fall: Fall) -> None:
        self._falls.append(fall)

    def close(self) -> None:
        """Write what is left, and that the roles ended on purpose."""
        self._ended.set()
        self._thread.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                is_last = self._ended.wait(LOOK_EVERY_S)
                self._attempt(is_last=is_last)
        finally:
            connection.close()

    def _attempt(self, *, is_last: bool) -> None:
        try:
            self._write(is_last=is_last)
            self._is_silent = False
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            if not self._is_silent:
                log.warning("sinais de vida não gravados: banco indisponível", erro=type(error).__name__)
            self._is_silent = True

    def _write(self, *, is_last: bool) -> None:
        while self._falls:
            record(self._falls[0])
            self._falls.popleft()
        if is_last:
            for instancia in self._beaten:
                beats.close(instancia)
            return
        alive, now = self._alive(), time.monotonic()
        if now < self._due_at and {beat.instancia for beat in alive} <= self._beaten:
            return
        for beat in alive:
            beats.beat(beat.papel, beat.instancia, beat.detalhe)
            self._beaten.add(beat.instancia)
        self._due_at = now + BEAT_EVERY_S


def record(fall: Fall) -> None:
    with transaction.atomic():
        audit.record(
            "processo_reiniciado",
            "papel",
            fall.papel,
            usuario="servir",
            motivo=f"{fall.name} {fall.reason}"[: audit.MOTIVO_MAX],
            detalhes={
                "processo": fall.name,
                "maquina": beats.machine(),
                "viveu_s": round(fall.lived_s, 1),
                "pausa_s": fall.pause_s,
                "reinicios": fall.restarts,
            },
        )
