"""Names that are derived from content: marks, keys, digests (A10)."""

import math

import pytest

from tests.core.make import accepted
from worker.core import keys


def test_a_mark_is_derived_from_account_and_key_and_stays_as_it_is():
    """A retry after years, by another release, looks for the same mark."""
    assert keys.mark("finance", "po-1") == accepted().mark == "aw:dulsqf"
    assert len({keys.mark(a, k) for a in ("finance", "tower") for k in ("po-1", "po-2")}) == 4


@pytest.mark.parametrize(
    ("sent", "comment", "mark"),
    [("ok [aw:abc]", "ok", "aw:abc"), ("[aw:abc]", None, "aw:abc"), ("[aw:abc]", "", "aw:abc"), ("ok", "ok", None), (None, None, None)],
)
def test_a_mark_stands_behind_the_words(sent, comment, mark):
    assert keys.marked(comment, mark) == sent


def test_the_same_decision_without_a_key_gets_the_same_key():
    assert (keys.derived_key("a", 1) == keys.derived_key("a", 1), keys.derived_key("a", 1) == keys.derived_key("a1")) == (True, False)


def test_a_digest_is_of_the_content_and_refuses_what_json_does_not_know():
    assert keys.digest({"b": 1, "a": "ä"}) == keys.digest({"a": "ä", "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        keys.digest(math.nan)
