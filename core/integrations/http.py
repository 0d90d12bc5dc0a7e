"""One way to open HTTP clients, and the only judge of whether a failed call can have reached the other side.

The send path uses httpx over aiohttp (the httpx API, about 1.8 times the throughput of its stock transport); everything
else uses a plain synchronous client. Neither reads proxies or credentials from the environment.
"""

import asyncio
import errno
import logging
import ssl
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import aiohttp
import httpcore
import httpx
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

T = TypeVar("T")

CONNECT_S = 3.0
READ_S = 70.0  # Evolution answers within 60 s; a shorter wait would turn its late answers into unknown ones
TOTAL_S = 90.0
POOL_S = 5.0  # covers waiting for a free connection, name resolution and connecting together
KEEPALIVE_S = 3.0  # below the 5 s after which Node servers drop an idle connection, else a POST meets the close
MAX_CONNECTIONS = 32
MAX_BODY_BYTES = 1_000_000
MAX_RETRY_AFTER = timedelta(hours=24)
CORRELATION_HEADER = "X-Correlation-ID"

# Everything the other side, or the network, can make a call raise. `OSError` brings TimeoutError and ssl.SSLError;
# aiohttp's own errors reach us raw when httpx has no word for them.
WIRE_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)

# Both print the whole URL of each request at INFO or DEBUG, and some providers carry the token in the URL.
for _noisy in ("httpx", "httpcore"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read to its end. A body beyond `MAX_BODY_BYTES` is cut there, so that it does not parse."""

    status: int
    body: bytes
    retry_after: timedelta | None = None


class UnreadableReplyError(httpx.RemoteProtocolError):
    """The answer made the HTTP libraries themselves stumble."""


@cache
def shared_ssl_context() -> ssl.SSLContext:
    """The process's TLS context: building one per client costs about 20 ms and 1 MB each."""
    return httpx.create_ssl_context(trust_env=False)


def new_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_s: float = CONNECT_S,
    read_s: float = READ_S,
    pool_s: float = POOL_S,
    keepalive_s: float = KEEPALIVE_S,
    max_connections: int = MAX_CONNECTIONS,
) -> httpx.AsyncClient:
    """An asynchronous keep-alive client for a few senders; the caller closes it, in the event loop that used it.

    A POST is written once, whatever happens. aiohttp repeats GET, PUT and DELETE by itself, once, when a kept
    connection turns out to be closed: a call of those methods with a side effect must not use this client.
    `read_s` is the longest silence between two reads, not the length of the call: see `call_with_total`.
    """
    context = ssl_context or shared_ssl_context()

    def open_session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, limit=max_connections, keepalive_timeout=keepalive_s)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), response_class=_Response, trust_env=False
        )

    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Accept-Encoding": "identity", "User-Agent": "julia", **(headers or {})},
        transport=AiohttpTransport(verify=context, trust_env=False, client=open_session),
        timeout=httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=pool_s),
        cookies=_no_cookies(),
        trust_env=False,
        follow_redirects=False,
    )


def new_sync_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    connect_s: float = CONNECT_S,
    read_s: float = 10.0,
) -> httpx.Client:
    """A plain client for calls outside the send path: Slack, the language model, documents."""
    return httpx.Client(
        base_url=base_url,
        headers={"User-Agent": "julia", **(headers or {})},
        verify=shared_ssl_context(),
        timeout=httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=POOL_S),
        cookies=_no_cookies(),
        trust_env=False,
        follow_redirects=False,
    )


async def exchange(client: httpx.AsyncClient, request: httpx.Request) -> Reply:
    """Send one request and read its answer; raises one of `WIRE_ERRORS` when no whole answer came."""
    try:
        response = await client.send(request, stream=True)
    except ValueError as error:  # the libraries' own slips over bytes that they did not expect
        raise UnreadableReplyError("unreadable answer", request=request) from error
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
    finally:
        await response.aclose()
    return Reply(response.status_code, bytes(body[:MAX_BODY_BYTES]), retry_after_of(response.headers))


async def call_with_total(call: Awaitable[T], *, total_s: float = TOTAL_S) -> T:
    """Await `call` for at most `total_s` seconds; raises TimeoutError, by when its connection is closed."""
    async with asyncio.timeout(total_s):
        return await call


def never_left(error: BaseException) -> bool:
    """True for a connection that was never made, and for nothing else; every other failure is an unknown outcome.

    httpx's own types do not tell (its `ConnectTimeout` also stands for a reset after the request was read): the
    transport's error in the chain of causes does. Only for methods that the transport never repeats, such as POST.
    """
    for link in _causes(error):
        if isinstance(link, aiohttp.ClientError):
            return isinstance(link, _NEVER_CONNECTED)
        if isinstance(link, _HTTPCORE_ERRORS):
            return isinstance(link, httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.PoolTimeout)
    return False


def timed_out(error: BaseException) -> bool:
    """True when time ran out, at whatever stage: connecting, waiting for a free connection, reading, in total."""
    return any(isinstance(link, TimeoutError | httpcore.TimeoutException) for link in _causes(error))


def unreadable_reply(error: BaseException) -> bool:
    """True when the other side answered something that is not HTTP, or not in the encoding that it claims."""
    return any(isinstance(link, _UNREADABLE) for link in _causes(error))


def describe(error: BaseException) -> str:
    """Error class and errno of the deepest transport error. Never its text: that quotes URLs, and so tokens."""
    links = [link for link in _causes(error) if not isinstance(link, httpx.HTTPError)] or [error]
    number = next((link.errno for link in links if isinstance(link, OSError) and link.errno), None)
    name = type(links[0]).__name__
    return f"{name} {errno.errorcode.get(number, str(number))}" if number else name


def retry_after_of(headers: Mapping[str, str]) -> timedelta | None:
    """The `Retry-After` of an answer in seconds, at most a day; None when absent or given as a date."""
    value = headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None
    return min(timedelta(seconds=max(int(value), 1)), MAX_RETRY_AFTER)


_UNREADABLE = (aiohttp.ClientResponseError, httpx.DecodingError, UnreadableReplyError)
_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,  # refused, unreachable, name not found, TLS refused
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidUrlClientError,  # no address to connect to
    aiohttp.NonHttpUrlClientError,
)


class _Response(aiohttp.ClientResponse):
    """Without the reason phrase: nobody reads it, and the transport fails over one that is not UTF-8."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.reason = None
        return self


# httpcore has no common base class; these three are the roots of all it raises.
_HTTPCORE_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _no_cookies() -> CookieJar:
    # One client carries many chips: a cookie set for one must not travel with another.
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
