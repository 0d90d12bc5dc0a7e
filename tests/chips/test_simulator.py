"""The provider simulator as a real process over real HTTP: start, sends, searches, instances."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chips.management.commands.simulador import Command
from chips.simulator.client import SimulatorClient, SimulatorError, SimulatorProcess
from tests.chips.simulated import DOCTOR, message_of, send

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory")


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def simulator(process: SimulatorProcess) -> SimulatorProcess:
    process.reset()
    process.register("chip-01", phone="5511900000001", token="token-do-chip")
    return process


@pytest.fixture
def evolution(simulator: SimulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=simulator.evolution_url, headers={"apikey": simulator.apikey}, trust_env=False, timeout=10
    ) as client:
        yield client


# -- recognition and start ------------------------------------------------------------------------------------------


def test_only_the_holder_of_the_nonce_is_recognised(simulator: SimulatorProcess) -> None:
    assert simulator.proves()
    assert simulator.proves(simulator.evolution_url)
    assert simulator.proves(simulator.zapi_url)
    with SimulatorClient(simulator.base_url, "outro-nonce") as stranger:
        assert not stranger.proves()


def test_control_without_the_nonce_is_refused(simulator: SimulatorProcess) -> None:
    with (
        SimulatorClient(simulator.base_url, "outro-nonce") as stranger,
        pytest.raises(SimulatorError, match="401"),
    ):
        stranger.truth()


def test_it_refuses_to_start_in_production() -> None:
    words = [sys.executable, "-m", "chips.simulator", "--nonce", "x"]
    ended = subprocess.run(
        words, cwd=ROOT, env={"APP_ENV": "production"}, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 2
    assert "production" in ended.stderr


def test_the_command_refuses_production_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    options = vars(Command().create_parser("manage.py", "simulador").parse_args(["--latencia-ms", "80-250"]))
    with pytest.raises(SystemExit) as ended:
        Command().handle(**options)
    assert ended.value.code == 2


def test_it_needs_no_django() -> None:
    code = "import sys, chips.simulator.__main__, chips.simulator.client; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=False).returncode == 0


def test_it_ends_with_its_starter() -> None:
    running = SimulatorProcess()
    running.start()
    child = running._process
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdin = None
    running.stop()


# -- sendText -------------------------------------------------------------------------------------------------------


def test_a_send_answers_the_contract_body_and_is_on_the_wire(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    response = send(evolution, "Olá, doutora")
    body = response.json()
    assert response.status_code == 201
    assert list(body) == [
        "key",
        "pushName",
        "status",
        "message",
        "contextInfo",
        "messageType",
        "messageTimestamp",
        "instanceId",
        "source",
    ]
    assert body["key"]["remoteJid"] == f"{DOCTOR}@s.whatsapp.net"
    assert len(body["key"]["id"]) == 22
    assert (body["status"], body["message"]) == ("PENDING", {"conversation": "Olá, doutora"})
    (record,) = simulator.truth().records
    assert (record.chip, record.recipient, record.text) == ("chip-01", DOCTOR, "Olá, doutora")
    assert (record.key_id, record.delivered) == (body["key"]["id"], True)


@pytest.mark.parametrize(
    ("number", "jid"),
    [
        ("5541990007777", "554190007777"),
        ("5531970007777", "553170007777"),
        ("5541960007777", "5541960007777"),
        ("5521990007777", "5521990007777"),
    ],
)
def test_the_ninth_digit_is_lost_from_area_31_before_7_8_or_9(
    simulator: SimulatorProcess, evolution: httpx.Client, number: str, jid: str
) -> None:
    assert send(evolution, number=number).json()["key"]["remoteJid"] == f"{jid}@s.whatsapp.net"
    assert simulator.truth().records[0].recipient == number


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"number": DOCTOR}, 400, [['instance requires property "text"']]),
        ({"text": "Oi"}, 400, [['instance requires property "number"']]),
        ({"number": 5511900001111, "text": "Oi"}, 400, [["Invalid format"]]),
        ({"number": DOCTOR, "text": "  "}, 400, ["Text is required"]),
        ({"number": DOCTOR, "text": "Oi", "delay": "10"}, 400, [["Enter a value in milliseconds"]]),
        ({"number": "120363000000000000@g.us", "text": "Oi"}, 400, ["[object Object]"]),
    ],
)
def test_a_bad_request_is_refused_in_the_server_words(
    simulator: SimulatorProcess, evolution: httpx.Client, body: dict[str, Any], status: int, message: Any
) -> None:
    response = evolution.post("/message/sendText/chip-01", json=body)
    assert response.status_code == status
    assert message_of(response) == message
    assert simulator.truth().total == 0


def test_malformed_json_says_internal_error_with_status_400(evolution: httpx.Client) -> None:
    response = evolution.post("/message/sendText/chip-01", content=b'{"number": }')
    assert response.status_code == 400
    assert response.json()["error"] == "Internal Server Error"


def test_an_unknown_instance_is_404_even_without_a_key(evolution: httpx.Client) -> None:
    response = evolution.post("/message/sendText/x", headers={"apikey": ""}, json={"number": DOCTOR, "text": "Oi"})
    assert response.status_code == 404
    assert message_of(response) == ['The "x" instance does not exist']


@pytest.mark.parametrize(("key", "status"), [("errada", 401), ("", 401), ("token-do-chip", 201)])
def test_the_global_key_and_the_instance_token_open_an_instance(evolution: httpx.Client, key: str, status: int) -> None:
    body = {"number": DOCTOR, "text": "Oi"}
    assert evolution.post("/message/sendText/chip-01", headers={"apikey": key}, json=body).status_code == status


def test_an_instance_token_lists_only_its_own_instance(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.register("chip-02", phone="5511900000002")
    assert [chip["name"] for chip in evolution.get("/instance/fetchInstances").json()] == ["chip-01", "chip-02"]
    own = evolution.get("/instance/fetchInstances", headers={"apikey": "token-do-chip"}).json()
    assert [chip["name"] for chip in own] == ["chip-01"]


def test_a_wrong_method_is_an_unknown_route(evolution: httpx.Client) -> None:
    assert message_of(evolution.put("/instance/restart/chip-01")) == ["Cannot PUT /instance/restart/chip-01"]


def test_a_number_that_does_not_exist_is_the_one_clean_failure(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    simulator.fault("inexistente", numbers=[DOCTOR])
    response = send(evolution)
    assert response.status_code == 400
    assert message_of(response) == [{"jid": f"{DOCTOR}@s.whatsapp.net", "exists": False, "number": DOCTOR}]
    assert simulator.truth().total == 0


def test_a_caller_who_gives_up_does_not_cancel_the_send(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        evolution.post("/message/sendText/chip-01", json={"number": DOCTOR, "text": "Oi", "delay": 400}, timeout=0.1)
    assert simulator.wait_for(lambda truth: truth.total == 1).records[0].text == "Oi"


@pytest.mark.parametrize(
    ("never_connected", "known", "status", "message"),
    [
        (True, False, 500, "Cannot read properties of undefined (reading 'onWhatsApp')"),
        (False, False, 500, "Connection Closed"),
        (False, True, 400, ["Error: Connection Closed"]),
    ],
)
def test_a_disconnected_chip_answers_by_its_past_and_the_number_cache(
    simulator: SimulatorProcess,
    evolution: httpx.Client,
    never_connected: bool,
    known: bool,
    status: int,
    message: Any,
) -> None:
    if known:
        send(evolution)
    simulator.register("chip-01", phone="5511900000001", state="close", never_connected=never_connected)
    response = send(evolution, "depois")
    assert (response.status_code, message_of(response)) == (status, message)
    assert all(record.text != "depois" for record in simulator.truth().records)


def test_a_dead_socket_coexists_with_state_open(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.fault("desconectado", instance="chip-01")
    assert send(evolution).status_code == 500
    assert evolution.get("/instance/connectionState/chip-01").json()["instance"]["state"] == "open"
    checked = evolution.post("/chat/whatsappNumbers/chip-01", json={"numbers": [DOCTOR]})
    assert checked.json()["output"]["statusCode"] == 428


# -- searches and instances -----------------------------------------------------------------------------------------


def test_a_search_finds_a_sent_message_only_with_the_right_filter(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    for n in range(3):
        send(evolution, f"mensagem {n}")
    simulator.wait_quiet()
    window = {"gte": "2020-01-01T00:00:00.000Z", "lte": "2099-01-01T00:00:00.000Z"}
    totals = {
        "jid": {"key": {"remoteJid": f"{DOCTOR}@s.whatsapp.net"}},
        "digits": {"key": {"remoteJid": DOCTOR}},
        "text": {"message": {"conversation": "outra"}},
        "from_them": {"key": {"fromMe": False}},
        "window": {"messageTimestamp": window},
        "one_bound": {"messageTimestamp": {"gte": "2099-01-01T00:00:00.000Z"}},
        "epoch": {"messageTimestamp": {"gte": 1577836800, "lte": 4070908800}},
    }
    found = {
        name: evolution.post("/chat/findMessages/chip-01", json={"where": where}).json()["messages"]["total"]
        for name, where in totals.items()
    }
    assert found == {
        "jid": 3,
        "digits": 0,
        "text": 3,
        "from_them": 3,
        "window": 3,
        "one_bound": 3,
        "epoch": 0,
    }


def test_offset_is_the_page_size(evolution: httpx.Client) -> None:
    for n in range(3):
        send(evolution, f"mensagem {n}")
    page = evolution.post("/chat/findMessages/chip-01", json={"where": {}, "offset": 2, "page": 2}).json()["messages"]
    assert (page["total"], page["pages"], page["currentPage"], len(page["records"])) == (3, 2, 2, 1)


def test_the_status_steps_of_a_message_are_found_by_its_key(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    key_id = send(evolution).json()["key"]["id"]
    simulator.wait_quiet()
    steps = evolution.post("/chat/findStatusMessage/chip-01", json={"where": {"id": key_id}}).json()
    assert [step["status"] for step in steps][:2] == ["SERVER_ACK", "DELIVERY_ACK"]
    assert evolution.post("/chat/findStatusMessage/chip-01", json={"where": {"id": "nada"}}).json() == []


def test_an_unloaded_instance_has_no_state(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.set_state("chip-01", "ausente")
    assert evolution.get("/instance/connectionState/chip-01").json() == {"instance": {"instanceName": "chip-01"}}


def test_restart_reports_the_old_state_and_comes_back(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    assert evolution.post("/instance/restart/chip-01").json()["instance"]["state"] == "open"
    simulator.wait_quiet()
    assert simulator.chips()["chip-01"]["state"] == "open"
    simulator.set_state("chip-01", "close")
    assert evolution.post("/instance/restart/chip-01").json() == {"error": True, "message": "[object Object]"}


def test_logout_ends_the_session_and_leaves_its_reason(evolution: httpx.Client) -> None:
    assert evolution.delete("/instance/logout/chip-01").json()["status"] == "SUCCESS"
    (listed,) = evolution.get("/instance/fetchInstances").json()
    assert (listed["connectionStatus"], listed["disconnectionReasonCode"]) == ("close", 401)
    assert evolution.delete("/instance/logout/chip-01").status_code == 400


def test_connecting_a_closed_instance_shows_a_qr_code(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.set_state("chip-01", "close")
    assert evolution.get("/instance/connect/chip-01").json()["count"] == 1
    assert simulator.chips()["chip-01"]["state"] == "connecting"


def test_settings_need_all_six_booleans(evolution: httpx.Client) -> None:
    assert evolution.post("/settings/set/chip-01", json={"rejectCall": True}).status_code == 400
    whole = evolution.post("/settings/set/chip-01", json=dict.fromkeys(SETTINGS, True))
    assert whole.status_code == 201
    assert evolution.get("/settings/find/chip-01").json()["rejectCall"] is True
