"""Watches: claimed, never twice at a time, and never written over by an older look (B5)."""

import pytest

from tests.ledger.make import LEASE, NOW

FEED = ""


@pytest.fixture
def watches(ledger):
    return ledger.watches


def test_a_watch_is_due_at_once_and_then_after_what_is_asked(watches, ledger, clock):
    made = watches.add("finance", "T", 60.0)
    assert ledger.queries.due() == [("poll", "finance")]
    [claimed] = watches.claim("finance", 10, LEASE)
    assert (claimed.id, claimed.cursor, claimed.tries) == (made.id, {}, 0)
    watches.done(claimed, wait=60.0, tries=0, cursor={"watermark": 5.5})
    assert watches.claim("finance", 10, LEASE) == []
    clock.pass_(60)
    assert [w.cursor for w in watches.claim("finance", 10, LEASE)] == [{"watermark": 5.5}]


def test_a_watch_is_one_for_each_task(watches, clock):
    first, again = watches.add("finance", "T", 60.0), watches.add("finance", "T", 5.0)
    watches.add("finance", FEED, 60.0)
    watches.add("tower", "T", 60.0)
    assert (first.id, again.interval, len(watches.all())) == (again.id, 5.0, 3)
    assert (watches.remove(first.id), watches.remove(first.id), len(watches.all())) == (True, False, 2)


def test_a_watch_never_overlaps_itself(watches, other, clock):
    watches.add("finance", "T", 60.0)
    assert len(watches.claim("finance", 10, LEASE)) == 1
    watches.add("finance", "T", 5.0)
    assert other.watches.claim("finance", 10, LEASE) == []
    clock.pass_(LEASE)
    assert len(other.watches.claim("finance", 10, LEASE)) == 1


def test_a_look_whose_claim_was_taken_over_writes_nothing(watches, other, clock):
    watches.add("finance", FEED, 60.0)
    [slow] = watches.claim("finance", 10, LEASE)
    clock.pass_(LEASE)
    [fresh] = other.watches.claim("finance", 10, LEASE)
    watches.done(slow, wait=0.0, tries=9, cursor={"watermark": 1.0})
    assert watches.keep(slow, LEASE, {"page": "1"}) is None
    other.watches.done(fresh, wait=60.0, tries=0, cursor={"watermark": 2.0})
    [now] = watches.all()
    assert (now.cursor, now.tries, now.claim, now.next_at) == ({"watermark": 2.0}, 0, None, NOW + LEASE + 60)


def test_a_long_pass_keeps_its_place_and_its_claim(watches, other, clock):
    watches.add("finance", FEED, 60.0)
    [claimed] = watches.claim("finance", 10, LEASE)
    for page in range(5):
        clock.pass_(LEASE - 1)
        claimed = watches.keep(claimed, LEASE, {"page": page})
        assert other.watches.claim("finance", 10, LEASE) == []
    clock.pass_(LEASE)
    assert [w.cursor for w in other.watches.claim("finance", 10, LEASE)] == [{"page": 4}]


def test_the_one_that_waits_longest_comes_first(watches, clock):
    for n in range(3):
        watches.add("finance", f"T{n}", 60.0)
        clock.pass_(1)
    assert [w.task for w in watches.claim("finance", 2, LEASE)] == ["T0", "T1"]
    assert [w.task for w in watches.claim("finance", 2, LEASE)] == ["T2"]
