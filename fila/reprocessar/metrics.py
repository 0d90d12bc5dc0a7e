"""The failures in numbers."""

from typing import Any

from core.database import rows

REASONS_SHOWN = 10

# One pass over the failures, grouped; the table holds what went wrong for good, not what was sent.
_METRICS = """
SELECT coalesce(outcome, '') AS outcome, split_part(coalesce(outcome_reason_code, ''), ':', 1) AS motivo,
    count(*) AS total, count(*) FILTER (WHERE NOT reprocessado) AS abertas,
    count(*) FILTER (WHERE movido_para_dlq_em > agora() - interval '24 hours') AS recentes,
    count(*) FILTER (WHERE quarentena AND NOT reprocessado) AS quarentena
FROM fila_mensagens_dlq GROUP BY 1, 2 ORDER BY abertas DESC, total DESC, 1, 2
"""


def obter_metricas_dlq() -> dict[str, Any]:
    """`total`, `nao_reprocessadas`, `ultimas_24h` (moved there), `em_quarentena`, and the commonest reasons of those
    that are not reprocessed as `por_motivo`: outcome, start of the reason code, how many.
    """
    found = rows(_METRICS)
    return {
        "total": sum(row["total"] for row in found),
        "nao_reprocessadas": sum(row["abertas"] for row in found),
        "ultimas_24h": sum(row["recentes"] for row in found),
        "em_quarentena": sum(row["quarentena"] for row in found),
        "por_motivo": [
            {"outcome": row["outcome"], "motivo": row["motivo"], "total": row["abertas"]}
            for row in found[:REASONS_SHOWN]
            if row["abertas"]
        ],
    }
