"""A campaign's life from start to end. Each move locks the row, checks its state and is audited in one transaction."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django_q.tasks import async_task

from core import correlation
from core.audit import services as audit
from core.audit.models import AuditEntry
from core.database import rows
from core.jobs.registry import Cluster
from core.logging import get_logger
from fila.campanhas import upkeep
from fila.campanhas.editing import NOT_STARTED, check_text, locked, require
from fila.campanhas.enqueue import continue_start
from fila.campanhas.errors import CampanhaConflict, CampanhaInvalida, MotivoInsuficiente
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha
from fila.campanhas.planning import spoken
from fila.campanhas.textos import text_of
from fila.campanhas.upkeep import reopen
from fila.choices import CampanhaStatus, Evento, Status

log = get_logger("fila.campanhas")

NOT_ENDED = tuple(
    CampanhaStatus(status) for status in CampanhaStatus.values if status not in ("concluida", "cancelada")
)
CANCELLED = "campanha_cancelada"
JUST_NOW = timedelta(minutes=10)
_MOVES = {
    "campanha_iniciada": "a iniciou",
    "campanha_pausada": "a pausou",
    "campanha_retomada": "a retomou",
    "campanha_cancelada": "a cancelou",
}


def begin(campanha_id: int, *, actor: str, now: datetime) -> Campanha:
    """rascunho | agendada → ativa, text and filters frozen. Of two callers one wins, the other gets CampanhaConflict.

    Raises CampanhaInvalida when text or filters cannot be used (raw SQL may have written them).
    """
    with transaction.atomic():
        campanha = locked(campanha_id)
        _require(campanha, NOT_STARTED, "só começa a partir de rascunho ou agendada", now)
        texto = text_of(campanha)
        filters = AudienceFilters.parse(campanha.audience_filters)
        if errors := check_text(campanha.tipo_campanha, campanha.corpo):
            raise CampanhaInvalida({"corpo": errors})
        before = campanha.status
        campanha.status = CampanhaStatus.ATIVA
        campanha.corpo_congelado = texto
        campanha.audience_filters = filters.as_json()
        campanha.iniciada_em = now
        campanha.correlation_id = correlation.get()
        campanha.save()
        _record("campanha_iniciada", campanha, actor, {"antes": before})
    log.info("campanha iniciada", campanha_id=campanha_id)
    return campanha


def start(campanha_id: int, *, actor: str, now: datetime) -> Campanha:
    """Begin, and do all that follows in this process: audience, plan, messages. A crash is resumed by the job."""
    campanha = begin(campanha_id, actor=actor, now=now)
    continue_start(campanha_id, now=now)
    campanha.refresh_from_db()
    return campanha


def request_start(campanha_id: int, *, actor: str, now: datetime) -> Campanha:
    """Begin, and leave all that follows to the django-q2 cluster: answers in milliseconds whatever the audience.

    The row is the order. The broker only wakes somebody after the commit; with the broker away, the job of every
    minute finds the row.
    """

    def offer() -> None:
        async_task("fila.campanhas.tasks.continue_enqueue", campanha_id, cluster=Cluster.TRABALHOS.value)

    with transaction.atomic():
        campanha = begin(campanha_id, actor=actor, now=now)
        transaction.on_commit(offer, robust=True)
    return campanha


def pause(campanha_id: int, *, motivo: str, actor: str, now: datetime) -> Campanha:
    """ativa → pausada: nothing of it is claimed from now on, its rows stay."""
    reason = _checked(motivo)
    with transaction.atomic():
        campanha = locked(campanha_id)
        _require(campanha, (CampanhaStatus.ATIVA,), "só se pausa uma campanha ativa", now)
        _move(campanha, CampanhaStatus.PAUSADA)
        _record("campanha_pausada", campanha, actor, motivo=reason)
    return campanha


def resume(campanha_id: int, *, motivo: str, actor: str, now: datetime) -> Campanha:
    """pausada → ativa: the same rows go on in their order, overdue ones first, and a new end is foretold."""
    reason = _checked(motivo)
    with transaction.atomic():
        campanha = locked(campanha_id)
        _require(campanha, (CampanhaStatus.PAUSADA,), "só se retoma uma campanha pausada", now)
        _move(campanha, CampanhaStatus.ATIVA)
        _record("campanha_retomada", campanha, actor, motivo=reason)
    upkeep.foretell(campanha_id, now=now)
    campanha.refresh_from_db()
    return campanha


def cancel(campanha_id: int, *, motivo: str, actor: str, now: datetime) -> int:
    """Any state that is not an end → cancelada; returns how many messages were cancelled.

    All `pendente` rows with it, in one transaction; what is on the wire ends by itself, who was not yet enqueued never
    is.
    """
    reason = _checked(motivo)
    with transaction.atomic():
        campanha = locked(campanha_id)
        _require(campanha, NOT_ENDED, "não pode mais ser cancelada", now)
        _move(campanha, CampanhaStatus.CANCELADA, concluida_em=now)
        cancelled = int(rows(_CANCEL, {"campanha": campanha_id, "reason": CANCELLED})[0]["n"])
        _record("campanha_cancelada", campanha, actor, {"mensagens_canceladas": cancelled}, motivo=reason)
    log.info("campanha cancelada", campanha_id=campanha_id, mensagens=cancelled)
    return cancelled


# In the order of ids, as everybody who locks several messages: expiry and cancelling never wait for each other.
_CANCEL = f"""
WITH presas AS MATERIALIZED (
    SELECT id FROM fila_mensagens WHERE campanha_id = %(campanha)s AND status = '{Status.PENDENTE}'
    ORDER BY id FOR UPDATE),
canceladas AS (
    UPDATE fila_mensagens m SET status = '{Status.CANCELADA}', outcome_reason_code = %(reason)s, outcome_at = agora()
    FROM presas p WHERE m.id = p.id RETURNING m.id),
contadas AS (
    INSERT INTO fila_eventos (mensagem_id, tipo, motivo) SELECT id, '{Evento.CANCELADA}', %(reason)s FROM canceladas
    RETURNING 1)
SELECT count(*) AS n FROM contadas
"""  # noqa: S608 (constants of this module only)


def _require(campanha: Campanha, allowed: tuple[CampanhaStatus, ...], otherwise: str, now: datetime) -> None:
    """Raises CampanhaConflict; to whoever was a moment too late it says who was faster."""
    try:
        require(campanha, allowed, otherwise)
    except CampanhaConflict as conflict:
        told = AuditEntry.objects.filter(entidade="campanha", entidade_id=str(campanha.pk), acao__in=_MOVES)
        newest = told.filter(created_at__gt=now - JUST_NOW).order_by("-created_at").first()
        if newest is None:
            raise
        faster = f"{newest.usuario} {_MOVES[newest.acao]} ({spoken(newest.created_at, now)})."
        raise CampanhaConflict(f"{conflict.sentence} {faster}", conflict.status) from None


def _move(campanha: Campanha, status: CampanhaStatus, **moments: datetime) -> None:
    campanha.status = status
    for name, moment in moments.items():
        setattr(campanha, name, moment)
    campanha.save(update_fields=["status", *moments])


def _checked(motivo: str) -> str:
    try:
        return audit.check_motivo(motivo)
    except audit.MotivoMissing:
        raise MotivoInsuficiente from None


def _record(
    acao: str, campanha: Campanha, actor: str, detalhes: Mapping[str, Any] | None = None, *, motivo: str = ""
) -> None:
    audit.record(acao, "campanha", campanha.pk, usuario=actor, detalhes=detalhes, motivo=motivo)


__all__ = ["NOT_ENDED", "begin", "cancel", "pause", "reopen", "request_start", "resume", "start"]
