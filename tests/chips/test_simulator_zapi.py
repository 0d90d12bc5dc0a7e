"""The simulated Z-API: a queue that fires on reconnect, and callbacks that tell what the answer did not."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chips.simulator.client import SimulatorProcess
from tests.chips.simulated import DOCTOR, Receiver, receiving


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def simulator(process: SimulatorProcess, receiver: Receiver) -> SimulatorProcess:
    process.reset()
    process.register("z-01", phone="5511900000009", provider="z-api", token="zt", webhook_url=receiver.url)
    return process


@pytest.fixture
def zapi(simulator: SimulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{simulator.zapi_url}/instances/z-01/token/zt", trust_env=False) as client:
        yield client


def queue(zapi: httpx.Client, text: str, number: str = DOCTOR) -> httpx.Response:
    return zapi.post("/send-text", json={"phone": number, "message": text})


def test_a_queued_message_leaves_and_is_announced_in_steps(
    simulator: SimulatorProcess, receiver: Receiver, zapi: httpx.Client
) -> None:
    answer = queue(zapi, "Oi").json()
    assert answer["id"] == answer["messageId"]
    simulator.wait_quiet()
    (delivery,) = receiver.of_type("DeliveryCallback")
    assert (delivery["zaapId"], "error" in delivery) == (answer["zaapId"], False)
    statuses = receiver.of_type("MessageStatusCallback")
    assert [status["status"] for status in statuses][:2] == ["SENT", "RECEIVED"]
    assert statuses[0]["ids"] == [answer["messageId"]]
    (record,) = simulator.truth().records
    assert (record.recipient, record.key_id) == (DOCTOR, answer["messageId"])
    assert simulator.calls()[0].wire_seq == record.seq


def test_what_was_accepted_while_disconnected_fires_on_reconnect(
    simulator: SimulatorProcess, receiver: Receiver, zapi: httpx.Client
) -> None:
    simulator.set_state("z-01", "close")
    texts = ["uma", "duas", "três"]
    accepted = [queue(zapi, text).json() for text in texts]
    assert zapi.get("/status").json() == {
        "connected": False,
        "error": "You are not connected.",
        "smartphoneConnected": False,
    }
    listed = zapi.post("/queue", json={}).json()
    assert [entry["Message"] for entry in listed["messages"]] == texts
    assert zapi.delete(f"/queue/{accepted[1]['zaapId']}").status_code == 200
    assert simulator.truth().total == 0
    simulator.set_state("z-01", "open")
    simulator.wait_quiet()
    assert [record.text for record in simulator.truth().records] == ["uma", "três"]
    assert receiver.of_type("ConnectedCallback")[0]["momment"] > 10**11
    assert receiver.of_type("DisconnectedCallback")[0]["momment"] < 10**11


@pytest.mark.parametrize(
    ("kind", "parameters", "error", "left"),
    [
        ("restrito", {}, "WhatsApp did not allow sending this message", 0),
        ("inexistente", {"numbers": [DOCTOR]}, "Phone number does not exist", 0),
        ("erro_na_entrega", {}, "Timeout on send message", 0),
        ("erro_na_entrega", {"sends": True}, "Timeout on send message", 1),
    ],
)
def test_a_rejection_comes_by_webhook_not_in_the_answer(
    simulator: SimulatorProcess,
    receiver: Receiver,
    zapi: httpx.Client,
    kind: str,
    parameters: dict[str, Any],
    error: str,
    left: int,
) -> None:
    simulator.fault(kind, instance="z-01", **parameters)
    assert queue(zapi, "Oi").status_code == 200
    simulator.wait_quiet()
    assert [callback["error"] for callback in receiver.of_type("DeliveryCallback")] == [error]
    assert simulator.truth().total == left


@pytest.mark.parametrize(
    ("kind", "status", "left"), [("400_nao_enviou", 400, 0), ("400_enviou", 400, 1), ("500_nao_enviou", 500, 0)]
)
def test_an_error_answer_queues_or_not_as_named(
    simulator: SimulatorProcess, zapi: httpx.Client, kind: str, status: int, left: int
) -> None:
    simulator.fault(kind, instance="z-01")
    assert queue(zapi, "Oi").status_code == status
    simulator.wait_quiet()
    assert simulator.truth().total == left


def test_a_reset_after_queueing_still_sends(simulator: SimulatorProcess, zapi: httpx.Client) -> None:
    simulator.fault("reset_depois", instance="z-01")
    with pytest.raises(httpx.TransportError):
        queue(zapi, "Oi")
    assert simulator.wait_for(lambda truth: truth.total == 1).records[0].text == "Oi"


def test_an_inbound_arrives_as_received_callback(simulator: SimulatorProcess, receiver: Receiver) -> None:
    message_id = simulator.inbound("z-01", DOCTOR, "Quero saber mais", lid=True)
    simulator.wait_quiet()
    (callback,) = receiver.bodies
    assert (callback["type"], callback["messageId"], callback["phone"]) == ("ReceivedCallback", message_id, DOCTOR)
    assert (callback["text"], callback["fromMe"]) == ({"message": "Quero saber mais"}, False)
    assert callback["senderLid"].endswith("@lid")


def test_each_callback_can_have_its_own_address(
    simulator: SimulatorProcess, receiver: Receiver, zapi: httpx.Client
) -> None:
    simulator.register("z-01", phone="5511900000009", provider="z-api", token="zt", webhook_url="")
    assert zapi.put("/update-webhook-delivery", json={"value": receiver.url}).json() == {"value": True}
    queue(zapi, "Oi")
    simulator.wait_quiet()
    assert receiver.events("type") == ["DeliveryCallback"]


def test_the_account_token_is_asked_for_once_it_is_set(simulator: SimulatorProcess, zapi: httpx.Client) -> None:
    simulator.register("z-01", phone="5511900000009", provider="z-api", client_token="da-conta")
    refused = zapi.get("/status")
    assert (refused.status_code, refused.json()) == (403, {"error": "null not allowed"})
    assert zapi.get("/status", headers={"Client-Token": "da-conta"}).json()["connected"] is True


def test_phone_exists_comes_as_object_or_list(simulator: SimulatorProcess, zapi: httpx.Client) -> None:
    answer = {"exists": True, "phone": DOCTOR, "lid": None}
    assert zapi.get(f"/phone-exists/{DOCTOR}").json() == answer
    simulator.register("z-01", phone="5511900000009", provider="z-api", phone_exists_as_list=True)
    assert zapi.get(f"/phone-exists/{DOCTOR}").json() == [answer]


def test_wrong_requests_answer_in_the_vendor_words(zapi: httpx.Client) -> None:
    assert zapi.post("/send-text", json={"phone": "", "message": "Oi"}).json() == {"error": "Invalid phone"}
    assert zapi.get("/send-text").status_code == 405
    assert zapi.post("/send-text", content=b"{}").status_code == 415
