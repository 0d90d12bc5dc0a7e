"""Contracts §1.6 row by row, over the bodies that an Evolution API 2.3.6 was seen to answer."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chips.providers.base import (
    ChipAddress,
    Code,
    ErrorKind,
    Fault,
    Provider,
    ProviderError,
    SendResult,
    State,
    Verdict,
)
from chips.providers.evolution import EvolutionProvider
from chips.providers.evolution_contract import classify, classify_state
from chips.providers.registry import UnknownProviderError, provider_for
from chips.providers.zapi import ZapiProvider

CHIP = ChipAddress(
    chip_id=UUID(int=1),
    provider="evolution",
    base_url="http://evolution.test",
    instance_name="julia_5511900000009",
    api_key="CHAVE-INVENTADA-1",
)
NUMBER = "5511900000001"
MINUTE = timedelta(minutes=1)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def envelope(status: int, message: Any, error: str | None = None) -> bytes:
    names = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}
    return body({"status": status, "error": error or names[status], "response": {"message": message}})


def sent(jid: str | None = "5511900000001@s.whatsapp.net", **key: Any) -> bytes:
    return body(
        {
            "key": {"remoteJid": jid, "fromMe": True, "id": "3EB04EDF20D84BC460954E", **key},
            "pushName": "Voce",
            "status": "PENDING",
            "message": {"conversation": "..."},
            "messageTimestamp": 1795167847,
        }
    )


NOT_SENT = {
    "number not on WhatsApp": (
        (400, envelope(400, [{"jid": "551190000001@s.whatsapp.net", "exists": False, "number": "551190000001"}])),
        (ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.NOT_ON_WHATSAPP, False, None),
    ),
    "number not on WhatsApp, without the response level": (
        (400, body({"message": [{"jid": "551190000001@s.whatsapp.net", "exists": False, "number": "551190000001"}]})),
        (ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.NOT_ON_WHATSAPP, False, None),
    ),
    "schema error": (
        (400, envelope(400, [['instance requires property "text"']])),
        (ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, False, None),
    ),
    "malformed JSON": (
        (400, envelope(400, "Unexpected token } in JSON at position 42", error="Internal Server Error")),
        (ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, False, None),
    ),
    "wrong key, or the server's database down": (
        (401, envelope(401, "Unauthorized")),
        (ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, True, None),
    ),
    "unknown instance": (
        (404, envelope(404, ['The "julia_5511900000009" instance does not exist'])),
        (ErrorKind.SESSAO, Fault.CHIP, Code.INSTANCE_NOT_FOUND, True, MINUTE),
    ),
    "unknown route": (
        (404, envelope(404, ["Cannot POST /message/sendText/julia_5511900000009"])),
        (ErrorKind.INTERNO, Fault.NOS, Code.ROUTE_NOT_FOUND, True, None),
    ),
    "instance not loaded": (
        (500, envelope(500, "Cannot read properties of undefined (reading 'onWhatsApp')")),
        (ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, True, MINUTE),
    ),
    "closed at the check": (
        (500, envelope(500, "Connection Closed")),
        (ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, True, MINUTE),
    ),
    "timed out at the check": (
        (500, envelope(500, "Timed Out")),
        (ErrorKind.TIMEOUT, Fault.CHIP, Code.TIMEOUT, True, MINUTE),
    ),
    "throttled at the check": (
        (500, envelope(500, "rate-overlimit")),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.RATE_LIMITED, True, 30 * MINUTE),
    ),
    "refused at the check": (
        (500, envelope(500, "forbidden")),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, True, 60 * MINUTE),
    ),
    "contacts unreadable before the send": (
        (500, envelope(500, "Invalid `this.prismaRepository.contact.findMany()` invocation")),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, True, None),
    ),
    "number cache unreadable before the send": (
        (500, envelope(500, "Invalid `prismaRepository.isOnWhatsapp.findMany()` invocation")),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, True, None),
    ),
}

UNKNOWN = {
    "201 without key.id": ((201, body({"key": {}})), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201 with an empty id": ((201, sent(id="")), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201 with a numeric id": ((201, sent(id=7)), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201 that is a list": ((201, b"[]"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201 that is not JSON": ((201, b"<html>"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "201 cut in the middle": ((201, sent()[:50]), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "200 with an error inside": (
        (200, body({"error": True, "message": "[object Object]"})),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, None),
    ),
    "204": ((204, b""), (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.INVALID_REPLY, None)),
    "closed while sending": (
        (400, envelope(400, ["Error: Connection Closed"])),
        (ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, MINUTE),
    ),
    "timed out while sending": (
        (400, envelope(400, ["Error: Timed Out"])),
        (ErrorKind.TIMEOUT, Fault.CHIP, Code.TIMEOUT, MINUTE),
    ),
    "no session keys": (
        (400, envelope(400, ["Error: No sessions"])),
        (ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, MINUTE),
    ),
    "no session keys, real server": (
        (400, envelope(400, ["SessionError: No sessions"])),
        (ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, MINUTE),
    ),
    "an object turned text": (
        (400, envelope(400, ["[object Object]"])),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "sent, then its own database failed": (
        (400, envelope(400, ["PrismaClientKnownRequestError: \nInvalid `message.create()` invocation"])),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None),
    ),
    "a programming error of the server": (
        (400, envelope(400, ["TypeError: Cannot read properties of undefined (reading 'sendMessage')"])),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "400 with an empty object": ((400, b"{}"), (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE)),
    "the check's answer with exists true": (
        (400, envelope(400, [{"exists": True, "number": NUMBER}])),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "exists as a text": (
        (400, envelope(400, [{"exists": "false", "number": NUMBER}])),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "ambiguous 400 with a word of restriction": (
        (400, envelope(400, ["Error: account restricted"])),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, 30 * MINUTE),
    ),
    "500 with a word of restriction": (
        (500, envelope(500, "Too many messages")),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.RATE_LIMITED, 30 * MINUTE),
    ),
    "check-stage text as a list is not the listed answer": (
        (500, envelope(500, ["Connection Closed"])),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None),
    ),
    "check-stage text with another status": (
        (502, body({"status": 502, "error": "x", "response": {"message": "Connection Closed"}})),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None),
    ),
    "server's database down, global key": (
        (500, envelope(500, "Can't reach database server at `db:5432`")),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None),
    ),
    "name in use": (
        (403, envelope(403, ['This name "x" is already in use.'])),
        (ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, 60 * MINUTE),
    ),
    "a proxy's 403": (
        (403, b"<html>Forbidden</html>"),
        (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, None),
    ),
    "a proxy's 404": ((404, b"404 page not found"), (ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, None)),
    "a proxy's 429": (
        (429, b"<html>too many requests</html>"),
        (ErrorKind.RATE_LIMIT, Fault.CHIP, Code.RATE_LIMITED, 5 * MINUTE),
    ),
    "a proxy's 502": ((502, b"<html>502</html>"), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None)),
    "a proxy's 503, whose words are not the chip's": (
        (503, b"<html>503 Service Temporarily Unavailable</html>"),
        (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, 5 * MINUTE),
    ),
    "a proxy's 504": ((504, b""), (ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, None)),
    "JSON nested beyond reason": (
        (400, b"[" * 200_000),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
    "an integer beyond reason": (
        (400, b'{"status":' + b"9" * 10_000 + b"}"),
        (ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, 15 * MINUTE),
    ),
}


@pytest.mark.parametrize("case", NOT_SENT)
def test_listed_answers_prove_that_nothing_was_sent(case: str):
    (status, raw), (kind, fault, code, retryable, cooldown) = NOT_SENT[case]
    result = classify(status, raw, number=NUMBER)
    assert result.verdict is Verdict.NAO_ENVIADA
    assert (result.kind, result.fault, result.code) == (kind, fault, code)
    assert (result.retryable, result.cooldown, result.http_status) == (retryable, cooldown, status)


@pytest.mark.parametrize("case", UNKNOWN)
def test_every_other_answer_is_unknown_and_never_retryable(case: str):
    (status, raw), (kind, fault, code, cooldown) = UNKNOWN[case]
    result = classify(status, raw, number=NUMBER)
    assert result.verdict is Verdict.DESCONHECIDA
    assert (result.kind, result.fault, result.code) == (kind, fault, code)
    assert (result.retryable, result.cooldown, result.http_status) == (False, cooldown, status)


@pytest.mark.parametrize("status", [200, 201])
def test_an_id_means_accepted(status: int):
    result = classify(status, sent(), number=NUMBER)
    assert result == SendResult(
        Verdict.ACEITA,
        Code.OK,
        provider_message_id="3EB04EDF20D84BC460954E",
        remote_jid="5511900000001@s.whatsapp.net",
        http_status=status,
    )
    assert result.reason_code == "ok"


@pytest.mark.parametrize(
    ("number", "jid", "misdelivered"),
    [
        ("5541990000001", "5541990000001@s.whatsapp.net", False),
        ("5541980000001", "554180000001@s.whatsapp.net", False),
        ("5541980000001", "5541980000001:12@s.whatsapp.net", False),
        ("5541980000001", "111222333444@lid", False),
        ("5541980000001", None, False),
        ("5511933334444", "551133334444@s.whatsapp.net", True),
        ("5511900000001", "5511900000002@s.whatsapp.net", True),
        ("5511900000001", "120363000000000000@g.us", True),
    ],
)
def test_accepted_for_somebody_else_is_flagged(number: str, jid: str | None, misdelivered: bool):
    result = classify(201, sent(jid), number=number)
    assert (result.verdict, result.misdelivered) == (Verdict.ACEITA, misdelivered)
    assert result.remote_jid == jid


def test_digits_inside_a_text_decide_nothing():
    result = classify(400, envelope(400, ["Error: msg to 5511940012345 failed with 401 after 500 ms"]))
    assert (result.verdict, result.code) == (Verdict.DESCONHECIDA, Code.UNKNOWN)
    assert "5511940012345" not in result.detail


def test_words_of_restriction_in_a_long_text_may_be_our_own_words():
    quoted = "PrismaX " + "x" * 200 + " isto não é spam"
    assert classify(400, envelope(400, [quoted])).kind is ErrorKind.DESCONHECIDO


def test_the_detail_is_short_and_keeps_no_secret():
    raw = envelope(400, [f"failed for apikey CHAVE-INVENTADA-1 and {NUMBER}: Olá, doutora Ana"])
    detail = classify(400, raw, secrets=("CHAVE-INVENTADA-1", "Olá, doutora Ana")).detail
    assert detail == "failed for apikey [oculto] and ***0001: [oculto]"
    assert len(classify(400, envelope(400, ["x" * 5000])).detail) == 200


def test_the_reason_code_names_the_code_and_at_most_80_characters():
    result = classify(400, envelope(400, ["y" * 300]))
    assert result.reason_code == "unknown:" + "y" * 80


@pytest.mark.parametrize(
    "broken",
    [
        {"retryable": True},
        {"kind": None},
        {"fault": None},
        {"verdict": Verdict.ACEITA},
        {"verdict": Verdict.ACEITA, "kind": None, "fault": None},
    ],
)
def test_a_result_that_contradicts_itself_cannot_be_built(broken: dict[str, Any]):
    unknown = SendResult(Verdict.DESCONHECIDA, Code.UNKNOWN, kind=ErrorKind.REDE, fault=Fault.PROVEDOR)
    with pytest.raises(ValueError, match=r"a result|an accepted|only what"):
        replace(unknown, **broken)


@pytest.mark.parametrize(
    ("status", "raw", "connected", "state", "kind"),
    [
        (200, body({"instance": {"instanceName": "x", "state": "open"}}), True, State.OPEN, None),
        (200, body({"instance": {"instanceName": "x", "state": "close"}}), False, State.CLOSE, None),
        (200, body({"instance": {"instanceName": "x", "state": "connecting"}}), False, State.CONNECTING, None),
        (200, body({"instance": {"instanceName": "x"}}), False, State.UNKNOWN, None),
        (200, body({"instance": {"instanceName": "x", "state": {"a": 1}}}), False, State.UNKNOWN, None),
        (200, body({"state": "open"}), False, State.UNKNOWN, ErrorKind.DESCONHECIDO),
        (404, envelope(404, ['The "x" instance does not exist']), False, State.CLOSE, None),
        (401, envelope(401, "Unauthorized"), False, State.UNKNOWN, ErrorKind.CREDENCIAL),
        (500, envelope(500, "Can't reach database server"), False, State.UNKNOWN, ErrorKind.SERVIDOR),
        (502, b"<html>", False, State.UNKNOWN, ErrorKind.SERVIDOR),
    ],
)
def test_connection_state(status: int, raw: bytes, connected: bool, state: State, kind: ErrorKind | None):
    found = classify_state(status, raw)
    assert (found.connected, found.state, found.kind) == (connected, state, kind)


class Recorded:
    """A transport that answers as told and remembers what it was asked."""

    def __init__(self, status: int, raw: bytes) -> None:
        self.requests: list[httpx.Request] = []
        self.answer = (status, raw)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.answer[0], content=self.answer[1])


def test_an_unusable_message_or_address_is_refused_before_the_wire():
    recorded = Recorded(201, sent())

    async def run(chip: ChipAddress, number: str = NUMBER, text: str = "oi") -> SendResult:
        provider = EvolutionProvider(recorded.client())
        return await provider.send_text(chip, number=number, text=text, correlation_id="c1")

    permanent = [
        asyncio.run(run(CHIP, number="0")),
        asyncio.run(run(CHIP, number="+5511900000001")),
        asyncio.run(run(CHIP, number="5511 90000-0001")),
        asyncio.run(run(CHIP, text="  \n")),
        asyncio.run(run(CHIP, text="\ud800")),
    ]
    for result in permanent:
        assert (result.verdict, result.kind, result.retryable) == (Verdict.NAO_ENVIADA, ErrorKind.INTERNO, False)
    of_this_chip = [
        asyncio.run(run(replace(CHIP, base_url="http://evolution..br"))),
        asyncio.run(run(replace(CHIP, base_url="evolution.test"))),
        asyncio.run(run(replace(CHIP, base_url="http://evolution.test:99999"))),
        asyncio.run(run(replace(CHIP, api_key="chave\n"))),
        asyncio.run(run(replace(CHIP, api_key=""))),
        asyncio.run(run(replace(CHIP, instance_name=""))),
        asyncio.run(run(replace(CHIP, base_url=""))),
    ]
    for result in of_this_chip:
        assert (result.verdict, result.kind, result.fault) == (Verdict.NAO_ENVIADA, ErrorKind.CREDENCIAL, Fault.NOS)
        assert result.retryable
    assert recorded.requests == []


def test_the_instance_name_cannot_leave_its_path_segment():
    recorded = Recorded(201, sent())
    chip = replace(CHIP, base_url="http://evolution.test/base/", instance_name="a/b?c d")
    asyncio.run(EvolutionProvider(recorded.client()).send_text(chip, number=NUMBER, text="oi", correlation_id="c1"))
    assert recorded.requests[0].url.raw_path == b"/base/message/sendText/a%2Fb%3Fc%20d"


def test_instances_are_listed_without_their_tokens():
    row = {
        "name": "julia_5511900000009",
        "connectionStatus": "close",
        "ownerJid": "5511900000009@s.whatsapp.net",
        "number": None,
        "token": "TOKEN-INVENTADO",
        "disconnectionReasonCode": 401,
        "disconnectionAt": "2026-01-23T17:04:00.000Z",
    }
    recorded = Recorded(200, body([row, {"nameless": 1}, "text"]))
    provider = EvolutionProvider(recorded.client())
    (info,) = asyncio.run(provider.fetch_instances(CHIP))
    assert (info.name, info.connection_status, info.disconnection_code) == ("julia_5511900000009", State.CLOSE, 401)
    assert info.disconnected_at == datetime(2026, 1, 23, 17, 4, tzinfo=UTC)
    assert "TOKEN-INVENTADO" not in repr(info)
    assert asyncio.run(provider.fetch_state(CHIP)) == info
    assert str(recorded.requests[-1].url).endswith("/instance/fetchInstances?instanceName=julia_5511900000009")


def test_an_instance_that_the_server_does_not_list_is_none_and_an_outage_is_an_error():
    missing = Recorded(404, envelope(404, ['Instance "julia_5511900000009" not found']))
    assert asyncio.run(EvolutionProvider(missing.client()).fetch_state(CHIP)) is None
    outage = Recorded(500, envelope(500, "Can't reach database server"))
    with pytest.raises(ProviderError) as caught:
        asyncio.run(EvolutionProvider(outage.client()).fetch_instances(CHIP))
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.SERVIDOR, 500)


def test_set_webhook_names_every_event_and_carries_the_secret_in_a_header():
    recorded = Recorded(201, b"{}")
    url = "https://julia.test/webhooks/evolution"
    asyncio.run(EvolutionProvider(recorded.client()).set_webhook(CHIP, url=url, secret="segredo-inventado"))
    request = recorded.requests[0]
    assert (request.method, request.url.path) == ("POST", "/webhook/set/julia_5511900000009")
    webhook = json.loads(request.content)["webhook"]
    assert webhook["headers"] == {"X-Instance-Secret": "segredo-inventado"}
    assert {"MESSAGES_UPSERT", "MESSAGES_UPDATE", "SEND_MESSAGE", "CONNECTION_UPDATE"} <= set(webhook["events"])


def test_set_webhook_that_is_refused_raises_without_repeating_the_secret():
    recorded = Recorded(400, envelope(400, ["bad header segredo-inventado"]))
    with pytest.raises(ProviderError) as caught:
        asyncio.run(
            EvolutionProvider(recorded.client()).set_webhook(CHIP, url="https://j.test", secret="segredo-inventado")
        )
    assert "segredo-inventado" not in str(caught.value)


def test_a_chip_address_never_prints_its_secrets():
    chip = replace(CHIP, zapi_token="TOKEN-INVENTADO", zapi_client_token="CLIENTE-INVENTADO")
    printed = repr(chip)
    assert "INVENTAD" not in printed
    assert chip.instance_name in printed


def test_the_registry_knows_both_providers_and_no_other():
    client = Recorded(200, b"").client()
    providers: list[Provider] = [provider_for("evolution", client), provider_for("z-api", client)]
    assert [type(provider) for provider in providers] == [EvolutionProvider, ZapiProvider]
    assert [provider.name for provider in providers] == ["evolution", "z-api"]
    with pytest.raises(UnknownProviderError):
        provider_for("meta", client)
