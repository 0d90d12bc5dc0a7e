"""Chip choice over facts: every filter refuses by name, the bar is lowered only when it must be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chips.choices import TipoMensagem
from chips.selection import ChipFacts, Refusal, Shortlist, Wanted, assign, ramp_share, refusals, shortlist

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(minutes=5), NOW - timedelta(minutes=5)
PROSPECCAO, RESPOSTA = TipoMensagem.PROSPECCAO, TipoMensagem.RESPOSTA

HEALTHY = ChipFacts(
    id=UUID(int=1),
    final="0001",
    provider="evolution",
    status="active",
    tipo="julia",
    trust_score=85,
    conectado=True,
    tem_segredo=True,
    bloqueio_manual=False,
    pode_prospectar=True,
    pode_followup=True,
    pode_responder=True,
    cooldown_until=None,
    connection_cooldown_until=None,
    proximo_envio_em=EARLIER,
    delay_minimo_segundos=45,
    em_voo=False,
    peso_hora=0,
    peso_dia=0,
    limite_hora=10,
    limite_dia=30,
)


def chip(number: int, **facts: Any) -> ChipFacts:
    return replace(HEALTHY, id=UUID(int=number), **facts)


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"status": "warming"}, Refusal.STATUS),
        ({"status": "degraded"}, Refusal.STATUS),
        ({"tipo": "listener"}, Refusal.TIPO),
        ({"bloqueio_manual": True}, Refusal.BLOQUEIO_MANUAL),
        ({"pode_prospectar": False}, Refusal.PERMISSAO),
        ({"trust_score": 79}, Refusal.TRUST),
        ({"conectado": False}, Refusal.DESCONECTADO),
        ({"tem_segredo": False}, Refusal.SEM_SEGREDO),
        ({"cooldown_until": LATER}, Refusal.COOLDOWN),
        ({"connection_cooldown_until": LATER}, Refusal.COOLDOWN),
        ({"peso_hora": 9}, Refusal.LIMITE_HORA),
        ({"peso_dia": 29}, Refusal.LIMITE_DIA),
        ({"barreiras": ("evolution",)}, Refusal.CIRCUITO),
        ({"frota_doente": True}, Refusal.FROTA_DOENTE),
        ({"rampa_desde": EARLIER, "peso_hora": 2}, Refusal.LIMITE_HORA),
        ({"rampa_desde": EARLIER, "peso_dia": 7}, Refusal.LIMITE_DIA),
        ({"em_voo": True}, Refusal.EM_VOO),
        ({"proximo_envio_em": LATER}, Refusal.RITMO),
    ],
)
def test_each_filter_refuses_a_campaign_message_by_its_own_name(facts: dict[str, Any], refusal: Refusal) -> None:
    assert refusals(chip(1, **facts), PROSPECCAO, peso=2, now=NOW, trust_min=80) == (refusal,)


@pytest.mark.parametrize(
    "facts", [{"cooldown_until": EARLIER}, {"peso_hora": 8}, {"peso_dia": 28}, {"proximo_envio_em": NOW}]
)
def test_what_is_over_or_just_fits_does_not_refuse(facts: dict[str, Any]) -> None:
    assert refusals(chip(1, **facts), PROSPECCAO, peso=2, now=NOW, trust_min=80) == ()


def test_every_objection_is_named_not_only_the_first() -> None:
    found = refusals(chip(1, status="paused", conectado=False, em_voo=True), PROSPECCAO, peso=2, now=NOW, trust_min=80)
    assert found == (Refusal.STATUS, Refusal.DESCONECTADO, Refusal.EM_VOO)


def test_replies_wait_neither_for_pacing_nor_for_the_hour() -> None:
    busy = chip(1, proximo_envio_em=LATER, peso_hora=10)
    assert refusals(busy, RESPOSTA, peso=1, now=NOW, trust_min=40) == ()


def test_the_january_pool_falls_back_to_the_chips_below_the_bar() -> None:
    """Trust 85/75/70/70; the 85 rests after a restriction: the others carry on at reduced trust."""
    pool = [chip(1, cooldown_until=LATER)] + [chip(n, trust_score=score) for n, score in ((2, 75), (3, 70), (4, 70))]
    short = shortlist(pool, PROSPECCAO, peso=2, now=NOW)
    assert short.emergency
    assert [each.id.int for each in short.eligible] == [2, 3, 4]


def test_a_busy_good_chip_does_not_lower_the_bar() -> None:
    short = shortlist([chip(1, em_voo=True), chip(2, trust_score=70)], PROSPECCAO, peso=2, now=NOW)
    assert (short.eligible, short.emergency, short.only_busy) == ((), False, True)


def test_nobody_below_the_reduced_bar_ever_prospects() -> None:
    short = shortlist([chip(1, trust_score=59)], PROSPECCAO, peso=2, now=NOW)
    assert short.eligible == ()
    assert short.refused[UUID(int=1)] == (Refusal.TRUST,)


def test_least_used_this_hour_goes_first_then_the_most_trusted() -> None:
    pool = [chip(1, peso_hora=4), chip(2, peso_hora=2, trust_score=81), chip(3, peso_hora=2, trust_score=90)]
    assert [each.id.int for each in shortlist(pool, PROSPECCAO, peso=2, now=NOW).eligible] == [3, 2, 1]


def lists(*chips: ChipFacts) -> dict[str, Shortlist]:
    return {tipo: shortlist(chips, tipo, peso=1, now=NOW) for tipo in TipoMensagem.values}


def wanted(number: int, tipo: str = PROSPECCAO, **rest: Any) -> Wanted:
    return Wanted(id=UUID(int=100 + number), tipo=tipo, peso=1, **rest)


def test_each_chip_carries_one_message_of_a_batch() -> None:
    choices = assign([wanted(1), wanted(2), wanted(3)], lists(chip(1), chip(2)))
    assert len(choices) == 2
    assert {choice.chip for choice in choices.values()} == {UUID(int=1), UUID(int=2)}


def test_a_chip_that_the_campaign_excludes_never_carries_it() -> None:
    assert assign([wanted(1, excluidos=frozenset({UUID(int=1)}))], lists(chip(1))) == {}


def test_a_chip_that_failed_with_the_message_comes_last_and_only_when_there_is_no_other() -> None:
    message = wanted(1, tentados=frozenset({UUID(int=1)}))
    assert assign([message], lists(chip(1), chip(2, peso_hora=9)))[message.id].chip == UUID(int=2)
    assert assign([message], lists(chip(1), chip(2, em_voo=True))) == {}
    assert assign([message], lists(chip(1), chip(2, conectado=False)))[message.id].chip == UUID(int=1)


def test_a_reply_goes_out_on_its_conversations_chip() -> None:
    message = wanted(1, RESPOSTA, conversa_chip=UUID(int=2), afinidade=UUID(int=3))
    choice = assign([message], lists(chip(1), chip(2, peso_hora=9), chip(3)))[message.id]
    assert (choice.chip.int, choice.motivo) == (2, "conversa")


def test_a_reply_waits_for_its_busy_chip_rather_than_change_number() -> None:
    message = wanted(1, RESPOSTA, conversa_chip=UUID(int=2))
    assert assign([message], lists(chip(1), chip(2, em_voo=True))) == {}


def test_a_reply_changes_number_when_its_chip_is_gone() -> None:
    message = wanted(1, RESPOSTA, conversa_chip=UUID(int=2))
    assert assign([message], lists(chip(1), chip(2, status="banned")))[message.id].chip == UUID(int=1)


def test_a_first_contact_prefers_the_chip_that_person_knows() -> None:
    message = wanted(1, afinidade=UUID(int=2))
    choice = assign([message], lists(chip(1), chip(2, peso_hora=5)))[message.id]
    assert (choice.chip.int, choice.motivo) == (2, "afinidade")


@pytest.mark.parametrize(
    ("hours", "share"), [(0, 25), (1.99, 25), (2, 50), (5.99, 50), (6, 75), (11.99, 75), (12, 100), (100, 100)]
)
def test_limits_grow_back_after_a_long_rest(hours: float, share: int) -> None:
    assert ramp_share(NOW - timedelta(hours=hours), NOW) == share


def test_a_small_limit_after_a_long_rest_still_lets_something_through() -> None:
    assert chip(1, rampa_desde=NOW, limite_hora=5, limite_dia=30).limits_at(NOW) == (2, 8)


def test_a_reply_is_bound_neither_by_the_ramp_nor_by_an_ill_fleet() -> None:
    resting = chip(1, rampa_desde=EARLIER, peso_hora=9, peso_dia=20, frota_doente=True)
    assert refusals(resting, RESPOSTA, peso=1, now=NOW, trust_min=40) == ()


def test_a_circuit_that_wants_a_probe_gets_one_message_whatever_the_number_of_its_chips() -> None:
    fleet = [chip(n, sondas=("evolution",)) for n in (1, 2, 3)] + [chip(9, provider="z-api", peso_hora=5)]
    lists: dict[str, Shortlist] = {PROSPECCAO: shortlist(fleet, PROSPECCAO, peso=2, now=NOW)}
    choices = assign([Wanted(UUID(int=100 + n), PROSPECCAO, 2) for n in range(4)], lists)
    assert [choice.chip.int for choice in choices.values()] == [1, 9]


@pytest.mark.parametrize("facts", [{"barreiras": ("chip:1",)}, {"cooldown_until": LATER}, {"em_voo": True}])
def test_a_reply_waits_for_its_own_chip_while_that_will_be_back(facts: dict[str, Any]) -> None:
    lists: dict[str, Shortlist] = {RESPOSTA: shortlist([chip(1, **facts), chip(2)], RESPOSTA, peso=1, now=NOW)}
    assert assign([Wanted(UUID(int=100), RESPOSTA, 1, conversa_chip=UUID(int=1))], lists) == {}


@pytest.mark.parametrize("facts", [{"status": "degraded"}, {"conectado": False}, {"bloqueio_manual": True}])
def test_a_reply_changes_its_number_when_its_own_chip_is_out(facts: dict[str, Any]) -> None:
    lists: dict[str, Shortlist] = {RESPOSTA: shortlist([chip(1, **facts), chip(2)], RESPOSTA, peso=1, now=NOW)}
    choices = assign([Wanted(UUID(int=100), RESPOSTA, 1, conversa_chip=UUID(int=1))], lists)
    assert [choice.chip.int for choice in choices.values()] == [2]
