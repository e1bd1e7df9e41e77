"""The end of an API version, told in time (C2)."""

from datetime import UTC, date, datetime

import pytest

from worker.core.events import sunset_approaching
from worker.core.sunset import Sunset

ENDS = Sunset("2022-01-01", date(2027, 1, 31), "go on")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("day", "left", "mark"),
    [
        ("2026-08-03", 181, None),
        ("2026-08-04", 180, "2027-01-31/180"),
        ("2026-11-01", 91, "2027-01-31/180"),
        ("2026-11-02", 90, "2027-01-31/90"),
        ("2026-12-02", 60, "2027-01-31/60"),
        ("2026-12-31", 31, "2027-01-31/60"),
        ("2027-01-01", 30, "2027-01-31/2027-01-01"),
        ("2027-01-31", 0, "2027-01-31/2027-01-31"),
        ("2027-02-01", -1, "2027-01-31/2027-02-01"),
    ],
)
def test_it_is_told_at_marks_and_daily_in_the_last_month_and_after(day, left, mark):
    for hour in ("00:00:00", "23:59:59"):
        now = at(f"{day}T{hour}")
        assert (ENDS.days_left(now), ENDS.mark(now)) == (left, mark)


def test_c2_the_id_is_of_the_fact_not_of_the_moment_it_was_told():
    one, two = (sunset_approaching("/workiva/finance", "finance", ENDS, "2027-01-31/90", at(f"2026-11-{n}T08:00:00")) for n in (20, 22))
    other = sunset_approaching("/workiva/finance", "finance", ENDS, "2027-01-31/60", at("2026-12-02T08:00:00"))
    assert one.id == two.id != other.id
    assert one.data == {"account": "finance", "api_version": "2022-01-01", "sunset": "2027-01-31", "days_left": 72, "todo": "go on"}
