"""When a campaign's messages are due, and what the operator is told about its end."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila.campanhas import planning
from fila.campanhas.planning import Capacity, ChipBudget, Plan, PlanoMotivo, Segment, plan, spoken
from guardrails import hours
from guardrails.hours import Interval, Window

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
TUESDAY_8H = datetime(2026, 3, 3, 8, 0, tzinfo=SAO_PAULO)
TUESDAY = date(2026, 3, 3)

# Schema defaults: 5 an hour, 30 a day, 120 s; a campaign message weighs 2 and the pause is drawn from 120 to 180 s.
DEFAULT_CHIP = ChipBudget.of(limite_dia=30, peso_dia=0, limite_hora=5, pausa_s=150, peso=2)
FIVE_CHIPS = Capacity(chips=(DEFAULT_CHIP,) * 5)


def business_hours(now: datetime = TUESDAY_8H) -> Iterator[Interval]:
    return hours.intervals(Window(), frozenset(), now, SAO_PAULO)


def local(instant: datetime | None) -> str:
    assert instant is not None
    return f"{instant.astimezone(SAO_PAULO):%d/%m %H:%M}"


def test_a_campaign_message_weighs_two_in_a_chips_limits():
    assert ChipBudget(por_dia=15, hoje=15, por_hora=2) == DEFAULT_CHIP


def test_the_pause_between_sends_bounds_the_hour():
    assert ChipBudget.of(limite_dia=1000, peso_dia=0, limite_hora=1000, pausa_s=150, peso=2).por_hora == 24


def test_what_the_chip_already_carried_today_is_gone():
    assert ChipBudget.of(limite_dia=30, peso_dia=25, limite_hora=5, pausa_s=150, peso=2).hoje == 2


def test_500_people_on_five_chips_of_30_a_day_take_seven_working_days():
    made = plan(500, FIVE_CHIPS, business_hours(), now=TUESDAY_8H)
    assert [count for _, count in made.dias] == [75, 75, 75, 75, 75, 75, 50]
    assert [day.day for day, _ in made.dias] == [3, 4, 5, 6, 9, 10, 11]
    assert local(made.termina_em) == "11/03 13:00"  # 10 an hour: the last 50 take five


def test_the_global_limit_counts_campaigns_twice_too():
    limited = replace(FIVE_CHIPS, global_hora=10, global_dia=50, global_hoje=50)
    made = plan(120, limited, business_hours(), now=TUESDAY_8H)
    assert [count for _, count in made.dias] == [50, 50, 20]


def test_what_was_sent_today_leaves_less_for_today():
    used = replace(FIVE_CHIPS, chips=(replace(DEFAULT_CHIP, hoje=2),) * 5)
    made = plan(80, used, business_hours(), now=TUESDAY_8H)
    assert [count for _, count in made.dias] == [10, 70]


def test_the_hourly_limit_bounds_what_is_left_of_today():
    at_17h = TUESDAY_8H.replace(hour=17)
    made = plan(100, FIVE_CHIPS, business_hours(at_17h), now=at_17h)
    assert [count for _, count in made.dias] == [30, 70]


def test_other_campaigns_go_first_and_carry_over_what_they_cannot_finish():
    busy = replace(FIVE_CHIPS, reservadas={TUESDAY: 100, TUESDAY + timedelta(days=1): 40})
    made = plan(80, busy, business_hours(), now=TUESDAY_8H)
    # 100 on Tuesday: 75 go, 25 join the 40 of Wednesday, which leaves 10 there.
    assert made.dias == [(date(2026, 3, 4), 10), (date(2026, 3, 5), 70)]


def test_rows_of_a_closed_day_weigh_on_the_next_open_one():
    saturday = date(2026, 3, 7)
    at_friday = datetime(2026, 3, 6, 8, tzinfo=SAO_PAULO)
    busy = replace(FIVE_CHIPS, reservadas={saturday: 30})
    made = plan(100, busy, business_hours(at_friday), now=at_friday)
    assert made.dias == [(date(2026, 3, 6), 75), (date(2026, 3, 9), 25)]
    later = plan(130, busy, business_hours(at_friday), now=at_friday)
    assert later.dias == [(date(2026, 3, 6), 75), (date(2026, 3, 9), 45), (date(2026, 3, 10), 10)]


def test_without_any_chip_the_messages_are_due_at_the_first_chance_and_nobody_says_when_it_ends():
    made = plan(10, Capacity(), business_hours(), now=TUESDAY_8H)
    assert made.sem_capacidade
    assert made.motivo is PlanoMotivo.SEM_CHIP
    assert made.termina_em is None
    assert [(s.primeira, s.quantidade, s.inicio) for s in made.segments] == [(1, 10, TUESDAY_8H)]
    assert "Nenhum chip pode enviar campanhas" in planning.SENTENCES[made.motivo]


@pytest.mark.parametrize(
    "capacity", [replace(FIVE_CHIPS, global_dia=0, global_hoje=0), replace(FIVE_CHIPS, global_hora=0)]
)
def test_limits_that_let_nothing_through_are_said(capacity: Capacity):
    assert plan(10, capacity, business_hours(), now=TUESDAY_8H).motivo is PlanoMotivo.SEM_LIMITE


def test_a_chip_whose_hour_is_below_one_message_carries_none():
    tiny = ChipBudget.of(limite_dia=30, peso_dia=0, limite_hora=1, pausa_s=150, peso=2)
    assert plan(1, Capacity(chips=(tiny,)), business_hours(), now=TUESDAY_8H).motivo is PlanoMotivo.SEM_LIMITE


def test_hours_that_never_open_are_said():
    every_day = frozenset(TUESDAY + timedelta(days=n) for n in range(-10, 500))
    never = hours.intervals(Window(), every_day, TUESDAY_8H, SAO_PAULO)
    made = plan(10, FIVE_CHIPS, never, now=TUESDAY_8H)
    assert made.motivo is PlanoMotivo.SEM_JANELA
    assert sum(segment.quantidade for segment in made.segments) == 10


def test_a_used_up_day_is_no_lack_of_capacity():
    spent = replace(FIVE_CHIPS, chips=(replace(DEFAULT_CHIP, hoje=0),) * 5)
    made = plan(10, spent, business_hours(), now=TUESDAY_8H)
    assert not made.sem_capacidade
    assert made.dias == [(date(2026, 3, 4), 10)]


def test_nobody_to_write_to_is_an_empty_plan():
    made = plan(0, FIVE_CHIPS, business_hours(), now=TUESDAY_8H)
    assert made.segments == ()
    assert not made.sem_capacidade


def test_more_than_a_year_is_drawn_out_at_the_same_pace():
    made = plan(100_000, FIVE_CHIPS, business_hours(), now=TUESDAY_8H)
    assert len(made.segments) == planning.MAX_SEGMENTS + 1
    assert sum(segment.quantidade for segment in made.segments) == 100_000
    years = (made.segments[-1].fim - TUESDAY_8H).days / 365
    assert 5.0 < years < 5.3  # 1334 working days of 75


def test_a_plan_survives_being_stored():
    made = plan(100, FIVE_CHIPS, business_hours(), now=TUESDAY_8H)
    assert Plan.from_json(made.as_json()) == made


def test_the_plan_says_how_many_on_which_day():
    made = plan(100, FIVE_CHIPS, business_hours(), now=TUESDAY_8H)
    assert made.as_json()["dias"] == [
        {"dia": "2026-03-03", "quantidade": 75},
        {"dia": "2026-03-04", "quantidade": 25},
    ]


SEGMENT = Segment(TUESDAY_8H, TUESDAY_8H + timedelta(hours=5), primeira=11, quantidade=50)


def test_a_message_is_due_within_its_own_slot():
    assert SEGMENT.due(11, 0.0) == TUESDAY_8H
    assert SEGMENT.due(12, 0.5) == TUESDAY_8H + timedelta(minutes=9)
    assert SEGMENT.due(60, 0.999) < SEGMENT.fim


def test_cutting_a_plan_keeps_the_places_before():
    second = Segment(SEGMENT.fim, SEGMENT.fim + timedelta(hours=1), primeira=61, quantidade=10)
    kept = planning.before((replace(SEGMENT, primeira=1, quantidade=60), second), 64)
    assert [(s.primeira, s.quantidade) for s in kept] == [(1, 60), (61, 3)]
    assert planning.before((SEGMENT,), 1) == ()


@given(
    count=st.integers(1, 3000),
    chips=st.lists(
        st.builds(
            ChipBudget.of,
            limite_dia=st.integers(0, 200),
            peso_dia=st.integers(0, 200),
            limite_hora=st.integers(0, 40),
            pausa_s=st.floats(30, 300),
            peso=st.integers(1, 3),
        ),
        max_size=6,
    ),
    start=st.integers(0, 14 * 24 * 60),
    global_dia=st.none() | st.integers(1, 500),
    reservadas=st.dictionaries(st.integers(-1, 12), st.integers(0, 300), max_size=5),
    first=st.integers(1, 1000),
)
@settings(max_examples=200, deadline=None)
def test_everybody_has_one_place_in_an_open_hour_and_no_day_is_overbooked(
    count: int,
    chips: list[ChipBudget],
    start: int,
    global_dia: int | None,
    reservadas: dict[int, int],
    first: int,
):
    now = TUESDAY_8H + timedelta(minutes=start)
    capacity = Capacity(
        chips=tuple(chips),
        global_dia=global_dia,
        global_hoje=global_dia,
        reservadas={now.date() + timedelta(days=day): n for day, n in reservadas.items()},
    )
    made = plan(count, capacity, business_hours(now), now=now, first=first)

    places = [(s.primeira, s.primeira + s.quantidade) for s in made.segments]
    assert places[0][0] == first
    assert places[-1][1] == first + count
    assert all(end == begin for (_, end), (begin, _) in pairwise(places))
    assert all(before.fim <= after.inicio for before, after in pairwise(made.segments))
    if made.sem_capacidade:
        return
    for segment in made.segments[: planning.MAX_SEGMENTS]:
        assert hours.is_open(Window(), frozenset(), segment.inicio, SAO_PAULO)
        assert hours.is_open(Window(), frozenset(), segment.fim - timedelta(seconds=1), SAO_PAULO)
        seconds = (segment.fim - segment.inicio).total_seconds()
        assert segment.quantidade <= capacity.por_hora * seconds / 3600 + 0.001
    for day, n in made.dias[: planning.MAX_SEGMENTS]:
        assert n + capacity.reservadas.get(day, 0) <= max(capacity.por_dia, capacity.reservadas.get(day, 0))


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        ("2026-03-03T16:40-03:00", "hoje, 16:40"),
        ("2026-03-04T09:05-03:00", "amanhã, 09:05"),
        ("2026-03-05T16:40-03:00", "quinta, 16:40"),
        ("2026-03-09T08:00-03:00", "segunda, 08:00"),
        ("2026-03-10T16:40-03:00", "terça, 10/03, 16:40"),
        ("2026-12-10T16:40-03:00", "quinta, 10/12, 16:40"),
        ("2027-01-08T16:40-03:00", "sexta, 08/01/2027, 16:40"),
        ("2026-03-02T16:40-03:00", "segunda, 02/03, 16:40"),
        ("2026-03-04T02:30+00:00", "hoje, 23:30"),
    ],
)
def test_an_end_is_said_in_brasilia_time_as_an_operator_says_it(instant: str, text: str):
    assert spoken(datetime.fromisoformat(instant), TUESDAY_8H) == text


def test_an_end_nobody_knows_is_said_so():
    assert spoken(None, TUESDAY_8H) == "sem previsão"
