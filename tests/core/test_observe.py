"""What a look tells, given what was known: the events, their order and their names (B1, C1 to C3)."""

from dataclasses import replace

import pytest

from tests.core.make import BOTH, NOW, REALM, approve, snap, step, task
from worker.core.events import cloudevent, routing_key
from worker.core.observe import observe, vanish
from worker.core.pins import pin_of
from worker.core.task import Credit

A, B, NO = approve("a", 1), approve("b", 2), approve("a", 1, action="reject")
START = snap(step("a", "b"), step("b"), at=0)
ALL = snap(step("a", "b", mode="all"), step("b"), at=0)
DONE = snap(step("a", "b", by=[A]), step("b", by=[B]), at=2, status="Completed")


def see(row, look, credits_=None, now=99.0):
    return observe(row, row.align(look), credits_ or {}, NOW + now)


def told(before, after):
    return [e.type for e in see(task(before), after)[1]]


@pytest.mark.parametrize(
    ("expected", "what", "before", "after"),
    [
        ("", "first sight tells nothing of the past", None, DONE),
        ("", "the same again", START, replace(START, date=NOW + 50)),
        ("", "the same with other fractions", DONE, replace(DONE, steps=(step("a", "b", by=[approve("a", 1.4)]), DONE.steps[1]))),
        ("response.recorded step.completed step.opened", "one step on", START, snap(step("a", "b", by=[A]), step("b"), at=1)),
        ("response.recorded", "half of an ALL step", ALL, snap(step("a", "b", mode="all", by=[A]), step("b"), at=1)),
        (
            "response.recorded response.recorded step.completed step.opened",
            "all of an ALL step",
            ALL,
            snap(step("a", "b", mode="all", by=[A, B]), step("b"), at=2),
        ),
        (
            "response.recorded response.recorded step.completed step.completed task.completed task.changed",
            "to the end between two looks",
            START,
            DONE,
        ),
        ("response.recorded task.changed", "a rejection", START, snap(step("a", "b", by=[NO]), step("b"), at=1, status="Returned")),
        ("step.opened task.restarted task.changed", "a restart", DONE, replace(START, modified=NOW + 9)),
        ("step.opened task.changed", "a submission", replace(START, awaiting=False, status="Created"), START),
        ("task.changed", "a new title", START, replace(START, title="Other")),
        ("task.changed", "people changed", START, snap(step("a", "c"), step("b"), at=0)),
        ("", "people in another order", START, snap(step("b", "a"), step("b"), at=0)),
        ("response.recorded", "one more to a complete step", DONE, replace(DONE, steps=(step("a", "b", by=[A, B]), DONE.steps[1]))),
    ],
)  # fmt: skip
def test_what_is_told(expected, what, before, after):
    assert (" ".join(told(before, after)), what) == (expected, what)


AGAIN = snap(step("a", "b", by=[approve("a", 50)]), step("b"), at=50)


def test_c2_completed_restarted_and_completed_again_between_two_looks_is_not_swallowed():
    """C2. Without: ids hash our own round, which did not move, and the second completion has the id of the first."""
    row, first = see(task(START), snap(step("a", "b", by=[A]), step("b"), at=1))
    row, second = see(row, AGAIN)
    assert [e.type for e in second] == ["response.recorded", "step.completed", "step.opened", "task.restarted"]
    assert len({e.id for e in (*first, *second)}) == len(first) + len(second)
    assert row.round == 2


def test_c2_an_event_has_one_id_whoever_sees_the_fact_and_however_it_is_written():
    """C2. Without: two pollers tell one completion twice, under two ids that no consumer can drop."""
    look = snap(step("a", "b", by=[approve("a", 1.25)]), step("b"), at=1)
    one = see(task(START), look, now=5)[1]
    other = see(task(START, version=8, round=3, sequence=77), snap(step("a", "b", by=[approve("a", 1.0)]), step("b"), at=1), now=500)[1]
    assert [e.id for e in one] == [e.id for e in other]


def test_c2_what_was_told_is_not_told_again():
    row, _ = see(task(START), DONE)
    assert see(row, DONE)[1] == ()


@pytest.mark.parametrize("gone", [0, 2])
def test_a_look_that_changes_nothing_leaves_the_row_as_it_is(gone):
    row = task(DONE, version=5, gone=gone)
    assert see(row, replace(DONE, date=NOW + 77))[0] is row


def test_b1_every_change_moves_the_version():
    row = see(task(START, version=5), DONE)[0]
    assert (row.version, row.round) == (6, 1)


def test_a_restart_copies_the_responses_that_the_upstream_has_forgotten():
    events = see(task(DONE), replace(START, modified=NOW + 9))[1]
    (restart,) = (e for e in events if e.type == "task.restarted")
    shown = [(r["step"], r["actor"], r["action"], r["at"]) for r in restart.data["responses"]]
    assert shown == [(1, "a", "approve", "2023-11-14T22:13:21.000Z"), (2, "b", "approve", "2023-11-14T22:13:22.000Z")]
    assert restart.data["round"] == 2


def test_the_next_pin_is_what_a_command_for_the_next_step_brings():
    look = snap(step("a", "b", by=[A]), step("b"), at=1)
    row, events = see(task(START), look)
    _, completed, opened = events
    pin = pin_of(REALM, row.snapshot, 2).token()
    assert (completed.data["next_pin"], opened.data["pin"], completed.data["step_count"]) == (pin, pin, 2)


@pytest.mark.parametrize("disputed", [False, True])
def test_a12_a_step_that_holds_a_disputed_response_says_so(disputed):
    row = task(BOTH)
    look = row.align(snap(step("jane", by=[approve("jane", 5)]), step("jane"), at=5))
    credit = Credit("s1", "po-1", {"po": "4711"}, disputed=disputed)
    recorded, completed, _ = see(row, look, {look.steps[0].responses[0].id: credit})[1]
    for event in (recorded, completed):
        assert event.data["submission"] == {"id": "s1", "key": "po-1", "labels": {"po": "4711"}}
        assert ("disputed" in event.data) is disputed


@pytest.mark.parametrize(
    ("outcome", "by"),
    [("approved", [A]), ("skipped", [approve("a", 1, action="skip")]), ("approved", [A, approve("b", 2, action="skip")])],
)
def test_how_a_step_was_completed(outcome, by):
    events = see(task(START), snap(step("a", "b", by=by), step("b"), at=2))[1]
    assert [e.data["outcome"] for e in events if e.type == "step.completed"] == [outcome]


def test_the_time_of_an_event_is_its_facts_where_it_has_one():
    events = see(task(START), snap(step("a", "b", by=[A]), step("b"), at=1))[1]
    assert [e.time for e in events] == [NOW + 1] * 3
    assert [e.time for e in see(task(DONE), replace(START, modified=None))[1]] == [NOW + 99] * 3


def test_a_task_that_vanishes_is_told_once_and_again_when_it_vanishes_again():
    row, first = vanish(task(START), NOW)
    row, none = vanish(row, NOW)
    row, back = see(row, START)
    _, second = vanish(row, NOW)
    assert ([e.type for e in (*first, *none, *back, *second)], first[0].id == second[0].id) == (["task.gone"] * 2, False)


def test_a_task_never_seen_cannot_vanish():
    assert vanish(task(), NOW) == (task(), ())


def test_the_wire_form():
    (event,) = vanish(task(START), NOW)[1]
    wire = cloudevent(event, 42)
    assert (wire["specversion"], wire["source"], wire["subject"], wire["sequence"]) == ("1.0", "/workiva/finance", "T", "42")
    assert "sequence" not in cloudevent(event, None)
    assert routing_key(event.type, event.source) == "workiva.finance.task.gone"
