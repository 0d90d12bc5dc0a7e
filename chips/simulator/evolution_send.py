"""`POST /message/sendText/{name}` (contract §1.3 to §1.6): the check, the wire, and the many ways to answer."""

import asyncio
from typing import Any

from aiohttp import web

from chips.simulator import evolution_events
from chips.simulator.answers import TRANSPORT_KINDS, json_response, spoiled
from chips.simulator.evolution_api import (
    EvolutionError,
    RawError,
    database_gone,
    dead_socket,
    guard,
    parse,
    schema_error,
)
from chips.simulator.faults import Calls, Fault, Kind, Strike
from chips.simulator.numbers import GROUP_SUFFIX
from chips.simulator.state import Instance, Message, Provider, World
from chips.simulator.truth import Call, WireRecord

#: Answered before the instance is even looked up: a proxy or the transport itself.
BEFORE_THE_GUARD = TRANSPORT_KINDS | {Kind.BANCO_FORA}

NO_SOCKET = "Cannot read properties of undefined (reading 'onWhatsApp')"
NO_SOCKET_CACHED = "TypeError: Cannot read properties of undefined (reading 'sendMessage')"
CLOSED = "Connection Closed"
LOST_IN_TRANSLATION = "[object Object]"
INSERT_FAILED = "PrismaClientKnownRequestError: \nInvalid `prisma.message.create()` invocation"


async def send_text(world: World, request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    truth = world.truth
    call = truth.open_call(name, Provider.EVOLUTION)
    call.correlation_id = request.headers.get("X-Correlation-ID", "")
    try:
        response = await _answered(world, request, name, call)
        call.result = call.result or str(response.status)
        return response
    finally:
        truth.close_call(call)


async def _answered(world: World, request: web.Request, name: str, call: Call) -> web.StreamResponse:
    strike = world.faults.on_call(Provider.EVOLUTION, name, Calls.SEND)
    fault = strike.answer
    if fault is not None:
        call.fault = call.result = fault.kind
    raw = await request.read()
    before_s, after_s = latency(world, strike)
    if before_s:
        await asyncio.sleep(before_s)
    try:
        if fault is not None and fault.kind in BEFORE_THE_GUARD and not fault.sends:
            return await _refused_early(world, request, fault)
        body = parse(raw)
        instance = guard(world, request)
        response = await _send(world, request, instance, body, strike, call)
    except (EvolutionError, RawError) as error:
        response = error.response()
        call.result = f"{fault.kind}:{error.status}" if fault else str(error.status)
    if after_s:
        await asyncio.sleep(after_s)
    return response


async def _refused_early(world: World, request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.kind is Kind.BANCO_FORA:
        raise database_gone(world, request)
    return await spoiled(request, fault, accepted_status=201)


async def _send(
    world: World, request: web.Request, instance: Instance, body: dict[str, Any], strike: Strike, call: Call
) -> web.StreamResponse:
    number, text = validated(body)
    jid = world.target_jid(number)
    call.recipient, call.text = world.reached(jid), text
    if delay_ms := body.get("delay"):
        await asyncio.sleep(delay_ms / 1000)
    check(world, instance, number, jid, strike.answer)
    message, record = _put_on_wire(world, instance, jid, body, strike)
    call.wire_seq = record.seq
    fault = strike.answer
    if not world.options.fast:
        await _announce(world, instance, message, record, strike)
    if fault is None or fault.kind is Kind.RESTRITO_201_ERROR:
        return json_response(evolution_events.sent_body(instance, message), 201)
    if fault.kind in TRANSPORT_KINDS:
        return await spoiled(request, fault, accepted_status=201)
    raise ambiguous(fault)


def latency(world: World, strike: Strike) -> tuple[float, float]:
    """Seconds before and after the wire: an interrupted call may or may not have sent."""
    rng = world.stream("latencia")
    if strike.latency is not None:
        low = float(strike.latency.parameters.get("min_ms", strike.latency.parameters.get("ms", 1000)))
        total = rng.uniform(low, max(low, float(strike.latency.parameters.get("max_ms", low)))) / 1000
    elif world.pacing.latency_ms.high == 0:
        return 0.0, 0.0
    else:
        total = world.pacing.latency_ms.draw(rng) / 1000
    before = total * rng.random()
    return before, total - before


def validated(body: dict[str, Any]) -> tuple[str, str]:
    """Number and text, or the schema's complaints in the order and words of the server."""
    number, text = body.get("number"), body.get("text")
    missing = [f'instance requires property "{field}"' for field in ("number", "text") if body.get(field) is None]
    if missing:
        raise schema_error(*missing)
    if not isinstance(number, str):
        raise schema_error("Invalid format")
    if not isinstance(text, str):
        raise schema_error("text is not of a type(s) string")
    delay = body.get("delay")
    if delay is not None and (isinstance(delay, bool) or not isinstance(delay, int)):
        raise schema_error("Enter a value in milliseconds")
    if not text.strip():
        raise EvolutionError(400, ["Text is required"])
    return number, text


def check(world: World, instance: Instance, number: str, jid: str, fault: Fault | None) -> None:
    """Everything that ends a send before the wire. Only uncached numbers are looked up, so errors differ."""
    group = jid.endswith(GROUP_SUFFIX)
    person = world.reached(jid)
    cached = group or person in world.known_numbers
    dead = dead_socket(instance, fault)
    if dead is not None:
        raise _dead_answer(dead, group=group, cached=cached)
    if group and jid not in instance.groups:
        raise EvolutionError(400, [LOST_IN_TRANSLATION])
    if fault is not None:
        _refuse_at_check(fault)
    if not group and not world.exists(instance, number):
        raise EvolutionError(400, [{"jid": jid, "exists": False, "number": number}])
    if not world.options.fast:
        world.known_numbers.add(person)


def _dead_answer(dead: str, *, group: bool, cached: bool) -> EvolutionError:
    if group:
        return EvolutionError(400, [LOST_IN_TRANSLATION])
    if dead == "nunca":
        return EvolutionError(400, [NO_SOCKET_CACHED]) if cached else EvolutionError(500, NO_SOCKET)
    return EvolutionError(400, [f"Error: {CLOSED}"]) if cached else EvolutionError(500, CLOSED)


def _refuse_at_check(fault: Fault) -> None:
    """Faults that answer here did not send; the others go on to the wire."""
    if fault.sends:
        return
    match fault.kind:
        case Kind.RESTRITO:
            raise EvolutionError(500, str(fault.parameters.get("message", "forbidden")))
        case Kind.NAO_ENVIOU_500:
            raise EvolutionError(500, str(fault.parameters.get("message", "Timed Out")))
        case Kind.NAO_ENVIOU_400 | Kind.RESTRITO_400:
            raise ambiguous(fault)


def ambiguous(fault: Fault) -> EvolutionError:
    """A 400 that does not say whether the message left."""
    defaults = {
        Kind.ENVIOU_400: INSERT_FAILED,
        Kind.RESTRITO_400: "Error: forbidden",
        Kind.NAO_ENVIOU_400: f"Error: {CLOSED}",
    }
    return EvolutionError(400, [fault.parameters.get("message", defaults.get(fault.kind, LOST_IN_TRANSLATION))])


def _put_on_wire(
    world: World, instance: Instance, jid: str, body: dict[str, Any], strike: Strike
) -> tuple[Message, WireRecord]:
    """Send, then store the row, unless the fault says that the insert failed."""
    fault = strike.answer
    rejected = fault is not None and fault.kind is Kind.RESTRITO_201_ERROR
    key: dict[str, Any] = {"remoteJid": jid, "fromMe": True, "id": world.new_id("3EB0", 22)}
    record = world.leave(instance, jid=jid, text=body["text"], key_id=key["id"], delivered=not rejected)
    message = evolution_events.new_row(world, key, body["text"], source="web", push_name="Voce")
    quoted = body.get("quoted")
    if isinstance(quoted, dict) and isinstance(quoted.get("key"), dict):
        message.context = {"stanzaId": quoted["key"].get("id")}
    if not world.options.fast and evidence(fault) != "none":
        instance.messages[message.key_id] = message
    return message, record


def evidence(fault: Fault | None) -> str:
    """What a sent message leaves behind: `full`, `row` (no echo), or `none` (the insert failed)."""
    default = "none" if fault is not None and fault.kind is Kind.ENVIOU_400 else "full"
    return str(fault.parameters.get("evidence", default)) if fault is not None else default


async def _announce(world: World, instance: Instance, message: Message, record: WireRecord, strike: Strike) -> None:
    life = evolution_events.live(
        world,
        instance,
        message,
        record,
        echo=evidence(strike.answer) == "full",
        no_ack=strike.no_ack,
        pace=0.0 if strike.ack_first else world.pacing.pace,
    )
    task = world.spawn(life)
    if strike.ack_first:
        await asyncio.wait({task})
