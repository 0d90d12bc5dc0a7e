from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails import hours
from guardrails.hours import ALWAYS, BUSINESS_HOURS, NeverOpens, Window

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
MANAUS = ZoneInfo("America/Manaus")
RIO_BRANCO = ZoneInfo("America/Rio_Branco")
NORONHA = ZoneInfo("America/Noronha")
NEW_YORK = ZoneInfo("America/New_York")
ZONES = [SAO_PAULO, MANAUS, RIO_BRANCO, NORONHA, NEW_YORK, ZoneInfo("Europe/Lisbon"), ZoneInfo("America/Havana")]

TUESDAY = date(2026, 3, 3)
CARNIVAL = frozenset({date(2026, 2, 16), date(2026, 2, 17)})


def at(day, hour, minute=0, second=0, zone=SAO_PAULO):
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)


@pytest.mark.parametrize(
    ("hour", "minute", "second", "expected"),
    [(7, 59, 59, False), (8, 0, 0, True), (12, 0, 0, True), (19, 59, 59, True), (20, 0, 0, False), (23, 0, 0, False)],
)
def test_opens_at_eight_and_is_closed_at_twenty_sharp(hour, minute, second, expected):
    assert hours.is_open(BUSINESS_HOURS, frozenset(), at(TUESDAY, hour, minute, second), SAO_PAULO) is expected


@pytest.mark.parametrize(("day", "expected"), [(2, True), (6, True), (7, False), (8, False), (9, True)])
def test_is_closed_at_weekends(day, expected):
    assert hours.is_open(BUSINESS_HOURS, frozenset(), at(date(2026, 3, day), 10), SAO_PAULO) is expected


def test_is_closed_on_holidays():
    assert not hours.is_open(BUSINESS_HOURS, CARNIVAL, at(date(2026, 2, 17), 10), SAO_PAULO)
    assert hours.is_open(BUSINESS_HOURS, CARNIVAL, at(date(2026, 2, 18), 10), SAO_PAULO)


@pytest.mark.parametrize(
    ("zone", "expected"), [(SAO_PAULO, True), (NORONHA, True), (MANAUS, False), (RIO_BRANCO, False)]
)
def test_the_clock_of_the_zone_decides(zone, expected):
    eight_thirty_in_sao_paulo = at(TUESDAY, 8, 30).astimezone(UTC)
    assert hours.is_open(BUSINESS_HOURS, frozenset(), eight_thirty_in_sao_paulo, zone) is expected


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        (at(TUESDAY, 3), at(TUESDAY, 8)),
        (at(TUESDAY, 10), at(TUESDAY, 10)),
        (at(TUESDAY, 20), at(date(2026, 3, 4), 8)),
        (at(date(2026, 3, 6), 20), at(date(2026, 3, 9), 8)),
        (at(date(2026, 3, 7), 12), at(date(2026, 3, 9), 8)),
        (at(date(2026, 2, 13), 21), at(date(2026, 2, 18), 8)),
        (at(TUESDAY, 23, 30).astimezone(UTC), at(date(2026, 3, 4), 8)),
    ],
    ids=["before dawn", "open now", "closing time", "friday night", "saturday", "eve of carnival", "given in utc"],
)
def test_next_opening(now, opening):
    assert hours.next_opening(BUSINESS_HOURS, CARNIVAL, now, SAO_PAULO) == opening


def test_next_opening_is_utc_so_that_arithmetic_is_elapsed_time():
    assert hours.next_opening(BUSINESS_HOURS, frozenset(), at(TUESDAY, 3), SAO_PAULO).tzinfo is UTC


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        (at(TUESDAY, 10), at(date(2026, 3, 4), 8)),
        (at(TUESDAY, 3), at(date(2026, 3, 4), 8)),
        (at(date(2026, 3, 6), 10), at(date(2026, 3, 9), 8)),
    ],
)
def test_next_day_opening_skips_what_is_left_of_today(now, opening):
    assert hours.next_day_opening(BUSINESS_HOURS, frozenset(), now, SAO_PAULO) == opening


def test_next_day_opening_counts_days_on_the_local_clock():
    monday_evening_in_manaus = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)
    opening = hours.next_day_opening(BUSINESS_HOURS, frozenset(), monday_evening_in_manaus, MANAUS)
    assert opening == at(TUESDAY, 8, zone=MANAUS)


def test_next_day_opening_of_a_window_that_never_closes_is_midnight():
    assert hours.next_day_opening(ALWAYS, frozenset(), at(TUESDAY, 10), SAO_PAULO) == at(date(2026, 3, 4), 0)


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1)], ids=["spring", "autumn"])
def test_the_local_opening_holds_across_a_clock_change(day):
    saturday = day - timedelta(days=1)
    every_day = Window.between("08:00", "20:00", range(1, 8))
    opening = hours.next_opening(every_day, frozenset(), at(saturday, 21, zone=NEW_YORK), NEW_YORK)
    assert opening == at(day, 8, zone=NEW_YORK)
    assert opening.astimezone(NEW_YORK).hour == 8


def test_an_opening_that_the_clock_skips_happens_at_the_change():
    window = Window.between("02:30", "05:00", {7})
    opening = hours.next_opening(window, frozenset(), at(date(2026, 3, 8), 0, zone=NEW_YORK), NEW_YORK)
    assert opening == at(date(2026, 3, 8), 3, zone=NEW_YORK)


def test_a_midnight_that_the_clock_skips_opens_at_one():
    """São Paulo, 4 November 2018: 00:00 became 01:00."""
    day = date(2018, 11, 4)
    first, second = islice(hours.intervals(ALWAYS, frozenset(), at(date(2018, 11, 3), 12), SAO_PAULO), 2)
    assert first[1] == second[0] == datetime(2018, 11, 4, 3, 0, tzinfo=UTC)
    assert second[0].astimezone(SAO_PAULO).hour == 1
    assert second[1] - second[0] == timedelta(hours=23)
    assert second[1] == at(day + timedelta(days=1), 0)


def test_of_a_repeated_hour_the_opening_takes_the_second_and_the_closing_the_first():
    """New York, 1 November 2026: 01:00–02:00 happens twice, from 05:00 and from 06:00 UTC."""
    opens = hours.next_opening(
        Window.between("01:30", "05:00", {7}), frozenset(), at(date(2026, 11, 1), 0, zone=NEW_YORK), NEW_YORK
    )
    assert opens == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    window = Window.between("00:00", "01:30", {7})
    _, closes = next(hours.intervals(window, frozenset(), at(date(2026, 11, 1), 0, zone=NEW_YORK), NEW_YORK))
    assert closes == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_a_day_that_a_zone_never_had_has_no_interval():
    """Samoa crossed the date line: there was no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    first, second = islice(hours.intervals(ALWAYS, frozenset(), at(date(2011, 12, 29), 12, zone=apia), apia), 2)
    assert first[1] == second[0]
    assert second[0].astimezone(apia).date() == date(2011, 12, 31)


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("start", [date(2026, 3, 1), date(2026, 10, 20), date(2018, 11, 1)], ids=str)
def test_a_full_day_window_leaves_no_gap(zone, start):
    walk = list(islice(hours.intervals(ALWAYS, frozenset(), at(start, 12, zone=zone), zone), 40))
    assert all(earlier[1] == later[0] for earlier, later in pairwise(walk))


def test_intervals_start_within_an_open_day_at_the_given_instant():
    walk = hours.intervals(BUSINESS_HOURS, frozenset(), at(date(2026, 3, 6), 15), SAO_PAULO)
    assert list(islice(walk, 2)) == [
        (at(date(2026, 3, 6), 15), at(date(2026, 3, 6), 20)),
        (at(date(2026, 3, 9), 8), at(date(2026, 3, 9), 20)),
    ]


def test_holidays_without_end_are_an_error_and_not_an_endless_search():
    every_day = {TUESDAY + timedelta(days=n) for n in range(-2, 500)}
    with pytest.raises(NeverOpens):
        hours.next_opening(BUSINESS_HOURS, every_day, at(TUESDAY, 10), SAO_PAULO)


@pytest.mark.parametrize(
    ("start", "end", "expected_hours"),
    [
        (at(TUESDAY, 9), at(TUESDAY, 11), 2),
        (at(TUESDAY, 6), at(TUESDAY, 9), 1),
        (at(TUESDAY, 19), at(date(2026, 3, 4), 9), 2),
        (at(date(2026, 3, 6), 12), at(date(2026, 3, 9), 12), 12),
        (at(date(2026, 3, 7), 0), at(date(2026, 3, 8), 23), 0),
        (at(date(2026, 2, 13), 8), at(date(2026, 2, 18), 20), 24),
        (at(TUESDAY, 11), at(TUESDAY, 9), 0),
        (at(TUESDAY, 9), at(TUESDAY, 9), 0),
    ],
)
def test_open_time_between_two_instants(start, end, expected_hours):
    assert hours.open_seconds_between(BUSINESS_HOURS, CARNIVAL, start, end, SAO_PAULO) == expected_hours * 3600


def test_open_time_is_elapsed_time_on_a_day_of_23_hours():
    start, end = at(date(2026, 3, 8), 0, zone=NEW_YORK), at(date(2026, 3, 9), 0, zone=NEW_YORK)
    assert hours.open_seconds_between(ALWAYS, frozenset(), start, end, NEW_YORK) == 23 * 3600


def test_hours_in_common_start_with_the_last_zone_to_open_and_end_with_the_first_to_close():
    zones = [NORONHA, SAO_PAULO, MANAUS, RIO_BRANCO]
    opening, closing = next(hours.common_intervals(BUSINESS_HOURS, frozenset(), at(TUESDAY, 0), zones))
    assert opening == at(TUESDAY, 8, zone=RIO_BRANCO)
    assert closing == at(TUESDAY, 20, zone=NORONHA)


def test_hours_in_common_of_one_zone_are_its_own():
    own = islice(hours.intervals(BUSINESS_HOURS, CARNIVAL, at(TUESDAY, 15), MANAUS), 5)
    common = islice(hours.common_intervals(BUSINESS_HOURS, CARNIVAL, at(TUESDAY, 15), [MANAUS, MANAUS]), 5)
    assert list(own) == list(common)


def test_zones_without_a_common_hour_are_an_error():
    window = Window.between("08:00", "09:00", range(1, 8))
    with pytest.raises(NeverOpens):
        next(hours.common_intervals(window, frozenset(), at(TUESDAY, 0), [SAO_PAULO, RIO_BRANCO]))
    with pytest.raises(ValueError, match="at least one zone"):
        next(hours.common_intervals(window, frozenset(), at(TUESDAY, 0), []))


@pytest.mark.parametrize(
    ("inicio", "fim", "dias"),
    [
        (480, 480, {1}),
        (1200, 480, {1}),
        (-1, 480, {1}),
        (0, 1441, {1}),
        (480, 1200, set()),
        (480, 1200, {0}),
        (480, 1200, {8}),
    ],
)
def test_a_window_that_cannot_be_is_refused(inicio, fim, dias):
    with pytest.raises(ValueError, match="window"):
        Window(inicio, fim, frozenset(dias))


def test_a_window_reads_clock_times():
    assert Window.between("08:00", "20:00", [1, 2, 3, 4, 5]) == BUSINESS_HOURS
    assert Window.between("00:00", "24:00", range(1, 8)) == ALWAYS


@pytest.mark.parametrize("reading", ["", "8:00", "08h00", "08:60", "24:01", "0800", "08:0", "-1:00", "٠٨:٠٠"])
def test_what_is_no_clock_time_is_refused(reading):
    with pytest.raises(ValueError, match="clock reading"):
        hours.minutes_of(reading)


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        hours.is_open(BUSINESS_HOURS, frozenset(), datetime(2026, 3, 3, 10), SAO_PAULO)  # noqa: DTZ001


INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WINDOWS = st.builds(
    lambda edges, dias: Window(min(edges), max(edges), dias),
    st.lists(st.integers(0, 1440), min_size=2, max_size=2, unique=True),
    st.frozensets(st.integers(1, 7), min_size=1),
)
HOLIDAYS = st.frozensets(st.dates(date(2015, 1, 1), date(2030, 1, 1)), max_size=5)


@settings(deadline=None)
@given(window=WINDOWS, holidays=HOLIDAYS, now=INSTANTS, zone=st.sampled_from(ZONES))
def test_open_means_that_the_local_clock_shows_an_open_hour(window, holidays, now, zone):
    local = now.astimezone(zone)
    shows_open = (
        window.inicio <= local.hour * 60 + local.minute < window.fim
        and local.isoweekday() in window.dias
        and local.date() not in holidays
    )
    is_repeated_hour = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    if not is_repeated_hour:
        assert hours.is_open(window, holidays, now, zone) == shows_open


@settings(deadline=None)
@given(window=WINDOWS, holidays=HOLIDAYS, now=INSTANTS, zone=st.sampled_from(ZONES))
def test_next_opening_is_open_and_nothing_before_it_is(window, holidays, now, zone):
    opening = hours.next_opening(window, holidays, now, zone)
    assert opening >= now
    assert hours.is_open(window, holidays, opening, zone)
    assert hours.open_seconds_between(window, holidays, now, opening, zone) == 0


@settings(deadline=None)
@given(window=WINDOWS, holidays=HOLIDAYS, now=INSTANTS, zone=st.sampled_from(ZONES))
def test_intervals_are_in_order_and_never_empty(window, holidays, now, zone):
    walk = list(islice(hours.intervals(window, holidays, now, zone), 6))
    assert walk[0][0] >= now
    assert all(opening < closing for opening, closing in walk)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(walk))


@settings(deadline=None)
@given(window=WINDOWS, now=INSTANTS, days=st.integers(0, 20), zone=st.sampled_from(ZONES))
def test_open_time_is_the_length_of_the_intervals(window, now, days, zone):
    end = now + timedelta(days=days)
    total = 0.0
    for opening, closing in hours.intervals(window, frozenset(), now, zone):
        if opening >= end:
            break
        total += (min(closing, end) - opening).total_seconds()
    assert hours.open_seconds_between(window, frozenset(), now, end, zone) == pytest.approx(total)


@settings(deadline=None)
@given(
    window=WINDOWS.filter(lambda window: window.fim - window.inicio > 400),
    now=INSTANTS,
    zones=st.lists(st.sampled_from([SAO_PAULO, MANAUS, RIO_BRANCO, NORONHA]), min_size=1, max_size=4),
)
def test_hours_in_common_are_open_everywhere(window, now, zones):
    for opening, closing in islice(hours.common_intervals(window, frozenset(), now, zones), 3):
        for zone in zones:
            assert hours.is_open(window, frozenset(), opening, zone)
            assert hours.is_open(window, frozenset(), closing - timedelta(microseconds=1), zone)
