"""The short way for benchmarks: plain `sendText` requests answered without the web framework.

A connection whose next request is anything else, or while any fault stands, is handed over to the framework for
good, so every route and fault works in fast mode too.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from chips.simulator import evolution_events
from chips.simulator.answers import encoded
from chips.simulator.evolution_api import EvolutionError
from chips.simulator.evolution_send import check, validated
from chips.simulator.state import Instance, Provider, World

_PATH = b"POST /message/sendText/"
_END = b"\r\n\r\n"
_CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


class FastProtocol(asyncio.Protocol):
    """One connection. `framework` makes the protocol that takes over."""

    def __init__(self, world: World, framework: Callable[[], asyncio.Protocol]) -> None:
        self._world = world
        self._framework = framework
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and self._transport is not None:
            end = self._buffer.find(_END)
            if end < 0:
                return
            head = self._buffer[:end]
            length = _content_length(head)
            if self._world.faults.faults or not head.startswith(_PATH) or length is None:
                self._hand_over()
                return
            after = end + len(_END) + length
            if len(self._buffer) < after:
                return
            answer = self._answer(head, self._buffer[end + len(_END) : after])
            if answer is None:
                self._hand_over()
                return
            self._buffer = self._buffer[after:]
            self._transport.write(_CREATED % len(answer) + answer)

    def _hand_over(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            heir = self._framework()
            transport.set_protocol(heir)
            heir.connection_made(transport)
            heir.data_received(self._buffer)
            self._buffer = b""

    def _answer(self, head: bytes, raw: bytes) -> bytes | None:
        """The 201 body of an ordinary send that left; None, with nothing done, for everything else."""
        world = self._world
        instance = self._instance(head)
        try:
            body: Any = json.loads(raw)
            if instance is None or not isinstance(body, dict) or body.get("delay") or "quoted" in body:
                return None
            number, text = validated(body)
            jid = world.target_jid(number)
            check(world, instance, number, jid, None)
        except (ValueError, EvolutionError):
            return None
        truth = world.truth
        call = truth.open_call(instance.name, Provider.EVOLUTION)
        key = {"remoteJid": jid, "fromMe": True, "id": world.new_id("3EB0", 22)}
        world.leave(instance, jid=jid, text=text, key_id=str(key["id"]))
        message = evolution_events.new_row(world, key, text, source="web", push_name="Voce")
        truth.close_call(call)
        return encoded(evolution_events.sent_body(instance, message))

    def _instance(self, head: bytes) -> Instance | None:
        """The instance of the path, if the key fits."""
        name = unquote(head[len(_PATH) : head.find(b" ", len(_PATH))].decode("ascii", "replace"))
        instance = self._world.instances.get(name)
        if instance is None or instance.provider is not Provider.EVOLUTION:
            return None
        key = (_header(head, b"apikey") or b"").decode("latin-1")
        return instance if key and key in (self._world.options.apikey, instance.token) else None


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _content_length(head: bytes) -> int | None:
    value = _header(head, b"content-length")
    expects = _header(head, b"expect")
    return int(value) if value is not None and value.isdigit() and expects is None else None
