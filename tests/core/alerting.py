"""Rules for tests, whose findings a test sets, and a look at what was written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule
from core.database import rows

MIN = timedelta(minutes=1)


def finding(chave: str = "", severidade: Severidade = Severidade.CRITICAL, **more: Any) -> Finding:
    base = {"titulo": f"Alerta de {chave or 'tudo'}", "mensagem": "51 vencidas há 31 min; o limite é 50."}
    return Finding(chave=chave, severidade=severidade, **{**base, **more})


@dataclass
class Facts:
    """What the rule finds now; `error` breaks it instead."""

    found: list[Finding] = field(default_factory=list)
    error: Exception | None = None
    asked: int = 0

    def __call__(self, now: datetime) -> Iterable[Finding]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return list(self.found)


def rule(tipo: str = "fila_acumulada", *found: Finding, **more: Any) -> Facts:
    facts = Facts(list(found))
    base: dict[str, Any] = {
        "significa": "Mensagens vencidas esperam.",
        "proximo": "Veja o worker.",
        "link": "/admin/fila/mensagem/?situacao=vencidas",
        "solta": timedelta(0),
    }
    alert_rule(tipo, **{**base, **more})(facts)
    return facts


def said() -> list[tuple[str, str]]:
    """(especie, tipo) of every message, in the order written."""
    return [(row["especie"], row["tipo"]) for row in rows("SELECT * FROM alerta_entregas ORDER BY created_at, id")]


def notices() -> list[tuple[str, str, int]]:
    """(especie, chave, numero) of every notice."""
    return [
        (row["especie"], row["chave"], row["numero"])
        for row in rows(
            """SELECT v.especie, a.chave, v.numero FROM alerta_avisos v JOIN alertas a ON a.id = v.alerta_id
               ORDER BY v.id"""
        )
    ]
