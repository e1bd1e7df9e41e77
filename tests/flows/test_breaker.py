"""An upstream that is away is asked now and then, by one, and whatever waits for it goes on when it is back (B4)."""

import time
from collections import Counter

import pytest
import sqlalchemy as sa

from worker.core.breaker import AWAY, FAILURES, LONGEST
from worker.flows import breaker
from worker.flows.poll import poll
from worker.flows.submit import submit


@pytest.fixture
def alarms(house):
    told: list = []
    house.rt.alarm = told.append
    return told


def requests(house):
    return house.requests()["read"]


def fails(house, what="status", route="read", **how):
    house.sandbox.fault(route, what, times=None, **how)


def recovers(house):
    house.sandbox.control("DELETE", "/faults")


def turns(house, seconds, pause=5.0):
    """What beat would have rung for in so many seconds."""
    for _ in range(int(seconds / pause)):
        house.clock.pass_(pause)
        submit(house.rt, "finance")
        poll(house.rt, "finance")


def test_an_outage_is_told_once_and_asked_now_and_then_and_nothing_is_lost_by_it(house, alarms):
    fails(house, status=503)
    outs = house.accept(*(house.command(house.task("jane", "bob"), step=1) for _ in range(21)))
    turns(house, 1800)
    found = [house.found(o.id) for o in outs]
    assert {(f.state, len(house.ledger.queries.attempts(f.id))) for f in found} == {("pending", 0)}
    assert sum(f.reason.startswith(AWAY) for f in found) >= len(found) - 1  # the last probe told what it heard
    assert [e.type for e in alarms] == ["account.degraded"]
    assert requests(house) < 21 + 10 + 1800 / (LONGEST / 2)
    recovers(house)
    turns(house, LONGEST + 30)
    assert {house.found(o.id).state for o in outs} == {"applied"}
    assert (house.told("account."), len(alarms)) == (["account.degraded", "account.recovered"], 1)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429])
def test_an_upstream_that_says_no_is_there(house, status):
    fails(house, status=status)
    house.accept(*(house.command(house.task("jane", "bob"), step=1) for _ in range(3 * FAILURES)))
    turns(house, 20)
    assert (house.told("account."), house.ledger.breakers.all()) == ([], [])


def test_what_cannot_be_connected_to_is_away(house, alarms):
    fails(house, "reset")
    house.accept(*(house.command(house.task("jane", "bob"), step=1) for _ in range(FAILURES)))
    submit(house.rt, "finance")
    assert [e.type for e in alarms] == ["account.degraded"]


def test_watches_wait_and_one_of_them_finds_out_that_it_is_back(house, alarms):
    tasks = [house.task("jane", process_made=True) for _ in range(2 * FAILURES)]
    for task in tasks:
        house.ledger.watches.add("finance", task, 60.0)
    fails(house, status=502)
    turns(house, 600)
    during = requests(house)
    assert (len(alarms), during < 2 * FAILURES + 15) == (1, True)
    recovers(house)
    turns(house, LONGEST + 120)
    assert house.told("account.") == ["account.degraded", "account.recovered"]
    realm = house.rt.accounts["finance"].connector.realm
    assert all(row.snapshot for row in house.ledger.tasks.known({(realm, task) for task in tasks}).values())


def test_a_page_of_a_feed_that_fails_counts_and_one_that_comes_speaks_for_it(house, alarms):
    house.ledger.watches.add("finance", "", 60.0)
    fails(house, route="list", status=500)
    turns(house, 900)
    assert [e.type for e in alarms] == ["account.degraded"]
    recovers(house)
    turns(house, LONGEST)
    assert house.told("account.") == ["account.degraded", "account.recovered"]


def test_while_all_is_well_nothing_is_written_and_little_is_read(house):
    """One row read in a second of work; the ledger has no row at all."""
    asked: Counter = Counter()
    began = time.monotonic()
    sa.event.listen(house.ledger.database.engine, "before_cursor_execute", lambda _c, _k, sql, *_: asked.update(["breakers" in sql]))
    for _ in range(5):
        house.submit(house.task("jane", "bob"))
    assert (asked[True] <= 1 + (time.monotonic() - began) / breaker.FRESH, house.ledger.breakers.all()) == (True, [])
