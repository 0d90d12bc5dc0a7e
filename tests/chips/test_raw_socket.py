"""Every way a connection can end, against a real socket: the verdict, and that nothing was ever written twice."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from chips.providers.base import ChipAddress, Code, ErrorKind, Fault, SendResult, Verdict
from chips.providers.evolution import EvolutionProvider
from core.integrations.http import new_client
from tests.wire_server import (
    Behaviour,
    WireServer,
    answers,
    answers_and_closes,
    answers_and_hangs_up,
    closes,
    drips,
    http_answer,
    resets,
    stays_silent,
    wire_server,
)

ACCEPTED_BODY = b'{"key":{"remoteJid":"5511900000001@s.whatsapp.net","fromMe":true,"id":"3EB0TEST"},"status":"PENDING"}'
ACCEPTED = http_answer(201, ACCEPTED_BODY)
SHORT_S = 0.25


async def send(client: httpx.AsyncClient, url: str, *, total_s: float = 5.0) -> SendResult:
    chip = ChipAddress(
        chip_id=UUID(int=1),
        provider="evolution",
        base_url=url,
        instance_name="julia_5511900000009",
        api_key="chave-secreta",
    )
    provider = EvolutionProvider(client, total_s=total_s)
    return await provider.send_text(chip, number="5511900000001", text="Olá, doutora", correlation_id="abc12345")


async def send_once(url: str, *, read_s: float = 5.0, total_s: float = 5.0, connect_s: float = 2.0) -> SendResult:
    async with new_client(connect_s=connect_s, read_s=read_s) as client:
        return await send(client, url, total_s=total_s)


def outcome_of(
    *behaviours: Behaviour, on_connect: Behaviour | None = None, read_s: float = 5.0, total_s: float = 5.0
) -> tuple[SendResult, WireServer]:
    async def run() -> tuple[SendResult, WireServer]:
        async with wire_server(*behaviours, on_connect=on_connect) as server:
            return await send_once(server.url, read_s=read_s, total_s=total_s), server

    return asyncio.run(run())


def assert_unknown(result: SendResult, kind: ErrorKind, code: Code) -> None:
    assert result.verdict is Verdict.DESCONHECIDA
    assert (result.kind, result.fault, result.code) == (kind, Fault.PROVEDOR, code)
    assert not result.retryable


def assert_never_left(result: SendResult, kind: ErrorKind, code: Code) -> None:
    assert result.verdict is Verdict.NAO_ENVIADA
    assert (result.kind, result.fault, result.code) == (kind, Fault.PROVEDOR, code)
    assert result.retryable


def test_a_whole_201_is_accepted_and_was_written_once():
    result, server = outcome_of(answers(ACCEPTED))
    assert result.verdict is Verdict.ACEITA
    assert (result.provider_message_id, result.remote_jid) == ("3EB0TEST", "5511900000001@s.whatsapp.net")
    assert not result.misdelivered
    assert len(server.requests) == 1
    request = server.requests[0]
    assert request.startswith(b"POST /message/sendText/julia_5511900000009 HTTP/1.1\r\n")
    assert b"x-correlation-id: abc12345" in request
    assert b"apikey: chave-secreta" in request
    assert request.endswith('{"number":"5511900000001","text":"Olá, doutora","linkPreview":false}'.encode())


def test_refused_connection_never_left():
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        result = asyncio.run(send_once(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert_never_left(result, ErrorKind.REDE, Code.NETWORK_ERROR)
    assert result.detail == "ClientConnectorError ECONNREFUSED"


def test_unresolvable_name_never_left(monkeypatch: pytest.MonkeyPatch):
    async def no_such_name(*args: object, **kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    result = asyncio.run(with_resolver(monkeypatch, no_such_name))
    assert_never_left(result, ErrorKind.REDE, Code.NETWORK_ERROR)


def test_name_resolution_that_hangs_never_left(monkeypatch: pytest.MonkeyPatch):
    async def hangs(*args: object, **kwargs: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    result = asyncio.run(with_resolver(monkeypatch, hangs))
    assert_never_left(result, ErrorKind.TIMEOUT, Code.TIMEOUT)


async def with_resolver(monkeypatch: pytest.MonkeyPatch, resolve: Callable[..., Awaitable[list[object]]]) -> SendResult:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with new_client(pool_s=SHORT_S) as client:
        return await send(client, "http://evolution.invalid")


def test_black_hole_never_left():
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        queued = fill_backlog(listening)
        try:
            result = asyncio.run(send_once(f"http://127.0.0.1:{listening.getsockname()[1]}", connect_s=SHORT_S))
        finally:
            for connection in queued:
                connection.close()
    assert_never_left(result, ErrorKind.TIMEOUT, Code.TIMEOUT)


def fill_backlog(listening: socket.socket) -> list[socket.socket]:
    """Connect until the kernel stops answering: the next connection attempt meets silence."""
    queued = []
    for _ in range(16):
        connection = socket.socket()
        connection.settimeout(0.1)
        queued.append(connection)
        try:
            connection.connect(listening.getsockname())
        except TimeoutError:
            return queued
    raise AssertionError("the backlog never filled")


def test_pool_exhausted_never_left():
    async def run() -> tuple[SendResult, SendResult, int]:
        async with wire_server(stays_silent) as server, new_client(max_connections=1, pool_s=SHORT_S) as client:
            first = asyncio.create_task(send(client, server.url, total_s=4 * SHORT_S))
            await server.received.wait()
            second = await send(client, server.url)
            return await first, second, len(server.requests)

    first, second, received = asyncio.run(run())
    assert_unknown(first, ErrorKind.TIMEOUT, Code.TIMEOUT)
    assert_never_left(second, ErrorKind.TIMEOUT, Code.TIMEOUT)
    assert received == 1


LOST_AFTER_THE_REQUEST = {
    "reset after the body": (resets, ErrorKind.REDE, Code.NETWORK_ERROR),
    "close without an answer": (closes, ErrorKind.REDE, Code.NETWORK_ERROR),
    "half a header": (answers_and_closes(b"HTTP/1.1 201 Created\r\nContent-Le"), ErrorKind.REDE, Code.NETWORK_ERROR),
    "only a status line": (answers_and_closes(b"HTTP/1.1 201 Created\r\n"), ErrorKind.REDE, Code.NETWORK_ERROR),
    "half a body": (
        answers_and_closes(http_answer(201, ACCEPTED_BODY[:40], length=len(ACCEPTED_BODY))),
        ErrorKind.REDE,
        Code.NETWORK_ERROR,
    ),
    "half a chunked body": (
        answers_and_closes(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"),
        ErrorKind.REDE,
        Code.NETWORK_ERROR,
    ),
    "garbage": (answers_and_closes(b"\x00\xff garbage \x80\r\n\r\n"), ErrorKind.SERVIDOR, Code.INVALID_REPLY),
    "another protocol": (answers_and_closes(b"SSH-2.0-x\r\n"), ErrorKind.SERVIDOR, Code.INVALID_REPLY),
    "a body that is not what its encoding says": (
        answers_and_closes(http_answer(201, b"not gzip", "Content-Encoding: gzip")),
        ErrorKind.SERVIDOR,
        Code.INVALID_REPLY,
    ),
    "201 without parsable body": (
        answers_and_closes(http_answer(201, b"<html>ok</html>")),
        ErrorKind.SERVIDOR,
        Code.INVALID_REPLY,
    ),
    "201 with an empty body": (answers_and_closes(http_answer(201, b"")), ErrorKind.SERVIDOR, Code.INVALID_REPLY),
    "a redirect": (
        answers_and_closes(http_answer(307, b"", "Location: http://127.0.0.1:9/")),
        ErrorKind.DESCONHECIDO,
        Code.INVALID_REPLY,
    ),
}


@pytest.mark.parametrize("case", LOST_AFTER_THE_REQUEST)
def test_what_is_lost_after_the_request_is_unknown(case: str):
    behaviour, kind, code = LOST_AFTER_THE_REQUEST[case]
    result, server = outcome_of(behaviour)
    assert_unknown(result, kind, code)
    assert (server.connections, len(server.requests)) == (1, 1)


def test_a_reason_phrase_that_is_no_text_hides_no_acceptance():
    result, server = outcome_of(answers(ACCEPTED.replace(b"201 X", b"201 \xff\xfe")))
    assert result.verdict is Verdict.ACEITA
    assert len(server.requests) == 1


def test_reset_before_the_request_is_read_is_unknown():
    result, server = outcome_of(stays_silent, on_connect=resets)
    assert_unknown(result, ErrorKind.REDE, Code.NETWORK_ERROR)
    assert (server.connections, len(server.requests)) == (1, 0)


def test_close_before_the_request_is_read_is_unknown():
    result, server = outcome_of(stays_silent, on_connect=closes)
    assert_unknown(result, ErrorKind.REDE, Code.NETWORK_ERROR)
    assert server.connections == 1


def test_silence_until_the_read_timeout_is_unknown():
    result, server = outcome_of(stays_silent, read_s=SHORT_S)
    assert_unknown(result, ErrorKind.TIMEOUT, Code.TIMEOUT)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("start", [b"HTTP/1.1 201 Created\r\nX-Drip: ", b"HTTP/1.1 201 Created\r\n\r\n {"])
def test_an_answer_that_drips_for_ever_ends_with_the_total_timeout(start: bytes):
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(start)(reader, writer)
        await drips(b"x", every_s=0.02)(reader, writer)

    result, server = outcome_of(drip, total_s=SHORT_S)
    assert_unknown(result, ErrorKind.TIMEOUT, Code.TIMEOUT)
    assert (server.connections, len(server.requests)) == (1, 1)


def test_an_endless_body_is_cut_and_unknown():
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(b"HTTP/1.1 201 Created\r\n\r\n")(reader, writer)
        while True:
            await answers(b" " * 65_536)(reader, writer)

    result, server = outcome_of(flood)
    assert_unknown(result, ErrorKind.SERVIDOR, Code.INVALID_REPLY)
    assert (server.connections, len(server.requests)) == (1, 1)


def test_kept_connection_closed_between_two_sends_costs_nothing():
    async def run() -> tuple[SendResult, SendResult, WireServer]:
        async with wire_server(answers_and_hangs_up(ACCEPTED), answers(ACCEPTED)) as server, new_client() as client:
            first = await send(client, server.url)
            await server.closed_by_client.wait()
            return first, await send(client, server.url), server

    first, second, server = asyncio.run(run())
    assert (first.verdict, second.verdict) == (Verdict.ACEITA, Verdict.ACEITA)
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("ending", [closes, resets])
def test_a_post_on_a_kept_connection_that_then_drops_is_never_repeated(ending: Behaviour):
    async def run() -> tuple[SendResult, SendResult, WireServer]:
        async with wire_server(answers(ACCEPTED), ending) as server, new_client() as client:
            return await send(client, server.url), await send(client, server.url), server

    first, second, server = asyncio.run(run())
    assert first.verdict is Verdict.ACEITA
    assert_unknown(second, ErrorKind.REDE, Code.NETWORK_ERROR)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_sends_reuse_one_connection():
    async def run() -> WireServer:
        async with wire_server(answers(ACCEPTED)) as server, new_client() as client:
            for _ in range(3):
                assert (await send(client, server.url)).verdict is Verdict.ACEITA
            return server

    server = asyncio.run(run())
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_cancelled_call_closes_its_connection_and_writes_nothing_more():
    async def run() -> WireServer:
        async with wire_server(stays_silent) as server, new_client() as client:
            call = asyncio.create_task(send(client, server.url))
            await server.received.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(server.closed_by_client.wait(), timeout=2)
            return server

    server = asyncio.run(run())
    assert (server.connections, len(server.requests)) == (1, 1)


def test_a_withdrawn_message_opens_no_connection():
    async def run() -> tuple[SendResult, WireServer]:
        async with wire_server(answers(ACCEPTED)) as server, new_client() as client:
            chip = ChipAddress(UUID(int=1), "evolution", server.url, "julia_1", api_key="chave-secreta")
            result = await EvolutionProvider(client).send_text(
                chip, number="5511900000001", text="oi", correlation_id="abc", go_ahead=lambda: False
            )
            return result, server

    result, server = asyncio.run(run())
    assert (result.verdict, result.code, result.retryable) == (Verdict.NAO_ENVIADA, Code.WITHDRAWN, True)
    assert server.connections == 0


def test_a_retry_after_header_sets_the_cooldown():
    result, _ = outcome_of(answers(http_answer(429, b"{}", "Retry-After: 90")))
    assert (result.verdict, result.kind, result.fault) == (Verdict.DESCONHECIDA, ErrorKind.RATE_LIMIT, Fault.CHIP)
    assert result.cooldown == timedelta(seconds=90)


def test_no_mutilated_answer_escapes_as_an_exception_or_is_asked_for_twice():
    rng = random.Random(20260123)
    headers = ("Set-Cookie: sid=abc; Path=/", "Keep-Alive: timeout=5", "Location: /next", "Retry-After: 7")
    samples = [mutilated(http_answer(201, ACCEPTED_BODY, *headers), rng) for _ in range(300)]

    async def run() -> tuple[list[SendResult], WireServer]:
        behaviours = [answers_and_closes(sample) for sample in samples]
        async with wire_server(*behaviours) as server:
            return [await send_once(server.url, read_s=1.0) for _ in samples], server

    results, server = asyncio.run(run())
    assert (server.connections, len(server.requests)) == (len(samples), len(samples))
    for result, sample in zip(results, samples, strict=True):
        if result.verdict is not Verdict.DESCONHECIDA:
            assert sample.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200", b"HTTP/1.1 401", b"HTTP/1.0 201")), sample


def mutilated(answer: bytes, rng: random.Random) -> bytes:
    raw = bytearray(answer)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw))
        match rng.randrange(4):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at + 1 : at + rng.randint(2, 12)]
            case 2:
                raw[at:at] = rng.randbytes(rng.randint(1, 12))
            case _:
                del raw[at + 1 :]
    return bytes(raw)
