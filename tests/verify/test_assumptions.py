"""Each numbered assumption: verify says that it holds where it does, and names it, and it alone, where it does not."""

from typing import Any

import pytest

from tests.verify.conftest import BENCHES, OfWorkiva
from worker.sandbox.assumptions import ASSUMPTIONS, Assumption, Switches
from worker.sandbox.server import running_sandbox
from worker.verify.run import CannotBegin
from worker.verify.table import KNOWN
from worker.verify.workiva.begin import prepare

NUMBERS: dict[str, tuple[int, ...]] = {
    "comment_limit": (0, 1000, 1999),
    "requests_per_second": (5, 10),
    "system_delay_ms": (0, 2000),
    "requests_per_minute": (0, 50),
}
"""Alternatives of the switches that take any number."""

SLOW = {24, 28, 67}
"""Those that take time or ten megabytes: tried where they are what is looked for."""


def alternatives() -> list[Any]:
    """Every other value of every switch."""
    rows = []
    for row in ASSUMPTIONS:
        now = getattr(Switches(), row.switch or "", None)
        values = NUMBERS.get(row.switch or "", row.values)
        rows += [pytest.param(row, value, id=f"{row.number} {row.switch}={value}") for value in values if value is not now and value != now]
    return rows


@pytest.mark.parametrize("row", ASSUMPTIONS, ids=lambda row: str(row.number))
def test_every_assumption_has_an_alternative_and_a_check(row: Assumption) -> None:
    """Otherwise nothing would show that its check can tell."""
    assert row in [param.values[0] for param in alternatives()]
    assert row.number in KNOWN[row.upstream].checks


def test_every_check_has_an_assumption():
    """And each upstream that is spoken to is tried."""
    assert {kind: set(tried.checks) for kind, tried in KNOWN.items()} == {
        kind: {row.number for row in ASSUMPTIONS if row.upstream == kind} for kind in BENCHES
    }


def test_all_of_them_hold_in_the_sandbox(bench):
    """Two grants, a task made by a process that has a location, and time: everything is tried."""
    assert {n: f.seen for n, f in bench.run(bench.trial()).items() if f.held != "holds"} == {}


def test_all_of_them_hold_in_the_sandbox_of_autodesk(site):
    """A manager and a reviewer, an item for each kind of step, a draft, and whatever was asked for besides: everything is tried."""
    assert {n: f.seen for n, f in site.run(site.trial(burst=660)).items() if f.held != "holds"} == {}


@pytest.mark.parametrize(("row", "value"), alternatives())
def test_the_one_that_does_not_is_named(engine, row, value):
    """And no other: a check rests on its own assumption only."""
    with running_sandbox() as sandbox:
        sandbox.assume(**{row.switch: value})
        bench = BENCHES[row.upstream](engine, sandbox)
        how = {"burst": 660} if row.number == 63 and value == 0 else {}
        found = bench.run(bench.trial(slow=row.number in SLOW, **how))
    assert [n for n, f in found.items() if f.held == "differs"] == [row.number]


@pytest.mark.parametrize(
    ("row", "value"),
    [p for p in alternatives() if p.values[0].upstream == "workiva" and ("version" in p.id or p.values[0].number > 30)],
)
def test_from_the_other_version(engine, row, value):
    """What an account of 2022-01-01 sees of an assumption about versions; where nothing can be tried, it says why."""
    with running_sandbox() as sandbox:
        sandbox.assume(**{row.switch: value})
        bench = OfWorkiva(engine, sandbox, "2022-01-01")
        if value == "none":
            with pytest.raises(CannotBegin, match=r"by its id \(GET 404, DELETE 404\)"):
                prepare(bench.trial())
            return
        found = bench.run(bench.trial(slow=False))
    assert [n for n, f in found.items() if f.held == "differs"] == [row.number]
