"""What nobody asks about any more: alerts that are long over, and what was said of them."""

from datetime import datetime, timedelta

from core.database import execute
from core.jobs.deadline import Deadline

KEEP = timedelta(days=90)
BATCH = 5000


def clean(now: datetime, *, deadline: Deadline | None = None, keep: timedelta = KEEP) -> int:
    """Delete alerts resolved before `now - keep` with their notices, the messages, memories and silences left without
    one; how many alerts. Open alerts stay for ever. In batches, until `deadline`.
    """
    before, removed = now - keep, 0
    while deadline is None or not deadline.passed:
        batch = execute(
            """WITH old AS (SELECT id FROM alertas WHERE resolvido_em < %s ORDER BY resolvido_em LIMIT %s),
               said AS (DELETE FROM alerta_avisos WHERE alerta_id IN (SELECT id FROM old))
               DELETE FROM alertas WHERE id IN (SELECT id FROM old)""",
            [before, BATCH],
        )
        removed += batch
        if batch < BATCH:
            break
    execute(
        """DELETE FROM alerta_entregas m WHERE m.created_at < %s AND m.situacao NOT IN ('pendente', 'enviando')
               AND NOT EXISTS (SELECT 1 FROM alerta_avisos v WHERE v.entrega_id = m.id)""",
        [before],
    )
    execute("DELETE FROM alerta_silencios WHERE ate < %s", [before])
    execute(
        """DELETE FROM alerta_estados e WHERE e.presente_desde IS NULL AND e.ausente_desde IS NULL AND e.falhas = 0
               AND (e.avisado_em IS NULL OR e.avisado_em < %s) AND NOT EXISTS (SELECT 1 FROM alertas a
                   WHERE a.tipo = e.tipo AND a.chave = e.chave AND a.resolvido_em IS NULL)""",
        [now - timedelta(days=2)],
    )
    return removed
