import asyncio
import datetime
import ipaddress
import logging
import socket
import ssl
from contextlib import closing
from pathlib import Path

import aiohttp
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.integrations.http import (
    WIRE_ERRORS,
    Reply,
    UnreadableReplyError,
    call_with_total,
    describe,
    exchange,
    never_left,
    new_client,
    new_sync_client,
    retry_after_of,
    shared_ssl_context,
    timed_out,
)
from tests.wire_server import (
    Behaviour,
    WireServer,
    answers,
    answers_and_closes,
    closes,
    http_answer,
    resets,
    stays_silent,
    wire_server,
)

OK = http_answer(200, b"{}")


async def post(client: httpx.AsyncClient, url: str) -> Reply:
    return await exchange(client, client.build_request("POST", url, content=b"{}"))


def failure_of(*behaviours: Behaviour, tls: ssl.SSLContext | None = None, scheme: str | None = None) -> BaseException:
    """The error that a POST ends with, against a server that behaves so."""

    async def run() -> BaseException:
        async with wire_server(*behaviours, tls=tls) as server, new_client(read_s=0.25) as client:
            url = server.url.replace("http:", f"{scheme}:") if scheme else server.url
            with pytest.raises(WIRE_ERRORS) as caught:
                await post(client, url)
            assert len(server.requests) <= 1
            return caught.value

    return asyncio.run(run())


def refused_url() -> str:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_never_left_is_true_for_a_refused_connection_only_by_its_cause():
    async def run() -> BaseException:
        async with new_client() as client:
            with pytest.raises(WIRE_ERRORS) as caught:
                await post(client, refused_url())
            return caught.value

    refused = asyncio.run(run())
    reset = failure_of(resets)
    assert never_left(refused)
    assert not never_left(reset)
    assert describe(refused) == "ClientConnectorError ECONNREFUSED"


@pytest.mark.parametrize("ending", [resets, closes, stays_silent, answers_and_closes(b"garbage\r\n\r\n")])
def test_never_left_is_false_for_whatever_follows_a_connection(ending: Behaviour):
    assert not never_left(failure_of(ending))


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.SocketTimeoutError(),
        aiohttp.ClientPayloadError(),
        aiohttp.ClientConnectionError("Connector is closed."),
        aiohttp.ClientConnectionResetError("Cannot write to closing transport"),
        TimeoutError(),
        ConnectionRefusedError(),
        httpx.ConnectError("by its name alone"),
        httpx.ConnectTimeout("by its name alone"),
        httpx.ReadTimeout("x"),
    ],
)
def test_never_left_needs_the_transports_word(error: BaseException):
    assert not never_left(error)


def test_never_left_is_true_where_there_is_no_address_to_connect_to():
    async def run() -> BaseException:
        async with new_client() as client:
            with pytest.raises(WIRE_ERRORS) as caught:
                await post(client, "http://1.2.3.4.5/")
            return caught.value

    assert never_left(asyncio.run(run()))


def test_never_left_is_true_when_the_other_side_does_not_speak_tls():
    assert never_left(failure_of(answers_and_closes(b"HTTP/1.1 400 Bad Request\r\n\r\n"), scheme="https"))


def test_never_left_is_true_for_a_certificate_that_is_not_trusted(tmp_path: Path):
    server_side, _ = self_signed(tmp_path)
    assert never_left(failure_of(answers(OK), tls=server_side))


def test_never_left_is_false_for_a_reset_inside_tls(tmp_path: Path):
    server_side, client_side = self_signed(tmp_path)

    async def run() -> tuple[BaseException, WireServer]:
        async with wire_server(resets, tls=server_side) as server, new_client(ssl_context=client_side) as client:
            with pytest.raises(WIRE_ERRORS) as caught:
                await post(client, server.url)
            return caught.value, server

    error, server = asyncio.run(run())
    assert not never_left(error)
    assert len(server.requests) == 1


def self_signed(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server on 127.0.0.1 and of the only client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "teste")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start.replace(year=2120))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "tls.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    return server_side, ssl.create_default_context(cafile=str(pem))


def test_the_synchronous_client_is_judged_by_the_same_rule():
    with new_sync_client() as client, pytest.raises(httpx.ConnectError) as refused:
        client.post(refused_url())
    assert never_left(refused.value)

    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listening,
        new_sync_client(read_s=0.1) as client,
        pytest.raises(httpx.ReadTimeout) as silent,
    ):
        client.post(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert not never_left(silent.value)
    assert timed_out(silent.value)


def test_the_total_bounds_the_whole_call():
    async def run() -> None:
        async with wire_server(stays_silent) as server, new_client() as client:
            with pytest.raises(TimeoutError) as caught:
                await call_with_total(post(client, server.url), total_s=0.2)
            assert timed_out(caught.value)
            assert not never_left(caught.value)
            await asyncio.wait_for(server.closed_by_client.wait(), timeout=2)

    asyncio.run(run())


def test_a_call_within_the_total_returns_its_value():
    async def value() -> int:
        return 7

    assert asyncio.run(call_with_total(value(), total_s=1)) == 7


def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refused_url())

    async def run() -> int:
        async with wire_server(answers(OK)) as server, new_client() as client:
            reply = await post(client, server.url)
            with new_sync_client() as plain:
                answer = await asyncio.to_thread(plain.get, server.url)
            assert answer.status_code == 200
            return reply.status

    assert asyncio.run(run()) == 200


def test_a_redirect_is_an_answer_and_not_followed():
    async def run() -> tuple[int, int]:
        async with (
            wire_server(answers(http_answer(307, b"", "Location: /elsewhere"))) as server,
            new_client() as client,
        ):
            return (await post(client, server.url)).status, len(server.requests)

    assert asyncio.run(run()) == (307, 1)


def test_cookies_of_one_answer_do_not_travel_with_the_next_request():
    async def run() -> list[bytes]:
        behaviour = answers(http_answer(200, b"{}", "Set-Cookie: sid=abc; Path=/"))
        async with wire_server(behaviour) as server, new_client() as client:
            await post(client, server.url)
            await post(client, server.url)
            return server.requests

    first, second = asyncio.run(run())
    assert b"cookie" not in first.lower() + second.lower()


def test_an_idle_connection_older_than_the_keepalive_is_not_reused():
    async def run() -> int:
        async with wire_server(answers(OK)) as server, new_client(keepalive_s=0.0001) as client:
            await post(client, server.url)
            await asyncio.sleep(0.01)
            await post(client, server.url)
            return server.connections

    assert asyncio.run(run()) == 2


def test_clients_share_one_tls_context():
    assert shared_ssl_context() is shared_ssl_context()


def test_request_addresses_are_not_logged(caplog: pytest.LogCaptureFixture):
    async def run() -> None:
        async with wire_server(answers(OK)) as server, new_client() as client:
            await post(client, f"{server.url}/instances/A/token/TOKEN-INVENTADO/status")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "TOKEN-INVENTADO" not in caplog.text


def test_an_error_description_carries_no_address():
    async def run() -> str:
        async with new_client() as client:
            with pytest.raises(WIRE_ERRORS) as caught:
                await post(client, f"{refused_url()}/token/TOKEN-INVENTADO")
            return describe(caught.value)

    assert "TOKEN-INVENTADO" not in asyncio.run(run())


def test_a_slip_of_the_libraries_is_an_unreadable_answer():
    def stumble(request: httpx.Request) -> httpx.Response:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    async def run() -> BaseException:
        async with httpx.AsyncClient(transport=httpx.MockTransport(stumble)) as client:
            with pytest.raises(UnreadableReplyError) as caught:
                await post(client, "http://provedor.test/")
            return caught.value

    assert not never_left(asyncio.run(run()))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90),
        ("0", 1),
        (" 7 ", 7),
        ("999999999", 86_400),
        ("9999999999", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: int | None):
    expected = None if seconds is None else datetime.timedelta(seconds=seconds)
    assert retry_after_of({"retry-after": value}) == expected


def test_no_retry_after_is_none():
    assert retry_after_of({}) is None
