"""The chain of evidence (A18)."""

from dataclasses import replace

import pytest

from tests.core.make import NOW
from worker.core import evidence


def chain():
    links: list[evidence.Link] = []
    for n, kind in enumerate(("accepted", "attempt", "answer"), 1):
        links.append(evidence.link(links[-1].digest if links else "", n, NOW + n, kind, {"n": n}, {"comment": "ok"}, f"salt{n}"))
    return links


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        (None, lambda c: c),
        (None, lambda c: [replace(x, private=None, salt=None) for x in c]),
        (None, lambda c: c[:2]),
        ("missing", lambda c: [c[0], c[2]]),
        ("missing", lambda c: c[1:]),
        ("private part", lambda c: [replace(c[0], private={"comment": "never"}), *c[1:]]),
        ("private part", lambda c: [replace(c[0], private={"comment": "never"}, salt=None), *c[1:]]),
        ("changed", lambda c: [replace(c[0], public={"n": 7}), *c[1:]]),
        ("changed", lambda c: [c[0], replace(c[1], kind="answer"), c[2]]),
        ("changed", lambda c: [c[0], replace(c[1], at=NOW), c[2]]),
        ("changed", lambda c: [replace(c[0], digest=c[1].digest), *c[1:]]),
    ],
)
def test_a18_a_chain_shows_what_was_changed_and_survives_what_was_forgotten(fault, change):
    """A18. Without the salt in the check, whoever empties it may write any comment beside the seal."""
    found = evidence.verify(change(chain()))
    assert found is None if fault is None else fault in (found or "")
