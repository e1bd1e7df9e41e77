"""The flows on a real ledger and a real engine, over a sandbox: one house for each upstream, whose words are the same."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ledger.make import Clock
from worker.core.command import Command
from worker.core.submission import AFTERLOOK, Rules
from worker.flows import Account, Runtime
from worker.flows.accept import accept
from worker.flows.poll import poll
from worker.flows.submit import submit
from worker.sandbox.project import PROJECT
from worker.sandbox.server import RunningSandbox
from worker.upstreams.auth import Grant, ServiceAccount
from worker.upstreams.autodesk import Autodesk
from worker.upstreams.workiva import VERSIONS, Workiva

UPSTREAMS = (*VERSIONS, "autodesk")
"""What an account may speak: `@pytest.mark.parametrize("upstream", UPSTREAMS)` over what is about the worker and not about one API."""

RULES = Rules(deadline=25.0, lease=30.0, cutoff=29.0, slack=20.0)
QUIET = 30.0 + 29.0 + 20.0
PEOPLE = ("jane", "bob")


@dataclass
class House:
    """Of Workiva, in *version*. The upstream's clock and the ledger's are one, and stand."""

    rt: Runtime
    sandbox: RunningSandbox
    clock: Clock
    way: Any
    rung: list
    version: str = next(iter(VERSIONS))

    def __post_init__(self):
        account = Account("finance", self.kind, self.connector(), RULES, {n: n for n in PEOPLE}, 7 * 86_400.0, self.connector().actions)
        self.rt.accounts = {"finance": account}

    kind = "workiva"
    reads = 1
    """Requests of one look."""
    whole: ClassVar = {"action": "restart"}
    """A decision about no step."""

    def people(self, task):
        """Who is asked, step by step, as a person is told."""
        return [f"{', '.join(step['participants'])} (one)" for step in self.sandbox.truth(task)["steps"]]

    def connector(self):
        return Workiva(self.sandbox.workiva_url, self.version, {name: Grant(f"sandbox:{name}", "sandbox") for name in PEOPLE})

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

    def progress(self):
        """What was told of responses and steps, in order."""
        return [*filter(lambda type_: type_.startswith(("response.", "step.")), self.told())]

    def effects(self, task):
        return [(e["action"].lower(), e["user"], e["step"]) for e in self.sandbox.journal(task)]

    def answers(self, task, user):
        """A person answers the active step by hand."""
        self.sandbox.person(task, user, "APPROVE")

    def begins_again(self, task):
        """A person begins a new round."""
        self.sandbox.person(task, None, "RESTART")

    def edits(self, task):
        """A person changes the title."""
        patch = [{"op": "replace", "path": "/title", "value": "Other"}]
        self.sandbox.control("POST", "/person", {"task": task, "patch": patch})

    def vanishes(self, task):
        """It is there no longer."""
        self.sandbox.do(lambda: self.sandbox.sandbox.workspace.remove(task, "jane", None))

    def sees_it_through(self):
        """An answer shows the whole task: there is nothing more to see."""

    @property
    def looks(self):
        """How often a task was looked at whole."""
        return self.requests()["read"] // self.reads

    @property
    def sends(self):
        """How often a decision was sent."""
        return self.requests()["act"]

    def speak(self, version):
        """The account speaks another API version from now on, as after a restart with other settings."""
        account = self.rt.accounts["finance"]
        assert isinstance(account.connector, Workiva)
        connector = replace(account.connector, api_version=version)
        self.rt.accounts = {"finance": replace(account, connector=connector)}

    def requests(self):
        """How often each operation was asked for so far."""
        stats = self.sandbox.control("GET", "/stats")["requests"]
        return Counter({name.removeprefix(f"{self.kind}."): n for name, n in stats.items() if not name.endswith("token")})


@cache
def _key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@dataclass
class AutodeskHouse(House):
    """Of Autodesk. A step of a user is one with a part of theirs; the project has one response of each meaning."""

    kind = "autodesk"
    reads = 2
    whole: ClassVar = {"action": "transition", "state": "sbc-2"}

    def __post_init__(self):
        House.__post_init__(self)
        public = _key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for name in PEOPLE:
            self.sandbox.control("POST", "/autodesk/accounts", {"id": name, "client_id": f"app-{name}", "keys": {"k": public}})
            self.sandbox.control("POST", "/clients", {"client_id": f"app-{name}", "client_secret": "secret", "user": name})
        for reply in list(self.sandbox.sandbox.project.replies.values()):
            kept = reply.value in {"Approved", "Rejected"}
            self.sandbox.control("POST", "/autodesk/responses", {"id": reply.id, "isActive": kept})

    def connector(self):
        grants = {name: ServiceAccount(f"app-{name}", "secret", name, "k", _key(), self.clock) for name in PEOPLE}
        return Autodesk(self.sandbox.autodesk_url, PROJECT, grants)

    def task(self, *steps, **spec):
        return self.sandbox.item(steps=[[user] for user in steps], **spec)["id"]

    def people(self, task):
        refs = [[(f"{task}/{s['id']}/{t['id']}", t["assignedTo"]) for t in s["tasks"]] for s in self.sandbox.truth(task)["steps"]]
        return [f"{', '.join(f'{user} {ref}' for ref, user in parts)} (parts)" for parts in refs]

    def effects(self, task):
        replies = self.sandbox.sandbox.project.replies
        done = [e for e in self.sandbox.journal(task) if e["action"] == "close"]
        return [("approve" if replies[e["response"]].approval else "reject", e["user"], e["step"]) for e in done]

    def answers(self, task, user):
        self.sandbox.person(task, user, "close")

    def begins_again(self, task):
        self.sandbox.person(task, None, "mgr-1")
        self.sandbox.person(task, None, "rev")

    def edits(self, task):
        self.sandbox.control("POST", "/person", {"task": task, "patch": {"title": "Other"}})

    def vanishes(self, task):
        self.sandbox.do(lambda: self.sandbox.sandbox.project.items.pop(task))

    def sees_it_through(self):
        """An answer shows its part alone: what came of it is seen a moment later."""
        self.clock.pass_(AFTERLOOK)
        self.submit()


HOUSES = {**dict.fromkeys(VERSIONS, House), "autodesk": AutodeskHouse}
"""What an account speaks -> the house."""
