"""Whether an account sends, and what waiting for it costs: nothing (A15)."""

import pytest

from tests.core.make import NOW, QUIET, TWO, accepted, begun, context
from worker.core import pace
from worker.core import submission as life
from worker.core.pause import HELD, Shut, Word, shut

PAUSED = Word("paused", NOW, "ann", "quarter close")
RESUMED = Word("resumed", NOW, "ann", "")
LIFTS = Word("resumed", NOW, "ann", "", lifts=True)


@pytest.mark.parametrize(
    ("what", "word", "hold", "why"),
    [
        ("nobody spoke, writes are on", None, False, None),
        ("nobody spoke, writes are held", None, True, 'writes = "hold"'),
        ("paused, writes are on", PAUSED, False, "account paused by ann since 2023-11-14T22:13:20.000Z: quarter close"),
        ("paused, writes are held", PAUSED, True, "account paused by ann"),
        ("resumed, writes are on", RESUMED, False, None),
        ("resumed while writes were on, then held", RESUMED, True, 'writes = "hold"'),
        ("resumed while writes were held", LIFTS, True, None),
        ("resumed while writes were held, then on", LIFTS, False, None),
    ],
)
def test_a_person_s_word_stands_over_the_settings(what, word, hold, why):
    found = shut(word, hold, NOW + 3600, 0.0)
    assert (found is None) == (why is None), what
    assert found is None or (found.why.startswith(HELD) and why in found.why and NOW + 3600 < found.until <= NOW + 3600 + pace.HELD)


@pytest.mark.parametrize(
    ("after", "begun_", "open_"), [(0, 0, True), (0, 1, False), (1, 1, True), (30, 71, False), (30, 70, True), (60, 9999, True)]
)
def test_after_a_resume_it_begins_slowly(after, begun_, open_):
    found = shut(Word("resumed", NOW, "ann", "", begun=begun_), False, NOW + after, 0.5)
    assert (found is None) is open_
    assert found is None or NOW + after < found.until <= NOW + pace.SLOW


@pytest.mark.parametrize("s", [accepted(), begun()], ids=["pending", "in doubt"])
def test_a15_what_is_held_uses_no_attempt_and_no_patience_and_ends_by_its_time(s):
    at = QUIET if s.attempts else 0.0
    held = life.looked(s, TWO, context(at, shut=Shut("held: paused", NOW + at + 300))).submission
    assert (held.state, held.tries, len(held.attempts), held.next_at) == (s.state, 0, len(s.attempts), NOW + at + 300)
    soon = accepted(not_after=NOW + 60)
    waits = life.looked(soon, TWO, context(shut=Shut("held: paused", NOW + 300))).submission
    assert waits.next_at == NOW + 60
    assert life.looked(waits, TWO, context(60, shut=Shut("held: paused", NOW + 300))).submission.state == "expired"
