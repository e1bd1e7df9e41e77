"""The checks as they run against a live account: the real engine, a real port; only the clock is the sandbox's own."""

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from worker.core.renewal import Answer, Renewed
from worker.engine import Engine
from worker.sandbox.assumptions import ASSUMPTIONS
from worker.sandbox.project import AUTODESK_USER, PROJECT
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.upstreams.auth import Consented, Grant
from worker.upstreams.autodesk import Autodesk
from worker.upstreams.vault import Vault
from worker.upstreams.workiva import Workiva
from worker.verify.asking import Person
from worker.verify.autodesk.trial import Trial as AutodeskTrial
from worker.verify.run import Finding, findings
from worker.verify.table import KNOWN, Trial
from worker.verify.wire import Wire
from worker.verify.workiva.trial import Trial as WorkivaTrial

JANE, BOB = "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY", "V0ZVc2VyHzE"
ANN, JOE = AUTODESK_USER, "joe"
"""Users of Autodesk: Ann manages."""

DAY = 86_400


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


class Bench:
    """A sandbox and runs over it."""

    kind: str
    sandbox: RunningSandbox

    def trial(self, *grants: str, **how: Any) -> Trial:
        """A run as these grants."""
        raise NotImplementedError

    def pass_(self, seconds: float) -> None:
        """Let seconds pass by the sandbox's clock. The request goes before, so that what was sent earlier has come in earlier."""
        urllib.request.urlopen(f"{self.sandbox.url}/_control/stats", timeout=5).close()
        self.sandbox.sandbox.clock.offset += seconds

    def run(self, trial: Trial, each: Callable[[Finding], None] = lambda _: None) -> dict[int, Finding]:
        """All of it, as the command does it."""
        found, tried = {}, KNOWN[self.kind]
        try:
            tried.prepare(trial)
            for finding in findings(trial, [row.number for row in ASSUMPTIONS if row.upstream == self.kind], tried.checks):
                each(finding)
                found[finding.number] = finding
        finally:
            trial.clear()
        return found


class OfWorkiva(Bench):
    """A task to name."""

    kind = "workiva"

    def __init__(self, engine: Engine, sandbox: RunningSandbox, version: str = "2026-01-01") -> None:
        self.sandbox = sandbox
        grants = {"jane": Grant(f"sandbox:{JANE}", "sandbox"), "bob": Grant(f"sandbox:{BOB}", "sandbox")}
        self.wire = Wire(engine, Workiva(sandbox.workiva_url, version, grants), 10.0, self.pass_)
        location = {"resource": "a resource", "segment": None}
        self.named = sandbox.task(steps=[{"participants": [JANE]}], location=location, process_made=True)["id"]

    def trial(self, *grants: str, **how: Any) -> WorkivaTrial:
        """A run as these grants."""
        users = {"jane": JANE, "bob": BOB}
        people = tuple(Person(name, users[name]) for name in grants or ("jane", "bob"))
        return WorkivaTrial(self.wire, people, self.named, **{"process_made": True, "slow": True, **how})

    def run(self, trial: Trial, each: Callable[[Finding], None] = lambda _: None) -> dict[int, Finding]:
        found = super().run(trial, each)
        assert trial.clear() == 0
        return found


ASIDE = {"user": JOE, "required": False}


class OfAutodesk(Bench):
    """Items as docs/cli.md asks for them: one for each kind of step that a check needs, and a draft to name."""

    kind = "autodesk"

    def __init__(self, engine: Engine, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.held: dict[str, str] = {}
        self.vault = Vault(sandbox.sandbox.clock)
        grants = {name: Consented(f"sandbox:{user}", "sandbox", user, self.vault) for name, user in (("ann", ANN), ("joe", JOE))}
        self.wire = Wire(engine, Autodesk(sandbox.autodesk_url, PROJECT, grants), 10.0, self.pass_, self.ready)
        sandbox.control("POST", "/autodesk/responses", {"value": "Fine", "isActive": False})
        sandbox.sandbox.clock.offset += DAY - sandbox.sandbox.clock() % DAY + 2 * 3600  # two o'clock, UTC
        self.named = self.item([[ANN]], state="draft")
        sandbox.sandbox.clock.offset += 20 * 3600
        self.usable = (self.item([[ANN, JOE], [ANN]]), self.item([[ANN, ASIDE], [ANN]], state="mgr-1"), self.item([[ASIDE, ASIDE], [JOE]]))

    def item(self, steps: Any, **spec: Any) -> str:
        return str(self.sandbox.item(steps=steps, **spec)["id"])

    def ready(self, grant: str, _requests: int) -> None:
        """What `flows.tokens.ready` does with a ledger: a token is there, and a good one."""
        renewal = self.wire.connector.renewal(grant)
        assert renewal is not None
        name = renewal.name
        if not self.vault.fresh(name):
            client = self.wire.connector.grants[grant].client_id
            given = self.sandbox.control("POST", "/autodesk/grants", {"client_id": client})
            self.held[grant] = given["refresh_token"]
            self.vault.keep(name, self.vault_generation(name), given["access_token"], given["expires_in"], given["expires_in"])

    def vault_generation(self, name: str) -> int:
        refused = self.vault.refused(name)
        return 0 if refused is None else refused + 1

    def spend(self, grant: str, use: Callable[[str], Answer]) -> bool:
        """What `flows.tokens.spend` does with a ledger."""
        answer = use(self.held[grant])
        if isinstance(answer, Renewed):
            self.held[grant] = answer.refresh
        return True

    def trial(self, *grants: str, **how: Any) -> AutodeskTrial:
        """A run as these grants."""
        users = {"ann": ANN, "joe": JOE}
        people = tuple(Person(name, users[name]) for name in grants or ("ann", "joe"))
        all_ = {"usable": self.usable, "spend": self.spend, "risk": True, "slow": True, "burst": 0}
        return AutodeskTrial(self.wire, people, self.named, **{**all_, **how})


BENCHES: dict[str, Callable[[Engine, RunningSandbox], Bench]] = {"autodesk": OfAutodesk, "workiva": OfWorkiva}


@pytest.fixture(params=["2026-01-01", "2022-01-01"])
def bench(engine: Engine, request: pytest.FixtureRequest) -> Iterator[OfWorkiva]:
    with running_sandbox() as sandbox:
        yield OfWorkiva(engine, sandbox, request.param)


@pytest.fixture
def site(engine: Engine) -> Iterator[OfAutodesk]:
    with running_sandbox() as sandbox:
        yield OfAutodesk(engine, sandbox)
