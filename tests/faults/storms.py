"""What `make faults` draws from its seed, for each upstream: tasks, faults, people, and the accounts that are to come through it."""

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.system.house import CUTOFF, SLACK
from worker.core.renewal import Renewed
from worker.flows import Runtime
from worker.flows.tokens import store
from worker.sandbox.project import AUTODESK_USER, PROJECT

STALE = 2.5
"""Seconds that a read lags behind at most: less than slack, which is what it is for."""

Control = Callable[..., Any]
"""The control API of the upstream's process: method, path, body."""


@dataclass
class Plan:
    """One submission and what is to happen to its task. `id`: of the upstream's task; `ref`: what the command names."""

    key: str
    account: str
    grant: str
    exposed: bool
    step: int
    task: dict[str, Any]
    decision: Mapping[str, Any]
    faults: list[dict[str, Any]] = field(default_factory=list)
    first: dict[str, Any] | None = None
    id: str = ""
    ref: str = ""

    def command(self, issued_at: float) -> dict[str, Any]:
        """What is published."""
        at = datetime.fromtimestamp(issued_at, UTC).isoformat()
        about = {"key": self.key, "account": self.account, "as": self.grant, "task": self.ref, **self.decision}
        return {**about, "comment": self.key, "issued_at": at, "not_after": datetime.fromtimestamp(issued_at + 864_000, UTC).isoformat()}


class Storm(Protocol):
    """One upstream under fire."""

    @property
    def traced(self) -> bool:
        """Whether a new round always shows, if anything of it is read."""

    @property
    def replaces(self) -> bool:
        """Whether a second effect takes the place of the first, so that only one can be read."""

    @property
    def keys(self) -> Sequence[str]:
        """What stored tokens are sealed with."""

    def plan(self, n: int, dice: random.Random, when_exposed: str, *, late: bool) -> Plan:
        """Draw the submission of that number."""

    def settings(self, when_exposed: str, url: str, folder: Path) -> dict[str, str]:
        """The accounts, as environment."""

    def prepare(self, world: Control, rt: Runtime) -> None:
        """Before anything else: who there is, and what they have consented to."""

    def make(self, world: Control, plan: Plan) -> None:
        """Make the task of *plan*, and name it there."""

    def tend(self, world: Control, rt: Runtime) -> None:
        """What an operator does now and then."""

    def rounds(self, world: Control) -> dict[str, int]:
        """The round that each task is in."""


ACT = (
    {"what": "reset", "when": "before"},
    {"what": "reset", "when": "after"},
    {"what": "close", "when": "after"},
    {"what": "status", "when": "before", "status": 503},
    {"what": "status", "when": "before", "status": 500},
    {"what": "status", "when": "after", "status": 502},
    {"what": "status", "when": "after", "status": 500},
    {"what": "slow", "when": "after", "seconds": 3.0},
    {"what": "slow", "when": "before", "seconds": 3.0},
    {"what": "stall", "when": "after", "seconds": 3.0},
    {"what": "stall", "when": "before", "seconds": 3.0},
    {"what": "throttle", "retry_after": 1},
    {"what": "expire"},
    {"what": "half_body"},
    {"what": "half_head"},
    {"what": "garbage"},
    {"what": "malformed"},
    {"what": "late", "seconds": 1.0},
    {"what": "late", "seconds": 4.0},
    {"what": "late", "seconds": 2.5, "status": 504},
)
READ = (
    {"what": "reset", "when": "before"},
    {"what": "status", "when": "before", "status": 503},
    {"what": "stall", "when": "before", "seconds": 3.0},
    {"what": "throttle", "retry_after": 1},
    {"what": "expire"},
    {"what": "half_body"},
    {"what": "malformed"},
    {"what": "stale", "seconds": STALE / 2},
    {"what": "stale", "seconds": STALE},
)


def drawn(storm: Storm, count: int, seed: int, when_exposed: str, *, late: bool) -> list[Plan]:
    """The plans: the same for the same seed. Half of them for each rule, where both are asked for."""
    dice = random.Random(seed)
    rules = ("once", "resend") if when_exposed == "both" else (when_exposed, when_exposed)
    return [storm.plan(n, dice, rules[n // 2 % 2], late=late) for n in range(count)]


def _stormy(plan: Plan, dice: random.Random, people: Sequence[Any], first: Mapping[str, Any], *, late: bool) -> Plan:
    """What goes wrong with it, and what *people* do meanwhile, or *first*, while the command is on its way."""
    draw = dice.random()
    if late and draw < 0.5:
        plan.faults.append({"route": "act", "what": "late", "seconds": round(dice.uniform(CUTOFF + SLACK + 2, CUTOFF + SLACK + 7), 1)})
    elif draw < 0.4:
        plan.faults += [{"route": "act", **dice.choice(ACT)} for _ in range(1 if dice.random() < 0.75 else 2)]
    if dice.random() < 0.2:
        plan.faults += [{"route": "read", "after": dice.choice((0, 0, 1)), **dice.choice(READ)}]
    if (draw := dice.random()) < 0.06:
        plan.first = dict(first)
    elif draw < 0.18:
        route = dice.choice(("read", "read", "act"))
        act = {"what": "person", "when": dice.choice(("before", "after")), "people": dice.choice(people)}
        plan.faults.append({"route": route, "after": dice.choice((0, 0, 1)), **act})
    return plan


CLEAN = 10
"""So many at the beginning go well: a clean answer proves a grant (A14)."""


def _account(name: str, values: Mapping[str, str]) -> dict[str, str]:
    times = {"REQUEST_DEADLINE": "2s", "LEASE": "3s", "UPSTREAM_CUTOFF": f"{CUTOFF:g}s", "SLACK": f"{SLACK:g}s"}
    return {f"ACCOUNTS__{name}__{key}": value for key, value in {**times, **values}.items()}


class WorkivaStorm:
    """Two accounts of one user each; ONE and ALL steps; half of the submissions exposed."""

    traced = replaces = False
    keys: Sequence[str] = ()
    accounts: Mapping[str, tuple[str, str]] = {"once": ("finance", "jane"), "resend": ("legal", "june")}
    people = (
        [{"action": "APPROVE", "user": "bob"}],
        [{"action": "APPROVE", "user": "bob"}],
        [{"action": "RESTART"}],
        [{"action": "REJECT", "user": "bob"}, {"action": "SUBMIT"}],
        [{"action": "APPROVE", "user": "bob"}, {"action": "RESTART"}],
    )

    def __init__(self, version: str) -> None:
        self.version = version

    def plan(self, n: int, dice: random.Random, when_exposed: str, *, late: bool) -> Plan:
        account, me = self.accounts[when_exposed]
        exposed = n % 2 == 0
        mode, after = dice.choice(("ONE", "ALL")), dice.choice(("ONE", "ALL"))
        second = {"participants": [me, "carol"] if exposed else ["carol", "dave"], "mode": after}
        steps: list[dict[str, Any]] = [{"participants": [me, "bob"], "mode": mode}, second]
        number = 1
        if not exposed and dice.random() < 0.3:
            done = {"user": "carol", "action": "APPROVE", "at": time.time() - 3600}
            steps, number = [{"participants": ["carol"], "mode": "ONE", "responses": [done]}, steps[0]], 2
        decision = {"action": "approve", "step": number}
        plan = Plan(f"{account}-{n:04}", account, "me", exposed, number, {"title": f"Task {n}", "steps": steps}, decision)
        return plan if n < CLEAN else _stormy(plan, dice, self.people, {"action": "APPROVE", "user": "bob"}, late=late)

    def settings(self, when_exposed: str, url: str, folder: Path) -> dict[str, str]:
        out: dict[str, str] = {}
        for rule, (name, user) in self.accounts.items():
            values = {"KIND": "workiva", "BASE_URL": f"{url}/workiva", "API_VERSION": self.version, "WHEN_EXPOSED": rule}
            values |= {"GRANTS__ME__CLIENT_ID": f"sandbox:{user}", "GRANTS__ME__CLIENT_SECRET": "sandbox", "GRANTS__ME__ACTS_AS": user}
            if when_exposed in {rule, "both"}:
                out |= _account(name.upper(), values)
        return out

    def prepare(self, world: Control, rt: Runtime) -> None:
        """Everybody is there."""

    def make(self, world: Control, plan: Plan) -> None:
        plan.id = plan.ref = world("POST", "/tasks", plan.task)["id"]

    def tend(self, world: Control, rt: Runtime) -> None:
        """Its tokens need nobody."""

    def rounds(self, world: Control) -> dict[str, int]:
        return {task["id"]: task["round"] for task in world("GET", "/tasks")}


class AutodeskStorm:
    """Two accounts of five reviewers each, every one with an app of their own: each may ask 600 times a minute and no more. Those of one
    account have consented, those of the other are service accounts; access tokens live for twenty seconds. bob reviews beside us, and in
    half of the items the next step is ours, too. A second close of a part replaces the first, so that it shows.
    """

    traced = replaces = True
    accounts: Mapping[str, tuple[str, str]] = {"once": ("finance", "jane"), "resend": ("legal", "june")}
    each = 5
    people = (
        [{"action": "close", "user": "bob"}],
        [{"action": "close", "user": "bob"}],
        [{"patch": {"title": "edited"}}],
        [{"action": "mgr-1"}, {"action": "rev"}],
        [{"action": "close", "user": "bob"}, {"action": "mgr-1"}, {"action": "rev"}],
        [{"action": "close", "user": AUTODESK_USER, "ours": True}],
    )

    def __init__(self) -> None:
        self._key = generate_private_key(65537, 2048)
        self.keys = [secrets.token_hex(32)]

    def plan(self, n: int, dice: random.Random, when_exposed: str, *, late: bool) -> Plan:
        account, who = self.accounts[when_exposed]
        grant = f"{who}{dice.randrange(self.each)}"
        steps = [[{"user": grant}, {"user": "bob", "required": dice.random() < 0.5}], [{"user": grant if n % 2 else "carol"}]]
        decision = {"action": "close", "response": "Approved"}
        plan = Plan(
            f"{account}-{n:04}", account, grant, exposed=False, step=1, task={"title": f"Item {n}", "steps": steps}, decision=decision
        )
        return plan if n < CLEAN else _stormy(plan, dice, self.people, {"action": "close", "user": AUTODESK_USER}, late=late)

    def settings(self, when_exposed: str, url: str, folder: Path) -> dict[str, str]:
        key = folder / "service-accounts.pem"
        key.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key.chmod(0o600)
        out = {"LEDGER__ENCRYPTION_KEYS": json.dumps(self.keys)}
        for rule, (name, who) in self.accounts.items():
            values = {"KIND": "autodesk", "BASE_URL": f"{url}/autodesk", "PROJECT_ID": PROJECT, "WHEN_EXPOSED": rule}
            for n in range(self.each):
                user = f"{who}{n}"
                grant = {"CLIENT_ID": f"app-{user}", "CLIENT_SECRET": "sandbox", "ACTS_AS": user}
                if rule == "resend":
                    grant |= {"FLOW": "service_account", "SERVICE_ACCOUNT_ID": user, "KEY_ID": "k", "PRIVATE_KEY_FILE": str(key)}
                values |= {f"GRANTS__{user.upper()}__{key_}": value for key_, value in grant.items()}
            if when_exposed in {rule, "both"}:
                out |= _account(name.upper(), values)
        return out

    def prepare(self, world: Control, rt: Runtime) -> None:
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        world("POST", "/assumptions", {"second_close": "replaces"})
        world("POST", "/tokens", {"expires_in": 20})
        for _, who in self.accounts.values():
            for user in (f"{who}{n}" for n in range(self.each)):
                world("POST", "/clients", {"client_id": f"app-{user}", "client_secret": "sandbox", "user": user})
                world("POST", "/autodesk/accounts", {"id": user, "client_id": f"app-{user}", "keys": {"k": public}})
        self.tend(world, rt)

    def make(self, world: Control, plan: Plan) -> None:
        made = world("POST", "/autodesk/items", plan.task)
        plan.id, plan.ref = made["id"], made["tasks"][0]
        plan.faults = [{**f, "people": [self._named(p, plan) for p in f["people"]]} if "people" in f else f for f in plan.faults]
        if plan.first:
            plan.first["task"] = plan.ref

    @staticmethod
    def _named(person: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
        named = {name: value for name, value in person.items() if name != "ours"}
        return {**named, "task": plan.ref} if "ours" in person else named

    def tend(self, world: Control, rt: Runtime) -> None:
        """A renewal whose answer was killed with its process leaves a dead grant: its user consents again."""
        account = rt.accounts.get(self.accounts["once"][0])
        kept = {k.name: k for k in rt.ledger.tokens.all()}
        for grant in account.grants if account else ():
            renewal = account.connector.renewal(grant) if account else None
            row = kept.get(renewal.name) if renewal else None
            if account and (row is None or row.state == "degraded"):
                given = world("POST", "/autodesk/grants", {"client_id": f"app-{grant}", "user": grant})
                store(rt, account, grant, Renewed(given["access_token"], given["expires_in"], given["refresh_token"], 15 * 86_400.0))

    def rounds(self, world: Control) -> dict[str, int]:
        return {item["id"]: item["round"] for item in world("GET", "/autodesk/items")}
