"""What the fila does with an event of the inbox: receipts and echoes find their attempt, messages their conversation."""

from chips.choices import InboxKind
from chips.webhooks.inbox import register_handler
from chips.webhooks.outcomes import Done, Ignore, Outcome, Received, Wait
from chips.webhooks.parsed import MessageType
from fila import delivery
from fila.conversas.inbound import Inbound, receive

NO_ATTEMPT_YET = "ainda não há tentativa com este código de mensagem"
NOT_ANSWERED = {MessageType.REACAO: "[reação]"}


def receipt(received: Received) -> Outcome:
    """One step of delivery, matched by instance and key only: the number in it may be a LID."""
    status = received.parsed.status
    if status is None:
        return Ignore("recibo que não prova nada")
    known = delivery.apply_receipt(chip_id=received.chip.pk, key_id=received.event.key_id, status=status.value)
    return Done(status.value) if known else Wait(NO_ATTEMPT_YET)


def echo(received: Received) -> Outcome:
    """What an API call of ours sent, told by the provider; what a person typed is an inbound `from_me`."""
    parsed = received.parsed
    if not parsed.from_api:
        return message(received)
    known = delivery.knows(chip_id=received.chip.pk, key_id=received.event.key_id)
    return Done("eco de envio") if known else Wait(NO_ATTEMPT_YET)


def message(received: Received) -> Outcome:
    """A person's message. Its number decides whose it is; a LID that nobody knows yet waits for the map."""
    parsed, event = received.parsed, received.event
    if parsed.is_group:
        return Ignore("mensagem de grupo")
    telefone = parsed.pessoa or event.pessoa
    if not telefone:
        return Wait("remetente só conhecido por LID")
    what = receive(
        Inbound(
            provider=event.provider,
            instance=event.instance,
            key_id=event.key_id,
            telefone=telefone,
            text=parsed.text or NOT_ANSWERED.get(parsed.message_type, f"[{parsed.message_type}]"),
            received_at=event.recebido_em,
            jid=parsed.remote_jid,
            lid=parsed.lid,
            push_name=parsed.push_name,
            from_me=parsed.from_me,
            understood=parsed.message_type is MessageType.TEXTO,
        ),
        now=received.now,
    )
    return Done(what)


def register() -> None:
    register_handler(InboxKind.RECIBO, receipt)
    register_handler(InboxKind.ECO, echo)
    register_handler(InboxKind.ENTRADA, message)
