"""Slow providers as the ledger shows them: what counts, what is persisted, who is told."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chips import slowness
from chips.models import Chip, Tentativa
from core.circuits import bulkhead, services
from core.circuits.models import Circuit
from core.clock import database_now
from core.database import execute
from core.models import Alerta
from tests import factories

pytestmark = pytest.mark.django_db

FULL = 32
WHOLE = {"evolution": None, "zapi": None}
SLOW = {"evolution": 1, "zapi": None}


@pytest.fixture
def fleet() -> list[Chip]:
    return [factories.chip() for _ in range(8)] + [factories.chip(provider="z-api") for _ in range(2)]


def attempt(chip: Chip, *, ago: float, took: float | None, **values: object) -> Tentativa:
    """A call that began `ago` seconds ago and took `took`; None: still in flight."""
    now = database_now()
    began = now - timedelta(seconds=ago)
    ended = {} if took is None else {"encerrado_em": began + timedelta(seconds=took), "duracao_ms": int(took * 1000)}
    return Tentativa.objects.create(
        **{
            "chip": chip,
            "provider": chip.provider,
            "origem_id": uuid.uuid4(),
            "destino": "5511900000001",
            "tipo_mensagem": "prospeccao",
            "proativa": True,
            "balde_em": began,
            "dia_local": began.date(),
            "texto_hash": "0" * 64,
            "lote": uuid.uuid4(),
            "consumidor": "teste",
            "iniciado_em": began,
            "resultado": "iniciado" if took is None else "enviado",
            "http_status": None if took is None else 201,
        }
        | ended
        | values
    )


def black_hole(fleet: list[Chip]) -> None:
    """Four calls that nobody answers."""
    for chip in fleet[:4]:
        attempt(chip, ago=12, took=None)


def test_calls_in_flight_for_ten_seconds_leave_a_provider_one_sender_and_tell_somebody(fleet: list[Chip]) -> None:
    black_hole(fleet)
    assert slowness.observe(FULL) == SLOW
    row = Circuit.objects.get(pk="evolution")
    assert (row.state, row.share) == ("closed", 1)
    assert row.slow_since == row.share_since is not None
    assert services.snapshot().share("evolution") == 1
    alert = Alerta.objects.get()
    assert (alert.tipo, alert.chave, alert.resolvido_em) == ("provedor_lento", "evolution", None)
    assert "Próximo passo" in alert.mensagem


def test_a_second_look_changes_nothing_and_costs_one_statement(fleet: list[Chip]) -> None:
    black_hole(fleet)
    slowness.observe(FULL)
    before = Circuit.objects.get(pk="evolution").version
    with CaptureQueriesContext(connection) as queries:
        assert slowness.observe(FULL) == SLOW
    assert len(queries) == 1
    assert Circuit.objects.get(pk="evolution").version == before
    assert Alerta.objects.get().ocorrencias == 1


@pytest.mark.parametrize(
    ("values", "lento"),
    [
        ({}, True),
        ({"resultado": "desconhecido", "http_status": None, "error_kind": "timeout"}, True),
        ({"duracao_ms": None, "resultado": "desconhecido", "error_kind": "desconhecido"}, False),
        ({"resultado": "rejeitado", "http_status": None, "error_kind": "interno", "codigo": "withdrawn"}, False),
    ],
)
def test_what_nobody_measured_and_what_never_left_says_nothing(
    fleet: list[Chip], values: dict[str, object], lento: bool
) -> None:
    for chip in fleet[:2]:
        attempt(chip, ago=60, took=15, **values)
    assert slowness.observe(FULL) == (SLOW if lento else WHOLE)


def test_calls_that_began_more_than_two_minutes_ago_are_forgotten(fleet: list[Chip]) -> None:
    for chip in fleet[:4]:
        attempt(chip, ago=130, took=20)
    assert slowness.observe(FULL) == WHOLE


def test_calls_that_just_began_say_nothing_yet(fleet: list[Chip]) -> None:
    for chip in fleet[:4]:
        attempt(chip, ago=3, took=None)
    assert slowness.observe(FULL) == WHOLE


def test_the_last_twenty_decided_calls_count(fleet: list[Chip]) -> None:
    for number in range(20):
        attempt(fleet[0], ago=100 - number, took=20)
    for number in range(11):
        attempt(fleet[1], ago=20 - number, took=0.3)
    assert slowness.observe(FULL) == WHOLE


def test_fast_answers_do_not_hide_calls_that_hang_beside_them(fleet: list[Chip]) -> None:
    """Twelve that took 11 s, and twenty fast ones that began later and ended before those were known to be slow."""
    for number in range(12):
        attempt(fleet[0], ago=14 - number / 10, took=11)
    for number in range(20):
        attempt(fleet[1], ago=11 - number / 5, took=0.3)
    assert slowness.observe(FULL) == SLOW


def test_one_slow_provider_leaves_the_other_alone(fleet: list[Chip]) -> None:
    black_hole(fleet)
    for chip in fleet[8:]:
        attempt(chip, ago=12, took=None)
    execute("DELETE FROM envios_tentativas WHERE provider = 'evolution'")
    assert slowness.observe(FULL) == {"evolution": None, "zapi": 1}


def test_healthy_answers_give_the_share_back_and_resolve_the_alert(fleet: list[Chip]) -> None:
    black_hole(fleet)
    slowness.observe(FULL)
    execute("UPDATE envios_tentativas SET resultado = 'desconhecido', encerrado_em = agora(), duracao_ms = 60000")
    shares = []
    for _ in range(3):
        attempt(fleet[5], ago=0, took=0.2)
        shares.append(slowness.observe(FULL)["evolution"])
    assert shares == [2, 4, None]
    row = Circuit.objects.get(pk="evolution")
    assert (row.share, row.slow_since) == (None, None)
    assert Alerta.objects.get().resolvido_em is not None


def test_a_whole_share_stays_whole_while_the_window_is_full_of_old_slow_calls(fleet: list[Chip]) -> None:
    test_healthy_answers_give_the_share_back_and_resolve_the_alert(fleet)
    assert slowness.observe(FULL) == WHOLE
    assert Alerta.objects.count() == 1


def test_whoever_lost_the_race_for_the_row_changes_nothing(fleet: list[Chip], monkeypatch: pytest.MonkeyPatch) -> None:
    black_hole(fleet)
    before = bulkhead.step

    def meanwhile(*args: Any, **kwargs: Any) -> bulkhead.Share:
        execute("UPDATE circuits SET version = version + 1")
        return before(*args, **kwargs)

    monkeypatch.setattr(bulkhead, "step", meanwhile)
    assert slowness.observe(FULL) == WHOLE
    assert not Alerta.objects.exists()
    monkeypatch.undo()
    assert slowness.observe(FULL) == SLOW


def test_a_circuit_without_a_row_gets_one(fleet: list[Chip]) -> None:
    Circuit.objects.all().delete()
    black_hole(fleet)
    assert slowness.observe(FULL) == SLOW
    assert Circuit.objects.get(pk="evolution").share == 1
