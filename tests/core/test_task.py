"""One upstream task: which step is active (A13), which responses are new, and which looks may take the place of what we know (B1)."""

import json
from dataclasses import replace

import pytest

from tests.core.make import NOW, approve, closes, item, review, snap, step, task
from worker.core.task import Offer, Response, Unclear, from_json, to_json

A, B = approve("a", 1), approve("b", 2)
NO, SKIP, ODD = approve("b", 3, action="reject"), approve("b", 3, action="skip"), approve("b", 3, action="delegate")
NOBODY = approve(None, 3)


@pytest.mark.parametrize(
    ("complete", "mode", "by"),
    [
        (False, "one", []),
        (True, "one", [A]),
        (True, "one", [SKIP]),
        (False, "one", [NO]),
        (False, "one", [A, NO]),
        (False, "one", [ODD]),
        (True, "one", [NOBODY]),
        (False, "all", [A]),
        (False, "all", [A, A]),
        (True, "all", [A, B]),
        (True, "all", [A, SKIP]),
        (False, "all", [A, NO]),
        (False, "all", [A, NOBODY]),
        (True, "all", [A, B, approve("c", 3)]),
    ],
)
def test_a13_surely_complete(complete, mode, by):
    assert step("a", "b", mode=mode, by=by).complete is complete


def test_a_step_for_everyone_of_nobody_is_never_complete():
    assert step(mode="all").complete is False


@pytest.mark.parametrize(
    ("active", "steps"),
    [
        (1, [step("a"), step("b")]),
        (2, [step("a", by=[A]), step("b")]),
        (1, [step("a", "b", mode="all", by=[A]), step("b")]),
        (2, [step("a", by=[SKIP]), step("b")]),
        ("looks complete", [step("a", by=[A]), step("b", by=[B])]),
        ("looks complete", []),
        ("rejection", [step("a", "b", by=[NO]), step("b")]),
        ("rejection", [step("a", by=[A]), step("b", by=[NO])]),
        ("may or may not", [step("a", "b", mode="all", by=[SKIP]), step("b")]),
        ("may or may not", [step("a", "b", mode="all", by=[A, NOBODY]), step("b")]),
        ("may or may not", [step("a", "b", by=[ODD]), step("b")]),
        ("has responses", [step("a"), step("b", by=[B])]),
        ("has responses", [step("a", "b", mode="all", by=[A]), step("b"), step("b", by=[B])]),
    ],
)
def test_a13_which_step_is_active(active, steps):
    """A13. Without: one SKIP has ended an ALL step (nobody documents it), we call it open, and "approve step 1" lands on step 2."""
    found = snap(*steps).active()
    if isinstance(active, int):
        assert found == active
    else:
        assert isinstance(found, Unclear)
        assert active in found


@pytest.mark.parametrize("status", ["Created", "Returned", "Completed", "Cancelled", "something new"])
def test_a13_no_step_is_active_unless_an_approval_is_awaited(status):
    assert snap(step("a"), status=status).active() is None


@pytest.mark.parametrize(
    ("same", "a", "b"),
    [
        (True, A, A),
        (True, A, approve("a", 2)),
        (False, A, approve("a", 2.1)),
        (False, A, approve("b", 1)),
        (False, A, approve("a", 1, action="skip")),
        (True, A, approve("a", 1, "another rendering of the comment")),
        (False, A, replace(A, at=None)),
        (True, replace(A, at=None), replace(A, at=None)),
        (False, replace(A, at=None), replace(A, at=None, comment="x")),
        (True, NOBODY, NOBODY),
    ],
)
def test_c2_one_response_seen_twice(same, a, b):
    assert (a.same(b), b.same(a)) == (same, same)


@pytest.mark.parametrize(
    ("fresh", "gone", "before", "after"),
    [
        ([], [], [A], [A]),
        ([(1, B)], [], [A], [A, B]),
        ([], [(1, B)], [A, B], [A]),
        ([(1, approve("a", 9))], [(1, A)], [A], [approve("a", 9)]),
        ([(1, A)], [], [A], [A, A]),
        ([], [], [A, B], [B, A]),
    ],
)
def test_what_is_new_and_what_is_gone(fresh, gone, before, after):
    one, two = snap(step("a", "b", by=before)), snap(step("a", "b", by=after))
    assert (list(two.fresh(one)), list(two.gone(one))) == (fresh, gone)


def test_responses_of_steps_that_are_no_more_are_gone():
    assert list(snap(step("a")).gone(snap(step("a"), step("b", by=[B])))) == [(2, B)]


def test_against_nothing_everything_is_new():
    assert snap(step("a", by=[A])).fresh(None) == ((1, A),)


@pytest.mark.parametrize(
    ("explained", "modified", "since", "by"),
    [
        (True, NOW, NOW, []),
        (True, NOW, NOW + 0.0009, []),
        (False, NOW, NOW + 0.5, []),
        (False, NOW + 5, NOW, []),
        (True, NOW + 5, NOW, [approve("a", 5.8)]),
        (False, NOW + 5, NOW, [approve("a", 2)]),
        (False, NOW + 5, NOW, [replace(A, at=None)]),
        (False, NOW, None, []),
        (False, None, NOW, []),
        (True, None, None, []),
    ],
)
def test_a_change_is_explained_by_a_visible_response_or_not_at_all(explained, modified, since, by):
    assert snap(step("a", by=by), modified=modified).explained(since) is explained


@pytest.mark.parametrize(
    ("unreliable", "modified", "by"),
    [(False, NOW + 1, [A]), (True, NOW - 10, [A]), (False, None, [A]), (False, NOW, []), (False, NOW - 10, [replace(A, at=None)])],
)
def test_a_response_newer_than_modified_tells_that_modified_does_not_move(unreliable, modified, by):
    assert snap(step("a", by=by), modified=modified).modified_unreliable is unreliable


# --- identity (C2) ------------------------------------------------------------------------------------------------------------------------


def names(look):
    return [r.id for _, r in look.responses()]


def test_c2_two_workers_who_see_a_response_first_give_it_one_name():
    look = snap(step("a", "b", by=[A, B]), step("b", by=[B]))
    one = names(task().align(look))
    assert (names(task().align(look)), len(set(one))) == (one, 3)


@pytest.mark.parametrize("at", [1.0, 1.123, 1.999])
def test_c2_fractions_do_not_change_a_name(at):
    assert names(task().align(snap(step("a", by=[approve("a", at)])))) == names(task().align(snap(step("a", by=[A]))))


@pytest.mark.parametrize("at", [0.1, 1.4, 1.9])
def test_c2_a_response_keeps_the_name_and_the_time_of_its_first_sight(at):
    """Without: each rendering drifts by another second, and after three looks it is another response."""
    row = task(snap(step("a", by=[A])))
    again = row.align(snap(step("a", by=[approve("a", at)])))
    assert again == row.snapshot


def test_c2_an_effect_that_came_twice_within_a_second_is_two_responses():
    """Without: a proxy repeats our POST, both responses have one name, and the doubled approval is told by nobody."""
    once, twice = snap(step("a", by=[A])), snap(step("a", by=[A, A]))
    known = task(once).align(twice)
    assert (len(set(names(task().align(twice)))), len(set(names(known)))) == (2, 2)
    assert names(task(once).align(once))[0] in names(known)


def test_c2_no_time_is_told_apart_by_comment():
    by = [Response("a", "approve", None, "x"), Response("a", "approve", None, "y")]
    assert len(set(names(task().align(snap(step("a", by=by)))))) == 2


@pytest.mark.parametrize("other", [{"task": "U"}, {"account": "tower"}])
def test_c2_another_task_is_another_name(other):
    look = snap(step("a", by=[A]))
    assert names(task().align(look)) != names(replace(task(), **other).align(look))


# --- which look may take the place of what we know (B1) -----------------------------------------------------------------------------------

EMPTY, ANSWERED = snap(step("a"), at=0), snap(step("a", by=[A]), at=1)


@pytest.mark.parametrize(
    ("current", "what", "known", "look", "version"),
    [
        (True, "first sight, whenever it was asked", None, EMPTY, 0),
        (True, "asked of the row as it is", EMPTY, ANSWERED, 7),
        (True, "asked before, but newer, and only adds", EMPTY, ANSWERED, 6),
        (True, "asked before, and says the same", ANSWERED, replace(ANSWERED, date=NOW + 9), 6),
        (False, "older by the upstream's own time", ANSWERED, EMPTY, 7),
        (False, "asked before, as old, and something is missing", ANSWERED, replace(EMPTY, modified=NOW + 1), 6),
        (False, "asked before, newer, and something is missing", ANSWERED, replace(EMPTY, modified=NOW + 9), 6),
        (True, "a restart, asked of the row as it is", ANSWERED, replace(EMPTY, modified=NOW + 9), 7),
        (False, "from before a restart that did not move `modified`", replace(EMPTY, modified=None), replace(ANSWERED, modified=None), 6),
        (False, "from before a restart that did not move `modified`", EMPTY, replace(ANSWERED, modified=EMPTY.modified), 6),
    ],
)
def test_b1_a_look_that_is_not_current_is_discarded(current, what, known, look, version):
    """B1. Without: a slow GET saved last makes responses vanish: a false restart, then the step completed again."""
    row = task(known, version=7)
    assert (row.current(row.align(look), version), what) == (current, what)


def test_a_snapshot_is_the_same_after_the_ledger_has_kept_it():
    look = task().align(snap(step("a", "b", mode="all", by=[A, NOBODY, replace(B, at=None)]), due=NOW, assignees=("x",), url="https://x"))
    assert from_json(json.loads(json.dumps(to_json(look)))) == look


def test_responses_that_are_gone_while_modified_stands_are_an_older_look():
    """B1. Where responses leave `modified` alone, a read that lags has the same one. Without: a false restart is told, and a second
    decision that rests on the older look lands on the next step.
    """
    known, older = snap(step("a", by=[A]), step("b"), at=-100), snap(step("a"), step("b"), at=-100)
    assert (task(known).stale(older), task(older).stale(known)) == (True, False)
    assert not task(known).stale(snap(step("a"), step("b"), at=10))


# --- exact tasks --------------------------------------------------------------------------------------------------------------------------

WAITS = review(2, "b", state="waiting")
UNDER_REVIEW = item(review(1, "a", "b", by=[closes(1, "b", -50)]), WAITS)


@pytest.mark.parametrize(
    ("active", "what", "look"),
    [
        (1, "the first", UNDER_REVIEW),
        (2, "the second", item(review(1, "a", state="complete"), review(2, "b"))),
        (None, "between two steps", item(review(1, "a", state="complete"), WAITS)),
        (None, "all complete, not moved yet", item(review(1, "a", state="complete"))),
        (None, "back with the manager", item(review(1, "a"), WAITS, status="mgr-1")),
        (1, "a rejection completes nothing by itself", item(review(1, "a", "b", by=[replace(closes(1, "b"), action="reject")]), WAITS)),
    ],
)
def test_a13_of_an_exact_task_nothing_is_guessed(active, what, look):
    assert (look.exact, look.active(), what) == (True, active, what)


@pytest.mark.parametrize("state", [None, "active"])
def test_a_task_is_exact_when_each_of_its_steps_is(state):
    look = snap(replace(step("a"), state="complete"), replace(step("b"), state=state))
    assert look.exact is (state is not None)
    assert not item().exact


def test_a_response_newer_than_an_exact_tasks_modified_tells_nothing():
    assert not UNDER_REVIEW.modified_unreliable
    assert not task(UNDER_REVIEW).frozen


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (True, closes(1, "a", 0.9)),
        (True, replace(closes(1, "a"), action="reject", label="Renamed")),
        (False, closes(1, "a", choice="no")),
        (False, closes(1, "a", part="s1/b")),
        (False, closes(1, "b", part="s1/a")),
        (False, closes(1, "a", 1.1)),
    ],
)
def test_c2_a_response_of_a_catalogue_is_known_by_its_part_and_its_id(same, other):
    """C2. Labels and meanings may be edited. Without: all responses are gone and come again, and a restart is told."""
    assert same == closes(1, "a").same(other)


@pytest.mark.parametrize(("expected", "id_"), [((1, "a"), "s1/a"), ((2, "b"), "s2/b"), (None, "s9/a"), (None, None)])
def test_a_part_is_found_by_its_name(expected, id_):
    found = UNDER_REVIEW.part(id_)
    assert expected == (found and (found[0], found[2].assigned))


def test_the_shape_is_the_plan_and_not_its_progress():
    begun = item(review(1, "a", "b", started=50, modified=50), review(2, "b"))
    assert UNDER_REVIEW.shape == begun.shape
    others = [item(review(1, "a", "b"), review(2, "c")), item(review(1, "a", optional=["b"]), WAITS), item(review(1, "a", "b"))]
    assert len({UNDER_REVIEW.shape, *(o.shape for o in others)}) == 4


@pytest.mark.parametrize("look", [UNDER_REVIEW, item(replace(WAITS, parts=()), answer=replace(closes(1, "a"), part=None)), item()])
def test_an_exact_snapshot_is_the_same_after_the_ledger_has_kept_it(look):
    kept = from_json(json.loads(json.dumps(to_json(replace(look, offer=Offer("s1/a", "ok", None, "a"))))))
    assert (kept, kept.offer) == (look, None)


def test_a_response_that_leaves_modified_alone_makes_an_older_look_known_by_what_it_lacks():
    """B1. Autodesk does not say whether a response in the middle of a step touches its item."""
    older = item(review(1, "a", "b"), WAITS)
    assert (task(UNDER_REVIEW).stale(older), task(older).stale(UNDER_REVIEW)) == (True, False)
    assert not task(UNDER_REVIEW).stale(item(review(1, "a", "b"), WAITS, at=10))
