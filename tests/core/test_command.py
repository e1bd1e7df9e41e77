"""Commands: what a key stands for (A16)."""

import pytest

from tests.core.make import NOW, command


@pytest.mark.parametrize(
    ("same", "change"),
    [
        (True, {"issued_at": NOW + 5}),
        (True, {"key": "other"}),
        (False, {"account": "tower"}),
        (False, {"grant": "bob"}),
        (False, {"task": "U"}),
        (False, {"action": "reject"}),
        (False, {"pin": "x"}),
        (False, {"step": 1}),
        (False, {"response": "ok"}),
        (False, {"comment": "now"}),
        (False, {"not_before": NOW}),
        (False, {"not_after": NOW}),
        (False, {"wait_for_turn": True}),
        (False, {"requested_by": "erp"}),
        (False, {"labels": {"a": "b"}}),
        (False, {"response": "Approved as noted"}),
        (False, {"state": "sbc-2"}),
        (False, {"fields": {"stepDueDate": "2026-12-01"}}),
    ],
)
def test_a16_a_key_stands_for_what_is_done_and_not_for_when_it_was_asked(same, change):
    """A16. Without: a repeat with another decision under the same key is answered with the first one's state."""
    assert (command(**change).digest() == command().digest()) is same


def test_every_field_of_a_command_is_in_its_digest_or_left_out_on_purpose():
    assert set(command().__slots__) - {"key", "issued_at"} == {
        *("account", "grant", "task", "action", "pin", "step", "response", "state", "fields", "comment"),
        *("not_before", "not_after", "wait_for_turn", "requested_by", "labels"),
    }
