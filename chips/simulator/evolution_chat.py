"""Evolution's other message calls: number check, searches, presence, read marks (contract §1.3, §1.7)."""

import asyncio
import math
from datetime import datetime
from typing import Any

from aiohttp import web

from chips.simulator.answers import json_response
from chips.simulator.evolution_api import EvolutionError, RawError, boom, dead_socket, fault_of, guard, schema_error
from chips.simulator.faults import Kind
from chips.simulator.numbers import jid_for, person_of
from chips.simulator.state import Instance, Message, World

PAGE_SIZE = 50
PRESENCES = frozenset({"unavailable", "available", "composing", "recording", "paused"})


async def whatsapp_numbers(world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
    instance = guard(world, request)
    numbers = body.get("numbers")
    if not body:
        raise RawError({}, 400)
    if not isinstance(numbers, list) or not numbers:
        message = [['instance requires property "numbers"']]
        raise RawError({"status": 400, "error": "Bad Request", "message": message}, 400)
    fault = fault_of(request)
    dead = dead_socket(instance, fault)
    if dead == "nunca":
        raise RawError({}, 400)
    if dead is not None:
        raise boom(428, "Precondition Required", "Connection Closed")
    if fault is not None and fault.kind is Kind.NAO_ENVIOU_500:
        throttled = fault.parameters.get("message") == "rate-overlimit"
        raise (
            boom(429, "Too Many Requests", "rate-overlimit")
            if throttled
            else boom(408, "Request Time-out", "Timed Out")
        )
    return json_response([_checked(world, instance, str(number)) for number in numbers])


def _checked(world: World, instance: Instance, number: str) -> dict[str, Any]:
    exists = world.exists(instance, number)
    answer: dict[str, Any] = {"jid": world.target_jid(number), "exists": exists, "number": number}
    contact = world.contact(number)
    if exists:
        world.known_numbers.add(person_of(number))
    if exists and contact.name:
        answer["name"] = contact.name
    if exists and contact.lid:
        answer["lid"] = world.lid(person_of(number))
    return answer


async def find_messages(world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
    """`offset` is the page size and `page` starts at 1; newest first."""
    instance = guard(world, request)
    raw_where = body.get("where")
    where: dict[str, Any] = raw_where if isinstance(raw_where, dict) else {}
    found = [row for row in instance.messages.values() if _matches(row, where)]
    found.sort(key=lambda row: row.at, reverse=True)
    size = _positive(body.get("offset"), PAGE_SIZE)
    page = _positive(body.get("page"), 1)
    chosen = found[(page - 1) * size : page * size]
    return json_response(
        {
            "messages": {
                "total": len(found),
                "pages": math.ceil(len(found) / size),
                "currentPage": page,
                "records": [_record(instance, row) for row in chosen],
            }
        }
    )


def _matches(row: Message, where: dict[str, Any]) -> bool:
    """The traps: text is ignored, `fromMe: false` is ignored, jids match exactly, one time bound is ignored."""
    raw_key = where.get("key")
    key: dict[str, Any] = raw_key if isinstance(raw_key, dict) else {}
    exact = (("id", key.get("id")), ("remoteJid", key.get("remoteJid")), ("fromMe", key.get("fromMe") or None))
    if any(wanted is not None and row.key.get(name) != wanted for name, wanted in exact):
        return False
    if where.get("id") is not None and where["id"] != row.row_id:
        return False
    if where.get("source") is not None and where["source"] != row.source:
        return False
    bounds = where.get("messageTimestamp")
    if isinstance(bounds, dict) and bounds.get("gte") and bounds.get("lte"):
        return _javascript_date(bounds["gte"]) <= row.at <= _javascript_date(bounds["lte"])
    return True


def _javascript_date(value: Any) -> float:
    """Seconds as `new Date(value)` reads them: numbers are milliseconds, so epoch seconds land in January 1970."""
    if isinstance(value, int | float):
        return value / 1000
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return math.nan


def _record(instance: Instance, row: Message) -> dict[str, Any]:
    return {
        "id": row.row_id,
        "key": row.key,
        "pushName": row.push_name,
        "messageType": "conversation",
        "message": {"conversation": row.text},
        "messageTimestamp": row.at,
        "instanceId": instance.uuid,
        "source": row.source,
        "contextInfo": row.context,
        "MessageUpdate": [{"status": status} for status in row.updates],
    }


def _positive(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


async def find_status_message(world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
    instance = guard(world, request)
    raw_where = body.get("where")
    where: dict[str, Any] = raw_where if isinstance(raw_where, dict) else {}
    row = instance.messages.get(str(where.get("id")))
    if row is None:
        return json_response([])
    own_jid = str(row.key["remoteJid"])
    stored_jid = world.lid(world.reached(own_jid)) if instance.acks_by_lid else own_jid
    if where.get("remoteJid") not in (None, stored_jid):
        return json_response([])
    step = {
        "keyId": row.key_id,
        "remoteJid": stored_jid,
        "fromMe": row.key["fromMe"],
        "participant": None,
        "pollUpdates": None,
        "messageId": row.row_id,
        "instanceId": instance.uuid,
    }
    return json_response([{"id": f"{row.row_id}{n}", **step, "status": status} for n, status in enumerate(row.updates)])


async def send_presence(world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
    instance = guard(world, request)
    missing = [name for name in ("number", "presence", "delay") if body.get(name) is None]
    if missing:
        raise schema_error(*(f'instance requires property "{name}"' for name in missing))
    if body["presence"] not in PRESENCES:
        raise schema_error("presence is not one of enum values: unavailable,available,composing,recording,paused")
    if not isinstance(body["delay"], int):
        raise schema_error("delay is not of a type(s) integer")
    if dead_socket(instance, fault_of(request)):
        raise EvolutionError(400, ["Error: Connection Closed"])
    await asyncio.sleep(body["delay"] / 1000)
    return json_response({"presence": body["presence"]}, 201)


async def mark_as_read(world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
    """Keys addressed by LID are skipped, and the answer says success all the same."""
    instance = guard(world, request)
    if not isinstance(body.get("readMessages"), list):
        raise schema_error('instance requires property "readMessages"')
    if dead_socket(instance, fault_of(request)):
        raise EvolutionError(500, ["Read messages fail", "Error: Connection Closed"])
    return json_response({"message": "Read messages", "read": "success"}, 201)


async def accept_invite(world: World, request: web.Request, _body: dict[str, Any]) -> web.Response:
    """Joining is a GET with a side effect; every failure past the format is a 404."""
    instance = guard(world, request)
    code = request.query.get("inviteCode", "")
    if len(code) != 22 or not code.isalnum():
        message = 'inviteCode does not match pattern "^[a-zA-Z0-9]{22}$"'
        raise EvolutionError(400, [{"property": "inviteCode", "message": message}])
    if dead_socket(instance, fault_of(request)):
        raise EvolutionError(404, ["Accept invite error", "Error: Connection Closed"])
    group = f"{jid_for(str(120363 * 10**12 + sum(code.encode()))).partition('@')[0]}@g.us"
    instance.groups.add(group)
    return json_response({"accepted": True, "groupJid": group})
