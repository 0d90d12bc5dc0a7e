"""What running campaigns need from time to time: an end when all is done, a new forecast, rows that outlive a wait."""

import json
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction

from core import correlation
from core.audit import services as audit
from core.database import execute, rows
from core.health import beats
from core.logging import get_logger
from fila.campanhas import capacity, planning
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha
from fila.choices import CampanhaStatus

log = get_logger("fila.campanhas")

SYSTEM = "sistema"
LIFE = timedelta(hours=24)
RENEW_BELOW = timedelta(hours=12)
WORKER_ALIVE = timedelta(minutes=2)
EXTENDED_AT_ONCE = 20_000

# An ERROR acknowledgement may put its message back into the fila until this long after it came (60 s for a positive one
# to win, and the reconciler's own turn).
ERROR_RULE_S = 90
REOPENED_AFTER_AT_MOST = timedelta(days=7)

_OPEN_ROWS = """EXISTS (SELECT 1 FROM fila_mensagens f
                    WHERE f.campanha_id = k.id AND f.status IN ('pendente', 'processando', 'incerta'))"""
_FINISHED = f"""
    k.status = 'ativa' AND k.enfileirada_em IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM campanha_destinatarios d WHERE d.campanha_id = k.id AND d.estado = 'selecionado')
    AND NOT {_OPEN_ROWS}
"""  # noqa: S608 (constants)
# Read by tentativas_error_acks: the few acknowledgements that are not decided, whatever the campaigns' sizes.
_UNDECIDED = f"""
SELECT DISTINCT f.campanha_id FROM envios_tentativas t JOIN fila_mensagens f ON f.id = t.origem_id
WHERE t.delivery_status = 'failed' AND t.nao_entregue_em IS NULL
    AND t.delivery_status_at > agora() - interval '{ERROR_RULE_S} seconds'
    AND t.origem = 'fila' AND f.status = 'enviada' AND f.campanha_id IS NOT NULL
"""  # noqa: S608 (constants)
_MAY_BE_FINISHED = f"SELECT k.id FROM campanhas k WHERE {_FINISHED} ORDER BY k.id"  # noqa: S608 (constants)
_CONCLUDE = f"""
WITH indecisas AS MATERIALIZED ({_UNDECIDED})
UPDATE campanhas k SET status = 'concluida', concluida_em = %(now)s WHERE k.id = ANY(%(ids)s) AND {_FINISHED}
    AND k.id NOT IN (SELECT campanha_id FROM indecisas)
RETURNING k.id, k.correlation_id
"""  # noqa: S608 (constants)
_REOPEN = f"""
UPDATE campanhas k SET status = 'ativa', concluida_em = NULL
WHERE k.id IN (SELECT id FROM campanhas WHERE id = ANY(%(ids)s) AND status = 'concluida' ORDER BY id
               FOR NO KEY UPDATE SKIP LOCKED)
    AND k.status = 'concluida' AND {_OPEN_ROWS}
RETURNING k.id
"""  # noqa: S608 (constants)
_MAY_BE_OPEN = f"""
SELECT k.id FROM campanhas k
WHERE k.status = 'concluida' AND (%(since)s::timestamptz IS NULL OR k.concluida_em > %(since)s) AND {_OPEN_ROWS}
ORDER BY k.id
"""  # noqa: S608 (constants)


def conclude_finished(*, now: datetime) -> int:
    """ativa → concluida for every campaign whose enqueue is complete and that has no open row; returns how many.

    Locked first and asked again afterwards: a reprocessed row that commits in between is seen. A campaign that somebody
    holds has its turn later, and so has one with a sent message whose ERROR acknowledgement is not decided yet. Opens
    those again that have open rows although they ended in the last days.
    """
    reopen_stranded(since=now - REOPENED_AFTER_AT_MOST)
    with transaction.atomic():
        may_be = [row["id"] for row in rows(_MAY_BE_FINISHED)]
        locked = rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", [may_be])
        candidates = [row["id"] for row in locked]
        finished = rows(_CONCLUDE, {"ids": candidates, "now": now}) if candidates else []
        for each in finished:
            with correlation.use(each["correlation_id"]):
                audit.record("campanha_concluida", "campanha", each["id"], usuario=SYSTEM)
    return len(finished)


def reopen(campaign_ids: Collection[int], *, actor: str = SYSTEM, motivo: str = "") -> list[int]:
    """concluida → ativa for those that have open rows again, in the caller's transaction; the ids that were reopened.

    Called after the rows were opened. It waits for nobody: a campaign that another transaction holds (both would wait
    for each other otherwise) is opened by the next look of `conclude_finished`, within seconds.
    """
    if not campaign_ids:
        return []
    reopened = sorted(row["id"] for row in rows(_REOPEN, {"ids": sorted(set(campaign_ids))}))
    for campanha_id in reopened:
        audit.record("campanha_reaberta", "campanha", campanha_id, usuario=actor, motivo=motivo)
    return reopened


def reopen_stranded(*, since: datetime | None = None) -> int:
    """Ended campaigns that have open rows (raw SQL, a campaign held at the wrong moment); returns how many were opened.

    `since` bounds the look to campaigns that ended after it; None looks at all.
    """
    with transaction.atomic():
        found = [row["id"] for row in rows(_MAY_BE_OPEN, {"since": since})]
        return len(reopen(found))


_LEFT = """
SELECT (SELECT count(*) FROM fila_mensagens WHERE campanha_id = %(campanha)s AND status = 'pendente')
     + (SELECT count(*) FROM campanha_destinatarios WHERE campanha_id = %(campanha)s AND estado = 'selecionado') AS n
"""


def foretell(campanha_id: int, *, now: datetime) -> None:
    """A new `termina_em` for what is still to be sent, from the capacity of this moment; due times stay."""
    campanha = Campanha.objects.get(pk=campanha_id)
    if not campanha.plano:
        return
    filters = AudienceFilters.parse(campanha.audience_filters)
    around = capacity.read(campanha_id=campanha_id, chips_excluidos=filters.chips_excluidos, now=now)
    left = rows(_LEFT, {"campanha": campanha_id})[0]["n"]
    forecast = planning.plan(left, around.capacity, around.windows(campanha.plano["fusos"], now), now=now)
    changed = {
        key: forecast.as_json()[key]
        for key in ("sem_capacidade", "motivo", "termina_em", "chips", "por_dia", "por_hora")
    }
    execute(
        """UPDATE campanhas SET termina_em = %s, plano = plano || %s::jsonb
           WHERE id = %s AND status IN ('ativa', 'pausada')""",
        [forecast.termina_em, json.dumps(changed), campanha_id],
    )


def foretell_stranded(*, now: datetime) -> int:
    """Look again at running campaigns that started without capacity; returns how many were looked at."""
    stranded = Campanha.objects.filter(status=CampanhaStatus.ATIVA, plano__sem_capacidade=True)
    ids = list(stranded.order_by("id").values_list("id", flat=True))
    for campanha_id in ids:
        foretell(campanha_id, now=now)
    return len(ids)


# Rows in the middle of a retry are left alone (`tentativas`): retries do not prolong a life. Rows that somebody claims
# at this moment are skipped; ids in order, as everybody who locks several messages.
_EXTEND = """
WITH velhas AS MATERIALIZED (
    SELECT f.id FROM campanhas k JOIN fila_mensagens f ON f.campanha_id = k.id
    WHERE k.status = ANY(%(statuses)s) AND f.status = 'pendente' AND f.agendar_para <= %(now)s
        AND f.expira_em < %(now)s + %(renew)s AND f.tentativas = 0
    ORDER BY f.id LIMIT %(limit)s FOR UPDATE OF f SKIP LOCKED)
UPDATE fila_mensagens m SET expira_em = %(now)s + %(life)s FROM velhas v WHERE m.id = v.id
"""


def keep_alive(*, now: datetime, limit: int = EXTENDED_AT_ONCE) -> int:
    """Move the expiry of campaign rows that are due and wait; returns how many rows.

    Waiting for a pause always counts. Waiting for capacity, hours or a switch counts while a worker lives: it takes
    whatever can be carried, so what it leaves cannot be. With no worker at all rows grow old, and that is an alarm.
    """
    statuses = [CampanhaStatus.PAUSADA.value]
    newest = beats.newest("worker")
    if newest is not None and newest.encerrado_em is None and now - newest.beat_at < WORKER_ALIVE:
        statuses.append(CampanhaStatus.ATIVA.value)
    return execute(_EXTEND, {"statuses": statuses, "now": now, "renew": RENEW_BELOW, "life": LIFE, "limit": limit})
