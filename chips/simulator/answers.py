"""Answers that no provider gives on purpose: resets, silence, proxies' pages, cut bodies."""

import asyncio
import json
import socket
import struct
from typing import Any

from aiohttp import web

from chips.simulator.faults import Fault, Kind

BLACK_HOLE_POLL_S = 0.25
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

HTML_502 = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
CUT_JSON = '{"key":{"remoteJid":"5511'

#: Kinds whose answer is the same whichever provider was called.
TRANSPORT_KINDS = frozenset(
    {
        Kind.RECUSA,
        Kind.RESET_ANTES,
        Kind.RESET_DEPOIS,
        Kind.RESET_NO_CORPO,
        Kind.BURACO_NEGRO,
        Kind.HTML_502,
        Kind.ERRO_5XX,
        Kind.LIMITE_429,
        Kind.MALFORMADO,
    }
)


_encode = json.JSONEncoder(ensure_ascii=False).encode


def encoded(payload: Any) -> bytes:
    return _encode(payload).encode()


def json_response(payload: Any, status: int = 200) -> web.Response:
    return web.Response(body=encoded(payload), status=status, content_type="application/json")


async def spoiled(request: web.Request, fault: Fault, *, accepted_status: int) -> web.StreamResponse:
    """The answer of a transport fault; what left was decided before."""
    match fault.kind:
        case Kind.BURACO_NEGRO:
            return await _black_hole(request, fault)
        case Kind.HTML_502:
            return web.Response(text=HTML_502, status=502, content_type="text/html")
        case Kind.ERRO_5XX:
            return _plain_error(int(fault.parameters.get("status", 503)))
        case Kind.LIMITE_429:
            seconds = str(fault.parameters.get("retry_after_s", 30))
            return web.Response(text="Too Many Requests", status=429, headers={"Retry-After": seconds})
        case Kind.MALFORMADO:
            return _malformed(str(fault.parameters.get("variant", "cortado")), accepted_status)
        case Kind.RESET_NO_CORPO:
            return await _half_a_body(request, accepted_status)
        case _:
            return reset(request)


def reset(request: web.Request) -> web.Response:
    """Close with a TCP reset: the caller sees the connection break, never an answer."""
    transport = request.transport
    if transport is not None:
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response(status=500)


async def _black_hole(request: web.Request, fault: Fault) -> web.Response:
    """Hold the call until the caller leaves or the fault is lifted; then the connection breaks."""
    while request.transport is not None and not request.transport.is_closing():
        try:
            await asyncio.wait_for(fault.lifted.wait(), BLACK_HOLE_POLL_S)
        except TimeoutError:
            continue
        break
    return reset(request)


async def _half_a_body(request: web.Request, status: int) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    response.content_length = len(CUT_JSON) + 400
    await response.prepare(request)
    await response.write(CUT_JSON.encode())
    reset(request)
    return response


def _plain_error(status: int) -> web.Response:
    return json_response({"status": status, "error": "Service Unavailable"}, status)


def _malformed(variant: str, status: int) -> web.Response:
    """An accepted status whose body says nothing: `cortado`, `vazio`, `html`, `lista` or `sem_id`."""
    bodies = {
        "cortado": CUT_JSON,
        "vazio": "",
        "html": "<html><body>OK</body></html>",
        "lista": "[]",
        "sem_id": '{"status":"PENDING","key":{}}',
    }
    return web.Response(text=bodies.get(variant, CUT_JSON), status=status, content_type="application/json")
