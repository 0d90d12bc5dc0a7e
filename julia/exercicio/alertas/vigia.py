"""Who evaluates: one owner of the lease at a time, killed and replaced at random moments, sometimes two at once."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from django.db import OperationalError, connection

from core.alerts.evaluator import Evaluation, evaluate
from core.alerts.lease import give_back, take
from core.alerts.watch import LEASE, LEASE_FOR
from core.clock import database_now
from core.database import rows
from julia.exercicio.alertas.juiz import Notificacao

_SAID = """
SELECT a.id::text AS alerta, a.tipo, a.chave, a.severidade, m.created_at AS em
FROM alerta_avisos v JOIN alerta_entregas m ON m.id = v.entrega_id JOIN alertas a ON a.id = v.alerta_id
WHERE v.especie = 'aberto' ORDER BY m.created_at, v.id
"""


class Vigia:
    """The evaluators of the simulation. A killed one leaves its lease behind, and the next waits for it to run out."""

    def __init__(self, rng: random.Random) -> None:
        self.reinicios = 0
        self.ao_mesmo_tempo = 0
        self.turnos = 0
        self.mortes: list[datetime] = []
        self.newest = Evaluation()
        self.quebras: set[str] = set()
        self._rng = rng
        self._pending = 0
        self._number = 0

    @property
    def owner(self) -> str:
        return f"vigia-{self._number}"

    def turn(self) -> bool:
        """One turn of whoever is there; False where the lease is still another's."""
        while self._pending:
            self._restart()
        if not take(LEASE, self.owner, LEASE_FOR):
            return False
        self.turnos += 1
        self.newest = evaluate(database_now())
        self.quebras |= set(self.newest.failures)
        return True

    def restart_soon(self) -> None:
        """Before the next turn, whenever that is."""
        self._pending += 1

    def _restart(self) -> None:
        """SIGKILL, SIGTERM or a rival that believes itself alone: by chance."""
        self._pending -= 1
        self.reinicios += 1
        match self._rng.randrange(3):
            case 0:
                self.mortes.append(database_now())
                self._number += 1
            case 1:
                give_back(LEASE, self.owner)
                self._number += 1
            case 2:
                self._rivals()

    def _rivals(self) -> None:
        """Two evaluators at the same instant, on connections of their own: the lease did not keep them apart."""
        self.ao_mesmo_tempo += 1
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_evaluate_apart, [database_now()] * 2))


def _evaluate_apart(now: datetime) -> None:
    try:
        evaluate(now)
    except OperationalError:  # it waited for the other too long: its next turn comes
        return
    finally:
        connection.close()


def said() -> list[Notificacao]:
    """Every announcement that went into the outbox."""
    return [Notificacao(**row) for row in rows(_SAID)]


@dataclass(frozen=True, slots=True)
class Mood:
    """`restless`: an alert is about to open or to end. `open`: one is open."""

    restless: bool = False
    open: bool = False


def mood() -> Mood:
    """An open alert's own row is no unrest: its condition is simply there."""
    found = rows(
        """SELECT EXISTS (SELECT 1 FROM alerta_estados e WHERE e.ausente_desde IS NOT NULL
               OR (e.presente_desde IS NOT NULL AND NOT EXISTS (SELECT 1 FROM alertas a
                   WHERE a.tipo = e.tipo AND a.chave = e.chave AND a.resolvido_em IS NULL))) AS restless,
           EXISTS (SELECT 1 FROM alertas WHERE resolvido_em IS NULL) AS open"""
    )
    return Mood(**found[0])
