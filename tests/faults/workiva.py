"""Workiva's scene: tasks with steps of participants, approved, rejected, restarted and edited by people."""

from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.scene import GRANTS, ME, NAME, OTHER, Answered, Deed, Look, Stage, Truth, Wish
from worker.core.command import Command
from worker.flows import Account
from worker.sandbox.life import Task
from worker.sandbox.workiva import Workiva as Upstream
from worker.sandbox.workspace import Client, Workspace
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import ACTIONS, Workiva


class WorkivaScene:
    """See `scene.Scene`."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.workspace = Workspace(now=world.hand)
        self.workspace.clients = {"me": Client("secret", ME), "other": Client("secret", OTHER)}
        self.upstream = Upstream(self.workspace)
        self.ids: list[str] = []
        self.frozen = False

    def draw(self) -> str:
        frozen = self.world.options.frozen
        self.frozen = frozen if frozen is not None else self.world.tape.happens(0.15)
        self.workspace.switches = self.workspace.switches.turned(modified_frozen=self.frozen)
        return f"frozen={self.frozen}"

    def account(self, rules: Any) -> Account:
        grants = {n: Grant(n, "secret") for n in GRANTS}
        connector = Workiva("http://upstream/workiva", self.world.options.version, grants=grants)
        return Account(NAME, "workiva", connector, rules, GRANTS, expires_after=300.0, actions=ACTIONS)

    def make(self) -> None:
        o, tape = self.world.options, self.world.tape
        for _ in range(o.tasks or tape.pick((1, 1, 1, 2, 3))):
            steps = []
            for n in range(2 if o.plain else tape.pick((2, 2, 1, 3))):
                us = n == 0 or (tape.happens(0.5) if o.exposed is None else o.exposed)
                people = ([ME] if us else []) + tape.pick(
                    (["bob"], [], ["bob", "eve"], [OTHER], [OTHER, "bob"]) if us else (["bob"], [OTHER])
                )
                if o.plain:
                    people = ([ME] if us else []) + ["bob"]
                steps.append({"participants": people, "mode": "ONE" if o.plain else tape.pick(("ONE", "ONE", "ALL"))})
            task = self.workspace.make({"title": "t", "steps": steps, "owner": "ann", "assignees": ["ann", ME]})
            self.ids.append(task.id)
            self.world.say(f"task {self.world.short(task.id)}: " + "; ".join(f"{','.join(s.participants)} {s.mode}" for s in task.steps))

    def settle(self) -> None:
        """It does nothing by itself."""

    def deeds(self, since: int) -> list[Deed]:
        return [Deed(e.n, e.at, e.task, None, e.action, e.user, e.step, e.round, e.comment, e.by) for e in self.workspace.journal[since:]]

    def truth(self, id_: str, behind: float = 0.0) -> Truth:
        past = [v for v in self.workspace._past[id_] if v.at <= self.world.hand.now - behind + 0.001]
        assert past[-1].task is not None  # nobody deletes one
        return _truth(past[-1].task)

    def glance(self, request: httpx.Request, behind: float, before: Look | None) -> tuple[Look | None, bool]:
        id_ = self.world.task_of(request)
        return (Look(self.world.hand.now - behind, self.truth(id_, behind)), True) if id_ else (None, True)

    def person(self, id_: str, *, by_hand: bool) -> None:
        world, task = self.world, self.workspace.tasks[id_]
        what = world.tape.pick(("APPROVE", "APPROVE", "resubmit", "resubmit", "restart", "edit", "REJECT"))
        world.pass_time(0.05)
        step = task.steps[task.active] if task.active is not None else None
        who = next((u for u in (step.participants if step else ()) if (u == ME if by_hand else u not in {ME, OTHER})), None)
        if who and world.answered_lately(id_, who):
            return
        if what in {"APPROVE", "REJECT", "resubmit"} and who:
            self.upstream.person(id_, "REJECT" if what == "resubmit" else what, who, "by hand")
        if what == "resubmit":
            world.pass_time(1.5)
            self.upstream.person(id_, "SUBMIT", "ann")
        elif what == "restart":
            self.upstream.person(id_, "RESTART", "ann")
        elif what == "edit":
            self.upstream.edit(id_, [{"op": "replace", "path": "/title", "value": f"t{world.hand.now:.2f}"}])

    def wish(self, id_: str) -> Wish:
        o, tape, task = self.world.options, self.world.tape, self.workspace.tasks[id_]
        active = 0 if task.active is None else task.active
        number = min(len(task.steps), active + 1 + (0 if o.plain else tape.pick((0, 0, 0, 0, 1))))
        action = "approve" if o.plain else tape.pick(("approve",) * 9 + ("reject", "skip", "restart", "cancel", "submit"))
        able = [g for g, user in GRANTS.items() if user in task.steps[number - 1].participants]
        grant = able[0] if len(able) == 1 and not tape.happens(0.03) else tape.pick(("me", "other"))
        on_step = action in {"approve", "reject", "skip"}
        return Wish(id_, number if on_step else None, None, grant, {}, action)

    def again(self, id_: str, command: Command) -> int | None:
        active = self.workspace.tasks[id_].active
        return None if active is None else active + 1

    def shows(self, issued: Truth, look: Truth, step: int | None, part: str | None, pinned_at: float | None) -> bool:
        if pinned_at is not None:
            return _moved(look) and look.modified_at > pinned_at
        gone = any(a not in look.answers for a in issued.answers)
        return gone or (look.modified_at != issued.modified_at and _moved(look))

    def exposed(self, task: str, user: str, step: int | None) -> bool:
        return any(user in s.participants for s in self.workspace.tasks[task].steps[(step or 0) :])

    def disturbed(self, deeds: Sequence[Deed], step: int | None, part: str | None) -> bool:
        return bool(deeds) or self.frozen

    def rounds(self, id_: str) -> int:
        return sum(e.task == id_ and e.action in {"SUBMIT", "RESTART"} for e in self.workspace.journal)


def _truth(task: Task) -> Truth:
    return Truth(
        id=task.id,
        round=task.round,
        active=None if task.active is None else task.active + 1,
        steps=tuple(
            Stage(
                s.participants,
                tuple(Answered(a.user, a.action, a.at, a.comment) for a in s.answers),
                s.complete(task.round) and not any(a.action == "REJECT" for a in s.answers),
                all(a.action == "APPROVE" for a in s.answers),
                {},
            )
            for s in task.steps
        ),
        modified_at=task.modified_at,
    )


def _moved(task: Truth) -> bool:
    """Whether the task was modified last by something that left no response."""
    return all(abs(a.at - task.modified_at) > 1.0 for a in task.answers)
