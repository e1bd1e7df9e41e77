"""Whatever goes wrong, no submission takes effect twice and every wrong effect is told: thousands of made-up worlds by hand
(`python -m tests.faults.search`), some hundreds here, always the same ones.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.mutants import MUTANTS
from tests.faults.search import LENGTH, Arena, options_of, tape_of
from tests.faults.world import Options
from worker.upstreams.workiva import VERSIONS

CONFORMING = Options()
LATE = Options(conforming=False, late=0.25)
"""Effects may come hours late: then they may be double or misplaced, but never untold."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        arena = Arena(folder)
        yield arena
        arena.close()


worlds = settings(
    derandomize=True, database=None, deadline=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck), print_blob=False
)
versions = st.sampled_from(tuple(VERSIONS))
tapes = st.binary(min_size=LENGTH, max_size=LENGTH)


@pytest.mark.slow
@given(tapes, versions)
@settings(worlds, max_examples=120)
def test_conforming(arena: Arena, tape: bytes, version: str) -> None:
    ran = arena.run(tape, replace(CONFORMING, version=version))
    assert not ran.broken, f"tape {tape.rstrip(bytes(1)).hex()}\n{ran}"


@pytest.mark.slow
@given(tapes, versions)
@settings(worlds, max_examples=60)
def test_late(arena: Arena, tape: bytes, version: str) -> None:
    ran = arena.run(tape, replace(LATE, version=version))
    assert not ran.broken, f"tape {tape.rstrip(bytes(1)).hex()}\n{ran}"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_sound(arena: Arena, mutant) -> None:
    """The code as it is passes the worlds in which its mutants are missed."""
    for number in range(12):
        ran = arena.run(tape_of(1, number), options_of(mutant.options.split()))
        assert not ran.broken, f"world {number}: {mutant.options}\n{ran}"


def test_a_world_is_a_value(arena: Arena) -> None:
    """The same tape, the same world, to the last line."""
    assert arena.run(tape_of(3, 3), CONFORMING).trace == arena.run(tape_of(3, 3), CONFORMING).trace
