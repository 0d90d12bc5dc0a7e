"""Contracts §2: the vendor's queue is read to its last page, and taken apart by id, before it can fire."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chips.providers.base import ChipAddress, ErrorKind, ProviderError
from chips.providers.evidence import Queued
from chips.providers.zapi import ZapiProvider
from chips.providers.zapi_queue import MAX_PAGES
from chips.simulator.client import SimulatorProcess
from core.integrations.http import new_client

DOCTOR = "5511900001111"


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def simulator(process: SimulatorProcess) -> SimulatorProcess:
    process.reset()
    process.register("z-01", phone="5511900000009", provider="z-api", token="zt", client_token="da-conta")
    process.set_state("z-01", "close")
    return process


def calling(simulator: SimulatorProcess, work: Callable[[ZapiProvider, ChipAddress], Any], **changed: str) -> Any:
    values = {"zapi_instance_id": "z-01", "zapi_token": "zt", "zapi_client_token": "da-conta", **changed}
    chip = ChipAddress(UUID(int=2), "z-api", simulator.zapi_url, **values)

    async def run() -> Any:
        async with new_client(read_s=5) as client:
            return await work(ZapiProvider(client), chip)

    return asyncio.run(run())


def queue(simulator: SimulatorProcess, *texts: str) -> list[str]:
    """Put messages straight into the vendor's queue, as a send that raced with the disconnection did."""
    base = f"{simulator.zapi_url}/instances/z-01/token/zt"
    with httpx.Client(base_url=base, headers={"Client-Token": "da-conta"}, trust_env=False) as client:
        answers = [client.post("/send-text", json={"phone": DOCTOR, "message": text}).json() for text in texts]
    return [answer["zaapId"] for answer in answers]


def listed(simulator: SimulatorProcess) -> list[Queued]:
    found: list[Queued] = calling(simulator, lambda provider, chip: provider.list_queue(chip))
    return found


def test_every_page_of_the_queue_is_listed(simulator: SimulatorProcess):
    ids = queue(simulator, *(f"mensagem {n}" for n in range(65)))
    found = listed(simulator)
    assert [each.zaap_id for each in found] == ids
    first = found[0]
    assert (first.phone, first.text) == (DOCTOR, "mensagem 0")
    assert first.message_id
    assert first.created_at is not None
    assert abs(first.created_at - datetime.now(UTC)) < timedelta(seconds=30)


def test_an_empty_queue_is_an_empty_list(simulator: SimulatorProcess):
    assert listed(simulator) == []


def test_a_removed_entry_never_leaves_and_the_others_do(simulator: SimulatorProcess):
    _, second, _ = queue(simulator, "uma", "duas", "três")
    assert calling(simulator, lambda provider, chip: provider.remove_queued(chip, second)) is True
    assert [each.text for each in listed(simulator)] == ["uma", "três"]
    simulator.set_state("z-01", "open")
    simulator.wait_quiet()
    assert [record.text for record in simulator.truth().records] == ["uma", "três"]


def test_a_cleared_queue_fires_nothing_on_reconnection(simulator: SimulatorProcess):
    queue(simulator, "uma", "duas")
    calling(simulator, lambda provider, chip: provider.clear_queue(chip))
    assert listed(simulator) == []
    simulator.set_state("z-01", "open")
    simulator.wait_quiet()
    assert simulator.truth().total == 0


def test_removing_what_left_a_moment_before_proves_nothing(simulator: SimulatorProcess):
    """The vendor answers the same; only the list, while disconnected, tells."""
    simulator.set_state("z-01", "open")
    (zaap_id,) = queue(simulator, "já foi")
    simulator.wait_quiet()
    assert calling(simulator, lambda provider, chip: provider.remove_queued(chip, zaap_id)) is True
    assert simulator.truth().total == 1


def test_an_entry_without_an_id_is_never_the_whole_queue(simulator: SimulatorProcess):
    queue(simulator, "uma")
    with pytest.raises(ValueError, match="without an id"):
        calling(simulator, lambda provider, chip: provider.remove_queued(chip, " "))
    assert len(listed(simulator)) == 1


@pytest.mark.parametrize("work", ["list_queue", "clear_queue"])
def test_a_refusal_raises(simulator: SimulatorProcess, work: str):
    with pytest.raises(ProviderError) as caught:
        calling(simulator, lambda provider, chip: getattr(provider, work)(chip), zapi_client_token="outro")
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.CREDENCIAL, 403)
    assert "outro" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"), [("5xx", ErrorKind.SERVIDOR), ("reset_antes", ErrorKind.REDE), ("html_502", ErrorKind.SERVIDOR)]
)
def test_a_list_that_cannot_be_read_raises_instead_of_looking_empty(
    simulator: SimulatorProcess, fault: str, kind: ErrorKind
):
    simulator.fault(fault, instance="z-01", calls="other")
    with pytest.raises(ProviderError) as caught:
        listed(simulator)
    assert caught.value.kind is kind


ENTRY = {"ZaapId": "39AA", "MessageId": "3EB0", "Phone": DOCTOR, "Message": "Oi", "Created": 1767225600}
CHIP = ChipAddress(UUID(int=2), "z-api", "http://zapi.test", zapi_instance_id="z-01", zapi_token="zt")


def answered(*answers: Any) -> list[Queued]:
    given: list[Any] = []

    def handle(request: httpx.Request) -> httpx.Response:
        given.append(answers[min(len(given), len(answers) - 1)])
        return httpx.Response(200, json=given[-1])

    async def run() -> list[Queued]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            return await ZapiProvider(client).list_queue(CHIP)

    found = asyncio.run(run())
    assert len(given) == len(answers)
    return found


def test_a_time_stamp_in_seconds_is_read_too():
    (entry,) = answered({"messages": [ENTRY], "pagingState": None, "hasMore": False})
    assert entry.created_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_entry_listed_on_two_pages_is_one_entry():
    first = {"messages": [ENTRY], "pagingState": "p2", "hasMore": True}
    last = {"messages": [ENTRY], "pagingState": None, "hasMore": False}
    assert [each.zaap_id for each in answered(first, last)] == ["39AA"]


@pytest.mark.parametrize(
    "page",
    [
        {"messages": [ENTRY], "hasMore": True, "pagingState": None},
        {"messages": [ENTRY, {"Phone": DOCTOR}], "hasMore": False},
        {"messages": [ENTRY]},
        {"error": "x"},
        [],
    ],
)
def test_a_page_that_cannot_be_trusted_is_an_error(page: Any):
    with pytest.raises(ProviderError):
        answered(page)


def test_a_queue_without_an_end_is_an_error():
    page = {"messages": [ENTRY], "pagingState": "de novo", "hasMore": True}
    with pytest.raises(ProviderError, match="a fila não termina"):
        answered(*[page] * MAX_PAGES)
