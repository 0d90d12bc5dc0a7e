"""Deadlines: when a job is stale, overdue, begun too late or too long; and never late outside its window."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import BRASILIA
from core.jobs import sla
from core.jobs.cron import interval, latest_fire, next_fire, on_weekdays_only, parse
from core.jobs.registry import Job
from tests.core.some_jobs import register

pytestmark = pytest.mark.usefixtures("own_registry")

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WINDOWED = "*/5 8-19 * * 1-5"
NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BRASILIA)


def job(cron: str, promised: timedelta, **options: Any) -> Job:
    return register(lambda now: {"processados": 0}, cron=cron, sla=promised, **options)


# --- classes


@pytest.mark.parametrize(
    ("cron", "every"),
    [
        ("* * * * *", MINUTE),
        ("*/2 * * * *", 2 * MINUTE),
        ("*/5 8-19 * * *", 5 * MINUTE),
        ("*/15 * * * *", 15 * MINUTE),
        ("0,30 9-19 * * 1-5", 30 * MINUTE),
        ("0 * * * *", HOUR),
        ("0 23,0 * * *", HOUR),
        ("0 9,14 * * 1-5", 5 * HOUR),
        ("55 23 * * *", DAY),
        ("0 8 * * 1-5", DAY),
        ("0 2 * * 0", 7 * DAY),
        ("0 9 1 * *", 28 * DAY),
        ("0 0 29 2 *", 366 * DAY),
    ],
)
def test_the_interval_is_the_shortest_time_between_two_planned_instants(cron: str, every: timedelta) -> None:
    assert interval(parse(cron)) == every


@pytest.mark.parametrize(
    ("cron", "only"),
    [("0 8 * * 1-5", True), (WINDOWED, True), ("0 8 * * *", False), ("0 8 * * 1", False), ("0 8 13 * *", False)],
)
def test_weekday_only_jobs_rest_on_some_days_of_the_week(cron: str, only: bool) -> None:
    assert on_weekdays_only(parse(cron)) is only


CLASSES = [  # S2's classes: cron, SLA, an instant at which it fires
    ("* * * * *", 3 * MINUTE, "2026-03-03 10:00"),
    ("*/5 * * * *", 15 * MINUTE, "2026-03-03 10:00"),
    ("*/10 * * * *", 30 * MINUTE, "2026-03-03 10:00"),
    ("*/15 * * * *", 45 * MINUTE, "2026-03-03 10:00"),
    ("0 * * * *", 2 * HOUR, "2026-03-03 10:00"),
    ("0 3 * * *", 25 * HOUR, "2026-03-03 03:00"),
    ("0 9 * * 1", 8 * DAY, "2026-03-02 09:00"),
    ("*/5 8-19 * * 1-5", 15 * MINUTE, "2026-03-03 10:00"),
]


@pytest.mark.parametrize(("cron", "promised", "ran"), CLASSES)
def test_a_run_on_its_planned_instant_is_fresh_for_one_sla(cron: str, promised: timedelta, ran: str) -> None:
    assert sla.deadline(job(cron, promised), at(ran), LONG_AGO) == at(ran) + promised


@pytest.mark.parametrize(
    ("cron", "promised", "ran", "silence"),
    [
        ("* * * * *", 3 * MINUTE, "2026-03-03 10:00", 2 * MINUTE),
        ("*/5 * * * *", 15 * MINUTE, "2026-03-03 10:00", 10 * MINUTE),
        ("*/15 * * * *", 45 * MINUTE, "2026-03-03 10:00", 30 * MINUTE),
        ("0 * * * *", 2 * HOUR, "2026-03-03 10:00", 2 * HOUR),
        ("0 3 * * *", 25 * HOUR, "2026-03-03 03:00", 25 * HOUR),
        ("0 9 * * 1", 8 * DAY, "2026-03-02 09:00", 8 * DAY),
    ],
)
def test_a_person_is_told_after_twice_the_interval_or_one_sla(
    cron: str, promised: timedelta, ran: str, silence: timedelta
) -> None:
    assert sla.alert_deadline(job(cron, promised), at(ran), LONG_AGO) == at(ran) + silence


def test_the_silence_of_a_minutes_job_counts_from_its_start_and_not_from_the_full_minute() -> None:
    """django-q2 looks every 30 s: starts at :30 and then at :01 are 91 s apart, and nobody is called for that."""
    minutely = job("* * * * *", 3 * MINUTE)
    assert sla.alert_deadline(minutely, at("2026-03-03 10:00:30"), LONG_AGO) == at("2026-03-03 10:02:30")
    assert sla.deadline(minutely, at("2026-03-03 10:00:30"), LONG_AGO) == at("2026-03-03 10:03:00")


@pytest.mark.parametrize(
    ("cron", "promised", "ran", "stale"),
    [
        (WINDOWED, 15 * MINUTE, "2026-03-06 19:55", "2026-03-09 08:10"),  # Friday evening: until Monday
        ("*/5 8-19 * * *", 15 * MINUTE, "2026-03-06 19:55", "2026-03-07 08:10"),
        ("0 8 * * 1-5", 25 * HOUR, "2026-03-06 08:00", "2026-03-09 09:00"),  # one hour, never a whole weekend more
        ("0 8 * * 1-5", 3 * DAY, "2026-03-06 08:00", "2026-03-09 09:00"),
        ("0 9,14 * * 1-5", 25 * HOUR, "2026-03-06 14:00", "2026-03-09 10:00"),
        ("0,30 9-19 * * 1-5", 3 * DAY, "2026-03-06 19:30", "2026-03-09 10:00"),
        ("0,30 * * * *", 2 * HOUR, "2026-03-06 10:00", "2026-03-06 11:30"),
    ],
)
def test_a_window_moves_the_deadline_to_its_next_opening(cron: str, promised: timedelta, ran: str, stale: str) -> None:
    assert sla.deadline(job(cron, promised), at(ran), LONG_AGO) == at(stale)


def test_a_job_that_never_ran_has_one_sla_from_the_first_start_of_the_scheduler() -> None:
    first = at("2026-03-03 10:00:20")
    daily, minutely = job("0 9 * * *", 25 * HOUR), register(lambda now: {}, "outra", sla=3 * MINUTE)
    assert sla.deadline(daily, None, first) == sla.alert_deadline(daily, None, first) == first + 25 * HOUR
    assert sla.deadline(minutely, None, first) == sla.alert_deadline(minutely, None, first) == first + 3 * MINUTE


def test_a_windowed_job_that_never_ran_waits_for_its_window() -> None:
    friday_night = at("2026-03-06 21:00")
    assert sla.deadline(job(WINDOWED, 15 * MINUTE), None, friday_night) == at("2026-03-09 08:10")


# --- three faults, and none of them another


def test_overdue_is_when_nothing_has_begun_in_time() -> None:
    minutely, ran = job("* * * * *", 3 * MINUTE), at("2026-03-03 10:00")
    assert not sla.is_overdue(minutely, ran, None, LONG_AGO, ran + 120 * SECOND)
    assert sla.is_overdue(minutely, ran, None, LONG_AGO, ran + 121 * SECOND)


def test_a_run_in_progress_is_not_overdue_but_too_long() -> None:
    minutely, ran = job("* * * * *", 3 * MINUTE, longest=MINUTE), at("2026-03-03 10:00")
    began = ran + MINUTE
    assert not sla.is_overdue(minutely, ran, began, LONG_AGO, began + 90 * SECOND)
    assert not sla.is_too_long(minutely, began, began + MINUTE)
    assert sla.is_too_long(minutely, began, began + MINUTE + SECOND)
    assert not sla.is_too_long(minutely, None, began)


def test_a_scheduled_run_began_late_two_minutes_after_its_planned_instant() -> None:
    daily = job("0 3 * * *", 25 * HOUR)
    assert not sla.began_late(daily, at("2026-03-03 03:02"))
    assert sla.began_late(daily, at("2026-03-03 03:02:01"))
    assert sla.start_delay(daily, at("2026-03-03 04:30")) == 90 * MINUTE
    assert not sla.is_overdue(daily, at("2026-03-03 04:30"), None, LONG_AGO, at("2026-03-03 05:00"))


def test_a_job_whose_sla_is_shorter_than_its_interval_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="longer than"):
        job("0 3 * * *", 24 * HOUR)


# --- thirty days: whoever runs when planned is never late


PROMISES = [
    ("* * * * *", 3 * MINUTE), ("*/5 * * * *", 15 * MINUTE), ("*/15 * * * *", 45 * MINUTE), ("0 * * * *", 2 * HOUR),
    ("*/5 8-19 * * *", 15 * MINUTE), (WINDOWED, 15 * MINUTE), ("0,30 9-19 * * 1-5", 3 * DAY),
    ("0 9,14 * * 1-5", 25 * HOUR), ("0 8 * * 1-5", 25 * HOUR), ("0 3 * * *", 25 * HOUR), ("0 2 * * 0", 8 * DAY),
]  # fmt: skip
ZONES = st.sampled_from(["America/Sao_Paulo", "America/New_York", "Europe/Lisbon", "Australia/Lord_Howe"])
THIRTY_DAYS = st.integers(0, 30 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
STARTS = st.sampled_from([datetime(2026, month, 15, tzinfo=UTC) for month in (1, 3, 10)])  # with changes of hour


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PROMISES), ZONES, STARTS, THIRTY_DAYS, st.integers(0, 45))
def test_a_job_that_runs_when_planned_is_never_late_by_day_night_weekend_or_change_of_hour(
    promise: tuple[str, timedelta], zone: str, start: datetime, moment: timedelta, delay_s: int
) -> None:
    cron, now = parse(promise[0]), start + moment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.jobs.cron.BRASILIA", ZoneInfo(zone))
        each = _unregistered(cron.text, promise[1])
        planned = latest_fire(cron, now - timedelta(seconds=delay_s))
        ran = planned + timedelta(seconds=delay_s)
        assert now <= sla.alert_deadline(each, ran, LONG_AGO) <= sla.deadline(each, ran, LONG_AGO)
        assert not sla.is_overdue(each, ran, None, LONG_AGO, now)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PROMISES), ZONES, STARTS, THIRTY_DAYS)
def test_a_job_that_stopped_is_late_soon_after_its_next_planned_instant(
    promise: tuple[str, timedelta], zone: str, start: datetime, moment: timedelta
) -> None:
    cron = parse(promise[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.jobs.cron.BRASILIA", ZoneInfo(zone))
        each, ran = _unregistered(cron.text, promise[1]), latest_fire(cron, start + moment)
        missed = next_fire(cron, ran)
        assert sla.is_overdue(each, ran, None, LONG_AGO, missed + sla.tolerance(each) + SECOND)
        assert not sla.is_overdue(each, ran, None, LONG_AGO, missed)


def _unregistered(cron: str, promised: timedelta) -> Job:
    from core.jobs import registry

    registry._jobs.pop("tarefa", None)
    return job(cron, promised)


# --- changes of hour (New York: 1 November 2026, 02:00 EDT becomes 01:00 EST; 8 March, 02:00 becomes 03:00)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.cron.BRASILIA", NEW_YORK)
    monkeypatch.setattr("core.jobs.registry.BRASILIA", NEW_YORK)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(
    ("cron", "after", "fires"),
    [
        ("* * * * *", "2026-11-01 05:59", "2026-11-01 06:00"),  # 01:59 EDT, then 01:00 EST
        ("*/15 * * * *", "2026-11-01 05:45", "2026-11-01 06:00"),
        ("0 * * * *", "2026-11-01 05:00", "2026-11-01 06:00"),
        ("30 1 * * *", "2026-11-01 05:30", "2026-11-02 06:30"),  # once a day, also where 01:30 comes twice
        ("30 2 * * *", "2026-03-08 05:00", "2026-03-08 07:30"),  # 02:30 does not exist: 03:30 EDT
        ("* * * * *", "2026-03-08 06:59", "2026-03-08 07:00"),
        ("0,30 2 * * *", "2026-03-07 12:00", "2026-03-08 07:00"),
    ],
)
def test_an_hour_that_is_repeated_or_skipped_loses_no_run_of_a_frequent_job_and_doubles_none_of_a_daily_one(
    cron: str, after: str, fires: str
) -> None:
    assert next_fire(cron, utc(after)) == utc(fires)
    assert latest_fire(cron, utc(fires)) == utc(fires)


@pytest.mark.usefixtures("new_york")
def test_a_daily_slot_is_one_through_the_repeated_hour_and_minute_slots_are_all_different() -> None:
    daily, minutely = job("30 1 * * *", 25 * HOUR), register(lambda now: {}, "outra")
    twice = [utc("2026-11-01 05:30"), utc("2026-11-01 06:30")]
    assert {daily.slot_of(each) for each in twice} == {"2026-11-01"}
    assert len({minutely.slot_of(each) for each in twice}) == 2


@pytest.mark.usefixtures("new_york")
def test_a_minutes_job_is_late_in_the_repeated_hour_as_in_any_other() -> None:
    minutely, ran = job("* * * * *", 3 * MINUTE), utc("2026-11-01 05:59")
    assert sla.deadline(minutely, ran, LONG_AGO) == ran + 3 * MINUTE
    assert sla.is_overdue(minutely, ran, None, LONG_AGO, ran + 121 * SECOND)
