"""Pins: what they hold, when they break, and that no text from outside can do more than be refused (A7)."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.make import NOW, REALM, approve, closes, item, review, snap, step
from worker.core.keys import digest
from worker.core.pins import MOST_SEEN, Pin, PinError, pin_of, read_pin
from worker.core.task import Offer

LOOK = snap(step("jane", "bob", mode="all", by=[approve("bob", -50)]), step("eve"), at=-50)

numbers = st.floats(allow_nan=False, allow_infinity=False)
pins = st.builds(
    Pin,
    st.just(digest([REALM, "T"])[:8]),
    st.integers(1, 50),
    st.text(max_size=12),
    st.none() | numbers,
    st.lists(st.tuples(st.text(max_size=8), st.none() | numbers), max_size=5).map(tuple),
)


exact = st.builds(
    Pin,
    st.just(digest([REALM, "T"])[:8]),
    st.integers(1, 50),
    st.text(max_size=12),
    st.none() | numbers,
    st.lists(st.tuples(st.text(max_size=8), st.none() | numbers), max_size=5).map(tuple),
    st.just(True),
    st.none() | numbers,
    st.none() | numbers,
)


@given(pins | exact)
def test_a_token_reads_back_as_the_pin_it_was_made_of(pin):
    assert read_pin(pin.token(), REALM, "T") == pin


def packed(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


GOOD = [1, digest([REALM, "T"])[:8], 1, "shape", None, []]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "not a pin",
        packed({}),
        packed([]),
        packed(GOOD[:5]),
        packed([*GOOD, 1]),
        packed([2, *GOOD[1:]]),
        packed([*GOOD[:2], 0, *GOOD[3:]]),
        packed([*GOOD[:2], None, *GOOD[3:]]),
        packed([*GOOD[:2], 1e999, *GOOD[3:]]),
        packed([*GOOD[:4], float("nan"), []]),
        packed([*GOOD[:4], float("inf"), []]),
        packed([*GOOD[:4], 10**400, []]),
        packed([*GOOD[:5], [["a"]]]),
        packed([*GOOD[:5], 7]),
        packed([*GOOD, None, None, None]),
        packed([*GOOD, None, float("nan")]),
        packed([*GOOD, "soon", None]),
        base64.urlsafe_b64encode(b"[" * 200_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_pin_is_refused_in_words(text):
    with pytest.raises(PinError, match="pin"):
        read_pin(text, REALM, "T")


@given(st.text())
def test_no_text_does_more_than_be_refused(text):
    with pytest.raises(PinError):
        read_pin(text, REALM, "T")


@pytest.mark.parametrize(("realm", "other"), [(REALM, "U"), ("workiva:elsewhere", "T")])
def test_a7_the_pin_of_another_task_is_refused(realm, other):
    with pytest.raises(PinError, match="another task"):
        read_pin(pin_of(REALM, LOOK, 1).token(), realm, other)


JANE = approve("jane", 5)


@pytest.mark.parametrize(
    ("why", "look"),
    [
        (None, LOOK),
        (None, snap(step("bob", "jane", mode="all", by=[approve("bob", -50)]), step("eve"), at=-50)),
        (None, snap(step("jane", "bob", mode="all", by=[approve("bob", -49.2)]), step("eve"), at=-50)),
        (None, snap(step("jane", "bob", mode="all", by=[approve("bob", -50), JANE]), step("eve"), at=5)),
        ("not the same", snap(step("jane", "bob", by=[approve("bob", -50)]), step("eve"), at=-50)),
        ("not the same", snap(step("jane", "bob", mode="all", by=[approve("bob", -50)]), at=-50)),
        ("not the same", snap(step("jane", mode="all", by=[approve("bob", -50)]), step("eve"), at=-50)),
        ("new round", snap(step("jane", "bob", mode="all"), step("eve"), at=5)),
        ("new round", snap(step("jane", "bob", mode="all", by=[approve("bob", 5)]), step("eve"), at=5)),
        ("new round", snap(step("jane", "bob", mode="all", by=[approve("bob", -50, action="reject")]), step("eve"), at=-50)),
        ("no visible response", replace(LOOK, modified=NOW + 5)),
        ("no visible response", replace(LOOK, modified=None)),
        ("no visible response", snap(step("jane", "bob", mode="all", by=[approve("bob", -50), JANE]), step("eve"), at=50)),
    ],
)
def test_a7_when_a_pin_holds_no_longer(why, look):
    broken = pin_of(REALM, LOOK, 1).broken(look)
    assert broken is None if why is None else why in (broken or "")


def test_a_pin_knew_what_stood_when_it_was_made():
    pin = pin_of(REALM, LOOK, 1)
    assert [pin.knew(n, r) for n, r in ((1, approve("bob", -50.9)), (1, approve("bob", -40)), (2, approve("bob", -50)))] == [
        True,
        False,
        False,
    ]


def crowd(many):
    return snap(step(*(f"u{i}" for i in range(many + 1)), mode="all", by=[approve(f"u{i}", -1000 + i) for i in range(many)]), at=-1)


def test_a_token_stays_short_however_many_have_answered_and_still_tells_a_new_round():
    pin = pin_of(REALM, crowd(900), 1)
    assert (len(pin.seen), len(pin.token()) < 4096) == (MOST_SEEN, True)
    assert pin.broken(crowd(900)) is None
    assert "new round" in (pin.broken(replace(crowd(900), steps=(replace(crowd(900).steps[0], responses=()),))) or "")


# --- exact tasks: the beginnings tell one round from the next -----------------------------------------------------------------------------

REVIEW = item(review(1, "jane", "bob", by=[closes(1, "bob", -50)]), review(2, "eve", state="waiting"))
FIRST, SECOND = REVIEW.steps


@pytest.mark.parametrize(
    ("why", "number", "look"),
    [
        (None, 1, REVIEW),
        (None, 1, item(*REVIEW.steps, at=50)),
        (None, 1, item(review(1, "jane", "bob", by=[closes(1, "bob", -50), closes(1, "jane", 5)]), SECOND)),
        (None, 1, item(review(1, "jane", "bob"), SECOND)),
        (None, 1, replace(REVIEW, steps=(replace(FIRST, started=NOW - 199.9995), SECOND))),
        ("begun anew", 1, replace(REVIEW, steps=(replace(FIRST, started=NOW - 199.9), SECOND))),
        ("begun anew", 1, replace(REVIEW, steps=(replace(FIRST, started=None), SECOND))),
        ("begun anew", 1, item(*REVIEW.steps, begun=-100)),
        ("not the same", 1, item(review(1, "jane", optional=["bob"]), SECOND)),
        ("not the same", 1, item(FIRST)),
        (None, 2, item(review(1, "jane", "bob", state="complete"), review(2, "eve", started=5))),
        ("begun anew", 2, item(review(1, "jane", "bob", state="complete"), review(2, "eve", started=5), begun=5)),
    ],
)
def test_a7_an_exact_pin_of_a_step_holds_for_its_round(why, number, look):
    """What another reviewer does, or an edit of the item, is no surprise; a later beginning is another round."""
    broken = pin_of(REALM, REVIEW, number).broken(look)
    assert broken is None if why is None else why in (broken or "")


@pytest.mark.parametrize(
    ("why", "look"),
    [
        (None, REVIEW),
        ("no visible response", item(*REVIEW.steps, at=50)),
        ("a new round", item(review(1, "jane", "bob"), SECOND)),
        (None, item(review(1, "jane", "bob", by=[closes(1, "bob", -50), closes(1, "jane", 5)]), SECOND, at=5.13)),
    ],
)
def test_a7_a_pin_of_the_whole_item_holds_for_what_responses_explain(why, look):
    broken = pin_of(REALM, REVIEW, 1).broken(look, whole=True)
    assert broken is None if why is None else why in (broken or "")


def test_a_pin_from_before_the_first_review_is_for_that():
    """Its limit: it does not know which the first was, so that it also fits a second one, if it waited that long."""
    pin = pin_of(REALM, replace(item(review(1, "jane", state="waiting"), status="mgr-1"), begun=None), 1)
    assert pin.broken(item(review(1, "jane"))) is None


def test_what_is_offered_to_somebody_is_in_no_pin():
    offered = replace(REVIEW, offer=Offer("s1/jane", "ok", None, "jane"))
    assert pin_of(REALM, offered, 1) == pin_of(REALM, REVIEW, 1)
