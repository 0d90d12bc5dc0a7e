"""Cron in Brasília time: the grammar, when it fires, and that django-q2's parser fires at the same instants."""

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import BRASILIA
from core.jobs.cron import InvalidCron, latest_fire, matches, next_fire, parse

MONDAY_9H = datetime(2026, 1, 5, 9, 0, tzinfo=BRASILIA)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BRASILIA)


@pytest.mark.parametrize(
    ("expression", "fires", "does_not"),
    [
        ("* * * * *", "2026-01-05 09:01", None),
        ("*/5 * * * *", "2026-01-05 09:55", "2026-01-05 09:56"),
        ("0 * * * *", "2026-01-05 10:00", "2026-01-05 10:01"),
        ("0 9 * * *", "2026-01-05 09:00", "2026-01-05 12:00"),
        ("0 9 * * 1", "2026-01-05 09:00", "2026-01-06 09:00"),
        ("0 9,14 * * 1-5", "2026-01-09 14:00", "2026-01-10 14:00"),
        ("*/10 8-18 * * *", "2026-01-05 18:50", "2026-01-05 19:00"),
        ("*/5 8-19 * * *", "2026-01-05 19:55", "2026-01-05 20:00"),
        ("0 2 * * 0", "2026-01-04 02:00", "2026-01-05 02:00"),
        ("0 2 * * 7", "2026-01-04 02:00", "2026-01-05 02:00"),
        ("0 2 * * 5-7", "2026-01-04 02:00", "2026-01-08 02:00"),
        ("0,30 9-19 * * 1-5", "2026-01-05 19:30", "2026-01-05 20:00"),
        ("0 8-18/2 * * *", "2026-01-05 18:00", "2026-01-05 17:00"),
        ("10-20/5 * * * *", "2026-01-05 09:15", "2026-01-05 09:25"),
        ("1-3,7,20-21 * * * *", "2026-01-05 09:21", "2026-01-05 09:04"),
        ("0 0 13 * 5", "2026-02-06 00:00", "2026-02-12 00:00"),  # a Friday that is not the 13th
        ("0 0 13 * 5", "2026-01-13 00:00", None),  # a 13th that is a Tuesday
        ("5-5 0 * * *", "2026-01-05 00:05", "2026-01-05 00:06"),
        ("00 09 * * *", "2026-01-05 09:00", "2026-01-05 09:09"),
    ],
)
def test_an_expression_matches_its_minutes_and_no_others(expression: str, fires: str, does_not: str | None) -> None:
    assert matches(expression, at(fires))
    assert does_not is None or not matches(expression, at(does_not))


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "0 9 * * MON",
        "0 9 * jan *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * 0 *",
        "* * * * 8",
        "50-10 * * * *",
        "* * * * 5-1",
        "* * * * 6-0",
        "5/10 * * * *",
        "*/0 * * * *",
        "0-30/0 * * * *",
        "*/60 * * * *",
        "* */24 * * *",
        "* * * */13 *",
        "0-30/60 * * * *",
        "1, * * * *",
        ",1 * * * *",
        "1,,2 * * * *",
        "*,5 * * * *",
        "-5 * * * *",
        "1- * * * *",
        "5-9- * * * *",
        "*/ * * * *",
        "? * * * *",
        "* * L * *",
        "* * 1W * *",
        "* * * * 1#2",
        "٥ * * * *",
        "1.5 * * * *",
        "0 0 31 2 *",
        "0 0 31 4,6,9,11 *",
    ],
)
def test_what_two_readers_could_take_differently_is_refused(expression: str) -> None:
    with pytest.raises(InvalidCron):
        parse(expression)


@pytest.mark.parametrize(
    ("expression", "after", "fires"),
    [
        ("* * * * *", "2026-01-05 09:00", "2026-01-05 09:01"),
        ("0 9 * * *", "2026-01-05 09:00", "2026-01-06 09:00"),
        ("0 9 * * *", "2026-01-05 08:59", "2026-01-05 09:00"),
        ("*/5 8-19 * * 1-5", "2026-01-09 19:55", "2026-01-12 08:00"),
        ("55 23 * * *", "2026-01-05 23:56", "2026-01-06 23:55"),
        ("0 0 29 2 *", "2026-01-05 09:00", "2028-02-29 00:00"),
        ("0 4 * * 0", "2026-12-31 23:59", "2027-01-03 04:00"),
    ],
)
def test_the_next_instant_comes_strictly_after(expression: str, after: str, fires: str) -> None:
    assert next_fire(expression, at(after)) == at(fires)


@pytest.mark.parametrize(
    ("expression", "until", "fired"),
    [
        ("* * * * *", "2026-01-05 09:00", "2026-01-05 09:00"),
        ("0 9 * * *", "2026-01-05 08:59", "2026-01-04 09:00"),
        ("*/5 8-19 * * 1-5", "2026-01-11 12:00", "2026-01-09 19:55"),
        ("0 0 29 2 *", "2026-01-05 09:00", "2024-02-29 00:00"),
    ],
)
def test_the_latest_instant_is_not_after_the_moment_asked_for(expression: str, until: str, fired: str) -> None:
    assert latest_fire(expression, at(until)) == at(fired)


def test_instants_are_brasilia_whatever_the_zone_of_the_question() -> None:
    noon_utc = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    assert matches("0 9 * * 1", noon_utc)
    assert not matches("0 12 * * 1", noon_utc)
    assert next_fire("0 9 * * *", noon_utc) == datetime(2026, 1, 6, 12, 0, tzinfo=UTC)


def test_an_hour_that_the_clock_repeats_fires_once() -> None:
    """Brasília repeated 23:00-23:59 on 17 February 2018."""
    first = next_fire("30 23 * * *", at("2018-02-17 12:00"))
    assert first == datetime(2018, 2, 18, 1, 30, tzinfo=UTC)
    assert next_fire("30 23 * * *", first) == at("2018-02-18 23:30")


def parts(low: int, high: int, longest_step: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(sorted)
    step = st.integers(1, longest_step)
    return st.one_of(
        number.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        step.map(lambda every: f"*/{every}"),
        st.tuples(span, step).map(lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"),
    )


def fields(low: int, high: int, longest_step: int) -> st.SearchStrategy[str]:
    some = st.lists(parts(low, high, longest_step), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), some)


EXPRESSIONS = st.tuples(
    fields(0, 59, 59), fields(0, 23, 23), fields(1, 31, 31), fields(1, 12, 12), fields(0, 7, 6)
).map(" ".join)
INSTANTS = st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: MONDAY_9H + timedelta(minutes=minutes))


def lawful(expression: str) -> bool:
    try:
        parse(expression)
    except InvalidCron:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS.filter(lawful), INSTANTS)
def test_the_next_instant_is_the_one_that_django_q2_computes(expression: str, after: datetime) -> None:
    cron = parse(expression)
    assert next_fire(cron, after) == croniter(cron.text, after).get_next(datetime)


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS.filter(lawful), INSTANTS)
def test_next_latest_and_matching_agree_minute_by_minute(expression: str, after: datetime) -> None:
    cron = parse(expression)
    minutes = [after + timedelta(minutes=offset) for offset in range(1, 1500)]
    matching = [minute for minute in minutes if matches(cron, minute)]
    fires = next_fire(cron, after)
    assert (matching[0] == fires) if matching else (fires > minutes[-1])
    if matching:
        assert latest_fire(cron, minutes[-1]) == matching[-1]


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS.filter(lawful))
def test_the_normal_form_means_the_same(expression: str) -> None:
    again = parse(parse(expression).text)
    after = MONDAY_9H
    for _ in range(3):
        after = next_fire(expression, after)
        assert matches(again, after)


def test_a_refusal_names_the_field_and_the_reason() -> None:
    with pytest.raises(InvalidCron, match=r"'50-10' dá a volta no campo minuto"):
        parse("50-10 * * * *")
    with pytest.raises(InvalidCron, match="nunca dispara"):
        parse("0 0 31 2 *")
