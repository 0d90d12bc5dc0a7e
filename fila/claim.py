"""Taking due messages for one consumer: capacity first, then messages, so that nothing is claimed to be put back."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from chips.choices import TipoMensagem
from chips.selection import ChipFacts, Refusal, Shortlist, shortlist
from core.database import rows
from fila.kinds import CANARIO, PROSPECTING_TIPOS, REPLY_TIPOS, tipos_of
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
    """How much can be carried now. `budget`: global weight left for proactive messages, None without a limit.

    `slow`: how many calls each slow provider may hold, over all processes.
    """

    shortlists: Mapping[str, Shortlist]
    senders: int
    budget: int | None = None
    weight: int = 1
    slow: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, fleet: Sequence[ChipFacts], policy: Policy, *, senders: int, now: datetime, budget: int | None = None
    ) -> "Room":
        weight = policy.campaign_weight
        return cls(
            shortlists={
                tipo: shortlist(fleet, tipo, peso=weight if tipo == TipoMensagem.PROSPECCAO else 1, now=now)
                for tipo in TipoMensagem.values
            },
            senders=senders,
            budget=budget,
            weight=weight,
        )

    def only(self, chips: Collection[UUID]) -> "Room":
        """The same room with these chips alone."""
        kept = {
            tipo: replace(short, eligible=tuple(chip for chip in short.eligible if chip.id in chips))
            for tipo, short in self.shortlists.items()
        }
        return replace(self, shortlists=kept)

    def within(self, allowed: Mapping[str, int]) -> "Room":
        """The same room with at most so many chips of each provider named; the preferred ones stay."""
        if not allowed:
            return self
        by_id = {chip.id: chip for short in self.shortlists.values() for chip in short.eligible}
        left, kept = dict(allowed), set()
        for chip in sorted(by_id.values(), key=lambda chip: (chip.peso_hora, -chip.trust_score, chip.id)):
            if chip.provider not in left or left[chip.provider] > 0:
                kept.add(chip.id)
                if chip.provider in left:
                    left[chip.provider] -= 1
        return self.only(kept)

    @property
    def free(self) -> set[UUID]:
        return {chip.id for short in self.shortlists.values() for chip in short.eligible}

    def of_type(self, tipo: str) -> int:
        return len(self.shortlists[tipo].eligible)

    def affordable(self, count: int, *, weight: int) -> int:
        """`count`, or as many as the global budget still carries."""
        return count if self.budget is None else min(count, self.budget // weight)

    @property
    def busy(self) -> list[UUID]:
        """Chips in the middle of another message: replies of their conversations wait for them."""
        refused = self.shortlists[TipoMensagem.RESPOSTA].refused
        return [chip for chip, reasons in refused.items() if set(reasons) == {Refusal.EM_VOO}]


_RETURNED = """RETURNING m.id, m.token, m.cliente_id, m.campanha_id, m.conversa_id, m.tipo, m.prioridade,
    m.telefone_destino, m.conteudo, m.tentativas, m.inbound_interacao_id, m.correlation_id, m.metadata"""

_TAKE = """
UPDATE fila_mensagens m SET status = 'processando', token = nextval('fila_token_seq'),
    lease_ate = agora() + %(lease)s * interval '1 second', lease_owner = %(owner)s, processando_desde = agora()
FROM chosen WHERE m.id = chosen.id
"""

# One probe of fila_due_without_campanha, while a canary's chip exists.
_CANARIES = """
WITH chosen AS (
    SELECT f.id FROM fila_mensagens f
    WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = 10 AND f.agendar_para <= agora()
        AND f.tentativa_aberta_id IS NULL AND f.tipo = 'canario'
    ORDER BY f.agendar_para, f.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

# One probe of fila_due_without_campanha per priority: replies with a proof, whose own chip is free.
_REPLIES = """
WITH chosen AS (
    SELECT r.id FROM generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL AND f.tipo = ANY(%(tipos)s)
            AND (f.tipo = 'confirmacao_opt_out' OR EXISTS (SELECT 1 FROM interacoes i
                 WHERE i.id = f.inbound_interacao_id AND i.created_at > agora() - %(proof_age)s))
            AND NOT EXISTS (SELECT 1 FROM conversation_chips cc
                            WHERE cc.conversa_id = f.conversa_id AND cc.active AND cc.chip_id = ANY(%(busy)s))
        ORDER BY f.agendar_para, f.id LIMIT %(limit)s FOR UPDATE OF f SKIP LOCKED) r
    ORDER BY r.prioridade DESC, r.agendar_para, r.id LIMIT %(limit)s)
"""

# One probe of fila_due_of_campanha per active campaign and priority, one of fila_due_without_campanha per priority.
# `volta` deals the campaigns' rows out in turns, so that a large campaign does not starve a small one. A reply that
# lost its proof to a backlog is a proactive message and queues with those.
_PROACTIVE = """
WITH due AS (
    SELECT r.id, r.campanha_id, r.prioridade, r.agendar_para, %(of_campaigns)s AS teto, 1 AS ramo
    FROM campanhas c CROSS JOIN generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.campanha_id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id = c.id AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL
        ORDER BY f.agendar_para, f.id LIMIT %(of_campaigns)s FOR UPDATE OF f SKIP LOCKED) r
    WHERE c.status = 'ativa' AND %(of_campaigns)s > 0
        AND NOT coalesce(c.audience_filters->'chips_excluidos', '[]') @> %(prospecting_chips)s::jsonb
    UNION ALL
    SELECT r.id, NULL, r.prioridade, r.agendar_para, %(of_prospecting)s, 2
    FROM generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL AND f.tipo = ANY(%(prospecting)s)
        ORDER BY f.agendar_para, f.id LIMIT %(of_prospecting)s FOR UPDATE OF f SKIP LOCKED) r
    WHERE %(of_prospecting)s > 0
    UNION ALL
    SELECT r.id, NULL, r.prioridade, r.agendar_para, %(of_following)s, 3
    FROM generate_series(10, 0, -1) p CROSS JOIN LATERAL (
        SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
        WHERE f.status = 'pendente' AND f.campanha_id IS NULL AND f.prioridade = p AND f.agendar_para <= agora()
            AND f.tentativa_aberta_id IS NULL AND (NOT f.tipo = ANY(%(not_following)s)
                OR (f.tipo = ANY(%(stale_replies)s) AND NOT EXISTS (SELECT 1 FROM interacoes i
                    WHERE i.id = f.inbound_interacao_id AND i.created_at > agora() - %(proof_age)s)))
        ORDER BY f.agendar_para, f.id LIMIT %(of_following)s FOR UPDATE OF f SKIP LOCKED) r
    WHERE %(of_following)s > 0),
turns AS (
    SELECT id, prioridade, agendar_para, teto, ramo,
           row_number() OVER (PARTITION BY ramo, campanha_id ORDER BY prioridade DESC, agendar_para, id) AS volta
    FROM due),
capped AS (
    SELECT id, prioridade, agendar_para, teto, volta,
           row_number() OVER (PARTITION BY ramo ORDER BY prioridade DESC, volta, agendar_para, id) AS lugar
    FROM turns),
chosen AS (
    SELECT id FROM capped WHERE lugar <= teto ORDER BY prioridade DESC, volta, agendar_para, id LIMIT %(limit)s)
"""


def claim(room: Room, policy: Policy, *, owner: str, lease_s: int) -> list[Claimed]:
    """Take what the free chips and senders can carry: `pendente` → `processando`, replies first.

    Rows that another consumer holds are skipped; `tentativas` stays (it counts failed attempts). Rows that a switch
    holds stay unclaimed. Order: prioridade, then campaigns in turns, then due time. One transaction, committed before
    anything else happens.
    """
    held = held_kinds(policy.switches)
    total = min(room.senders, len(room.free))
    params: dict[str, Any] = {
        "lease": lease_s,
        "owner": owner,
        "busy": room.busy,
        "proof_age": policy.reply_proof_age,
    }
    with transaction.atomic():
        canaries = min(total, room.of_type(TipoMensagem.CANARIO))
        taken = _take(_CANARIES, params | {"limit": canaries}) if canaries > 0 else []
        replies = min(total - len(taken), room.of_type(TipoMensagem.RESPOSTA))
        tipos = [tipo for tipo in REPLY_TIPOS if Kind(tipo) not in held]
        taken += _take(_REPLIES, params | {"tipos": tipos, "limit": replies}) if replies > 0 else []
        wanted = _proactive(room, held, total - len(taken))
        if wanted["limit"] > 0 and (wanted["of_campaigns"] or wanted["of_prospecting"] or wanted["of_following"]):
            taken += _take(_PROACTIVE, params | wanted)
    return taken


def _proactive(room: Room, held: frozenset[Kind], left: int) -> dict[str, Any]:
    """How many of each sort to look for. Open-ended tipos are reminders to the rules: what holds one holds all."""
    prospecting = [tipo for tipo in PROSPECTING_TIPOS if Kind(tipo) not in held]
    able = min(left, room.of_type(TipoMensagem.PROSPECCAO))
    following = min(left, room.of_type(TipoMensagem.FOLLOWUP))
    chips = [str(chip.id) for chip in room.shortlists[TipoMensagem.PROSPECCAO].eligible]
    return {
        "limit": left,
        "of_campaigns": 0 if Kind.CAMPANHA in held else room.affordable(able, weight=room.weight),
        "of_prospecting": room.affordable(able, weight=1) if prospecting else 0,
        "of_following": 0 if Kind.LEMBRETE in held else room.affordable(following, weight=1),
        "prospecting": prospecting,
        "prospecting_chips": json.dumps(chips),
        "stale_replies": [tipo for tipo in REPLY_TIPOS if Kind(tipo) not in held],
        "not_following": sorted({CANARIO, *REPLY_TIPOS, *PROSPECTING_TIPOS, *tipos_of(held)}),
    }


def _take(chosen: str, params: dict[str, Any]) -> list[Claimed]:
    found = [Claimed(**row) for row in rows(chosen + _TAKE + _RETURNED, params)]
    return sorted(found, key=lambda message: (-message.prioridade, message.token))
