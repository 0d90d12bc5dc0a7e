"""Contracts §1.7: a sent message is found by the reconciler's own query, and a bad answer is never "nothing"."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chips.providers.base import ChipAddress, Code, ErrorKind, ProviderError
from chips.providers.evidence import Ack, SearchResult, furthest
from chips.providers.evolution import EvolutionProvider
from chips.providers.evolution_search import MAX_PAGES, PAGE_SIZE, search_jids
from chips.providers.registry import queue_of, search_of
from chips.simulator.client import SimulatorProcess
from core.integrations.http import new_client

DOCTOR = "5511900001111"
LOSES_THE_NINTH = "5541980001111"
LID = "111222333444555@lid"


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def simulator(process: SimulatorProcess) -> SimulatorProcess:
    process.reset()
    process.register("chip-01", phone="5511900000001", token="token-do-chip")
    return process


def address(simulator: SimulatorProcess, instance: str = "chip-01") -> ChipAddress:
    return ChipAddress(
        chip_id=UUID(int=1),
        provider="evolution",
        base_url=simulator.evolution_url,
        instance_name=instance,
        api_key="token-do-chip",
    )


def calling(work: Callable[[EvolutionProvider], Any]) -> Any:
    async def run() -> Any:
        async with new_client(read_s=5) as client:
            return await work(EvolutionProvider(client))

    return asyncio.run(run())


def send(simulator: SimulatorProcess, *texts: str, number: str = DOCTOR) -> list[str]:
    """The keys of messages that certainly left, by the provider's own send."""

    async def work(provider: EvolutionProvider) -> list[str]:
        results = [
            await provider.send_text(address(simulator), number=number, text=text, correlation_id="c1")
            for text in texts
        ]
        return [str(result.provider_message_id) for result in results]

    keys: list[str] = calling(work)
    simulator.wait_quiet()
    return keys


def search(
    simulator: SimulatorProcess,
    *jids: str,
    since: timedelta = timedelta(minutes=-1),
    until: timedelta = timedelta(minutes=1),
) -> SearchResult:
    now = datetime.now(UTC)
    found: SearchResult = calling(
        lambda provider: provider.find_messages(
            address(simulator), jids=jids or search_jids(DOCTOR), since=now + since, until=now + until
        )
    )
    return found


@pytest.mark.parametrize("number", [DOCTOR, LOSES_THE_NINTH, "551133330000"])
def test_a_message_known_to_be_sent_is_found_by_the_query_that_reconciles(simulator: SimulatorProcess, number: str):
    (key,) = send(simulator, "Oi, doutora", number=number)
    result = search(simulator, *search_jids(number))
    (found,) = result.with_text("Oi, doutora")
    assert (found.key_id, result.complete) == (key, True)
    assert found.jid in search_jids(number)
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=30)
    assert found.status is not None
    assert found.status.positive


def test_a_message_under_a_lid_is_found_by_the_lid_that_the_caller_knows(simulator: SimulatorProcess):
    simulator.number(DOCTOR, jid=LID)
    (key,) = send(simulator, "Oi")
    assert search(simulator).found == ()
    assert [each.key_id for each in search(simulator, *search_jids(DOCTOR, [LID])).found] == [key]


def test_another_persons_message_and_an_inbound_are_not_found(simulator: SimulatorProcess):
    send(simulator, "Oi", number="5511900002222")
    simulator.inbound("chip-01", DOCTOR, "Oi")
    assert search(simulator) == SearchResult((), complete=True)


def test_the_text_is_compared_here(simulator: SimulatorProcess):
    send(simulator, "Oi, Ana", "Oi, Bia")
    result = search(simulator)
    assert {each.text for each in result.found} == {"Oi, Bia", "Oi, Ana"}
    assert len(result.with_text("Oi, Bia")) == 1
    assert result.with_text("oi, bia") == ()


def test_the_window_is_kept_on_both_sides(simulator: SimulatorProcess):
    send(simulator, "Oi")
    minute = timedelta(minutes=1)
    assert search(simulator, since=-2 * minute, until=-minute).found == ()
    assert search(simulator, since=minute, until=2 * minute).found == ()
    assert len(search(simulator, since=-minute, until=minute).found) == 1


def test_all_pages_are_read(simulator: SimulatorProcess):
    texts = [f"mensagem {n}" for n in range(PAGE_SIZE + 5)]
    keys = send(simulator, *texts)
    result = search(simulator)
    assert ({each.key_id for each in result.found}, result.complete) == (set(keys), True)


def test_a_send_whose_insert_failed_leaves_nothing_to_find(simulator: SimulatorProcess):
    """Absence is no proof: this message was delivered."""
    simulator.fault("400_enviou", instance="chip-01", count=1)
    send(simulator, "Oi")
    assert simulator.truth().total == 1
    assert search(simulator) == SearchResult((), complete=True)


@pytest.mark.parametrize("acks_by_lid", [False, True])
def test_the_steps_of_a_message_are_found_under_phone_or_lid(simulator: SimulatorProcess, acks_by_lid: bool):
    simulator.register("chip-01", phone="5511900000001", token="token-do-chip", acks_by_lid=acks_by_lid)
    (key,) = send(simulator, "Oi")
    ack = calling(lambda provider: provider.find_status(address(simulator), key_id=key, jid=f"{DOCTOR}@s.whatsapp.net"))
    assert ack in (Ack.DELIVERY_ACK, Ack.READ)
    assert calling(lambda provider: provider.find_status(address(simulator), key_id="3EB0NADA", jid="")) is None


def test_a_restricted_chips_message_is_found_with_its_error(simulator: SimulatorProcess):
    simulator.fault("restrito_201_error", instance="chip-01")
    (key,) = send(simulator, "Oi")
    assert [each.status for each in search(simulator).found] == [Ack.ERROR]
    assert calling(lambda provider: provider.find_status(address(simulator), key_id=key)) is Ack.ERROR


@pytest.mark.parametrize(
    ("fault", "parameters", "kind"),
    [
        ("5xx", {"status": 503}, ErrorKind.SERVIDOR),
        ("html_502", {}, ErrorKind.SERVIDOR),
        ("reset_antes", {}, ErrorKind.REDE),
        ("banco_fora", {}, ErrorKind.CREDENCIAL),
        ("malformado", {}, ErrorKind.DESCONHECIDO),
    ],
)
def test_a_search_that_is_not_answered_raises(
    simulator: SimulatorProcess, fault: str, parameters: dict[str, Any], kind: ErrorKind
):
    send(simulator, "Oi")
    simulator.fault(fault, instance="chip-01", calls="any", **parameters)
    with pytest.raises(ProviderError) as caught:
        search(simulator)
    assert caught.value.kind is kind


def test_an_instance_that_does_not_exist_raises(simulator: SimulatorProcess):
    with pytest.raises(ProviderError) as caught:
        calling(
            lambda provider: provider.find_messages(
                address(simulator, "outra"), jids=search_jids(DOCTOR), since=datetime.now(UTC), until=datetime.now(UTC)
            )
        )
    assert caught.value.code is Code.INSTANCE_NOT_FOUND


@pytest.mark.parametrize(
    "broken",
    [
        {"jids": []},
        {"jids": [DOCTOR]},
        {"jids": ["@s.whatsapp.net"]},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - the point of the case
        {"since": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_query_that_would_match_nothing_is_refused(broken: dict[str, Any]):
    values = {
        "jids": search_jids(DOCTOR),
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "until": datetime(2026, 1, 2, tzinfo=UTC),
        **broken,
    }
    chip = ChipAddress(UUID(int=1), "evolution", "http://evolution.test", "chip-01", "chave")
    with pytest.raises(ValueError, match="a search needs"):
        calling(lambda provider: provider.find_messages(chip, **values))


START = datetime(2026, 1, 5, 12, tzinfo=UTC)
CHIP = ChipAddress(UUID(int=1), "evolution", "http://evolution.test", "chip-01", "chave")


def record(n: int, **changed: Any) -> dict[str, Any]:
    key = {"id": f"3EB0{n:04}", "fromMe": True, "remoteJid": f"{DOCTOR}@s.whatsapp.net"}
    values = {"key": key, "message": {"conversation": "Oi"}, "messageTimestamp": int(START.timestamp())}
    return {**values, **changed}


def searched(*pages: tuple[int, list[Any]]) -> tuple[SearchResult, list[dict[str, Any]]]:
    """What a search makes of these pages (total and rows), and the queries it wrote."""
    queries: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        queries.append(json.loads(request.content))
        total, rows = pages[min(len(queries), len(pages)) - 1]
        return httpx.Response(200, json={"messages": {"total": total, "pages": 9, "currentPage": 1, "records": rows}})

    async def run() -> SearchResult:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            return await EvolutionProvider(client).find_messages(
                CHIP, jids=[f"{DOCTOR}@s.whatsapp.net"], since=START - timedelta(minutes=15), until=START
            )

    return asyncio.run(run()), queries


def test_the_query_names_both_bounds_as_text_the_exact_jid_and_the_page_size():
    _, (query,) = searched((0, []))
    assert query == {
        "where": {
            "key": {"remoteJid": "5511900001111@s.whatsapp.net", "fromMe": True},
            "messageTimestamp": {"gte": "2026-01-05T11:45:00.000Z", "lte": "2026-01-05T12:00:00.000Z"},
        },
        "offset": 50,
        "page": 1,
    }


def test_pages_that_end_early_are_incomplete():
    result, queries = searched((3, [record(1), record(2)]), (3, []))
    assert (len(result.found), result.complete) == (2, False)
    assert [query["page"] for query in queries] == [1, 2]


def test_a_total_that_moves_between_pages_is_incomplete():
    result, _ = searched((2, [record(1)]), (3, [record(2)]))
    assert not result.complete


def test_pages_without_an_end_are_incomplete():
    result, queries = searched((10**6, [record(1)]))
    assert (len(queries), result.complete) == (MAX_PAGES, False)


@pytest.mark.parametrize(
    "strange",
    [
        record(2, key={"id": "x", "fromMe": True, "remoteJid": "5511900002222@s.whatsapp.net"}),
        record(2, key={"id": "x", "fromMe": False, "remoteJid": f"{DOCTOR}@s.whatsapp.net"}),
        record(2, messageTimestamp=1),
        record(2, messageTimestamp="ontem"),
        record(2, key=None),
        "nada",
    ],
)
def test_a_row_that_the_filter_should_have_kept_out_makes_the_search_incomplete(strange: Any):
    result, _ = searched((2, [record(1), strange]))
    assert ([each.key_id for each in result.found], result.complete) == (["3EB00001"], False)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"conversation": "Oi"}, "Oi"),
        ({"extendedTextMessage": {"text": "Oi https://julia.example"}}, "Oi https://julia.example"),
        ({"imageMessage": {"caption": "Oi"}}, ""),
        (None, ""),
    ],
)
def test_texts_are_read_in_both_shapes(message: Any, text: str):
    result, _ = searched((1, [record(1, message=message)]))
    assert [each.text for each in result.found] == [text]


def test_a_time_stamp_in_two_halves_is_read():
    halves = {"low": int(START.timestamp()), "high": 0, "unsigned": True}
    result, _ = searched((1, [record(1, messageTimestamp=halves)]))
    assert [each.at for each in result.found] == [START]


@pytest.mark.parametrize(
    ("steps", "ack"),
    [
        ([], None),
        (["EDITED", "nada"], None),
        (["PENDING"], Ack.PENDING),
        (["READ", "SERVER_ACK", "DELIVERY_ACK"], Ack.READ),
        (["SERVER_ACK", "ERROR"], Ack.ERROR),
        (["ERROR", "SERVER_ACK"], Ack.ERROR),
        (["ERROR", "DELIVERY_ACK"], Ack.DELIVERY_ACK),
        (["PLAYED", "ERROR"], Ack.PLAYED),
    ],
)
def test_the_furthest_step_counts_and_an_error_only_without_a_positive_one(steps: list[str], ack: Ack | None):
    assert furthest(steps) is ack


def test_every_spelling_of_a_number_is_searched():
    assert search_jids("5541980001111", [LID, ""]) == (
        "5541980001111@s.whatsapp.net",
        "554180001111@s.whatsapp.net",
        LID,
    )
    assert search_jids("551133330000") == ("551133330000@s.whatsapp.net",)


def test_only_the_provider_that_can_search_is_asked_to():
    client = httpx.AsyncClient()
    assert (search_of("z-api", client), queue_of("evolution", client)) == (None, None)
    assert search_of("evolution", client) is not None
    assert queue_of("z-api", client) is not None


def test_a_refused_key_is_told_as_such():
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"status": 401, "response": {"message": "Unauthorized"}})

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            await EvolutionProvider(client).find_status(replace(CHIP, api_key="errada"), key_id="3EB0")

    with pytest.raises(ProviderError) as caught:
        asyncio.run(run())
    assert caught.value.kind is ErrorKind.CREDENCIAL
