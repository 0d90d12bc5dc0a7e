"""Consuming the inbox: each event in a transaction of its own, so that one that breaks never blocks the rest.

The lock order of the send path forbids more than one event per transaction: the second would lock a
person after the first has locked a message.
"""

from datetime import datetime, timedelta

from django.db import Error, connection, transaction

from chips.choices import InboxKind, InboxStatus
from chips.models import Chip
from chips.webhooks import connection as connection_events
from chips.webhooks.models import EventoRecebido
from chips.webhooks.outcomes import Done, Handler, Ignore, Outcome, Received, Wait
from chips.webhooks.parsing import parse
from core import correlation
from core.clock import Agora
from core.crypto import SecretUnreadable
from core.database import execute, rows
from core.flags import SettingUnreadable
from core.integrations.redaction import scrub
from core.logging import get_logger

GIVE_UP_AFTER = timedelta(hours=48)
MAX_TRIES = 3
RETRY_AFTER = timedelta(seconds=10)
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(hours=1)
OPEN = (InboxStatus.PENDENTE, InboxStatus.AGUARDANDO)
# What tells of an attempt (its echo, its receipts) is handled under the attempt's own correlation id.
_OF_ATTEMPT = """
(SELECT t.correlation_id FROM envios_tentativas t
 WHERE t.provider_message_id = e.key_id AND t.provider_message_id <> '' AND t.correlation_id <> ''
 ORDER BY t.id DESC LIMIT 1)
"""
_TAKE = f"""
SELECT e.id, coalesce({_OF_ATTEMPT}, e.correlation_id) AS correlation_id FROM webhook_eventos e
WHERE e.id = %s AND e.status IN ('pendente', 'aguardando') AND e.proxima_em <= agora() FOR UPDATE OF e SKIP LOCKED
"""  # noqa: S608 (constants of this module only)
_SETTLE = f"""
UPDATE webhook_eventos e SET status = %s, motivo = %s, processado_em = agora(),
    correlation_id = coalesce({_OF_ATTEMPT}, e.correlation_id) WHERE e.id = %s RETURNING e.correlation_id
"""  # noqa: S608 (constants of this module only)
_WAIT = "UPDATE webhook_eventos SET status = 'aguardando', motivo = %s, proxima_em = agora() + %s WHERE id = %s"
# What a handler may stumble over in one event; anything else is counted too, but comes out.
EXPECTED = (
    Error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError,
    SecretUnreadable, SettingUnreadable,
)  # fmt: skip

log = get_logger("chips.inbox")
_handlers: dict[InboxKind, Handler] = {InboxKind.CONEXAO: connection_events.handle}


def register_handler(kind: InboxKind, handler: Handler) -> None:
    """Give a kind its one consumer. Raises ValueError when it has another already."""
    if _handlers.get(kind, handler) is not handler:
        raise ValueError(f"events of kind {kind!r} have a consumer already")
    _handlers[kind] = handler


def process_inbox(*, limit: int, now: datetime) -> int:
    """Handle up to `limit` due events, oldest first; returns how many were ours to handle, whatever came of them.

    Any number of consumers may run: a locked event is skipped. Kinds without a consumer stay where they are. Raises
    django.db.Error when the database is away: nothing is lost, the events are still due.
    """
    _drop_lost_connection()
    events = due(limit)
    chips = Chip.objects.defer(*connection_events.SECRETS).in_bulk(
        {event.instance for event in events}, field_name="instance_name"
    )
    return sum(_process(event, chips.get(event.instance), now) for event in events)


def due(limit: int) -> list[EventoRecebido]:
    waiting = EventoRecebido.objects.filter(status__in=OPEN, proxima_em__lte=Agora(), kind__in=list(_handlers))
    return list(waiting.order_by("proxima_em", "id")[:limit])


def take(event: EventoRecebido) -> bool:
    """Lock the event for this transaction; False when another consumer has it or has finished it.

    From here on the work goes by the event's correlation id, or by that of the attempt which it tells of.
    """
    found = rows(_TAKE, [event.pk])
    if found:
        correlation.become(found[0]["correlation_id"])
    return bool(found)


def _process(event: EventoRecebido, chip: Chip | None, now: datetime) -> bool:
    """Each event is a piece of work of its own: its id, fields and texts end with it."""
    with correlation.use(event.correlation_id):
        correlation.note(
            evento_id=event.pk, kind=event.kind, phone=event.pessoa, mensagem_provedor=event.key_id,
            chip_id=chip.pk if chip else None,
        )  # fmt: skip
        return _process_alone(event, chip, now)


def _process_alone(event: EventoRecebido, chip: Chip | None, now: datetime) -> bool:
    settled = False
    try:
        with transaction.atomic():
            taken = take(event)
            if taken:
                _settle(event, _handle(event, chip, now), now)
        settled = True
    except EXPECTED as error:
        log.exception(_failure_of(event, error), etapa="process_message", error_class=type(error).__name__)
        fail(event.pk, error)
        settled = taken = True
    finally:
        if not settled:
            fail(event.pk, RuntimeError("interrompido"))
    return taken


def _drop_lost_connection() -> None:
    if not connection.in_atomic_block:  # there it would close a sound one
        connection.close_if_unusable_or_obsolete()


def _handle(event: EventoRecebido, chip: Chip | None, now: datetime) -> Outcome:
    if chip is None:
        return Ignore("o chip não existe mais")
    parsed = parse(event.provider, event.payload)
    correlation.hide(parsed.text)
    return _handlers[InboxKind(event.kind)](Received(event, parsed, chip, now))


def _failure_of(event: EventoRecebido, error: BaseException) -> str:
    """Fixed texts: operators search the log for them (jobs reference §6.1)."""
    saving = isinstance(error, Error) and event.kind == InboxKind.ENTRADA
    return "Failed to save conversation" if saving else "Error processing message"


def _settle(event: EventoRecebido, outcome: Outcome, now: datetime) -> None:
    age = now - event.recebido_em
    if isinstance(outcome, Wait) and age < GIVE_UP_AFTER:
        execute(_WAIT, [outcome.motivo[:200], min(max(age / 2, SHORTEST_WAIT), LONGEST_WAIT), event.pk])
        return
    status = InboxStatus.PROCESSADO if isinstance(outcome, Done) else InboxStatus.IGNORADO
    motivo = f"48 h sem resposta: {outcome.motivo}" if isinstance(outcome, Wait) else outcome.motivo
    settled = rows(_SETTLE, [status.value, motivo[:200], event.pk])
    correlation.become(settled[0]["correlation_id"])
    log.info("process_message", situacao=status.value, motivo=motivo)


def fail(event_id: int, error: BaseException) -> None:
    """Count a failure: again later, after the third time `erro` with the reason. Raises django.db.Error."""
    _drop_lost_connection()
    motivo = scrub(f"{type(error).__name__}: {error}")[:200]
    with transaction.atomic():
        event = EventoRecebido.objects.select_for_update().filter(pk=event_id, status__in=OPEN).first()
        if event is None:
            return
        row = EventoRecebido.objects.filter(pk=event_id)
        tries = event.tentativas + 1
        if tries >= MAX_TRIES:
            row.update(tentativas=tries, status=InboxStatus.ERRO, motivo=motivo, processado_em=Agora())
        else:
            row.update(tentativas=tries, motivo=motivo, proxima_em=Agora() + RETRY_AFTER * tries)
