"""The question a request body asks in the moment it leaves (A11)."""

import math

import pytest

from worker.core.gate import may_leave


@pytest.mark.parametrize(("open_", "now"), [(True, 9.9), (True, 10.0), (False, 10.1), (False, math.nan)])
def test_a11_the_gate_is_open_until_its_last_instant_and_shut_where_no_clock_can_be_read(open_, now):
    assert may_leave(now, 10.0) is open_
