"""The life of a task: what an action does to it, and what it refuses. Pure; time and user come in, and a new task comes out.

                     SUBMIT                    last step complete
    Created  -------------------> Awaiting Approval -----------> Completed
       ^      .--- SUBMIT ------------^  |    ^
       |      |                          |    '-- RESTART, PATCH of assignees, location or an approved participant: a new round
       |   Returned <------ REJECT ------'        (from Returned and Completed too)
       '--------------------------------------- CANCEL from any but the final ones: Cancelled

An action carries no step selector [OAS]. APPROVE lands on whichever step is active at that instant, if its user participates in it: a
retry of an approval that had taken effect approves the next step, which nobody reviewed. That is the accident the worker exists to prevent.

Every other rule here is an assumption: `assumptions.ASSUMPTIONS` numbers them. (4), (7) … below are those numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from worker.sandbox.assumptions import Switches

CREATED, AWAITING, RETURNED, CANCELLED, COMPLETED, APPROVED, REWORKING = (
    "Created",
    "Awaiting Approval",
    "Returned",
    "Cancelled",
    "Completed",
    "Approved",
    "Reworking",
)
FINAL = frozenset({COMPLETED, APPROVED, CANCELLED})
ANSWERS = frozenset({"APPROVE", "REJECT", "SKIP"})
"""The actions that leave a response [OAS TaskApprovalResponse]."""
ACTIONS = ANSWERS | {"SUBMIT", "CANCEL", "RESTART"}
"""[OAS TaskAction]"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response to a step. The round it was given in is ghost truth: the wire does not carry it."""

    user: str
    action: str
    at: float
    round: int
    comment: str | None = None
    whole: bool = True
    """Whether a SKIP is for everyone who was asked, or for its user only (38)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One approval step: no id, no status, no index on the wire [OAS]."""

    participants: tuple[str, ...]
    mode: Literal["ONE", "ALL"] = "ONE"
    due: str | None = None
    answers: tuple[Answer, ...] = ()
    twice: bool = False
    """Whether a user who is named twice has to respond twice (26)."""

    def given(self, round_: int) -> tuple[Answer, ...]:
        """The responses of that round."""
        return tuple(a for a in self.answers if a.round == round_)

    def complete(self, round_: int) -> bool:
        """ONE: any single response completes it; ALL: every participant must respond [WPC]; SKIP: (38)."""
        given = self.given(round_)
        if any(a.action == "SKIP" and a.whole for a in given):
            return True
        approved = [a.user for a in given if a.action != "REJECT"]
        if self.mode == "ONE":
            return bool(approved)
        return len(approved) >= len(self.participants) if self.twice else set(approved) >= set(self.participants)


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `round` counts how often its steps were begun; 0: never submitted."""

    id: str
    title: str
    owner: str
    created_at: float
    modified_at: float
    modified_by: str
    assignees: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    status: str = CREATED
    round: int = 0
    description: str | None = None
    due: str | None = None
    location: Mapping[str, str | None] | None = None
    notifications_disabled: bool = False
    process_made: bool = False
    created_by: str = field(default="")

    @property
    def active(self) -> int | None:
        """The index of the step that an APPROVE would land on."""
        if self.status != AWAITING:
            return None
        return next((i for i, step in enumerate(self.steps) if not step.complete(self.round)), None)


@dataclass(frozen=True, slots=True)
class Effect:
    """What an action did: the task as it is now, the step it landed on (1-based), and whether a new round was begun by a change."""

    task: Task
    step: int | None = None
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing happened."""

    status: int
    message: str
    target: str | None = None


def act(task: Task, action: str, user: str, comment: str | None, at: float, rules: Switches) -> Effect | Refusal:
    """One action by one user at one instant."""
    if action not in ACTIONS:
        return Refusal(400, f"unknown action {action!r}", "action")
    if rules.comment_limit and comment and len(comment) > rules.comment_limit:
        return Refusal(400, f"a comment has at most {rules.comment_limit} characters", "comment")
    if action in ANSWERS:
        return _respond(task, action, user, comment, at, rules)
    if rules.roles == "strict" and not leads(task, user):
        return Refusal(403, f"{action} is for the assignees and the owner")
    moved = replace(task, modified_at=at, modified_by=user)
    match action:
        case "SUBMIT" if not task.steps and rules.stepless == "refuses":
            return Refusal(409, "there is no step to await")  # (30)
        case "SUBMIT" if task.status in {CREATED, RETURNED, REWORKING}:
            completes = not task.steps and rules.stepless == "completes"
            return Effect(replace(moved, status=COMPLETED) if completes else _begin(moved, rules))
        case "CANCEL" if task.status not in FINAL:
            return Effect(replace(moved, status=CANCELLED))
        case "RESTART" if task.status != CREATED and (rules.restart_from == "any" or task.status not in FINAL):
            return Effect(_restart(moved, rules))
        case _:
            return Refusal(rules.wrong_state_status, f"{action} does not fit a task that is {task.status}")


def leads(task: Task, user: str) -> bool:
    """Whether the user may submit, cancel and restart."""
    return user == task.owner or user in task.assignees


def someone(task: Task, action: str, besides: str | None) -> str | None:
    """Someone who may do this now, rather not `besides`."""
    if action in ANSWERS:
        if task.active is None:
            return None
        step = task.steps[task.active]
        answered = {a.user for a in step.given(task.round)}
        able = [user for user in step.participants if user not in answered]
    else:
        able = [*task.assignees, task.owner]
    return next((user for user in able if user != besides), able[0] if able else None)


def _respond(task: Task, action: str, user: str, comment: str | None, at: float, rules: Switches) -> Effect | Refusal:
    index = task.active
    if index is None:
        return Refusal(rules.wrong_state_status, f"{action} does not fit a task that is {task.status}")
    step = task.steps[index]
    may_skip = action == "SKIP" and (user == task.owner or rules.roles == "anyone")
    if user not in step.participants and not may_skip:
        return Refusal(rules.outsider_status, "not a participant of the active step")
    if rules.second_response == "refused" and any(a.user == user for a in step.given(task.round)):
        return Refusal(409, "this user has responded to this step")
    if action == "REJECT" and rules.reject_needs_comment and not comment:
        return Refusal(400, "a rejection needs a comment", "comment")
    step = replace(step, answers=(*step.answers, Answer(user, action, at, task.round, comment, rules.skip == "step")))
    task = replace(task, steps=(*task.steps[:index], step, *task.steps[index + 1 :]))
    if not rules.modified_frozen:
        task = replace(task, modified_at=at, modified_by=user)
    return Effect(_settle(task, index, rules), index + 1)


def _settle(task: Task, index: int, rules: Switches) -> Task:
    """The status that follows from the responses."""
    given = task.steps[index].given(task.round)
    rejected = any(a.action == "REJECT" for a in given)
    if rejected and task.steps[index].mode == "ALL" and rules.all_reject == "waits":
        rejected = {a.user for a in given} >= set(task.steps[index].participants)
    if rejected and not task.steps[index].complete(task.round):
        return replace(task, status=rules.reject_status)
    return replace(task, status=rules.final_status) if task.active is None else task


def _begin(task: Task, rules: Switches) -> Task:
    """A new round, on the first step."""
    steps = tuple(replace(s, answers=()) for s in task.steps) if rules.resubmit == "clears" else task.steps
    return replace(task, status=AWAITING, round=task.round + 1, steps=steps)


def _restart(task: Task, rules: Switches) -> Task:
    if task.steps and rules.restart_status == AWAITING:
        return _begin(task, rules)
    begun = _begin(task, rules)
    return replace(begun, status=CREATED, round=task.round)  # the round begins with the SUBMIT


def change(task: Task, fields: Mapping[str, Any], user: str, at: float, rules: Switches) -> Effect | Refusal:
    """A PATCH: fields of Task, already read. It may begin a new round (11)."""
    second = task.location is not None and fields.get("location", task.location) != task.location
    if second and isinstance(rules.second_location, int):
        return Refusal(rules.second_location, "a location that is attached cannot be changed", "/location")  # (12)
    if "status" in fields:
        return _set(task, fields["status"], user, at, rules)
    if "steps" in fields:
        fields = {**fields, "steps": _carried(task.steps if rules.patched_steps != "cleared" else (), fields["steps"])}
    now = replace(task, **fields, modified_at=at, modified_by=user)
    overturned = now.assignees != task.assignees or now.location != task.location or _approver_lost(task, now)
    if rules.patch_restarts and overturned and task.status not in {CREATED, CANCELLED}:
        return Effect(_restart(now, rules), restarted=True)
    if now.status == AWAITING and now.active is None and now.steps and rules.patched_steps != "open":
        now = replace(now, status=rules.final_status)  # (13)
    return Effect(now)


def _set(task: Task, status: str, user: str, at: float, rules: Switches) -> Effect | Refusal:
    """A PATCH of the status, which the texts allow for a task of a single step and the table of paths does not (37)."""
    if len(task.steps) > 1 or status not in {CREATED, AWAITING, RETURNED, CANCELLED, COMPLETED}:
        return Refusal(400, "the status of a task with several steps moves by actions only", "/status")
    moved = replace(task, modified_at=at, modified_by=user)
    begins = status == AWAITING and task.steps and task.status != AWAITING
    return Effect(_begin(moved, rules) if begins else replace(moved, status=status))


def _carried(old: tuple[Step, ...], new: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(replace(step, answers=old[i].answers if i < len(old) else ()) for i, step in enumerate(new))


def _approver_lost(old: Task, new: Task) -> bool:
    for i, step in enumerate(old.steps):
        approvers = {a.user for a in step.given(old.round) if a.action == "APPROVE"}
        kept = set(new.steps[i].participants) if i < len(new.steps) else set()
        if approvers - kept:
            return True
    return False
