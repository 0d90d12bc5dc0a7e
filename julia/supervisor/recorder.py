"""What the supervisor leaves in the database: signs of life of its roles, each restart, and what stands still.

A thread of its own: a database that is away, or that hangs, never stops the supervision. What happened waits until it
can be written; signs of life do not, the next one is as good.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction

from core.alerts import services as alerts
from core.alerts.models import Severidade
from core.audit import services as audit
from core.database import execute
from core.health import beats
from core.logging import get_logger
from julia.supervisor.child import Fall
from julia.supervisor.progress import Stall

LOOK_EVERY_S = 1.0
BEAT_EVERY_S = 10.0
CLOSE_WITHIN_S = 3.0
KEPT_NOTES = 1000
STUCK = "papel_travado"

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
        self._notes: deque[Callable[[], object]] = deque(maxlen=KEPT_NOTES)
        self._stuck: set[str] = set()
        self._beaten: set[str] = set()
        self._due_at = 0.0
        self._is_silent = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registro", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def fell(self, fall: Fall) -> None:
        self._notes.append(partial(record, fall))

    def stuck(self, name: str, papel: str, stall: Stall) -> None:
        """Open the alert of this process, or count it once more."""
        self._stuck.add(name)
        self._notes.append(partial(raise_stuck, name, papel, stall))

    def flows(self, name: str) -> None:
        """It makes progress (again): its alert is over."""
        self._stuck.discard(name)
        self._notes.append(partial(resolve_stuck, name))

    def close(self) -> None:
        """Write what is left, and that the roles ended on purpose: who was stuck is so no more."""
        for name in list(self._stuck):
            self.flows(name)
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
        while self._notes:
            self._notes[0]()
            self._notes.popleft()
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


def raise_stuck(name: str, papel: str, stall: Stall) -> None:
    machine = beats.machine()
    with transaction.atomic():
        alerts.raise_alert(
            STUCK,
            _key(name),
            severidade=Severidade.CRITICAL,
            titulo=f"O processo {name} travou e está sendo reiniciado",
            mensagem=(
                f"Em {machine}, o processo {name} {stall.sentence}. Ele e o que ele iniciou são encerrados e começam "
                "de novo sem ação sua; este alerta se resolve quando o processo voltar a andar. Se ele travar de novo, "
                "veja as últimas linhas dele no log e rode python manage.py diagnostico."
            ),
            contexto={"maquina": machine, "processo": name, "papel": papel, "parado": stall.what},
            valor=round(stall.silent_s),
        )


def resolve_stuck(name: str) -> None:
    """Also what nobody raised again: its supervisor is gone, perhaps with a machine that had another name."""
    execute(
        """UPDATE alertas SET resolvido_em = agora() WHERE tipo = %s AND resolvido_em IS NULL
               AND (chave = %s OR ultima_ocorrencia_em < agora() - interval '10 minutes')""",
        [STUCK, _key(name)],
    )


def _key(name: str) -> str:
    return f"{beats.machine()}:{name}"[:80]
