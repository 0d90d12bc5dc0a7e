"""Instants as operators read them."""

from datetime import datetime, timedelta

import pytest

from core.backoffice.moments import day_and_time, exact, relative, span
from core.backoffice.ui import counted, number, progress, short_digits
from core.clock import BRASILIA

NOW = datetime(2026, 3, 3, 10, 0, tzinfo=BRASILIA)  # a Tuesday


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7500, "2 h 05 min"),
        (172800, "2 dias"),
    ],
)
def test_a_span_has_its_two_greatest_units(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_the_past_the_future_and_now() -> None:
    assert relative(NOW - timedelta(minutes=3), NOW) == "há 3 min"
    assert relative(NOW + timedelta(hours=2), NOW) == "em 2 h"
    assert relative(NOW, NOW) == "agora"


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (-1, "ontem, 10:00"), (0, "hoje, 10:00"), (1, "amanhã, 10:00"), (2, "na quinta, 10:00"),
        (4, "no sábado, 10:00"),
        (6, "na segunda, 10:00"), (7, "em 10/03, 10:00"), (-2, "em 01/03, 10:00"), (365, "em 03/03/2027, 10:00"),
    ],
)  # fmt: skip
def test_a_day_is_named_as_people_say_it(days: int, text: str) -> None:
    assert day_and_time(NOW + timedelta(days=days), NOW) == text


def test_the_exact_instant_is_brasilias() -> None:
    assert exact(datetime.fromisoformat("2026-03-03T13:00:05+00:00")) == "03/03/2026 10:00:05"


def test_a_bar_is_full_only_when_all_is_done() -> None:
    assert "width:99%" in progress(999, 1000)
    assert "width:100%" in progress(1000, 1000)
    assert "width:0%" in progress(0, 0)


def test_numbers_are_written_as_in_brazil() -> None:
    assert (number(1234567), counted(1, "mensagem", "mensagens")) == ("1.234.567", "1 mensagem")
    assert counted(1204, "mensagem", "mensagens") == "1.204 mensagens"


def test_an_instance_name_does_not_give_its_number_away() -> None:
    assert short_digits("julia_5511900001000") == "julia_…1000"
