"""Due dates: told once each, from what is known, while an approval is awaited (D1 to D3)."""

from dataclasses import replace

import pytest

from tests.core.make import NOW, approve, snap, step, task
from worker.core.due import due_in, tell
from worker.core.observe import observe, vanish

DAY = 86_400.0
FIRST = -10 * DAY
"""When it was seen first, in seconds after NOW, which is its due date."""


def look(at=0.0, due=0.0, first=None, second=None, by=(), **more):
    """Two steps, with these due dates in seconds after NOW, as last changed *at*."""
    steps = (step("a", by=by), step("b"))
    ends = [None if s is None else NOW + s for s in (due, first, second)]
    steps = tuple(replace(s, due=end) for s, end in zip(steps, ends[1:], strict=True))
    return snap(*steps, at=at, due=ends[0], **more)


class Clerk:
    """A row, with what its due dates have told, asked whenever it wants to be asked."""

    def __init__(self, ahead=DAY):
        self.row, self.marks, self.ahead, self.told = task(None), None, ahead, []

    def sees(self, what, at):
        self.row, _ = observe(self.row, self.row.align(what), {}, NOW + at)

    def until(self, at):
        """The ticks up to then: a row is asked when its time has come; what was told since the last call."""
        before = len(self.told)
        while self.row.notice_at is not None and self.row.notice_at <= NOW + at:
            out = tell(self.row, self.marks, self.ahead, max(self.row.notice_at, NOW + FIRST))
            self.told += out.events
            self.row, self.marks = replace(self.row, notice_at=out.next_at), out.marks
        return [(e.type.removeprefix("task."), e.data["step"]) for e in self.told[before:]]

    def asked(self, at):
        """Asked then, for the first time after a time without ticks."""
        out = tell(self.row, self.marks, self.ahead, NOW + at)
        self.told += out.events
        self.row, self.marks = replace(self.row, notice_at=out.next_at), out.marks
        return [e.type for e in out.events]


@pytest.fixture
def clerk():
    made = Clerk()
    made.sees(look(FIRST), FIRST)
    return made


def test_soon_a_day_before_and_overdue_when_it_has_passed_and_then_no_more(clerk):
    assert clerk.until(-DAY - 1) == []
    assert clerk.until(-DAY) == [("due_soon", None)]
    assert clerk.until(-1) == []
    assert clerk.until(0) == [("overdue", None)]
    assert (clerk.until(100 * DAY), clerk.row.notice_at) == ([], None)


def test_never_soon_where_nobody_wants_it():
    clerk = Clerk(ahead=0.0)
    clerk.sees(look(FIRST), FIRST)
    assert clerk.until(DAY) == [("overdue", None)]


def test_what_was_due_before_the_first_sight_is_passed_over():
    clerk = Clerk()
    clerk.sees(look(DAY), DAY)
    clerk.asked(DAY + 30)
    assert (clerk.told, clerk.row.notice_at) == ([], None)


def test_what_fell_due_while_nobody_asked_is_told_once_and_late(clerk):
    clerk.asked(FIRST + 30)
    assert clerk.asked(3 * DAY) == ["task.overdue"]


def test_a_moved_due_date_makes_new_notices(clerk):
    clerk.until(0)
    clerk.sees(look(1, due=5 * DAY), 1)
    assert clerk.until(4 * DAY) == [("due_soon", None)]
    assert clerk.until(5 * DAY) == [("overdue", None)]
    assert len({e.id for e in clerk.told}) == 4


def test_a_due_date_that_is_moved_into_the_past_is_told_at_once(clerk):
    clerk.asked(FIRST + 1)
    clerk.sees(look(FIRST + 60, due=FIRST - DAY), FIRST + 60)
    assert clerk.asked(FIRST + 61) == ["task.overdue"]


def test_a_step_that_opens_late_is_told_of_when_it_opens():
    clerk = Clerk()
    clerk.sees(look(FIRST, due=None, first=0, second=0), FIRST)
    assert clerk.until(1) == [("due_soon", 1), ("overdue", 1)]
    clerk.sees(look(DAY, due=None, first=0, second=0, by=[approve("a", DAY)]), DAY)
    assert clerk.asked(DAY + 1) == ["task.overdue"]
    assert clerk.told[-1].data["step"] == 2


def test_news_that_moves_no_due_date_tells_nothing_again(clerk):
    clerk.until(0)
    clerk.sees(look(1, url="https://example.com"), 1)
    assert (clerk.row.notice_at, clerk.until(DAY)) == (None, [])


@pytest.mark.parametrize("status", ["Approved", "Draft"])
def test_only_while_an_approval_is_awaited(clerk, status):
    clerk.asked(FIRST + 1)
    clerk.sees(look(-5 * DAY, status=status), -5 * DAY)
    assert (clerk.until(DAY), clerk.row.notice_at) == ([], None)
    clerk.sees(look(DAY), DAY)
    assert clerk.asked(DAY + 1) == ["task.overdue"]


def test_what_is_gone_tells_nothing_until_it_is_back(clerk):
    clerk.asked(FIRST + 1)
    clerk.row, _ = vanish(clerk.row, NOW - 5 * DAY)
    assert clerk.until(DAY) == []
    clerk.sees(look(FIRST), DAY)
    assert clerk.asked(DAY + 1) == ["task.overdue"]


def test_the_same_due_date_has_the_same_event_however_often_and_by_whom_it_is_asked(clerk):
    ids = {tell(clerk.row, (), DAY, NOW + at).events[0].id for at in (0, 60, 30 * DAY)}
    assert len(ids) == 1


def test_the_nearest_due_date_counts():
    assert due_in(look(due=5 * DAY, first=-DAY), NOW) == -DAY
    assert due_in(look(due=None), NOW) is None
    assert due_in(look(due=DAY, status="Approved"), NOW) is None
