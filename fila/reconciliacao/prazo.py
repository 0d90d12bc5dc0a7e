"""After 24 hours without evidence: the message ends, visibly, and is never sent again by itself."""

from datetime import timedelta

from core.database import execute, rows
from core.outcomes import SendOutcome
from fila.choices import Evento
from fila.reconciliacao.holding import Busy, held
from fila.reconciliacao.schedule import GIVE_UP_AFTER
from fila.returns import Event, record_events, to_dlq

NO_EVIDENCE = "sem_evidencia_24h"
AT_ONCE = 500

# fila_incertas; a row without its attempt (raw SQL) counts from its last change.
_OVERDUE = """
SELECT m.id, t.id AS tentativa FROM fila_mensagens m LEFT JOIN envios_tentativas t ON t.id = m.tentativa_aberta_id
WHERE m.status = 'incerta' AND coalesce(t.iniciado_em, m.updated_at) < agora() - %s
    AND coalesce(t.resultado, 'desconhecido') IN ('desconhecido', 'rejeitado') ORDER BY m.updated_at LIMIT %s
"""
# tentativas_searches_due; their messages went on without them (somebody ended the row by hand).
_ORPHANS = """
UPDATE envios_tentativas t SET evidencia = 'prazo', proxima_busca_em = NULL
WHERE t.resultado = 'desconhecido' AND t.evidencia <> 'prazo' AND t.proxima_busca_em <= agora()
    AND t.iniciado_em < agora() - %s
    AND NOT EXISTS (SELECT 1 FROM fila_mensagens m WHERE m.tentativa_aberta_id = t.id AND m.status = 'incerta')
"""


def end_overdue(*, after: timedelta = GIVE_UP_AFTER) -> int:
    """`incerta` → `erro` / FAILED_UNKNOWN with a row in the DLQ; the attempt stays unknown. Returns how many ended.

    `tentativa_aberta_id` stays too: an UPDATE by hand to `pendente` still meets the trigger and sends nothing.
    """
    ended = 0
    for row in rows(_OVERDUE, [after, AT_ONCE]):
        try:
            with held([row["tentativa"]] if row["tentativa"] else []):
                ended += _end(row["id"], row["tentativa"])
        except Busy:
            continue
    execute(_ORPHANS, [after])
    return ended


def _end(mensagem_id: object, attempt_id: int | None) -> int:
    changed = rows(
        """UPDATE fila_mensagens SET status = 'erro', outcome = 'FAILED_UNKNOWN', outcome_reason_code = %s,
               outcome_at = agora(), erro = 'em 24 horas nada provou que saiu nem que não saiu', lease_ate = NULL,
               lease_owner = ''
           WHERE id = %s AND status = 'incerta' AND tentativa_aberta_id IS NOT DISTINCT FROM %s RETURNING id""",
        [NO_EVIDENCE, mensagem_id, attempt_id],
    )
    if not changed:
        return 0
    execute(
        """UPDATE envios_tentativas SET evidencia = 'prazo', proxima_busca_em = NULL
           WHERE id = %s AND resultado = 'desconhecido'""",
        [attempt_id],
    )
    to_dlq([row["id"] for row in changed])
    record_events([Event(row["id"], Evento.FALHA, SendOutcome.FAILED_UNKNOWN, NO_EVIDENCE) for row in changed])
    return 1
