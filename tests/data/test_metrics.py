"""Rates: smoothed, no wild start, no ETA before there is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fearless.data.metrics import Rate, amount, duration


def test_nothing_is_known_at_first() -> None:
    rate = Rate()
    assert rate.per_second(0) is None
    assert rate.left(0, 10) is None
    rate.see(0, 5)
    assert rate.per_second(0.4) is None
    assert rate.left(0.4, 10) is None


def test_what_was_done_before_is_no_part_of_the_rate() -> None:
    rate = Rate()
    rate.see(100, 400_000)
    rate.see(101, 401_000)
    assert rate.per_second(101) == 1000
    assert rate.left(101, 402_000) == 1


def test_a_window_forgets_how_it_was_long_ago() -> None:
    rate = Rate(window=10)
    for second in range(100):
        rate.see(second, second * 10)
    for second in range(100, 121):
        rate.see(second, 990 + (second - 99) * 100)
    assert rate.per_second(120) == 100


def test_standing_still_is_seen() -> None:
    rate = Rate(window=10)
    rate.see(0, 0)
    rate.see(10, 1000)
    assert rate.per_second(10) == 100
    assert rate.per_second(40) == 25
    rate.see(40, 1000)
    rate.see(50, 1000)
    assert rate.per_second(50) == 0
    assert rate.left(50, 2000) is None


def test_a_count_that_falls_has_begun_again() -> None:
    rate = Rate()
    rate.see(0, 0)
    rate.see(1, 100)
    rate.see(2, 10)
    assert rate.per_second(2) is None
    rate.see(3, 30)
    assert rate.per_second(3) == 20


def test_more_than_the_estimated_total_has_no_eta() -> None:
    rate = Rate()
    rate.see(0, 0)
    rate.see(1, 100)
    assert rate.left(1, None) is None
    assert rate.left(1, 99) is None
    assert rate.left(1, 100) == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10**6)), max_size=400))
def test_it_stays_small_and_is_never_negative(steps: list[tuple[float, int]]) -> None:
    rate, now, count = Rate(), 0.0, 0
    for seconds, more in steps:
        now, count = now + seconds, count + more
        rate.see(now, count)
        assert (rate.per_second(now) or 0) >= 0
    assert len(rate._seen) <= 62


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (999_600, "1.0 MB"),
        (12_345_678, "12 MB"),
        (3.2e9, "3.2 GB"),
        (7e15, "7,000 TB"),
    ],
)
def test_amounts(size: float, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
