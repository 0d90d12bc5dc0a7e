"""How time passes in a drill: as it is while something is on the wire or waits to be written, in jumps while not.

A jump never passes the next minute (the jobs of that minute have their turn), and after each one every worker gets the
chance to look before the next: hours pass in seconds and no lease runs out under a living call. A worker that was
killed holds nothing up: its lease runs out by jumps.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from julia.exercicio.errors import DrillStuck

if TYPE_CHECKING:
    from julia.exercicio.bancada import Bancada

BUSY_S = 0.02
LOOK_WITHIN_S = 0.25
LOOK_POLL_S = 0.008
#: Real seconds without any change after which what looks busy is taken to wait: a rescue comes every five.
STALLED_S = 8.0
STEP_S = 15.0
#: With nothing due nobody has anything to react to before the next minute's jobs.
IDLE_STEP_S = 60.0
LEAST_S = 1.0
MINUTE = timedelta(minutes=1)

_PULSE = """
SELECT agora() AS agora,
    (SELECT coalesce(array_agg(DISTINCT consumidor), '{}') FROM envios_tentativas WHERE resultado = 'iniciado')
        AS chamando,
    (SELECT coalesce(array_agg(DISTINCT lease_owner), '{}') FROM fila_mensagens
        WHERE status = 'processando' AND lease_ate > agora()) AS segurando,
    (SELECT count(*) FROM fila_mensagens WHERE status = 'processando' AND lease_ate <= agora()) AS vencidas,
    (SELECT count(*) FROM webhook_eventos WHERE status IN ('pendente', 'aguardando') AND proxima_em <= agora()
        AND kind <> 'outro') AS caixa,
    (SELECT coalesce(max(id), 0) FROM envios_tentativas) AS tentativas,
    EXISTS (SELECT 1 FROM fila_mensagens WHERE status = 'pendente' AND agendar_para <= agora()) AS vencida,
    (SELECT least(
        (SELECT min(agendar_para) FROM fila_mensagens WHERE status = 'pendente' AND agendar_para > agora()),
        (SELECT min(lease_ate) FROM fila_mensagens WHERE status = 'processando' AND lease_ate > agora()),
        (SELECT min(proximo_envio_em) FROM chips WHERE status = 'active' AND proximo_envio_em > agora()),
        (SELECT min(cooldown_until) FROM chips WHERE cooldown_until > agora()),
        (SELECT min(proxima_busca_em) FROM envios_tentativas WHERE resultado = 'desconhecido'
            AND proxima_busca_em > agora()),
        (SELECT min(coalesce(permit_until, retry_at)) FROM circuits WHERE state <> 'closed'
            AND coalesce(permit_until, retry_at) > agora()),
        (SELECT min(delivery_status_at + interval '61 seconds') FROM envios_tentativas
            WHERE delivery_status = 'failed' AND nao_entregue_em IS NULL
                AND delivery_status_at + interval '61 seconds' > agora()),
        (SELECT min(proxima_em) FROM webhook_eventos WHERE status IN ('pendente', 'aguardando')
            AND proxima_em > agora()))) AS proximo
"""
_LOOKED = """
SELECT count(*) AS n FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'julia' AND state = 'idle' AND query_start > %s
"""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What goes on at one moment. `waiting`: a message is due; `next`: when something is due next by itself."""

    now: datetime
    callers: frozenset[str]
    holders: frozenset[str]
    expired: int
    inbox: int
    attempts: int
    waiting: bool
    next: datetime | None
    on_the_wire: int
    underway: int


class Condutor:
    """Conducts the time of one workbench."""

    def __init__(self, bancada: "Bancada") -> None:
        self._bancada = bancada
        self._ticked: datetime | None = None
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0
        self.jumps = 0
        self.jumped_s = 0.0

    def run(
        self,
        until: Callable[[], bool] | None = None,
        *,
        for_s: float | None = None,
        real_s: float = 240.0,
        step_s: float | None = None,
        least_s: float = LEAST_S,
        what: str = "",
    ) -> bool:
        """Let time pass until `until` holds, or `for_s` simulated seconds are over; False when those came first.

        `step_s`: the longest jump; above 60 it passes over whole minutes, whose jobs are left out. `least_s`: the
        shortest, however soon something is due: with many chips somebody always is. Raises DrillStuck after `real_s`
        real seconds, naming `what` it waited for.
        """
        ends = self._bancada.relogio.now() + timedelta(seconds=for_s) if for_s is not None else None
        deadline = time.monotonic() + real_s
        while True:
            if until is not None and until():
                return True
            pulse = self.pulse()
            if ends is not None and pulse.now >= ends:
                return until is None
            if time.monotonic() > deadline:
                raise DrillStuck(f"não aconteceu em {real_s:.0f} s: {what or 'o que o cenário esperava'} ({pulse})")
            self._bancada.keep_alive()
            if self._tick(pulse.now) or self.is_busy(pulse):
                time.sleep(BUSY_S)
                continue
            self._jump(pulse, ends, step_s, least_s)

    def pulse(self) -> Pulse:
        found = self._bancada.banco.one(_PULSE)
        wire = self._bancada.simulador.webhooks()
        return Pulse(
            now=found["agora"],
            callers=frozenset(found["chamando"]),
            holders=frozenset(found["segurando"]),
            expired=found["vencidas"],
            inbox=found["caixa"],
            attempts=found["tentativas"],
            waiting=found["vencida"],
            next=found["proximo"],
            on_the_wire=wire["open_calls"],
            underway=wire["pending"],
        )

    def is_busy(self, pulse: Pulse) -> bool:
        """Whether time must not be hurried now. What does not change for long is not busy, it waits for time."""
        if pulse.on_the_wire:
            return True
        living = any(self._lives(owner) for owner in pulse.callers | pulse.holders)
        if not (living or pulse.expired or pulse.inbox or pulse.underway):
            self._seen = ()
            return False
        seen = (pulse.callers, pulse.holders, pulse.expired, pulse.inbox, pulse.attempts, pulse.underway)
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        return time.monotonic() - self._seen_at < STALLED_S

    def _lives(self, owner: str) -> bool:
        """Consumers name themselves `machine:pid:…`; a job's drain lives in the scheduler process."""
        parts = owner.split(":")
        if parts[0] == "job":
            return True
        return len(parts) > 1 and parts[1].isdigit() and int(parts[1]) in self._bancada.pids

    def _tick(self, now: datetime) -> bool:
        """Order the jobs of a minute that has begun; True while they run."""
        agenda = self._bancada.agenda
        if agenda is None:
            return False
        minute = now.replace(second=0, microsecond=0)
        if self._ticked is None:
            self._ticked = minute
        if minute > self._ticked and not agenda.is_busy():
            self._ticked = minute
            agenda.order(minute)
        return agenda.is_busy()

    def _jump(self, pulse: Pulse, ends: datetime | None, longest_s: float | None, least_s: float) -> None:
        step_s = longest_s or (STEP_S if pulse.waiting else IDLE_STEP_S)
        wanted = pulse.now + timedelta(seconds=step_s)
        if pulse.next is not None:
            wanted = min(wanted, pulse.next + timedelta(milliseconds=100))
        if step_s <= MINUTE.total_seconds():
            wanted = min(wanted, pulse.now.replace(second=0, microsecond=0) + MINUTE + timedelta(milliseconds=50))
        if ends is not None:
            wanted = min(wanted, ends)
        seconds = max(min(least_s, step_s), (wanted - pulse.now).total_seconds())
        moment = self._bancada.banco.value("SELECT clock_timestamp()")
        self._bancada.relogio.advance(seconds, alive=self._bancada.pids | {os.getpid()})
        self._bancada.banco.run("SELECT pg_notify('julia_fila', ''), pg_notify('julia_caixa', '')")
        self.jumps += 1
        self.jumped_s += seconds
        self._let_them_look(moment)

    def _let_them_look(self, since: datetime) -> None:
        workers = sum(worker.vivo for worker in self._bancada.workers)
        patience = time.monotonic() + LOOK_WITHIN_S
        while workers and time.monotonic() < patience:
            time.sleep(LOOK_POLL_S)
            if self._bancada.banco.value(_LOOKED, [since]) >= workers:
                return
