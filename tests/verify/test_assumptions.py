"""Each numbered assumption: verify says that it holds where it does, and names it, and it alone, where it does not."""

from typing import Any

import pytest

from tests.verify.conftest import Bench
from worker.sandbox.assumptions import ASSUMPTIONS, Assumption, Switches
from worker.sandbox.server import running_sandbox
from worker.verify.run import CannotBegin, prepare

OF_WORKIVA = [row for row in ASSUMPTIONS if row.upstream == "workiva"]

NUMBERS: dict[str, tuple[int, ...]] = {"comment_limit": (0, 1000, 1999), "requests_per_second": (5, 10)}
"""Alternatives of the switches that take any number."""


def alternatives() -> list[Any]:
    """Every other value of every switch."""
    rows = []
    for row in OF_WORKIVA:
        now = getattr(Switches(), row.switch or "", None)
        values = NUMBERS.get(row.switch or "", row.values)
        rows += [pytest.param(row, value, id=f"{row.number} {row.switch}={value}") for value in values if value is not now and value != now]
    return rows


@pytest.mark.parametrize("row", OF_WORKIVA, ids=lambda row: str(row.number))
def test_every_assumption_has_an_alternative(row: Assumption) -> None:
    """Otherwise nothing would show that its check can tell."""
    assert row in [param.values[0] for param in alternatives()]


def test_all_of_them_hold_in_the_sandbox(bench):
    """Two grants, a task made by a process that has a location, and time: everything is tried."""
    assert {n: f.seen for n, f in bench.run(bench.trial()).items() if f.held != "holds"} == {}


@pytest.mark.parametrize(("row", "value"), alternatives())
def test_the_one_that_does_not_is_named(engine, row, value):
    """And no other: a check rests on its own assumption only."""
    with running_sandbox() as sandbox:
        sandbox.assume(**{row.switch: value})
        bench = Bench(engine, sandbox)
        found = bench.run(bench.trial(slow=row.number in {24, 28}))
    assert [n for n, f in found.items() if f.held == "differs"] == [row.number]


@pytest.mark.parametrize(("row", "value"), [p for p in alternatives() if "version" in p.id or p.values[0].number > 30])
def test_from_the_other_version(engine, row, value):
    """What an account of 2022-01-01 sees of an assumption about versions; where nothing can be tried, it says why."""
    with running_sandbox() as sandbox:
        sandbox.assume(**{row.switch: value})
        bench = Bench(engine, sandbox, "2022-01-01")
        if value == "none":
            with pytest.raises(CannotBegin, match=r"by its id \(GET 404, DELETE 404\)"):
                prepare(bench.trial())
            return
        found = bench.run(bench.trial(slow=False))
    assert [n for n, f in found.items() if f.held == "differs"] == [row.number]
