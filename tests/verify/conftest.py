"""The checks as they run against a live account: the real engine, a real port; only the clock is the sandbox's own."""

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from worker.engine import Engine
from worker.sandbox.assumptions import ASSUMPTIONS
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import Workiva
from worker.verify.run import Finding, findings, prepare
from worker.verify.trial import Person, Trial
from worker.verify.wire import Wire

JANE, BOB = "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY", "V0ZVc2VyHzE"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


class Bench:
    """A sandbox, a task to name, and a run over it."""

    def __init__(self, engine: Engine, sandbox: RunningSandbox, version: str = "2026-01-01") -> None:
        self.sandbox = sandbox
        grants = {"jane": Grant(f"sandbox:{JANE}", "sandbox"), "bob": Grant(f"sandbox:{BOB}", "sandbox")}
        self.wire = Wire(engine, Workiva(sandbox.workiva_url, version, grants), 10.0, self.pass_)
        location = {"resource": "a resource", "segment": None}
        self.named = sandbox.task(steps=[{"participants": [JANE]}], location=location, process_made=True)["id"]

    def pass_(self, seconds: float) -> None:
        """Let seconds pass by the sandbox's clock. The request goes before, so that what was sent earlier has come in earlier."""
        urllib.request.urlopen(f"{self.sandbox.url}/_control/stats", timeout=5).close()
        self.sandbox.sandbox.clock.offset += seconds

    def trial(self, *grants: str, **how: Any) -> Trial:
        """A run as these grants."""
        users = {"jane": JANE, "bob": BOB}
        people = tuple(Person(name, users[name]) for name in grants or ("jane", "bob"))
        return Trial(self.wire, people, self.named, **{"process_made": True, "slow": True, **how})

    def run(self, trial: Trial, each: Callable[[Finding], None] = lambda _: None) -> dict[int, Finding]:
        """All of it, as the command does it."""
        found = {}
        try:
            prepare(trial)
            for finding in findings(trial, [row.number for row in ASSUMPTIONS if row.upstream == "workiva"]):
                each(finding)
                found[finding.number] = finding
        finally:
            assert trial.clear() == 0
        return found


@pytest.fixture(params=["2026-01-01", "2022-01-01"])
def bench(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Bench]:
    with running_sandbox() as sandbox:
        yield Bench(engine, sandbox, request.param)
