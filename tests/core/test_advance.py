"""One answer against the rows as they are: who is credited, what a stale look may do, and the order of what is told."""

from dataclasses import replace

import pytest

from tests.core.make import (
    BOTH,
    FACT,
    NOW,
    OTHERS,
    QUIET,
    RULES,
    TWO,
    accepted,
    approve,
    begun,
    closes,
    closing,
    context,
    item,
    mine,
    offered,
    review,
    rules,
    snap,
    step,
    task,
)
from worker.core import submission as life
from worker.core.advance import Answer, Row, advance
from worker.core.outcomes import Applied, Gone, InDoubt, Refused, Unknown
from worker.core.task import Credit


def decide(what, *live, known=TWO, version=None, who=None, attempt=None, credits_=None, after=2.0, **ctx):
    row = Row(task(known, version=7), {s.id: s for s in live}, credits_ or {})
    answer = Answer(row.task.realm, "T", 7 if version is None else version, what, submission=who, attempt=attempt)
    return advance(row, answer, lambda s: context(after, **ctx), NOW + after)


def types(decision):
    return [e.type for e in decision.events]


def states(decision):
    return {m.submission.id: m.submission.state for m in decision.moves}


def landed(s, look=TWO, number=1, at=1.0):
    return snap(*(replace(t, responses=(*t.responses, mine(s, at))) if n == number else t for n, t in enumerate(look.steps, 1)), at=at)


@pytest.mark.parametrize("how", ["answer", "look", "poll"])
def test_b1_whoever_sees_our_response_first_credits_it(how):
    """B1, C2. Without: a poll sees it first, tells `step.completed` without the submission, and nobody ever says whose it was."""
    s = begun()
    look = landed(s)
    decision = {
        "answer": lambda: decide(Applied(look, FACT), s, who="s1", attempt=1),
        "look": lambda: decide(look, s, who="s1"),
        "poll": lambda: decide(look, s),
    }[how]()
    assert types(decision) == ["response.recorded", "step.completed", "step.opened", "submission.applied"]
    assert (states(decision), decision.events[1].data["submission"]["id"]) == ({"s1": "applied"}, "s1")
    assert decision.moves[0].claims == decision.moves[0].submission.hits


def test_c2_the_events_are_the_same_whoever_saw_it():
    s = begun()
    ways = (decide(Applied(landed(s), FACT), s, who="s1", attempt=1), decide(landed(s), s), decide(landed(s), s, who="s1", after=40))
    assert len({tuple(e.id for e in d.events) for d in ways}) == 1


def test_after_a_poll_has_credited_it_the_answer_changes_nothing_but_the_attempt():
    s = begun()
    after = decide(landed(s), s)
    row = Row(after.task, {"s1": after.moves[0].submission}, {})
    late = advance(row, Answer("r", "T", 7, Applied(landed(s), FACT), "s1", 1), lambda _: context(3), NOW + 3)
    assert (late.events, late.moves[0].settled, late.moves[0].submission.state) == ((), (1, "applied"), "applied")


@pytest.mark.parametrize(
    ("what", "s", "look"),
    [
        ("pending", accepted(), TWO),
        ("in doubt after the quiet period", begun(), TWO),
        ("in doubt, completed by others", begun(OTHERS), snap(step("jane", "bob", by=[approve("bob", -1)]), step("eve"), at=-1)),
    ],
)
def test_b1_a_stale_look_never_causes_a_send_nor_an_end(what, s, look):
    """B1. Without: a slow GET from before a colleague's approval says that nothing has happened, and step 2 is approved."""
    newer = snap(*look.steps, at=1)
    for known, version in ((newer, 7), (replace(newer, title="Other", modified=look.modified), 6)):
        decision = decide(look, s, known=known, version=version, who="s1", after=QUIET)
        (move,) = decision.moves
        assert (move.begin, move.submission.state, decision.task.snapshot.title, what) == (
            None,
            s.state,
            decision.task.snapshot.title,
            what,
        )
        assert move.submission.next_at > NOW + QUIET
        assert decision.events == ()


def test_b1_a_stale_look_may_find():
    """Our response in an old look is there all the same; only its absence proves nothing."""
    s = begun()
    later = snap(step("jane"), step("bob"), at=50)
    decision = decide(landed(s), s, known=later, who="s1")
    assert (states(decision), types(decision), decision.task.snapshot.modified) == ({"s1": "applied"}, ["submission.applied"], NOW + 50)


def test_b1_an_answer_whose_body_is_not_current_is_looked_at_once_more():
    """Its step's events are still to be told, and it has nobody else to see them."""
    s = begun()
    decision = decide(Applied(landed(s), FACT), s, known=snap(*TWO.steps, at=50), who="s1", attempt=1)
    after = decision.moves[0].submission
    assert (after.state, after.next_at, after.vigil, types(decision)) == ("applied", NOW + 2, 0, ["submission.applied"])


def test_a12_misapplied_is_told_before_the_step_it_completed_and_that_one_is_disputed():
    """A12. Without: the ERP pays on `step.completed` a moment before it is told that nobody approved that step."""
    s = begun(BOTH)
    look = snap(step("jane", by=[approve("bob", 0.5)]), step("jane", by=[mine(s)]), at=1, status="Completed")
    decision = decide(Applied(look, FACT), s, known=BOTH, who="s1", attempt=1)
    assert types(decision)[0] == "submission.misapplied"
    assert [bool(e.data.get("disputed")) for e in decision.events if e.type == "step.completed"] == [False, True]


def test_c3_the_order_is_response_step_task_submission():
    s = begun(snap(step("jane"), at=-100))
    look = snap(step("jane", by=[mine(s)]), at=1, status="Completed")
    assert types(decide(look, s, known=snap(step("jane"), at=-100))) == [
        "response.recorded",
        "step.completed",
        "task.completed",
        "task.changed",
        "submission.applied",
    ]


def twins():
    """Two submissions of one user with the same words and no mark, both in doubt."""
    bare = context(rules=rules(marks=False))
    look = snap(step("jane", "bob", mode="all"), at=-100)
    return look, [replace(begun(look, ctx=bare), id=i) for i in ("s1", "s2")]


def test_a10_one_response_is_credited_once_within_one_answer():
    """A10. Without: one response, seen by a poll, makes two submissions applied, and one of them never took effect."""
    known, (one, two) = twins()
    look = snap(step("jane", "bob", mode="all", by=[approve("jane", 1)]), at=1)
    decision = decide(look, one, two, known=known)
    assert states(decision) == {"s1": "applied"}


def test_a10_and_not_where_another_had_it_before():
    known, (one, _) = twins()
    look = snap(step("jane", "bob", mode="all", by=[approve("jane", 1)]), at=1)
    name = task(known).align(look).steps[0].responses[0].id
    assert decide(look, one, known=known, credits_={name: Credit("s0", "k", {})}).moves == ()


@pytest.mark.parametrize(
    ("told", "known", "version", "who"),
    [(["task.gone"], TWO, 7, None), ([], TWO, 6, None), ([], None, 7, None), (["submission.refused"], TWO, 7, "s1")],
)
def test_a_task_is_gone_when_a_current_poll_says_so(told, known, version, who):
    """A slow 404 from before the task came back is as stale as any other look; a grant that may not see it does not make it gone."""
    assert types(decide(Gone(FACT), accepted(), known=known, version=version, who=who)) == told


@pytest.mark.parametrize("what", [Unknown(FACT), InDoubt(FACT), Refused(FACT)])
def test_an_answer_without_a_look_leaves_the_task_alone(what):
    s = begun()
    decision = decide(what, s, who="s1", attempt=None if isinstance(what, Unknown) else 1)
    assert decision.task == task(TWO, version=7)


def test_a_look_for_a_submission_that_is_no_more_only_observes():
    decision = decide(snap(step("jane"), step("bob"), at=5), who="s9")
    assert (decision.moves, decision.task.version) == ((), 8)


def test_a16_an_event_of_a_submission_brings_back_its_labels_and_its_key():
    s = begun(labels={"po": "4711"})
    event = decide(landed(s), s).events[-1]
    assert event.data["submission"] == {"id": "s1", "key": "po-1", "labels": {"po": "4711"}}
    assert (event.type, event.data["step"], event.data["attempts"]) == ("submission.applied", 1, 1)


# --- an answer that shows only the part that was answered ---------------------------------------------------------------------------------

ITEM = item(review(1, "jane", "bob"), review(2, "jane", state="waiting"))


def shown(s, look=ITEM, at=1.0, **more):
    """*look* with our part as an answer shows it."""
    first, *rest = look.steps
    return item(review(1, *first.participants, by=[*first.responses, mine(s, at)]), *rest, **more)


def answer_of(s, look=ITEM, n=1, **more):
    return decide(Applied(shown(s, look), FACT, partial=True), s, known=ITEM, who="s1", attempt=n, **more)


def test_a_partial_answer_is_recognised_and_never_observed():
    """Its rest is an older look. Without: bob's response, which a poll has told meanwhile, goes again, and a restart is told."""
    s = closing(ITEM)
    bob = item(review(1, "jane", "bob", by=[closes(1, "bob", 0.5)]), ITEM.steps[1])
    decision = decide(Applied(shown(s), FACT, partial=True), s, known=bob, who="s1", attempt=1)
    assert (states(decision), types(decision)) == ({"s1": "applied"}, ["submission.applied"])
    assert decision.task == task(bob, version=7)
    assert decision.moves[0].claims == decision.moves[0].submission.hits


def test_a_partial_answer_credits_nobody_else():
    """What is not of the answer is older than the row: whoever is not in it may have come since."""
    s = closing(ITEM)
    other = replace(s, id="s2", part="s1/bob", command=replace(s.command, key="po-2"))
    assert states(decide(Applied(shown(other), FACT, partial=True), s, other, known=ITEM, who="s1", attempt=1)) == {"s1": "in_doubt"}


def test_after_a_partial_answer_one_look_tells_what_came_of_it():
    """Without: the step's completion is told by nobody, where the item is not watched."""
    s = closing(ITEM)
    first = answer_of(s)
    after = first.moves[0].submission
    assert (after.state, after.next_at) == ("applied", NOW + 2 + life.AFTERLOOK)
    whole = item(review(1, "jane", "bob", by=[mine(s)]), ITEM.steps[1])
    then = decide(whole, after, known=ITEM, who="s1", after=3.0, credits_={})
    assert types(then) == ["response.recorded"]
    assert then.moves[0].submission.next_at is None


def test_the_look_that_tells_what_came_of_it_is_tried_again_soon():
    """Without: it fails once, and ten minutes pass until the step's completion is told."""
    after = answer_of(closing(ITEM)).moves[0].submission
    waits = []
    for _ in range(life.VIGIL_SOON + 1):
        tried = life.looked(after, Unknown(FACT), context(3.0)).submission
        waits.append((tried.next_at or 0.0) - NOW - 3.0)
        after = tried
    assert (sum(waits[:-1]) < 30, waits[-1]) == (True, life.VIGIL_GAP / 2)


def lost_then_answered():
    """A first attempt that nobody heard of, and a second whose answer shows our response."""
    s = life.answered(closing(ITEM), 1, InDoubt(FACT), context(1)).submission
    return life.looked(s, offered(ITEM), context(QUIET)).submission


def test_a17_the_look_after_a_partial_answer_takes_the_place_of_no_other():
    """A17. An attempt is unaccounted for: ten minutes and a day later it is looked at all the same."""
    s = lost_then_answered()
    after = answer_of(s, n=2, after=QUIET + 2).moves[0].submission
    looks = []
    while after.next_at is not None:
        looks.append(after.next_at - NOW)
        after = life.looked(after, task(ITEM).align(shown(s)), context(looks[-1])).submission
    first = QUIET + 2 + life.AFTERLOOK
    assert looks == [first, first + 600.0, first + 86_400.0]


def test_a17_a_look_before_the_end_of_the_quiet_period_does_not_stand_for_the_one_at_its_end():
    """A17. The first attempt is still under way when the second is answered: only the look at the end of the quiet period can see it."""
    s = replace(lost_then_answered(), attempts=tuple(replace(a, quiet_until=NOW + 500) for a in lost_then_answered().attempts))
    after = answer_of(s, n=2, after=QUIET + 2).moves[0].submission
    looks = []
    while after.next_at is not None:
        looks.append(after.next_at - NOW)
        after = life.looked(after, task(ITEM).align(shown(s)), context(looks[-1])).submission
    assert looks == [QUIET + 2 + life.AFTERLOOK, 500.0, 1100.0, 500.0 + 86_400.0]
    assert RULES.quiet < 500


@pytest.mark.parametrize(("touched", "looks"), [(1.0, None), (-200.0, NOW + 2 + life.AFTERLOOK)])
def test_an_item_that_was_read_before_our_effect_is_looked_at_once_more(touched, looks):
    """A look is two reads: taken back and sent again between them, the item looks as it was, and the steps show our response."""
    s = closing(ITEM)
    polled = decide(replace(shown(s), modified=NOW + touched), s, known=ITEM)
    assert (polled.moves[0].submission.state, polled.moves[0].submission.next_at) == ("applied", looks)


def test_a_partial_answer_to_what_has_ended_is_looked_at_once_more():
    """A poll has credited it; what follows from it, the poll may have been too early to see."""
    s = closing(ITEM)
    polled = decide(shown(s), s, known=ITEM)
    row = Row(polled.task, {"s1": polled.moves[0].submission}, {})
    late = advance(row, Answer("r", "T", 7, Applied(shown(s), FACT, partial=True), "s1", 1), lambda _: context(3), NOW + 3)
    after = late.moves[0].submission
    assert (late.events, late.moves[0].settled, after.next_at) == ((), (1, "applied"), NOW + 3 + life.AFTERLOOK)
