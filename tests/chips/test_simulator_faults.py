"""Faults on purpose: each spoiled answer, and what the wire truth says about it."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from chips.simulator.client import SimulatorError, SimulatorProcess
from tests.chips.simulated import DOCTOR, send


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


@pytest.mark.parametrize(
    ("kind", "status", "left"),
    [
        ("restrito", 500, 0),
        ("restrito_400", 400, 0),
        ("400_nao_enviou", 400, 0),
        ("400_enviou", 400, 1),
        ("500_nao_enviou", 500, 0),
        ("429", 429, 0),
        ("5xx", 503, 0),
        ("html_502", 502, 0),
        ("malformado", 201, 1),
        ("restrito_201_error", 201, 1),
        ("banco_fora", 500, 0),
    ],
)
def test_each_spoiled_answer_sends_or_not_as_named(
    simulator: SimulatorProcess, evolution: httpx.Client, kind: str, status: int, left: int
) -> None:
    simulator.fault(kind, instance="chip-01", count=1)
    assert send(evolution).status_code == status
    assert simulator.truth().total == left
    assert send(evolution, "de novo").status_code == 201


@pytest.mark.parametrize(("kind", "left"), [("reset_antes", 0), ("reset_depois", 1), ("reset_no_corpo", 1)])
def test_a_reset_breaks_the_connection_before_or_after_the_wire(
    simulator: SimulatorProcess, evolution: httpx.Client, kind: str, left: int
) -> None:
    simulator.fault(kind)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        send(evolution)
    assert simulator.truth().total == left
    (call,) = simulator.calls()
    assert (call.fault, call.wire_seq is not None) == (kind, bool(left))


@pytest.mark.parametrize("sends", [False, True])
def test_a_black_hole_holds_the_call_until_it_is_lifted(
    simulator: SimulatorProcess, evolution: httpx.Client, sends: bool
) -> None:
    simulator.fault("buraco_negro", instance="chip-01", sends=sends)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(send, evolution)
        simulator.wait_for(lambda truth: len(truth.open_calls) == 1)
        assert simulator.truth().total == int(sends)
        simulator.clear_faults()
        assert isinstance(held.exception(timeout=10), httpx.TransportError)
    assert simulator.wait_for(lambda truth: not truth.open_calls).max_open == 1


def test_a_refusing_provider_closes_its_port_and_comes_back(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    send(evolution)
    fault_id = simulator.fault("recusa", provider="evolution")
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as fresh:
        fresh.get(simulator.evolution_url)
    assert httpx.get(f"{simulator.zapi_url}/instances/x/token/y/status", trust_env=False).status_code == 404
    simulator.clear_faults(fault_id)
    assert send(evolution, "voltou").status_code == 201


def test_a_chip_is_restricted_after_n_sends_and_the_others_are_not(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    simulator.register("chip-02", phone="5511900000002")
    simulator.fault("restringe_apos", instance="chip-01", n=4, mode="restrito")
    statuses = [send(evolution, f"mensagem {n}").status_code for n in range(6)]
    assert statuses == [201, 201, 201, 201, 500, 500]
    assert send(evolution, chip="chip-02").status_code == 201
    assert simulator.truth().totals["chip-01"].sent == 4


def test_a_fault_skips_the_first_calls_and_wears_out(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.fault("500_nao_enviou", after=1, count=2)
    assert [send(evolution, str(n)).status_code for n in range(5)] == [201, 500, 500, 201, 201]


def test_chance_depends_on_the_seed_alone(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    def run(seed: int) -> list[int]:
        simulator.reset()
        simulator.seed(seed)
        simulator.register("chip-01", phone="5511900000001")
        simulator.fault("500_nao_enviou", probability=0.5)
        return [send(evolution, str(n)).status_code for n in range(20)]

    assert set(run(7)) == {201, 500}
    assert run(7) == run(7) != run(8)


def test_a_misspelt_order_is_refused(simulator: SimulatorProcess) -> None:
    with pytest.raises(SimulatorError, match="durasao_s"):
        simulator.fault("429", durasao_s=3)
    assert simulator.faults() == []


def test_a_provider_may_send_to_somebody_else(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.number(DOCTOR, jid="551133334444@s.whatsapp.net")
    assert send(evolution).json()["key"]["remoteJid"] == "551133334444@s.whatsapp.net"
    assert simulator.truth().records[0].recipient == "551133334444"


def test_latency_is_added_to_the_call(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.fault("latencia_ms", min_ms=150, max_ms=160, count=1)
    assert send(evolution).elapsed.total_seconds() >= 0.15


def test_a_hidden_insert_failure_leaves_no_evidence(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.fault("400_enviou", count=1)
    send(evolution)
    simulator.wait_quiet()
    assert simulator.truth().delivered == 1
    assert evolution.post("/chat/findMessages/chip-01", json={"where": {}}).json()["messages"]["total"] == 0


def test_with_its_database_down_the_server_takes_a_token_for_a_wrong_key(
    simulator: SimulatorProcess, evolution: httpx.Client
) -> None:
    simulator.fault("banco_fora")
    state = "/instance/connectionState/chip-01"
    assert evolution.get(state).status_code == 500
    assert evolution.get(state, headers={"apikey": "token-do-chip"}).status_code == 401


def test_the_same_text_delivered_twice_is_a_duplicate(simulator: SimulatorProcess, evolution: httpx.Client) -> None:
    simulator.fault("restrito_201_error", instance="chip-01", count=1)
    for _ in range(2):
        send(evolution, "uma vez")
    assert simulator.truth().duplicates == []
    send(evolution, "uma vez")
    (duplicate,) = simulator.truth().duplicates
    assert (duplicate.recipient, duplicate.seqs) == (DOCTOR, [2, 3])


def test_five_hundred_calls_can_be_open_at_once(simulator: SimulatorProcess) -> None:
    simulator.fault("buraco_negro")
    address = urlsplit(simulator.evolution_url)
    body = b'{"number": "5511900001111", "text": "Oi"}'
    head = f"POST /message/sendText/chip-01 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            connection = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
            connection.sendall(head.encode() + body)
        simulator.wait_for(lambda truth: len(truth.open_calls) == 500)
        simulator.clear_faults()
        simulator.wait_for(lambda truth: not truth.open_calls)
    assert simulator.truth(summary=True).max_open == 500


def test_fast_mode_keeps_the_truth_and_obeys_faults() -> None:
    with SimulatorProcess(fast=True) as fast:
        fast.register("chip-01", phone="5511900000001", webhook_url="http://127.0.0.1:9/hook")
        with httpx.Client(base_url=fast.evolution_url, headers={"apikey": fast.apikey}, trust_env=False) as evolution:
            assert [send(evolution, str(n)).status_code for n in range(3)] == [201, 201, 201]
            assert send(evolution, " ").status_code == 400
            fast.fault("restrito", instance="chip-01")
            assert send(evolution, "não sai").status_code == 500
        assert [record.text for record in fast.truth().records] == ["0", "1", "2"]
        assert fast.webhooks()["emitted"] == 0
