"""Webhooks: authenticated, stored once before the answer, and never refused for a fault of ours."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from chips.choices import ProviderName
from chips.models import Chip
from chips.webhooks.models import EventoRecebido
from core.clientes.models import ClienteJid
from tests import factories
from tests.chips.webhook_bodies import LID, PERSON, received, state, update, upsert, zapi_status

OPERATOR = "operator-token-of-the-tests"


# --- delivery: who may


@pytest.fixture
def chip(db: None) -> Chip:
    return factories.chip("chip-01", webhook_secret="secret-of-chip-01")


@pytest.fixture
def zapi_chip(db: None) -> Chip:
    return factories.chip(
        "zapi-01", provider=ProviderName.ZAPI, zapi_instance_id="ZAPI-1", webhook_secret="secret-of-zapi-01"
    )


@pytest.fixture(autouse=True)
def _operator(settings: Any) -> None:
    settings.WEBHOOK_SECRETS = ["another-token", OPERATOR]


def post(client: Client, path: str, body: Any, secret: str = OPERATOR, **headers: str) -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    sent = {"X-Instance-Secret": secret, **headers} if secret else headers
    return client.post(path, data, content_type="application/json", headers=sent)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhook/evolution", {"X-Instance-Secret": "secret-of-chip-01"}),
        ("/webhook/evolution", {"Authorization": "Bearer secret-of-chip-01"}),
        ("/webhook/evolution/s/secret-of-chip-01", {}),
        ("/webhooks/evolution/chip-01", {"X-Instance-Secret": "secret-of-chip-01"}),
        ("/webhooks/evolution/chip-01/s/secret-of-chip-01", {}),
        ("/webhooks/evolution/s/secret-of-chip-01", {}),
        ("/webhooks/evolution/", {"X-Instance-Secret": "secret-of-chip-01", "X-Instance-Name": "chip-01"}),
        ("/webhooks/evolution/chip-01", {"X-Instance-Secret": OPERATOR}),
        ("/webhook/evolution", {"Authorization": f"Bearer {OPERATOR}"}),
        ("/webhook/evolution/s/another-token", {}),
    ],
)
def test_the_chips_secret_or_an_operators_token_delivers(
    client: Client, chip: Chip, path: str, headers: dict[str, str]
) -> None:
    response = client.post(path, json.dumps(upsert()), content_type="application/json", headers=headers)
    assert (response.status_code, response.json()) == (200, {"status": "received"})
    assert EventoRecebido.objects.get().instance == "chip-01"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhooks/zapi", {"X-Instance-Secret": "secret-of-zapi-01"}),
        ("/webhooks/zapi/s/secret-of-zapi-01", {}),
        ("/webhooks/zapi", {"Authorization": f"Bearer {OPERATOR}"}),
    ],
)
def test_a_zapi_chip_is_known_by_its_instance_id(
    client: Client, zapi_chip: Chip, path: str, headers: dict[str, str]
) -> None:
    response = client.post(path, json.dumps(received()), content_type="application/json", headers=headers)
    assert (response.status_code, response.json()) == (200, {"status": "received"})
    event = EventoRecebido.objects.get()
    assert (event.provider, event.instance, event.pessoa) == ("z-api", "zapi-01", PERSON)


@pytest.mark.parametrize("secret", ["", "wrong", "secret-of-chip-02", "sécret"])
@pytest.mark.parametrize("instance", ["chip-01", "nobody"])
def test_without_a_valid_secret_it_is_401_whatever_the_instance(
    client: Client, chip: Chip, secret: str, instance: str
) -> None:
    factories.chip("chip-02", webhook_secret="secret-of-chip-02")
    headers = {"X-Instance-Secret": secret.encode().decode("latin-1")} if secret else {}
    body = json.dumps({**upsert(), "instance": instance})
    response = client.post(f"/webhooks/evolution/{instance}", body, content_type="application/json", headers=headers)
    assert response.status_code == 401
    assert not EventoRecebido.objects.exists()


def test_a_chip_without_a_secret_takes_an_operators_token_only(client: Client, db: None) -> None:
    factories.chip("chip-01", webhook_secret="")
    assert post(client, "/webhook/evolution", upsert(), secret="").status_code == 401
    assert post(client, "/webhook/evolution", upsert()).status_code == 200


@pytest.mark.parametrize("secret", ["secret-of-chip-01", OPERATOR])
def test_a_secret_does_not_speak_for_another_instance(client: Client, chip: Chip, secret: str) -> None:
    factories.chip("chip-02", webhook_secret="secret-of-chip-02")
    response = post(client, "/webhooks/evolution/chip-01", {**upsert(), "instance": "chip-02"}, secret)
    assert response.status_code == (400 if secret == OPERATOR else 401)
    assert not EventoRecebido.objects.exists()


def test_an_unknown_instance_with_an_operators_token_is_ignored(client: Client, db: None) -> None:
    response = post(client, "/webhook/evolution", upsert())
    assert (response.status_code, response.json()) == (200, {"status": "ignored", "reason": "unknown_instance"})


def test_a_chip_of_the_other_provider_is_unknown(client: Client, zapi_chip: Chip) -> None:
    response = post(client, "/webhooks/evolution/zapi-01", {**upsert(), "instance": "zapi-01"})
    assert response.json()["reason"] == "unknown_instance"


def test_a_missing_instance_is_an_invalid_payload(client: Client, db: None) -> None:
    body = {"event": "messages.upsert", "data": {}}
    assert post(client, "/webhooks/evolution/", body).status_code == 400
    assert post(client, "/webhooks/zapi", {"type": "ReceivedCallback"}).status_code == 400


def test_on_a_developers_machine_a_bare_call_delivers(client: Client, chip: Chip, settings: Any) -> None:
    settings.APP_ENV = "dev"
    local: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    body = json.dumps(upsert())
    assert client.post("/webhook/evolution", body, content_type="application/json", **local).status_code == 200
    wrong = client.post("/webhook/evolution/s/wrong", body, content_type="application/json", **local)
    assert wrong.status_code == 401


# --- delivery: what is taken


@pytest.mark.parametrize(
    "body",
    ["", "not json", "[1]", '"text"', "null", '{"event": NaN}', "{}", b"\xff\xfe\xfd", "[" * 100_000, '{"a":' * 5000],
)
def test_what_is_no_event_is_400(client: Client, chip: Chip, body: Any) -> None:
    response = post(client, "/webhooks/evolution/chip-01", body)
    assert (response.status_code, response.json()) == (400, {"status": "error", "reason": "invalid_payload"})


def test_a_body_over_one_megabyte_is_413(client: Client, chip: Chip) -> None:
    response = post(client, "/webhooks/evolution/chip-01", upsert(text="x" * 1_000_000))
    assert response.status_code == 413
    assert not EventoRecebido.objects.exists()


@pytest.mark.parametrize(("padding", "status"), [(0, 200), (1_000_000, 413)])
def test_a_body_in_chunks_is_read_to_the_same_limit(client: Client, chip: Chip, padding: int, status: int) -> None:
    """As gunicorn hands it over: no length, and an input that ends by itself."""
    environ: dict[str, Any] = {
        "wsgi.input": BytesIO(json.dumps(upsert(text="x" * padding)).encode()),
        "wsgi.input_terminated": True,
        "CONTENT_LENGTH": "",
        "HTTP_X_INSTANCE_SECRET": OPERATOR,
    }
    assert client.generic("POST", "/webhooks/evolution/chip-01", **environ).status_code == status


def test_only_post_delivers(client: Client, db: None) -> None:
    assert client.get("/webhook/evolution").status_code == 405


def test_the_same_event_again_is_a_duplicate(client: Client, chip: Chip) -> None:
    post(client, "/webhook/evolution", upsert())
    again = post(client, "/webhooks/evolution/chip-01", {**upsert(), "destination": "https://elsewhere.example"})
    assert (again.status_code, again.json()) == (200, {"status": "ignored", "reason": "duplicate"})
    assert EventoRecebido.objects.count() == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (update("DELIVERY_ACK"), update("READ")),
        (update("READ", "A"), update("READ", "B")),
        (upsert(), upsert({"id": "3A99"})),
        (state("connecting", at="10:00:00"), state("connecting", at="10:00:01")),
    ],
)
def test_what_differs_is_no_duplicate(client: Client, chip: Chip, first: Any, second: Any) -> None:
    post(client, "/webhook/evolution", first)
    assert post(client, "/webhook/evolution", second).json() == {"status": "received"}


def test_the_same_message_id_on_two_chips_is_two_messages(client: Client, chip: Chip) -> None:
    factories.chip("chip-02")
    post(client, "/webhook/evolution", upsert())
    assert post(client, "/webhook/evolution", {**upsert(), "instance": "chip-02"}).json() == {"status": "received"}


def test_a_zapi_receipt_for_several_messages_is_a_row_each(client: Client, zapi_chip: Chip) -> None:
    post(client, "/webhooks/zapi", zapi_status("RECEIVED", ["A", "B"]))
    post(client, "/webhooks/zapi", zapi_status("RECEIVED", ["B", "C"]))
    assert sorted(EventoRecebido.objects.values_list("key_id", flat=True)) == ["A", "B", "C"]


def test_content_that_was_waited_for_is_not_taken_for_a_duplicate(client: Client, zapi_chip: Chip) -> None:
    waiting = post(client, "/webhooks/zapi", {**received(waitingMessage=True), "text": None})
    assert waiting.json() == {"status": "ignored", "reason": "waiting_content"}
    assert post(client, "/webhooks/zapi", received()).json() == {"status": "received"}


def test_an_unknown_event_is_kept_as_ignored(client: Client, chip: Chip) -> None:
    response = post(client, "/webhook/evolution", {"event": "chats.update", "instance": "chip-01", "data": [{}]})
    assert response.json() == {"status": "ignored", "reason": "unknown_event"}
    event = EventoRecebido.objects.get()
    assert (event.kind, event.status, event.evento) == ("outro", "ignorado", "chats.update")
    assert event.processado_em is not None


def test_no_token_and_no_address_of_ours_is_stored(client: Client, chip: Chip) -> None:
    post(client, "/webhook/evolution", upsert())
    payload = EventoRecebido.objects.get().payload
    assert not {"apikey", "destination"} & set(payload)
    assert "a-secret" not in json.dumps(payload)
    assert payload["data"]["message"] == {"conversation": "pode ser amanhã?"}


def test_a_pairing_code_is_not_stored(client: Client, chip: Chip) -> None:
    data = {"qrcode": {"code": "2@pairing", "base64": "data:image/png;base64,AAAA"}}
    post(client, "/webhook/evolution", {"event": "qrcode.updated", "instance": "chip-01", "data": data})
    assert "pairing" not in json.dumps(EventoRecebido.objects.get().payload)


def test_characters_that_the_database_cannot_hold_do_not_lose_the_message(client: Client, chip: Chip) -> None:
    body = json.dumps(upsert({"id": "3A\x00"}, message={"conversation": "a\x00b"}, pushName="\ud800x"))
    assert post(client, "/webhook/evolution", body).json() == {"status": "received"}
    assert EventoRecebido.objects.get().payload["data"]["message"]["conversation"] == "a\ufffdb"


def test_names_longer_than_their_columns_do_not_lose_the_message(client: Client, chip: Chip) -> None:
    long = upsert({"id": "A" * 500})
    assert post(client, "/webhook/evolution", long).json() == {"status": "received"}
    assert post(client, "/webhook/evolution", long).json()["reason"] == "duplicate"
    assert post(client, "/webhook/evolution", upsert({"id": "A" * 499})).json() == {"status": "received"}


def test_an_event_by_lid_names_the_person_whom_the_map_knows(client: Client, chip: Chip) -> None:
    person = factories.cliente(telefone=PERSON)
    ClienteJid.objects.create(jid=LID, cliente=person, kind=ClienteJid.Kind.LID)
    post(client, "/webhook/evolution", upsert({"remoteJid": LID}))
    assert EventoRecebido.objects.get().pessoa == PERSON


def test_the_event_remembers_the_correlation_id(client: Client, chip: Chip) -> None:
    post(client, "/webhook/evolution", upsert(), **{"X-Correlation-ID": "abc12345"})
    assert EventoRecebido.objects.get().correlation_id == "abc12345"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/webhook/evolution", "/webhooks/zapi", "/webhook/whatsapp"])
def test_while_the_database_is_away_the_answer_is_503(client: Client, monkeypatch: Any, path: str) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    response = post(client, path, {**received(), **upsert()})
    assert (response.status_code, response.json()["reason"]) == (503, "unavailable")
    assert "Retry-After" in response.headers


def test_a_chip_whose_secret_cannot_be_decrypted_is_our_fault_and_waited_for(client: Client, chip: Chip) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chips SET webhook_secret = 'written-with-a-lost-key'")
    assert post(client, "/webhook/evolution", upsert()).status_code == 503


# --- the runbook's alias

RUNBOOK = {
    "phone": "5511900001234",
    "event": "message",
    "messageType": "text",
    "text": {"message": "Olá"},
    "fromMe": False,
    "momment": 1704556800000,
}


def test_the_runbooks_curl_is_taken_once_by_the_default_chip(client: Client, chip: Chip, zapi_chip: Chip) -> None:
    assert post(client, "/webhook/whatsapp", RUNBOOK).json() == {"status": "received"}
    assert post(client, "/webhook/whatsapp", RUNBOOK).json() == {"status": "ignored", "reason": "duplicate"}
    event = EventoRecebido.objects.get()
    assert (event.instance, event.pessoa, event.kind) == ("zapi-01", PERSON, "entrada")
    assert len(event.key_id) == 64


def test_another_time_or_text_is_another_message(client: Client, chip: Chip) -> None:
    for change in ({}, {"momment": 1704556800001}, {"text": {"message": "Oi"}}):
        assert post(client, "/webhook/whatsapp", {**RUNBOOK, **change}).json() == {"status": "received"}


def test_the_runbooks_alias_needs_credentials(client: Client, chip: Chip) -> None:
    assert post(client, "/webhook/whatsapp", RUNBOOK, secret="").status_code == 401
    assert post(client, "/webhook/whatsapp", {"event": "message"}).status_code == 400


def test_without_any_chip_the_runbooks_message_is_of_an_unknown_instance(client: Client, db: None) -> None:
    assert post(client, "/webhook/whatsapp", RUNBOOK).json()["reason"] == "unknown_instance"
