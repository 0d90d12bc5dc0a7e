"""The fila in numbers (S-36 T01.4): one statement over partial indexes, whatever the past has grown to."""

from typing import Any

from core.database import rows

_HIGHEST_PRIORITY = 10

# fila_oldest_due, fila_leases, fila_incertas; fila_newest_outcomes for the last hour, fila_newest_errors for the day.
# The oldest is asked of what may go now, one probe per active campaign and priority: what a pause holds is not late.
_METRICS = """
WITH hora AS (
    SELECT count(*) FILTER (WHERE status = 'enviada') AS enviadas,
           count(*) FILTER (WHERE status = 'erro') AS erros,
           avg(extract(epoch FROM outcome_at - processando_desde) * 1000)
               FILTER (WHERE processando_desde <= outcome_at AND status <> 'processando') AS media_ms
    FROM fila_mensagens WHERE outcome_at > agora() - interval '1 hour'),
vez AS (
    SELECT min(x.agendar_para) AS em FROM campanhas k, generate_series(0, %(top)s) p, LATERAL (
        SELECT m.agendar_para FROM fila_mensagens m WHERE m.campanha_id = k.id AND m.prioridade = p
            AND m.status = 'pendente' AND m.agendar_para <= agora() ORDER BY m.agendar_para LIMIT 1) x
    WHERE k.status = 'ativa'
    UNION ALL
    SELECT min(x.agendar_para) FROM generate_series(0, %(top)s) p, LATERAL (
        SELECT m.agendar_para FROM fila_mensagens m WHERE m.campanha_id IS NULL AND m.prioridade = p
            AND m.status = 'pendente' AND m.agendar_para <= agora() ORDER BY m.agendar_para LIMIT 1) x)
SELECT (SELECT count(*) FROM fila_mensagens WHERE status = 'pendente') AS pendentes,
       (SELECT count(*) FROM fila_mensagens WHERE status = 'processando') AS processando,
       (SELECT count(*) FROM fila_mensagens WHERE status = 'incerta') AS incertas,
       (SELECT count(*) FROM fila_mensagens WHERE status = 'processando'
           AND processando_desde < agora() - interval '1 hour') AS travadas,
       hora.enviadas AS enviadas_ultima_hora, hora.erros AS erros_ultima_hora,
       (SELECT count(*) FROM fila_mensagens
        WHERE status = 'erro' AND outcome_at > agora() - interval '24 hours') AS erros_ultimas_24h,
       round(hora.media_ms)::bigint AS tempo_medio_processamento_ms,
       (SELECT floor(extract(epoch FROM agora() - min(em)) / 60)::int FROM vez) AS mensagem_mais_antiga_minutos
FROM hora
"""


def obter_metricas_fila() -> dict[str, Any]:
    """Counts are numbers, also of an empty fila; the average and the age are None when there is nothing to measure.

    `mensagem_mais_antiga_minutos` (also as `mensagem_mais_antiga_min`) is how long the oldest message that may go has
    been due. `tempo_medio_processamento_ms` is from claim to outcome, over the outcomes of the last hour. `travadas`:
    more than an hour in `processando`.
    """
    (found,) = rows(_METRICS, {"top": _HIGHEST_PRIORITY})
    return {**found, "mensagem_mais_antiga_min": found["mensagem_mais_antiga_minutos"]}
