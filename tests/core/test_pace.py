"""When to try again (A15, B3)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import pace


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pace_is_never_zero_and_never_too_long(tries, dice):
    assert pace.FIRST / 2 <= pace.again(tries, dice) <= pace.LONGEST


@pytest.mark.parametrize(("waits", "asked"), [(1.0, None), (0.0, 0.0), (0.0, -5.0), (7.0, 7.0), (3600.0, math.inf), (3600.0, 1e12)])
def test_a_throttle_is_obeyed_but_not_for_ever(waits, asked):
    assert pace.throttled(asked, 0, 0.0) == waits


@given(st.integers(0, 100_000))
def test_a_slow_start_has_room_for_each_when_its_turn_has_come(n):
    at = pace.opens(n)
    assert at == pace.SLOW or pace.opened(at) == n + 1


@pytest.mark.parametrize(("sends", "since"), [(1, 0.0), (2, 1.0), (11, 10.0), (13, 11.0), (31, 20.0), (311, 50.0), (631, 60.0)])
def test_a_slow_start_is_twice_as_fast_every_ten_seconds(sends, since):
    assert pace.opened(since) == sends
