"""The judge of the watched run: what is missing, told twice or out of order is seen."""

import pytest

from tests.faults.watched import RESPONDED, Watched, faulty

STEP = [*RESPONDED, "step.opened"]


def watched(*, hasty):
    return Watched("T", "workiva", hasty, [], told=list(STEP))


@pytest.mark.parametrize(
    ("hasty", "came", "right"),
    [
        (False, STEP, True),
        (False, STEP[:-1], False),
        (False, [*STEP, "step.completed"], False),
        (False, [*reversed(STEP)], False),
        (True, STEP[:-1], True),
        (True, STEP[1:], False),
        (True, [*STEP, "step.completed"], False),
        (True, [*STEP, "step.opened"], False),
    ],
)
def test_what_is_wrong_with_what_came(hasty, came, right):
    assert (watched(hasty=hasty).wrong(came) == "") == right


@pytest.mark.parametrize(("numbers", "right"), [((1, 2, 3), True), ((2, 1, 3), False)])
def test_a_message_that_comes_twice_is_no_double_and_an_order_that_is_none_is_seen(numbers, right):
    events = [{"id": t, "type": t, "subject": "T", "sequence": str(n)} for t, n in zip(STEP, numbers, strict=True)]
    assert (faulty([watched(hasty=False)], [*events, events[0]]) == {}) == right
