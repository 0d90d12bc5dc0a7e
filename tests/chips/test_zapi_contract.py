"""Contracts §2: what Z-API's answers mean, and that nothing is handed to its queue while the phone is away."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chips.providers.base import ChipAddress, Code, ErrorKind, Fault, ProviderError, SendResult, State, Verdict
from chips.providers.zapi import ZapiProvider
from chips.providers.zapi_contract import classify, classify_state
from core.integrations.http import new_client
from tests.wire_server import Behaviour, answers, closes, http_answer, resets, stays_silent, wire_server

NUMBER = "5511900000001"
CHIP = ChipAddress(
    chip_id=UUID(int=2),
    provider="z-api",
    base_url="http://zapi.test",
    zapi_instance_id="INSTANCIA1",
    zapi_token="TOKEN-INVENTADO",
    zapi_client_token="CLIENTE-INVENTADO",
)
MINUTE = timedelta(minutes=1)
CONNECTED = {"connected": True, "error": "You are already connected.", "smartphoneConnected": True}
QUEUED = {"zaapId": "39AA", "messageId": "3EB0FF", "id": "3EB0FF"}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_queued_by_the_vendor_is_accepted_with_both_handles():
    assert classify(200, body(QUEUED)) == SendResult(
        Verdict.ACEITA, Code.OK, provider_message_id="3EB0FF", queue_id="39AA", http_status=200
    )


@pytest.mark.parametrize(
    ("answer", "message_id"),
    [({"id": "3EB0FF"}, "3EB0FF"), ({"zaapId": "39AA"}, "39AA"), ({"messageId": "3EB0FF"}, "3EB0FF")],
)
def test_any_handle_is_enough(answer: dict[str, str], message_id: str):
    result = classify(200, body(answer))
    assert (result.verdict, result.provider_message_id) == (Verdict.ACEITA, message_id)


NOT_SENT = {
    "no Client-Token": (
        (403, {"error": "null not allowed"}),
        (ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, True),
    ),
    "wrong Client-Token": (
        (400, {"error": "CLIENTE-INVENTADO not allowed"}),
        (ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, True),
    ),
    "address not on the allow-list": (
        (401, {"error": "203.0.113.9 not allowed"}),
        (ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, True),
    ),
    "invalid phone": (
        (400, {"error": "Invalid phone"}),
        (ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.INVALID_NUMBER, False),
    ),
    "wrong method": ((405, {}), (ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, False)),
    "missing content type": ((415, {}), (ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, False)),
}

UNKNOWN = {
    "200 without a handle": (
        (200, b"{}"),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None),
    ),
    "200 with an error": (
        (200, body({"error": "null not allowed"})),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None),
    ),
    "200 that is not JSON": ((200, b"ok"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201, which nobody documents": (
        (201, body(QUEUED)),
        (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.INVALID_REPLY, None),
    ),
    "an error without a documented text": (
        (400, body({"error": "Something else"})),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "401 without the documented text": (
        (401, body({"error": "Unauthorized"})),
        (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, None),
    ),
    "a word of restriction": (
        (400, body({"error": "Number banned"})),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.BANNED, 30 * MINUTE),
    ),
    "invalid phone in a 500": (
        (500, body({"error": "Invalid phone"})),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None),
    ),
    "404": ((404, b"{}"), (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, None)),
    "429": ((429, b""), (ErrorKind.RATE_LIMIT, Fault.CHIP, Code.RATE_LIMITED, 5 * MINUTE)),
    "502": ((502, b"<html>"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None)),
    "503": ((503, b"<html>"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, 5 * MINUTE)),
}


@pytest.mark.parametrize("case", NOT_SENT)
def test_documented_refusals_prove_that_nothing_was_sent(case: str):
    (status, answer), (kind, fault, code, retryable) = NOT_SENT[case]
    result = classify(status, body(answer))
    assert result.verdict is Verdict.NAO_ENVIADA
    assert (result.kind, result.fault, result.code, result.retryable) == (kind, fault, code, retryable)


@pytest.mark.parametrize("case", UNKNOWN)
def test_every_other_answer_is_unknown(case: str):
    (status, raw), (kind, fault, code, cooldown) = UNKNOWN[case]
    result = classify(status, raw)
    assert result.verdict is Verdict.DESCONHECIDA
    assert (result.kind, result.fault, result.code, result.cooldown) == (kind, fault, code, cooldown)


def test_a_rejected_token_is_not_echoed():
    assert classify(403, body({"error": "OUTRO-TOKEN-QUALQUER not allowed"})).detail == "[oculto] not allowed"


@pytest.mark.parametrize(
    ("status", "answer", "connected", "state", "kind"),
    [
        (200, CONNECTED, True, State.OPEN, None),
        (200, {"connected": True, "smartphoneConnected": False}, True, State.OPEN, None),
        (200, {"connected": False, "error": "You are not connected."}, False, State.CLOSE, None),
        (200, {"connected": False, "error": "You need to restore the session."}, False, State.CLOSE, None),
        (200, {"connected": "true"}, False, State.UNKNOWN, ErrorKind.DESCONHECIDO),
        (200, {}, False, State.UNKNOWN, ErrorKind.DESCONHECIDO),
        (403, {"error": "null not allowed"}, False, State.UNKNOWN, ErrorKind.CREDENCIAL),
        (500, {}, False, State.UNKNOWN, ErrorKind.SERVIDOR),
    ],
)
def test_only_the_connected_field_says_connected(
    status: int, answer: dict[str, Any], connected: bool, state: State, kind: ErrorKind | None
):
    found = classify_state(status, body(answer))
    assert (found.connected, found.state, found.kind) == (connected, state, kind)


def send_against(
    handle: Callable[[httpx.Request], httpx.Response],
    chip: ChipAddress = CHIP,
    go_ahead: Callable[[], bool] | None = None,
) -> tuple[SendResult, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    def record(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handle(request)

    async def run() -> SendResult:
        async with httpx.AsyncClient(transport=httpx.MockTransport(record)) as client:
            return await ZapiProvider(client).send_text(
                chip, number=NUMBER, text="Olá", correlation_id="abc12345", go_ahead=go_ahead
            )

    return asyncio.run(run()), requests


def answering(status: Any, send: Any = QUEUED) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(200, json=status if request.method == "GET" else send)


def test_a_connected_chip_is_asked_first_and_then_gets_one_message():
    result, requests = send_against(answering(CONNECTED))
    assert result.verdict is Verdict.ACEITA
    base = "http://zapi.test/instances/INSTANCIA1/token/TOKEN-INVENTADO"
    assert [(r.method, str(r.url)) for r in requests] == [("GET", f"{base}/status"), ("POST", f"{base}/send-text")]
    assert json.loads(requests[1].content) == {"phone": NUMBER, "message": "Olá"}
    assert requests[1].headers["client-token"] == "CLIENTE-INVENTADO"
    assert requests[1].headers["x-correlation-id"] == "abc12345"


@pytest.mark.parametrize(
    ("status", "kind", "fault", "code", "cooldown"),
    [
        ({"connected": False}, ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, MINUTE),
        ({"connected": None}, ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, None),
    ],
)
def test_a_chip_not_known_to_be_connected_gets_no_message(
    status: dict[str, Any], kind: ErrorKind, fault: Fault, code: Code, cooldown: timedelta | None
):
    result, requests = send_against(answering(status))
    assert (result.verdict, result.retryable) == (Verdict.NAO_ENVIADA, True)
    assert (result.kind, result.fault, result.code, result.cooldown) == (kind, fault, code, cooldown)
    assert [request.method for request in requests] == ["GET"]


def test_a_withdrawal_is_asked_for_after_the_status_and_before_the_message():
    result, requests = send_against(answering(CONNECTED), go_ahead=lambda: False)
    assert (result.verdict, result.code) == (Verdict.NAO_ENVIADA, Code.WITHDRAWN)
    assert [request.method for request in requests] == ["GET"]


@pytest.mark.parametrize(
    "chip", [replace(CHIP, base_url=""), replace(CHIP, zapi_instance_id=""), replace(CHIP, zapi_token="")]
)
def test_missing_credentials_open_no_connection(chip: ChipAddress):
    result, requests = send_against(answering(CONNECTED), chip)
    assert (result.verdict, result.code) == (Verdict.NAO_ENVIADA, Code.CREDENTIALS_MISSING)
    assert requests == []


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (closes, ErrorKind.REDE),
        (resets, ErrorKind.REDE),
        (stays_silent, ErrorKind.TIMEOUT),
        (answers(http_answer(200, b"not json")), ErrorKind.DESCONHECIDO),
    ],
)
def test_a_status_that_cannot_be_known_means_not_sent(ending: Behaviour, kind: ErrorKind):
    result, posts = send_on_the_wire(ending)
    assert (result.verdict, result.kind, result.retryable) == (Verdict.NAO_ENVIADA, kind, True)
    assert posts == 0


@pytest.mark.parametrize(("ending", "kind"), [(closes, ErrorKind.REDE), (stays_silent, ErrorKind.TIMEOUT)])
def test_a_message_whose_answer_is_lost_is_unknown_and_written_once(ending: Behaviour, kind: ErrorKind):
    result, posts = send_on_the_wire(answers(http_answer(200, body(CONNECTED))), ending)
    assert (result.verdict, result.kind) == (Verdict.DESCONHECIDA, kind)
    assert posts == 1


def send_on_the_wire(*behaviours: Behaviour) -> tuple[SendResult, int]:
    async def run() -> tuple[SendResult, int]:
        async with wire_server(*behaviours) as server, new_client(read_s=0.25) as client:
            provider = ZapiProvider(client, status_read_s=0.25, status_total_s=0.5)
            chip = replace(CHIP, base_url=server.url)
            result = await provider.send_text(chip, number=NUMBER, text="Olá", correlation_id="abc12345")
            return result, sum(request.startswith(b"POST ") for request in server.requests)

    return asyncio.run(run())


def test_nothing_of_the_token_reaches_a_result():
    result, _ = send_on_the_wire(
        answers(http_answer(500, b"error at /instances/INSTANCIA1/token/TOKEN-INVENTADO/status"))
    )
    assert "TOKEN-INVENTADO" not in repr(result)


def test_set_webhook_points_every_webhook_at_the_address():
    requests: list[httpx.Request] = []

    async def run(answer: dict[str, Any]) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(200, json=answer)

        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            await ZapiProvider(client).set_webhook(CHIP, url="https://julia.test/webhooks/zapi/s/segredo-inventado")

    asyncio.run(run({"value": True}))
    assert requests[0].url.path.endswith("/update-every-webhooks")
    assert json.loads(requests[0].content) == {
        "value": "https://julia.test/webhooks/zapi/s/segredo-inventado",
        "notifySentByMe": True,
    }
    with pytest.raises(ProviderError) as caught:
        asyncio.run(run({"error": "https://julia.test/webhooks/zapi/s/segredo-inventado must be https"}))
    assert "segredo-inventado" not in str(caught.value)
