"""From a started campaign to its rows in the fila: audience, plan, messages. Every step is its own transaction.

A crash anywhere leaves a row that says what is missing (`plano` empty: the audience; `enfileirada_em` empty: messages)
and the next call goes on from there. One process works on a campaign at a time, by an advisory lock that lives as long
as its transaction; pausing, cancelling and sending never wait for the heavy statement, only for one short batch.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from django.db import transaction
from django.db.models import F

from core.database import rows
from core.jobs.deadline import Deadline
from core.logging import get_logger
from fila.campanhas import audience, capacity, planning, rendering
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha, Destinatario
from fila.campanhas.planning import Plan
from fila.choices import CampanhaStatus, DestinatarioEstado, MotivoExclusao
from fila.enqueue import CAMPAIGN

log = get_logger("fila.campanhas")

BATCH = 10_000
RUNNING = (CampanhaStatus.ATIVA, CampanhaStatus.PAUSADA)
STALE_PLAN = timedelta(hours=1)


class State(Enum):
    """After a step: more to do, nothing left, not allowed to go on, another process is at it."""

    MORE = auto()
    DONE = auto()
    STOPPED = auto()
    BUSY = auto()


@dataclass(frozen=True, slots=True)
class Step:
    state: State
    enqueued: int = 0


class PlanIncomplete(RuntimeError):
    """The plan has no due time for some of the selected: nothing was enqueued."""


def continue_start(campanha_id: int, *, now: datetime, deadline: Deadline | None = None) -> int:
    """Whatever is still missing of a started campaign; returns how many messages were enqueued.

    Harmless to call at any time and by several processes. After `deadline` no further batch is begun: the rest is for
    the next call.
    """
    total, step = 0, Step(prepare(campanha_id, now=now))
    while step.state is State.MORE and not (deadline and deadline.passed):
        step = enqueue_step(campanha_id, now=now)
        total += step.enqueued
    if step.state is State.DONE:
        _complete(campanha_id, now=now)
    return total


def prepare(campanha_id: int, *, now: datetime) -> State:
    """Freeze audience and plan, once, and renew a plan whose next due times have passed."""
    with transaction.atomic():
        campanha = _take(campanha_id)
        if campanha is None:
            return State.BUSY
        if campanha.status not in RUNNING or campanha.enfileirada_em is not None:
            return State.STOPPED
        values = _renewed(campanha, now) if campanha.plano else _frozen(campanha, now)
        # The heavy part is done: only now the row is locked, and whoever cancelled meanwhile has won.
        if values and not Campanha.objects.filter(pk=campanha_id, status__in=RUNNING).update(**values):
            transaction.set_rollback(True)
            return State.STOPPED
    return State.MORE


def _take(campanha_id: int) -> Campanha | None:
    """The campaign, for this transaction alone to enqueue; None when another one is at it."""
    key = f"julia.campanha.{campanha_id}"
    if not rows("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS taken", [key])[0]["taken"]:
        return None
    return Campanha.objects.get(pk=campanha_id)


def _frozen(campanha: Campanha, now: datetime) -> dict[str, Any]:
    filters = AudienceFilters.parse(campanha.audience_filters)
    around = capacity.read(campanha_id=campanha.pk, chips_excluidos=filters.chips_excluidos, now=now)
    people = audience.people(
        filters,
        campanha_id=campanha.pk,
        parts=rendering.compile(campanha.corpo_congelado),
        policy=around.rules.policy,
        now=now,
    )
    frozen = audience.freeze(people, campanha_id=campanha.pk, alvo=filters.quantidade_alvo)
    plan = planning.plan(frozen.total, around.capacity, around.windows(frozen.fusos, now), now=now)
    log.info("publico congelado", campanha_id=campanha.pk, total=frozen.total, excluidas=frozen.excluidas)
    return {
        "total_destinatarios": frozen.total,
        "excluidas": frozen.excluidas,
        "plano": plan.as_json() | {"fusos": list(frozen.fusos)},
        "termina_em": plan.termina_em,
    }


def _renewed(campanha: Campanha, now: datetime) -> dict[str, Any]:
    """A plan for those not yet enqueued when their turn is more than an hour ago, as after a crash; else nothing."""
    first = _first_selected(campanha.pk)
    plan = Plan.from_json(campanha.plano)
    if first is None or _planned_for(plan, first) > now - STALE_PLAN:
        return {}
    filters = AudienceFilters.parse(campanha.audience_filters)
    around = capacity.read(campanha_id=campanha.pk, chips_excluidos=filters.chips_excluidos, now=now)
    fusos = campanha.plano["fusos"]
    left = campanha.total_destinatarios - first + 1
    rest = planning.plan(left, around.capacity, around.windows(fusos, now), now=now, first=first)
    whole = replace(rest, segments=planning.before(plan.segments, first) + rest.segments)
    return {"plano": whole.as_json() | {"fusos": fusos}, "termina_em": whole.termina_em}


def _planned_for(plan: Plan, place: int) -> datetime:
    holding = planning.segments_for(plan.segments, place, place)
    if not holding:
        raise PlanIncomplete(f"no due time for place {place}")
    return holding[0].due(place, 0.0)


def _first_selected(campanha_id: int) -> int | None:
    waiting = Destinatario.objects.filter(campanha_id=campanha_id, estado=DestinatarioEstado.SELECIONADO)
    return waiting.order_by("ordem").values_list("ordem", flat=True).first()


# The people of one batch (one range of destinatarios_to_enqueue, which ORDER BY and LIMIT hold the planner to) with
# their text; NULL where a value that the text needs was emptied since the selection. The due time is `Segment.due` in
# SQL, its jitter drawn from person and campaign.
_ENQUEUE = """
WITH escolhidas AS MATERIALIZED (
    SELECT d.id, d.cliente_id, d.ordem FROM campanha_destinatarios d
    WHERE d.campanha_id = %(campanha)s AND d.estado = 'selecionado' AND d.ordem >= %(first)s AND d.ordem <= %(last)s
    ORDER BY d.ordem LIMIT %(limit)s),
lote AS MATERIALIZED (
    SELECT e.id, e.cliente_id, e.ordem, c.telefone, {conteudo} AS conteudo
    FROM escolhidas e JOIN clientes c ON c.id = e.cliente_id),
planejadas AS MATERIALIZED (
    SELECT l.id, l.cliente_id, l.telefone, l.conteudo,
           t.inicio + (l.ordem - t.primeira + CASE WHEN l.ordem = 1 THEN 0 ELSE
               (hashtextextended(l.cliente_id::text, %(campanha)s) & 1048575)::float8 / 1048576 END)
               / t.quantidade * (t.fim - t.inicio) AS devida
    FROM lote l JOIN unnest(%(inicios)s::timestamptz[], %(fins)s::timestamptz[], %(primeiras)s::int[],
                            %(quantidades)s::int[]) AS t(inicio, fim, primeira, quantidade)
        ON l.ordem >= t.primeira AND l.ordem < t.primeira + t.quantidade
    WHERE l.conteudo IS NOT NULL),
inseridas AS (
    INSERT INTO fila_mensagens (cliente_id, campanha_id, telefone_destino, conteudo, tipo, prioridade, agendar_para,
        agendada_originalmente_para, expira_em, metadata, correlation_id, created_at, updated_at)
    SELECT p.cliente_id, %(campanha)s, p.telefone, p.conteudo, 'campanha', %(prioridade)s, p.devida, p.devida,
        greatest(p.devida, %(now)s) + interval '24 hours', %(metadata)s::jsonb, %(correlation_id)s,
        (SELECT agora()), (SELECT agora())
    FROM planejadas p
    ON CONFLICT (campanha_id, cliente_id, reenvio_n) DO NOTHING
    RETURNING 1),
enfileiradas AS (
    UPDATE campanha_destinatarios d SET estado = 'enfileirado' FROM planejadas p WHERE d.id = p.id),
vazias AS (
    UPDATE campanha_destinatarios d SET estado = 'excluido', motivo_exclusao = 'variavel_vazia'
    FROM lote l WHERE d.id = l.id AND l.conteudo IS NULL RETURNING 1)
SELECT (SELECT count(*) FROM lote) AS lote, (SELECT count(*) FROM planejadas) AS planejadas,
       (SELECT count(*) FROM inseridas) AS inseridas, (SELECT count(*) FROM vazias) AS vazias
"""


def enqueue_step(campanha_id: int, *, now: datetime, limit: int | None = None) -> Step:
    """The next `limit` (BATCH) places of the audience, as messages with their due times, in one transaction.

    Holds the campaign `FOR SHARE`: whoever pauses or cancels waits for this batch, and the next one sees it. A message
    that exists already stays as it is.
    """
    with transaction.atomic():
        campanha = _take(campanha_id)
        if campanha is None:
            return Step(State.BUSY)
        status = rows("SELECT status FROM campanhas WHERE id = %s FOR SHARE", [campanha_id])[0]["status"]
        if status not in RUNNING or campanha.enfileirada_em is not None:
            return Step(State.STOPPED)
        first = _first_selected(campanha_id)
        if first is None:
            return Step(State.DONE)
        found = rows(*_statement(campanha, first, limit or BATCH, now))[0]
        if found["planejadas"] + found["vazias"] != found["lote"]:
            raise PlanIncomplete(f"campanha {campanha_id}: {found}")
    log.info("lote enfileirado", campanha_id=campanha_id, **found)
    return Step(State.MORE, found["inseridas"])


def _statement(campanha: Campanha, first: int, limit: int, now: datetime) -> tuple[str, dict[str, Any]]:
    last = first + limit - 1
    conteudo, params = rendering.sql_expression(rendering.compile(campanha.corpo_congelado))
    segments = planning.segments_for(Plan.from_json(campanha.plano).segments, first, last)
    return _ENQUEUE.format(conteudo=conteudo), params | {
        "campanha": campanha.pk,
        "first": first,
        "last": last,
        "limit": limit,
        "inicios": [segment.inicio for segment in segments],
        "fins": [segment.fim for segment in segments],
        "primeiras": [segment.primeira for segment in segments],
        "quantidades": [segment.quantidade for segment in segments],
        "prioridade": CAMPAIGN,
        "now": now,
        "metadata": _metadata(campanha),
        "correlation_id": campanha.correlation_id,
    }


def _metadata(campanha: Campanha) -> str:
    """The keys that operators' SQL and the outbound path read (fila reference §1.6)."""
    return json.dumps(
        {
            "campanha_id": str(campanha.pk),
            "tipo_campanha": campanha.tipo_campanha,
            "pode_ofertar": campanha.pode_ofertar,
            "chips_excluidos": campanha.audience_filters.get("chips_excluidos", []),
        }
    )


def _complete(campanha_id: int, *, now: datetime) -> None:
    """The last recipient is in the fila. People whose data was emptied since the selection count as excluded."""
    with transaction.atomic():
        campanha = Campanha.objects.select_for_update(no_key=True).get(pk=campanha_id)
        if campanha.enfileirada_em is not None or _first_selected(campanha_id) is not None:
            return
        late = Destinatario.objects.filter(
            campanha_id=campanha_id, estado=DestinatarioEstado.EXCLUIDO, ordem__gt=0
        ).count()
        if late:
            key = MotivoExclusao.VARIAVEL_VAZIA.value
            campanha.excluidas[key] = campanha.excluidas.get(key, 0) + late
        Campanha.objects.filter(pk=campanha_id).update(
            enfileirada_em=now,
            total_destinatarios=F("total_destinatarios") - late,
            excluidas=campanha.excluidas,
        )
    log.info("campanha enfileirada", campanha_id=campanha_id)
