"""The end of an upstream's API version, told in time: at a few marks from 180 days before, daily in the last month, and daily after it.

The account works on after the day: whether it still answers is the upstream's to decide.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

MARKS = (180, 90, 60)
"""Days before the end at which it is told once: the first leaves half a year to plan, and the last is before it is told daily."""

DAILY = 30
"""Days before the end from which it is told every day, the days after it included."""


@dataclass(frozen=True, slots=True)
class Sunset:
    """The last day of an API version, as its publisher names it (UTC), and what its user should do."""

    version: str
    day: date
    todo: str

    def days_left(self, now: float) -> int:
        """Days from the day of *now* to the last one: 0 on the last, negative after it."""
        return (self.day - datetime.fromtimestamp(now, UTC).date()).days

    def mark(self, now: float) -> str | None:
        """What is to be told now, once: the sunset with its mark, or with the day where it is told daily. None: it is far off."""
        left = self.days_left(now)
        if left <= DAILY:
            return f"{self.day}/{datetime.fromtimestamp(now, UTC).date()}"
        passed = [m for m in MARKS if left <= m]
        return f"{self.day}/{min(passed)}" if passed else None
