"""A few days of it, so that `make watching` cannot rot; and that its judge sees what is missed and what is told twice."""

import pytest

from tests.watching.__main__ import beside, report
from tests.watching.run import Plan, watch
from tests.watching.truth import Truth, Window, judge
from tests.watching.usual import usual
from tests.watching.world import START

COUNTS = {"workiva": 60, "autodesk": 30}


@pytest.mark.parametrize("kind", COUNTS)
def test_nothing_is_missed_and_nothing_told_twice(kind):
    watched = watch(Plan(kind, COUNTS[kind], days=1.5, every=900.0, seed=3))
    assert (watched.wrong, set(watched.answers)) == ([], {200})
    assert {"response.recorded", "step.completed", "step.opened", "task.completed", "task.restarted", "task.changed"} <= set(watched.events)
    assert all(part.told for part in watched.parts)
    assert watched.parts[0].name in report([watched])
    assert len(list(beside(watched.parts[0], watched.end))) == 4


OPEN = ("step.opened", (1,), 1)
ANSWER = ("response.recorded", (1, "jane", "approve", 20_000), None)
SAID = {
    "subject": "T",
    "type": "response.recorded",
    "data": {"step": 1, "response": {"actor": "jane", "action": "approve", "at": "1970-01-01T00:00:20Z"}},
}


@pytest.fixture
def truth():
    """A task that was seen at ten seconds, answered at twenty, and begun anew at thirty."""
    made = Truth(hides=True)
    made.windows["T"] = Window(5.0, fed=True)
    made.becomes("T", "", [OPEN], 5.0, fed=True)
    made.look("T", "", 10.0)
    made.becomes("T", "", [ANSWER], 20.0, fed=True)
    return made


@pytest.mark.parametrize(
    ("looks", "events", "want"),
    [
        ([25.0], [(25.0, SAID)], (1, 0, 0)),
        ([25.0], [], (0, 1, 0)),
        ([25.0], [(25.0, SAID), (40.0, SAID)], (1, 0, 1)),
        ([25.0], [(15.0, SAID)], (0, 1, 1)),
        ([], [], (0, 0, 0)),
    ],
)
def test_the_judge(truth, looks, events, want):
    for at in looks:
        truth.look("T", "", at)
    verdict = judge(truth, events, 100.0)
    assert (len(verdict.told), len(verdict.missed), len(verdict.doubled)) == want


def test_what_came_and_went_is_counted_apart_and_leaves_no_trace(truth):
    """Step 1 is open again, as it was at the last look: who did not see the answer cannot tell."""
    truth.becomes("T", "", [("step.opened", (1,), 2), ("task.restarted", (), 1)], 30.0, fed=True)
    truth.look("T", "", 35.0)
    verdict = judge(truth, [], 100.0)
    assert (verdict.missed, sorted(h.key[1] for h in verdict.between)) == ([], ["response.recorded", "step.opened", "task.restarted"])


def test_what_was_there_for_hours_and_met_no_look_was_missed(truth):
    """Without: a feed that skips a task for ever would have missed nothing."""
    [missed] = judge(truth, [], 10_000.0).missed
    assert missed.key[1] == "response.recorded"


def test_the_usual_way_is_late_by_half_its_interval_and_reads_as_long_as_somebody_cares(truth):
    windows = {"T": Window(START, fed=True, until=START + 1000.0)}
    way = usual(truth.happenings, windows, 100.0, START + 2000.0)
    assert (way.requests, way.between) == (10.0, 0)
    assert 0 <= way.delays[0] < 100
