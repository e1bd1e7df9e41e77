"""A turn: one at a time for each verb and shard in a process, and no ring is lost over it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from worker.errors import LedgerDown
from worker.flows import Busy
from worker.flows.turns import turn


def test_a_ring_for_a_shard_at_work_goes_home_and_is_not_forgotten(house):
    """It may be for something younger than the flow's last look at the ledger."""
    ran = []

    def flow(rt, shard):
        ran.append(shard)
        turn(rt, "submit", shard, flow)
        return False

    turn(house.rt, "submit", "finance", flow)
    assert (ran, house.rung) == (["finance"], [("submit", "finance")])
    turn(house.rt, "submit", "finance", lambda rt, shard: False)
    assert len(house.rung) == 1


def test_what_is_left_over_is_rung_for(house):
    turn(house.rt, "submit", "finance", lambda rt, shard: True)
    assert house.rung == [("submit", "finance")]


def test_other_verbs_and_shards_are_not_in_the_way(house):
    ran = []

    def flow(rt, shard):
        turn(rt, "poll", shard, inner)
        turn(rt, "submit", "tower", inner)
        return False

    def inner(rt, shard):
        ran.append(shard)
        return False

    turn(house.rt, "submit", "finance", flow)
    assert (ran, house.rung) == (["finance", "tower"], [])


def test_a_ledger_that_is_away_ends_the_turn_and_the_tick_rings_again(house):
    def flow(rt, shard):
        raise LedgerDown("away")

    turn(house.rt, "submit", "finance", flow)
    assert (house.rung, house.rt.busy.enter("submit", "finance")) == ([], True)


def test_a_bug_is_heard_and_the_shard_is_free_again(house):
    def flow(rt, shard):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        turn(house.rt, "submit", "finance", flow)
    assert house.rt.busy.enter("submit", "finance")


def test_who_is_stopping_rings_no_more(house):
    house.rt.stopping.set()
    turn(house.rt, "submit", "finance", lambda rt, shard: True)
    assert house.rung == []


def test_no_ring_is_lost_between_many_threads():
    """Each ring either works itself, or whoever is at work learns of it when it leaves: the last work begins after the last ring."""
    busy, start = Busy(), Barrier(8)
    rings, seen = [0], [0]

    def one(_):
        start.wait()
        for _ in range(500):
            rings[0] += 1
            while busy.enter("submit", "finance"):
                seen[0] = rings[0]
                if not busy.leave("submit", "finance"):
                    break

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(8)))
    assert seen[0] == rings[0]
