import shutil
from dataclasses import dataclass, field

import pytest

from tests.catalogue.judge import hold
from tests.flows.house import HOUSES
from tests.ledger.make import Clock
from worker.core.delivery import Left, Policy, Result
from worker.engine import Engine
from worker.flows import Runtime
from worker.ledger import Ledger
from worker.sandbox.control import Sandbox
from worker.sandbox.server import running_sandbox
from worker.upstreams.workiva import VERSIONS


@dataclass
class Way:
    """A way out that takes everything, or says what `say` says. `batches`: the event types of each round."""

    name: str = "erp"
    room: int = 1000
    deadline: float = 10.0
    policy: Policy = field(default_factory=Policy)
    batches: list = field(default_factory=list)
    say: dict = field(default_factory=dict)

    def publish(self, batch):
        self.batches.append([d.body["type"] for d in batch])
        return {d.event: self.say.get(d.body["type"], Result(Left.DELIVERED)) for d in batch}

    def close(self):
        pass


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("flows") / "migrated.db"
    made = Ledger(f"sqlite:///{path}")
    made.migrate()
    made.close()
    return path


@pytest.fixture
def version():
    """The newest of Workiva's. A module, a class or a test that is to run on each says `@pytest.mark.parametrize("version", VERSIONS)`."""
    return next(iter(VERSIONS))


@pytest.fixture
def upstream(version):
    """What the account speaks. What is about the worker says `@pytest.mark.parametrize("upstream", UPSTREAMS)`."""
    return version


@pytest.fixture
def house(tmp_path, migrated, upstream):
    shutil.copy(migrated, tmp_path / "ledger.db")
    clock, way, rung = Clock(), Way(), []
    with running_sandbox(sandbox=Sandbox(clock=clock)) as sandbox:
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", sinks=("erp",), clock=clock)
        rt = Runtime(
            ledger=ledger,
            engine=Engine(),
            accounts={},
            sinks={"erp": way},
            ring=lambda *ring: rung.append(ring),
            dice=lambda: 0.5,
            turn=60.0,  # of real time: on a slow machine, too, a turn ends because there is nothing left to do
        )
        yield HOUSES[upstream](rt, sandbox, clock, way, rung, **({"version": upstream} if upstream in VERSIONS else {}))
        rt.engine.close()
        hold(ledger)
        ledger.close()
