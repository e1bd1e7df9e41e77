"""What is watched, looked at: single tasks one by one, a feed by pages. What is seen twice is told once (B1, B2)."""

from dataclasses import replace

import pytest
import structlog

from tests.flows.house import UPSTREAMS
from worker.core import times
from worker.core.feed import DAY, OVERLAP
from worker.upstreams.auth import Consented
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


@pytest.mark.parametrize("upstream", UPSTREAMS)
class TestATask:
    def test_first_sight_tells_nothing_of_the_past_and_then_progress_is_told(self, house):
        task = house.task("jane", "bob")
        watch(house, task)
        house.poll()
        assert house.told() == []
        house.clock.pass_(5)
        house.answers(task, "jane")
        again(house)
        assert house.progress() == ["response.recorded", "step.completed", "step.opened"]
        again(house)
        assert (len(house.progress()), house.looks) == (3, 3)

    def test_gone_is_told_once(self, house):
        task = house.task("jane")
        watch(house, task)
        house.poll()
        house.vanishes(task)
        again(house)
        again(house)
        assert house.told() == ["task.gone"]

    def test_what_one_grant_may_not_see_is_not_gone(self, house):
        """Without: a task of bob's, polled as alice, is told as gone, and again after each of bob's own looks."""
        task = house.task("jane")
        watch(house, task)
        house.poll()
        before = house.requests()["read"]
        house.sandbox.fault("read", "status", status=403)
        again(house)
        assert (house.told(), house.requests()["read"]) == ([], 2 * before + 1)

    def test_a_look_that_failed_is_repeated_sooner_and_no_sooner_than_asked(self, house):
        watch(house, house.task("jane"))
        house.sandbox.fault("read", "throttle", retry_after=20)
        house.poll()
        [only] = house.ledger.watches.all()
        assert (only.tries, only.next_at) == (1, house.clock() + 20.5)
        again(house, 21)
        assert [w.tries for w in house.ledger.watches.all()] == [0]


@pytest.mark.parametrize("upstream", UPSTREAMS)
class TestAFeed:
    def test_first_sight_is_a_baseline(self, house, feed):
        assert (house.told(), cursor(house)["watermark"]) == ([], house.clock() - OVERLAP)

    def test_progress_is_told_once_though_the_overlap_shows_it_again(self, house, feed):
        house.clock.pass_(5)
        house.answers(feed[0], "jane")
        again(house)
        again(house)
        assert house.progress() == ["response.recorded", "step.completed", "step.opened"]

    def test_the_watermark_is_the_upstreams_time_and_never_in_the_overlap(self, house, feed):
        newest = house.clock()
        again(house, 2 * OVERLAP)
        assert cursor(house)["watermark"] == newest

    def test_a_restart_is_read_by_itself(self, house, feed):
        """A row of a feed may be older than what we know: that responses are gone has to be seen by a look with a version."""
        house.clock.pass_(5)
        house.answers(feed[0], "jane")
        again(house)
        house.clock.pass_(5)
        house.begins_again(feed[0])
        again(house)
        assert house.told("task.restarted") == ["task.restarted"]

    def test_a_change_is_told(self, house, feed):
        house.clock.pass_(5)
        house.edits(feed[0])
        again(house)
        assert house.told() == ["task.changed"]

    def test_a_new_task_is_a_baseline_too(self, house, feed):
        house.clock.pass_(5)
        task = house.task("jane")
        again(house)
        house.clock.pass_(5)
        house.answers(task, "jane")
        again(house)
        assert house.told("response.") == ["response.recorded"]


@pytest.mark.parametrize("upstream", ["autodesk"])
def test_a_grant_without_a_token_hides_nothing_that_the_next_one_sees(house):
    """bob comes first by name, and has not consented yet."""
    account = house.rt.accounts["finance"]
    bob = Consented("sandbox:bob", "sandbox", "bob", house.rt.vault)
    connector = replace(account.connector, grants={**account.connector.grants, "bob": bob})
    house.rt.accounts = {"finance": replace(account, connector=connector)}
    task = house.task("jane", "bob")
    watch(house)
    watch(house, task)
    house.poll()
    assert [w.tries for w in house.ledger.watches.all()] == [0, 0]
    house.clock.pass_(5)
    house.answers(task, "jane")
    again(house)
    assert house.progress() == ["response.recorded", "step.completed", "step.opened"]


@pytest.mark.parametrize("version", VERSIONS)
class TestWhatItCosts:
    """Of Workiva, whose feed shows tasks whole."""

    def test_many_are_read_at_once(self, house):
        for _ in range(200):
            watch(house, house.task("jane", process_made=True))
        while house.poll():
            pass
        house.clock.pass_(house.rt.accounts["finance"].rules.lease)  # so long they wait for the feed, which shows none of them
        while house.poll():
            pass
        assert house.requests() == {"list": 1, "read": 200}

    def test_a_pass_is_one_page_and_progress_in_it_needs_no_other(self, house, feed):
        house.clock.pass_(5)
        house.answers(feed[0], "jane")
        again(house)
        again(house)
        assert house.requests() == {"list": 3}

    def test_a_restart_is_one_look_more(self, house, feed):
        house.clock.pass_(5)
        house.answers(feed[0], "jane")
        again(house)
        house.clock.pass_(5)
        house.begins_again(feed[0])
        again(house)
        assert house.requests() == {"list": 3, "read": 1}

    def test_a_change_without_a_later_modified_is_read_by_itself(self, house, feed):
        house.edits(feed[0])
        again(house)
        assert (house.told(), house.requests()) == (["task.changed"], {"list": 2, "read": 1})


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
        assert (self.known(house), house.requests(), "way" in cursor(house)) == (self.COUNT, {"list": 3}, False)

    def test_a_turn_that_ends_keeps_its_place(self, house):
        house.rt.turn = 0.0
        assert [house.poll() for _ in range(3)] == [True, True, False]
        assert (self.known(house), house.requests(), "way" in cursor(house)) == (self.COUNT, {"list": 3}, False)

    def test_a_page_that_cannot_be_read_is_read_again_and_none_before_it(self, house):
        house.rt.turn = 600.0
        house.sandbox.fault("list", "status", status=503, after=1)
        house.poll()
        assert (cursor(house)["way"]["pages"], "watermark" in cursor(house)) == (1, False)
        again(house)
        assert (self.known(house), house.requests(), "way" in cursor(house)) == (self.COUNT, {"list": 4}, False)

    def test_a_place_that_the_upstream_cannot_read_any_more_is_given_up(self, house):
        house.rt.turn = 600.0
        house.sandbox.fault("list", "status", status=400, after=1, times=3)
        house.poll()
        for _ in range(3):
            again(house)
        assert (self.known(house), house.requests(), "way" in cursor(house)) == (self.COUNT, {"list": 1 + 3 + 3}, False)

    def test_a_pass_whose_claim_was_lost_ends(self, house):
        """Another process goes on with it from the page that was kept."""
        house.rt.turn = 600.0
        taken: list = []

        class Slow(Workiva):
            """Its first page takes longer than a lease."""

            def changes(self, since, cursor=None):
                if not taken:
                    house.clock.pass_(31)
                    taken.extend(house.ledger.watches.claim("finance", 1, 30.0, feeds=True))
                return Workiva.changes(self, since, cursor)

        account = house.rt.accounts["finance"]
        slow = Slow(account.connector.base_url, grants=account.connector.grants)
        house.rt.accounts = {"finance": replace(account, connector=slow)}
        assert house.poll() is False
        assert house.requests() == {"list": 1}
        [only] = house.ledger.watches.all()
        assert (only.claim, only.cursor) == (taken[0].claim, {})


class TestSingleWatchesServedByTheFeed:
    """Where that costs fewer requests: nobody says so, they are counted."""

    COUNT = 20

    @pytest.fixture
    def tasks(self, house):
        made = [house.task("jane", "bob") for _ in range(self.COUNT)]
        for task in made:
            watch(house, task)
        return made

    def test_one_page_spares_twenty_looks_and_tells_the_same(self, house, tasks):
        house.poll()
        assert (house.told(), house.requests()) == ([], {"list": 1})
        house.clock.pass_(5)
        house.answers(tasks[0], "jane")
        again(house)
        again(house)
        assert (house.told(), house.requests()) == (["response.recorded", "step.completed", "step.opened"], {"list": 3})

    def test_nothing_is_told_or_kept_of_tasks_that_nobody_watches(self, house, tasks):
        other = house.task("jane", "bob")
        house.poll()
        house.sandbox.person(other, "jane", "APPROVE")
        again(house)
        realm = house.rt.accounts["finance"].connector.realm
        assert (house.told(), house.ledger.tasks.known({(realm, other)})) == ([], {})

    def test_one_task_is_read_by_itself(self, house):
        watch(house, house.task("jane"))
        for _ in range(3):
            again(house)
        assert house.requests() == {"read": 3}

    def test_what_the_feed_does_not_show_is_read_by_itself(self, house, tasks):
        process = house.task("jane", "bob", process_made=True)
        watch(house, process)
        house.poll()
        again(house)
        house.sandbox.person(process, "jane", "APPROVE")
        again(house)
        assert (house.told("response."), house.requests()["read"]) == (["response.recorded"], 2)

    def test_a_watched_task_that_the_feed_shows_no_more_is_found_gone(self, house, tasks):
        house.poll()
        house.sandbox.do(lambda: house.sandbox.sandbox.workspace.remove(tasks[0], "jane", None))
        for _ in range(4):
            again(house, DAY / 2)
        assert house.told("task.gone") == ["task.gone"]

    def test_a_list_that_is_longer_than_the_looks_it_spares_is_given_up(self, house):
        for _ in range(5 * PAGE):
            house.sandbox.sandbox.workspace.make({})
        house.clock.pass_(2 * OVERLAP)
        for _ in range(2):
            watch(house, house.task("jane"))
        for _ in range(5):  # in the first they wait for the feed
            again(house, 100)
        assert (house.requests()["list"], house.requests()["read"]) == (2, 2 * 4)

    def test_a_feed_that_cannot_be_read_holds_nothing_back_for_longer_than_a_lease(self, house, tasks):
        house.sandbox.fault("list", "status", status=503, times=None)
        house.poll()
        again(house, house.rt.accounts["finance"].rules.lease + 1)
        assert house.requests()["read"] == self.COUNT

    def test_a_feed_whose_modified_does_not_move_with_responses_serves_none_under_approval(self, house, tasks):
        house.poll()
        house.sandbox.assume(modified_frozen=True)
        house.clock.pass_(5)
        house.answers(tasks[0], "jane")
        found = house.submit(tasks[1])
        assert found.state == "applied"
        again(house, DAY)
        assert house.told("response.").count("response.recorded") == 2

    def test_the_whole_feed_serves_them_too(self, house, tasks):
        watch(house)
        for _ in range(3):
            again(house)
        assert house.requests() == {"list": 3}


class TestCadence:
    def test_what_is_quiet_is_looked_at_less_often_until_something_happens(self, house):
        task = house.task("jane", "bob")
        watch(house, task)
        waits = []
        for at in (0, 6_000, 6_000):
            house.clock.pass_(at)
            house.poll()
            [only] = house.ledger.watches.all()
            waits.append(only.next_at - house.clock())
        house.answers(task, "jane")
        house.clock.pass_(waits[-1])
        house.poll()
        [only] = house.ledger.watches.all()
        assert [*waits, only.next_at - house.clock()] == [60, 600, 1200, 60]

    def test_one_that_is_due_soon_is_looked_at_every_ten_minutes(self, house):
        due = times.iso(house.clock() + 1.5 * DAY)
        watch(house, house.task("jane", due=due))
        house.poll()
        house.clock.pass_(DAY)
        house.poll()
        [only] = house.ledger.watches.all()
        assert only.next_at - house.clock() == 600

    def test_missed_ticks_run_once(self, house, feed):
        again(house, 5 * 60)
        assert house.requests() == {"list": 2}

    def test_once_a_day_all_is_read_and_what_was_missed_is_counted(self, house, feed):
        """A response that moved nothing which the feed goes by."""
        house.sandbox.assume(modified_frozen=True)
        house.clock.pass_(2 * OVERLAP)
        house.task("jane")
        again(house, DAY / 4)
        house.answers(feed[0], "jane")
        again(house, DAY / 4)
        assert house.told() == []
        with structlog.testing.capture_logs() as logs:
            again(house, DAY)
        assert house.told() == ["response.recorded", "step.completed", "step.opened"]
        assert [(log["tasks"], log["lost"]) for log in logs if log["event"] == "feed.missed"] == [(1, 0)]


class TestASilentFeed:
    """What happens to a task under approval may leave the feed as it is: such tasks are read by themselves, too."""

    @pytest.fixture
    def silent(self, house):
        account = house.rt.accounts["finance"]

        class Silent(Workiva):
            silent = True

        house.rt.accounts = {"finance": replace(account, connector=Silent(account.connector.base_url, grants=account.connector.grants))}

    @pytest.fixture
    def old(self, house, silent):
        """Tasks that nobody has touched for a day, of which one awaits nothing."""
        tasks = [house.task("jane", "bob") for _ in range(2)]
        house.task("jane", status="Draft")
        house.clock.pass_(DAY)
        watch(house)
        return tasks

    def test_those_under_approval_are_read_by_cadence(self, house, old):
        house.poll()
        assert house.requests() == {"list": 1, "read": 2}
        again(house, 1800)
        assert house.requests()["read"] == 2
        again(house, 1800)
        assert house.requests()["read"] == 4

    def test_what_the_feed_does_not_show_is_found_and_watched_closely_from_then_on(self, house, old):
        house.poll()
        house.sandbox.assume(modified_frozen=True)
        house.sandbox.person(old[0], "jane", "APPROVE")
        again(house, 3600)
        assert house.told("response.") == ["response.recorded"]
        before = house.requests()["read"]
        again(house)
        assert house.requests()["read"] == before + 1

    def test_one_that_could_not_be_read_waits_like_any_other(self, house, old):
        house.sandbox.fault("read", "status", status=503, times=2)
        house.poll()
        again(house, 61)
        again(house, 61)
        assert house.requests()["read"] == 4


@pytest.mark.parametrize("upstream", ["autodesk"])
class TestAGlance:
    """At an item that the feed shows: one request, where a look is two."""

    @pytest.fixture
    def item(self, house):
        """With a step of two parts, seen whole a day ago."""
        item = house.sandbox.item(steps=[["jane", "bob"]])["id"]
        watch(house)
        house.poll()
        return item

    def test_a_response_that_leaves_the_feed_as_it_is_costs_one_request(self, house, item):
        before = house.requests()["read"]
        house.clock.pass_(5)
        house.answers(item, "jane")
        again(house)
        assert (house.told("response."), house.requests()["read"]) == (["response.recorded"], before + 1)

    def test_now_and_then_it_is_a_look(self, house, item):
        """What no feed tells of: that an item was voided."""
        house.sandbox.person(item, None, "void")
        again(house)
        assert house.told() == []
        house.rt.dice = lambda: 0.1
        again(house, 600)
        assert house.told() == ["task.changed"]

    def test_what_the_feed_shows_no_more_is_looked_at_whole(self, house, item):
        house.vanishes(item)
        again(house, 2 * DAY)
        assert house.told("task.gone") == ["task.gone"]
