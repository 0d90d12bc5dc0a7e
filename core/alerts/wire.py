"""The two calls that leave: a POST to Slack and the dead-man's ping. Each has a limit for the whole of it."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx

from core.integrations.http import WIRE_ERRORS, Reply, call_with_total, exchange, new_client, retry_after_of, timed_out
from core.metrics.calls import CountedCall

POST_TOTAL_S = 10.0
PING_TOTAL_S = 5.0
_OK = range(200, 300)


def post_json(url: str, body: Mapping[str, Any], *, total_s: float = POST_TOTAL_S) -> None:
    """Raises httpx.HTTPError: HTTPStatusError for any answer but 2xx, TimeoutException when time ran out."""
    content = json.dumps(body, ensure_ascii=False).encode()
    request = _request("POST", url, content=content, headers={"Content-Type": "application/json; charset=utf-8"})
    with CountedCall("slack", "post"):
        _call(request, total_s)


def get(url: str, *, total_s: float = PING_TOTAL_S) -> None:
    """Raises httpx.HTTPError, as `post_json`."""
    _call(_request("GET", url), total_s)


def retry_after(refusal: httpx.HTTPStatusError) -> timedelta | None:
    """What a 429 asked for; None when it did not say, or as a date."""
    return retry_after_of(refusal.response.headers)


def _request(method: str, url: str, **more: Any) -> httpx.Request:
    try:
        return httpx.Request(method, url, **more)
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("not an address") from error


def _call(request: httpx.Request, total_s: float) -> None:
    try:
        reply = asyncio.run(_exchange(request, total_s))
    except WIRE_ERRORS as error:  # the transport's own types do not tell a refusal from a timeout
        if timed_out(error):
            raise httpx.ReadTimeout("no answer in time", request=request) from error
        raise httpx.NetworkError("no answer", request=request) from error
    if reply.status not in _OK:
        seconds = str(int(reply.retry_after.total_seconds())) if reply.retry_after else ""
        response = httpx.Response(reply.status, headers={"Retry-After": seconds} if seconds else {}, request=request)
        raise httpx.HTTPStatusError(f"status {reply.status}", request=request, response=response)


async def _exchange(request: httpx.Request, total_s: float) -> Reply:
    async def call() -> Reply:
        async with new_client(read_s=total_s, max_connections=1) as client:
            return await exchange(client, request)

    return await call_with_total(call(), total_s=total_s)
