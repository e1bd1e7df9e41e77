"""The life of a submittal item: what a response and a transition do to it, and what they refuse. Pure; time and user come in.

    draft    sbc-1 <---------- mgr-1 <---- return to manager ------ rev ---- last step ends, by the system ----> mgr-2
                '--- submit ----^ '-- submit to review: a round ----^ ^----------- return for review ----------'  |
                                                                                                 sbc-2 <-- close --'
    From sbc-1, mgr-1, rev and mgr-2 a manager may also close (sbc-2) or void; sbc-2 reopens to mgr-2. [TUT]

A step's tasks are closed one by one; the last required one ends the step, and the next step begins [CLOSE]. The end of the last step
does not move the item: the system does, a moment later [TUT]. So between the two the item is under review and nothing is to be done.

The other rules are assumptions: `assumptions.ASSUMPTIONS` numbers them, from 40 on. (42), (49) … below are those numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from worker.sandbox.assumptions import Switches
from worker.sandbox.life import Refusal

DRAFT, SUBMIT, PREPARE, REVIEW, DISTRIBUTE, CLOSED, VOID = "draft", "sbc-1", "mgr-1", "rev", "mgr-2", "sbc-2", "void"
STATES = (DRAFT, SUBMIT, PREPARE, REVIEW, DISTRIBUTE, CLOSED, VOID)

USER, COMPANY, ROLE = "1", "2", "3"
"""Types of who a task is assigned to [TASK]."""

MANAGER, MEMBER, ADMIN = "1", "2", "4"
"""Roles in Submittals [ME]."""

WAITING, RUNNING, DONE = "not-started", "in-progress", "completed"


PLAIN: Mapping[str, Any] = {
    "typeId": "ffad8b30-0e5f-4767-aab5-4c17f88d91ef",
    "specId": "65bf7408-93f3-462e-84ab-17e5710c7536",
    "specIdentifier": "1",
    "specTitle": "1",
    "subsection": None,
    "description": "",
    "priority": "Normal",
    "watchers": [],
    "requiredOnJobDate": None,
    "leadTime": None,
    "requiredDate": None,
    "requiredApprovalDate": None,
    "submitterDueDate": None,
    "managerDueDate": None,
    "packageId": None,
    "packageIdentifier": None,
    "packageTitle": None,
    "packageSpecIdentifier": None,
    "folderUrn": None,
    "revisionsFoldersUrns": {},
}
"""What has no life of its own here, as the tutorial shows it for an item that was just made [TUT]."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the project knows them. Without a role: no member."""

    id: str
    roles: frozenset[str] = frozenset({MEMBER})
    companies: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    """The roles (architect, engineer) that a task may be assigned to."""

    @property
    def manages(self) -> bool:
        """Whether transitions are theirs."""
        return MANAGER in self.roles

    def is_meant_by(self, assigned: str, kind: str) -> bool:
        """Assigned as a user, or as any member of a company [TPLHELP] or a role."""
        return assigned in {USER: {self.id}, COMPANY: self.companies, ROLE: self.groups}[kind]


@dataclass(frozen=True, slots=True)
class Reply:
    """One of the project's responses, which a task is closed with [RESP]."""

    id: str
    key: str
    value: str
    category: str
    approval: bool
    active: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One review within a step."""

    id: str
    assigned: str
    kind: str
    required: bool
    created_at: float
    created_by: str
    updated_at: float
    updated_by: str
    status: str = WAITING
    started_at: float | None = None
    reply: str | None = None
    comment: str | None = None
    responded_at: float | None = None
    responded_by: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the review; its number counts from 1."""

    id: str
    number: int
    days: int
    tasks: tuple[Task, ...]
    created_at: float
    created_by: str
    updated_at: float
    updated_by: str
    status: str = WAITING
    due: str | None = None
    started_at: float | None = None
    completed_at: float | None = None

    def ended(self, rules: Switches) -> bool:
        """Whether nothing is missing (50)."""
        required = [task for task in self.tasks if task.required]
        if required or rules.no_required == "all":
            return all(task.status == DONE for task in required or self.tasks)
        return any(task.status == DONE for task in self.tasks)


@dataclass(frozen=True, slots=True)
class Item:
    """One submittal item. `round` (how often its review was begun) and `moves_at` (when the system moves it) are ghost truth."""

    id: str
    identifier: int
    title: str
    manager: str
    subcontractor: str
    created_at: float
    created_by: str
    updated_at: float
    updated_by: str
    state: str = PREPARE
    steps: tuple[Step, ...] = ()
    round: int = 0
    moves_at: float | None = None
    custom_identifier: str | None = None
    manager_type: str = USER
    subcontractor_type: str = USER
    due: str | None = None
    sent_to_submitter: float | None = None
    received_from_submitter: float | None = None
    submitted_by: str | None = None
    sent_to_review: float | None = None
    sent_to_review_by: str | None = None
    received_from_review: float | None = None
    published_at: float | None = None
    published_by: str | None = None
    reply: str | None = None
    comment: str = ""
    responded_at: float | None = None
    responded_by: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What is only kept and shown: description, priority, dates of the plan."""

    @property
    def active(self) -> Step | None:
        """The step that is under way."""
        return next((step for step in self.steps if step.status == RUNNING), None) if self.state == REVIEW else None

    def step(self, id_: str) -> Step | None:
        """One step by its id."""
        return next((step for step in self.steps if step.id == id_), None)

    def find(self, step: str, task: str) -> tuple[Step, Task] | None:
        """A task of that step, with it."""
        return next(((s, t) for s in self.steps if s.id == step for t in s.tasks if t.id == task), None)


@dataclass(frozen=True, slots=True)
class Move:
    """One way from a state to another: its name, the fields that it takes, and those that it must have [TUT]."""

    name: str
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


_CLOSE = Move(
    "Close and distribute",
    (
        "subcontractor",
        "subcontractorType",
        "watchers",
        "responseId",
        "responseComment",
        "saveAttachmentDrafts",
        "duplicateAttachments",
        "customIdentifier",
    ),
    ("responseId", "customIdentifier"),
)
_VOID = Move("Send to Void")
_ATTACHED = ("saveAttachmentDrafts", "duplicateAttachments")

MOVES: Mapping[tuple[str, str], Move] = {
    (SUBMIT, PREPARE): Move("Submit to Manager", ("mailNote", "manager", "managerType", "saveAttachmentDrafts"), ("manager",)),
    (SUBMIT, VOID): _VOID,
    (SUBMIT, CLOSED): _CLOSE,
    (PREPARE, CLOSED): _CLOSE,
    (PREPARE, VOID): _VOID,
    (PREPARE, SUBMIT): Move(
        "Return to Responsible Contractor",
        ("subcontractor", "subcontractorType", "submitterDueDate", "mailNote"),
        ("subcontractor", "subcontractorType", "submitterDueDate"),
    ),
    (PREPARE, REVIEW): Move(
        "Submit to Review", ("watchers", "stepDueDate", "mailNote", *_ATTACHED, "customIdentifier"), ("customIdentifier",)
    ),
    (REVIEW, CLOSED): _CLOSE,
    (REVIEW, VOID): _VOID,
    (REVIEW, PREPARE): Move("Return to Manager", ("manager", "managerType", "mailNote"), ("manager", "managerType")),
    (DISTRIBUTE, CLOSED): _CLOSE,
    (DISTRIBUTE, VOID): _VOID,
    (DISTRIBUTE, REVIEW): Move("Return for Review", ("watchers", "stepDueDate", "mailNote"), ("stepDueDate",)),
    (CLOSED, DISTRIBUTE): Move("Reopen to Manager"),
}
"""Those that the tutorial shows [TUT]. rev to mgr-2 is none: that one is the system's."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: the item as it is now, and the number of the step that it was done to."""

    item: Item
    step: int | None = None


def may_close(item: Item, step: Step, task: Task, person: Person, rules: Switches) -> bool:
    """Whether `Task::close` is among what this person is permitted."""
    open_ = task.status == RUNNING and (step.status == RUNNING or rules.optional_tasks == "open")
    if item.state != REVIEW or not (open_ or (task.status == DONE and rules.second_close == "replaces")):
        return False
    return person.is_meant_by(task.assigned, task.kind) or (person.manages and rules.on_behalf == "managers")


def moves(item: Item, person: Person) -> list[tuple[str, Move]]:
    """Where this person may take the item. Who is responsible for a submittal may hand it in."""
    mine = item.state == SUBMIT and person.is_meant_by(item.subcontractor, item.subcontractor_type)
    return [(to, move) for (from_, to), move in MOVES.items() if from_ == item.state and (person.manages or (mine and to == PREPARE))]


def close(
    item: Item, ids: tuple[str, str], person: Person, reply: Reply, comment: str | None, at: float, rules: Switches
) -> Done | Refusal:
    """A response to a task. `reply` exists: who calls has looked."""
    found = item.find(*ids)
    if found is None:
        return Refusal(404, "no such task")
    step, task = found
    if not may_close(item, step, task, person, rules):
        return _why_not(item, task, rules)
    if not reply.active and rules.dead_response != "taken":
        return Refusal(int(rules.dead_response), "this response is no longer active", "responseId")  # (62)
    task = replace(
        task,
        status=DONE,
        reply=reply.id,
        comment=comment,
        responded_at=at,
        responded_by=person.id,
        updated_at=at,
        updated_by=person.id,
    )
    item = _with(item, replace(step, tasks=tuple(task if t.id == task.id else t for t in step.tasks)))
    if rules.response_touches == "any":
        item = replace(item, updated_at=at, updated_by=person.id)
    return Done(
        _settled(item, step.number, person.id, at, rules, returned=not reply.approval and rules.rejection == "returns"), step.number
    )


def _why_not(item: Item, task: Task, rules: Switches) -> Refusal:
    if task.status == DONE:
        return Refusal(rules.second_close if isinstance(rules.second_close, int) else 403, "this task is completed")  # (40)
    if task.status == WAITING or item.state != REVIEW:
        return Refusal(rules.early_close, "this task is not under way")  # (41)
    return Refusal(403, "Task::close is not permitted")


def _settled(item: Item, number: int, user: str, at: float, rules: Switches, *, returned: bool) -> Item:
    """What follows from a response to that step."""
    step = item.steps[number - 1]
    if step.status != RUNNING or not (returned or step.ended(rules)):
        return item
    tasks = step.tasks
    if rules.optional_tasks == "completed":
        tasks = tuple(replace(t, status=DONE, updated_at=at, updated_by=user) for t in tasks)
    item = _with(item, replace(step, tasks=tasks, status=DONE, completed_at=at, updated_at=at, updated_by=user))
    last = returned or number == len(item.steps)
    if rules.response_touches != "last" and not last:
        item = replace(item, updated_at=at, updated_by=user)
    if last or rules.next_step == "later":
        skipped = tuple(replace(s, status=DONE) if returned and s.status == WAITING else s for s in item.steps)
        return replace(item, steps=skipped, moves_at=at + rules.system_delay_ms / 1000)  # (56)
    return _started(item, number + 1, user, at)


def moved(item: Item) -> Item:
    """What the system does when `moves_at` has come: the next step, or `mgr-2`."""
    at = item.moves_at
    assert at is not None
    item = replace(item, moves_at=None)
    following = next((step for step in item.steps if step.status == WAITING), None)
    if following is not None:
        return _started(item, following.number, item.updated_by, at)
    # 3 ms between the two, as in the example [TUT]
    return replace(item, state=DISTRIBUTE, due=None, received_from_review=at, updated_at=at + 0.003)


def transition(
    item: Item, body: Mapping[str, Any], person: Person, replies: Mapping[str, Reply], at: float, rules: Switches
) -> Done | Refusal:
    """POST :transition. A custom identifier that the item has already satisfies the mandatory field [TUT]."""
    to = body.get("stateId")
    move = dict(moves(item, person)).get(str(to))
    if move is None:
        return Refusal(rules.wrong_transition, f"no transition {item.state}::{to}", "stateId")  # (61)
    had = {"customIdentifier": item.custom_identifier}
    missing = [name for name in move.needs if (body.get(name) or had.get(name)) is None]
    if missing:
        return Refusal(400, f"{item.state}::{to} needs {', '.join(missing)}", missing[0])
    reply = replies.get(str(body.get("responseId")))
    if to == CLOSED and (reply is None or (not reply.active and rules.dead_response != "taken")):
        status = rules.dead_response if isinstance(rules.dead_response, int) else 400
        return Refusal(status, "there is no such response", "responseId")  # (62)
    if to == REVIEW and not item.steps:
        return Refusal(400, "the item has no review steps")  # 'a prerequisite' [TUT]
    return Done(_went(item, str(to), body, person.id, at, rules))


def _went(item: Item, to: str, body: Mapping[str, Any], user: str, at: float, rules: Switches) -> Item:
    came, named = item.state, {_NAMES[name]: str(body[name]) for name in _NAMES if body.get(name) is not None}
    item = replace(item, state=to, moves_at=None, updated_at=at, updated_by=user, **named)  # type: ignore[arg-type]
    match to:
        case "mgr-1" if came == SUBMIT:
            return replace(item, received_from_submitter=at, submitted_by=user)
        case "sbc-1":
            return replace(item, sent_to_submitter=at)
        case "rev":
            item = replace(item, sent_to_review=at, sent_to_review_by=user, received_from_review=None)
            only_last = came == DISTRIBUTE and rules.return_for_review == "last"
            return begun(item, user, at, rules, body.get("stepDueDate"), len(item.steps) if only_last else 1)
        case "sbc-2":
            answered = {"reply": str(body["responseId"]), "comment": str(body.get("responseComment") or "")}
            return replace(item, published_at=at, published_by=user, responded_at=at, responded_by=user, due=None, **answered)  # type: ignore[arg-type]
        case _:
            return item


_NAMES = {
    "customIdentifier": "custom_identifier",
    "manager": "manager",
    "managerType": "manager_type",
    "subcontractor": "subcontractor",
    "subcontractorType": "subcontractor_type",
    "title": "title",
}


def begun(item: Item, user: str, at: float, rules: Switches, due: str | None = None, first: int = 1) -> Item:
    """The review, from that step on, in a new round (59, 60)."""
    steps = []
    for step in item.steps:
        keeps = step.number < first or (rules.new_round == "goes_on" and first == 1)
        steps.append(step if keeps else _emptied(step, user, at))
    item = replace(item, steps=tuple(steps), round=item.round + 1)
    under_way = item.active
    if under_way is not None:  # of a round that goes on
        return item
    open_ = next((step for step in item.steps if step.status != DONE), item.steps[-1])
    return _started(item, open_.number, user, at, due)


def _emptied(step: Step, user: str, at: float) -> Step:
    fresh = tuple(
        replace(t, status=WAITING, started_at=None, reply=None, comment=None, responded_at=None, responded_by=None) for t in step.tasks
    )
    return replace(step, tasks=fresh, status=WAITING, due=None, started_at=None, completed_at=None, updated_at=at, updated_by=user)


def _started(item: Item, number: int, user: str, at: float, due: str | None = None) -> Item:
    """A step and its tasks turn in-progress; `dueDate` comes from `daysToRespond` [STEPS]."""
    step = item.steps[number - 1]
    day: date = datetime.fromtimestamp(at, UTC).date() + timedelta(days=step.days)
    due = due or day.isoformat()
    tasks = tuple(replace(t, status=RUNNING, started_at=at, updated_at=at, updated_by=user) if t.status != DONE else t for t in step.tasks)
    step = replace(step, tasks=tasks, status=RUNNING, due=due, started_at=at, completed_at=None, updated_at=at, updated_by=user)
    return replace(_with(item, step), due=due)


def _with(item: Item, step: Step) -> Item:
    return replace(item, steps=tuple(step if s.id == step.id else s for s in item.steps))


def in_court(item: Item) -> tuple[str, Mapping[str, list[str]]]:
    """Whose turn it is: the reviewers who have not responded, the manager, or the contractor [ITEM]."""
    if item.state == REVIEW:
        step = item.active
        waiting: Iterable[Task] = [t for t in step.tasks if t.status == RUNNING] if step else []
        return "reviewer", {kind: [t.assigned for t in waiting if t.kind == kind] for kind in (USER, COMPANY, ROLE)}
    if item.state in {SUBMIT, CLOSED}:
        return "subcontractor", {item.subcontractor_type: [item.subcontractor]}
    return "manager", {item.manager_type: [item.manager]}
