"""Z-API's queue and callbacks (contract §2): messages leave one by one, seconds after the 200."""

import asyncio
from typing import Any

from chips.simulator import clock
from chips.simulator.faults import Kind
from chips.simulator.inbound import Inbound
from chips.simulator.numbers import jid_for, lid_for
from chips.simulator.options import Span
from chips.simulator.state import Instance, Queued, State, World
from chips.simulator.truth import WireRecord
from chips.simulator.webhooks import Delivery

STATUS_S = {"SENT": Span(0.05, 0.4), "RECEIVED": Span(0.3, 2.5), "READ": Span(2, 20)}
READ_PROBABILITY = 0.7
PATIENCE_S = 1.0
DEAD_SOCKET_POLL_S = 0.1
NO_SUCH_NUMBER = "Phone number does not exist"
NOT_ALLOWED = "WhatsApp did not allow sending this message"

#: Callback type -> the name of its address in the `update-webhook-*` calls.
KIND_OF = {
    "ReceivedCallback": "received",
    "DeliveryCallback": "delivery",
    "MessageStatusCallback": "message-status",
    "ConnectedCallback": "connected",
    "DisconnectedCallback": "disconnected",
}


def emit(world: World, instance: Instance, callback: dict[str, Any]) -> "asyncio.Task[Any] | None":
    """Post one callback to its own address or to the general one; returns the task of its first attempt, or None."""
    event = callback["type"]
    url = instance.webhook.by_kind.get(KIND_OF.get(event, ""), instance.webhook.url)
    delivery = Delivery(instance.provider, instance.name, event, url, instance.webhook.headers, callback)
    return world.webhooks.emit(delivery)


def milliseconds() -> int:
    return int(clock.now() * 1000)


def ensure_draining(world: World, instance: Instance) -> None:
    """Start the queue's drain if it can move. Idempotent."""
    if not instance.queue or instance.state is not State.OPEN:
        return
    if world.options.fast:
        while instance.queue:
            _leave(world, instance, instance.queue.popleft())
    elif instance.draining is None or instance.draining.done():
        instance.draining = world.spawn(_drain(world, instance))


async def _drain(world: World, instance: Instance) -> None:
    rng = world.stream("fila-zapi")
    while instance.queue and instance.state is State.OPEN:
        head = instance.queue[0]
        own_delay = None if head.delay_s is None else head.delay_s * world.pacing.pace
        await asyncio.sleep(world.pacing.queue_gap_s.draw(rng) if own_delay is None else own_delay)
        if world.faults.stands(Kind.DESCONECTADO, instance.provider, instance.name):
            await asyncio.sleep(DEAD_SOCKET_POLL_S)
            continue
        still_first = bool(instance.queue) and instance.queue[0] is head
        if still_first and instance.state is State.OPEN:
            _leave(world, instance, instance.queue.popleft())


def _leave(world: World, instance: Instance, entry: Queued) -> None:
    """Hand one message to WhatsApp; a failed one is told by the same callback with an `error`."""
    error = entry.error
    if not error and not world.exists(instance, entry.phone):
        error, entry.leaves = NO_SUCH_NUMBER, False
    record = None
    if entry.leaves:
        jid = world.target_jid(entry.phone)
        record = world.leave(instance, jid=jid, text=entry.text, key_id=entry.message_id)
        if 0 < entry.call_seq <= len(world.truth.calls) and not world.options.fast:
            _link(world, entry.call_seq, record.seq)
    if not world.options.fast:
        world.spawn(_live(world, instance, entry, record, error))


def _link(world: World, call_seq: int, wire_seq: int) -> None:
    for call in reversed(world.truth.calls):
        if call.seq == call_seq:
            call.wire_seq = wire_seq
            return


async def _live(world: World, instance: Instance, entry: Queued, record: WireRecord | None, error: str) -> None:
    delivery: dict[str, Any] = {
        "type": "DeliveryCallback",
        "phone": entry.phone,
        "messageId": entry.message_id,
        "zaapId": entry.zaap_id,
        "instanceId": instance.name,
        "momment": milliseconds(),
    }
    await _patiently(emit(world, instance, delivery | ({"error": error} if error else {})))
    if record is None or entry.no_ack:
        return
    if instance.notify_sent_by_me:
        await _patiently(emit(world, instance, _own_message(world, instance, entry)))
    rng = world.stream("acks")
    reads = world.rng(f"leitura:{record.recipient}:{record.text}").random() < READ_PROBABILITY
    for status, span in STATUS_S.items():
        if status == "READ" and not reads:
            return
        await asyncio.sleep(span.draw(rng) * world.pacing.pace)
        record.status = status
        await _patiently(emit(world, instance, _status(instance, entry, status)))
        if status == "RECEIVED":
            world.on_delivered(instance, record)


async def _patiently(task: "asyncio.Task[Any] | None") -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=PATIENCE_S)


def _status(instance: Instance, entry: Queued, status: str) -> dict[str, Any]:
    return {
        "type": "MessageStatusCallback",
        "status": status,
        "ids": [entry.message_id],
        "phone": entry.phone,
        "momment": milliseconds(),
        "instanceId": instance.name,
    }


def _own_message(world: World, instance: Instance, entry: Queued) -> dict[str, Any]:
    own = Inbound(person=entry.phone, text=entry.text, key_id=entry.message_id, from_me=True, push_name=instance.name)
    return _received(world, instance, own) | {"fromApi": True}


def announce_inbound(world: World, instance: Instance, inbound: Inbound) -> None:
    emit(world, instance, _received(world, instance, inbound))


def _received(world: World, instance: Instance, inbound: Inbound) -> dict[str, Any]:
    lid = world.lid(inbound.person) if inbound.by_lid else None
    phone = jid_for(inbound.person).partition("@")[0]
    return {
        "type": "ReceivedCallback",
        "instanceId": instance.name,
        "messageId": inbound.key_id,
        "phone": lid if lid and not inbound.with_phone else phone,
        "fromMe": inbound.from_me,
        "fromApi": False,
        "momment": int(inbound.at * 1000),
        "status": "RECEIVED",
        "chatName": inbound.push_name,
        "senderName": inbound.push_name,
        "senderPhoto": None,
        "senderLid": lid or lid_for(inbound.person),
        "chatLid": lid,
        "participantPhone": None,
        "participantLid": None,
        "isGroup": False,
        "isNewsletter": False,
        "isEdit": False,
        "isStatusReply": False,
        "broadcast": False,
        "waitingMessage": False,
        "connectedPhone": instance.phone,
        "referenceMessageId": inbound.quoted or None,
        **(inbound.content or {"text": {"message": inbound.text}}),
    }


def announce_state(world: World, instance: Instance) -> None:
    """Connected in milliseconds, disconnected in seconds: the vendor mixes them."""
    if instance.state is State.OPEN:
        connected = {"type": "ConnectedCallback", "connected": True, "phone": instance.phone}
        emit(world, instance, connected | {"momment": milliseconds(), "instanceId": instance.name})
        return
    gone = {"type": "DisconnectedCallback", "disconnected": True, "error": "Device has been disconnected"}
    emit(world, instance, gone | {"momment": int(clock.now()), "instanceId": instance.name})
