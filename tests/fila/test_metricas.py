"""The numbers of the fila: each worked by hand, one statement, nothing for an empty table."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.clock import database_now
from fila.metricas import obter_metricas_fila
from tests import factories
from tests.fila.held import hold

pytestmark = pytest.mark.django_db

ASKED = (
    "pendentes", "processando", "enviadas_ultima_hora", "erros_ultima_hora", "tempo_medio_processamento_ms",
    "mensagem_mais_antiga_minutos",
)  # fmt: skip


def ended(status: str, *, minutes_ago: float, took_s: float | None = None, **values: Any) -> None:
    at = database_now() - timedelta(minutes=minutes_ago)
    since = at - timedelta(seconds=took_s) if took_s is not None else None
    factories.mensagem(status=status, outcome_at=at, processando_desde=since, **values)


def waiting(*, minutes: float, **values: Any) -> None:
    factories.mensagem(agendar_para=database_now() - timedelta(minutes=minutes), **values)


def test_an_empty_fila_is_zeros_and_nothing_to_measure() -> None:
    found = obter_metricas_fila()
    assert set(ASKED) <= set(found)
    assert {key: found[key] for key in found if found[key]} == {}
    assert (found["tempo_medio_processamento_ms"], found["mensagem_mais_antiga_minutos"]) == (None, None)


def test_the_numbers_of_a_small_fila() -> None:
    waiting(minutes=45)
    waiting(minutes=12, campanha=factories.campanha())
    waiting(minutes=-600)
    hold(factories.mensagem(), minutes_ago=61)
    hold(factories.mensagem(), minutes_ago=2)
    factories.mensagem(status="incerta")
    ended("enviada", minutes_ago=5, took_s=2)
    ended("enviada", minutes_ago=50, took_s=4)
    ended("enviada", minutes_ago=70, took_s=400)
    ended("erro", minutes_ago=10, took_s=6)
    ended("erro", minutes_ago=300)
    ended("erro", minutes_ago=60 * 30)
    ended("cancelada", minutes_ago=3)
    assert obter_metricas_fila() == {
        "pendentes": 3,
        "processando": 2,
        "incertas": 1,
        "travadas": 1,
        "enviadas_ultima_hora": 2,
        "erros_ultima_hora": 1,
        "erros_ultimas_24h": 2,
        "tempo_medio_processamento_ms": 4000,
        "mensagem_mais_antiga_minutos": 45,
        "mensagem_mais_antiga_min": 45,
    }


@pytest.mark.parametrize("status", ["pausada", "cancelada", "concluida"])
def test_what_a_pause_holds_is_waiting_but_not_late(status: str) -> None:
    waiting(minutes=500, campanha=factories.campanha(status=status))
    waiting(minutes=7)
    found = obter_metricas_fila()
    assert (found["pendentes"], found["mensagem_mais_antiga_minutos"]) == (2, 7)


def test_it_is_one_statement() -> None:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        obter_metricas_fila()
    assert len(asked) == 1
