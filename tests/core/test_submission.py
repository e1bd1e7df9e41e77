"""The life of a submission, rule by rule: state, what was seen or answered, and time. Tests name their rule and what breaks it."""

from dataclasses import replace

import pytest

from tests.core.make import (
    BOTH,
    FACT,
    NOW,
    ONE,
    QUIET,
    REALM,
    RULES,
    TWO,
    accepted,
    approve,
    begun,
    command,
    context,
    mine,
    rules,
    snap,
    step,
    task,
)
from worker.core import submission as life
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Refused, Unknown, Unsent
from worker.core.pause import Shut
from worker.core.pins import pin_of
from worker.core.submission import NotNow

PAUSED = Shut("held: account paused", NOW + 300)

LOST, NO, NOT_SENT, SHUT = InDoubt(FACT), Refused(Fact("answer", 403)), Unsent(Fact("connect")), Unknown(Fact("answer", 503))


def with_us(s, look=TWO, number=1, at=1.0, **more):
    """*look* after our effect landed on step *number*."""
    steps = [replace(t, responses=(*t.responses, mine(s, at))) if n == number else t for n, t in enumerate(look.steps, 1)]
    return snap(*steps, at=at, **more)


def ended(move):
    return move.submission.state, move.submission.reason


# --- before anything is sent --------------------------------------------------------------------------------------------------------------

REJECTED = snap(step("jane", "bob", mode="all", by=[approve("bob", -100, action="reject")]), step("bob"), at=-100)
BOB_FIRST = snap(step("bob"), step("jane"), at=-100)
DONE_BY_BOB = snap(step("jane", "bob", by=[approve("bob", -10)]), step("jane"), at=-10)
SHARED = snap(step("jane", "bob"), step("jane"), at=-100)


@pytest.mark.parametrize(
    ("rule", "state", "reason", "look", "asked"),
    [
        ("A7 two steps and no pin", "refused", "say which", TWO, {"look": None}),
        ("A7 one step needs no pin", "in_doubt", "may have been sent", ONE, {"look": None}),
        ("A7 a step will do", "in_doubt", "may have been sent", TWO, {"look": None, "step": 1}),
        ("A7 no such step", "refused", "not 3", TWO, {"look": None, "step": 3}),
        ("A7 no steps at all", "refused", "0 steps", snap(at=-100), {"look": None}),
        ("A7 no active step", "refused", "no active step", snap(step("jane"), at=-100, status="Returned"), {"look": None}),
        ("A7 finished", "superseded", "no active", snap(step("jane", by=[approve("bob", -9)]), at=-9, status="Completed"), {"look": None}),
        ("A7 by others, exact pin", "superseded", "completed by others", DONE_BY_BOB, {"look": SHARED}),
        ("A7 by others, step only", "superseded", "completed by others", DONE_BY_BOB, {"look": None, "step": 1}),
        ("A7 other steps", "superseded", "not the same", TWO, {"look": SHARED}),
        ("A13 a rejection, yet awaited", "parked", "unreadable", REJECTED, {"look": None, "step": 1}),
        ("A13 answered already", "refused", "already answered", None, {"look": None, "step": 1}),
        ("A8 not active yet", "refused", "not active yet", BOB_FIRST, {"look": BOB_FIRST, "number": 2}),
        ("A15 waits for its turn", "waiting", "turn", BOB_FIRST, {"look": BOB_FIRST, "number": 2, "wait_for_turn": True}),
        ("not a participant", "refused", "not a participant", BOB_FIRST, {"look": BOB_FIRST}),
        ("an owner may skip", "in_doubt", "may have", BOB_FIRST, {"look": BOB_FIRST, "action": "skip"}),
    ],
)
def test_the_first_look(rule, state, reason, look, asked):
    look = look or snap(step("jane", "bob", mode="all", by=[approve("jane", -50)]), step("bob"), at=-50)
    move = life.looked(accepted(**asked), look, context())
    assert (state, True) == (move.submission.state, reason in (move.submission.reason or "")), (rule, ended(move))
    assert (state == "in_doubt") == bool(move.begin)


ALL = snap(step("jane", "bob", "eve", mode="all"), step("jane"), at=-100)


@pytest.mark.parametrize(
    ("what", "state", "look", "pinned"),
    [
        ("bob answered later than the command", "superseded", snap(step("jane", "bob", mode="all", by=[approve("bob", 5)]), at=5), False),
        ("bob answered before it", "in_doubt", snap(step("jane", "bob", mode="all", by=[approve("bob", -5)]), at=-5), False),
        ("nobody knows when bob did", "superseded", snap(step("jane", "bob", mode="all", by=[approve("bob", -5)]), at=-5), None),
        ("an edit later than the command", "superseded", snap(step("jane"), at=5), False),
        ("an edit later than the pin", "superseded", snap(step("jane"), at=-5), True),
        ("as it was", "in_doubt", snap(step("jane"), at=-100), True),
        ("bob answered since the pin, before the command", "in_doubt", snap(*ALL.steps, at=-100), True),
    ],
)
def test_a7_what_moved_before_the_first_look_supersedes(what, state, look, pinned):
    """A7. Without: "approve" waits in the queue, a colleague approves step 1, the worker pins step 2: the accident, no retry."""
    if pinned is None:
        look = snap(replace(look.steps[0], responses=(replace(look.steps[0].responses[0], at=None),)), at=-5)
    before = snap(*(replace(s, responses=()) for s in look.steps), at=-100)
    s = accepted(before) if pinned else accepted(None, step=1)
    assert state == life.looked(s, look, context(10)).submission.state, what


def test_a7_our_own_response_to_an_all_step_is_no_surprise():
    """A7. Without: of two commands for one ALL step, the second always ends superseded by the first."""
    look = snap(step("jane", "bob", mode="all", by=[replace(approve("bob", 5), id="r1")]), at=5)
    s = accepted(None, step=1)
    assert [life.looked(s, look, context(9, own=own)).submission.state for own in (frozenset({"r1"}), frozenset())] == [
        "in_doubt",
        "superseded",
    ]


def test_a7_a_known_response_on_a_later_step_speaks_against_the_step_only_when_it_is_late():
    late = snap(step("jane", "bob", mode="all"), step("eve", by=[approve("eve", 5)]), at=5)
    assert "moved before first look" in (life.looked(accepted(None, step=1), late, context(9)).submission.reason or "")


def test_a8_a_second_look_holds_the_pin_of_the_first():
    """A8. Without: after a proven Unsent the second look finds step 2 active and sends it there."""
    s = life.answered(begun(BOTH), 1, NOT_SENT, context(1)).submission
    moved = snap(step("jane", by=[approve("bob", 2)]), step("jane"), at=2)
    assert (s.state, life.looked(s, moved, context(3)).submission.state) == ("pending", "superseded")


def test_a8_waiting_for_the_turn_survives_the_steps_before_it_and_not_a_restart():
    s = life.looked(accepted(BOB_FIRST, 2, wait_for_turn=True), BOB_FIRST, context()).submission
    turn = snap(step("bob", by=[approve("bob", 5)]), step("jane"), at=5)
    edited = snap(step("bob", by=[approve("bob", 5)]), step("jane"), at=50)
    assert (s.next_at, s.behind) == (NOW + 30.0, None)
    assert [life.looked(s, look, context(60)).submission.state for look in (turn, edited)] == ["in_doubt", "superseded"]


@pytest.mark.parametrize(
    ("what", "state", "reason", "ctx"),
    [
        ("A12 parks an exposed one", "parked", "when_exposed", {"rules": rules(when_exposed="park")}),
        ("A12 parks while something is misapplied", "parked", "misapplied", {"wary": True}),
        ("A12 sends once", "in_doubt", "attempt 1", {}),
        ("A14 a stopped grant sends nothing", "pending", "stopped", {"grant": "stopped"}),
        ("A15 shut: looks and sends nothing", "pending", "held", {"shut": PAUSED}),
    ],
)
def test_what_keeps_a_possible_send_back(what, state, reason, ctx):
    move = life.looked(accepted(BOTH), BOTH, context(**ctx))
    assert (state, True) == (move.submission.state, reason in (move.submission.reason or "")), ended(move)
    assert move.submission.exposed


@pytest.mark.parametrize(
    ("exposed", "look", "asked"),
    [
        (False, TWO, {}),
        (True, BOTH, {}),
        (True, TWO, {"action": "skip"}),
        (True, TWO, {"action": "submit"}),
        (True, snap(step("jane"), step("bob"), step("jane"), at=-100), {}),
    ],
)
def test_a12_who_is_exposed(exposed, look, asked):
    assert exposed == life.is_exposed(accepted(look, **asked), look, "jane")


def test_a9_who_waits_behind_another_is_woken_by_it_or_by_its_own_end():
    s = life.wait_behind(accepted(not_after=NOW + 10), "s0", NOW)
    assert (s.state, s.behind, s.next_at) == ("waiting", "s0", NOW + 10)


@pytest.mark.parametrize("read", [SHUT, TWO, Gone(FACT)])
def test_a15_not_after_ends_the_waiting(read):
    """A15. Without: the upstream is down for a week, and then a stale approval fires."""
    s = accepted(not_after=NOW + 10)
    assert life.looked(s, read, context(10)).submission.state == "expired"


@pytest.mark.parametrize(
    ("waits", "fact", "tries"),
    [
        (0.25, FACT, 0),
        (0.5, FACT, 1),
        (30.0, FACT, 20),
        (7.0, Fact("answer", 429, retry_after=7.0), 0),
        (3600.0, Fact("x", retry_after=1e9), 0),
    ],
)
def test_a15_a_failed_look_uses_no_attempt_and_waits_longer_each_time(waits, fact, tries):
    s = life.looked(replace(accepted(), tries=tries), Unknown(fact), context()).submission
    assert ("pending", tries + 1, NOW + waits, ()) == (s.state, s.tries, s.next_at, s.attempts)


def test_a15_no_wait_goes_beyond_not_after():
    s = life.looked(accepted(not_after=NOW + 3), Unknown(Fact("x", retry_after=60.0)), context(1)).submission
    assert s.next_at == NOW + 3


def test_a_task_that_cannot_be_seen_is_refused():
    assert life.looked(accepted(), Gone(FACT), context()).submission.state == "refused"


# --- a begin, and its answer --------------------------------------------------------------------------------------------------------------


def test_a1_a_begin_says_in_doubt_before_anything_leaves():
    move = life.looked(accepted(), TWO, context())
    s, attempt = move.submission, move.begin
    assert attempt is not None
    assert (s.state, s.sent, s.baseline, s.next_at) == ("in_doubt", True, TWO, NOW + 30)
    assert (attempt.n, attempt.quiet_until, attempt.outcome) == (1, NOW + QUIET, None)


@pytest.mark.parametrize(
    ("what", "state", "sent"),
    [("a 200 with our response", "applied", None), ("no", "refused", NO), ("not sent", "pending", NOT_SENT), ("lost", "in_doubt", LOST)],
)
def test_an_answer_to_the_only_attempt(what, state, sent):
    s = begun()
    move = life.answered(s, 1, sent or Applied(with_us(s), FACT), context(1))
    assert state == move.submission.state, ended(move)
    assert move.settled == (1, {"refused": "refused", "pending": "unsent"}.get(state, state))


@pytest.mark.parametrize("first", [NO, NOT_SENT, LOST])
@pytest.mark.parametrize("second", [NO, NOT_SENT, LOST])
def test_a1_an_attempt_gets_its_outcome_once(first, second):
    s = life.answered(begun(), 1, first, context(1)).submission
    assert life.Move(s) == life.answered(s, 1, second, context(2))


def test_a1_the_answer_of_an_attempt_that_never_was_changes_nothing():
    s = begun()
    assert life.Move(s) == life.answered(s, 7, NO, context(1))


@pytest.mark.parametrize("state", ["parked", "superseded", "refused", "expired", "abandoned"])
def test_a1_a_late_200_beats_any_look(state):
    """A1. Without: a paused sender's 200 is thrown away because somebody has settled the submission meanwhile."""
    s = replace(begun(), state=state)
    assert life.answered(s, 1, Applied(with_us(s), FACT), context(900)).submission.state == "applied"


@pytest.mark.parametrize("sent", [NO, NOT_SENT, LOST])
@pytest.mark.parametrize("state", ["parked", "superseded", "abandoned", "applied"])
def test_a_late_answer_other_than_success_moves_nothing_that_has_ended(state, sent):
    move = life.answered(replace(begun(), state=state), 1, sent, context(900))
    assert (state, None) == (move.submission.state, move.begin)


def test_a4_a_living_sender_shortens_the_quiet_period_to_its_own_end():
    s = life.answered(begun(), 1, LOST, context(2)).submission
    assert NOW + 2 + RULES.quiet == s.quiet_until


def test_a4_a_late_sender_does_not_lengthen_it():
    assert life.answered(begun(), 1, LOST, context(500)).submission.quiet_until == NOW + QUIET


def test_a3_after_a_401_the_next_attempt_follows_at_once():
    s = life.answered(begun(), 1, Unsent(FACT, token=True), context(1)).submission
    assert (s.state, s.next_at) == ("pending", NOW + 1)


def test_a5_an_unsent_attempt_leaves_no_baseline():
    s = life.answered(begun(), 1, NOT_SENT, context(1)).submission
    assert (s.baseline, s.sent) == (None, False)


def lost_twice():
    """Attempt 1 lost and never accounted for, attempt 2 just begun."""
    s = life.answered(begun(), 1, LOST, context(1)).submission
    move = life.looked(s, TWO, context(QUIET))
    assert move.begin
    return move.submission


def test_a6_a_refusal_of_the_second_attempt_waits_for_the_first():
    """A6. Without: attempt 1 takes effect late, attempt 2 is refused because of it, and the submission says refused."""
    s = life.answered(lost_twice(), 2, NO, context(QUIET + 1)).submission
    assert (s.state, (s.verdict or ("",))[0]) == ("in_doubt", "refused")
    assert life.looked(s, TWO, context(QUIET * 3)).submission.state == "refused"
    assert life.looked(s, with_us(s, at=QUIET), context(QUIET * 3)).submission.state == "applied"


def test_a6_a_refusal_stands_once_the_other_attempt_is_proven_unsent():
    """A6. Without: the crashed sender of attempt 1 comes back with Unsent, and what was refused is sent a third time."""
    s = life.looked(begun(), TWO, context(QUIET)).submission
    s = life.answered(s, 2, NO, context(QUIET + 1)).submission
    assert life.answered(s, 1, NOT_SENT, context(QUIET + 2)).submission.state == "refused"


def test_a6_unsent_of_a_later_attempt_keeps_the_doubt_and_the_baseline():
    s = life.answered(lost_twice(), 2, NOT_SENT, context(QUIET + 1)).submission
    assert (s.state, s.baseline) == ("in_doubt", TWO)


# --- in doubt -----------------------------------------------------------------------------------------------------------------------------

BY_BOB = snap(step("jane", "bob", by=[approve("bob", 5)]), step("eve"), at=5)
OPEN_TO_BOB = snap(step("jane", "bob"), step("eve"), at=-100)


@pytest.mark.parametrize(
    ("what", "early", "late", "look"),
    [
        ("A5 as it was", "in_doubt", "in_doubt", OPEN_TO_BOB),
        ("A5 edited", "in_doubt", "parked", snap(*OPEN_TO_BOB.steps, at=5)),
        ("A5 other steps", "in_doubt", "parked", snap(step("jane"), step("eve"), at=-100)),
        ("A5 other status", "in_doubt", "parked", snap(*OPEN_TO_BOB.steps, at=-100, status="Returned")),
        ("A5 completed by others", "in_doubt", "superseded", BY_BOB),
        ("A5 by others, then edited", "in_doubt", "parked", replace(BY_BOB, modified=NOW + 50)),
        (
            "A10 completed by our user without our mark",
            "in_doubt",
            "parked",
            snap(step("jane", "bob", by=[approve("jane", 5)]), step("eve"), at=5),
        ),
        ("A14 by nobody we can read", "in_doubt", "parked", snap(step("jane", "bob", by=[approve(None, 5)]), step("eve"), at=5)),
        ("unreadable answer", "in_doubt", "in_doubt", SHUT),
        ("gone", "in_doubt", "parked", Gone(FACT)),
    ],
)
def test_a5_a_look_in_doubt_before_and_after_the_quiet_period(what, early, late, look):
    """A5, A6. Without: our REJECT applies, the answer is lost, the author corrects and re-submits, responses are cleared; a look sees
    step 1 active and nothing gone, and a revision nobody read is rejected again.
    """
    s = begun(OPEN_TO_BOB)
    assert [early, late] == [life.looked(s, look, context(at)).submission.state for at in (QUIET - 1, QUIET)], what


def test_a4_nothing_is_sent_before_the_quiet_period_is_over_and_the_next_look_is_at_its_end_at_the_latest():
    s = begun()
    moves = [life.looked(replace(s, tries=20), TWO, context(at)) for at in (0.0, QUIET - 3, QUIET - 0.001, QUIET)]
    assert [bool(m.begin) for m in moves] == [False, False, False, True]
    assert [m.submission.next_at for m in moves[:3]] == [NOW + 30, NOW + QUIET, NOW + QUIET]


@pytest.mark.parametrize(("sends", "asked"), [(True, NOW + QUIET), (False, NOW + QUIET - 0.001), (False, None)])
def test_a5_a_look_that_left_before_the_end_of_the_quiet_period_proves_nothing_after_it(sends, asked):
    """A5. Without: a look leaves at the last second, its answer takes ten, our effect comes in between, and it is sent again."""
    assert bool(life.looked(begun(), TWO, context(QUIET + 5, asked=asked)).begin) is sends


def test_a5_a_look_of_unknown_age_is_as_old_as_a_look_can_be():
    assert life.looked(begun(), TWO, context(QUIET + RULES.deadline, asked=None)).begin


def test_a_retry_keeps_the_first_baseline():
    assert (lost_twice().baseline, len(lost_twice().attempts)) == (TWO, 2)


@pytest.mark.parametrize(
    ("what", "state", "reason", "look", "ctx"),
    [
        ("A14 unproven", "parked", "not proven", TWO, {"grant": "unproven"}),
        ("A14 stopped", "parked", "not proven", TWO, {"grant": "stopped"}),
        ("A12 exposed, once", "parked", "exposed", BOTH, {}),
        ("A12 exposed, resend", "in_doubt", "attempt 2", BOTH, {"rules": rules(when_exposed="resend")}),
        ("A12 exposed, resend, wary", "parked", "exposed", BOTH, {"rules": rules(when_exposed="resend"), "wary": True}),
        ("A5 modified does not move here", "parked", "modified", TWO, {"frozen": True}),
        ("the grant acts as another now", "in_doubt", "another user", TWO, {"acts_as": "mary"}),
        ("A15 shut", "in_doubt", "held", TWO, {"shut": PAUSED}),
        ("not exposed", "in_doubt", "attempt 2", TWO, {}),
    ],
)
def test_absent_after_the_quiet_period(what, state, reason, look, ctx):
    move = life.looked(begun(look), look, context(QUIET, **ctx))
    assert (state, True) == (move.submission.state, reason in (move.submission.reason or "")), ended(move)
    assert bool(move.begin) == ("attempt 2" in reason)


def test_a5_a_response_newer_than_modified_proves_that_absent_proves_nothing():
    """A5. Without: `modified` is frozen, a restart leaves no trace, and a revision nobody read is approved."""
    look = snap(step("jane", "bob", mode="all", by=[approve("bob", -10)]), at=-100)
    assert life.looked(begun(look), look, context(QUIET)).submission.state == "parked"


def test_a15_an_absent_one_expires_after_the_quiet_period_only():
    s = begun(not_after=NOW + 5)
    assert [life.looked(s, TWO, context(at)).submission.state for at in (QUIET - 1, QUIET)] == ["in_doubt", "expired"]


def test_five_attempts_that_came_to_nothing_are_enough():
    s, at = begun(), 0.0
    for _ in range(4):
        at += QUIET
        s = life.looked(s, TWO, context(at)).submission
    assert (len(s.attempts), life.looked(s, TWO, context(at + QUIET)).submission.state) == (5, "parked")


def test_answered_with_success_and_not_there_is_parked_but_not_at_once():
    """The replica that answers the look may lag: only after the quiet period is a missing response a fault."""
    s = life.answered(begun(), 1, Applied(TWO, FACT), context(1)).submission
    states = [life.looked(s, TWO, context(at)).submission.state for at in (2, 1 + RULES.quiet)]
    assert [s.state, *states] == ["in_doubt", "in_doubt", "parked"]


# --- where it landed ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["answer", "look"])
@pytest.mark.parametrize(
    ("what", "state", "look"),
    [
        ("on its step", "applied", lambda s: with_us(s, BOTH)),
        ("on the next", "misapplied", lambda s: with_us(s, snap(step("jane", by=[approve("bob", 0.5)]), step("jane")), 2)),
        ("twice", "duplicated", lambda s: snap(step("jane", by=[mine(s, 1)]), step("jane", by=[mine(s, 9)]), at=9)),
        ("twice within a second", "duplicated", lambda s: snap(step("jane", by=[mine(s, 1), mine(s, 1)]), step("jane"), at=1)),
    ],
)
def test_a12_the_answer_or_the_next_look_shows_where_it_landed(by, what, state, look):
    """A12. Without: a colleague is faster by half a second, our approval lands on step 2, and we say applied."""
    s = begun(BOTH)
    seen = task(BOTH).align(look(s))
    move = life.answered(s, 1, Applied(seen, FACT), context(2)) if by == "answer" else life.looked(s, seen, context(2))
    assert (state, "jane") == (move.submission.state, move.proof), ended(move)
    assert set(move.claims) == {r.id for _, r in seen.fresh(BOTH) if r.actor == "jane"}


def test_a12_an_effect_in_another_round_is_misapplied():
    look = snap(step("jane", "bob", mode="all", by=[approve("bob", -50)]), step("eve"), at=-50)
    s = begun(look)
    after = snap(step("jane", "bob", mode="all", by=[mine(s, 9)]), step("eve"), at=9)
    assert life.looked(s, after, context(10)).submission.state == "misapplied"


@pytest.mark.parametrize("state", ["misapplied", "duplicated"])
def test_a9_a_machine_does_not_undo_what_a_person_has_to_resolve(state):
    s = replace(begun(), state=state, hits=("r1",))
    look = snap(step("jane", by=[replace(mine(s), id="r1")]), step("bob"), at=1)
    assert state == life.answered(s, 1, Applied(look, FACT), context(9)).submission.state


def test_a19_an_effect_that_a_person_has_resolved_is_not_told_again():
    s = replace(begun(), state="misapplied", hits=("r1", "r2"))
    s = life.resolve(s, "applied", "talked to finance", None, context(5)).submission
    look = snap(step("jane", by=[replace(mine(s), id="r1")]), step("jane", by=[replace(mine(s), id="r2")]), at=1)
    assert life.answered(s, 1, Applied(look, FACT), context(9)).submission.state == "applied"


@pytest.mark.parametrize("by", ["answer", "look"])
def test_a14_our_mark_under_another_author_stops_the_grant(by):
    """A14. Without: the grant acts as mary, our look for jane's response finds none, and mary approves again, on step 2."""
    s = begun(BOTH, ctx=context(grant="unproven"))
    look = snap(step("jane", by=[mine(s, actor="mary")]), step("jane"), at=1)
    move = life.answered(s, 1, Applied(look, FACT), context(2)) if by == "answer" else life.looked(s, look, context(2))
    assert (move.submission.state, move.proof) == ("parked", "mary")


def test_a14_without_marks_a_200_whose_only_new_response_is_anothers_stops_the_grant():
    s = begun(ctx=context(rules=rules(marks=False)))
    look = snap(step("jane", by=[approve("mary", 1)]), step("bob"), at=1)
    move = life.answered(s, 1, Applied(look, FACT), context(2))
    assert (move.submission.state, move.proof) == ("parked", "mary")


def test_a14_a_look_without_marks_proves_nothing_of_the_grant_and_a_200_does():
    s = begun(ctx=context(rules=rules(marks=False)))
    look = snap(step("jane", by=[approve("jane", 1)]), step("bob"), at=1)
    seen, told = life.looked(s, look, context(2)), life.answered(s, 1, Applied(look, FACT), context(2))
    assert [(m.submission.state, m.proof) for m in (seen, told)] == [("applied", None), ("applied", "jane")]


def test_a14_a_200_to_an_action_without_response_proves_the_grant_only_by_modified_by():
    s = begun(action="submit")
    bodies = [snap(step("jane"), at=1, modified_by=who) for who in (None, "jane")]
    moves = [life.answered(s, 1, Applied(b, FACT), context(2)) for b in bodies]
    assert [(m.submission.state, m.proof) for m in moves] == [("applied", None), ("applied", "jane")]


# --- the vigil ----------------------------------------------------------------------------------------------------------------------------


def test_a17_the_vigil_is_at_quiet_end_ten_minutes_and_a_day_later():
    """A17. Without: an approval that comes a night late, or twice, is seen by nobody."""
    s, at, looks = begun(BOTH), 5.0, []
    s = life.looked(s, with_us(s, BOTH), context(at)).submission
    while s.next_at is not None:
        at = s.next_at - NOW
        looks.append(at)
        s = life.looked(s, with_us(s, BOTH), context(at)).submission
        assert s.state == "applied"
    assert looks == [QUIET, QUIET + 600, QUIET + 86_400]


@pytest.mark.parametrize(
    ("what", "vigil", "look", "how"),
    [
        ("applied by its only attempt, not exposed", False, TWO, "answer"),
        ("applied, found by a look, not exposed", False, TWO, "look"),
        ("applied and exposed", True, BOTH, "answer"),
        ("parked in doubt", True, OPEN_TO_BOB, "edited"),
        ("refused", False, TWO, "refused"),
    ],
)
def test_a17_who_is_looked_at_again(what, vigil, look, how):
    s = begun(look)
    move = {
        "answer": lambda: life.answered(s, 1, Applied(with_us(s, look), FACT), context(2)),
        "look": lambda: life.looked(s, with_us(s, look), context(2)),
        "edited": lambda: life.looked(s, snap(*look.steps, at=5), context(QUIET)),
        "refused": lambda: life.answered(s, 1, NO, context(2)),
    }[how]()
    assert vigil == (move.submission.next_at is not None), ended(move)


@pytest.mark.parametrize("state", ["parked", "superseded", "expired", "refused"])
def test_a17_a_late_effect_is_told_whatever_was_said_before(state):
    s = replace(begun(), state=state, next_at=NOW + 600)
    assert life.looked(s, with_us(s), context(600)).submission.state == "applied"


def test_a17_a_vigil_that_cannot_read_goes_on_in_the_end():
    """Otherwise a grant that is no more is asked for ever, every minute, for each dead submission."""
    s, looks = replace(begun(), state="parked", next_at=NOW), 0
    while s.next_at is not None:
        before = s.next_at
        s, looks = life.looked(s, SHUT, context(before - NOW)).submission, looks + 1
        assert s.next_at is None or s.next_at > before
    assert (s.state, looks) == ("parked", 3 * (life.VIGIL_TRIES + 1))


def test_a14_a_vigil_sees_an_effect_under_another_author():
    s = replace(begun(), state="refused", next_at=NOW)
    move = life.looked(s, snap(step("jane", by=[mine(s, actor="mary")]), step("bob"), at=1), context(600))
    assert (move.submission.state, move.proof) == ("parked", "mary")


def test_a_mark_that_somebody_quotes_does_not_unsettle_what_was_applied():
    s = begun()
    s = life.answered(s, 1, Applied(with_us(s), FACT), context(1)).submission
    quoted = snap(step("jane", by=[mine(s)]), step("bob", by=[mine(s, 9, actor="bob")]), at=9)
    assert life.looked(s, quoted, context(600)).submission.state == "applied"


# --- people -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "s"),
    [
        ("cancelled", accepted()),
        ("cancelled", life.wait_behind(accepted(), "s0", NOW)),
        ("cancelled", life.answered(begun(), 1, NOT_SENT, context(1)).submission),
        (None, begun()),
        (None, lost_twice()),
        (None, replace(accepted(), state="applied")),
    ],
)
def test_a6_cancel_is_possible_until_something_may_have_been_sent(state, s):
    if state:
        assert state == life.cancel(s, context(1)).submission.state
    else:
        with pytest.raises(NotNow):
            life.cancel(s, context(1))


def parked(**more):
    s = begun(BOTH, **more)
    return life.looked(s, BOTH, context(QUIET)).submission


@pytest.mark.parametrize(("verdict", "state"), [("applied", "applied"), ("abandoned", "abandoned")])
def test_a19_a_person_resolves(verdict, state):
    move = life.resolve(parked(), verdict, "seen on the screen", None, context(QUIET + 5))
    assert (state, True) == (move.submission.state, move.told)
    assert move.notes[0].private == {"note": "seen on the screen"}


@pytest.mark.parametrize(
    ("why", "s", "pin", "after"),
    [
        ("only parked", begun(), pin_of("r", TWO, 1), QUIET),
        ("--pin", parked(), None, QUIET),
        ("quiet period", replace(begun(), state="parked"), pin_of("r", TWO, 1), QUIET - 1),
        ("second effect", replace(parked(), hits=("r1",)), pin_of("r", TWO, 1), QUIET),
        ("not_after", parked(not_after=NOW + QUIET + 1), pin_of("r", TWO, 1), QUIET + 1),
    ],
)
def test_a19_a_retry_needs_a_pin_the_quiet_period_and_no_effect(why, s, pin, after):
    with pytest.raises(NotNow, match=why):
        life.resolve(s, "retry", "again", pin, context(after))


def retried(look=BOTH, after=QUIET + 5):
    return life.resolve(parked(), "retry", "again", pin_of(REALM, look, 1), context(after)).submission


def test_a19_a_retry_is_a_new_attempt_with_a_new_baseline_and_is_sent_though_exposed():
    edited = snap(*BOTH.steps, at=50)
    move = life.looked(retried(edited), edited, context(QUIET + 6))
    assert move.begin is not None
    assert (2, "in_doubt", edited) == (move.begin.n, move.submission.state, move.submission.baseline)


@pytest.mark.parametrize("by", ["look", "answer"])
def test_a19_an_attempt_that_was_written_off_and_did_take_effect_is_found_and_not_repeated(by):
    """A19, A1. Without: the paused sender of attempt 1 comes back with a 200, and the retry says "already answered" or is sent too."""
    s = retried()
    look = with_us(s, BOTH)
    move = life.looked(s, look, context(QUIET + 6)) if by == "look" else life.answered(s, 1, Applied(look, FACT), context(QUIET + 6))
    assert (move.submission.state, move.begin) == ("applied", None)


def test_a10_a_second_attempt_plants_no_mark_where_the_first_had_none():
    """A10. Without: marks are switched on between two attempts, and the effect of the first, unmarked, is never looked for again."""
    s = begun(ctx=context(rules=rules(marks=False)))
    assert not life.looked(s, TWO, context(QUIET)).submission.marked


def test_a18_every_move_leaves_its_evidence():
    s = accepted()
    first = life.looked(s, TWO, context())
    last = life.answered(first.submission, 1, LOST, context(1))
    end = life.looked(last.submission, snap(*TWO.steps, at=9), context(QUIET))
    kinds = [n.kind for m in (life.accept(command(), id_="s1", realm="r", task="T", pin=None, now=NOW), first, last, end) for n in m.notes]
    assert kinds == ["accepted", "attempt", "answer", "state"]
    assert {"n", "shape", "modified", "status"} == set(first.notes[0].public)
