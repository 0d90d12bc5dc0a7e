"""What is said of alerts: decided from the rows, written as messages into the outbox in the evaluator's transaction.

It does not matter who opened or ended an alert (a rule, an event on the send path, a person's SQL): the rows tell, and
each thing is said once. One message per kind and turn, however many scopes it has.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from core.alerts.messages import Told, render
from core.alerts.models import Entrega, Especie, Severidade
from core.alerts.rules import rule_of
from core.alerts.transitions import Said, is_worse, word
from core.database import execute, rows

INHIBITS_FOR = timedelta(minutes=2)  # after its end: what it caused needs a moment to recover as well
AT_ONCE = 2000

# A row that somebody holds (a send path, an open psql session) is looked at in the next turn: nobody waits here.
# Served by alertas_one_open_per_key, alerta_silencios_standing, alerta_avisos_once and the deliveries' primary key.
_OPEN = """
SELECT a.*, e.avisado_em, e.avisada,
    EXISTS (SELECT 1 FROM alerta_silencios s WHERE s.tipo = a.tipo AND s.chave IN ('', a.chave)
            AND s.ate > %(now)s AND s.retirado_em IS NULL) AS silenciado,
    EXISTS (SELECT 1 FROM alerta_avisos v JOIN alerta_entregas m ON m.id = v.entrega_id
            WHERE v.alerta_id = a.id AND m.situacao IN ('pendente', 'enviando')) AS esperando
FROM alertas a LEFT JOIN alerta_estados e ON e.tipo = a.tipo AND e.chave = a.chave
WHERE a.resolvido_em IS NULL AND (%(only)s::text[] IS NULL OR a.tipo = ANY(%(only)s)) AND a.tipo <> ALL(%(broken)s)
ORDER BY a.tipo, a.chave LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED
"""

# Served by alertas_end_untold.
_OVER = """
SELECT a.*,
    EXISTS (SELECT 1 FROM alerta_silencios s WHERE s.tipo = a.tipo AND s.chave IN ('', a.chave)
            AND s.ate > %(now)s AND s.retirado_em IS NULL) AS silenciado
FROM alertas a
WHERE a.resolvido_em IS NOT NULL AND a.anunciado_em IS NOT NULL AND a.encerramento_em IS NULL
    AND (%(only)s::text[] IS NULL OR a.tipo = ANY(%(only)s))
ORDER BY a.tipo, a.chave LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED
"""


@dataclass(frozen=True, slots=True)
class _Group:
    """What becomes one message."""

    especie: Especie
    tipo: str
    worse: bool = False


def write(now: datetime, *, present: Collection[str], only: Sequence[str] | None, broken: Collection[str] = ()) -> int:
    """Put everything that is to be said now into the outbox; how many alerts were announced, recalled or escalated.

    In the evaluator's transaction and behind its lock. `present`: kinds that the facts show now, which inhibit even
    before they open. `broken`: kinds of which nothing is known now.
    """
    params = {"now": now, "only": list(only) if only is not None else None, "broken": sorted(broken), "limit": AT_ONCE}
    groups: dict[_Group, list[dict[str, Any]]] = defaultdict(list)
    inhibiting = _inhibiting(present, now)
    held: dict[str, str] = {}
    for row in rows(_OPEN, params):
        rule = rule_of(row["tipo"])
        inhibitor = next((tipo for tipo in rule.inibido_por if tipo in inhibiting), "")
        if inhibitor != row["inibido_por"]:
            held[row["id"]] = inhibitor
        said = _said(row, inibido=bool(inhibitor))
        if (especie := word(said, rule, now)) is not None:
            groups[_Group(especie, row["tipo"], said.anunciado_em is not None and is_worse(said))].append(row)
    over = rows(_OVER, params)
    for row in over:
        if not row["silenciado"] and rule_of(row["tipo"]).notifica:
            groups[_Group(Especie.RESOLVIDO, row["tipo"])].append(row)
    _note_inhibition(held)
    _enqueue(groups, now)
    _note_said(groups, over, now)
    return sum(len(found) for group, found in groups.items() if group.especie is not Especie.RESOLVIDO)


def _inhibiting(present: Collection[str], now: datetime) -> frozenset[str]:
    """Kinds that are there, or were a moment ago. One that is never notified holds nobody else back."""
    found = rows(
        """SELECT DISTINCT tipo FROM alertas WHERE resolvido_em IS NULL
           UNION SELECT DISTINCT tipo FROM alertas WHERE resolvido_em > %s""",
        [now - INHIBITS_FOR],
    )
    return frozenset(tipo for tipo in {*present, *(row["tipo"] for row in found)} if rule_of(tipo).notifica)


def _said(row: Mapping[str, Any], *, inibido: bool) -> Said:
    return Said(
        severidade=Severidade(row["severidade"]),
        anunciado_em=row["anunciado_em"],
        dito_em=row["notificado_em"],
        escalado_em=row["escalado_em"],
        avisado_em=row["avisado_em"],
        avisada=Severidade(row["avisada"]) if row["avisada"] else None,
        reconhecido=row["reconhecido"],
        inibido=inibido,
        silenciado=row["silenciado"],
        esperando=row["esperando"],
    )


def _note_inhibition(held: Mapping[str, str]) -> None:
    if held:
        execute(
            """UPDATE alertas a SET inibido_por = h.por FROM unnest(%s::uuid[], %s::text[]) AS h(id, por)
               WHERE a.id = h.id""",
            [list(held), list(held.values())],
        )


def _enqueue(groups: Mapping[_Group, Sequence[Mapping[str, Any]]], now: datetime) -> None:
    """The constraint alerta_avisos_once is the last word: what was said cannot be said again."""
    if not groups:
        return
    situacao = Entrega.Situacao.PENDENTE if settings.SLACK_WEBHOOK_URL else Entrega.Situacao.SEM_CANAL
    messages, links = [], []
    for group, found in groups.items():
        ident = str(uuid.uuid4())
        body = render(
            group.especie,
            [told(row) for row in found],
            rule_of(group.tipo),
            base=settings.PUBLIC_URL,
            now=now,
            worse=group.worse,
        )
        messages.append({"id": ident, "especie": group.especie.value, "tipo": group.tipo, "corpo": body})
        links += [{"alerta": str(row["id"]), "entrega": ident, "especie": group.especie.value} for row in found]
    execute(
        """INSERT INTO alerta_entregas (id, especie, tipo, corpo, situacao, proxima_em, created_at)
           SELECT m.id, m.especie, m.tipo, m.corpo, %(situacao)s, %(now)s, %(now)s + m.n * interval '1 microsecond'
           FROM ROWS FROM (jsonb_to_recordset(%(messages)s::jsonb)
               AS (id uuid, especie text, tipo text, corpo jsonb)) WITH ORDINALITY AS m(id, especie, tipo, corpo, n)""",
        {"situacao": situacao, "now": now, "messages": json.dumps(messages)},
    )
    execute(
        """INSERT INTO alerta_avisos (alerta_id, entrega_id, especie, numero)
           SELECT v.alerta, v.entrega, v.especie, 1 + coalesce((SELECT max(o.numero) FROM alerta_avisos o
               WHERE o.alerta_id = v.alerta AND o.especie = v.especie AND v.especie IN ('lembrete', 'escalado')), 0)
           FROM jsonb_to_recordset(%s::jsonb) AS v(alerta uuid, entrega uuid, especie text)""",
        [json.dumps(links)],
    )


def _note_said(
    groups: Mapping[_Group, Sequence[Mapping[str, Any]]], over: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    spoken = [
        (group, row) for group, found in groups.items() if group.especie is not Especie.RESOLVIDO for row in found
    ]
    if spoken:
        execute(
            """UPDATE alertas a SET anunciado_em = coalesce(a.anunciado_em, %(now)s),
                   escalado_em = CASE WHEN s.escalado THEN %(now)s ELSE a.escalado_em END
               FROM unnest(%(ids)s::uuid[], %(escalados)s::bool[]) AS s(id, escalado) WHERE a.id = s.id""",
            {
                "now": now,
                "ids": [row["id"] for _, row in spoken],
                "escalados": [group.especie is Especie.ESCALADO and not group.worse for group, _ in spoken],
            },
        )
        execute(
            """INSERT INTO alerta_estados (tipo, chave, avisado_em, avisada)
               SELECT s.tipo, s.chave, %(now)s, s.severidade
               FROM unnest(%(tipos)s::text[], %(chaves)s::text[], %(gravidades)s::text[]) AS s(tipo, chave, severidade)
               ON CONFLICT (tipo, chave) DO UPDATE SET avisado_em = excluded.avisado_em, avisada = excluded.avisada""",
            {
                "now": now,
                "tipos": [row["tipo"] for _, row in spoken],
                "chaves": [row["chave"] for _, row in spoken],
                "gravidades": [row["severidade"] for _, row in spoken],
            },
        )
    if over:
        execute("UPDATE alertas SET encerramento_em = %s WHERE id = ANY(%s)", [now, [row["id"] for row in over]])


def told(row: Mapping[str, Any]) -> Told:
    return Told(
        id=str(row["id"]),
        tipo=row["tipo"],
        chave=row["chave"],
        severidade=Severidade(row["severidade"]),
        titulo=row["titulo"],
        mensagem=row["mensagem"],
        desde=row["desde"] or row["primeira_ocorrencia_em"],
        valor=row["valor"],
        limite=row["limite"],
        contexto=row["contexto"] if isinstance(row["contexto"], dict) else None,
        resolvido_em=row["resolvido_em"],
        reconhecido_por=row["reconhecido_por"],
        correlation_id=row["correlation_id"],
    )
