import shutil
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from tests.ledger.make import Clock
from worker.core.command import Command
from worker.core.delivery import Left, Result
from worker.core.submission import Rules
from worker.engine import Engine
from worker.flows import Account, Runtime
from worker.flows.accept import accept
from worker.flows.poll import poll
from worker.flows.submit import submit
from worker.ledger import Ledger
from worker.sandbox.control import Sandbox
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import ACTIONS, VERSIONS, Workiva

RULES = Rules(deadline=25.0, lease=30.0, cutoff=29.0, slack=20.0)
QUIET = 30.0 + 29.0 + 20.0


@dataclass
class Way:
    """A way out that takes everything, or says what `say` says. `batches`: the event types of each round."""

    name: str = "erp"
    batches: list = field(default_factory=list)
    say: dict = field(default_factory=dict)

    def publish(self, batch):
        self.batches.append([d.body["type"] for d in batch])
        return {d.event: self.say.get(d.body["type"], Result(Left.DELIVERED)) for d in batch}

    def close(self):
        pass


@dataclass
class House:
    """The flows on a real ledger and a real engine, over a sandbox. The upstream's clock and the ledger's are one, and stand."""

    rt: Runtime
    sandbox: RunningSandbox
    clock: Clock
    way: Way
    rung: list

    @property
    def ledger(self):
        return self.rt.ledger

    def task(self, *steps, **spec):
        """A task with a step for each of *steps*, a user's name; its id."""
        return self.sandbox.task(steps=[{"participants": [user]} for user in steps], **spec)["id"]

    def command(self, task, **more):
        values = {"account": "finance", "grant": "jane", "action": "approve", "issued_at": self.clock(), "key": f"k-{task}"}
        return Command(**{**values, "task": task, **more})

    def accept(self, *commands):
        return accept(self.rt, commands)

    def submit(self, task=None, **more):
        """Accept a command if there is one, then take a turn; what became of it."""
        if task:
            [out] = self.accept(self.command(task, **{"step": 1, **more}))
            submit(self.rt, "finance")
            return self.found(out.id)
        submit(self.rt, "finance")
        return None

    def found(self, id_):
        [found] = self.ledger.queries.find(id_)
        return found

    def poll(self):
        return poll(self.rt, "finance")

    def rules(self, **more):
        account = self.rt.accounts["finance"]
        self.rt.accounts = {"finance": replace(account, rules=replace(account.rules, **more))}

    def told(self, prefix=""):
        return [e["type"] for _, e in self.ledger.queries.events(limit=100_000) if e["type"].startswith(prefix)]

    def effects(self, task):
        return [(e["action"], e["user"], e["step"]) for e in self.sandbox.journal(task)]

    def speak(self, version):
        """The account speaks another API version from now on, as after a restart with other settings."""
        account = self.rt.accounts["finance"]
        assert isinstance(account.connector, Workiva)
        connector = replace(account.connector, api_version=version)
        self.rt.accounts = {"finance": replace(account, connector=connector)}

    def requests(self):
        """How often each operation was asked for so far."""
        stats = self.sandbox.control("GET", "/stats")["requests"]
        return Counter({name.removeprefix("workiva."): n for name, n in stats.items() if not name.endswith("token")})


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("flows") / "migrated.db"
    made = Ledger(f"sqlite:///{path}")
    made.migrate()
    made.close()
    return path


@pytest.fixture
def version():
    """The newest. A module, a class or a test that is to run on each says `@pytest.mark.parametrize("version", VERSIONS)`."""
    return next(iter(VERSIONS))


@pytest.fixture
def house(tmp_path, migrated, version):
    shutil.copy(migrated, tmp_path / "ledger.db")
    clock, way, rung = Clock(), Way(), []
    with running_sandbox(sandbox=Sandbox(clock=clock)) as sandbox:
        grants = {name: Grant(f"sandbox:{name}", "sandbox") for name in ("jane", "bob")}
        account = Account(
            name="finance",
            kind="workiva",
            connector=Workiva(sandbox.workiva_url, version, grants),
            rules=RULES,
            grants={name: name for name in grants},
            expires_after=7 * 86_400.0,
            actions=ACTIONS,
        )
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", sinks=("erp",), clock=clock)
        rt = Runtime(
            ledger=ledger,
            engine=Engine(),
            accounts={"finance": account},
            sinks={"erp": way},
            ring=lambda *ring: rung.append(ring),
            dice=lambda: 0.5,
        )
        yield House(rt, sandbox, clock, way, rung)
        rt.engine.close()
        ledger.close()
