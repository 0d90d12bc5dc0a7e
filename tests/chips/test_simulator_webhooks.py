"""What the simulated Evolution tells Julia: echoes, acknowledgements, connection events, inbound messages."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chips.simulator.client import SimulatorError, SimulatorProcess
from tests.chips.simulated import DOCTOR, Receiver, receiving, send

OPT_OUT = "não quero mais receber mensagens, pode me remover"


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
    process.adjust(retry_initial_s=0.01)
    headers = {"X-Instance-Secret": "segredo-do-chip"}
    process.register("chip-01", phone="5511900000001", webhook_url=receiver.url, webhook_headers=headers)
    return process


@pytest.fixture
def evolution(simulator: SimulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=simulator.evolution_url, headers={"apikey": simulator.apikey}, trust_env=False, timeout=10
    ) as client:
        yield client


def test_a_send_is_followed_by_its_echo_and_flat_status_steps(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    sent = send(evolution).json()
    simulator.wait_quiet()
    assert receiver.events()[:3] == ["send.message", "messages.update", "messages.update"]
    (headers, envelope), *_ = receiver.posts
    assert headers["X-Instance-Secret"] == "segredo-do-chip"
    assert list(envelope) == [
        "event",
        "instance",
        "data",
        "destination",
        "date_time",
        "sender",
        "server_url",
        "apikey",
    ]
    assert (envelope["data"], envelope["apikey"]) == (sent, None)
    step = receiver.named("messages.update")[0]
    assert "key" not in step
    assert (step["keyId"], step["status"], step["fromMe"]) == (sent["key"]["id"], "SERVER_ACK", True)


def test_a_restricted_chip_answers_201_and_then_only_error(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.fault("restrito_201_error", instance="chip-01")
    assert send(evolution).status_code == 201
    simulator.wait_quiet()
    assert [step["status"] for step in receiver.named("messages.update")] == ["ERROR"]
    (record,) = simulator.truth().records
    assert (record.delivered, record.status) == (False, "ERROR")


def test_a_message_may_be_sent_without_any_acknowledgement(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.fault("sem_ack")
    send(evolution)
    simulator.wait_quiet()
    assert receiver.events() == ["send.message"]


def test_acknowledgements_can_arrive_before_the_answer(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.fault("ack_antes_da_resposta")
    send(evolution)
    assert len(receiver.named("messages.update")) >= 2


def test_an_acknowledgement_can_carry_the_lid(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.register("chip-01", phone="5511900000001", acks_by_lid=True)
    send(evolution)
    simulator.wait_quiet()
    assert receiver.named("messages.update")[0]["remoteJid"].endswith("@lid")


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (400, 1), (401, 1), (404, 1), (422, 1)])
def test_a_refused_webhook_is_retried_unless_the_4xx_is_final(
    simulator: SimulatorProcess, receiver: Receiver, status: int, tries: int
) -> None:
    receiver.answers = [status, status]
    simulator.inbound("chip-01", DOCTOR, "Oi")
    simulator.wait_quiet()
    assert len(receiver.posts) == tries


def test_after_ten_attempts_a_webhook_is_abandoned(simulator: SimulatorProcess, receiver: Receiver) -> None:
    simulator.adjust(retry_max_s=0.02)
    receiver.answers = [500] * 20
    simulator.inbound("chip-01", DOCTOR, "Oi")
    simulator.wait_quiet()
    assert len(receiver.posts) == 10
    assert simulator.webhooks()["abandoned"] == 1


def test_a_webhook_can_be_lost_or_doubled(simulator: SimulatorProcess, receiver: Receiver) -> None:
    simulator.fault("webhook_perdido", count=1)
    simulator.inbound("chip-01", DOCTOR, "perdida")
    simulator.fault("webhook_duplicado", copies=2, events=["messages.upsert"])
    simulator.inbound("chip-01", DOCTOR, "tripla")
    simulator.wait_quiet()
    assert [data["message"]["conversation"] for data in receiver.named("messages.upsert")] == ["tripla"] * 3


def test_a_webhook_can_be_overtaken_by_the_next(simulator: SimulatorProcess, receiver: Receiver) -> None:
    simulator.fault("webhook_fora_de_ordem", count=1)
    simulator.inbound("chip-01", DOCTOR, "primeira")
    simulator.inbound("chip-01", DOCTOR, "segunda")
    simulator.wait_quiet()
    assert [data["message"]["conversation"] for data in receiver.named("messages.upsert")] == ["segunda", "primeira"]


def test_a_late_webhook_comes_after_younger_ones(simulator: SimulatorProcess, receiver: Receiver) -> None:
    simulator.fault("webhook_atrasado", count=1, delay_s=0.3)
    for text in ("primeira", "segunda"):
        simulator.inbound("chip-01", DOCTOR, text)
    simulator.wait_quiet()
    assert [data["message"]["conversation"] for data in receiver.named("messages.upsert")] == ["segunda", "primeira"]


def test_a_ban_is_announced_by_three_events_and_a_drop_by_connecting_only(
    simulator: SimulatorProcess, receiver: Receiver
) -> None:
    simulator.set_state("chip-01", "connecting", burst=13)
    simulator.wait_quiet()
    assert receiver.events() == ["connection.update"] * 13
    simulator.set_state("chip-01", "close", code=408)
    simulator.wait_quiet()
    assert {data["state"] for data in receiver.named("connection.update")} == {"connecting"}
    simulator.set_state("chip-01", "close", code=403)
    simulator.wait_quiet()
    assert sorted(receiver.events()[14:]) == ["connection.update", "logout.instance", "status.instance"]
    assert receiver.named("status.instance")[0]["disconnectionReasonCode"] == 403
    assert receiver.named("logout.instance") == [None]


def test_the_webhook_can_be_configured_through_the_provider(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    hook: dict[str, Any] = {"enabled": True, "url": receiver.url, "byEvents": True}
    assert evolution.post("/webhook/set/chip-01", json={"webhook": hook}).status_code == 500
    wrong = evolution.post("/webhook/set/chip-01", json={"webhook": {**hook, "events": ["NADA"]}})
    assert wrong.status_code == 400
    events = ["CONNECTION_UPDATE"]
    assert evolution.post("/webhook/set/chip-01", json={"webhook": {**hook, "events": events}}).status_code == 201
    assert evolution.get("/webhook/find/chip-01").json()["events"] == events
    simulator.inbound("chip-01", DOCTOR, "não interessa")
    simulator.set_state("chip-01", "open")
    simulator.wait_quiet()
    assert receiver.events() == ["connection.update"]
    assert receiver.bodies[0]["destination"] == f"{receiver.url}/connection-update"


def test_a_webhook_to_a_strange_host_is_not_accepted(simulator: SimulatorProcess) -> None:
    with pytest.raises(SimulatorError, match="--host-webhook"):
        simulator.register("chip-02", phone="5511900000002", webhook_url="https://exemplo.invalid/hook")


# -- people ---------------------------------------------------------------------------------------------------------


def test_an_inbound_by_lid_shows_the_telephone_beside_it_or_nowhere(
    simulator: SimulatorProcess, receiver: Receiver
) -> None:
    simulator.inbound("chip-01", DOCTOR, "com telefone", lid=True)
    simulator.inbound("chip-01", DOCTOR, "sem telefone", lid="111222333444@lid", phone_beside=False)
    simulator.wait_quiet()
    keys = {data["message"]["conversation"]: data["key"] for data in receiver.named("messages.upsert")}
    assert keys["com telefone"]["remoteJidAlt"] == f"{DOCTOR}@s.whatsapp.net"
    assert keys["com telefone"]["addressingMode"] == "lid"
    assert keys["sem telefone"]["remoteJid"] == "111222333444@lid"
    assert "remoteJidAlt" not in keys["sem telefone"]


def test_what_people_write_while_the_chip_is_away_arrives_when_it_returns(
    simulator: SimulatorProcess, receiver: Receiver
) -> None:
    simulator.set_state("chip-01", "connecting", silent=True)
    simulator.inbound("chip-01", DOCTOR, "cadê você?")
    assert simulator.chips()["chip-01"]["held_inbound"] == 1
    simulator.set_state("chip-01", "open")
    simulator.wait_quiet()
    assert sorted(receiver.events()) == ["connection.update", "messages.upsert"]


def test_the_second_delivered_message_is_answered_with_an_opt_out(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.replies(opt_out_on=[2], delay_s=[0, 0])
    for number in ("5511900001111", "5511900002222", "5511900003333"):
        send(evolution, number=number)
        simulator.wait_quiet()
    (inbound,) = receiver.named("messages.upsert")
    assert inbound["message"]["conversation"] == OPT_OUT
    assert inbound["key"]["remoteJid"] == "5511900002222@s.whatsapp.net"


def test_who_answers_depends_on_the_seed_and_the_person_not_on_the_order(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    people = [f"551190000{n:04d}" for n in range(1000, 1012)]

    def answering(order: list[str]) -> set[str]:
        receiver.posts.clear()
        simulator.replies(probability=0.5, delay_s=[0, 0], texts=["Oi!"])
        for number in order:
            send(evolution, number=number)
        simulator.wait_quiet()
        return {data["key"]["remoteJid"] for data in receiver.named("messages.upsert")}

    first = answering(people)
    assert 0 < len(first) < len(people)
    assert answering(people[::-1]) == first


def test_a_message_between_two_of_our_chips_arrives_at_the_other(
    simulator: SimulatorProcess, receiver: Receiver, evolution: httpx.Client
) -> None:
    simulator.register("chip-02", phone="5511900000002", webhook_url=receiver.url)
    send(evolution, "aquecendo", number="5511900000002")
    simulator.wait_quiet()
    (arrived,) = [body for body in receiver.bodies if body["event"] == "messages.upsert"]
    assert arrived["instance"] == "chip-02"
    assert arrived["data"]["key"]["remoteJid"] == "5511900000001@s.whatsapp.net"


def test_an_event_of_ones_own_is_posted_as_it_is(simulator: SimulatorProcess, receiver: Receiver) -> None:
    replay = {"event": "messages.upsert", "instance": "desconhecida", "data": None}
    simulator.emit("chip-01", body=replay)
    simulator.wait_quiet()
    assert receiver.bodies == [replay]
