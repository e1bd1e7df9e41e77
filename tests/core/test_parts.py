"""Decisions about a part of a step: the part's own state and round decide, nothing is guessed (docs/decisions/parts.md)."""

from dataclasses import replace

import pytest

from tests.core.make import (
    FACT,
    NOW,
    QUIET,
    REALM,
    RULES,
    closes,
    closing,
    context,
    item,
    mine,
    offered,
    review,
    rules,
    task,
    wanted,
)
from worker.core import submission as life
from worker.core.outcomes import Absent, Applied, Found, InDoubt, Moved, Unknown, Unsent
from worker.core.pause import Shut
from worker.core.pins import pin_of
from worker.core.task import Offer

BASE = item(review(1, "jane", "bob"), review(2, "jane", state="waiting"))
"""jane and bob both have to close their part of step 1; jane has one of step 2, too."""

BOB_DID = item(review(1, "jane", "bob", by=[closes(1, "bob", 5)]), BASE.steps[1])
LOST, NOT_SENT = InDoubt(FACT), Unsent(FACT)


def ended(move):
    return move.submission.state, move.submission.reason


def begun_anew(look=BASE, at=5, **more):
    """The item went back to its manager and into review again: the same parts, nothing answered, later beginnings."""
    first, *rest = look.steps
    steps = [replace(s, responses=(), state="waiting", started=None) for s in rest]
    return item(review(1, *first.participants, started=at, modified=at), *steps, at=at, begun=at, **more)


# --- before anything is sent --------------------------------------------------------------------------------------------------------------

JANE_DID = item(review(1, "jane", "bob", by=[closes(1, "jane", -50)]), BASE.steps[1])
FOR_JANE = item(review(1, "jane", "bob", by=[closes(1, "bob", -50, part="s1/jane")]), BASE.steps[1])
NOBODY_DID = item(review(1, "jane", by=[closes(1, "jane", -50, part="s1/jane")], state="complete"), review(2, "bob"))
NOBODY_DID = replace(NOBODY_DID, steps=(replace(NOBODY_DID.steps[0], responses=()), NOBODY_DID.steps[1]))
SECOND = item(review(1, "bob", by=[closes(1, "bob", -50)], state="complete"), review(2, "jane", started=-50))
NOT_YET = item(review(1, "bob"), review(2, "jane", state="waiting"))
BACK = item(*BASE.steps, status="mgr-1")
REVIEWED = item(review(1, "bob", by=[closes(1, "bob", -50)], state="complete"), status="mgr-2")


@pytest.mark.parametrize(
    ("what", "state", "reason", "look", "asked"),
    [
        ("its turn", "in_doubt", "may have been sent", BASE, {}),
        ("its turn, and an exact pin", "in_doubt", "may have been sent", BASE, {"look": BASE}),
        ("its turn, in the second step", "in_doubt", "may have been sent", SECOND, {"part": "s2/jane"}),
        ("A7 another reviewer beside it", "in_doubt", "may have been sent", BOB_DID, {}),
        ("A7 another reviewer beside it, and an exact pin", "in_doubt", "may have been sent", BOB_DID, {"look": BASE}),
        ("A7 the item was edited", "in_doubt", "may have been sent", item(*BASE.steps, at=50), {}),
        ("A7 the item was edited, and an exact pin", "in_doubt", "may have been sent", item(*BASE.steps, at=50), {"look": BASE}),
        ("A7 begun after the command", "superseded", "begun after the command", begun_anew(), {}),
        ("A7 begun after the pin", "superseded", "begun anew after the pin", begun_anew(at=-5), {"look": BASE}),
        ("A7 begun again before the command", "in_doubt", "may have been sent", begun_anew(at=-5), {}),
        ("A7 taken back and sent again, the step goes on", "superseded", "begun anew", item(*BASE.steps, begun=5), {"look": BASE}),
        ("A7 taken back and sent again since, and no pin", "superseded", "review was begun after", item(*BASE.steps, begun=5), {}),
        ("A7 taken back and sent again before it, and no pin", "in_doubt", "may have been sent", item(*BASE.steps, begun=-5), {}),
        ("A7 a later step was answered since", "superseded", "answered step 2", item(BASE.steps[0], SECOND.steps[1]), {}),
        ("A8 done by hand", "refused", "already answered", JANE_DID, {}),
        ("A8 done by another for us", "superseded", "completed by bob", FOR_JANE, {}),
        ("A8 ended with its step", "superseded", "completed by others", NOBODY_DID, {}),
        ("A8 not its turn", "refused", "has not begun yet", NOT_YET, {"part": "s2/jane"}),
        ("A15 waits for its turn", "waiting", "turn", NOT_YET, {"part": "s2/jane", "wait_for_turn": True}),
        ("A13 back with the manager", "refused", "no active step", BACK, {}),
        ("A13 the review is over, the part is not", "superseded", "no active step", REVIEWED, {"part": None, "step": 1}),
        ("no such part", "refused", "no part s9/jane", BASE, {"part": "s9/jane"}),
        ("a part of another step", "refused", "not the pinned one", BASE, {"part": "s2/jane", "step": 1}),
        ("a part of another step than the pin's", "refused", "not the pinned one", BASE, {"part": "s2/jane", "look": BASE}),
        ("an item without a part, two steps", "refused", "say which", BASE, {"part": None}),
        ("an item without a part, a step", "in_doubt", "may have been sent", BASE, {"part": None, "step": 1}),
        ("an item without a part, a step that is over", "superseded", "completed by others", SECOND, {"part": None, "step": 1}),
        ("an item without a part, a step to come", "refused", "has not begun", BASE, {"part": None, "step": 2}),
    ],
)
def test_the_first_look(what, state, reason, look, asked):
    if what == "A7 a later step was answered since":
        look = item(BASE.steps[0], review(2, "jane", by=[closes(2, "jane", 5)]))
    part = asked.get("part", "s1/jane") or "s1/jane"
    move = life.looked(wanted(**asked), offered(look, part), context(10))
    assert (state, True) == (move.submission.state, reason in (move.submission.reason or "")), (what, ended(move))
    assert (state == "in_doubt") == bool(move.begin)


def test_a_part_is_never_exposed_and_is_taken_from_what_is_offered():
    """A12. jane has a part of step 2, too; no race carries a close there, because it names its part."""
    s = life.looked(wanted(None, step=1), offered(BASE), context(rules=rules(when_exposed="park"), wary=True)).submission
    assert (s.state, s.exposed, s.part, s.choice) == ("in_doubt", False, "s1/jane", "ok")


@pytest.mark.parametrize(("offer", "state"), [(Offer(refusal="say which response: A, B"), "refused"), (None, "in_doubt")])
def test_a_refusal_of_the_upstream_is_ours_too(offer, state):
    move = life.looked(wanted(), replace(BASE, offer=offer), context())
    assert state == move.submission.state
    assert not offer or offer.refusal == move.submission.reason


def test_what_is_refused_before_its_turn_is_not_refused_while_it_waits():
    """What may be done is told only when its turn has come. Without: who waits for the turn is refused at the first look."""
    look = offered(NOT_YET, "s2/jane", refusal="not permitted")
    assert life.looked(wanted("s2/jane", wait_for_turn=True), look, context()).submission.state == "waiting"


def test_a_part_that_is_no_more_supersedes_what_has_seen_it():
    s = life.answered(closing(BASE), 1, NOT_SENT, context(1)).submission
    gone = item(review(1, "bob"), BASE.steps[1])
    assert [life.looked(each, offered(gone), context(2)).submission.state for each in (wanted(), s)] == ["refused", "superseded"]


def test_a7_our_own_other_response_to_the_part_is_no_surprise():
    look = task(BASE).align(JANE_DID)
    own = frozenset({look.steps[0].responses[0].id})
    late = replace(wanted(), command=replace(wanted().command, issued_at=NOW - 60))
    assert [life.looked(late, look, context(own=o)).submission.state for o in (own, frozenset())] == ["refused", "superseded"]


@pytest.mark.parametrize(
    ("what", "state", "look"),
    [
        (
            "the steps before it",
            "in_doubt",
            item(review(1, "bob", by=[closes(1, "bob", 5)], state="complete"), review(2, "jane", started=5)),
        ),
        ("an edit", "waiting", item(*NOT_YET.steps, at=50)),
        ("a new round", "superseded", begun_anew(NOT_YET)),
        ("a return for review, which began the step", "superseded", item(SECOND.steps[0], review(2, "jane", started=9), begun=9)),
    ],
)
def test_a8_waiting_for_the_turn_survives_the_steps_before_it_and_not_a_new_round(what, state, look):
    s = life.looked(wanted("s2/jane", wait_for_turn=True), offered(NOT_YET, "s2/jane"), context()).submission
    assert (state, what) == (life.looked(s, offered(look, "s2/jane"), context(60)).submission.state, what)


@pytest.mark.parametrize(("began", "state"), [(5, "in_doubt"), (-5, "in_doubt")])
def test_a7_who_waits_for_the_turn_decides_before_its_step_begins(began, state):
    look = item(review(1, "bob", by=[closes(1, "bob", began)], state="complete"), review(2, "jane", started=began))
    move = life.looked(wanted("s2/jane", look=NOT_YET, number=2, wait_for_turn=True), offered(look, "s2/jane"), context(9))
    assert (state, ended(move)[1]) == (move.submission.state, ended(move)[1])


@pytest.mark.parametrize(("waits", "state"), [(True, "in_doubt"), (False, "superseded")])
def test_a7_without_a_pin_the_step_that_began_since_is_only_what_was_waited_for(waits, state):
    """bob ended step 1 before the command was issued, and its step began a moment after."""
    look = item(review(1, "bob", by=[closes(1, "bob", -1)], state="complete"), review(2, "jane", started=5))
    move = life.looked(wanted("s2/jane", wait_for_turn=waits), offered(look, "s2/jane"), context(9))
    assert (state, waits) == (move.submission.state, waits), ended(move)


# --- as whom (A14) ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("me", "grant", "state", "reason", "proof"),
    [
        ("jane", "unproven", "in_doubt", "may have been sent", "jane"),
        ("jane", "proven", "in_doubt", "may have been sent", None),
        ("eve", "unproven", "pending", "acts as eve, not as jane", "eve"),
        ("eve", "proven", "pending", "acts as eve, not as jane", "eve"),
        ("eve", "stopped", "pending", "acts as eve, not as jane", None),
        ("jane", "stopped", "pending", "the grant is stopped", None),
        (None, "unproven", "in_doubt", "may have been sent", None),
    ],
)
def test_a14_who_the_upstream_says_we_are_is_asked_before_anything_is_sent(me, grant, state, reason, proof):
    """A14. Without: the grant of somebody else closes jane's part, and only the answer tells."""
    move = life.looked(wanted(), offered(BASE, me=me), context(grant=grant))
    assert (state, True, proof) == (move.submission.state, reason in (move.submission.reason or ""), move.proof), ended(move)


def test_a14_proven_by_the_upstreams_word_it_is_proven_for_the_attempt_too():
    s = closing(BASE, ctx=context(grant="unproven"))
    assert s.acts_as == "jane"


def test_a14_another_who_acts_sends_nothing_again():
    s = life.answered(closing(BASE), 1, LOST, context(1)).submission
    move = life.looked(s, offered(BASE, me="eve"), context(QUIET))
    assert (move.submission.state, move.begin, move.proof) == ("in_doubt", None, "eve")


# --- what a look shows of our effect ------------------------------------------------------------------------------------------------------


def with_us(s, look=BASE, at=1.0, **more):
    """*look* after our effect landed."""
    number, step, _ = look.part(s.part)
    by = [*step.responses, mine(s, at)]
    shown = review(number, *step.participants, by=by, started=step.started - NOW)
    return replace(look, steps=tuple(shown if n == number else t for n, t in enumerate(look.steps, 1)), **more)


def touched(**how):
    """BASE with jane's part as told."""
    first = BASE.steps[0]
    parts = tuple(replace(p, **how) if p.id == "s1/jane" else p for p in first.parts)
    return replace(BASE, steps=(replace(first, parts=parts), BASE.steps[1]))


@pytest.mark.parametrize(
    ("expected", "what", "look"),
    [
        (Found, "ours", with_us),
        (Found, "ours, and the step has ended", lambda s: replace(with_us(s), status="mgr-2", awaiting=False)),
        (Found, "ours, and the review was begun again around it", lambda s: with_us(s, begun=NOW + 50)),
        (Absent, "as it was", lambda s: BASE),
        (Absent, "bob closed his beside it", lambda s: BOB_DID),
        (Absent, "the item was edited", lambda s: item(*BASE.steps, at=50)),
        (Moved, "our part was touched", lambda s: touched(modified=NOW + 5)),
        (Moved, "our part is somebody else's now", lambda s: touched(assigned="eve")),
        (Moved, "our part was begun anew", lambda s: touched(started=NOW + 5)),
        (Moved, "closed by bob for us", lambda s: item(review(1, "jane", "bob", by=[closes(1, "bob", 5, part="s1/jane")]), BASE.steps[1])),
        (Moved, "closed by jane without our mark", lambda s: JANE_DID),
        (Moved, "a new round", lambda s: begun_anew()),
        (Moved, "taken back, and the step goes on in another round", lambda s: item(*BASE.steps, begun=50)),
        (Moved, "back with the manager", lambda s: BACK),
        (Moved, "another plan", lambda s: item(review(1, "jane", "bob", "eve"), BASE.steps[1])),
        (Moved, "another response with our mark", lambda s: item(review(1, "jane", by=[replace(mine(s), choice="no")]), BASE.steps[1])),
        (
            Unknown,
            "closed by nobody we can read",
            lambda s: item(review(1, "jane", "bob", by=[replace(closes(1, "bob", 5, part="s1/jane"), actor=None)]), BASE.steps[1]),
        ),
    ],
)
def test_a10_in_doubt_about_a_part(expected, what, look):
    s = closing(BASE)
    assert (expected, what) == (type(life.recognise(s, look(s), frozenset())), what)


@pytest.mark.parametrize(
    ("others", "by"),
    [
        (True, [closes(1, "bob", 5, part="s1/jane")]),
        (False, [closes(1, "jane", 5)]),
        (True, "without a response"),
    ],
)
def test_a5_who_closed_the_part_says_whether_it_is_superseded(others, by):
    """A5. A part that ended with its step and without a response was not closed by us."""
    look = item(review(1, "jane", "bob", by=[closes(1, "jane", 5)] if isinstance(by, str) else by), BASE.steps[1])
    if isinstance(by, str):
        look = replace(look, steps=(replace(look.steps[0], responses=()), look.steps[1]))
    seen = life.recognise(closing(BASE), look, frozenset())
    assert isinstance(seen, Moved)
    assert others == seen.others
    state = life.looked(life.answered(closing(BASE), 1, LOST, context(1)).submission, look, context(QUIET)).submission.state
    assert state == ("superseded" if others else "parked")


def bare(**more):
    return closing(BASE, ctx=context(rules=rules(marks=False)), comment="ok", **more)


@pytest.mark.parametrize(
    ("expected", "what", "by"),
    [
        (Found, "exactly one that fits", [closes(1, "jane", 5, "ok")]),
        (Moved, "another comment", [closes(1, "jane", 5, "no")]),
        (Moved, "another response", [closes(1, "jane", 5, "ok", choice="no")]),
        (Unknown, "older than the look", [closes(1, "jane", -900, "ok")]),
        (Absent, "jane for bob", [closes(1, "jane", 5, "ok", part="s1/bob")]),
    ],
)
def test_a10_without_a_mark_only_the_part_itself_counts(expected, what, by):
    look = item(review(1, "jane", "bob", by=by), BASE.steps[1])
    assert (expected, what) == (type(life.recognise(bare(), look, frozenset())), what)


def test_a10_without_a_mark_the_answer_tells_that_it_came_as_somebody_else():
    """A14. "close" is the command, and "approve" what the response means: what was chosen is compared, and not the word."""
    look = item(review(1, "jane", "bob", by=[closes(1, "eve", 1, "ok", part="s1/jane")]), BASE.steps[1])
    move = life.answered(bare(), 1, Applied(look, FACT, partial=True), context(1))
    assert (move.submission.state, move.proof) == ("parked", "eve")


# --- what becomes of a doubt --------------------------------------------------------------------------------------------------------------


def after_quiet(look, ctx=None, **more):
    s = life.answered(closing(BASE, **more), 1, LOST, context(1)).submission
    return life.looked(s, look, ctx or context(QUIET))


@pytest.mark.parametrize("when_exposed", ["once", "park", "resend"])
def test_absent_after_the_quiet_period_is_sent_again_to_the_same_part(when_exposed):
    move = after_quiet(offered(BOB_DID), context(QUIET, rules=rules(when_exposed=when_exposed)))
    assert (move.submission.state, move.submission.part, bool(move.begin)) == ("in_doubt", "s1/jane", True)
    assert move.submission.baseline == BASE


def test_a4_absent_before_the_quiet_period_is_over_proves_nothing():
    s = life.answered(closing(BASE), 1, LOST, context(1)).submission
    move = life.looked(s, offered(BASE), context(RULES.quiet))
    assert (move.submission.state, move.begin) == ("in_doubt", None)


@pytest.mark.parametrize(
    ("what", "state", "look", "more"),
    [
        ("begun again meanwhile", "parked", begun_anew(), {}),
        ("nothing is offered any more", "refused", offered(BASE, refusal="not permitted"), {}),
        ("not proven", "parked", BASE, {"grant": "unproven"}),
        ("paused", "in_doubt", BASE, {"shut": Shut("held", NOW + 300)}),
        ("misapplied elsewhere", "in_doubt", BASE, {"wary": True}),
    ],
)
def test_what_keeps_a_second_attempt_back(what, state, look, more):
    move = after_quiet(look if look.offer else offered(look), context(QUIET, **more))
    assert (state, what) == (move.submission.state, what), ended(move)
    assert bool(move.begin) == (what == "misapplied elsewhere")


# --- where it landed (A12) ----------------------------------------------------------------------------------------------------------------


def landed(s, look):
    return life.answered(s, 1, Applied(look, FACT), context(2)).submission


@pytest.mark.parametrize(
    ("what", "state", "look"),
    [
        ("on its part", "applied", with_us),
        ("on its part, and the review was begun again around it", "applied", lambda s: with_us(s, begun=NOW + 50)),
        (
            "on another part of the step",
            "misapplied",
            lambda s: item(review(1, "jane", "bob", by=[replace(mine(s), part="s1/bob")]), BASE.steps[1]),
        ),
        (
            "on a part of another step",
            "misapplied",
            lambda s: item(BASE.steps[0], review(2, "jane", by=[replace(mine(s), part="s2/jane")])),
        ),
        ("after the same step was begun again", "misapplied", lambda s: with_us(s, begun_anew())),
        (
            "twice, on two parts",
            "duplicated",
            lambda s: item(review(1, "jane", "bob", by=[mine(s), replace(mine(s), part="s1/bob")]), BASE.steps[1]),
        ),
    ],
)
def test_a12_where_it_landed(what, state, look):
    s = closing(BASE)
    assert (state, what) == (landed(s, task(BASE).align(look(s))).state, what)


def test_a12_the_answer_alone_tells_that_the_part_was_begun_again():
    """The answer of a close shows its part and nothing else. Without the part's own beginning it would be told as applied, and the step
    that a later look shows begun again would be no news: it is credited already.
    """
    s = closing(BASE)
    shown = with_us(s)  # the look before it, and in it the part as the answer shows it
    anew = tuple(replace(p, started=NOW + 0.5) if p.id == s.part else p for p in shown.steps[0].parts)
    shown = replace(shown, steps=(replace(shown.steps[0], parts=anew), *shown.steps[1:]))
    move = life.answered(s, 1, Applied(shown, FACT, partial=True), context(1))
    assert (move.submission.state, "another round" in (move.submission.reason or "")) == ("misapplied", True), ended(move)


def test_a17_a_late_effect_in_a_new_round_is_told_after_the_end():
    """The request travels on while the manager sends the item back and into review again; what was parked is told as misapplied."""
    parked = after_quiet(begun_anew()).submission
    late = with_us(parked, begun_anew(), QUIET + 5)
    assert (parked.state, life.looked(parked, late, context(QUIET + 600)).submission.state) == ("parked", "misapplied")


# --- transitions --------------------------------------------------------------------------------------------------------------------------

OVER = item(review(1, "jane", by=[closes(1, "jane", -50)], state="complete"), at=-49.9, status="mgr-2", modified_by="jane")


def moving(look=OVER, state="sbc-2", choice="ok", ctx=None, **more):
    asked = wanted(None, action="transition", state=state, response=None, **more)
    move = life.looked(asked, offered(look, None, choice), ctx or context())
    assert move.begin, ended(move)
    return move.submission


def closed(s, at=5.0, by="jane", comment=None, **more):
    answer = replace(closes(1, by, at, f"final [{s.mark}]" if comment is None else comment), part=None)
    return replace(OVER, status="sbc-2", done=True, modified=NOW + at, modified_by=by, answer=answer, **more)


@pytest.mark.parametrize(
    ("expected", "what", "look"),
    [
        (Found, "our response to the item", closed),
        (Found, "ours, and reopened since", lambda s: replace(closed(s), status="mgr-2", done=False, modified=NOW + 90, modified_by="eve")),
        (Moved, "closed by eve, with our response", lambda s: closed(s, by="eve")),
        (Moved, "closed by jane, without our mark", lambda s: closed(s, comment="final")),
        (Moved, "closed with another response", lambda s: replace(closed(s), answer=replace(closed(s).answer, choice="no"))),
        (Moved, "edited", lambda s: replace(OVER, modified=NOW + 5)),
        (Moved, "sent back for review", lambda s: begun_anew(OVER)),
        (Absent, "as it was", lambda s: OVER),
    ],
)
def test_a_close_of_the_item_leaves_its_response(expected, what, look):
    s = moving()
    assert (expected, what) == (type(life.recognise(s, look(s), frozenset())), what)


@pytest.mark.parametrize(
    ("what", "state", "begun", "at"),
    [
        ("the round that was meant", "applied", -200, 1.0),
        ("the round that was meant, its beginning edited by hand", "applied", -100, 1.0),
        ("sent back for review between look and send", "misapplied", 0.5, 1.0),
        ("sent back for review, and its answer has no time", "misapplied", 0.5, None),
    ],
)
def test_a12_the_answer_tells_that_the_item_was_closed_in_another_round(what, state, begun, at):
    """The manager closes what was reviewed. A colleague has just sent it back to the reviewers, and from there it can be closed, too."""
    s = moving()
    shown = closed(s, at or 1.0, begun=NOW + begun)
    shown = replace(shown, answer=replace(shown.answer, at=None if at is None else NOW + at))
    move = life.answered(s, 1, Applied(shown, FACT, partial=True), context(1))
    assert (what, state) == (what, move.submission.state), ended(move)


def test_a12_a_close_that_a_look_finds_is_judged_by_when_the_round_began():
    """Found later: reopened and sent to the reviewers again after our close, or before it?"""
    s = moving()
    looks = [closed(s, 5.0, begun=NOW + begun) for begun in (90, 0.5)]
    assert [landed(s, look).state for look in looks] == ["applied", "misapplied"]


@pytest.mark.parametrize(
    ("what", "state", "begun"),
    [("after our close", "applied", 90), ("under it", "misapplied", 0.5), ("by hand, in the past", "applied", -1000)],
)
def test_a12_a_step_that_goes_on_in_a_review_that_was_begun_under_our_close(what, state, begun):
    """Taken back, a drawing replaced, sent again, between our look and its send. The answer shows the part alone, which is as before."""
    s = life.answered(closing(BASE), 1, Applied(with_us(closing(BASE)), FACT, partial=True), context(2)).submission
    whole = replace(with_us(s), begun=NOW + begun)
    move = life.looked(s, whole, context(6))
    assert (what, s.state, move.submission.state) == (what, "applied", state)
    if state == "misapplied":
        settled = life.resolve(move.submission, "applied", "she has read it", None, context(7)).submission
        assert life.looked(settled, whole, context(8)).submission.state == "applied", "what a person has decided stands"


def test_the_response_that_the_item_had_before_is_not_ours():
    """Reopened, and to be closed again: the old response stands in the item until then."""
    before = replace(OVER, answer=replace(closes(1, "jane", -70, "first"), part=None))
    s = moving(before)
    assert [type(life.recognise(s, look, frozenset())) for look in (before, replace(closed(s), modified=NOW + 5))] == [Absent, Found]


@pytest.mark.parametrize(
    ("what", "expected", "comment", "at"), [("fits", Found, "ok", 5.0), ("other words", Moved, "no", 5.0), ("older", Moved, "ok", -90.0)]
)
def test_without_a_mark_a_close_of_the_item_is_known_by_its_words_and_time(what, expected, comment, at):
    s = moving(ctx=context(rules=rules(marks=False)), comment="ok")
    look = replace(closed(s, at, comment=comment), modified=NOW + 5)
    assert (expected, what) == (type(life.recognise(s, look, frozenset())), what)


@pytest.mark.parametrize(
    ("expected", "what", "more"),
    [
        (Found, "there, by us", {"status": "mgr-1", "modified_by": "jane", "modified": NOW + 5}),
        (Moved, "there, by eve", {"status": "mgr-1", "modified_by": "eve", "modified": NOW + 5}),
        (Moved, "elsewhere, by us", {"status": "void", "modified_by": "jane", "modified": NOW + 5}),
        (Moved, "edited by us", {"modified_by": "jane", "modified": NOW + 5}),
        (Absent, "as it was", {}),
    ],
)
def test_a_transition_without_a_response_is_seen_by_state_and_time(expected, what, more):
    s = moving(BASE, "mgr-1", None)
    assert (expected, what) == (type(life.recognise(s, replace(BASE, awaiting=False, **more), frozenset())), what)


@pytest.mark.parametrize(
    ("what", "state", "look", "asked"),
    [
        ("nothing moved", "in_doubt", OVER, {}),
        ("the last response came after the command", "superseded", OVER, {"issued_at": NOW - 60}),
        ("edited after the command", "superseded", replace(OVER, modified=NOW + 5), {}),
        ("edited after the pin", "superseded", replace(OVER, modified=NOW - 5), {"look": OVER}),
        ("the system moved it a moment after the last response", "in_doubt", OVER, {"look": BASE}),
    ],
)
def test_a7_a_transition_is_pinned_to_the_item_as_it_was(what, state, look, asked):
    if what.startswith("the system"):
        before = item(review(1, "jane"))
        asked = {"look": before}
        look = item(review(1, "jane", by=[closes(1, "jane", -50)], state="complete"), at=-49.87, status="mgr-2")
    move = life.looked(wanted(None, action="transition", state="sbc-2", **asked), offered(look, None), context(10))
    assert (state, what) == (move.submission.state, what), ended(move)


def test_a_refused_transition_says_where_the_item_can_go():
    move = life.looked(wanted(None, action="transition", state="rev"), offered(OVER, None, refusal="it can go to: sbc-2"), context())
    assert ended(move) == ("refused", "it can go to: sbc-2")


def test_a_retry_by_a_person_holds_the_new_pin():
    parked = after_quiet(begun_anew()).submission
    s = life.resolve(parked, "retry", "seen", pin_of(REALM, begun_anew(), 1), context(QUIET + 100)).submission
    assert [life.looked(s, offered(look), context(QUIET + 101)).submission.state for look in (begun_anew(), BASE)] == [
        "in_doubt",
        "superseded",
    ]
