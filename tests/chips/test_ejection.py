"""A restricted chip leaves production on the spot, visibly, and comes back by a person's word."""

from datetime import timedelta
from uuid import UUID

import pytest

from chips import ejection, fleet
from chips.models import Chip
from core.alerts.models import Alerta
from core.audit.models import AuditEntry
from core.audit.services import MotivoMissing
from core.clock import database_now
from tests import factories

pytestmark = pytest.mark.django_db
MOTIVO = "número conferido no celular"


def eject(*chips: Chip) -> list[UUID]:
    return ejection.eject(dict.fromkeys([chip.id for chip in chips], "account_restricted"), now=database_now())


def test_an_ejected_chip_is_degraded_resting_and_told_of() -> None:
    chip = factories.chip()
    assert eject(chip) == [chip.id]
    chip.refresh_from_db()
    assert (chip.status, chip.degradado_motivo) == ("degraded", "account_restricted")
    assert chip.cooldown_until is not None
    assert chip.rampa_desde == chip.cooldown_until
    assert timedelta(minutes=59) < chip.cooldown_until - database_now() <= timedelta(minutes=60)
    assert Alerta.objects.get(tipo="chip_degradado").chave == f"chip:{chip.id}"
    assert AuditEntry.objects.get(acao="chip_degradado").detalhes == {"antes": "active", "depois": "degraded"}


def test_an_alert_shows_no_telephone() -> None:
    chip = factories.chip()
    eject(chip)
    alert = Alerta.objects.get()
    assert chip.telefone not in f"{alert.titulo} {alert.mensagem} {alert.contexto}"


@pytest.mark.parametrize("status", ["degraded", "paused", "banned", "warming"])
def test_a_chip_that_is_not_in_production_is_left_alone(status: str) -> None:
    assert eject(factories.chip(status=status)) == []
    assert not Alerta.objects.exists()


def test_a_longer_rest_that_was_given_before_stays() -> None:
    until = database_now() + timedelta(hours=5)
    chip = factories.chip(cooldown_until=until)
    eject(chip)
    chip.refresh_from_db()
    assert chip.cooldown_until == until == chip.rampa_desde


def test_a_person_gives_it_back_with_a_quarter_of_its_limits() -> None:
    chip, now = factories.chip(limite_hora=40, limite_dia=80), database_now()
    eject(chip)
    ejection.restore(chip.id, actor="ana", motivo=MOTIVO, now=now)
    (facts,) = fleet.load()
    assert (facts.status, facts.cooldown_until, facts.doente) == ("active", None, False)
    assert facts.limits_at(now) == (10, 20)
    assert Alerta.objects.get().resolvido_em is not None


def test_of_two_people_one_gives_it_back_and_the_other_is_told() -> None:
    chip = factories.chip()
    eject(chip)
    ejection.restore(chip.id, actor="ana", motivo=MOTIVO, now=database_now())
    with pytest.raises(ejection.CannotRestore, match="já não está degradado"):
        ejection.restore(chip.id, actor="bia", motivo=MOTIVO, now=database_now())


def test_giving_back_wants_a_motivo() -> None:
    chip = factories.chip()
    eject(chip)
    with pytest.raises(MotivoMissing):
        ejection.restore(chip.id, actor="ana", motivo="curto", now=database_now())


@pytest.mark.parametrize(("ill", "stops"), [(1, False), (2, False), (3, True)])
def test_julia_begins_nothing_while_nearly_the_whole_fleet_is_ill(ill: int, stops: bool) -> None:
    chips = [factories.chip() for _ in range(4)]
    eject(*chips[:ill])
    assert {facts.frota_doente for facts in fleet.load(ill_limit_pct=70)} == {stops}
