"""What is wrong with the connections of the fleet now, for whoever tells it: alert rules, health, the backoffice.

For the alert rules. `connections()` reads everything in ONE query; each `Problem` is one finding:

| `problema` | rule | severity | desde |
|---|---|---|---|
| `desconectado` | `whatsapp_desconectado`, chave `problem.chave` | critical | `desde`: first known to be disconnected |
| `sessao_encerrada` | `whatsapp_desconectado`, same chave: needs the QR code, says so | critical | close 401 |
| `banido` | `whatsapp_desconectado`, same chave: nothing to reconnect, the number is gone | critical | close 403 |
| `mudo` | `chip_mudo`, chave `problem.chave` | error | the oldest of the sends that nothing came back for |
| `sem_resposta` | `provedor_sem_resposta`, chave = `problem.provider`, grouped per provider | error | first silence |

A finding is already hysteretic: `desconectado` and `sem_resposta` hold after two checks in a row (*/5), and a check or
an `open` webhook that says otherwise ends them at once: `segura` and `solta` may be zero. A chip that nobody answers
for keeps the problem that it had (both are returned): silence never resolves `desconectado`. Nothing here holds a
phone: `nome` shows the last four digits only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chips.choices import NULL_PROVIDER
from chips.monitor.rules import CONFIRMED_AFTER
from core.backoffice.ui import short_digits
from core.database import rows

WATCHED = ("warming", "ready", "active", "degraded")
"""Lifecycle statuses in which a chip should be connected; `paused` too while it is so because its session ended."""


class Problema(StrEnum):
    DESCONECTADO = "desconectado"
    SESSAO_ENCERRADA = "sessao_encerrada"
    BANIDO = "banido"
    MUDO = "mudo"
    SEM_RESPOSTA = "sem_resposta"


@dataclass(frozen=True, slots=True)
class Problem:
    """One chip and what is wrong with its connection. `falhas`: checks in a row that found it so.

    `erro`: why the provider did not answer (`ErrorKind`), for `sem_resposta` only. All instants are aware:
    `ultimo_fio_em` is the last send that the provider accepted, `ultimo_eco_em` the last echo or receipt of this number
    that reached us.
    """

    problema: Problema
    chip_id: UUID
    nome: str
    provider: str
    status: str
    desde: datetime
    verificada_em: datetime | None
    ultimo_fio_em: datetime | None
    ultimo_eco_em: datetime | None
    falhas: int
    erro: str

    @property
    def chave(self) -> str:
        return f"chip:{self.chip_id}"


@dataclass(frozen=True, slots=True)
class Connections:
    """`vigiados`: chips that should be connected. `conectados`: those of them that are, mute ones included.

    `ativos_conectados`: chips in production that are connected: 0 means that nothing can leave.
    """

    vigiados: int
    conectados: int
    ativos_conectados: int
    problemas: tuple[Problem, ...]

    @property
    def desconectados_pct(self) -> int:
        """Per cent of the watched chips that are not connected; above 30 it is the fleet's (reference §4.7)."""
        return (self.vigiados - self.conectados) * 100 // self.vigiados if self.vigiados else 0

    def of(self, *problemas: Problema) -> list[Problem]:
        return [problem for problem in self.problemas if problem.problema in problemas]


def connections() -> Connections:
    """The whole fleet in one statement: chips are few (tens to thousands), nothing of the ledger is read."""
    found = rows(_QUERY, {"vigiados": list(WATCHED), "nulo": NULL_PROVIDER, "confirmado": CONFIRMED_AFTER})
    totals = found[0]
    return Connections(
        vigiados=totals["vigiados"],
        conectados=totals["conectados"],
        ativos_conectados=totals["ativos_conectados"],
        problemas=tuple(_problem(row) for row in found if row["chip_id"] is not None),
    )


_QUERY = """
WITH frota AS (
    SELECT c.*, c.status = ANY(%(vigiados)s) AS vigiado FROM chips c
    WHERE c.provider <> %(nulo)s AND (c.status = ANY(%(vigiados)s)
        OR (c.status = 'paused' AND c.sessao_encerrada_em IS NOT NULL)
        OR (c.status = 'banned' AND c.banned_at IS NOT NULL))),
totais AS (
    SELECT count(*) FILTER (WHERE vigiado)::int AS vigiados,
           count(*) FILTER (WHERE vigiado AND evolution_connected)::int AS conectados,
           count(*) FILTER (WHERE status = 'active' AND evolution_connected)::int AS ativos_conectados
    FROM frota),
problemas AS (
    SELECT c.*, p.problema, p.desde FROM frota c CROSS JOIN LATERAL (VALUES
        ('banido', c.banned_at, c.status = 'banned'),
        ('sessao_encerrada', c.sessao_encerrada_em, c.status <> 'banned' AND c.sessao_encerrada_em IS NOT NULL),
        ('desconectado', coalesce(c.disconnected_since, c.conexao_desde),
            c.vigiado AND c.sessao_encerrada_em IS NULL AND c.conexao_estado = 'desconectado'),
        ('mudo', c.conexao_desde, c.vigiado AND c.conexao_estado = 'conectado_mas_mudo'),
        ('sem_resposta', c.conexao_sem_resposta_desde, c.vigiado AND c.conexao_sem_resposta >= %(confirmado)s)
    ) AS p (problema, desde, vale) WHERE p.vale)
SELECT t.*, p.problema, p.id AS chip_id, p.instance_name AS nome, p.provider, p.status,
       coalesce(p.desde, p.conexao_verificada_em, p.updated_at) AS desde,
       p.conexao_verificada_em AS verificada_em, p.ultimo_envio_em AS ultimo_fio_em, p.conexao_eco_em AS ultimo_eco_em,
       CASE WHEN p.problema = 'sem_resposta' THEN p.conexao_sem_resposta ELSE p.conexao_falhas END AS falhas,
       CASE WHEN p.problema = 'sem_resposta' THEN p.conexao_erro ELSE '' END AS erro
FROM totais t LEFT JOIN problemas p ON true ORDER BY p.desde, p.id
"""


def _problem(row: Mapping[str, Any]) -> Problem:
    return Problem(
        problema=Problema(row["problema"]),
        chip_id=row["chip_id"],
        nome=short_digits(row["nome"]),
        provider=row["provider"],
        status=row["status"],
        desde=row["desde"],
        verificada_em=row["verificada_em"],
        ultimo_fio_em=row["ultimo_fio_em"],
        ultimo_eco_em=row["ultimo_eco_em"],
        falhas=row["falhas"],
        erro=row["erro"],
    )
