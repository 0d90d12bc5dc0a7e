"""Is that provider our simulator? It proves that it knows our supervisor's nonce; host names prove nothing."""

import hashlib
import hmac
import secrets

import aiohttp
import httpx
from django.conf import settings

PROOF_PATH = "/__simulador__/prova"


def proof_of(nonce: str, challenge: str) -> str:
    return hmac.new(nonce.encode(), challenge.encode(), hashlib.sha256).hexdigest()


async def is_simulator(client: httpx.AsyncClient, base_url: str, nonce: str) -> bool | None:
    """Ask once with a fresh challenge. False: somebody answered without the proof. None: nobody answered.

    Without a nonce there is no simulator to be recognised.
    """
    if not nonce or not base_url:
        return False
    challenge = secrets.token_hex(16)
    try:
        response = await client.get(
            base_url.rstrip("/") + PROOF_PATH, params={"desafio": challenge}, timeout=httpx.Timeout(3.0)
        )
    except (httpx.HTTPError, aiohttp.ClientError, OSError):
        return None
    try:
        answer = str(response.json()["hmac"]) if response.status_code == 200 else ""
    except (ValueError, KeyError, TypeError):
        return False
    return hmac.compare_digest(answer.encode(), proof_of(nonce, challenge).encode())


async def may_be_asked(client: httpx.AsyncClient, base_url: str) -> bool | None:
    """Whether questions may go to this address: in production, with a test list, or to the simulator.

    None: outside production nobody answers there, so that it cannot be told.
    """
    if settings.PRODUCTION or settings.OUTBOUND_ALLOWLIST:
        return True
    return await is_simulator(client, base_url, settings.SIMULADOR_NONCE)
