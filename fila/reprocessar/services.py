"""Putting failures back into the fila: each as a new message, linked to the one that failed, at most once.

Lock order: the run, then campanha, pessoa, mensagem, falha, each by id.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django_q.tasks import async_task
from psycopg.errors import DeadlockDetected, LockNotAvailable

from core import correlation
from core.alerts.services import resolve
from core.audit import services as audit
from core.clock import BRASILIA
from core.database import execute, rows, wait_briefly_for_locks
from core.jobs.deadline import Deadline
from core.jobs.registry import Cluster
from core.logging import get_logger
from fila.campanhas import lifecycle, upkeep
from fila.choices import Evento
from fila.mensagens import Reprocessamento
from fila.reprocessar.choices import NEXT_STEPS, Recusa
from fila.reprocessar.errors import FalhaInexistente, Ocupada, Recusada
from fila.reprocessar.filters import Filtros
from fila.reprocessar.planning import Judged, Plano, judge, page, plan
from fila.rescue import QUARANTINED
from fila.returns import Event, record_events

log = get_logger("fila.reprocessar")

TASK = "fila.reprocessar.tasks.continuar_reprocessamento"

AT_ONCE = 500  # done while the operator waits; what is more is a task
BATCH = 500
GAP_S = 2.0  # between two messages of a run, jittered
LONGEST_SPREAD_S = 3600.0
LOCK_MS = 10_000
FIRST = UUID(int=0)


def preview(filtros: Filtros, *, forcar: bool = False) -> Plano:
    """What a run would do now. Writes nothing."""
    return plan(filtros, forcar=forcar)


def reprocess(filtros: Filtros, *, actor: str, motivo: str, rng: random.Random, now: datetime) -> Reprocessamento:
    """One run over everything that the filters name. Up to `AT_ONCE` failures at once, more in the background.

    A second run over the same failures refuses them as reprocessed already. Raises MotivoMissing, and Ocupada when
    somebody holds one of the rows.
    """
    reason = audit.check_motivo(motivo)
    with _busy_is_told(), transaction.atomic():
        total = plan(filtros).total
        run = _ask(filtros.as_json(), total, actor=actor, motivo=reason)
        if total > AT_ONCE:
            offer(run.pk)
        else:
            while _step(run.pk, rng=rng, now=now):
                pass
    run.refresh_from_db()
    _foretell(run, now)
    return run


def reprocess_one(
    falha_id: UUID, *, actor: str, motivo: str, rng: random.Random, now: datetime, forcar: bool = False
) -> UUID:
    """One failure, quarantined or not: whoever names it has seen it. The new message's id.

    `forcar` puts it back although an attempt of it may have reached the person. Raises Recusada with the reason, e.g.
    who was faster, and then nothing has changed; FalhaInexistente, MotivoMissing, Ocupada.
    """
    reason = audit.check_motivo(motivo)
    filtros = {"ids": [str(falha_id)], "quarentena": True} | ({"forcar": True} if forcar else {})
    with _busy_is_told(), transaction.atomic():
        run = _ask(filtros, 1, actor=actor, motivo=reason)
        _lock([falha_id])
        found = judge([falha_id], quarentena=True, forcar=forcar)
        if not found:
            raise FalhaInexistente("Esta falha não existe mais.")
        (one,) = found
        if one.recusa is not None:
            raise Recusada(_sentence(one, one.recusa), one.recusa)
        new = _put_back([one], run, place=0, gap_s=GAP_S, rng=rng)
        if not new:
            raise Recusada(_sentence(one, Recusa.JA_REPROCESSADA), Recusa.JA_REPROCESSADA)
        _count(run, [one], done=1, last=falha_id)
        _finish(run)
    _foretell(run, now)
    return new[one.mensagem_id]


def continue_run(run_id: UUID, *, rng: random.Random, now: datetime, deadline: Deadline) -> bool:
    """Go on with a run that was asked for, batch by batch; True when it is finished.

    Each batch commits with what it counted, so that a process that dies loses nothing and repeats nothing. Somebody
    else who has the run in hand goes on with it instead.
    """
    going_on = True
    while going_on and not deadline.passed:
        try:
            with _busy_is_told(), transaction.atomic():
                going_on = _step(run_id, rng=rng, now=now)
        except Ocupada:
            return False
    run = Reprocessamento.objects.filter(pk=run_id).first()
    if run is None or run.concluido_em is None:
        return False
    _foretell(run, now)
    return True


def offer(run_id: UUID) -> None:
    """Hand the id to the cluster once the caller's transaction has committed; a broker that is away loses nothing."""
    transaction.on_commit(lambda: async_task(TASK, str(run_id), cluster=Cluster.TRABALHOS.value), robust=True)


def _ask(filtros: dict[str, Any], total: int, *, actor: str, motivo: str) -> Reprocessamento:
    run = Reprocessamento.objects.create(
        filtros=filtros,
        motivo=motivo,
        usuario=audit.name_of(actor),
        correlation_id=correlation.get(),
        resultado={"total": total, "reprocessadas": 0, "recusas": {}, "ultimo": str(FIRST)},
    )
    run.refresh_from_db()
    audit.record(
        "fila_reprocessada", "reprocessamento", run.pk, usuario=actor, motivo=motivo,
        detalhes={"filtros": filtros, "total": total},
    )  # fmt: skip
    return run


def _step(run_id: UUID, *, rng: random.Random, now: datetime) -> bool:
    """One batch of a run in the caller's transaction. False when nothing is left, or somebody else has the run."""
    run = (
        Reprocessamento.objects.select_for_update(skip_locked=True).filter(pk=run_id, concluido_em__isnull=True).first()
    )
    if run is None:
        return False
    filtros = Filtros.parse(run.filtros)
    ids = page(filtros, after=UUID(run.resultado["ultimo"]), asked_at=run.iniciado_em, limit=BATCH)
    if not ids:
        _finish(run)
        return False
    _lock(ids)
    judged = judge(ids, quarentena=filtros.quarentena)
    willing = [one for one in judged if one.recusa is None]
    gap_s = min(GAP_S, LONGEST_SPREAD_S / max(1, run.resultado["total"]))
    new = _put_back(willing, run, place=run.resultado["reprocessadas"], gap_s=gap_s, rng=rng)
    _count(run, judged, done=len(new), last=ids[-1])
    return True


def _lock(ids: Sequence[UUID]) -> None:
    """Campaigns, people, messages and failures, each by id; somebody else's lock is waited for, but not for ever."""
    wait_briefly_for_locks(LOCK_MS)
    found = rows(
        """SELECT m.id, m.campanha_id, m.cliente_id FROM fila_mensagens_dlq d
           JOIN fila_mensagens m ON m.id = d.mensagem_original_id WHERE d.id = ANY(%s)""",
        [list(ids)],
    )
    campaigns = sorted({row["campanha_id"] for row in found if row["campanha_id"] is not None})
    rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [campaigns])
    people = sorted({row["cliente_id"] for row in found})
    rows("SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id FOR SHARE", [people])
    messages = [row["id"] for row in found]
    rows("SELECT id FROM fila_mensagens WHERE id = ANY(%s) ORDER BY id FOR SHARE", [messages])
    rows("SELECT id FROM fila_mensagens_dlq WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(ids)])


# The same text for the same person in the same campaign; the telephone is the one of today, filled by the trigger.
_INSERT = """
INSERT INTO fila_mensagens (cliente_id, campanha_id, conversa_id, conteudo, tipo, prioridade, agendar_para,
    max_tentativas, reenvio_n, reprocessa_de_id, idempotency_key, inbound_interacao_id, metadata, correlation_id)
SELECT m.cliente_id, m.campanha_id, m.conversa_id, m.conteudo, m.tipo, m.prioridade,
    agora() + e.espera * interval '1 second', m.max_tentativas,
    CASE WHEN m.campanha_id IS NULL THEN m.reenvio_n + 1 ELSE
        (SELECT max(x.reenvio_n) FROM fila_mensagens x
         WHERE x.campanha_id = m.campanha_id AND x.cliente_id = m.cliente_id)
        + row_number() OVER (PARTITION BY m.campanha_id, m.cliente_id ORDER BY d.id) END,
    m.id, 'dlq:' || d.id, m.inbound_interacao_id,
    m.metadata || jsonb_build_object('reprocessado_de_dlq', d.id), %(corr)s
FROM unnest(%(ids)s::uuid[], %(esperas)s::float[]) AS e(id, espera)
JOIN fila_mensagens_dlq d ON d.id = e.id JOIN fila_mensagens m ON m.id = d.mensagem_original_id
ON CONFLICT DO NOTHING
RETURNING id, reprocessa_de_id
"""


def _put_back(
    willing: Sequence[Judged], run: Reprocessamento, *, place: int, gap_s: float, rng: random.Random
) -> dict[UUID, UUID]:
    """New messages by the message they reprocess; due one after the other from now on, the first at `place`."""
    if not willing:
        return {}
    found = rows(
        _INSERT,
        {
            "ids": [one.id for one in willing],
            "esperas": [(place + n + rng.random()) * gap_s for n in range(len(willing))],
            "corr": correlation.get(),
        },
    )
    new = {row["reprocessa_de_id"]: row["id"] for row in found}
    execute(
        """UPDATE fila_mensagens_dlq SET reprocessado = true, reprocessado_em = agora(), reprocessado_por = %s,
               reprocessamento_id = %s WHERE mensagem_original_id = ANY(%s)""",
        [run.usuario[:100], run.pk, list(new)],
    )
    record_events(
        [
            event
            for old, fresh in new.items()
            for event in (
                Event(old, Evento.RETOMADA, None, "reprocessada", detalhes={"por": run.usuario, "nova": str(fresh)}),
                Event(fresh, Evento.ENFILEIRADA, None, "", detalhes={"por": run.usuario, "reprocessa": str(old)}),
            )
        ]
    )
    for one in willing:
        if one.quarentena and one.mensagem_id in new:
            resolve(QUARANTINED, f"mensagem:{one.mensagem_id}")
    campaigns = {one.campanha_id for one in willing if one.campanha_id is not None and one.mensagem_id in new}
    lifecycle.reopen(sorted(campaigns), actor=run.usuario, motivo=run.motivo)
    return new


def _count(run: Reprocessamento, judged: Sequence[Judged], *, done: int, last: UUID) -> None:
    """What a batch came to, added to the run: it commits with the batch."""
    refused = Counter(run.resultado["recusas"])
    refused.update(one.recusa.value for one in judged if one.recusa is not None)
    if raced := sum(one.recusa is None for one in judged) - done:
        refused[Recusa.JA_REPROCESSADA.value] += raced
    run.resultado = run.resultado | {
        "reprocessadas": run.resultado["reprocessadas"] + done,
        "recusas": dict(refused),
        "ultimo": str(last),
    }
    execute("UPDATE fila_reprocessamentos SET resultado = %s WHERE id = %s", [json.dumps(run.resultado), run.pk])


def _finish(run: Reprocessamento) -> None:
    execute("UPDATE fila_reprocessamentos SET concluido_em = agora() WHERE id = %s", [run.pk])
    log.info("reprocessamento concluído", reprocessamento=str(run.pk), reprocessadas=run.resultado["reprocessadas"])


def _foretell(run: Reprocessamento, now: datetime) -> None:
    """A new end for the campaigns that run again."""
    if run.concluido_em is None or not run.resultado["reprocessadas"]:
        return
    found = rows(
        """SELECT DISTINCT m.campanha_id
           FROM fila_mensagens_dlq d JOIN fila_mensagens m ON m.id = d.mensagem_original_id
           WHERE d.reprocessamento_id = %s AND m.campanha_id IS NOT NULL ORDER BY m.campanha_id""",
        [run.pk],
    )
    for row in found:
        upkeep.foretell(row["campanha_id"], now=now)


def _sentence(one: Judged, recusa: Recusa) -> str:
    """Why this one is not reprocessed; to whoever came second, who was first and when."""
    if recusa is Recusa.JA_REPROCESSADA and one.por and one.em:
        at = one.em.astimezone(BRASILIA)
        return f"Esta falha já foi reprocessada por {one.por} em {at:%d/%m/%Y} às {at:%H:%M}. {NEXT_STEPS[recusa]}"
    return f"Não foi reprocessada: {recusa.label}. {NEXT_STEPS[recusa]}"


@contextmanager
def _busy_is_told() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            raise Ocupada from error
        raise


__all__ = ["Filtros", "continue_run", "offer", "preview", "reprocess", "reprocess_one"]
