"""The same answer twice: no second begin, no second event, no second transition (A1, C2)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.core.make import BOTH, FACT, NOW, OTHERS, QUIET, REALM, TWO, accepted, approve, begun, context, mine, snap, step, task
from worker.core.advance import Answer, Row, advance
from worker.core.outcomes import Applied, Gone, InDoubt, Refused, Unknown, Unsent

SUBMISSIONS = [accepted(), accepted(BOTH), accepted(OTHERS), begun(), begun(BOTH), begun(OTHERS), begun(action="submit")]


def looks(s):
    ours = mine(s)
    return [
        TWO,
        BOTH,
        OTHERS,
        snap(step("jane", by=[ours]), step("bob"), at=1),
        snap(step("jane", by=[ours]), step("jane", by=[replace(ours, at=NOW + 9)]), at=9, status="Completed"),
        snap(step("jane", "bob", by=[approve("bob", 5)]), step("eve"), at=5),
        snap(step("jane", by=[mine(s, actor="mary")]), step("bob"), at=1),
        snap(step("jane"), step("bob"), at=50, status="Cancelled"),
    ]


@st.composite
def scenes(draw):
    s = draw(st.sampled_from(SUBMISSIONS))
    look = draw(st.sampled_from(looks(s)))
    if draw(st.booleans()):
        sent = draw(st.sampled_from([Applied(look, FACT), Refused(FACT), Unsent(FACT), Unsent(FACT, token=True), InDoubt(FACT)]))
        answer = Answer(REALM, "T", 7, sent, s.id, attempt=1)
    else:
        read = draw(st.sampled_from([look, look, Gone(FACT), Unknown(FACT)]))
        answer = Answer(REALM, "T", 7, read, draw(st.sampled_from([s.id, None])))
    return s, answer, draw(st.sampled_from([None, TWO, BOTH, OTHERS])), draw(st.floats(1, 3 * QUIET))


@given(scenes(), st.floats(0, 20))
def test_the_same_answer_twice_begins_and_tells_nothing_twice(scene, pause):
    """A1. Without: a commit of unknown outcome is repeated, and the repetition sends again or tells again under another id."""
    s, answer, known, after = scene
    first = advance(Row(task(known, version=7), {s.id: s}, {}), answer, lambda _: context(after), NOW + after)
    live = {s.id: s} | {m.submission.id: m.submission for m in first.moves}
    later = after + pause
    second = advance(Row(first.task, live, {}), answer, lambda _: context(later), NOW + later)
    told = [e.id for e in first.events]
    assert len(told) == len(set(told))
    begins = [m.begin for d in (first, second) for m in d.moves if m.begin]
    assert len(begins) <= 1
    if answer.attempt is not None:
        assert [m.settled for m in second.moves if m.settled] == []
        assert not second.events
    assert {e.id for e in second.events if not e.type.startswith("submission.")} <= set(told)


@given(scenes())
def test_no_move_leaves_a_time_in_the_past(scene):
    """Without: a row that is due again at once, for ever, keeps a process busy and a budget empty."""
    s, answer, known, after = scene
    decision = advance(Row(task(known, version=7), {s.id: s}, {}), answer, lambda _: context(after), NOW + after)
    for move in decision.moves:
        assert move.submission.next_at is None or move.submission.next_at >= NOW + after or move.submission == s
