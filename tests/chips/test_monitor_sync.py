"""`sincronizar_chips`: the provider's list finds what is missing on either side, and decides nothing by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from chips.jobs import sincronizar_chips, verificar_whatsapp
from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core.circuits import services as circuits
from core.clock import database_now
from core.jobs.deadline import Deadline
from tests import factories
from tests.conftest import connect

pytestmark = pytest.mark.django_db

LONG = timedelta(seconds=270)


def fresh(chip: Chip) -> Chip:
    return Chip.objects.get(pk=chip.pk)


@pytest.fixture
def pair(simulator: SimulatorProcess) -> tuple[Chip, Chip]:
    chips = factories.chip(), factories.chip()
    connect(simulator, *chips)
    return chips


def sync() -> dict[str, Any]:
    return sincronizar_chips(database_now(), Deadline(LONG))


def test_a_list_that_agrees_changes_nothing(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    before = [fresh(chip).updated_at for chip in pair]
    assert sync() == {
        "instancias_evolution": 2, "chips_atualizados": 0, "chips_criados": 0, "chips_conectados": 2,
        "chips_desconectados": 0, "instancias_sem_numero": 0, "erros": 0, "processados": 0,
    }  # fmt: skip
    assert [fresh(chip).updated_at for chip in pair] == before


def test_an_instance_that_vanished_is_disconnected_and_keeps_its_status(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    gone = factories.chip()
    result = sync()
    assert (result["chips_atualizados"], result["chips_desconectados"]) == (1, 1)
    assert (fresh(gone).evolution_connected, fresh(gone).status, fresh(gone).conexao_falhas) == (False, "active", 0)


def test_the_stale_state_of_the_list_does_not_reconnect_a_chip(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    simulator.set_state(pair[0].instance_name, "connecting", silent=True)
    verificar_whatsapp(database_now(), Deadline(LONG))
    assert not fresh(pair[0]).evolution_connected
    assert sync()["chips_atualizados"] == 0, "fetchInstances goes on saying open"
    assert not fresh(pair[0]).evolution_connected


def test_an_unknown_instance_becomes_a_chip_that_nothing_leaves_through(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    simulator.register("de-outra-equipe", phone="5511900009999")
    assert (sync()["chips_criados"], sync()["chips_criados"]) == (1, 0)
    chip = Chip.objects.get(instance_name="de-outra-equipe")
    assert (chip.status, chip.fase_warmup, chip.trust_score, chip.trust_level, chip.bloqueio_manual) == (
        "pending", "repouso", 50, "laranja", True,
    )  # fmt: skip
    assert (chip.telefone, chip.webhook_secret, chip.api_key, chip.pode_responder) == ("5511900009999", "", "", False)
    assert "sem cadastro" in chip.bloqueio_motivo


def test_a_number_that_is_ours_already_makes_no_second_chip(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    simulator.register("nome-novo", phone=pair[0].telefone)
    result = sync()
    assert (result["chips_criados"], result["instancias_sem_numero"]) == (0, 1)


def test_an_empty_list_changes_nothing(simulator: SimulatorProcess, db: None) -> None:
    chip = factories.chip()
    assert sync()["processados"] == 0
    assert fresh(chip).evolution_connected


def test_without_an_evolution_or_behind_its_open_circuit_nobody_is_asked_and_the_run_is_no_failure(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], monkeypatch: pytest.MonkeyPatch
) -> None:
    circuits.force_open("evolution", actor="ana", motivo="provedor em manutenção")
    behind = sync()
    monkeypatch.setattr(settings, "EVOLUTION_API_URL", "")
    for result in (behind, sync()):
        assert (result["status"], result["processados"]) == ("skipped", 0)
    assert all(fresh(chip).evolution_connected for chip in pair)


def test_an_api_that_is_down_is_an_error_of_the_run_and_changes_nothing(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    simulator.fault("5xx", provider="evolution", calls="other")
    result = sync()
    assert (result["status"], result["erros"], result["processados"]) == ("error", 1, 0)
    assert all(fresh(chip).evolution_connected for chip in pair)
