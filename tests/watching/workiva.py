"""Workiva: tasks submitted, approved, returned, edited, restarted; one in five made by a process, so that no feed shows it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from tests.watching.people import HOUR, KEPT, RESTARTED, Dice
from tests.watching.truth import FOREVER, Shown, Truth, Window, millis
from worker.core import times
from worker.core.submission import Rules
from worker.flows import Account, Runtime
from worker.sandbox.control import Sandbox
from worker.sandbox.exchange import Request, Response
from worker.sandbox.life import COMPLETED, CREATED, RETURNED, Task
from worker.sandbox.workspace import SANDBOX_USER
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import Workiva

NAME = "finance"
PROCESS = 0.2
"""One in five."""

RULES = Rules(deadline=25.0, lease=30.0, cutoff=29.0, slack=20.0)


def shown(task: Task, restarts: int) -> Iterator[Shown]:
    """What a look at *task* shows."""
    for n, step in enumerate(task.steps, 1):
        for answer in step.answers:
            yield "response.recorded", (n, answer.user, answer.action.lower(), millis(answer.at)), None
        if step.answers and step.complete(task.round):
            yield "step.completed", (n, max(millis(a.at) for a in step.answers)), None
    if task.active is not None:
        yield "step.opened", (task.active + 1,), task.round
    if task.status == COMPLETED:
        yield "task.completed", (), task.round
    if restarts:
        yield "task.restarted", (), restarts
    yield "task.changed", ("title",), task.title
    yield "task.changed", ("status",), task.status
    yield "task.changed", ("due",), task.due


class WorkivaMonth:
    """Its people and its account."""

    name, kind = NAME, "workiva"

    def __init__(self, dice: Dice, sandbox: Sandbox, count: int, every: float) -> None:
        self.dice, self.world = dice, dice.world
        self.upstream = sandbox.workiva
        self.space = sandbox.workspace
        self.truth = Truth(hides=True)
        self.every = every
        self._reads: Counter[bool] = Counter()
        self._restarts: dict[str, int] = {}
        self._rt: Runtime | None = None
        self._watches: dict[str, str] = {}
        self._again: set[str] = set()
        for _ in range(count):
            self.world.plan(dice.made_at(), self._make)

    def account(self) -> Account:
        connector = Workiva("http://sandbox/workiva", grants={"jane": Grant("sandbox:jane", "sandbox")})
        return Account(NAME, self.kind, connector, RULES, {"jane": "jane"}, 7 * 86_400.0, connector.actions)

    def watch(self, rt: Runtime) -> None:
        """The whole feed; and each task of a process, those to come as soon as they are made."""
        self._rt = rt
        rt.ledger.watches.add(NAME, "", self.every)
        for task, window in self.truth.windows.items():
            if not window.fed and window.until == FOREVER:
                self._watch(task)

    def _watch(self, task: str) -> None:
        if self._rt is not None:
            self._watches[task] = self._rt.ledger.watches.add(NAME, task, self.every).id

    def looked(self, operation: str, request: Request, response: Response) -> None:
        """A feed shows tasks whole, as a look does."""
        if operation == "list":
            self._reads[True] += 1
            for row in response.json()["data"]:
                self.truth.look(row["id"], "", self.world.now)
        elif operation == "read":
            task = self.upstream.task_of(request) or ""
            self._reads[self.truth.windows[task].fed] += 1
            self.truth.look(task, "", self.world.now)

    def parts(self) -> Iterator[tuple[str, int, Mapping[str, Window], bool | None]]:
        """(name, requests, tasks, whether the feed shows it) each."""
        for fed, name in ((True, "Workiva, what the feed shows"), (False, "Workiva, made by a process")):
            yield name, self._reads[fed], {task: w for task, w in self.truth.windows.items() if w.fed == fed}, None

    # ---- what people do

    def _make(self) -> None:
        dice = self.dice
        steps = [
            {"participants": dice.people(3), "mode": dice.random.choice(("ONE", "ALL"))}
            for _ in range(dice.random.choices((1, 2, 3), (5, 3, 2))[0])
        ]
        process = dice.happens(PROCESS)
        spec = {"steps": steps, "process_made": process, "status": CREATED, "title": f"Task {len(self.space.tasks)}"}
        if dice.happens(0.5):
            spec["due"] = times.iso(dice.due())
        task = self.space.make(spec)
        if dice.happens(RESTARTED):
            self._again.add(task.id)
        self.truth.windows[task.id] = Window(self.world.now, not process)
        self._write(task.id)
        if process:
            self._watch(task.id)
        self.world.plan(dice.later(HOUR), partial(self._submit, task.id))
        if dice.happens(0.08):
            self.world.plan(dice.later(12 * HOUR), partial(self._edit, task.id))

    def _write(self, id_: str) -> None:
        task = self.space.tasks[id_]
        self.truth.becomes(id_, "", shown(task, self._restarts.get(id_, 0)), self.world.now, fed=not task.process_made)

    def _act(self, id_: str, action: str, user: str) -> bool:
        before = sum(len(s.answers) for s in self.space.tasks[id_].steps)
        done = self.space.act(id_, action, user, by="person")
        if not isinstance(done, Task):
            return False
        if sum(len(s.answers) for s in done.steps) < before:
            self._restarts[id_] = self._restarts.get(id_, 0) + 1
        self._write(id_)
        return True

    def _submit(self, id_: str) -> None:
        if self._act(id_, "SUBMIT", SANDBOX_USER):
            self._ask(id_)

    def _ask(self, id_: str, *, hurried: bool = False) -> None:
        """Those whose turn it is now will answer: of a step that takes one answer, somebody."""
        task = self.space.tasks[id_]
        if task.active is None:
            return
        step = task.steps[task.active]
        asked = step.participants if step.mode == "ALL" else (self.dice.random.choice(step.participants),)
        for user in asked:
            at = self.dice.soon() if hurried else self.dice.later(4 * HOUR)
            self.world.plan(at, partial(self._answer, id_, user, task.round, task.active, hurried=hurried))

    def _answer(self, id_: str, user: str, round_: int, step: int, *, hurried: bool) -> None:
        task = self.space.tasks[id_]
        if (task.round, task.active) != (round_, step):
            return
        rejects = not hurried and self.dice.happens(0.04)
        if not self._act(id_, "REJECT" if rejects else "APPROVE", user):
            return
        after = self.space.tasks[id_]
        if after.status == RETURNED:
            self.world.plan(self.dice.later(4 * HOUR), partial(self._submit, id_))
            return
        if id_ in self._again and self.dice.happens(0.5 if after.status != COMPLETED else 1.0):
            self._again.discard(id_)
            self.world.plan(self.dice.soon(), partial(self._restart, id_))
        if after.status == COMPLETED:
            self.world.plan(self.world.now + KEPT, partial(self._forget, id_))
        elif after.active != step:
            self._ask(id_, hurried=hurried)

    def _restart(self, id_: str) -> None:
        """Sometimes everybody answers again at once."""
        if self._act(id_, "RESTART", SANDBOX_USER):
            self._ask(id_, hurried=self.dice.happens(0.4))

    def _edit(self, id_: str) -> None:
        task = self.space.tasks[id_]
        fields = {"due": times.iso(self.dice.due())} if self.dice.happens(0.5) else {"title": task.title + "'"}
        if isinstance(self.space.change(id_, fields, SANDBOX_USER, by="person"), Task):
            self._write(id_)

    def _forget(self, id_: str) -> None:
        """Nobody wants to know any more of what was completed a day ago."""
        if self.space.tasks[id_].status != COMPLETED:
            return
        window = self.truth.windows[id_]
        window.until = min(window.until, self.world.now)
        if self._rt is not None and (watch := self._watches.pop(id_, None)):
            self._rt.ledger.watches.remove(watch)
