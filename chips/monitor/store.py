"""What a check reads before it asks, and the one statement that writes what it found: compare-and-set throughout."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chips.choices import NULL_PROVIDER, ConexaoEstado
from chips.monitor.rules import Known, Verdict
from chips.webhooks.connection import UNTIL_PURGED
from core.database import rows

NOT_CHECKED = ("provisioned", "banned", "cancelled")
"""Lifecycle statuses without a session to ask for."""


@dataclass(frozen=True, slots=True)
class Target:
    """One chip to ask for. `checked_before` is the fence: whoever checked it meanwhile has counted already."""

    chip_id: UUID
    instance_name: str
    provider: str
    known: Known
    checked_before: datetime | None
    echo_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict about a target. `asked_at`: when its provider was asked; a webhook received later outranks it."""

    target: Target
    verdict: Verdict
    asked_at: datetime


def targets(ids: Collection[UUID] | None = None) -> list[Target]:
    """Every chip that has a session to ask for, or those of `ids`; who was checked longest ago comes first."""
    wanted = {"nulo": NULL_PROVIDER, "fora": list(NOT_CHECKED), "ids": list(ids) if ids else None}
    found = rows(_TARGETS, {**wanted, "ecos_desde": rows(_SINCE, wanted)[0]["desde"]})
    return [
        Target(
            chip_id=row["id"],
            instance_name=row["instance_name"],
            provider=row["provider"],
            known=Known(
                estado=ConexaoEstado(row["conexao_estado"]),
                falhas=row["conexao_falhas"],
                sem_resposta=row["conexao_sem_resposta"],
                silent_sends=row["silencio"],
                silent_since=row["silencio_desde"],
            ),
            checked_before=row["conexao_verificada_em"],
            echo_at=row["eco_em"],
        )
        for row in found
    ]


def write(found: Iterable[Found]) -> set[UUID]:
    """Write the verdicts in one statement, each only while nobody knows better; returns the chips written.

    Not written: a chip that somebody else checked meanwhile, and an answer older than a webhook that has been received
    since. Locks the chips in the order of their ids. The lifecycle `status` is never touched.
    """
    news = [_as_json(one) for one in found]
    if not news:
        return set()
    return {row["id"] for row in rows(_WRITE, {"novas": json.dumps(news), "purga": UNTIL_PURGED})}


# From when on echoes are read: the check before kept what is older. After a pause of the checks, and for a chip that
# was never checked, as far back as attempts are.
_SINCE = """
SELECT greatest(agora() - interval '24 hours', least(agora() - interval '30 minutes',
    min(coalesce(conexao_verificada_em, '-infinity')) - interval '2 minutes')) AS desde
FROM chips WHERE provider <> %(nulo)s AND NOT status = ANY(%(fora)s)
    AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
"""

# Chips are few. Events: webhook_eventos_newest_first, of which the planner must see the bound as a value. Attempts:
# tentativas_newest_of_chip from the last echo on, which of a healthy chip is next to nothing.
_TARGETS = """
WITH ecos AS (
    SELECT instance, max(recebido_em) AS em FROM webhook_eventos
    WHERE recebido_em > %(ecos_desde)s AND kind IN ('eco', 'recibo') GROUP BY instance),
alvos AS (
    SELECT c.id, c.instance_name, c.provider, c.conexao_estado, c.conexao_falhas, c.conexao_sem_resposta,
           c.conexao_verificada_em, greatest(c.conexao_eco_em, e.em) AS eco_em,
           greatest(agora() - interval '24 hours',
               CASE WHEN c.conexao_estado IN ('conectado', 'conectado_mas_mudo') THEN c.conexao_desde END) AS desde
    FROM chips c LEFT JOIN ecos e ON e.instance = c.instance_name
    WHERE c.provider <> %(nulo)s AND NOT c.status = ANY(%(fora)s)
        AND (%(ids)s::uuid[] IS NULL OR c.id = ANY(%(ids)s::uuid[])))
SELECT a.*, s.silencio, s.silencio_desde
FROM alvos a CROSS JOIN LATERAL (
    SELECT count(*)::int AS silencio, min(x.iniciado_em) AS silencio_desde FROM (
        SELECT t.iniciado_em FROM envios_tentativas t
        WHERE t.chip_id = a.id AND t.iniciado_em >= a.desde
            AND t.iniciado_em > coalesce(a.eco_em, '-infinity'::timestamptz)
            AND t.resultado IN ('enviado', 'desconhecido') AND coalesce(t.delivery_status, 'pending') = 'pending'
            AND t.nao_entregue_em IS NULL
        ORDER BY t.iniciado_em LIMIT 50) x) s
ORDER BY a.conexao_verificada_em NULLS FIRST, a.id
"""

# Z-API fires its whole queue when the phone comes back: a chip that drops waits for its purge, as with the webhook.
_WRITE = """
WITH novas AS (
    SELECT * FROM jsonb_to_recordset(%(novas)s::jsonb) AS n (
        id uuid, perguntado_em timestamptz, verificada_antes timestamptz, conectado boolean, estado_conexao text,
        estado text, desde timestamptz, falhas smallint, sem_resposta smallint, erro text, eco_em timestamptz)),
presas AS (SELECT c.id FROM chips c JOIN novas n ON n.id = c.id ORDER BY c.id FOR NO KEY UPDATE OF c)
UPDATE chips c SET
    conexao_verificada_em = n.perguntado_em,
    conexao_eco_em = greatest(c.conexao_eco_em, n.eco_em),
    conexao_estado = n.estado,
    conexao_desde = coalesce(n.desde, c.conexao_desde),
    conexao_falhas = n.falhas,
    conexao_sem_resposta = n.sem_resposta,
    conexao_sem_resposta_desde = CASE WHEN n.sem_resposta > 0
        THEN coalesce(c.conexao_sem_resposta_desde, n.perguntado_em) END,
    conexao_erro = n.erro,
    evolution_connected = coalesce(n.conectado, c.evolution_connected),
    connection_state = CASE WHEN n.conectado IS NULL THEN c.connection_state ELSE n.estado_conexao END,
    connection_checked_at = CASE WHEN n.conectado IS NULL THEN c.connection_checked_at ELSE n.perguntado_em END,
    disconnected_since = CASE WHEN n.conectado THEN NULL
        WHEN NOT n.conectado THEN coalesce(c.disconnected_since, n.perguntado_em) ELSE c.disconnected_since END,
    connection_cooldown_until = CASE WHEN NOT n.conectado AND c.evolution_connected AND c.provider = 'z-api'
        THEN n.perguntado_em + %(purga)s ELSE c.connection_cooldown_until END,
    sessao_encerrada_em = CASE WHEN n.conectado THEN NULL ELSE c.sessao_encerrada_em END
FROM novas n JOIN presas p ON p.id = n.id
WHERE c.id = n.id AND c.conexao_verificada_em IS NOT DISTINCT FROM n.verificada_antes
    AND (n.conectado IS NULL OR c.connection_checked_at IS NULL OR c.connection_checked_at <= n.perguntado_em)
RETURNING c.id
"""


def _as_json(one: Found) -> Mapping[str, Any]:
    verdict = one.verdict
    return {
        "id": str(one.target.chip_id),
        "perguntado_em": one.asked_at.isoformat(),
        "verificada_antes": _iso(one.target.checked_before),
        "conectado": verdict.connected,
        "estado_conexao": verdict.state.value,
        "estado": verdict.estado.value,
        "desde": _iso(verdict.desde),
        "falhas": verdict.falhas,
        "sem_resposta": verdict.sem_resposta,
        "erro": verdict.erro,
        "eco_em": _iso(one.target.echo_at),
    }


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
