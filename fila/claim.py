"""Taking due messages for one consumer: capacity first, then messages, so that nothing is claimed to be put back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chips.choices import TipoMensagem
from chips.selection import ChipFacts, Refusal, Shortlist, shortlist
from core.database import rows
from fila.kinds import REPLY_TIPOS, tipos_of
from guardrails.choices import Kind
from guardrails.policy import Policy, held_kinds


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this consumer holds: `token` is its fence, the lease runs in database time."""

    id: UUID
    token: int
    cliente_id: UUID
    campanha_id: int | None
    conversa_id: UUID | None
    tipo: str
    prioridade: int
    telefone_destino: str
    conteudo: str
    tentativas: int
    inbound_interacao_id: int | None
    correlation_id: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Room:
    """How much can be carried now. `busy` are chips free again in a moment: replies of their conversations wait."""

    shortlists: Mapping[str, Shortlist]
    senders: int

    @classmethod
    def of(cls, fleet: Sequence[ChipFacts], policy: Policy, *, senders: int, now: datetime) -> "Room":
        weight = policy.campaign_weight
        return cls(
            shortlists={
                tipo: shortlist(fleet, tipo, peso=weight if tipo == TipoMensagem.PROSPECCAO else 1, now=now)
                for tipo in TipoMensagem.values
            },
            senders=senders,
        )

    @property
    def free(self) -> set[UUID]:
        return {chip.id for short in self.shortlists.values() for chip in short.eligible}

    def of_type(self, tipo: str) -> int:
        return len(self.shortlists[tipo].eligible)

    @property
    def busy(self) -> list[UUID]:
        refused = self.shortlists[TipoMensagem.RESPOSTA].refused
        return [chip for chip, reasons in refused.items() if set(reasons) == {Refusal.EM_VOO}]


_RETURNED = """RETURNING m.id, m.token, m.cliente_id, m.campanha_id, m.conversa_id, m.tipo, m.prioridade,
    m.telefone_destino, m.conteudo, m.tentativas, m.inbound_interacao_id, m.correlation_id, m.metadata"""

_TAKE = """
UPDATE fila_mensagens m SET status = 'processando', token = nextval('fila_token_seq'),
    lease_ate = agora() + %(lease)s * interval '1 second', lease_owner = %(owner)s, processando_desde = agora()
FROM chosen WHERE m.id = chosen.id
"""

# One probe of fila_due_without_campanha per priority: replies whose own chip is not in the middle of another message.
_REPLIES = """
WITH chosen AS (
    SELECT r.id FROM generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL AND f.tipo = ANY(%(tipos)s)
            AND NOT EXISTS (SELECT 1 FROM conversation_chips cc
                            WHERE cc.conversa_id = f.conversa_id AND cc.active AND cc.chip_id = ANY(%(busy)s))
        ORDER BY f.agendar_para, f.id LIMIT %(limit)s FOR UPDATE OF f SKIP LOCKED) r
    ORDER BY r.prioridade DESC, r.agendar_para, r.id LIMIT %(limit)s)
"""

# One probe of fila_due_of_campanha per active campaign and priority, one of fila_due_without_campanha per priority.
# `volta` deals the campaigns' rows out in turns, so that a large campaign does not starve a small one.
_PROACTIVE = """
WITH due AS (
    SELECT r.id, r.campanha_id, r.prioridade, r.agendar_para
    FROM campanhas c CROSS JOIN generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.campanha_id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id = c.id AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL
        ORDER BY f.agendar_para, f.id LIMIT %(of_campaigns)s FOR UPDATE OF f SKIP LOCKED) r
    WHERE c.status = 'ativa' AND %(of_campaigns)s > 0
    UNION ALL
    SELECT r.id, NULL, r.prioridade, r.agendar_para
    FROM generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL AND NOT f.tipo = ANY(%(tipos)s)
        ORDER BY f.agendar_para, f.id LIMIT %(of_others)s FOR UPDATE OF f SKIP LOCKED) r
    WHERE %(of_others)s > 0),
turns AS (
    SELECT id, prioridade, agendar_para,
           row_number() OVER (PARTITION BY campanha_id ORDER BY prioridade DESC, agendar_para, id) AS volta
    FROM due),
chosen AS (SELECT id FROM turns ORDER BY prioridade DESC, volta, agendar_para, id LIMIT %(limit)s)
"""


def claim(room: Room, policy: Policy, *, owner: str, lease_s: int) -> list[Claimed]:
    """Take what the free chips and senders can carry: `pendente` → `processando`, replies first.

    Rows that another consumer holds are skipped; `tentativas` stays (it counts failed attempts). Rows that a switch
    holds stay unclaimed. Order: prioridade, then campaigns in turns, then due time. One statement each, committed by
    the caller's autocommit before anything else happens.
    """
    held = held_kinds(policy.switches)
    total = min(room.senders, len(room.free))
    params: dict[str, Any] = {"lease": lease_s, "owner": owner, "busy": room.busy}
    taken: list[Claimed] = []
    replies = min(total, room.of_type(TipoMensagem.RESPOSTA))
    if replies > 0:
        tipos = [tipo for tipo in REPLY_TIPOS if Kind(tipo) not in held]
        taken += _take(_REPLIES, params | {"tipos": tipos, "limit": replies})
    left = total - len(taken)
    of_campaigns = 0 if Kind.CAMPANHA in held else min(left, room.of_type(TipoMensagem.PROSPECCAO))
    of_others = min(left, max(room.of_type(TipoMensagem.FOLLOWUP), room.of_type(TipoMensagem.PROSPECCAO)))
    if left > 0 and (of_campaigns or of_others):
        excluded = sorted({*REPLY_TIPOS, *tipos_of(held)})
        if Kind.LEMBRETE in held:
            of_others = 0  # open-ended tipos are reminders to the rules: what holds those holds them all
        taken += _take(
            _PROACTIVE,
            params | {"tipos": excluded, "limit": left, "of_campaigns": of_campaigns, "of_others": of_others},
        )
    return taken


def _take(chosen: str, params: dict[str, Any]) -> list[Claimed]:
    found = [Claimed(**row) for row in rows(chosen + _TAKE + _RETURNED, params)]
    return sorted(found, key=lambda message: (-message.prioridade, message.token))
