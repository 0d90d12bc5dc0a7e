"""A message that a doctor wrote, or that a person typed on one of our phones: stored first, then understood."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from chips.models import Chip
from core.clientes import identity, phones
from core.clientes.models import Cliente
from core.database import execute, rows
from core.logging import get_logger
from fila.conversas import opt_out
from fila.conversas.intents import Intent, classify

log = get_logger("fila.conversas")


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message between a person and a chip. `telefone` is canonical; `jid` and `lid` as the provider spelled them.

    `understood`: the text is what the person wrote; otherwise it only names what came (an audio, a reaction).
    """

    provider: str
    instance: str
    key_id: str
    telefone: str
    text: str
    received_at: datetime
    jid: str = ""
    lid: str = ""
    push_name: str = ""
    from_me: bool = False
    understood: bool = True


def receive(inbound: Inbound, *, now: datetime) -> str:
    """Store and act, in one transaction; what was done, as one word. A repeated message changes nothing.

    Locks the person before their conversation and messages, as an attempt does.
    """
    with transaction.atomic():
        chip = (
            Chip.objects.only("id").filter(instance_name=inbound.instance).first()
            or Chip.objects.only("id").filter(zapi_instance_id=inbound.instance).exclude(zapi_instance_id="").first()
        )
        if Chip.objects.filter(telefone__in=phones.variants(inbound.telefone)).exists():
            return "chip_proprio"
        if inbound.from_me and _is_echo(inbound.key_id):
            return "eco"
        cliente = _person(inbound)
        rows("SELECT cliente_id FROM doctor_state WHERE cliente_id = %s FOR NO KEY UPDATE", [cliente.pk])
        conversa_id = _conversation(cliente, inbound, chip)
        intent = classify(inbound.text) if inbound.understood and not inbound.from_me else Intent.NONE
        if not _store(cliente, conversa_id, chip, inbound, intent):
            return "repetida"
        if inbound.from_me:
            _a_person_took_over(conversa_id)
            return "humano"
        _count(cliente, conversa_id, chip, inbound, now)
        _act(intent, cliente.pk, conversa_id, now)
    return intent.value


def _is_echo(key_id: str) -> bool:
    return bool(
        rows("SELECT 1 FROM envios_tentativas WHERE provider_message_id = %s AND provider_message_id <> ''", [key_id])
    )


def _person(inbound: Inbound) -> Cliente:
    found = identity.resolve(inbound.telefone) or identity.resolve(inbound.jid or inbound.lid)
    if found is not None:
        cliente = Cliente.objects.get(pk=found)
    else:
        cliente, _ = Cliente.objects.get_or_create(
            telefone=inbound.telefone, defaults={"nome": inbound.push_name[:255], "origem": "entrada"}
        )
    identity.learn(inbound.jid or None, inbound.lid or None, cliente)
    return cliente


def _conversation(cliente: Cliente, inbound: Inbound, chip: Chip | None) -> UUID:
    """The open conversation of that number, whatever its state: a paused one is not bypassed by a new one."""
    found = rows(
        """INSERT INTO conversations (cliente_id, lead_phone, last_message_at) VALUES (%s, %s, agora())
           ON CONFLICT (lead_phone) WHERE NOT (status IN ('completed', 'abandoned'))
           DO UPDATE SET last_message_at = agora(), cliente_id = coalesce(conversations.cliente_id, excluded.cliente_id)
           RETURNING id""",
        [cliente.pk, cliente.telefone],
    )
    conversa_id: UUID = found[0]["id"]
    execute(
        "INSERT INTO conversation_context (lead_phone) VALUES (%s) ON CONFLICT (lead_phone) DO NOTHING",
        [cliente.telefone],
    )
    if chip is not None:
        execute(
            """INSERT INTO conversation_chips (conversa_id, chip_id) VALUES (%s, %s)
               ON CONFLICT (conversa_id) WHERE active DO UPDATE SET chip_id = excluded.chip_id""",
            [conversa_id, chip.pk],
        )
    return conversa_id


def _store(cliente: Cliente, conversa_id: UUID, chip: Chip | None, inbound: Inbound, intent: Intent) -> bool:
    """False when this provider message is stored already. A reply within 7 days of a touch is the campaign's."""
    stored = rows(
        """INSERT INTO interacoes (conversation_id, cliente_id, chip_id, origem, tipo, conteudo, autor_tipo, autor_nome,
               intencao, provider, instance, provider_message_id, attributed_campaign_id, created_at)
           SELECT v.id, %(cliente)s, %(chip)s, %(origem)s, %(tipo)s, %(texto)s, %(autor)s, %(nome)s, %(intencao)s,
               %(provider)s, %(instance)s, %(key)s,
               CASE WHEN %(tipo)s = 'entrada' AND v.last_touch_at > agora() - interval '7 days'
                    THEN v.last_touch_campaign_id END, %(em)s
           FROM conversations v WHERE v.id = %(conversa)s
           ON CONFLICT DO NOTHING RETURNING id""",
        {
            "cliente": cliente.pk,
            "conversa": conversa_id,
            "chip": chip.pk if chip else None,
            "origem": "whatsapp_humano" if inbound.from_me else "whatsapp_inbound",
            "tipo": "saida" if inbound.from_me else "entrada",
            "texto": inbound.text,
            "autor": "humano" if inbound.from_me else "medico",
            "nome": inbound.push_name[:255],
            "intencao": "" if intent is Intent.NONE else intent.value,
            "provider": inbound.provider,
            "instance": inbound.instance,
            "key": inbound.key_id,
            "em": inbound.received_at,
        },
    )
    return bool(stored)


def _a_person_took_over(conversa_id: UUID) -> None:
    """Somebody typed on the phone itself: Julia is silent in this conversation until they hand it back."""
    execute(
        """UPDATE conversations SET controlled_by = 'human', escalation_reason = 'pessoa respondeu no celular',
               response_count = message_count WHERE id = %s""",
        [conversa_id],
    )


def _count(cliente: Cliente, conversa_id: UUID, chip: Chip | None, inbound: Inbound, now: datetime) -> None:
    execute("UPDATE conversations SET message_count = message_count + 1 WHERE id = %s", [conversa_id])
    execute(
        """UPDATE doctor_state SET last_inbound_at = greatest(last_inbound_at, %s),
               temperature = least(temperature + 0.10, 1), temperature_trend = 'warming',
               permission_state = CASE WHEN permission_state IN ('none', 'initial') THEN 'active'
                                  ELSE permission_state END,
               lifecycle_stage = CASE WHEN lifecycle_stage IN ('novo', 'prospecting') THEN 'engaged'
                                 ELSE lifecycle_stage END
           WHERE cliente_id = %s""",
        [inbound.received_at, cliente.pk],
    )
    if chip is not None:
        _count_on_chip(chip.pk, cliente.telefone)


def _count_on_chip(chip_id: UUID, telefone: str) -> None:
    params: dict[str, Any] = {"chip": chip_id, "telefone": telefone}
    execute(
        """UPDATE chips SET msgs_recebidas_total = msgs_recebidas_total + 1,
               msgs_recebidas_hoje = CASE WHEN contadores_data = hoje.dia THEN msgs_recebidas_hoje ELSE 0 END + 1,
               msgs_enviadas_hoje = CASE WHEN contadores_data = hoje.dia THEN msgs_enviadas_hoje ELSE 0 END,
               peso_dia = CASE WHEN contadores_data = hoje.dia THEN peso_dia ELSE 0 END,
               contadores_data = hoje.dia, ultima_resposta_em = agora()
           FROM (SELECT (agora() AT TIME ZONE 'America/Sao_Paulo')::date AS dia) hoje WHERE id = %(chip)s""",
        params,
    )
    first = rows(
        """UPDATE chip_interactions SET obteve_resposta = true, resposta_em = agora(),
               tempo_resposta_segundos = greatest(extract(epoch FROM agora() - created_at), 0)::int
           WHERE chip_id = %(chip)s AND destinatario = %(telefone)s AND tipo = 'msg_enviada' AND sucesso
               AND NOT obteve_resposta AND created_at > agora() - interval '24 hours' RETURNING id""",
        params,
    )
    if first:
        execute("UPDATE chips SET conversas_bidirecionais = conversas_bidirecionais + 1 WHERE id = %(chip)s", params)
    execute(
        "INSERT INTO chip_interactions (chip_id, tipo, remetente) VALUES (%(chip)s, 'msg_recebida', %(telefone)s)",
        params,
    )


def _act(intent: Intent, cliente_id: UUID, conversa_id: UUID, now: datetime) -> None:
    motivo = f"mensagem do médico: {intent.label}"
    if intent.is_final:
        confirm = conversa_id if intent in (Intent.OPT_OUT, Intent.OPT_OUT_WITH_ALERT) else None
        opt_out.opt_out(cliente_id, origem="mensagem", motivo=motivo, actor="julia", now=now, confirm_in=confirm)
        log.info("opt-out registrado", intencao=intent.value, cliente=str(cliente_id))
    elif intent is Intent.COOLING_OFF:
        opt_out.cool_off(cliente_id, motivo=motivo, actor="julia", now=now)
    if intent.needs_person:
        execute(
            """UPDATE conversations SET status = 'aguardando_gestor', escalation_reason = %s
               WHERE id = %s AND status = 'active'""",
            [intent.label, conversa_id],
        )
