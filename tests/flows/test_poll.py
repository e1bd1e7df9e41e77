"""What is watched, looked at: single tasks one by one, a feed by pages. What is seen twice is told once (B1, B2)."""

from dataclasses import replace

import pytest

from worker.flows.poll import OVERLAP
from worker.upstreams.workiva import PAGE, VERSIONS, Workiva

FEED = ""


def watch(house, task=FEED):
    house.ledger.watches.add("finance", task, 60.0)


def again(house, seconds=70):
    """The next look of every watch."""
    house.clock.pass_(seconds)
    assert house.poll() is False


@pytest.fixture
def feed(house):
    """A feed that has been read once, with two tasks in it."""
    tasks = [house.task("jane", "bob"), house.task("jane", "bob")]
    watch(house)
    assert house.poll() is False
    return tasks


def cursor(house):
    [only] = house.ledger.watches.all()
    return only.cursor


@pytest.mark.parametrize("version", VERSIONS)
class TestATask:
    def test_first_sight_tells_nothing_of_the_past_and_then_progress_is_told(self, house):
        task = house.task("jane", "bob")
        watch(house, task)
        house.poll()
        assert house.told() == []
        house.clock.pass_(5)
        house.sandbox.person(task, "jane", "APPROVE")
        again(house)
        assert house.told() == ["response.recorded", "step.completed", "step.opened"]
        again(house)
        assert (len(house.told()), house.requests()) == (3, {"read": 3})

    def test_gone_is_told_once(self, house):
        task = house.task("jane")
        watch(house, task)
        house.poll()
        house.sandbox.do(lambda: house.sandbox.sandbox.workspace.remove(task, "jane", None))
        again(house)
        again(house)
        assert house.told() == ["task.gone"]

    def test_what_one_grant_may_not_see_is_not_gone(self, house):
        """Without: a task of bob's, polled as alice, is told as gone, and again after each of bob's own looks."""
        task = house.task("jane")
        watch(house, task)
        house.poll()
        house.sandbox.fault("read", "status", status=403)
        again(house)
        assert (house.told(), house.requests()) == ([], {"read": 3})

    def test_a_look_that_failed_is_repeated_sooner_and_no_sooner_than_asked(self, house):
        watch(house, house.task("jane"))
        house.sandbox.fault("read", "throttle", retry_after=20)
        house.poll()
        [only] = house.ledger.watches.all()
        assert (only.tries, only.next_at) == (1, house.clock() + 20.5)
        again(house, 21)
        assert [w.tries for w in house.ledger.watches.all()] == [0]

    def test_many_are_read_at_once(self, house):
        for _ in range(200):
            watch(house, house.task("jane"))
        while house.poll():
            pass
        assert house.requests() == {"read": 200}


@pytest.mark.parametrize("version", VERSIONS)
class TestAFeed:
    def test_first_sight_is_a_baseline(self, house, feed):
        assert (house.told(), house.requests(), cursor(house)) == ([], {"list": 1}, {"watermark": house.clock() - OVERLAP})

    def test_progress_is_told_once_though_the_overlap_shows_it_again(self, house, feed):
        house.clock.pass_(5)
        house.sandbox.person(feed[0], "jane", "APPROVE")
        again(house)
        again(house)
        assert house.told() == ["response.recorded", "step.completed", "step.opened"]
        assert house.requests() == {"list": 3}

    def test_the_watermark_is_the_upstreams_time_and_never_in_the_overlap(self, house, feed):
        newest = house.clock()
        again(house, 2 * OVERLAP)
        assert cursor(house) == {"watermark": newest}

    def test_a_restart_is_read_by_itself(self, house, feed):
        """A row of a feed may be older than what we know: that responses are gone has to be seen by a look with a version."""
        house.clock.pass_(5)
        house.sandbox.person(feed[0], "jane", "APPROVE")
        again(house)
        house.clock.pass_(5)
        house.sandbox.person(feed[0], None, "RESTART")
        again(house)
        assert house.told("task.") == ["task.restarted"]
        assert house.requests() == {"list": 3, "read": 1}

    def test_a_change_without_a_later_modified_is_read_by_itself(self, house, feed):
        patch = [{"op": "replace", "path": "/title", "value": "Other"}]
        house.sandbox.control("POST", "/person", {"task": feed[0], "patch": patch})
        again(house)
        assert (house.told(), house.requests()) == (["task.changed"], {"list": 2, "read": 1})

    def test_a_new_task_is_a_baseline_too(self, house, feed):
        house.clock.pass_(5)
        task = house.task("jane")
        again(house)
        house.clock.pass_(5)
        house.sandbox.person(task, "jane", "APPROVE")
        again(house)
        assert house.told("response.") == ["response.recorded"]


class TestALongPass:
    """More tasks than a page holds."""

    COUNT = 2 * PAGE + 100

    @pytest.fixture(autouse=True)
    def crowd(self, house):
        for _ in range(self.COUNT):
            house.sandbox.sandbox.workspace.make({})
            house.clock.pass_(0.01)
        house.clock.pass_(2 * OVERLAP)
        watch(house)

    def known(self, house):
        workspace, realm = house.sandbox.sandbox.workspace, house.rt.accounts["finance"].connector.realm
        return len(house.ledger.tasks.known({(realm, t.id) for t in workspace.all()}))

    def test_page_by_page(self, house):
        house.rt.turn = 600.0
        assert house.poll() is False
        assert (self.known(house), house.requests(), set(cursor(house))) == (self.COUNT, {"list": 3}, {"watermark"})

    def test_a_turn_that_ends_keeps_its_place(self, house):
        house.rt.turn = 0.0
        assert [house.poll() for _ in range(3)] == [True, True, False]
        assert (self.known(house), house.requests(), set(cursor(house))) == (self.COUNT, {"list": 3}, {"watermark"})

    def test_a_page_that_cannot_be_read_is_read_again_and_none_before_it(self, house):
        house.rt.turn = 600.0
        house.sandbox.fault("list", "status", status=503, after=1)
        house.poll()
        assert "page" in cursor(house)
        assert "watermark" not in cursor(house)
        again(house)
        assert (self.known(house), house.requests(), set(cursor(house))) == (self.COUNT, {"list": 4}, {"watermark"})

    def test_a_place_that_the_upstream_cannot_read_any_more_is_given_up(self, house):
        house.rt.turn = 600.0
        house.sandbox.fault("list", "status", status=400, after=1, times=3)
        house.poll()
        for _ in range(3):
            again(house)
        assert (self.known(house), house.requests(), set(cursor(house))) == (self.COUNT, {"list": 1 + 3 + 3}, {"watermark"})

    def test_a_pass_whose_claim_was_lost_ends(self, house):
        """Another process goes on with it from the page that was kept."""
        house.rt.turn = 600.0
        taken: list = []

        class Slow(Workiva):
            """Its first page takes longer than a lease."""

            def changes(self, since, cursor=None):
                if not taken:
                    house.clock.pass_(31)
                    taken.extend(house.ledger.watches.claim("finance", 1, 30.0))
                return Workiva.changes(self, since, cursor)

        account = house.rt.accounts["finance"]
        slow = Slow(account.connector.base_url, grants=account.connector.grants)
        house.rt.accounts = {"finance": replace(account, connector=slow)}
        assert house.poll() is False
        assert house.requests() == {"list": 1}
        [only] = house.ledger.watches.all()
        assert (only.claim, only.cursor) == (taken[0].claim, {})
