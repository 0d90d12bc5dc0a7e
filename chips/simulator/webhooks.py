"""Posting webhooks: at least once, unordered, retried with back-off, and spoiled on request."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from chips.simulator import clock
from chips.simulator.faults import Fault, Kind
from chips.simulator.options import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from chips.simulator.state import World

#: Contract §1.8: dropped at once; every other failure, 429 included, is tried again.
NEVER_RETRIED = frozenset({400, 401, 403, 404, 422})
RETRY_JITTER = 0.2
REORDER_HOLD_S = 2.0


@dataclass(slots=True)
class Delivery:
    """One event for one address; `body` is the JSON object."""

    provider: str
    instance: str
    event: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An event kept back until a younger one overtook it, or its timer ran out."""

    delivery: Delivery
    timer: "asyncio.Task[Any]"


@dataclass(slots=True)
class WebhookStats:
    """`emitted` counts events, `posts` HTTP attempts; `refused` ended by a 4xx, `abandoned` after the last retry."""

    emitted: int = 0
    posts: int = 0
    accepted: int = 0
    refused: int = 0
    retried: int = 0
    abandoned: int = 0
    blocked: int = 0
    lost: int = 0
    duplicated: int = 0
    late: int = 0
    reordered: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Posted:
    """What one HTTP attempt came to; `status` 0 means no answer."""

    instance: str
    event: str
    status: int
    at: float
    body: dict[str, Any] = field(default_factory=dict)


class WebhookSender:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._session: aiohttp.ClientSession | None = None
        self._held: dict[str, Held] = {}
        self.stats = WebhookStats()
        self.history: deque[Posted] = deque(maxlen=500)

    def allowed(self, url: str) -> bool:
        """Loopback and the hosts named on the command line: invented events must not reach strangers."""
        host = urlsplit(url).hostname or ""
        return host in LOOPBACK_HOSTS or host in self._world.options.webhook_hosts

    def emit(self, delivery: Delivery) -> "asyncio.Task[Any] | None":
        """Send in the background; the task ends with the first attempt, retries go on without it."""
        if self._world.options.fast or not delivery.url:
            return None
        if not self.allowed(delivery.url):
            self.stats.blocked += 1
            return None
        self.stats.emitted += 1
        return self._world.spawn(self._emit(delivery))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def described(self) -> dict[str, Any]:
        return {**asdict(self.stats), "pending": len(self._world.tasks)}

    async def _emit(self, delivery: Delivery) -> None:
        faults = self._world.faults.on_webhook(delivery.provider, delivery.instance, delivery.event)
        if Kind.WEBHOOK_PERDIDO in faults:
            self.stats.lost += 1
            return
        if late := faults.get(Kind.WEBHOOK_ATRASADO):
            self.stats.late += 1
            await asyncio.sleep(float(late.parameters.get("delay_s", 5.0)))
        if (swap := faults.get(Kind.WEBHOOK_FORA_DE_ORDEM)) and delivery.instance not in self._held:
            self.stats.reordered += 1
            self._hold(delivery, swap)
            return
        overtaken = self._held.pop(delivery.instance, None)
        if overtaken is not None:
            overtaken.timer.cancel()
        await self._deliver(delivery)
        if overtaken is not None:
            await self._deliver(overtaken.delivery)
        if copies := faults.get(Kind.WEBHOOK_DUPLICADO):
            for _ in range(int(copies.parameters.get("copies", 1))):
                self.stats.duplicated += 1
                await self._deliver(delivery)

    def _hold(self, delivery: Delivery, fault: Fault) -> None:
        """Keep it back until the chip's next event went out, or for `hold_s`."""
        hold_s = float(fault.parameters.get("hold_s", REORDER_HOLD_S))
        self._held[delivery.instance] = Held(delivery, self._world.spawn(self._release(delivery, hold_s)))

    async def _release(self, delivery: Delivery, hold_s: float) -> None:
        await asyncio.sleep(hold_s)
        del self._held[delivery.instance]
        await self._deliver(delivery)

    async def _deliver(self, delivery: Delivery) -> None:
        if await self._post(delivery):
            return
        self._world.spawn(self._retry(delivery))

    async def _retry(self, delivery: Delivery) -> None:
        pacing, rng = self._world.pacing, self._world.stream("webhook")
        for attempt in range(1, pacing.retry_attempts):
            wait = min(pacing.retry_initial_s * 2 ** (attempt - 1), pacing.retry_max_s)
            await asyncio.sleep(wait * rng.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER))
            self.stats.retried += 1
            if await self._post(delivery):
                return
        self.stats.abandoned += 1

    async def _post(self, delivery: Delivery) -> bool:
        """One attempt; True when the event needs no further one."""
        delivery.tries += 1
        self.stats.posts += 1
        status = await self._status_of(delivery)
        self.history.append(Posted(delivery.instance, delivery.event, status, clock.now(), delivery.body))
        if 200 <= status < 300:
            self.stats.accepted += 1
            return True
        if status in NEVER_RETRIED:
            self.stats.refused += 1
            self.stats.last_error = f"{delivery.event}: HTTP {status}"
            return True
        return False

    async def _status_of(self, delivery: Delivery) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100), trust_env=False)
        timeout = aiohttp.ClientTimeout(total=self._world.pacing.webhook_timeout_s)
        body = json.dumps(delivery.body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **_with_jwt(delivery.headers)}
        try:
            async with self._session.post(
                delivery.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.stats.last_error = f"{delivery.event}: {type(error).__name__}"
            return 0


def _with_jwt(headers: dict[str, str]) -> dict[str, str]:
    """The header name `jwt_key` becomes a bearer token that proves the key but does not cover the body."""
    key = headers.get("jwt_key")
    if key is None:
        return headers
    now = int(time.time())
    claims = {"iat": now, "exp": now + 600, "app": "evolution", "action": "webhook"}
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = _base64url(hmac.new(key.encode(), signed, hashlib.sha256).digest())
    kept = {name: value for name, value in headers.items() if name != "jwt_key"}
    return {**kept, "Authorization": f"Bearer {(signed + b'.' + signature).decode()}"}


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
