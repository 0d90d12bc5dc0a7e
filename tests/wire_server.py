"""A raw TCP server for tests: it counts what it receives and ends each exchange exactly as told."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class WireServer:
    """`connections` counts those accepted, `requests` holds each request that was read to its last byte."""

    port: int = 0
    scheme: str = "http"
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def wire_server(
    *after_request: Behaviour, on_connect: Behaviour | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WireServer]:
    """Serve on a free loopback port. The n-th request gets the n-th behaviour, the last one from then on."""
    server = WireServer(scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            if on_connect is not None:
                await on_connect(reader, writer)
            while (request := await _whole_request(reader)) is not None:
                server.requests.append(request)
                server.received.set()
                index = min(len(server.requests), len(after_request)) - 1
                await after_request[index](reader, writer)
            server.closed_by_client.set()
        except OSError:
            server.closed_by_client.set()
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answers(raw: bytes) -> Behaviour:
    """Write `raw` and keep the connection open."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return behave


def answers_and_closes(raw: bytes) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return behave


def answers_and_hangs_up(raw: bytes) -> Behaviour:
    """Half-close after the answer: `closed_by_client` is then set once the client has noticed."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.write_eof()

    return behave


def drips(raw: bytes, *, every_s: float) -> Behaviour:
    """One byte at a time, for ever: the answer never ends, the silence never grows."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for byte in raw:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(every_s)

    return behave


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stays_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def http_answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A whole HTTP/1.1 answer; `length` lies about the body's."""
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {length or len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def _whole_request(reader: asyncio.StreamReader) -> bytes | None:
    """One request with its body, or None at the end of the connection (a part of a request is not counted)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")
    except asyncio.IncompleteReadError:
        return None
