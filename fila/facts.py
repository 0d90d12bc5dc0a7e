"""The facts of one batch, read in one statement inside the attempt transaction, after the locks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from core.clientes import phones
from core.database import rows
from fila.claim import Claimed
from fila.kinds import dedupe_window, kind_of
from fila.policy import Outside
from guardrails.choices import PermissionState
from guardrails.decisions import Facts, ReplyProof

# Each subquery is one probe of an index named for it (envios_tentativas: tentativas_contacts_of_client,
# tentativas_same_text, tentativas_numbered_per_origem; webhook_eventos_open_of_pessoa; conversations_by_cliente;
# conversation_chips_one_active). What was proved not delivered reached nobody: it counts in no limit.
_FACTS = """
SELECT m.id, c.telefone, c.status_telefone, c.fuso, c.deleted_at IS NOT NULL AS apagado,
       d.permission_state, d.opted_out_at, d.cooling_off_until, d.next_allowed_at,
       d.last_touch_campaign_id, d.last_touch_at,
       (SELECT count(*) FROM envios_tentativas t WHERE t.cliente_id = m.cliente_id AND t.proativa
            AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL
            AND t.iniciado_em > agora() - interval '7 days') AS contatos_7d,
       (SELECT count(*) FROM envios_tentativas t WHERE t.cliente_id = m.cliente_id AND t.proativa
            AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL
            AND t.iniciado_em > agora() - interval '2 days'
            AND t.dia_local = (agora() AT TIME ZONE c.fuso)::date) AS contatos_hoje,
       (agora() AT TIME ZONE c.fuso)::date AS dia_local,
       EXISTS (SELECT 1 FROM conversations v WHERE v.cliente_id = m.cliente_id
            AND v.status NOT IN ('completed', 'abandoned')
            AND (v.controlled_by = 'human' OR v.status IN ('paused', 'escalated')))
        OR EXISTS (SELECT 1 FROM conversation_context x WHERE x.lead_phone = m.telefone_destino
            AND x.context_data->'agent_pause_state'->>'paused' = 'true') AS controle_humano,
       EXISTS (SELECT 1 FROM webhook_eventos e WHERE e.pessoa = c.telefone AND e.status IN ('pendente', 'erro')
            AND e.kind = 'entrada' AND e.recebido_em > agora() - interval '48 hours') AS entrada_pendente,
       i.id AS prova_id, i.conversation_id AS prova_conversa, i.created_at AS prova_em,
       EXISTS (SELECT 1 FROM fila_mensagens o WHERE o.cliente_id = m.cliente_id AND o.id <> m.id
            AND o.tipo = 'confirmacao_opt_out' AND o.status IN ('enviada', 'incerta')
            AND o.created_at >= d.opted_out_at - interval '1 minute') AS confirmacao_enviada,
       coalesce(cc.chip_id, co.chip_id) AS conversa_chip,
       (SELECT t.chip_id FROM envios_tentativas t WHERE t.cliente_id = m.cliente_id AND t.proativa
            AND t.resultado = 'enviado' ORDER BY t.iniciado_em DESC LIMIT 1) AS afinidade,
       f.tentados, f.provedores, f.ultima_falha_em, coalesce(f.numeradas, 0) AS numeradas, m.tentativas AS falhas,
       coalesce(m.metadata->'chips_excluidos', '[]') || coalesce(k.audience_filters->'chips_excluidos', '[]')
            AS chips_excluidos,
       m.reprocessa_de_id IS NOT NULL AND EXISTS (
            WITH RECURSIVE antes(id) AS (SELECT m.reprocessa_de_id UNION SELECT a.reprocessa_de_id
                FROM antes JOIN fila_mensagens a ON a.id = antes.id WHERE a.reprocessa_de_id IS NOT NULL)
            SELECT 1 FROM antes JOIN envios_tentativas t ON t.origem = 'fila' AND t.origem_id = antes.id
            WHERE t.resultado = 'enviado' AND t.nao_entregue_em IS NULL)
       OR h.janela_s > 0 AND EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.cliente_id = m.cliente_id
            AND t.texto_hash = h.hash AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL
            AND t.origem_id <> m.id AND t.iniciado_em > agora() - h.janela_s * interval '1 second') AS repetida
FROM unnest(%(ids)s::uuid[], %(hashes)s::text[], %(janelas)s::int[]) AS h(id, hash, janela_s)
JOIN fila_mensagens m ON m.id = h.id
JOIN clientes c ON c.id = m.cliente_id
LEFT JOIN doctor_state d ON d.cliente_id = m.cliente_id
LEFT JOIN campanhas k ON k.id = m.campanha_id
LEFT JOIN interacoes i ON i.id = m.inbound_interacao_id AND i.cliente_id = m.cliente_id AND i.tipo = 'entrada'
LEFT JOIN conversation_chips cc ON cc.conversa_id = m.conversa_id AND cc.active
LEFT JOIN LATERAL (SELECT max(t.tentativa_no) AS numeradas, array_agg(t.chip_id) FILTER (WHERE e.falhou) AS tentados,
        array_agg(t.provider) FILTER (WHERE e.falhou AND t.regra IN (
            SELECT r.codigo FROM regras_de_erro r WHERE r.culpa = 'provedor')) AS provedores,
        max(greatest(t.encerrado_em, t.nao_entregue_em)) FILTER (WHERE e.falhou) AS ultima_falha_em
    FROM envios_tentativas t, LATERAL (SELECT t.nao_entregue_em IS NOT NULL OR (t.resultado = 'rejeitado'
        AND t.error_kind IN ('restricao', 'sessao', 'rate_limit', 'credencial', 'servidor', 'rede', 'timeout'))
        AS falhou) e
    WHERE t.origem = 'fila' AND t.origem_id = m.id) f ON true
LEFT JOIN LATERAL (SELECT x.chip_id FROM conversations v JOIN conversation_chips x ON x.conversa_id = v.id AND x.active
    WHERE m.conversa_id IS NULL AND v.cliente_id = m.cliente_id AND v.status NOT IN ('completed', 'abandoned')
    ORDER BY v.updated_at DESC LIMIT 1) co ON true
"""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one message: the guardrails' facts and what chip choice and ledger need beside them.

    `tentados`: chips that failed with it while nothing left, and `provedores` that were at fault: none of them carries
    it again before `repetir_apos`.
    """

    facts: Facts
    texto_hash: str
    dia_local: Any
    repetida: bool
    conversa_chip: UUID | None
    afinidade: UUID | None
    excluidos: frozenset[UUID]
    tentados: frozenset[UUID]
    provedores: frozenset[str]
    repetir_apos: datetime | None
    tentativa_no: int


BACKOFF_BASE_S = 60  # 60 · 2^n → 120 s, 240 s ± 20 % (fila reference §1.5)
JITTER = 0.2


def _repeat_after(row: Mapping[str, Any]) -> datetime | None:
    """The earliest that a jittered retry may be due."""
    failed_at: datetime | None = row["ultima_falha_em"]
    return failed_at and failed_at + timedelta(seconds=(1 - JITTER) * BACKOFF_BASE_S * 2 ** max(row["falhas"], 1))


def text_hash(text: str) -> str:
    """sha256 of the text with case and white space folded: what counts as "the same message" to a person."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def load(batch: Sequence[Claimed], outside: Outside) -> dict[UUID, Known]:
    """Facts by message id. A message whose person cannot be read is absent only if its row is gone."""
    hashes = {message.id: text_hash(message.conteudo) for message in batch}
    found = rows(
        _FACTS,
        {
            "ids": [message.id for message in batch],
            "hashes": [hashes[message.id] for message in batch],
            "janelas": [int(dedupe_window(kind_of(message.tipo)).total_seconds()) for message in batch],
        },
    )
    by_id = {row["id"]: row for row in found}
    return {
        message.id: _known(message, by_id[message.id], hashes[message.id], outside)
        for message in batch
        if message.id in by_id
    }


def _is_theirs(message: Claimed, row: dict[str, Any]) -> bool:
    """A number that works and is still this person's: opt-out and limits are asked about the person, not the number."""
    ours = message.telefone_destino in ("", *phones.variants(row["telefone"]))
    return ours and row["status_telefone"] != "invalido" and not row["apagado"]


def _known(message: Claimed, row: dict[str, Any], texto_hash: str, outside: Outside) -> Known:
    readable = row["permission_state"] is not None
    facts = Facts(
        kind=kind_of(message.tipo),
        telefone=message.telefone_destino or row["telefone"],
        telefone_valido=_is_theirs(message, row),
        zone=ZoneInfo(row["fuso"]),
        campaign_id=message.campanha_id,
        proof=ReplyProof.of(row["prova_id"], str(row["prova_conversa"] or ""), row["prova_em"]),
        state_readable=readable,
        permission_state=PermissionState(row["permission_state"]) if readable else PermissionState.NONE,
        opted_out_at=row["opted_out_at"],
        confirmation_sent=row["confirmacao_enviada"],
        cooling_off_until=row["cooling_off_until"],
        next_allowed_at=row["next_allowed_at"],
        contact_count_7d=row["contatos_7d"],
        daily_count=row["contatos_hoje"],
        last_touch_campaign_id=row["last_touch_campaign_id"],
        last_touch_at=row["last_touch_at"],
        human_control=row["controle_humano"],
        by_holder=message.metadata.get("por_quem_atende") is True,
        inbound_pendente=row["entrada_pendente"],
        production=outside.production,
        to_simulator=outside.simulated,
        allowlisted=outside.allows(message.telefone_destino or row["telefone"]),
    )
    campaign_excluded = frozenset(UUID(str(chip)) for chip in row["chips_excluidos"] or ())
    return Known(
        facts=facts,
        texto_hash=texto_hash,
        dia_local=row["dia_local"],
        repetida=row["repetida"],
        conversa_chip=row["conversa_chip"],
        afinidade=row["afinidade"],
        excluidos=campaign_excluded,
        tentados=frozenset(row["tentados"] or ()),
        provedores=frozenset(row["provedores"] or ()),
        repetir_apos=_repeat_after(row),
        tentativa_no=row["numeradas"] + 1,
    )
