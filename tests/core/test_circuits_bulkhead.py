"""The share of a slow provider: when it shrinks, when it comes back, and that it never stays small without a reason."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.circuits.bulkhead import Seen, Share, step

NOW = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
FULL = 32


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def seen(*seconds: float, begin: float = -100) -> list[Seen]:
    return [Seen(at(begin + number), each, answered=True) for number, each in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "shrinks"),
    [
        ([], False),
        ([30], False),
        ([30, 30], True),
        ([30, 1], False),
        ([30, 30, 1, 1], True),
        ([30, 30, 1, 1, 1], False),
        ([10, 10], True),
        ([9.9, 9.9], False),
        ([70] * 20, True),
        ([70] * 10 + [1] * 10, True),
        ([70] * 9 + [1] * 11, False),
    ],
)
def test_half_of_the_calls_slow_and_at_least_two_leave_one_sender(seconds: list[float], shrinks: bool) -> None:
    share = step(Share(), seen(*seconds), full=FULL, now=NOW)
    assert share == (Share(1, slow_since=NOW, since=NOW) if shrinks else Share())


@pytest.mark.parametrize(
    ("since_the_good_calls_s", "hanging", "shrinks"), [(15, 4, False), (31, 4, True), (31, 1, False), (60, 2, True)]
)
def test_a_good_past_does_not_hide_that_a_small_provider_hangs_now(
    since_the_good_calls_s: int, hanging: int, shrinks: bool
) -> None:
    good = seen(*[0.5] * 16, begin=-since_the_good_calls_s - 16)
    hang = [Seen(at(-12), 12.0) for _ in range(hanging)]
    assert (step(Share(), good + hang, full=FULL, now=NOW).senders == 1) is shrinks


def test_each_healthy_answer_doubles_until_the_share_is_whole_again() -> None:
    share, sizes = Share(1, slow_since=NOW, since=NOW), []
    for second in range(1, 6):
        share = step(share, seen(0.5, begin=second), full=FULL, now=at(second + 1))
        sizes.append(share.senders)
    assert sizes == [2, 4, 8, 16, None]
    assert share.slow_since is None


def test_answers_that_come_together_count_together_and_once() -> None:
    share = step(Share(1, slow_since=NOW, since=NOW), seen(0.5, 0.5, begin=1), full=FULL, now=at(3))
    assert share.senders == 4
    assert step(share, seen(0.5, 0.5, begin=1), full=FULL, now=at(4)) == share


def test_old_slow_calls_do_not_shrink_a_share_that_grows_or_is_whole_again() -> None:
    old = seen(*[70] * 20)
    growing = Share(4, slow_since=NOW, since=NOW)
    assert step(growing, old, full=FULL, now=at(5)) == growing
    whole = step(Share(16, slow_since=NOW, since=NOW), [*old, *seen(0.5, begin=1)], full=FULL, now=at(2))
    assert whole.senders is None
    assert step(whole, old, full=FULL, now=at(5)) == whole


def test_one_healthy_answer_counts_even_after_a_long_black_hole() -> None:
    """With one sender the last calls were all slow: they must not outvote the first sign of life."""
    calls = [*seen(70, 70, begin=1), Seen(at(150), 0.5, answered=True)]
    assert step(Share(1, slow_since=NOW, since=NOW), calls, full=FULL, now=at(151)).senders == 2


def test_it_shrinks_again_when_new_calls_are_slow_and_stays_slow_since_the_beginning() -> None:
    growing = Share(8, slow_since=NOW, since=at(10))
    shrunk = step(growing, seen(12, 12, begin=11), full=FULL, now=at(40))
    assert shrunk == Share(1, slow_since=NOW, since=at(40))


@pytest.mark.parametrize("call", [Seen(at(1), 0.5, answered=False), Seen(at(1), 12, answered=True)])
def test_neither_a_refusal_of_the_network_nor_a_slow_answer_is_healthy(call: Seen) -> None:
    share = Share(1, slow_since=NOW, since=NOW)
    assert step(share, [call], full=FULL, now=at(20)) == share


def test_a_provider_with_one_chip_is_shown_as_slow_and_recovers_with_one_answer() -> None:
    slow = step(Share(), seen(30, 30), full=1, now=NOW)
    assert slow.senders == 1
    assert step(slow, [], full=1, now=at(1)) == slow
    assert step(slow, seen(0.5, begin=1), full=1, now=at(2)).senders is None


@given(
    looks=st.lists(st.lists(st.tuples(st.floats(0, 90), st.booleans()), max_size=20), min_size=1, max_size=30),
    full=st.integers(1, 64),
)
def test_whatever_happened_a_minute_of_healthy_answers_gives_the_whole_share_back(
    looks: list[list[tuple[float, bool]]], full: int
) -> None:
    share, second = Share(), 0
    for look in looks:
        calls = [Seen(at(second + number / 100), took, answered) for number, (took, answered) in enumerate(look)]
        second += 10
        share = step(share, calls, full=full, now=at(second))
        assert share.senders is None or 1 <= share.senders < max(full, 2)
        assert (share.senders is None) == (share.slow_since is None)
    for _ in range(60):
        second += 1
        share = step(share, [Seen(at(second), 0.5, answered=True)], full=full, now=at(second + 0.5))
    assert share.senders is None
