"""Watches: claimed, never twice at a time, and never written over by an older look (B5)."""

import pytest

from tests.ledger.make import LEASE, NOW, REALM, context, look, polled
from worker.core.task import Task
from worker.ledger.watches import FEED, SERVER, Served


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
    [slow] = watches.claim("finance", 10, LEASE, feeds=True)
    clock.pass_(LEASE)
    [fresh] = other.watches.claim("finance", 10, LEASE, feeds=True)
    watches.done(slow, wait=0.0, tries=9, cursor={"watermark": 1.0})
    assert watches.keep(slow, LEASE, {"page": "1"}) is None
    other.watches.done(fresh, wait=60.0, tries=0, cursor={"watermark": 2.0})
    [now] = watches.all()
    assert (now.cursor, now.tries, now.claim, now.next_at) == ({"watermark": 2.0}, 0, None, NOW + LEASE + 60)


def test_a_long_pass_keeps_its_place_and_its_claim(watches, other, clock):
    watches.add("finance", FEED, 60.0)
    [claimed] = watches.claim("finance", 10, LEASE, feeds=True)
    for page in range(5):
        clock.pass_(LEASE - 1)
        claimed = watches.keep(claimed, LEASE, {"page": page})
        assert other.watches.claim("finance", 10, LEASE, feeds=True) == []
    clock.pass_(LEASE)
    assert [w.cursor for w in other.watches.claim("finance", 10, LEASE, feeds=True)] == [{"page": 4}]


def test_the_one_that_waits_longest_comes_first(watches, clock):
    for n in range(3):
        watches.add("finance", f"T{n}", 60.0)
        clock.pass_(1)
    assert [w.task for w in watches.claim("finance", 2, LEASE)] == ["T0", "T1"]
    assert [w.task for w in watches.claim("finance", 2, LEASE)] == ["T2"]


class TestTheServer:
    """The feed that is read for the watches of single tasks, where nobody watches the whole."""

    @pytest.fixture(autouse=True)
    def hour(self, clock):
        """A clock, whether or not a test moves it."""

    def test_it_is_there_where_it_may_spare_something(self, watches):
        first = watches.add("finance", "T", 60.0)
        assert watches.feed("finance", SERVER) is None
        watches.add("finance", "U", 20.0)
        server = watches.feed("finance", SERVER)
        assert (server.interval, server.next_at) == (20.0, NOW)
        assert [w.task for w in watches.all()] == ["T", "U"]
        watches.remove(first.id)
        assert watches.feed("finance", SERVER) is None

    def test_it_makes_way_for_the_whole_feed_and_comes_back(self, watches):
        for task in "TU":
            watches.add("finance", task, 60.0)
        whole = watches.add("finance", FEED, 60.0)
        assert watches.feed("finance", SERVER) is None
        watches.remove(whole.id)
        assert watches.feed("finance", SERVER) is not None

    def test_it_is_claimed_like_a_feed(self, watches, other):
        for task in "TU":
            watches.add("finance", task, 60.0)
        [server] = watches.claim("finance", 10, LEASE, feeds=True)
        assert (server.task, other.watches.claim("finance", 10, LEASE, feeds=True)) == (SERVER, [])
        assert {w.task for w in watches.claim("finance", 10, LEASE)} == {"T", "U"}

    def test_a_new_watch_makes_it_think_again_but_not_while_it_reads(self, watches, clock):
        for task in "TU":
            watches.add("finance", task, 60.0)
        [server] = watches.claim("finance", 10, LEASE, feeds=True)
        watches.add("finance", "V", 60.0)
        assert watches.feed("finance", SERVER).next_at == NOW + LEASE
        watches.done(server, wait=600.0, tries=0, cursor={})
        watches.add("finance", "W", 60.0)
        assert watches.feed("finance", SERVER).next_at == NOW

    def test_what_it_may_do_is_counted(self, watches, ledger, clock):
        for task in ("shown", "later", "process", "new"):
            watches.add("finance", task, 60.0)
        ledger.tasks.show([Task(REALM, name, "workiva", "finance") for name in ("shown", "later", "process")])
        clock.pass_(1)
        ledger.tasks.show([Task(REALM, name, "workiva", "finance") for name in ("shown", "later")])
        ledger.tasks.missed(REALM, "finance", clock(), watched=True)
        ledger.watches.all_done([(w, 90.0 if w.task == "later" else 0.0, 0, {}) for w in watches.claim("finance", 10, LEASE)])
        assert watches.served("finance", REALM, 60.0, silent=False) == Served(soon=1, unknown=1)
        assert watches.served("finance", REALM, 90.0, silent=False) == Served(soon=2, unknown=1)

    def test_what_its_feed_may_be_silent_about_it_does_not_serve(self, watches, ledger, clock):
        for task in "TU":
            watches.add("finance", task, 60.0)
        ledger.tasks.show([Task(REALM, task, "workiva", "finance") for task in "TU"])
        looks = [look("T"), look("U", awaiting=False)]
        ledger.submissions.settle([polled(each, 0) for each in looks], context)
        assert watches.served("finance", REALM, 60.0, silent=True) == Served(soon=1, unknown=0)
        assert watches.serve("finance", REALM, 60.0, lambda base, *_: base, silent=True) == 1
        assert [w.task for w in watches.claim("finance", 10, LEASE)] == ["T"]

    def test_those_it_has_served_are_due_again_after_their_own_time(self, watches, ledger, clock):
        """Not one that is being read right now, nor one that no feed shows."""
        asked = []

        def wait(base, idle, due_in):
            asked.append((base, idle, due_in))
            return 5 * base

        watches.add("finance", "claimed", 60.0)
        clock.pass_(5)
        for task in ("shown", "process"):
            watches.add("finance", task, 60.0)
        ledger.tasks.make([Task(REALM, "process", "workiva", "finance", listed=0.0)])
        ledger.tasks.make([Task(REALM, "shown", "workiva", "finance", notice_at=NOW + 3600)])
        ledger.tasks.show([Task(REALM, name, "workiva", "finance") for name in ("shown", "claimed")])
        clock.pass_(10)
        watches.claim("finance", 1, LEASE)
        assert watches.serve("finance", REALM, 60.0, wait, silent=False) == 1
        assert asked == [(60.0, 10.0, 3585.0)]
        assert {w.task: w.next_at - clock() for w in watches.all()} == {"claimed": LEASE, "shown": 300.0, "process": -10.0}

    @pytest.mark.parametrize(("whole", "due"), [(True, {"process"}), (False, {"process", "new"})])
    def test_while_it_reads_those_it_may_serve_wait_for_it(self, watches, ledger, clock, whole, due):
        for task in ("shown", "process", "new"):
            watches.add("finance", task, 60.0)
        ledger.tasks.make([Task(REALM, "process", "workiva", "finance", listed=0.0)])
        ledger.tasks.show([Task(REALM, "shown", "workiva", "finance")])
        watches.hold("finance", REALM, LEASE, whole=whole, silent=False)
        assert {w.task for w in watches.claim("finance", 10, LEASE)} == due
        clock.pass_(LEASE)
        assert {"shown"} <= {w.task for w in watches.claim("finance", 10, LEASE)}
