"""Autodesk: two thousand items, reviewed in parts, sent back, closed, reopened. An answer within a step leaves the feed as it is."""

from collections.abc import Iterator, Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.watching.people import HOUR, KEPT, RESTARTED, Dice
from tests.watching.truth import Shown, Truth, Window, millis
from tests.watching.workiva import RULES
from worker.flows import Account, Runtime
from worker.sandbox.control import Sandbox
from worker.sandbox.exchange import Request, Response
from worker.sandbox.project import AUTODESK_USER, PROJECT, Project
from worker.sandbox.submittals import CLOSED, DISTRIBUTE, DONE, PREPARE, REVIEW, RUNNING, VOID, Item
from worker.upstreams.auth import ServiceAccount
from worker.upstreams.autodesk import Autodesk

NAME = "tower"

PLENTY = 60_000
"""Requests a minute that may leave: of the published 600 a month of this asks for few, but all that are due at once leave at once. What a
budget does to them is counted by `make door`."""


def of_steps(item: Item, project: Project) -> Iterator[Shown]:
    """What GET steps shows."""
    for step in item.steps:
        for task in step.tasks:
            if task.reply is not None and task.responded_at is not None:
                action = "approve" if project.replies[task.reply].approval else "reject"
                yield "response.recorded", (step.number, task.responded_by, action, millis(task.responded_at)), None
        if step.completed_at is not None:
            yield "step.completed", (step.number, millis(step.completed_at)), None
        if step.status == RUNNING:
            yield "step.opened", (step.number,), step.started_at


def of_item(item: Item) -> Iterator[Shown]:
    """What GET item shows besides."""
    if item.round > 1:
        yield "task.restarted", (), item.sent_to_review
    if item.state == CLOSED:
        yield "task.completed", (), item.responded_at
    yield "task.changed", ("title",), item.title
    yield "task.changed", ("status",), item.state
    yield "task.changed", ("due",), item.due


class AutodeskMonth:
    """Its people and its account."""

    name, kind = NAME, "autodesk"

    def __init__(self, dice: Dice, sandbox: Sandbox, count: int, every: float) -> None:
        self.dice, self.world = dice, dice.world
        self.upstream = sandbox.autodesk
        self.project = sandbox.project
        self.project.switches = self.project.switches.turned(requests_per_minute=0)
        self.truth = Truth(hides=False)
        self.every = every
        self._asked = 0
        self._again: set[str] = set()
        self._key = generate_private_key(65537, 2048)
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.upstream.authentication.enrol({"id": "robot", "client_id": "sandbox", "keys": {"k": public}})
        for _ in range(count):
            self.world.plan(dice.made_at(), self._make)

    def account(self) -> Account:
        grants = {"robot": ServiceAccount("sandbox", "sandbox", "robot", "k", self._key, self.world)}
        connector = Autodesk("http://sandbox/autodesk", PROJECT, grants, requests_per_minute=PLENTY)
        return Account(NAME, self.kind, connector, RULES, {"robot": "robot"}, 7 * 86_400.0, connector.actions)

    def watch(self, rt: Runtime) -> None:
        """The whole feed."""
        rt.ledger.watches.add(NAME, "", self.every)

    def looked(self, operation: str, request: Request, response: Response) -> None:
        """The feed shows items without their steps: it says what to look at, and is no look."""
        self._asked += operation != "token"
        if operation == "read":
            task = (self.upstream.task_of(request) or "").partition("/")[0]
            taken_back = ("step.opened",) if self.project.items[task].state != REVIEW else ()  # its step waits for nobody then
            self.truth.look(task, "steps" if request.path.endswith("/steps") else "item", self.world.now, without=taken_back)

    def parts(self) -> Iterator[tuple[str, int, Mapping[str, Window], bool | None]]:
        """(name, requests, tasks, whether the feed shows it) each. One request serves both kinds of news."""
        for name, fed in (("Autodesk", None), ("… that move the item", True), ("… that do not", False)):
            yield name, self._asked, self.truth.windows, fed

    # ---- what people do

    def _make(self) -> None:
        dice = self.dice
        steps = [
            [{"user": user, "required": n == 0 or dice.happens(0.8)} for n, user in enumerate(dice.people(3))]
            for _ in range(dice.random.choices((1, 2, 3), (5, 3, 2))[0])
        ]
        item = self.project.make({"steps": steps, "title": f"Item {len(self.project.items)}"})
        if dice.happens(RESTARTED):
            self._again.add(item.id)
        self.truth.windows[item.id] = Window(self.world.now, fed=True)
        self._write(item.id)
        self._ask(item.id)
        if dice.happens(0.08):
            self.world.plan(dice.later(12 * HOUR), partial(self._edit, item.id))
        if dice.happens(0.01):
            self.world.plan(dice.later(12 * HOUR), partial(self._go, item.id, VOID))

    def _write(self, id_: str) -> Item:
        item = self.project.items[id_]
        now = self.world.now
        fed = item.state != VOID and abs(item.updated_at - now) < 0.01
        self.truth.becomes(id_, "steps", of_steps(item, self.project), now, fed=fed)
        self.truth.becomes(id_, "item", of_item(item), now, fed=fed)
        return item

    def _ask(self, id_: str, *, hurried: bool = False) -> None:
        """Those whose turn it is will answer."""
        item = self.project.items[id_]
        step = item.active
        for task in step.tasks if step else ():
            at = self.dice.soon() if hurried else self.dice.later(8 * HOUR)
            self.world.plan(at, partial(self._answer, id_, task.id, item.round, hurried=hurried))

    def _answer(self, id_: str, part: str, round_: int, *, hurried: bool) -> None:
        item = self.project.items[id_]
        step = item.active
        mine = next((t for t in step.tasks if t.id == part and t.status != DONE), None) if step else None
        if item.round != round_ or step is None or mine is None:
            return
        reply = self.project.reply_called("Rejected" if self.dice.happens(0.1) else None).id
        self.project.close((id_, step.id, part), mine.assigned, {"responseId": reply}, by="person")
        after = self._write(id_)
        if after.active is not step and after.active is not None and after.active.id != step.id:
            self._ask(id_, hurried=hurried)
        elif after.moves_at is not None:
            self.world.plan_exactly(after.moves_at, partial(self._moved, id_))
        if id_ in self._again and after.moves_at is None and self.dice.happens(0.5):
            self._again.discard(id_)
            self.world.plan(self.dice.soon(), partial(self._back, id_))

    def _moved(self, id_: str) -> None:
        """By the system, to the manager, who ends it, or sends it round once more."""
        self.project.settle()
        item = self._write(id_)
        if item.state == DISTRIBUTE:
            self.world.plan(self.dice.later(4 * HOUR), partial(self._go, id_, REVIEW if self.dice.happens(0.08) else CLOSED))

    def _go(self, id_: str, state: str) -> None:
        item = self.project.items[id_]
        body = {
            "stateId": state,
            "manager": item.manager,
            "managerType": item.manager_type,
            "responseId": self.project.reply_called(None).id,
            "stepDueDate": "2026-12-01",
        }
        if not isinstance(self.project.transition(id_, AUTODESK_USER, body, by="person"), Item):
            return
        self._write(id_)
        if state == REVIEW:
            self._ask(id_)
        if state == CLOSED and self.dice.happens(0.03):
            self.world.plan(self.dice.soon(), partial(self._reopen, id_))
        if state in {CLOSED, VOID}:
            self.world.plan(self.world.now + KEPT, partial(self._forget, id_))

    def _back(self, id_: str) -> None:
        """Taken back, and sent again at once; sometimes everybody answers again at once, too."""
        self._go(id_, PREPARE)
        if self.project.items[id_].state == PREPARE:
            self.world.plan(self.world.now + 2.0, partial(self._anew, id_))

    def _anew(self, id_: str) -> None:
        item = self.project.items[id_]
        if isinstance(
            self.project.transition(id_, AUTODESK_USER, {"stateId": REVIEW, "customIdentifier": str(item.identifier)}, by="person"), Item
        ):
            self._write(id_)
            self._ask(id_, hurried=self.dice.happens(0.4))

    def _reopen(self, id_: str) -> None:
        """Closed too early: reopened, and closed again at once."""
        self._go(id_, DISTRIBUTE)
        self.world.plan(self.dice.soon(), partial(self._go, id_, CLOSED))

    def _edit(self, id_: str) -> None:
        item = self.project.items[id_]
        if isinstance(self.project.change(id_, AUTODESK_USER, {"title": item.title + "'"}, by="person"), Item):
            self._write(id_)

    def _forget(self, id_: str) -> None:
        if self.project.items[id_].state in {CLOSED, VOID}:
            window = self.truth.windows[id_]
            window.until = min(window.until, self.world.now)
