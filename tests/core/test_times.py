"""Times of the outside world, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1_795_338_000.0, "2026-11-22T09:00:00Z"),
        (1_795_338_000.0, "2026-11-22T10:00:00+01:00"),
        (1_795_338_000.5, "2026-11-22T09:00:00.5Z"),
        (1_795_338_000.123456, "2026-11-22T09:00:00.1234567Z"),
        (1_795_338_000.123456, " 2026-11-22T09:00:00.123456789Z "),
    ],
)
def test_a_time_with_an_offset_is_read(seconds, text):
    assert times.parse(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["", "2026-11-22T09:00:00", "2026-11-22", "yesterday", "1795338000"])
def test_a_time_that_would_mean_another_instant_elsewhere_is_refused(text):
    with pytest.raises(ValueError, match=r"offset|Invalid|invalid"):
        times.parse(text)


@given(st.integers(0, 4_000_000_000_000))
def test_a_written_time_reads_back(millis):
    assert round(times.parse(times.iso(millis / 1000)) * 1000) in {millis, millis - 1}
