"""Raising, resolving, taking and silencing alerts in the caller's transaction: an alert commits with what it tells of.

Nothing here talks to the outside: the evaluator reads the rows within 30 s and decides what is said.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from core import correlation
from core.alerts.models import Severidade
from core.alerts.rules import rule_of
from core.audit import services as audit
from core.database import execute, rows
from core.integrations.redaction import scrub

LONGEST_SILENCE = timedelta(hours=24)


class AlertRefused(Exception):
    """Somebody was faster, the alert is over, or the act does not fit it; the text is for the operator."""


class AlertUnknown(LookupError):
    """No alert has this id."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An open alert as lists show it. `silenciado_ate`, `inibido_por`: why nothing is said of it now."""

    id: UUID
    tipo: str
    chave: str
    severidade: Severidade
    titulo: str
    mensagem: str
    valor: Decimal | None
    limite: Decimal | None
    desde: datetime
    ocorrencias: int
    reconhecido: bool
    reconhecido_por: str
    silenciado_ate: datetime | None
    inibido_por: str
    notificado_em: datetime | None
    correlation_id: str
    link: str
    proximo: str


def raise_alert(
    tipo: str,
    chave: str = "",
    *,
    severidade: Severidade,
    titulo: str,
    mensagem: str,
    contexto: Mapping[str, Any] | None = None,
    valor: Decimal | int | None = None,
    limite: Decimal | int | None = None,
) -> bool:
    """Open the alert of (`tipo`, `chave`), or count one more occurrence of the open one; True when it was opened now.

    `mensagem` is for the operator, with the next step. `contexto` holds evidence: never a phone or a text. The row
    carries the correlation id of the work that opened it.
    """
    found = rows(
        """INSERT INTO alertas (tipo, chave, severidade, titulo, mensagem, contexto, valor, limite, correlation_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (tipo, chave) WHERE resolvido_em IS NULL DO UPDATE SET
               ocorrencias = alertas.ocorrencias + 1, ultima_ocorrencia_em = agora(), severidade = excluded.severidade,
               titulo = excluded.titulo, mensagem = excluded.mensagem, contexto = excluded.contexto,
               valor = excluded.valor, limite = excluded.limite
           RETURNING ocorrencias = 1 AS nova""",
        [
            tipo,
            chave,
            severidade.value,
            scrub(titulo)[:160],
            scrub(mensagem)[:500],
            json.dumps(dict(contexto or {}), default=str),
            valor,
            limite,
            correlation.peek()[:64],
        ],
    )
    return bool(found[0]["nova"])


def resolve(tipo: str, chave: str = "") -> bool:
    """The condition is gone. False when nothing was open."""
    return bool(
        execute(
            "UPDATE alertas SET resolvido_em = agora() WHERE tipo = %s AND chave = %s AND resolvido_em IS NULL",
            [tipo, chave],
        )
    )


def acknowledge(alerta_id: UUID, *, actor: audit.Actor, motivo: str = "", ip: str | None = None) -> None:
    """This person takes care: no reminder and no escalation follows. Raises AlertUnknown and AlertRefused."""
    with transaction.atomic():
        taken = rows(
            """UPDATE alertas SET reconhecido = true, reconhecido_por = %s, reconhecido_em = agora()
               WHERE id = %s AND NOT reconhecido AND resolvido_em IS NULL RETURNING tipo, chave""",
            [audit.name_of(actor)[:150], alerta_id],
        )
        if not taken:
            _refuse(alerta_id, "Alguém assumiu este alerta antes, ou ele já se resolveu. Veja o estado abaixo.")
        _audit("alerta_assumido", alerta_id, taken[0], actor=actor, motivo=motivo.strip()[: audit.MOTIVO_MAX], ip=ip)


def close(alerta_id: UUID, *, actor: audit.Actor, motivo: str, ip: str | None = None) -> None:
    """End an alert that no fact can end: one of an event, whose cause a person has dealt with.

    Raises AlertUnknown, MotivoMissing, and AlertRefused for what a rule watches: it would only open it again.
    """
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        found = rows("SELECT tipo, chave, resolvido_em FROM alertas WHERE id = %s FOR UPDATE", [alerta_id])
        if not found or found[0]["resolvido_em"] is not None:
            _refuse(alerta_id, "Este alerta já se resolveu.")
        if rule_of(found[0]["tipo"]).evaluate is not None:
            raise AlertRefused("Este alerta termina sozinho quando a causa acabar. Para não ser avisado, silencie-o.")
        execute("UPDATE alertas SET resolvido_em = agora() WHERE id = %s", [alerta_id])
        _audit("alerta_encerrado", alerta_id, found[0], actor=actor, motivo=motivo, ip=ip)


def silence(
    tipo: str,
    chave: str,
    *,
    ate: datetime,
    motivo: str,
    actor: audit.Actor,
    ip: str | None = None,
    alerta_id: UUID | None = None,
) -> int:
    """Say nothing of `tipo` (an empty `chave`: of each of its keys) until `ate`; the id of the silence.

    The alert stays on the page and still resolves. Replaces the silence that stands. `alerta_id`: whose page shows it.
    Raises MotivoMissing, and AlertRefused for an end in the past or more than 24 h away: what nobody hears of is
    nobody's for long.
    """
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        execute("SELECT pg_advisory_xact_lock(hashtext('alerta_silencios'), hashtext(%s))", [f"{tipo} {chave}"])
        now = rows("SELECT agora() AS agora")[0]["agora"]
        if not now < ate <= now + LONGEST_SILENCE + timedelta(minutes=1):
            raise AlertRefused("Um silêncio dura até 24 horas e termina no futuro.")
        _end_silences(tipo, chave, actor)
        made = rows(
            "INSERT INTO alerta_silencios (tipo, chave, ate, motivo, usuario) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            [tipo, chave, ate, motivo, audit.name_of(actor)[:150]],
        )
        detalhes = {"tipo": tipo, "chave": chave, "ate": ate.isoformat()}
        audit.record(
            "alerta_silenciado", "alerta", alerta_id or _subject(tipo, chave), usuario=actor, motivo=motivo,
            detalhes=detalhes, ip=ip,
        )  # fmt: skip
    return int(made[0]["id"])


def unsilence(
    tipo: str, chave: str, *, actor: audit.Actor, motivo: str = "", ip: str | None = None, alerta_id: UUID | None = None
) -> int:
    """End the standing silences that cover (`tipo`, `chave`), those of the whole kind included; how many.

    What is open and was never announced is announced within 30 s.
    """
    with transaction.atomic():
        ended = _end_silences(tipo, chave, actor, also_whole_kind=True)
        if ended:
            audit.record(
                "alerta_silencio_retirado", "alerta", alerta_id or _subject(tipo, chave), usuario=actor,
                motivo=motivo.strip()[: audit.MOTIVO_MAX], detalhes={"tipo": tipo, "chave": chave}, ip=ip,
            )  # fmt: skip
    return ended


def open_alerts(limit: int = 50) -> list[OpenAlert]:
    """Open alerts, worst first, then newest: one statement, served by alertas_one_open_per_key."""
    found = rows(
        """SELECT a.*, (SELECT max(s.ate) FROM alerta_silencios s WHERE s.tipo = a.tipo AND s.chave IN ('', a.chave)
                        AND s.ate > agora() AND s.retirado_em IS NULL) AS silenciado_ate
           FROM alertas a WHERE a.resolvido_em IS NULL
           ORDER BY array_position(ARRAY['critical', 'error', 'warning', 'info'], a.severidade::text),
               a.primeira_ocorrencia_em DESC, a.id LIMIT %s""",
        [limit],
    )
    return [_open_alert(row) for row in found]


def _open_alert(row: Mapping[str, Any]) -> OpenAlert:
    rule = rule_of(row["tipo"])
    return OpenAlert(
        id=row["id"],
        tipo=row["tipo"],
        chave=row["chave"],
        severidade=Severidade(row["severidade"]),
        titulo=row["titulo"],
        mensagem=row["mensagem"],
        valor=row["valor"],
        limite=row["limite"],
        desde=row["desde"] or row["primeira_ocorrencia_em"],
        ocorrencias=row["ocorrencias"],
        reconhecido=row["reconhecido"],
        reconhecido_por=row["reconhecido_por"],
        silenciado_ate=row["silenciado_ate"],
        inibido_por=row["inibido_por"],
        notificado_em=row["notificado_em"],
        correlation_id=row["correlation_id"],
        link=rule.link_of(row["chave"]),
        proximo=rule.proximo,
    )


def _refuse(alerta_id: UUID, sentence: str) -> None:
    if not rows("SELECT 1 FROM alertas WHERE id = %s", [alerta_id]):
        raise AlertUnknown(f"Não existe o alerta {alerta_id}.")
    raise AlertRefused(sentence)


def _end_silences(tipo: str, chave: str, actor: audit.Actor, *, also_whole_kind: bool = False) -> int:
    keys = ["", chave] if also_whole_kind else [chave]
    return execute(
        """UPDATE alerta_silencios SET retirado_em = agora(), retirado_por = %s
           WHERE tipo = %s AND chave = ANY(%s) AND ate > agora() AND retirado_em IS NULL""",
        [audit.name_of(actor)[:150], tipo, keys],
    )


def _audit(
    acao: str, alerta_id: UUID, row: Mapping[str, Any], *, actor: audit.Actor, motivo: str, ip: str | None
) -> None:
    detalhes = {"tipo": row["tipo"], "chave": row["chave"]}
    audit.record(acao, "alerta", alerta_id, usuario=actor, motivo=motivo, detalhes=detalhes, ip=ip)


def _subject(tipo: str, chave: str) -> str:
    """The open alert that a silence is about, so that its page shows it; else the kind."""
    found = rows("SELECT id FROM alertas WHERE tipo = %s AND chave = %s AND resolvido_em IS NULL", [tipo, chave])
    return str(found[0]["id"]) if found else tipo
