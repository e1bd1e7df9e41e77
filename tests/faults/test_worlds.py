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

from tests.faults.mutants import MUTANTS, PARTS
from tests.faults.search import LENGTH, Arena, options_of, tape_of
from tests.faults.world import SCENES, Options
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
upstreams = st.sampled_from([*({"version": v} for v in VERSIONS), {"upstream": "autodesk"}, {"upstream": "autodesk"}])
tapes = st.binary(min_size=LENGTH, max_size=LENGTH)


@pytest.mark.slow
@given(tapes, upstreams)
@settings(worlds, max_examples=160)
def test_conforming(arena: Arena, tape: bytes, upstream: dict[str, str]) -> None:
    ran = arena.run(tape, replace(CONFORMING, **upstream))  # type: ignore[arg-type]
    assert not ran.broken, f"tape {tape.rstrip(bytes(1)).hex()}\n{ran}"


@pytest.mark.slow
@given(tapes, upstreams)
@settings(worlds, max_examples=80)
def test_late(arena: Arena, tape: bytes, upstream: dict[str, str]) -> None:
    ran = arena.run(tape, replace(LATE, **upstream))  # type: ignore[arg-type]
    assert not ran.broken, f"tape {tape.rstrip(bytes(1)).hex()}\n{ran}"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [*MUTANTS, *PARTS], ids=lambda m: m.name)
def test_sound(arena: Arena, mutant) -> None:
    """The code as it is passes the worlds in which its mutants are missed."""
    for number in range(12):
        ran = arena.run(tape_of(1, number), options_of(mutant.options.split()))
        assert not ran.broken, f"world {number}: {mutant.options}\n{ran}"


@pytest.mark.parametrize("upstream", SCENES)
def test_a_world_is_a_value(arena: Arena, upstream: str) -> None:
    """The same tape, the same world, to the last line."""
    options = replace(CONFORMING, upstream=upstream)
    assert arena.run(tape_of(3, 3), options).trace == arena.run(tape_of(3, 3), options).trace
