import pytest

from core.integrations.redaction import REDACTED, scrub, scrub_payload


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apikey: B6D711FCDE4D4FD5936544120E713976", "apikey: [oculto]"),
        ('{"apikey":"B6D711FC","x":1}', '{"apikey":"[oculto]","x":1}'),
        ("Client-Token=F1a2b3c4d5 ok", "Client-Token=[oculto] ok"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [oculto]"),
        ("sent with Bearer abcdefgh12345", "sent with Bearer [oculto]"),
        ("GET https://x.test/a?token=abc123&page=2", "GET https://x.test/a?token=[oculto]&page=2"),
        (
            "POST https://api.z-api.io/instances/3C9A/token/7F1B2C/send-text failed",
            "POST https://api.z-api.io/instances/[oculto]/token/[oculto]/send-text failed",
        ),
        ("https://hooks.slack.com/services/T0/B0/abcXYZ failed", "https://hooks.slack.com/services/[oculto] failed"),
        ("/webhooks/zapi/s/um-segredo 200", "/webhooks/zapi/[oculto] 200"),
        ("postgres://julia:senha123@db:5432/julia", "postgres://[oculto]@db:5432/julia"),
        (r'"{\"apikey\":\"B6D711FC\",\"x\":1}"', r'"{\"apikey\":\"[oculto]\",\"x\":1}"'),
    ],
)
def test_credentials_leave_the_text(text: str, expected: str):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to 5511900000001 failed", "to ***0001 failed"),
        ("to +5511900000001 failed", "to ***0001 failed"),
        ("5511900000001@s.whatsapp.net", "***0001@s.whatsapp.net"),
        ("julia_5511900000001", "julia_***0001"),
        ("(11) 90000-0001", "***0001"),
        ("+55 11 90000-0001", "***0001"),
        ("55 (11) 9 0000-0001", "***0001"),
        ("1190000-0001", "***0001"),
        ("11 3333-4444", "***4444"),
    ],
)
def test_telephones_keep_only_their_last_four_digits(text: str, expected: str):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-23 14:05:09 lote 123456 em 4500 ms",
        "2026-01-23T14:05:09+00:00",
        "192.168.100.200:5432",
        "campanha 16, 33 erros, 65 canceladas",
        "content_hash_window:duplicata",
        "3EB04EDF20D84BC460954E",
        "0d5ad3a5-6a52-4d0e-9a8b-111122223333",
    ],
)
def test_dates_addresses_counts_and_ids_stay(text: str):
    assert scrub(text) == text


def test_known_secrets_go_first_and_whole():
    assert scrub("chave-secreta-longa e chave-secreta", secrets=("chave-secreta", "chave-secreta-longa")) == (
        f"{REDACTED} e {REDACTED}"
    )


def test_a_secret_too_short_to_be_one_blanks_nothing():
    assert scrub("oi, ana", secrets=("oi", "")) == "oi, ana"


def test_scrubbing_twice_changes_nothing():
    text = "Authorization: Bearer abcdefgh1 apikey: abc123456 redis://u:p@h to 5511900000001 at https://api.z-api.io/instances/A/token/B/status"
    assert scrub(scrub(text)) == scrub(text)


def test_secret_fields_leave_a_payload_at_every_depth():
    payload = {
        "event": "messages.upsert",
        "apikey": "TOKEN",
        "destination": "https://julia.test/webhooks/evolution/s/segredo",
        "data": {"key": {"id": "3EB0", "remoteJid": "5511900000001@s.whatsapp.net"}, "token": "x", "Client-Token": "y"},
        "list": [{"hash": "z", "messageTimestamp": 1795168000}],
    }
    assert scrub_payload(payload) == {
        "event": "messages.upsert",
        "data": {"key": {"id": "3EB0", "remoteJid": "5511900000001@s.whatsapp.net"}},
        "list": [{"messageTimestamp": 1795168000}],
    }


def test_a_payload_keeps_what_people_wrote_and_who_wrote_it():
    payload = {"text": {"message": "meu token: 123, ligue 11 90000-0001"}, "phone": "5511900000001"}
    assert scrub_payload(payload) == payload


def test_known_secrets_leave_the_strings_of_a_payload():
    assert scrub_payload(["a chave-secreta b"], secrets=("chave-secreta",)) == [f"a {REDACTED} b"]


def test_a_payload_nested_beyond_reason_is_cut():
    payload: list[object] = []
    for _ in range(100_000):
        payload = [payload]
    depth, level = 0, scrub_payload(payload)
    while isinstance(level, list):
        depth, level = depth + 1, level[0]
    assert (depth, level) == (64, REDACTED)
