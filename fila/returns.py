"""Messages that do not go now: ended with their reason, or back in the fila with a date."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.database import execute, rows
from core.outcomes import SendOutcome
from fila.choices import Evento
from fila.claim import Claimed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a decision does to a claimed message. `status` is `pendente` for a return; `until` None keeps its date.

    `waits`: the wait is not the message's fault, so its expiry moves with it and no attempt is counted. `evento` None
    leaves no line in the timeline: another consumer was quicker, and nothing was decided about the message.
    """

    mensagem_id: UUID
    token: int
    status: str
    evento: Evento | None
    outcome: SendOutcome | None
    motivo: str
    until: datetime | None = None
    waits: bool = False
    detalhes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def ended(
        cls,
        message: Claimed,
        status: str,
        outcome: SendOutcome | None,
        motivo: str,
        detalhes: Mapping[str, Any] | None = None,
    ) -> "Verdict":
        evento = {"bloqueada": Evento.BLOQUEADA, "cancelada": Evento.CANCELADA}.get(status, Evento.FALHA)
        return cls(message.id, message.token, status, evento, outcome, motivo, detalhes=detalhes or {})

    @classmethod
    def back(
        cls,
        message: Claimed,
        evento: Evento | None,
        outcome: SendOutcome | None,
        motivo: str,
        *,
        until: datetime | None,
        detalhes: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> "Verdict":
        return cls(message.id, message.token, "pendente", evento, outcome, motivo, until, waits, detalhes or {})


def write_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Apply and record, in the caller's transaction, fenced by token. The caller holds the campaigns' locks."""
    if not verdicts:
        return
    changed = rows(
        """UPDATE fila_mensagens m SET status = v.status, outcome = coalesce(v.outcome, m.outcome),
               outcome_reason_code = coalesce(nullif(v.motivo, ''), m.outcome_reason_code),
               outcome_at = CASE WHEN v.outcome IS NULL AND v.status = 'pendente' THEN m.outcome_at ELSE agora() END,
               agendar_para = coalesce(v.ate, m.agendar_para),
               expira_em = CASE WHEN v.espera AND v.ate IS NOT NULL
                   THEN greatest(m.expira_em, v.ate + interval '24 hours') ELSE m.expira_em END,
               reagendamentos = m.reagendamentos + CASE WHEN v.espera THEN 1 ELSE 0 END,
               processando_desde = CASE WHEN v.status = 'pendente' THEN NULL ELSE m.processando_desde END,
               lease_ate = NULL, lease_owner = '',
               erro = CASE WHEN v.status = 'erro' THEN v.motivo ELSE m.erro END
           FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::bool[])
               AS v(id, token, status, outcome, motivo, ate, espera)
           WHERE m.id = v.id AND m.token = v.token AND m.status = 'processando'
           RETURNING m.id, m.status, m.outcome, m.outcome_reason_code""",
        [
            [verdict.mensagem_id for verdict in verdicts],
            [verdict.token for verdict in verdicts],
            [verdict.status for verdict in verdicts],
            [verdict.outcome.value if verdict.outcome else None for verdict in verdicts],
            [verdict.motivo[:160] for verdict in verdicts],
            [verdict.until for verdict in verdicts],
            [verdict.waits for verdict in verdicts],
        ],
    )
    ours = {row["id"] for row in changed}
    meant_back = {verdict.mensagem_id for verdict in verdicts if verdict.status == "pendente"}
    record_guarded([row for row in changed if row["id"] in meant_back])
    to_dlq([verdict.mensagem_id for verdict in verdicts if verdict.status == "erro" and verdict.mensagem_id in ours])
    record_events(
        [
            Event(verdict.mensagem_id, verdict.evento, verdict.outcome, verdict.motivo, verdict.until, verdict.detalhes)
            for verdict in verdicts
            if verdict.mensagem_id in ours and verdict.evento is not None
        ]
    )


_ENDED = {"bloqueada": Evento.BLOQUEADA, "cancelada": Evento.CANCELADA}


def record_guarded(returned: Sequence[Mapping[str, Any]]) -> None:
    """A line for each row that was to return and that the database's guard ended instead, with its reason.

    Rows of (id, status, outcome, outcome_reason_code) as the UPDATE returned them: opt-out or cancellation came first.
    """
    record_events(
        [
            Event(
                row["id"],
                _ENDED[row["status"]],
                SendOutcome(row["outcome"]) if row["outcome"] else None,
                row["outcome_reason_code"] or "",
            )
            for row in returned
            if row["status"] in _ENDED
        ]
    )


@dataclass(frozen=True, slots=True)
class Event:
    """One line for a message's timeline. `detalhes` holds no phone, name or text."""

    mensagem_id: UUID
    tipo: Evento
    outcome: SendOutcome | None = None
    motivo: str = ""
    ate: datetime | None = None
    detalhes: Mapping[str, Any] = field(default_factory=dict)


def record_events(events: Sequence[Event]) -> None:
    """Insert the lines in one statement, in the caller's transaction."""
    if not events:
        return
    execute(
        """INSERT INTO fila_eventos (mensagem_id, tipo, outcome, motivo, ate, detalhes)
           SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::jsonb[])""",
        [
            [event.mensagem_id for event in events],
            [event.tipo.value for event in events],
            [event.outcome.value if event.outcome else "" for event in events],
            [event.motivo[:160] for event in events],
            [event.ate for event in events],
            [json.dumps(dict(event.detalhes), default=str) for event in events],
        ],
    )


def to_dlq(ids: Sequence[UUID]) -> None:
    """A copy of each for somebody to decide about, once per message."""
    if not ids:
        return
    execute(
        """INSERT INTO fila_mensagens_dlq (mensagem_original_id, cliente_id, conversa_id, conteudo, tipo, prioridade,
               tentativas, ultimo_erro, outcome, outcome_reason_code, metadata, original_created_at)
           SELECT id, cliente_id, conversa_id, conteudo, tipo, prioridade, tentativas, erro, outcome,
               outcome_reason_code, metadata, created_at FROM fila_mensagens WHERE id = ANY(%s)
           ON CONFLICT (mensagem_original_id) DO NOTHING""",
        [list(ids)],
    )
