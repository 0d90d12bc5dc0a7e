"""A database that is away cannot hold an alert of itself: it is told from memory, and written down when it is back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction

from core.alerts.declared import DATABASE_AWAY
from core.alerts.models import Severidade
from core.backoffice import moments
from core.database import execute

TOLD_AFTER_S = 60.0
WITNESS_AFTER_S = 300.0  # somebody else held the lease and speaks first; after this we do not rely on it any more
SILENT_FOR_S = 10.0  # shorter silences are no outage


@dataclass(frozen=True, slots=True)
class Outage:
    """Instants of the process's monotonic clock. `back_at`: it answers again.

    `is_told`: nothing is left to say; `was_sent`: because Slack took it, not for want of a channel.
    """

    since: float
    is_told: bool = False
    was_sent: bool = False
    back_at: float | None = None


def look(outage: Outage | None, *, answered_at: float, now: float) -> Outage | None:
    """The outage that goes on, ended, or never was. `answered_at`: when the database last answered."""
    if outage is None:
        return Outage(since=answered_at) if now - answered_at >= SILENT_FOR_S else None
    return replace(outage, back_at=answered_at) if answered_at > outage.since and outage.back_at is None else outage


def is_to_be_told(outage: Outage, *, is_ours: bool, now: float) -> bool:
    """Once. `is_ours`: we held the lease when the database went away, or never saw a holder."""
    if outage.is_told or outage.back_at is not None:
        return False
    return now - outage.since >= (TOLD_AFTER_S if is_ours else WITNESS_AFTER_S)


def is_worth_a_row(outage: Outage) -> bool:
    return outage.back_at is not None and outage.back_at - outage.since >= TOLD_AFTER_S


def sentence(outage: Outage, *, machine: str, now: float, wall: datetime) -> str:
    since = wall - timedelta(seconds=now - outage.since)
    return (
        f"[CRÍTICO] banco_fora: o banco de dados não responde a {machine} desde {moments.exact(since)}. Nada é "
        "enviado e nenhum outro alerta é avaliado enquanto isso; o que estava na fila não se perde. Próximo passo: "
        "confira o servidor do PostgreSQL e a rede até ele. A Julia volta sozinha e avisa."
    )


def write_down(outage: Outage, *, machine: str, now: float) -> bool:
    """The row of an outage that is over; False when another supervisor wrote it. Its end goes through the outbox."""
    if outage.back_at is None:
        return False
    lasted = timedelta(seconds=outage.back_at - outage.since)
    with transaction.atomic():
        execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [DATABASE_AWAY])
        written = bool(
            execute(
                """INSERT INTO alertas (tipo, severidade, titulo, mensagem, contexto, desde, primeira_ocorrencia_em,
                       ultima_ocorrencia_em, resolvido_em, anunciado_em, notificado, notificado_em)
                   SELECT %(tipo)s, %(severidade)s, 'O banco de dados ficou sem responder', %(mensagem)s,
                       jsonb_build_object('visto_por', %(machine)s::text), t.desde, t.desde, t.fim, t.fim, t.fim,
                       %(told)s, CASE WHEN %(told)s THEN t.desde END
                   FROM (SELECT agora() - %(ago)s AS desde, agora() - %(back)s AS fim) t
                   WHERE NOT EXISTS (SELECT 1 FROM alertas a WHERE a.tipo = %(tipo)s AND a.resolvido_em > t.desde)""",
                {
                    "tipo": DATABASE_AWAY,
                    "severidade": Severidade.CRITICAL.value,
                    "mensagem": f"Ficou {moments.span(lasted.total_seconds())} sem responder a {machine}.",
                    "machine": machine,
                    "told": outage.was_sent,
                    "ago": timedelta(seconds=now - outage.since),
                    "back": timedelta(seconds=now - outage.back_at),
                },
            )
        )
        if not written and outage.was_sent:  # a witness was faster; that somebody was told is true all the same
            execute(
                """UPDATE alertas SET notificado = true, notificado_em = coalesce(notificado_em, desde)
                   WHERE tipo = %s AND resolvido_em > agora() - %s AND NOT notificado""",
                [DATABASE_AWAY, timedelta(seconds=now - outage.since)],
            )
    return written
