"""Where a campaign stands, counted from its rows in one statement: one snapshot, numbers that add up."""

from typing import Any

from core.database import rows
from fila.campanhas.errors import CampanhaInexistente

# A message that was reprocessed counts once, as its newest row. Who was selected and is not yet in the fila is pending,
# or cancelled with the campaign.
_SUMMARY = """
WITH linhas AS (
    SELECT count(*) AS enfileiradas,
           count(*) FILTER (WHERE f.status = 'enviada') AS enviadas,
           count(*) FILTER (WHERE f.delivery_status IN ('delivered', 'read')) AS entregues,
           count(*) FILTER (WHERE f.status = 'bloqueada') AS bloqueadas,
           count(*) FILTER (WHERE f.status = 'erro') AS falhas,
           count(*) FILTER (WHERE f.status = 'incerta') AS incertas,
           count(*) FILTER (WHERE f.status = 'cancelada') AS canceladas,
           count(*) FILTER (WHERE f.status IN ('pendente', 'processando')) AS pendentes
    FROM fila_mensagens f
    WHERE f.campanha_id = %(campanha)s
        AND NOT EXISTS (SELECT 1 FROM fila_mensagens r
                        WHERE r.reprocessa_de_id = f.id AND r.reprocessa_de_id IS NOT NULL)),
por_enfileirar AS (
    SELECT count(*) AS n FROM campanha_destinatarios d
    WHERE d.campanha_id = %(campanha)s AND d.estado = 'selecionado'),
respostas AS (
    SELECT count(DISTINCT i.cliente_id) AS respondidas FROM interacoes i
    WHERE i.attributed_campaign_id = %(campanha)s AND i.tipo = 'entrada')
SELECT k.id, k.status, k.termina_em, k.excluidas, l.*, r.respondidas, p.n AS por_enfileirar
FROM campanhas k, linhas l, por_enfileirar p, respostas r WHERE k.id = %(campanha)s
"""


def summary(campanha_id: int) -> dict[str, Any]:
    """The counters, by person: `audiencia = enviadas + bloqueadas + falhas + incertas + canceladas + pendentes`.

    `excluidas` by reason, frozen at start; `termina_em` is the planned end, None where nobody can say. Raises
    CampanhaInexistente.
    """
    found = rows(_SUMMARY, {"campanha": campanha_id})
    if not found:
        raise CampanhaInexistente(campanha_id)
    row = found[0]
    row["canceladas" if row["status"] == "cancelada" else "pendentes"] += row["por_enfileirar"]
    parts = ("enviadas", "bloqueadas", "falhas", "incertas", "canceladas", "pendentes")
    return {
        "id": row["id"],
        "status": row["status"],
        "audiencia": sum(row[part] for part in parts),
        "enfileiradas": row["enfileiradas"],
        "enviadas": row["enviadas"],
        "entregues": row["entregues"],
        "respondidas": row["respondidas"],
        "bloqueadas": row["bloqueadas"],
        "falhas": row["falhas"],
        "incertas": row["incertas"],
        "canceladas": row["canceladas"],
        "pendentes": row["pendentes"],
        "excluidas": row["excluidas"],
        "termina_em": row["termina_em"],
    }
