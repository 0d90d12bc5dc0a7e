"""Messages that come back because their attempt was not sent, or was accepted and never delivered. Set-based.

The caller holds campaigns, people, chips and messages (`holding.held`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chips.choices import Evidencia, Resultado
from chips.providers.base import Code
from core.database import execute, rows
from core.outcomes import SendOutcome
from fila import delivery, ledger
from fila.campanhas import lifecycle
from fila.choices import Evento
from fila.reconciliacao.holding import Standing
from fila.returns import Event, record_events, to_dlq


@dataclass(frozen=True, slots=True)
class Return:
    """What is known of one attempt, and what its message does then.

    `counts`: a failed try. `permanent`: nobody could deliver it. `until` None: at once. `waits`: the wait is not the
    message's fault, so its expiry moves with it. `release`: its weight never reached WhatsApp and is given back.
    `regra` is the result's name in the error vocabulary; `chip_fault` is remembered on the chip.
    """

    attempt_id: int
    evidencia: Evidencia
    motivo: str
    outcome: SendOutcome | None = SendOutcome.FAILED_PROVIDER
    counts: bool = True
    permanent: bool = False
    until: datetime | None = None
    waits: bool = False
    release: bool = False
    provider_message_id: str = ""
    queue_id: str = ""
    regra: str = ""
    chip_fault: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """An attempt that was closed and what its message is now (None: a warm-up, or a row that somebody had ended)."""

    attempt_id: int
    mensagem_id: UUID | None
    status: str | None


def write(returns: Sequence[Return], standing: Mapping[int, Standing]) -> list[Returned]:
    """Unknown → `rejeitado`, accepted → `nao_entregue_em`; their messages → `pendente`, or the end they come to.

    Attempts that are open, or settled otherwise meanwhile, are left alone. Those closed now are returned.
    """
    lawful = [each for each in returns if (one := standing.get(each.attempt_id)) is not None and _may_close(one)]
    closed = _close_attempts(lawful)
    ours = [each for each in lawful if each.attempt_id in closed]
    became = _messages_follow(ours)
    undelivered = [
        row["id"] for attempt_id, row in became.items() if standing[attempt_id].resultado == Resultado.ENVIADO
    ]
    delivery.record_undelivered(undelivered)
    to_dlq([row["id"] for row in became.values() if row["status"] == "erro"])
    leave_dlq([row["id"] for row in became.values() if row["status"] != "erro"])
    _invalid_numbers(ours, standing)
    _chips_at_fault([each for each in ours if each.chip_fault], standing)
    record_events([_told(each, became[each.attempt_id]) for each in ours if each.attempt_id in became])
    waiting = [row["campanha_id"] for row in became.values() if row["status"] == "pendente"]
    lifecycle.reopen({campanha_id for campanha_id in waiting if campanha_id is not None})
    ledger.release([closed[each.attempt_id] for each in ours if each.release])
    return [
        Returned(
            each.attempt_id,
            standing[each.attempt_id].mensagem_id,
            became[each.attempt_id]["status"] if each.attempt_id in became else None,
        )
        for each in ours
    ]


def _may_close(one: Standing) -> bool:
    return one.resultado == Resultado.DESCONHECIDO or (
        one.resultado == Resultado.ENVIADO and one.nao_entregue_em is None
    )


def _close_attempts(returns: Sequence[Return]) -> dict[int, dict[str, Any]]:
    if not returns:
        return {}
    found = rows(
        """UPDATE envios_tentativas t SET
               resultado = CASE WHEN t.resultado = 'desconhecido' THEN 'rejeitado' ELSE t.resultado END,
               nao_entregue_em = CASE WHEN t.resultado = 'enviado' THEN agora() ELSE t.nao_entregue_em END,
               evidencia = e.evidencia, proxima_busca_em = NULL, encerrado_em = coalesce(t.encerrado_em, agora()),
               provider_message_id = coalesce(nullif(t.provider_message_id, ''), e.chave),
               queue_id = coalesce(nullif(t.queue_id, ''), e.fila), regra = coalesce(nullif(e.regra, ''), t.regra)
           FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
               AS e(id, evidencia, chave, fila, regra)
           WHERE t.id = e.id AND (t.resultado = 'desconhecido'
               OR (t.resultado = 'enviado' AND t.nao_entregue_em IS NULL
                   AND coalesce(t.delivery_status, 'pending') NOT IN ('delivered', 'read')))
           RETURNING t.id, t.chip_id, t.peso, t.balde_em, t.proativa""",
        [
            [each.attempt_id for each in returns],
            [each.evidencia.value for each in returns],
            [each.provider_message_id[:100] for each in returns],
            [each.queue_id[:100] for each in returns],
            [each.regra for each in returns],
        ],
    )
    return {row["id"]: row for row in found}


# The trigger fila_volta_guardada reads campaign and opt-out again on the way to `pendente`. A message that somebody
# ended by hand keeps that end; the attempt that it waited for is settled all the same.
_FOLLOW = """
UPDATE fila_mensagens m SET
    tentativas = m.tentativas + r.conta::int,
    status = CASE WHEN r.permanente OR (r.conta AND m.tentativas + 1 >= m.max_tentativas) THEN 'erro'
             ELSE 'pendente' END,
    outcome = r.outcome, outcome_reason_code = r.motivo, outcome_at = agora(), erro = r.motivo,
    agendar_para = coalesce(r.ate, agora()),
    expira_em = CASE WHEN r.espera THEN greatest(m.expira_em, coalesce(r.ate, agora()) + interval '24 hours')
                ELSE m.expira_em END,
    reagendamentos = m.reagendamentos + r.espera::int,
    processando_desde = NULL, lease_ate = NULL, lease_owner = '', tentativa_aberta_id = NULL, chip_id = NULL,
    provider_message_id = NULL, enviada_em = NULL, delivery_status = NULL, entregue_em = NULL
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bool[], %s::bool[], %s::timestamptz[], %s::bool[])
    AS r(tentativa, motivo, outcome, conta, permanente, ate, espera)
JOIN envios_tentativas t ON t.id = r.tentativa AND t.origem = 'fila'
WHERE m.id = t.origem_id AND ((m.status = 'enviada' AND t.resultado = 'enviado' AND m.tentativa_aberta_id IS NULL)
    OR (m.tentativa_aberta_id = t.id AND m.status IN ('incerta', 'processando'))
    OR (m.tentativa_aberta_id = t.id AND m.status = 'erro' AND m.outcome = 'FAILED_UNKNOWN'))
RETURNING t.id AS tentativa, m.id, m.status, m.campanha_id, m.outcome, m.outcome_reason_code AS motivo
"""


def _messages_follow(returns: Sequence[Return]) -> dict[int, dict[str, Any]]:
    if not returns:
        return {}
    changed = rows(
        _FOLLOW,
        [
            [each.attempt_id for each in returns],
            [each.motivo[:160] for each in returns],
            [each.outcome.value if each.outcome else None for each in returns],
            [each.counts for each in returns],
            [each.permanent for each in returns],
            [each.until for each in returns],
            [each.waits for each in returns],
        ],
    )
    execute(
        """UPDATE fila_mensagens SET tentativa_aberta_id = NULL
           WHERE tentativa_aberta_id = ANY(%s) AND status IN ('cancelada', 'bloqueada', 'erro')
               AND id IN (SELECT origem_id FROM envios_tentativas WHERE id = ANY(%s))""",
        [[each.attempt_id for each in returns]] * 2,
    )
    return {row["tentativa"]: row for row in changed}


_TOLD = {"pendente": Evento.RETOMADA, "cancelada": Evento.CANCELADA, "bloqueada": Evento.BLOQUEADA}


def _told(each: Return, row: Mapping[str, Any]) -> Event:
    """As the row came out: the trigger may have ended it instead."""
    outcome = SendOutcome(row["outcome"]) if row["outcome"] else None
    detalhes = {"tentativa": each.attempt_id, "evidencia": each.evidencia.value} | ({"por": each.by} if each.by else {})
    until = each.until if row["status"] == "pendente" else None
    return Event(row["id"], _TOLD.get(row["status"], Evento.FALHA), outcome, row["motivo"], until, detalhes)


def leave_dlq(ids: Sequence[UUID]) -> None:
    """What goes on after all is no failure to decide about; one that was reprocessed stays as its history."""
    if ids:
        execute("DELETE FROM fila_mensagens_dlq WHERE mensagem_original_id = ANY(%s) AND NOT reprocessado", [list(ids)])


def _chips_at_fault(returns: Sequence[Return], standing: Mapping[int, Standing]) -> None:
    if returns:
        execute(
            """UPDATE chips c SET ultimo_erro_em = agora(), ultimo_erro_msg = e.motivo,
                   erros_ultimas_24h = c.erros_ultimas_24h + e.n
               FROM (SELECT chip, max(motivo) AS motivo, count(*) AS n FROM unnest(%s::uuid[], %s::text[])
                         AS u(chip, motivo) GROUP BY chip) e WHERE c.id = e.chip""",
            [
                [standing[each.attempt_id].chip_id for each in returns],
                [each.motivo[:300] for each in returns],
            ],
        )


def _invalid_numbers(returns: Sequence[Return], standing: Mapping[int, Standing]) -> None:
    people = [
        standing[each.attempt_id].cliente_id
        for each in returns
        if each.permanent and each.motivo.partition(":")[0] == Code.NOT_ON_WHATSAPP
    ]
    if people:
        execute(
            """UPDATE clientes SET status_telefone = 'invalido', telefone_erro = 'fora do WhatsApp',
               telefone_validado_em = agora() WHERE id = ANY(%s)""",
            [people],
        )
