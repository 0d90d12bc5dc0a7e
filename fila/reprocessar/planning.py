"""What would go back into the fila and what not, and why: the one question that dry run and run both ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.database import rows
from fila.reprocessar.choices import Recusa
from fila.reprocessar.filters import Filtros

# Primary keys for what is joined, tentativas_numbered_per_origem for the attempts, fila_reprocessed_once for the new
# row. Parameters are written into the statement as constants, so what is not asked for costs nothing.
_FROM = """
FROM fila_mensagens_dlq d
JOIN fila_mensagens m ON m.id = d.mensagem_original_id
JOIN clientes c ON c.id = m.cliente_id
LEFT JOIN doctor_state s ON s.cliente_id = m.cliente_id
LEFT JOIN campanhas k ON k.id = m.campanha_id
LEFT JOIN fila_mensagens n ON n.reprocessa_de_id = m.id
LEFT JOIN LATERAL (
    SELECT bool_or(t.resultado = 'enviado' AND t.nao_entregue_em IS NULL) AS aceita,
           bool_or(t.resultado = 'iniciado') AS aberta,
           bool_or(t.resultado = 'desconhecido' AND t.nao_entregue_em IS NULL) AS desconhecida
    FROM envios_tentativas t WHERE t.origem = 'fila' AND t.origem_id = m.id) t ON true
"""
_REFUSED = f"""
CASE WHEN d.reprocessado OR n.id IS NOT NULL THEN '{Recusa.JA_REPROCESSADA}'
     WHEN m.status <> 'erro' THEN '{Recusa.MUDOU_DE_SITUACAO}'
     WHEN t.aceita THEN '{Recusa.JA_SAIU}'
     WHEN t.aberta THEN '{Recusa.EM_ENVIO}'
     WHEN d.quarentena AND NOT %(quarentena)s THEN '{Recusa.QUARENTENA}'
     WHEN s.permission_state = 'opted_out' AND m.tipo <> 'confirmacao_opt_out' THEN '{Recusa.OPT_OUT}'
     WHEN c.deleted_at IS NOT NULL OR c.status_telefone = 'invalido' THEN '{Recusa.NUMERO_INVALIDO}'
     WHEN k.status = 'cancelada' THEN '{Recusa.CAMPANHA_CANCELADA}'
     WHEN t.desconhecida AND NOT %(forcar)s THEN '{Recusa.TENTATIVA_DESCONHECIDA}'
END"""
_ASKED = """
    (%(ids)s::uuid[] IS NULL OR d.id = ANY(%(ids)s::uuid[]))
    AND (%(campanha)s::bigint IS NULL OR m.campanha_id = %(campanha)s)
    AND (%(outcome)s::text IS NULL OR d.outcome = %(outcome)s)
    AND (%(motivo)s::text IS NULL OR d.outcome_reason_code LIKE %(motivo)s)
    AND (%(desde)s::timestamptz IS NULL OR d.movido_para_dlq_em >= %(desde)s)
    AND (%(ate)s::timestamptz IS NULL OR d.movido_para_dlq_em < %(ate)s)
    AND (%(tipo)s::text IS NULL OR m.tipo = %(tipo)s)
    AND (%(chip)s::uuid IS NULL OR m.chip_id = %(chip)s)
"""
_COUNTED = f"SELECT {_REFUSED} AS recusa, count(*) AS n {_FROM} WHERE {_ASKED} GROUP BY 1"
_JUDGED = f"""
SELECT d.id, m.id AS mensagem_id, m.campanha_id, d.quarentena, n.id AS nova_id,
    coalesce(d.reprocessado_por, '') AS por, d.reprocessado_em AS em, {_REFUSED} AS recusa
{_FROM} WHERE d.id = ANY(%(ids)s::uuid[]) ORDER BY d.id
"""
_PAGE = f"""
SELECT d.id FROM fila_mensagens_dlq d JOIN fila_mensagens m ON m.id = d.mensagem_original_id
WHERE {_ASKED} AND d.id > %(depois)s AND d.movido_para_dlq_em <= %(pedido_em)s ORDER BY d.id LIMIT %(limit)s
"""  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Plano:
    """`recusas`: how many are refused for each reason, those that occur."""

    total: int
    reprocessaveis: int
    recusas: dict[Recusa, int]


@dataclass(frozen=True, slots=True)
class Judged:
    """One failure. `por`, `em` and `nova_id` tell of its reprocessing, if there was one."""

    id: UUID
    mensagem_id: UUID
    campanha_id: int | None
    quarentena: bool
    nova_id: UUID | None
    por: str
    em: datetime | None
    recusa: Recusa | None


def plan(filtros: Filtros, *, forcar: bool = False) -> Plano:
    """The dry run: one statement, writes nothing."""
    found = rows(_COUNTED, filtros.as_params() | {"forcar": forcar})
    counts = {row["recusa"]: int(row["n"]) for row in found}
    refused = {reason: counts[reason.value] for reason in Recusa if reason.value in counts}
    return Plano(sum(counts.values()), counts.get(None, 0), refused)


def judge(ids: Sequence[UUID], *, quarentena: bool, forcar: bool = False) -> list[Judged]:
    """The same verdicts one by one, ordered by id; ids that do not exist are absent."""
    found = rows(_JUDGED, {"ids": list(ids), "quarentena": quarentena, "forcar": forcar})
    return [Judged(**{**row, "recusa": Recusa(row["recusa"]) if row["recusa"] else None}) for row in found]


def page(filtros: Filtros, *, after: UUID, asked_at: datetime, limit: int) -> list[UUID]:
    """The next ids of a run in their order. What failed after it was asked for is no part of it."""
    params = filtros.as_params() | {"depois": after, "pedido_em": asked_at, "limit": limit}
    return [row["id"] for row in rows(_PAGE, params)]
