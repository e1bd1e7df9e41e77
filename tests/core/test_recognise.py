"""What a look shows of our effect: found, absent, moved or unknown (A5, A10), compared with the baseline."""

from dataclasses import replace

import pytest

from tests.core.make import BOTH, NOW, REALM, approve, begun, context, mine, rules, snap, step, task
from worker.core import submission as life
from worker.core.outcomes import Absent, Found, Moved, Unknown
from worker.core.pins import pin_of

BASE = snap(step("jane", "bob", mode="all", by=[approve("bob", -150)]), step("eve"), at=-100)
"""An ALL step that bob has answered; the task was edited after that."""


OTHER_FRACTION = snap(step("jane", "bob", mode="all", by=[approve("bob", -149.2)]), step("eve"), at=-100)


def first(*by, at=5.0, **more):
    """BASE with more responses on its first step."""
    kept = BASE.steps[0].responses
    return snap(step("jane", "bob", mode="all", by=[*kept, *by]), *BASE.steps[1:], at=at, **more)


def without_marks(look=BASE, **more):
    return begun(look, ctx=context(rules=rules(marks=False)), **more)


def seen(s, look, own=frozenset()):
    return type(life.recognise(s, look, own))


@pytest.mark.parametrize(
    ("expected", "what", "look"),
    [
        (Absent, "as it was", lambda s: BASE),
        (Absent, "a `modified` cut to milliseconds", lambda s: replace(BASE, modified=BASE.modified + 0.0005)),
        (Absent, "bob's time with another fraction", lambda s: OTHER_FRACTION),
        (Found, "ours", lambda s: first(mine(s))),
        (Found, "ours, by an older clock: time is no reason for Absent", lambda s: first(mine(s, -90))),
        (Found, "ours on another step", lambda s: snap(BASE.steps[0], step("eve", by=[mine(s)]), at=5)),
        (Found, "ours among others'", lambda s: first(mine(s), approve("jane", 3))),
        (Moved, "our mark with another action", lambda s: first(mine(s, action="reject"))),
        (Moved, "our mark under another author", lambda s: first(mine(s, actor="eve"))),
        (Moved, "our user, no mark", lambda s: first(approve("jane", 5, "fine"))),
        (Moved, "another mark", lambda s: first(approve("jane", 5, "fine [aw:zzzzzz]"))),
        (Moved, "edited", lambda s: first()),
        (Moved, "a response of the baseline is gone", lambda s: snap(step("jane", "bob", mode="all"), step("eve"), at=5)),
        (Moved, "another mode", lambda s: snap(step("jane", "bob", by=BASE.steps[0].responses), step("eve"), at=-100)),
        (Moved, "a step more", lambda s: snap(*BASE.steps, step("eve"), at=-100)),
        (Moved, "`modified` cannot be read any more", lambda s: replace(BASE, modified=None)),
        (Unknown, "a new response of nobody", lambda s: first(approve(None, 5, "fine"))),
    ],
)  # fmt: skip
def test_a10_with_a_mark(expected, what, look):
    s = begun(BASE)
    assert (seen(s, look(s)), what) == (expected, what)


@pytest.mark.parametrize(
    ("expected", "what", "by"),
    [
        (Found, "exactly one that fits", [approve("jane", 5, "ok")]),
        (Found, "as the upstream trims it", [approve("jane", 5, " ok ")]),
        (Unknown, "fits, but is too old", [approve("jane", -102, "ok")]),
        (Unknown, "two that fit", [approve("jane", 5, "ok"), approve("jane", 9, "ok")]),
        (Moved, "another comment", [approve("jane", 5, "no")]),
        (Moved, "another action", [approve("jane", 5, "ok", action="reject")]),
        (Unknown, "no time", [replace(approve("jane", 5, "ok"), at=None)]),
    ],
)
def test_a10_without_a_mark(expected, what, by):
    """A10. Without: the comment is all there is, and jane's own approval from before is taken for ours."""
    assert (seen(without_marks(comment="ok"), first(*by)), what) == (expected, what)


def test_a10_without_a_mark_one_on_another_step_may_be_somebody_elses():
    assert seen(without_marks(), snap(BASE.steps[0], step("eve", by=[approve("jane", 5)]), at=5)) is Unknown


def test_a10_without_a_mark_what_fits_after_ours_was_seen_is_not_taken_for_a_second_effect():
    """jane approves by hand, without a comment, in the next round."""
    assert seen(replace(without_marks(), hits=("r1",)), first(approve("jane", 5))) is Unknown


@pytest.mark.parametrize("marks", [True, False])
def test_a10_a_response_credited_to_another_submission_is_not_ours(marks):
    """A10. Without: two submissions of one user each call the same response theirs, and one of the two never took effect."""
    s = begun(BASE, ctx=context(rules=rules(marks=marks)))
    look = first(replace(mine(s) if marks else approve("jane", 5), id="r1"))
    assert [seen(s, look, own) for own in (frozenset(), frozenset({"r1"}))] == [Found, Moved]


def test_a10_no_baseline_and_no_mark_is_unknown():
    assert seen(replace(without_marks(), baseline=None), first(approve("jane"))) is Unknown


@pytest.mark.parametrize("action", ["submit", "restart", "cancel"])
@pytest.mark.parametrize(
    ("what", "expected", "more"),
    [
        ("as it was", dict.fromkeys(("submit", "restart", "cancel"), Absent), {"status": "Returned", "at": -100}),
        ("awaited, by jane", {"submit": Found, "restart": Found, "cancel": Moved}, {"modified_by": "jane"}),
        ("awaited, by bob", dict.fromkeys(("submit", "restart", "cancel"), Moved), {"modified_by": "bob"}),
        ("awaited, by nobody we can read", dict.fromkeys(("submit", "restart", "cancel"), Moved), {}),
        ("cancelled, by jane", {"submit": Moved, "restart": Moved, "cancel": Found}, {"modified_by": "jane", "status": "Cancelled"}),
        ("edited, by jane", dict.fromkeys(("submit", "restart", "cancel"), Moved), {"modified_by": "jane", "status": "Returned"}),
    ],
)
def test_actions_that_leave_no_response_are_seen_by_status_and_modified(action, what, expected, more):
    base = snap(step("jane"), at=-100, status="Returned")
    s = life.looked(
        life.accept(replace(begun(BASE).command, action=action), id_="s", realm=REALM, task="T", pin=None, now=NOW).submission,
        base,
        context(),
    )
    assert (seen(s.submission, snap(step("jane"), **({"at": 5} | more))), what) == (expected[action], what)


def test_a_restart_is_seen_by_the_responses_it_took_away():
    base = snap(step("jane", "bob", mode="all", by=[approve("bob", -50)]), at=-50)
    s = begun(base, action="restart")
    looks = [snap(step("jane", "bob", mode="all"), at=5, modified_by=who) for who in ("jane", "bob")]
    assert [seen(s, look) for look in looks] == [Found, Moved]


@pytest.mark.parametrize(
    ("others", "what", "by", "at"),
    [
        (True, "bob", [approve("bob", 5)], 5),
        (False, "bob, and then an edit", [approve("bob", 5)], 50),
        (False, "our user, by hand or by us", [approve("jane", 5)], 5),
        (False, "bob said no", [approve("bob", 5, action="reject")], 5),
    ],
)
def test_a5_only_others_who_complete_the_pinned_step_explain_a_change(others, what, by, at):
    base = snap(step("jane", "bob"), step("jane"), at=-100)
    found = life.recognise(begun(base), snap(step("jane", "bob", by=by), step("jane"), at=at), frozenset())
    assert isinstance(found, Moved)
    assert (found.others, what) == (others, what)


def test_a5_a_frozen_modified_compares_as_unmoved():
    base = replace(BOTH, modified=None)
    assert seen(begun(base), base) is Absent


def test_the_pin_that_the_first_look_makes_is_the_one_the_next_look_holds():
    s = begun(BASE)
    assert s.pin == pin_of(REALM, BASE, 1)


def test_every_look_is_named_before_it_is_compared():
    """Ids are given by the task's row; recognition compares facts, so a baseline without ids serves as well."""
    s = begun(BASE)
    assert seen(s, task(BASE).align(BASE)) is Absent


@pytest.mark.parametrize("action", ["submit", "restart", "cancel"])
def test_what_a_response_moved_was_not_moved_by_an_action_that_leaves_none(action):
    """PROTOCOL's table. RESTART is in doubt, then jane approves the last step by hand. Without: her approval passes for our restart."""
    base = snap(step("jane"), at=-100)
    s = begun(base, action=action)
    completed = snap(step("jane", by=[approve("jane", 5)]), at=5, status="Completed", modified_by="jane")
    assert seen(s, completed) is Moved
