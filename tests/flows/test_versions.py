"""From the prototype of 2022-01-01 to 2026-01-01 with work under way: what docs/workiva-2022-to-2026.md promises."""

import pytest

from tests.flows.house import QUIET
from worker.core.pins import pin_of
from worker.core.submission import TURN
from worker.flows.feed import PATIENCE
from worker.flows.submit import submit
from worker.upstreams.workiva import PAGE, VERSIONS

OLD, NEW = "2022-01-01", "2026-01-01"


@pytest.fixture
def version():
    """Where each test begins."""
    return OLD


def test_both_versions_are_of_one_realm(house):
    """What slots, claims, pins and events hang on does not tell the versions apart."""
    realms = set()
    for version in VERSIONS:
        house.speak(version)
        realms.add(house.rt.accounts["finance"].connector.realm)
    assert len(realms) == 1


def test_an_effect_in_doubt_is_found_and_not_sent_again(house):
    task = house.task("jane", "jane")
    house.sandbox.fault("act", "reset", when="after")
    found = house.submit(task)
    assert found.state == "in_doubt"
    house.speak(NEW)
    house.clock.pass_(QUIET)
    house.submit()
    assert (house.found(found.id).state, house.effects(task), house.requests()["act"]) == ("applied", [("approve", "jane", 1)], 1)


def test_what_came_to_nothing_is_sent_again_after_the_quiet_period_and_no_sooner(house):
    """The grant was proven under the old version, and stays proven."""
    house.submit(house.task("jane"))
    task = house.task("jane", "bob")
    house.sandbox.fault("act", "reset", when="before")
    found = house.submit(task)
    house.speak(NEW)
    house.clock.pass_(QUIET / 2)
    house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("in_doubt", [])
    for _ in range(3):
        house.clock.pass_(QUIET)
        house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_a_late_effect_of_the_old_version_is_found_under_the_new_one(house):
    """Sent under one, applied while the other is spoken already."""
    house.submit(house.task("jane"))
    task = house.task("jane", "bob")
    house.sandbox.fault("act", "late", seconds=QUIET / 2)
    found = house.submit(task)
    house.speak(NEW)
    for _ in range(3):
        house.clock.pass_(QUIET)
        house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_while_old_and_new_processes_run_side_by_side_a_task_is_acted_on_by_one(house):
    """Its slot is the ledger's, whoever speaks what: the second waits for the first to be settled, and is superseded."""
    task = house.task("jane", "bob")
    house.sandbox.fault("act", "reset", when="after")
    first = house.submit(task)
    house.speak(NEW)
    second = house.submit(task, key="second")
    assert (house.found(first.id).state, second.state, house.requests()["act"]) == ("in_doubt", "waiting", 1)
    house.speak(OLD)
    for version in (NEW, OLD, NEW):
        house.clock.pass_(QUIET)
        house.submit()
        house.speak(version)
    assert (house.found(first.id).state, house.found(second.id).state) == ("applied", "superseded")
    assert house.effects(task) == [("approve", "jane", 1)]


def test_a_pin_that_was_read_under_the_old_version_holds(house):
    task = house.task("jane", "bob")
    house.ledger.watches.add("finance", task, 60.0)
    house.poll()
    realm = house.rt.accounts["finance"].connector.realm
    [row] = house.ledger.tasks.known({(realm, task)}).values()
    pin = pin_of(realm, row.snapshot, 1).token()
    house.speak(NEW)
    found = house.submit(task, step=None, pin=pin)
    assert (found.state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_what_waits_for_its_turn_takes_it(house):
    task = house.task("jane", "bob")
    found = house.submit(task, grant="bob", step=2, wait_for_turn=True)
    assert found.state == "waiting"
    house.speak(NEW)
    house.submit(task, key="first")
    house.clock.pass_(TURN)
    house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1), ("approve", "bob", 2)])


def test_watches_tell_nothing_twice_and_their_events_go_on_from_the_same_number(house):
    tasks = [house.task("jane", "bob"), house.task("jane", "bob")]
    house.ledger.watches.add("finance", "", 60.0)
    house.poll()
    house.clock.pass_(5)
    house.sandbox.person(tasks[0], "jane", "APPROVE")
    house.clock.pass_(70)
    house.poll()
    before = house.told()
    house.speak(NEW)
    house.clock.pass_(70)
    house.poll()
    assert house.told() == before == ["response.recorded", "step.completed", "step.opened"]
    house.sandbox.person(tasks[0], "bob", "APPROVE")
    house.clock.pass_(70)
    house.poll()
    events = [e for _, e in house.ledger.queries.events(limit=100) if e["subject"] == tasks[0]]
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
    assert {e["source"] for e in events} == {"/workiva/finance"}
    assert [e["type"] for e in events[len(before) :]][:3] == ["response.recorded", "step.completed", "task.completed"]


def test_a_feed_that_stood_at_a_link_of_the_old_version_begins_its_pass_anew(house):
    """The link leads to a path that the new version does not serve; nothing is skipped."""
    for _ in range(PAGE + 1):
        house.sandbox.sandbox.workspace.make({})  # all in one instant, so that only the link leads on
    house.ledger.watches.add("finance", "", 60.0)
    house.rt.turn = 0.0
    house.poll()
    [watch] = house.ledger.watches.all()
    assert "/prototype/" in watch.cursor["way"]["page"]
    house.speak(NEW)
    house.rt.turn = 600.0
    for _ in range(PATIENCE + 1):
        house.clock.pass_(600)
        house.poll()
    realm = house.rt.accounts["finance"].connector.realm
    known = house.ledger.tasks.known({(realm, task.id) for task in house.sandbox.sandbox.workspace.all()})
    [watch] = house.ledger.watches.all()
    assert (len(known), "way" in watch.cursor, "watermark" in watch.cursor) == (PAGE + 1, False, True)


def test_the_way_back_is_open_while_the_old_version_is_served(house):
    task = house.task("jane", "bob")
    house.speak(NEW)
    house.sandbox.fault("act", "reset", when="after")
    found = house.submit(task)
    house.speak(OLD)
    house.clock.pass_(QUIET)
    submit(house.rt, "finance")
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_under_a_version_that_ended_nothing_is_sent_and_what_is_in_doubt_is_parked_until_it_is_changed(house):
    """404 to everything, as an endpoint that ended may answer. What comes new is refused and told; a look after the end, under the new
    version, finds the effect of what was parked.
    """
    doubt, fresh = house.task("jane", "bob"), house.task("jane", "bob")
    house.sandbox.fault("act", "reset", when="after")
    first = house.submit(doubt)
    house.sandbox.fault("*", "status", status=404, times=None)
    house.clock.pass_(QUIET)
    second = house.submit(fresh)
    assert (house.found(first.id).state, second.state, house.effects(fresh)) == ("parked", "refused", [])
    house.sandbox.do(house.sandbox.sandbox.script.clear)
    house.speak(NEW)
    for seconds in (QUIET, 600):
        house.clock.pass_(seconds)
        house.submit()
    assert (house.found(first.id).state, house.effects(doubt)) == ("applied", [("approve", "jane", 1)])


def test_where_the_old_version_shows_no_single_task_nothing_is_sent(house):
    """Its GET of one task is inferred (36 of the sandbox). Were it not there, a decision without a look would be a blind one: refused."""
    house.sandbox.assume(old_by_id="none")
    task = house.task("jane")
    found = house.submit(task)
    assert (found.state, found.reason[:24], house.effects(task)) == ("refused", "the task cannot be seen:", [])


def test_where_the_new_version_does_not_filter_the_feed_says_so_and_goes_on_asking(house):
    """The properties that a list filters by are published for the old version only (35 of the sandbox)."""
    house.sandbox.assume(filtered="old")
    house.ledger.watches.add("finance", "", 60.0)
    house.poll()
    house.clock.pass_(70)
    before = house.ledger.watches.all()[0].cursor
    house.speak(NEW)
    house.poll()
    [watch] = house.ledger.watches.all()
    assert (watch.cursor, watch.tries) == (before, 1)
