"""How many calls a provider may begin: a slow one its share, none all of a consumer's senders."""

from datetime import timedelta

import pytest

from chips.choices import TipoMensagem
from fila.claim import Room
from fila.worker.steps import allowed_calls
from guardrails.policy import Policy
from tests.chips.test_selection import NOW, chip

EVOLUTION = [chip(n) for n in range(1, 5)]
ZAPI = [chip(n, provider="z-api") for n in range(5, 9)]


def test_a_provider_alone_may_take_every_sender() -> None:
    assert allowed_calls({}, EVOLUTION, {}, senders=8, now=NOW) == {}


@pytest.mark.parametrize(("held", "allowed"), [(0, 6), (5, 1), (6, 0), (8, 0)])
def test_beside_another_provider_none_may_take_all_senders(held: int, allowed: int) -> None:
    found = allowed_calls({}, EVOLUTION + ZAPI, {"evolution": held}, senders=8, now=NOW)
    assert found == {"evolution": allowed, "z-api": 6}


@pytest.mark.parametrize(("age_s", "allowed"), [(5, 0), (29, 0), (30, 1), (60, 1)])
def test_a_slow_provider_holds_its_share_until_a_hanging_call_has_had_its_trial(age_s: int, allowed: int) -> None:
    hanging = [chip(1, em_voo=True, em_voo_desde=NOW - timedelta(seconds=age_s)), chip(2)]
    found = allowed_calls({"evolution": 1, "z-api": None}, hanging + ZAPI, {}, senders=8, now=NOW)
    assert found == {"evolution": allowed, "z-api": 6}


def test_the_room_keeps_the_preferred_chips_of_a_provider_with_a_share() -> None:
    fleet = [chip(1, peso_hora=4), chip(2), *ZAPI]
    room = Room.of(fleet, Policy(), senders=8, now=NOW).within({"evolution": 1, "z-api": 2})
    assert [each.id.int for each in room.shortlists[TipoMensagem.PROSPECCAO].eligible] == [2, 5, 6]
