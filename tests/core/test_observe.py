"""What a look tells, given what was known: the events, their order and their names (B1, C1 to C3)."""

from dataclasses import replace

import pytest

from tests.core.make import BOTH, NOW, REALM, approve, closes, item, review, snap, step, task
from worker.core.events import cloudevent, routing_key
from worker.core.observe import observe, vanish
from worker.core.pins import pin_of
from worker.core.task import Credit, Response

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


def test_c2_a_task_completed_restarted_and_completed_again_between_two_looks_is_told_completed_again():
    """Without: it was done before and is done now, so nobody hears that what was approved had been taken back and approved anew."""
    row, first = see(task(START), DONE)
    again = snap(step("a", "b", by=[approve("a", 50)]), step("b", by=[approve("b", 51)]), at=51, status="Completed")
    row, second = see(row, again)
    assert [e.type for e in second] == [*["response.recorded"] * 2, *["step.completed"] * 2, "task.restarted", "task.completed"]
    assert len({e.id for e in (*first, *second)}) == len(first) + len(second)
    assert see(row, again)[1] == ()


def test_c2_an_item_reopened_and_closed_again_between_two_looks_is_told_completed_again():
    """Of Autodesk: reopening to the manager begins no round, and the manager's own response is another."""
    steps = review(1, "jane", by=[closes(1, "jane", 1)], state="complete")
    first, again = (item(steps, at=at, status="sbc-2", answer=Response("m", "approve", NOW + at, choice="ok")) for at in (5, 50))
    relabelled = replace(first, answer=replace(first.answer, label="Accepted"), modified=NOW + 50)
    assert (told(first, again), told(first, relabelled)) == (["task.completed"], [])


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


# --- exact tasks --------------------------------------------------------------------------------------------------------------------------

ALONE = review(1, "a", started=0, modified=0)
NEXT = review(2, "b", state="waiting")
FRESH = item(ALONE, NEXT, at=0, begun=0)
CLOSED = review(1, "a", by=[closes(1, "a", 5)], state="complete", started=0, modified=0)
SECOND = item(CLOSED, review(2, "b", started=5), at=5, begun=0)
SENT_BACK = item(ALONE, NEXT, at=9, status="mgr-1", begun=0)
AGAIN_BEGUN = item(review(1, "a", started=20, modified=20), NEXT, at=20, begun=20)


@pytest.mark.parametrize(
    ("expected", "what", "before", "after"),
    [
        ("response.recorded step.completed step.opened", "a step on", FRESH, SECOND),
        (
            "response.recorded step.completed step.opened",
            "a step on, whose due date came with it",
            FRESH,
            replace(SECOND, steps=(CLOSED, replace(SECOND.steps[1], due=NOW + 86_400))),
        ),
        (
            "task.changed",
            "a due date that moved while its step was under way",
            replace(SECOND, steps=(CLOSED, replace(SECOND.steps[1], due=NOW + 86_400))),
            replace(SECOND, steps=(CLOSED, replace(SECOND.steps[1], due=NOW + 86_401))),
        ),
        ("response.recorded step.completed", "the moment between two steps", FRESH, item(CLOSED, NEXT, at=5, begun=0)),
        ("step.opened", "the moment after it", item(CLOSED, NEXT, at=5, begun=0), SECOND),
        (
            "response.recorded",
            "one of two",
            item(review(1, "a", "b", started=0)),
            item(review(1, "a", "b", by=[closes(1, "a", 5)], started=0)),
        ),
        ("task.changed", "sent back, and nobody had answered", FRESH, SENT_BACK),
        ("step.opened task.restarted task.changed", "and begun again", SENT_BACK, AGAIN_BEGUN),
        ("step.opened task.restarted", "sent back and begun again between two looks, without any response", FRESH, AGAIN_BEGUN),
        ("step.opened task.restarted", "the same, and responses went", SECOND, AGAIN_BEGUN),
        (
            "response.recorded",
            "a response was replaced, which is no new round",
            item(review(1, "a", "b", by=[closes(1, "a", 5)], started=0)),
            item(review(1, "a", "b", by=[closes(1, "a", 50)], started=0), at=50),
        ),
        ("", "a response was taken back", SECOND, replace(SECOND, steps=(replace(CLOSED, responses=()), SECOND.steps[1]))),
        ("step.opened task.changed", "into its first review", replace(SENT_BACK, begun=None), FRESH),
        (
            "step.completed",
            "a step that nobody answered",
            item(review(1, optional=["a"], started=0), begun=0),
            item(review(1, optional=["a"], started=0, state="complete"), begun=0),
        ),
        (
            "response.recorded step.completed",
            "rejected, and complete by the upstream's word",
            FRESH,
            item(review(1, "a", by=[replace(closes(1, "a", 5), action="reject")], state="complete", started=0), NEXT, at=5, begun=0),
        ),
        (
            "response.recorded",
            "and the ball is in another court, which is no news of its own",
            replace(item(review(1, "a", "b", started=0)), assignees=("a", "b")),
            replace(item(review(1, "a", "b", by=[closes(1, "a", 5)], started=0)), assignees=("b",)),
        ),
        (
            "task.changed",
            "another manager is to close it",
            replace(SECOND, status="mgr-2", awaiting=False, assignees=("a",)),
            replace(SECOND, status="mgr-2", awaiting=False, assignees=("b",)),
        ),
        ("task.changed", "the manager closed it", SECOND, replace(SECOND, status="mgr-2", awaiting=False)),
        ("task.completed task.changed", "to the end", SECOND, replace(SECOND, status="sbc-2", awaiting=False, done=True)),
    ],
)  # fmt: skip
def test_what_is_told_of_an_exact_task(expected, what, before, after):
    assert (expected, what) == (" ".join(told(before, after)), what)


def test_b1_a_response_that_was_replaced_is_no_stale_read_where_the_item_stands_still():
    """Without: nothing more is told of an item whose reviewer answers anew, until something else touches it."""
    first, second = (item(review(1, "a", "b", by=[closes(1, "a", at)], started=0), at=0) for at in (5, 50))
    assert (task(first).stale(second), task(second).stale(first)) == (False, True)


def only(events, type_):
    return [e for e in events if e.type == type_]


def test_c2_a_restart_without_any_response_is_told_by_when_it_began():
    """C2. Nothing went, and two such restarts are two facts. Without: the second has the id of the first, and is swallowed."""
    row, first = see(task(FRESH), AGAIN_BEGUN)
    once_more = item(review(1, "a", started=40, modified=40), NEXT, at=40, begun=40)
    row, second = see(row, once_more)
    ids = [e.id for e in (*first, *second)]
    assert (row.round, len(set(ids)), len(ids)) == (3, 4, 4)
    assert [e.time for e in only(second, "task.restarted")] == [NOW + 40]


def test_c2_a_step_that_nobody_answered_is_completed_once_for_each_time_it_began():
    def step_of(started, state="active"):
        return item(review(1, optional=["a"], started=started, state=state), at=started, begun=started)

    row, first = see(task(step_of(0)), step_of(0, "complete"))
    row, between = see(row, step_of(20))
    _, second = see(row, step_of(20, "complete"))
    completed = [e.id for e in (*first, *between, *second) if e.type == "step.completed"]
    assert (len(completed), len(set(completed))) == (2, 2)


def test_c2_completed_begun_anew_and_completed_again_between_two_looks_is_told():
    row, _ = see(task(FRESH), SECOND)
    again = review(1, "a", by=[closes(1, "a", 30)], state="complete", started=20, modified=20)
    _, events = see(row, item(again, review(2, "b", started=30), at=30, begun=20))
    assert [e.type for e in events] == ["response.recorded", "step.completed", "step.opened", "task.restarted"]


def test_c2_a_response_to_a_step_that_is_complete_does_not_complete_it_again():
    """An optional reviewer, after the last required one."""
    late = review(1, "a", optional=["c"], by=[closes(1, "a", 5), closes(1, "c", 9)], state="complete", started=0)
    before = review(1, "a", optional=["c"], by=[closes(1, "a", 5)], state="complete", started=0)
    assert told(item(before, NEXT), item(late, NEXT)) == ["response.recorded"]


@pytest.mark.parametrize(
    ("outcome", "by"),
    [
        ("approved", [closes(1, "a", 5)]),
        ("rejected", [replace(closes(1, "a", 5), action="reject")]),
        ("rejected", [closes(1, "b", 4), replace(closes(1, "a", 5), action="reject")]),
        ("closed", [replace(closes(1, "a", 5), action="close")]),
        ("closed", []),
    ],
)
def test_how_an_exact_step_was_completed(outcome, by):
    """A response that the catalogue does not know is "closed": what it meant is not guessed."""
    people = ["a", "b"][: max(1, len(by))]
    after = item(review(1, *people, by=by, state="complete", started=0), NEXT)
    events = see(task(item(review(1, *people, started=0), NEXT)), after)[1]
    assert [e.data["outcome"] for e in only(events, "step.completed")] == [outcome]


def test_what_is_told_names_the_parts_and_the_responses():
    row, events = see(task(FRESH), SECOND)
    (recorded,), (opened,) = only(events, "response.recorded"), only(events, "step.opened")
    assert recorded.data["response"] == {
        "actor": "a", "action": "approve", "comment": None, "at": "2023-11-14T22:13:25.000Z", "part": "T/s1/a", "response": "Approved"
    }  # fmt: skip
    assert (opened.data["parts"], opened.time) == ([{"task": "T/s2/b", "assigned": "b", "required": True}], NOW + 5)
    assert opened.data["pin"] == pin_of(REALM, row.snapshot, 2).token()


def test_the_managers_own_response_is_in_the_end_of_the_task():
    final = replace(closes(1, "m", 50), part=None, label="Approved as noted")
    (event, _) = see(task(SECOND), replace(SECOND, status="sbc-2", awaiting=False, done=True, answer=final))[1]
    assert (event.type, event.data["status"], event.data["response"]["response"]) == ("task.completed", "sbc-2", "Approved as noted")
