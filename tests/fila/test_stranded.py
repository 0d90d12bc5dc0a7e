"""Due messages that nobody can carry wait without penalty, each with the reason."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from chips.choices import TipoMensagem
from chips.selection import ChipFacts, shortlist
from core.alerts.models import Alerta
from core.clock import database_now
from core.outcomes import SendOutcome
from fila import stranded
from fila.models import Mensagem
from guardrails.choices import Kind
from tests import factories
from tests.chips.test_selection import EARLIER, LATER, NOW, chip

OPEN, SLEEPY = SendOutcome.FAILED_CIRCUIT_OPEN, SendOutcome.FAILED_NO_CAPACITY
SOON = timedelta(seconds=15)


def reason(fleet: Sequence[ChipFacts], tipo: str = "prospeccao", now: datetime = NOW) -> stranded.Reason | None:
    return stranded.reason_of(shortlist(fleet, tipo, peso=2, now=now), {each.id: each for each in fleet}, now)


@pytest.mark.parametrize(
    ("facts", "outcome", "motivo"),
    [
        ({"barreiras": ("evolution",)}, OPEN, "evolution_circuit_open:queued_for_retry"),
        ({"barreiras": ("chip:1",)}, OPEN, "circuit_open:chip"),
        ({"frota_doente": True}, SLEEPY, "no_capacity:frota_doente"),
        ({"peso_hora": 10}, SLEEPY, "no_capacity:chips_no_limite"),
        ({"cooldown_until": LATER}, SLEEPY, "no_capacity:chips_em_descanso"),
        ({"conectado": False}, SLEEPY, "no_capacity:chips_desconectados"),
        ({"status": "degraded"}, SLEEPY, "no_capacity:sem_chip"),
    ],
)
def test_what_keeps_the_whole_fleet_is_named(facts: dict[str, Any], outcome: SendOutcome, motivo: str) -> None:
    found = reason([chip(1, **facts)])
    assert found is not None
    assert (found.outcome, found.motivo) == (outcome, motivo)


@pytest.mark.parametrize("facts", [{}, {"em_voo": True}, {"proximo_envio_em": LATER}])
def test_a_chip_that_is_free_now_or_in_a_moment_strands_nobody(facts: dict[str, Any]) -> None:
    assert reason([chip(1, **facts), chip(2, status="degraded")]) is None


@pytest.mark.parametrize(
    ("until", "expected"),
    [(NOW + timedelta(seconds=60), 60), (NOW + timedelta(hours=1), 300), (NOW + timedelta(seconds=2), 15)],
)
def test_a_rest_is_waited_for_within_bounds(until: datetime, expected: int) -> None:
    found = reason([chip(1, cooldown_until=until), chip(2, barreiras=("chip:2",))])
    assert found is not None
    assert found.until - NOW == timedelta(seconds=expected)


def facts_of(row_id: UUID, **facts: Any) -> ChipFacts:
    return replace(chip(1, **facts), id=row_id)


def postpone(fleet: Sequence[ChipFacts], held: frozenset[Kind] = frozenset()) -> int:
    now = database_now()
    lists = {tipo: shortlist(fleet, tipo, peso=1, now=now) for tipo in TipoMensagem.values}
    return stranded.postpone(lists, fleet, held, now, random.Random(1))


BARRED = [chip(1, barreiras=("evolution",), proximo_envio_em=EARLIER)]


@pytest.mark.django_db
def test_the_rows_wait_with_the_reason_and_without_penalty() -> None:
    messages = factories.mensagens(3, campanha=factories.campanha())
    assert postpone(BARRED) == 3
    for message in messages:
        before = message.expira_em
        message.refresh_from_db()
        assert message.status == "pendente"
        assert (message.outcome, message.tentativas, message.reagendamentos) == ("FAILED_CIRCUIT_OPEN", 0, 1)
        assert message.outcome_reason_code == "evolution_circuit_open:queued_for_retry"
        assert timedelta(seconds=290) < message.agendar_para - database_now() < timedelta(seconds=310)
        assert message.expira_em is not None
        assert before is None or message.expira_em > before


@pytest.mark.django_db
def test_their_order_is_kept() -> None:
    campaign = factories.campanha()
    low, high = (factories.mensagem(campanha=campaign, prioridade=prioridade) for prioridade in (3, 9))
    postpone(BARRED)
    low.refresh_from_db()
    high.refresh_from_db()
    assert high.agendar_para < low.agendar_para


@pytest.mark.django_db
def test_rows_that_something_else_holds_stay_as_they_are() -> None:
    later = database_now() + timedelta(hours=1)
    paused = factories.mensagem(campanha=factories.campanha(status="pausada"))
    future = factories.mensagem(campanha=factories.campanha(), agendar_para=later)
    held = factories.mensagem(campanha=factories.campanha())
    assert postpone(BARRED, held=frozenset({Kind.CAMPANHA})) == 0
    assert not Mensagem.objects.filter(id__in=[paused.id, future.id, held.id], reagendamentos__gt=0).exists()


@pytest.mark.django_db
def test_only_the_types_that_nobody_can_carry_wait() -> None:
    campaign, reminder = factories.mensagem(campanha=factories.campanha()), factories.mensagem()
    able = chip(1, pode_prospectar=False, proximo_envio_em=EARLIER)
    assert postpone([able]) == 1
    campaign.refresh_from_db()
    reminder.refresh_from_db()
    assert (campaign.reagendamentos, reminder.reagendamentos) == (1, 0)


@pytest.mark.django_db
def test_an_ill_fleet_is_told_of_once_and_resolved_when_it_healed() -> None:
    for pct in (75, 80, 60):
        stranded.tell_of_illness(ill_pct=pct, limit_pct=70)
    alert = Alerta.objects.get(tipo="frota_doente")
    assert (alert.ocorrencias, alert.valor) == (2, Decimal(80))
    assert alert.resolvido_em is not None
