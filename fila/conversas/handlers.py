"""What the fila does with an inbox event: receipts and echoes find their attempt, messages their conversation."""

from chips.choices import InboxKind
from chips.webhooks.inbox import register_handler
from chips.webhooks.models import EventoRecebido
from chips.webhooks.outcomes import Done, Ignore, Outcome, Received, Wait
from chips.webhooks.parsed import MessageType
from core.clientes import identity
from core.clientes.models import Cliente
from fila.conversas.inbound import Inbound, receive
from fila.reconciliacao import ecos, recibos

CAPTIONED = frozenset({MessageType.IMAGEM, MessageType.VIDEO, MessageType.DOCUMENTO})
NAMES = {MessageType.REACAO: "reação", MessageType.LOCALIZACAO: "localização"}


def echo(received: Received) -> Outcome:
    """What an API call of ours sent, told by the provider; what a person typed is an inbound `from_me`."""
    return ecos.handle(received) if received.parsed.from_api else message(received)


def message(received: Received) -> Outcome:
    """A person's message. Its number decides whose it is; a LID that nobody knows yet waits for the map."""
    parsed, event = received.parsed, received.event
    if parsed.is_group:
        return Ignore("mensagem de grupo")
    telefone = parsed.pessoa or event.pessoa or _number_behind(received)
    if not telefone:
        return Wait("remetente só conhecido por LID")
    what = receive(
        Inbound(
            provider=event.provider,
            instance=event.instance,
            key_id=event.key_id,
            telefone=telefone,
            text=parsed.text or f"[{NAMES.get(parsed.message_type, parsed.message_type)}]",
            received_at=event.recebido_em,
            jid=parsed.remote_jid,
            lid=parsed.lid,
            push_name=parsed.push_name,
            from_me=parsed.from_me,
            understood=_is_their_text(received),
        ),
        now=received.now,
    )
    return Done(what)


def _is_their_text(received: Received) -> bool:
    """A text, or what they wrote under a picture; the emoji of a reaction says nothing about leaving."""
    parsed = received.parsed
    return parsed.message_type is MessageType.TEXTO or (parsed.message_type in CAPTIONED and bool(parsed.text))


def _number_behind(received: Received) -> str:
    """Ask the LID map again: it may have learned since the event came. The event then says whose it is."""
    found = identity.resolve(received.parsed.lid or received.parsed.remote_jid)
    if found is None:
        return ""
    telefone = Cliente.objects.values_list("telefone", flat=True).get(pk=found)
    EventoRecebido.objects.filter(pk=received.event.pk).update(pessoa=telefone)
    return telefone


def register() -> None:
    register_handler(InboxKind.RECIBO, recibos.handle)
    register_handler(InboxKind.ECO, echo)
    register_handler(InboxKind.ENTRADA, message)
