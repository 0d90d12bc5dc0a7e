"""Where a campaign stands, counted from its rows in one statement: one snapshot, numbers that add up."""

from typing import Any

from core.database import rows
from fila.campanhas.errors import CampanhaInexistente
from fila.choices import CampanhaStatus, Status

# A message that was reprocessed counts once, as its newest row: what the older ones are (few) is taken away again.
# The statuses come from fila_by_campanha_and_status alone. Who was selected and is not yet in the fila is pending, or
# cancelled with the campaign.
_SUMMARY = """
WITH por_status AS (
    SELECT jsonb_object_agg(g.status, g.n) AS n FROM (
        SELECT f.status, count(*) AS n FROM fila_mensagens f WHERE f.campanha_id = %(campanha)s GROUP BY f.status) g),
superadas AS MATERIALIZED (
    SELECT o.status, o.delivery_status FROM fila_mensagens r JOIN fila_mensagens o ON o.id = r.reprocessa_de_id
    WHERE r.campanha_id = %(campanha)s AND r.reprocessa_de_id IS NOT NULL)
SELECT k.id, k.status, k.termina_em, k.excluidas,
       coalesce((SELECT n FROM por_status), '{}') AS por_status,
       coalesce((SELECT jsonb_object_agg(g.status, g.n) FROM (
           SELECT status, count(*) AS n FROM superadas GROUP BY status) g), '{}') AS superadas,
       (SELECT count(*) FROM fila_mensagens f
        WHERE f.campanha_id = k.id AND f.delivery_status IN ('delivered', 'read'))
       - (SELECT count(*) FROM superadas WHERE delivery_status IN ('delivered', 'read')) AS entregues,
       (SELECT count(DISTINCT i.cliente_id) FROM interacoes i
        WHERE i.attributed_campaign_id = k.id AND i.tipo = 'entrada') AS respondidas,
       (SELECT count(*) FROM campanha_destinatarios d
        WHERE d.campanha_id = k.id AND d.estado = 'selecionado') AS por_enfileirar,
       CASE WHEN k.status = 'ativa' THEN (
           SELECT CASE WHEN f.outcome IS NOT NULL THEN f.outcome_reason_code END FROM fila_mensagens f
           WHERE f.campanha_id = k.id AND f.status = 'pendente'
           ORDER BY f.prioridade, f.agendar_para, f.id LIMIT 1) END AS espera_por
FROM campanhas k WHERE k.id = %(campanha)s
"""


def summary(campanha_id: int) -> dict[str, Any]:
    """The counters, by person: `audiencia = enviadas + bloqueadas + falhas + incertas + canceladas + pendentes`.

    `excluidas` by reason, frozen at start; `termina_em` is the planned end, None where nobody can say.
    `espera_por`: why its next message did not go when it was due (a reason code), None where nothing waits. Raises
    CampanhaInexistente.
    """
    found = rows(_SUMMARY, {"campanha": campanha_id})
    if not found:
        raise CampanhaInexistente(campanha_id)
    row = found[0]
    count = {status: row["por_status"].get(status, 0) - row["superadas"].get(status, 0) for status in Status.values}
    parts = {
        "enviadas": count[Status.ENVIADA],
        "bloqueadas": count[Status.BLOQUEADA],
        "falhas": count[Status.ERRO],
        "incertas": count[Status.INCERTA],
        "canceladas": count[Status.CANCELADA],
        "pendentes": count[Status.PENDENTE] + count[Status.PROCESSANDO],
    }
    enqueued = sum(parts.values())
    parts["canceladas" if row["status"] == CampanhaStatus.CANCELADA else "pendentes"] += row["por_enfileirar"]
    return {
        "id": row["id"],
        "status": row["status"],
        "audiencia": sum(parts.values()),
        "enfileiradas": enqueued,
        "enviadas": parts["enviadas"],
        "entregues": row["entregues"],
        "respondidas": row["respondidas"],
        "bloqueadas": parts["bloqueadas"],
        "falhas": parts["falhas"],
        "incertas": parts["incertas"],
        "canceladas": parts["canceladas"],
        "pendentes": parts["pendentes"],
        "excluidas": row["excluidas"],
        "termina_em": row["termina_em"],
        "espera_por": row["espera_por"],
    }
