"""B3: what leaves in any minute stays below the published figure, whoever asks and however it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.budget import CALM, GOOD_FOR, KEPT, SLOWEST, UNPUBLISHED, Bucket, Limit

NOW = 1_700_000_000.0
SIX_HUNDRED = Limit(600)
FOUND = Limit(UNPUBLISHED, published=False)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 40), st.booleans()), max_size=200), st.sampled_from([10.0, 60.0, 600.0, 6000.0]))
def test_b3_no_minute_has_more_than_the_published_figure(asked, per_minute):
    """B3. Each request leaves up to GOOD_FOR after its payment, or is paid for again: so the window is that much longer."""
    limit, bucket, now, taken = Limit(per_minute), Bucket("b"), NOW, []
    for pause, wanted, watching in asked:
        now += pause
        times = min(wanted, int(bucket.affords(limit, now, watching=watching)))
        bucket = bucket.pay(limit, now, times)
        taken += [now] * times
    for at in taken:
        assert sum(1 for t in taken if at <= t <= at + 60 + GOOD_FOR) <= per_minute


def test_the_red_delays_what_comes_after_it_by_as_much():
    bucket = Bucket("b").pay(SIX_HUNDRED, NOW, 200)
    assert bucket.affords(SIX_HUNDRED, NOW, watching=False) == 0
    wait = bucket.wait(SIX_HUNDRED, NOW, 3)
    assert (
        bucket.affords(SIX_HUNDRED, NOW + wait - 0.01, watching=False) < 3 <= bucket.affords(SIX_HUNDRED, NOW + wait + 0.01, watching=False)
    )
    assert wait == pytest.approx((200 + 3 - SIX_HUNDRED.burst) / SIX_HUNDRED.ceiling)


def test_watching_leaves_its_share_to_the_submissions():
    bucket = Bucket("b")
    bucket = bucket.pay(SIX_HUNDRED, NOW, int(bucket.affords(SIX_HUNDRED, NOW, watching=True)))
    assert int(bucket.affords(SIX_HUNDRED, NOW, watching=True)) == 0
    assert bucket.affords(SIX_HUNDRED, NOW, watching=False) >= KEPT * SIX_HUNDRED.burst


def test_nothing_leaves_before_the_retry_after_of_anyone():
    bucket = Bucket("b").throttled(SIX_HUNDRED, NOW, 25.0)
    assert bucket.affords(SIX_HUNDRED, NOW + 24.9, watching=False) == 0
    assert bucket.wait(SIX_HUNDRED, NOW, 1) == 25.0
    assert bucket.affords(SIX_HUNDRED, NOW + 25.0, watching=False) > 0
    assert bucket.throttled(SIX_HUNDRED, NOW + 1, 2.0).shut_until == NOW + 25.0  # a shorter one takes nothing back


def test_where_no_figure_is_published_a_429_halves_the_rate_once_for_all_of_its_moment():
    first = Bucket("b").throttled(FOUND, NOW, 1.0)
    assert first.pace(FOUND, NOW) == FOUND.ceiling / 2
    assert first.throttled(FOUND, NOW + CALM / 2, 1.0).rate == first.rate
    assert first.throttled(FOUND, NOW + CALM, 1.0).pace(FOUND, NOW + CALM) < first.pace(FOUND, NOW + CALM)
    assert first.pace(FOUND, NOW + 3600) == FOUND.ceiling


def test_a_found_rate_never_falls_to_nothing():
    bucket = Bucket("b")
    for n in range(50):
        bucket = bucket.throttled(FOUND, NOW + n * CALM, 1.0)
    assert bucket.rate is not None
    assert bucket.rate >= SLOWEST


def test_a_published_figure_is_not_doubted_by_a_429():
    """Somebody else used it up: waiting is the answer, and afterwards it is ours again."""
    assert Bucket("b").throttled(SIX_HUNDRED, NOW, 1.0).pace(SIX_HUNDRED, NOW + 2) == SIX_HUNDRED.ceiling


@pytest.mark.parametrize("per_minute", [10, 60, 86, 600])
def test_the_dearest_look_can_be_paid_for_by_watching_however_small_the_figure(per_minute):
    """Without: what costs more than may ever go at once is never paid for, and waits for ever."""
    limit = Limit(per_minute)
    assert Bucket("b").affords(limit, NOW, watching=True) >= 3
    assert 60 * limit.ceiling + limit.burst == pytest.approx(0.97 * per_minute)
