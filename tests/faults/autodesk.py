"""Autodesk's scene: items under review whose steps have required and optional parts; reviewers, and managers who send items back and forth.

What its pages do not tell is drawn: whether a response touches the item, what becomes of open optional parts, whether a review that is sent
again goes on or begins anew, whether a second close is refused or replaces the first.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.faults.scene import GRANTS, ME, NAME, OTHER, Answered, Deed, Look, Stage, Truth, Wish
from worker.core.command import Command
from worker.flows import Account
from worker.sandbox.autodesk import Autodesk as Upstream
from worker.sandbox.project import AUTODESK_USER, PROJECT, Project
from worker.sandbox.submittals import DISTRIBUTE, DONE, REVIEW, Item
from worker.upstreams.auth import ServiceAccount
from worker.upstreams.autodesk import Autodesk

MANAGER = AUTODESK_USER
"""A person, who is everywhere the manager. Our second grant may do what a manager may, too."""

DOES: Mapping[str, Sequence[str]] = {
    "anything": ("close", "close", "close", "back", "again", "edit", "reject", "for others"),
    "rounds": ("back", "again", "again", "edit"),
    "beside": ("close", "edit"),
}
"""What people do: `again`, an item is taken back and sent into review again; `for others`, the manager closes what is somebody else's."""


@cache
def _key() -> RSAPrivateKey:
    return generate_private_key(65537, 1024)  # it signs for worlds that end in a moment


class AutodeskScene:
    """See `scene.Scene`."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.project = Project(world.hand)
        self.upstream = Upstream(self.project)
        self.project.join({"id": OTHER, "roles": ["1", "2"]})
        public = _key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for user in GRANTS.values():
            self.upstream.authentication.enrol({"id": user, "client_id": "sandbox", "keys": {"k": public}})
        self.ids: list[str] = []
        self.landed: dict[int, tuple[float | None, float | None]] = {}

    def draw(self) -> str:
        o, tape = self.world.options, self.world.tape
        turned: dict[str, Any] = {"requests_per_minute": 0, "second_close": "replaces" if o.replaces else 403}
        if not o.plain:
            turned |= {
                "response_touches": tape.pick(("step", "any", "last")),
                "optional_tasks": tape.pick(("left", "open", "completed")),
                "new_round": tape.pick(("begins", "begins", "goes_on")),
                "return_for_review": tape.pick(("last", "first")),
                "next_step": tape.pick(("at_once", "later")),
                "rejection": tape.pick(("counts", "counts", "returns")),
                "no_required": tape.pick(("all", "first")),
                "second_close": tape.pick((403, 403, "replaces")) if o.replaces is None else turned["second_close"],
            }
        if o.goes_on:
            turned["new_round"] = "goes_on"
        self.project.switches = self.project.switches.turned(**turned)
        self.few = o.plain or tape.happens(0.5)
        if self.few:  # one response of each meaning: then "approve" and "reject" say enough
            for reply in list(self.project.replies.values()):
                self.project.reply(id=reply.id, isActive=reply.value in {"Approved", "Rejected"})
        return " ".join(f"{name}={value}" for name, value in turned.items())

    def account(self, rules: Any) -> Account:
        grants = {n: ServiceAccount("sandbox", "sandbox", user, "k", _key(), self.world.hand) for n, user in GRANTS.items()}
        connector = Autodesk("http://upstream/autodesk", PROJECT, grants)
        return Account(NAME, "autodesk", connector, rules, GRANTS, expires_after=300.0, actions=connector.actions)

    def make(self) -> None:
        o, tape = self.world.options, self.world.tape
        for _ in range(o.tasks or tape.pick((1, 1, 1, 2, 3))):
            steps: list[list[dict[str, Any]]] = []
            for n in range(2 if o.plain else tape.pick((2, 2, 1, 3))):
                ours = {"user": ME, "required": o.plain or not tape.happens(0.2)}
                others: tuple[list[str], ...] = (["bob"], [], ["bob", "eve"], [OTHER], [OTHER, "bob"])
                people = ["bob"] if o.plain else tape.pick(others if n == 0 or tape.happens(0.5) else (["bob"], [OTHER]))
                beside = [{"user": who, "required": o.plain or not tape.happens(0.3)} for who in people]
                steps.append([ours, *beside] if n == 0 or o.plain or tape.happens(0.5) or not beside else beside)
            item = self.project.make({"title": "t", "steps": steps})
            self.ids.append(item.id)
            drawn = "; ".join(", ".join(t.assigned + ("" if t.required else "?") for t in s.tasks) for s in item.steps)
            self.world.say(f"item {self.world.short(item.id)}: {drawn}")

    def settle(self) -> None:
        self.project.settle()

    def deeds(self, since: int) -> list[Deed]:
        out = []
        for e in self.project.journal[since:]:
            part = e.task.partition("/")[2] or None
            if e.n not in self.landed:
                item = self.project.items[e.item]
                found = item.find(*part.split("/")) if part else None
                self.landed[e.n] = (found[1].started_at if found else None, item.sent_to_review)
            out.append(Deed(e.n, e.at, e.item, part, e.action, e.user, e.step, e.round, e.comment, e.by, *self.landed[e.n]))
        return out

    def truth(self, id_: str, behind: float = 0.0) -> Truth:
        return _truth([i for at, i in self.project._past[id_] if at <= self.world.hand.now - behind + 0.001][-1])

    def glance(self, request: httpx.Request, behind: float, before: Look | None) -> tuple[Look | None, bool]:
        """The item first, then its steps: when the review was begun is the item's, everything else the steps'."""
        id_ = self.world.task_of(request)
        if not id_:
            return before, False
        now = Look(self.world.hand.now - behind, self.truth(id_, behind))
        if not request.url.path.endswith("/steps"):
            return before or now, False
        if before is None:
            return now, True
        shown = Truth(id_, now.task.round, now.task.active, now.task.steps, before.task.modified_at, before.task.begun)
        return Look(before.at, shown), True

    def person(self, id_: str, *, by_hand: bool) -> None:
        world, item = self.world, self.project.items[id_]
        what = world.tape.pick(DOES[world.options.does])
        world.pass_time(0.05)
        if what in {"close", "reject", "for others"}:
            open_ = [(s, t) for s in item.steps for t in s.tasks if item.state == REVIEW and t.status == "in-progress"]
            able = [(s, t) for s, t in open_ if (t.assigned == ME if by_hand else what == "for others" or t.assigned not in {ME, OTHER})]
            if not able:
                return
            step, task = able[0] if len(able) == 1 else world.tape.pick(able)
            who = MANAGER if what == "for others" else task.assigned
            if not world.answered_lately(id_, who):
                said = "close:Rejected" if what == "reject" else "close:Approved"
                self.upstream.person(f"{id_}/{step.id}/{task.id}", said, who, "by hand")
        elif what in {"back", "again"}:
            if item.state == REVIEW:
                self.upstream.person(id_, "mgr-1")
                world.pass_time(1.5)
            if what == "again":
                self.upstream.person(id_, REVIEW)
        else:
            self.upstream.edit(id_, {"title": f"t{world.hand.now:.2f}"})

    def wish(self, id_: str) -> Wish:
        o, tape, item = self.world.options, self.world.tape, self.project.items[id_]
        under_way = item.active.number if item.active else 1
        step = item.steps[min(len(item.steps), under_way + (0 if o.plain else tape.pick((0, 0, 0, 0, 1)))) - 1]
        if not o.plain and (tape.happens(0.8) if item.state == DISTRIBUTE else tape.happens(0.05)):
            return Wish(id_, None, None, "other", {"state": "sbc-2", "response": "Approved"}, "transition")
        ours = [t for t in step.tasks if t.assigned in {ME, OTHER}]
        task = ours[0] if o.plain else tape.pick(ours or step.tasks)
        grant = "me" if task.assigned == ME and not (not o.plain and tape.happens(0.1)) else "other"  # a manager, for whoever is asked
        response = "Rejected" if not o.plain and tape.happens(0.1) else None if self.few else "Approved"
        named = {"response": response} if response else {}
        return Wish(id_, step.number, f"{step.id}/{task.id}", grant, named, "close" if response else "approve")

    def again(self, id_: str, command: Command) -> int | None:
        item = self.project.items[id_]
        if command.action == "transition":
            return 1 if item.state == DISTRIBUTE else None
        _, step, task = command.task.split("/")
        found = item.find(step, task)
        return found[0].number if found and item.state == REVIEW and found[1].status == "in-progress" else None

    def shows(self, issued: Truth, look: Truth, step: int | None, part: str | None, pinned_at: float | None) -> bool:
        began = look.began(step, part) or 0.0
        if pinned_at is not None:
            return max(began, look.begun or 0.0) > pinned_at
        return look.begun != issued.begun or (issued.began(step, part) is not None and began != issued.began(step, part))

    def exposed(self, task: str, user: str, step: int | None) -> bool:
        return False

    def disturbed(self, deeds: Sequence[Deed], step: int | None, part: str | None) -> bool:
        """By what was done to the part, and by what moves the whole item; not by other reviewers, nor by an edit of the item."""
        item = self.project.items[deeds[0].task] if deeds else None
        found = item.find(*part.split("/")) if item and part else None
        if found and not found[1].required:
            return bool(deeds)  # others may end its step, and with it what it waits for
        ends = self.project.switches.rejection == "returns"
        return any((d.part in {part, None} and d.action != "update") or (ends and d.part is not None) for d in deeds)

    def rounds(self, id_: str) -> int:
        return sum(e.item == id_ and e.action.endswith(f"::{REVIEW}") for e in self.project.journal)


def _truth(item: Item) -> Truth:
    stages = []
    for s in item.steps:
        answers = tuple(
            Answered(t.responded_by, "close", t.responded_at or 0.0, t.comment, f"{s.id}/{t.id}")
            for t in s.tasks
            if t.responded_by is not None
        )
        began: dict[str | None, float | None] = {None: s.started_at, **{f"{s.id}/{t.id}": t.started_at for t in s.tasks}}
        stages.append(Stage(tuple(t.assigned for t in s.tasks), answers, s.status == DONE, bool(answers), began))
    active = item.active.number if item.active else None
    return Truth(item.id, item.round, active, tuple(stages), item.updated_at, item.sent_to_review)
