"""What a sent message leaves behind: touch, conversation, interaction; and the receipts that come after it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from core.database import execute, rows
from fila.choices import Evento
from fila.returns import Event, record_events

if TYPE_CHECKING:
    from fila.results import Settled

# What a receipt may overwrite: delivery only moves forward, and nothing leaves `read` (chips reference §1.3).
# A positive acknowledgement wins over an earlier ERROR.
ADVANCES: dict[str, list[str]] = {
    "sent": ["pending"],
    "delivered": ["pending", "sent", "failed"],
    "read": ["pending", "sent", "delivered", "failed"],
    "failed": ["pending", "sent"],
}
ARRIVED = frozenset({"delivered", "read"})


def record_sent(accepted: "Sequence[Settled]") -> None:
    """Touch, conversation and interaction of each accepted message, in the transaction of its outcome."""
    record_sent_ids([one.attempt.mensagem.id for one in accepted])


def record_sent_ids(ids: Sequence[UUID]) -> None:
    """What a send leaves behind, for those of `ids` that are `enviada`. The caller holds the people's locks.

    Written once per send: a repeated settle changes nothing, and a message that was sent again keeps its one
    interaction, which then tells of the newest send.
    """
    if not ids:
        return
    fresh = rows(
        """SELECT m.id FROM fila_mensagens m WHERE m.id = ANY(%s) AND m.status = 'enviada'
           AND NOT EXISTS (SELECT 1 FROM interacoes i WHERE i.mensagem_id = m.id
               AND i.provider_message_id = coalesce(m.provider_message_id, ''))""",
        [list(ids)],
    )
    new = [row["id"] for row in fresh]
    touch(new)
    _conversations(new)
    _interactions(new)


def touch(ids: Sequence[UUID]) -> None:
    """A touch is a campaign's: a follow-up in between neither lifts nor prolongs the cooldown between campaigns.

    It counts from when the message left, which evidence may tell hours later; a newer touch stays.
    """
    if not ids:
        return
    execute(
        """UPDATE doctor_state d SET last_outbound_at = greatest(d.last_outbound_at, m.enviada_em),
               last_outbound_actor = 'julia',
               last_touch_at = CASE WHEN m.toca THEN m.enviada_em ELSE d.last_touch_at END,
               last_touch_method = CASE WHEN m.toca THEN m.tipo ELSE d.last_touch_method END,
               last_touch_campaign_id = CASE WHEN m.toca THEN m.campanha_id ELSE d.last_touch_campaign_id END,
               permission_state = CASE d.permission_state WHEN 'none' THEN 'initial' ELSE d.permission_state END,
               lifecycle_stage = CASE d.lifecycle_stage WHEN 'novo' THEN 'prospecting' ELSE d.lifecycle_stage END
           FROM (SELECT DISTINCT ON (f.cliente_id) f.cliente_id, f.campanha_id, f.enviada_em, left(f.tipo, 16) AS tipo,
                     f.campanha_id IS NOT NULL
                         AND f.enviada_em >= coalesce(o.last_touch_at, '-infinity') AS toca
                 FROM fila_mensagens f JOIN doctor_state o ON o.cliente_id = f.cliente_id
                 WHERE f.id = ANY(%s) ORDER BY f.cliente_id, f.enviada_em DESC) m
           WHERE d.cliente_id = m.cliente_id""",
        [list(ids)],
    )


def record_undelivered(ids: Sequence[UUID]) -> None:
    """Messages whose send reached nobody: their interaction says so, and their campaign did not touch the person.

    The caller holds the people's locks. The touch before them counts again.
    """
    if not ids:
        return
    execute(
        """UPDATE interacoes SET delivery_status = 'failed', delivery_status_at = agora()
           WHERE mensagem_id = ANY(%s) AND coalesce(delivery_status, 'pending') IN ('pending', 'sent')""",
        [list(ids)],
    )
    execute(
        """UPDATE doctor_state d SET last_touch_at = p.enviada_em, last_touch_method = coalesce(p.tipo, ''),
               last_touch_campaign_id = p.campanha_id
           FROM (SELECT m.cliente_id, m.campanha_id AS desfeita, o.enviada_em, o.tipo, o.campanha_id
                 FROM fila_mensagens m LEFT JOIN LATERAL (
                     SELECT f.enviada_em, left(f.tipo, 16) AS tipo, f.campanha_id FROM fila_mensagens f
                     WHERE f.cliente_id = m.cliente_id AND f.status = 'enviada' AND f.campanha_id IS NOT NULL
                         AND f.id <> ALL(%(ids)s)
                     ORDER BY f.enviada_em DESC LIMIT 1) o ON true
                 WHERE m.id = ANY(%(ids)s) AND m.campanha_id IS NOT NULL) p
           WHERE d.cliente_id = p.cliente_id AND d.last_touch_campaign_id = p.desfeita""",
        {"ids": list(ids)},
    )


def _conversations(ids: Sequence[UUID]) -> None:
    """Find or open the conversation of each phone, remember the chip it runs on, and tie the message to it."""
    execute(
        """INSERT INTO conversations (cliente_id, lead_phone, campanha_id, stage, last_message_at, ultima_mensagem_em,
               first_touch_campaign_id, first_touch_type, first_touch_at,
               last_touch_campaign_id, last_touch_type, last_touch_at)
           SELECT DISTINCT ON (m.telefone_destino) m.cliente_id, m.telefone_destino, m.campanha_id, 'msg_enviada',
               agora(), agora(), m.campanha_id, left(m.tipo, 32), agora(), m.campanha_id, left(m.tipo, 32), agora()
           FROM fila_mensagens m WHERE m.id = ANY(%s) ORDER BY m.telefone_destino, m.enviada_em DESC
           ON CONFLICT (lead_phone) WHERE NOT (status IN ('completed', 'abandoned')) DO UPDATE SET
               last_message_at = excluded.last_message_at, ultima_mensagem_em = excluded.ultima_mensagem_em,
               last_touch_campaign_id =
                   coalesce(excluded.last_touch_campaign_id, conversations.last_touch_campaign_id),
               last_touch_type = excluded.last_touch_type, last_touch_at = excluded.last_touch_at""",
        [list(ids)],
    )
    execute(
        """UPDATE fila_mensagens m SET conversa_id = v.id FROM conversations v
           WHERE m.id = ANY(%s) AND v.lead_phone = m.telefone_destino AND v.status NOT IN ('completed', 'abandoned')
               AND m.conversa_id IS DISTINCT FROM v.id""",
        [list(ids)],
    )
    execute(
        """INSERT INTO conversation_chips (conversa_id, chip_id)
           SELECT DISTINCT ON (m.conversa_id) m.conversa_id, m.chip_id FROM fila_mensagens m
           WHERE m.id = ANY(%s) AND m.conversa_id IS NOT NULL AND m.chip_id IS NOT NULL
           ORDER BY m.conversa_id, m.enviada_em DESC
           ON CONFLICT (conversa_id) WHERE active DO UPDATE SET chip_id = excluded.chip_id,
               migrated_from = CASE WHEN conversation_chips.chip_id <> excluded.chip_id
                               THEN conversation_chips.chip_id ELSE conversation_chips.migrated_from END,
               migrated_at = CASE WHEN conversation_chips.chip_id <> excluded.chip_id
                             THEN agora() ELSE conversation_chips.migrated_at END""",
        [list(ids)],
    )
    execute(
        """INSERT INTO conversation_context (lead_phone)
           SELECT DISTINCT telefone_destino FROM fila_mensagens WHERE id = ANY(%s)
           ON CONFLICT (lead_phone) DO NOTHING""",
        [list(ids)],
    )


def _interactions(ids: Sequence[UUID]) -> None:
    execute(
        """UPDATE interacoes i SET chip_id = m.chip_id, provider = c.provider, instance = c.instance_name,
               conversation_id = m.conversa_id, provider_message_id = coalesce(m.provider_message_id, ''),
               delivery_status = 'pending', delivery_status_at = agora()
           FROM fila_mensagens m JOIN chips c ON c.id = m.chip_id
           WHERE m.id = ANY(%s) AND m.conversa_id IS NOT NULL AND i.mensagem_id = m.id AND i.tipo = 'saida'""",
        [list(ids)],
    )
    execute(
        """INSERT INTO interacoes (conversation_id, cliente_id, chip_id, mensagem_id, origem, tipo, conteudo,
               autor_tipo, autor_nome, provider, instance, provider_message_id, delivery_status, delivery_status_at)
           SELECT m.conversa_id, m.cliente_id, m.chip_id, m.id, 'whatsapp_outbound', 'saida', m.conteudo, 'julia',
               'Julia', c.provider, c.instance_name, coalesce(m.provider_message_id, ''), 'pending', agora()
           FROM fila_mensagens m JOIN chips c ON c.id = m.chip_id WHERE m.id = ANY(%s) AND m.conversa_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM interacoes i WHERE i.mensagem_id = m.id)
           ON CONFLICT DO NOTHING""",
        [list(ids)],
    )


def wake_waiting(keys: Sequence[str]) -> None:
    """Events that came before their message was settled are due now; one being handled comes back by itself."""
    execute(
        """UPDATE webhook_eventos SET proxima_em = agora() WHERE id IN (
               SELECT id FROM webhook_eventos WHERE key_id = ANY(%s) AND status = 'aguardando'
               ORDER BY id FOR UPDATE SKIP LOCKED)""",
        [list(keys)],
    )


def apply_receipt(*, chip_id: UUID, key_id: str, status: str) -> bool:
    """One step of delivery for the message with that key on that chip.

    Disorder and repetition are harmless: a step that is not ahead of what is known changes nothing. False when no
    attempt carries the key yet, and when its attempt counts as not delivered although this step says that it arrived:
    such a proof is decided under more locks (`reconciliacao.recibos`). Locks the message before its attempt, as
    settling does.
    """
    found = rows(
        """SELECT id, origem, origem_id FROM envios_tentativas WHERE provider_message_id = %s AND chip_id = %s
           ORDER BY id DESC LIMIT 1""",
        [key_id, chip_id],
    )
    if not found:
        return False
    attempt = found[0]
    if status not in ADVANCES:
        return True
    rows("SELECT id FROM fila_mensagens WHERE id = %s FOR UPDATE", [attempt["origem_id"]])
    if status in ARRIVED and rows(_GIVEN_UP, [attempt["id"]]):
        return False
    moved = rows(
        """UPDATE envios_tentativas SET delivery_status = %s, delivery_status_at = agora()
           WHERE id = %s AND coalesce(delivery_status, 'pending') = ANY(%s) RETURNING id""",
        [status, attempt["id"], ADVANCES[status]],
    )
    if moved and attempt["origem"] == "fila":
        _advance_message(attempt["origem_id"], key_id, status)
    return True


_GIVEN_UP = "SELECT 1 FROM envios_tentativas WHERE id = %s AND (nao_entregue_em IS NOT NULL OR resultado = 'rejeitado')"


def _advance_message(mensagem_id: UUID, key_id: str, status: str) -> None:
    execute(
        """UPDATE fila_mensagens SET delivery_status = %s,
               entregue_em = CASE WHEN %s IN ('delivered', 'read') THEN coalesce(entregue_em, agora())
                   ELSE entregue_em END
           WHERE id = %s AND provider_message_id = %s AND coalesce(delivery_status, 'pending') = ANY(%s)""",
        [status, status, mensagem_id, key_id, ADVANCES[status]],
    )
    execute(
        """UPDATE interacoes SET delivery_status = %s, delivery_status_at = agora()
           WHERE mensagem_id = %s AND provider_message_id = %s
               AND coalesce(delivery_status, 'pending') = ANY(%s)""",
        [status, mensagem_id, key_id, ADVANCES[status]],
    )
    record_events([Event(mensagem_id, Evento.RECIBO, None, status)])
