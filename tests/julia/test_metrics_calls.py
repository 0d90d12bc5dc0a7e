"""Every call to a provider is counted once, by what the provider did with it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from chips.providers.base import ChipAddress, Provider
from chips.providers.evolution import EvolutionProvider
from chips.providers.zapi import ZapiProvider
from core.metrics import counters
from tests.chips.test_evolution_contract import CHIP, envelope, sent

NUMBER = "5511900000001"
ZAPI = replace(CHIP, provider="z-api", base_url="http://zapi.test", zapi_instance_id="INST", zapi_token="TOKEN")
ABSENT = envelope(400, [{"jid": f"{NUMBER}@s.whatsapp.net", "exists": False, "number": NUMBER}])


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    counters.forget()
    yield
    counters.forget()


def calls() -> dict[tuple[str, ...], float]:
    return {key[1]: sums.value for key, sums in counters.pending().items() if key[0] == "integration_requests_total"}


def asked(
    chip: ChipAddress, act: Callable[[Any], Any], answer: Callable[[httpx.Request], httpx.Response]
) -> dict[tuple[str, ...], float]:
    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            provider: Provider = EvolutionProvider(client) if chip.provider == "evolution" else ZapiProvider(client)
            await act(provider)

    asyncio.run(run())
    return calls()


def send(chip: ChipAddress, **more: Any) -> Callable[[Any], Any]:
    return lambda provider: provider.send_text(chip, number=NUMBER, text="Olá", correlation_id="c", **more)


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda _: httpx.Response(201, content=sent()), "success"),
        (lambda _: httpx.Response(400, content=ABSENT), "success"),  # the recipient's fault: the provider is well
        (lambda _: httpx.Response(401, content=envelope(401, "Unauthorized")), "error"),
        (lambda _: httpx.Response(500, content=envelope(500, "x")), "error"),
        (refused, "error"),
    ],
)
def test_a_send_counts_as_the_provider_did_its_part(answer: Callable[[httpx.Request], httpx.Response], status: str):
    assert asked(CHIP, send(CHIP), answer) == {("evolution", "send_text", status): 1}


def test_a_send_that_was_withdrawn_is_no_call():
    assert asked(CHIP, send(CHIP, go_ahead=lambda: False), refused) == {}


def test_a_query_counts_under_what_was_asked_and_never_under_an_id():
    def answer(request: httpx.Request) -> httpx.Response:
        body: Any = (
            {"connected": True, "smartphoneConnected": True} if "status" in request.url.path else {"value": True}
        )
        return httpx.Response(200, content=json.dumps(body))

    async def act(provider: ZapiProvider) -> None:
        await provider.connection_state(ZAPI)
        await provider.remove_queued(ZAPI, "3B2C1A")

    assert asked(ZAPI, act, answer) == {("zapi", "status", "success"): 1, ("zapi", "queue", "success"): 1}


def test_an_instance_is_no_label():
    state = {"instance": {"instanceName": CHIP.instance_name, "state": "open"}}
    found = asked(CHIP, lambda p: p.connection_state(CHIP), lambda _: httpx.Response(200, content=json.dumps(state)))
    assert found == {("evolution", "connection_state", "success"): 1}
    assert asked(CHIP, lambda p: p.connection_state(CHIP), lambda _: httpx.Response(503)) == {
        **found,
        ("evolution", "connection_state", "error"): 1,
    }
