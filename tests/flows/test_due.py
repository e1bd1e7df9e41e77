"""Due dates are told from what the ledger knows: once a minute and process, once for each due date, without a request."""

from dataclasses import replace

import pytest

from tests.flows.test_poll import watch
from worker.core import times
from worker.core.feed import DAY
from worker.flows.due import due


@pytest.fixture
def seen(house):
    """A task that is due in two days, and was looked at once."""
    task = house.task("jane", due=times.iso(house.clock() + 2 * DAY))
    watch(house, task)
    house.poll()
    return task


def minute(house, seconds=60):
    """The tick, so much later."""
    house.clock.pass_(seconds)
    due(house.rt, int(house.clock() // 60))


def test_due_dates_are_told_without_a_request(house, seen):
    for _ in range(6):
        minute(house, DAY / 2)
    assert (house.told(), house.requests()) == (["task.due_soon", "task.overdue"], {"read": 1})
    assert ("emit", "erp") in house.rung


def test_an_account_says_how_long_before(house, seen):
    account = house.rt.accounts["finance"]
    house.rt.accounts = {"finance": replace(account, due_soon=0.0)}
    minute(house, 3 * DAY)
    assert house.told() == ["task.overdue"]


def test_a_process_looks_once_a_minute_and_two_tell_nothing_twice(house, seen):
    other = replace(house.rt)
    now = int(house.clock() // 60)
    due(house.rt, now)
    house.clock.pass_(3 * DAY)
    due(house.rt, now)
    assert house.told() == []
    due(house.rt, now + 1)
    due(other, now + 1)
    assert house.told() == ["task.overdue"]
