"""How often to look: by how long nothing has happened, between two bounds (B5)."""

import pytest

from worker.core import cadence

HOUR, DAY = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("wanted", "base", "idle", "due_in"),
    [
        (30.0, 30.0, -5.0, None),  # a clock ahead of ours
        (30.0, 30.0, 0.0, None),
        (30.0, 30.0, 300.0, None),
        (60.0, 30.0, 600.0, None),
        (HOUR, 30.0, 30 * DAY, None),
        (2 * HOUR, 2 * HOUR, 30 * DAY, None),
        (600.0, 30.0, 30 * DAY, DAY - 1),
        (600.0, 30.0, 30 * DAY, 1 - DAY),
        (HOUR, 30.0, 30 * DAY, DAY + 1),
        (HOUR, HOUR, 30 * DAY, 60.0),
        (30.0, 30.0, 0.0, 60.0),
    ],
)
def test_a_task_is_looked_at_after_a_tenth_of_the_silence_and_at_least_every_ten_minutes_near_a_due_date(wanted, base, idle, due_in):
    assert cadence.interval(base, idle, due_in) == wanted


def test_a_feed_is_slowed_down_less():
    assert [cadence.pass_interval(30.0, idle) for idle in (0.0, 600.0, DAY)] == [30.0, 60.0, 150.0]


def test_news_is_late_by_no_more_than_a_tenth_of_the_silence_before_it():
    at = base = 30.0
    while at < 10 * HOUR:
        after = at + cadence.interval(base, at)
        assert after - at <= max(base, at / 10) + 1e-6
        at = after


def test_splayed_is_give_or_take_a_tenth():
    assert [round(cadence.splayed(60.0, dice), 6) for dice in (0.0, 0.5, 1.0)] == [54.0, 60.0, 66.0]
