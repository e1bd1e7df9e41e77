"""Every request is paid for: before it leaves, or, where nobody could know of it before, as soon as it is known (B3)."""

from dataclasses import replace

import httpx
import pytest

from worker.core.budget import Limit
from worker.core.outcomes import Fact, Unknown
from worker.flows.budget import heed, metered
from worker.flows.poll import poll

LIMIT = Limit(600)


@pytest.fixture
def account(house):
    """Its budget is the operator's figure, so that what was paid can be read from the bucket."""
    account = house.rt.accounts["finance"]
    house.rt.accounts = {"finance": replace(account, connector=replace(account.connector, requests_per_minute=600))}
    return house.rt.accounts["finance"]


def paid(house, account, grant="jane"):
    """Requests in the bucket of *grant*."""
    [name] = account.connector.limits(grant)
    buckets = {b.name: b for b in house.ledger.budgets.all()}
    return round((buckets[name].full_at - house.clock()) * LIMIT.ceiling) if name in buckets else 0


def asking(times):
    """A flow that asks so often."""
    for _ in range(times):
        said = yield httpx.Request("GET", "http://upstream")
    return said.status_code


def test_what_is_asked_beyond_what_was_paid_for_is_paid_for_after_it(house, account):
    for times in (1, 3):
        flow = metered(house.rt, account, "jane", asking(times), 1)
        next(flow)
        for _ in range(times - 1):
            flow.send(httpx.Response(200))
        with pytest.raises(StopIteration) as end:
            flow.send(httpx.Response(204))
        assert end.value.value == 204
    assert paid(house, account) == 0
    heed(house.rt, account, [("jane", Unknown(Fact("stale")))])
    assert paid(house, account) == 2
    heed(house.rt, account, [])
    assert paid(house, account) == 2


def test_a_submission_a_watch_and_a_page_are_paid_for_once(house, account):
    house.submit(house.task("jane", "bob"))
    assert paid(house, account) == 2
    house.ledger.watches.add("finance", "", 60.0)
    poll(house.rt, "finance")
    assert (paid(house, account), paid(house, account, "bob")) == (2, 1), "the feed is read as the first grant by name"


def test_a_look_for_a_command_that_names_no_step_is_paid_for_too(house, account):
    house.accept(house.command(house.task("jane")))
    assert paid(house, account) == 1


def test_an_operators_figure_stands_over_a_found_rate(account):
    assert set(account.connector.limits("jane").values()) == {LIMIT}
