"""Evolution's side effects: stored rows, acknowledgements and webhooks, shaped as in contract §1.3 and §1.8."""

import asyncio
from typing import Any

from chips.simulator import clock
from chips.simulator.inbound import Inbound
from chips.simulator.numbers import GROUP_SUFFIX, jid_for
from chips.simulator.options import Span
from chips.simulator.state import Instance, Message, State, World, iso_now
from chips.simulator.truth import WireRecord
from chips.simulator.webhooks import Delivery

SEND_MESSAGE_S = Span(0.01, 0.06)
SERVER_ACK_S = Span(0.05, 0.4)
DELIVERY_ACK_S = Span(0.3, 2.5)
READ_S = Span(2, 20)
ERROR_S = Span(0.3, 1.5)
READ_PROBABILITY = 0.7
#: A slow receiver does not stop the account: the next event follows after this long anyway.
PATIENCE_S = 1.0
#: Only these reach the webhook as `close`; other codes are retried by the server in silence.
ANNOUNCED_CLOSE_CODES = frozenset({401, 402, 403, 406})


def emit(
    world: World, instance: Instance, event: str, data: Any, *, own_body: dict[str, Any] | None = None
) -> "asyncio.Task[Any] | None":
    """Post one event if the instance's webhook wants it; returns the task of its first attempt, or None."""
    hook = instance.webhook
    name = event.upper().replace(".", "_")
    if world.options.fast or not hook.enabled or not hook.url or (hook.events and name not in hook.events):
        return None
    url = f"{hook.url}/{event.replace('.', '-')}" if hook.by_events else hook.url
    body = own_body if own_body is not None else _envelope(world, instance, event, data, url)
    return world.webhooks.emit(Delivery(instance.provider, instance.name, event, url, hook.headers, body))


def _envelope(world: World, instance: Instance, event: str, data: Any, url: str) -> dict[str, Any]:
    envelope = {
        "event": event,
        "instance": instance.name,
        "data": data,
        "destination": url,
        "date_time": iso_now(world.options.utc_offset_h),
        "sender": instance.jid,
        "server_url": "http://localhost:8080",
        "apikey": instance.token if instance.leaks_apikey else None,
    }
    if instance.never_connected:
        del envelope["sender"]
    return envelope


def sent_body(instance: Instance, message: Message) -> dict[str, Any]:
    """The 201 answer of a send, and the data of `send.message`."""
    return {
        "key": message.key,
        "pushName": "Voce",
        "status": "PENDING",
        "message": {"conversation": message.text},
        "contextInfo": message.context,
        "messageType": "conversation",
        "messageTimestamp": message.at,
        "instanceId": instance.uuid,
        "source": "web",
    }


def new_row(world: World, key: dict[str, Any], text: str, *, source: str, push_name: str) -> Message:
    return Message(world.new_id("c", 25).lower(), key, text, int(clock.now()), source, push_name)


async def live(
    world: World, instance: Instance, message: Message, record: WireRecord, *, echo: bool, no_ack: bool, pace: float
) -> None:
    """What follows a send: the echo, then the steps of its status, each stored and announced."""
    rng = world.stream("acks")
    stored = message.key_id in instance.messages
    if echo:
        await asyncio.sleep(SEND_MESSAGE_S.draw(rng) * pace)
        await _patiently(emit(world, instance, "send.message", sent_body(instance, message)))
    if no_ack:
        return
    if not record.delivered:
        await asyncio.sleep(ERROR_S.draw(rng) * pace)
        await _step(world, instance, message, record, "ERROR", stored)
        return
    for status, span in (("SERVER_ACK", SERVER_ACK_S), ("DELIVERY_ACK", DELIVERY_ACK_S)):
        await asyncio.sleep(span.draw(rng) * pace)
        await _step(world, instance, message, record, status, stored)
    world.on_delivered(instance, record)
    if world.rng(f"leitura:{record.recipient}:{record.text}").random() < READ_PROBABILITY:
        await asyncio.sleep(READ_S.draw(rng) * pace)
        await _step(world, instance, message, record, "READ", stored)


async def _step(
    world: World, instance: Instance, message: Message, record: WireRecord, status: str, stored: bool
) -> None:
    """Acknowledgements of rows that were never stored are thrown away by the server."""
    record.status = status
    if not stored:
        return
    message.updates.append(status)
    jid = message.key["remoteJid"]
    data = {
        "keyId": message.key_id,
        "remoteJid": world.lid(record.recipient) if instance.acks_by_lid else jid,
        "fromMe": True,
        "participant": None,
        "status": status,
        "pollUpdates": None,
        "instanceId": instance.uuid,
        "messageId": message.row_id,
    }
    await _patiently(emit(world, instance, "messages.update", data))


async def _patiently(task: "asyncio.Task[Any] | None") -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=PATIENCE_S)


def announce_inbound(world: World, instance: Instance, inbound: Inbound) -> None:
    """`messages.upsert`: one object, by telephone or by LID, with the telephone beside it or nowhere."""
    jid = inbound.person if inbound.person.endswith(GROUP_SUFFIX) else jid_for(inbound.person)
    key: dict[str, Any] = {"remoteJid": jid, "fromMe": inbound.from_me, "id": inbound.key_id}
    if inbound.by_lid:
        key |= {"remoteJid": world.lid(inbound.person), "addressingMode": "lid"}
        if inbound.with_phone:
            key["remoteJidAlt"] = jid
    row = new_row(world, key, inbound.text, source="android", push_name=inbound.push_name)
    row.at = int(inbound.at)
    row.context = {"stanzaId": inbound.quoted} if inbound.quoted else {}
    instance.messages[row.key_id] = row
    data = {
        "key": key,
        "pushName": inbound.push_name,
        "status": "DELIVERY_ACK",
        "message": inbound.content or {"conversation": inbound.text},
        "contextInfo": row.context,
        "messageType": inbound.message_type,
        "messageTimestamp": row.at,
        "instanceId": instance.uuid,
        "source": "android",
    }
    emit(world, instance, "messages.upsert", data)


def announce_state(world: World, instance: Instance, *, code: int | None, burst: int) -> None:
    """Webhooks of a connection change: `open` once, `connecting` in bursts, `close` only for the announced codes."""
    state: dict[str, Any] = {"instance": instance.name, "state": instance.state.value, "statusReason": code or 200}
    if instance.state is State.OPEN:
        state |= {"wuid": instance.jid, "profileName": instance.name, "profilePictureUrl": None}
        emit(world, instance, "connection.update", state)
    elif instance.state is State.CLOSE and code in ANNOUNCED_CLOSE_CODES:
        _announce_close(world, instance, state, code or 0)
    elif instance.state is not State.ABSENT:
        for _ in range(burst):
            emit(world, instance, "connection.update", {**state, "state": State.CONNECTING.value, "statusReason": 200})


def _announce_close(world: World, instance: Instance, state: dict[str, Any], code: int) -> None:
    status = {
        "instance": instance.name,
        "status": "closed",
        "disconnectionAt": instance.disconnection_at,
        "disconnectionReasonCode": code,
        "disconnectionObject": f'{{"error":{{"output":{{"statusCode":{code}}}}}}}',
    }
    events: list[tuple[str, Any]] = [
        ("connection.update", state),
        ("status.instance", status),
        ("logout.instance", None),
    ]
    world.stream("conexao").shuffle(events)
    for event, data in events:
        emit(world, instance, event, data)


def announce_qrcode(world: World, instance: Instance, code: str) -> None:
    qrcode = {"instance": instance.name, "pairingCode": None, "code": code, "base64": f"data:image/png;base64,{code}"}
    emit(world, instance, "qrcode.updated", {"qrcode": qrcode})
