"""Tasks as JSON: what the wire carries [OAS], and what it may bring in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from worker.sandbox.assumptions import Switches
from worker.sandbox.life import Answer, Step, Task


class BadShapeError(ValueError):
    """The body is not what the schema says. `target`: the field."""

    def __init__(self, target: str, message: str) -> None:
        super().__init__(message)
        self.target = target


def instant(text: str) -> float:
    """Seconds since the epoch. Raises ValueError for a text without an offset: it would mean another instant on each machine."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return moment.timestamp()


@lru_cache(maxsize=8192)  # a third of the time an answer takes
def written(at: float, digits: int, zone: str = "Z") -> str:
    """An instant as the published examples write it, cut (never rounded up) to so many digits."""
    moment = datetime.fromtimestamp(round(at, 6), UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if digits:
        text += f".{moment.microsecond:06d}"[: digits + 1]
    return text + zone


def task_json(task: Task, rules: Switches, turn: int = 0) -> dict[str, Any]:
    """A task [OAS Task]. `turn` counts answers: with fractions = "vary" each is written with another precision than the one before."""
    digits = (0, 3, 6)[turn % 3] if rules.fractions == "vary" else int(rules.fractions)
    return {
        "approvalSteps": [_step_json(step, rules, digits) for step in task.steps],
        "assignees": [_user_json(user) for user in task.assignees],
        "created": _action_json(task.created_at, task.created_by, rules, digits),
        "description": task.description,
        **_due(task.due, rules),
        "id": task.id,
        "location": None if task.location is None else dict(task.location),
        "modified": _action_json(task.modified_at, task.modified_by, rules, digits),
        "notificationsDisabled": task.notifications_disabled,
        "owner": task.owner,
        "sourceUrl": f"https://app.wdesk.com/tasks/d/{task.id}",
        "status": task.status,
        "title": task.title,
    }


def _step_json(step: Step, rules: Switches, digits: int) -> dict[str, Any]:
    return {
        "completionMode": step.mode,
        **_due(step.due, rules),
        "participants": [_user_json(user) for user in step.participants],
        "responses": [_answer_json(given, rules, digits) for given in step.answers],
    }


def _answer_json(given: Answer, rules: Switches, digits: int) -> dict[str, Any]:
    created: dict[str, Any] = {"dateTime": written(given.at, digits, "+00:00")}
    if rules.wire != "example":
        created["user"] = {"id": given.user}
    if rules.wire != "schema":
        created["user_id"] = given.user
    return {"action": given.action, "comment": given.comment, "created": created}


def _due(due: str | None, rules: Switches) -> dict[str, str | None]:
    return {"schema": {"dueDate": due}, "example": {"dueAt": due}, "both": {"dueDate": due, "dueAt": due}}[rules.wire]


def _action_json(at: float, user: str, rules: Switches, digits: int) -> dict[str, Any]:
    named = {"user": {"id": user}} if rules.modified_user else {}
    return {"dateTime": written(at, digits), **named}


def _user_json(user: str) -> dict[str, str]:
    return {"id": user, "type": "USER"}


def truth_json(task: Task) -> dict[str, Any]:
    """What no client can see: the round, the active step, whose round a response belongs to."""
    return {
        "id": task.id,
        "title": task.title,
        "status": task.status,
        "round": task.round,
        "active_step": None if task.active is None else task.active + 1,
        "process_made": task.process_made,
        "owner": task.owner,
        "assignees": list(task.assignees),
        "created_at": task.created_at,
        "modified_at": task.modified_at,
        "steps": [
            {
                "participants": list(step.participants),
                "mode": step.mode,
                "complete": step.complete(task.round),
                "responses": [
                    {"user": a.user, "action": a.action, "comment": a.comment, "at": a.at, "round": a.round} for a in step.answers
                ],
            }
            for step in task.steps
        ],
    }


READ_ONLY = frozenset({"created", "id", "modified", "owner", "sourceUrl"})
"""[OAS Task]"""


def fields_of(body: Any, rules: Switches) -> dict[str, Any]:
    """The fields of a Task that a client may write at POST; read-only ones are ignored (25), an unknown one is too."""
    if not isinstance(body, dict):
        raise BadShapeError("body", "a task is an object")
    if rules.creation == "strict" and (given := READ_ONLY & set(body)):
        raise BadShapeError(min(given), f"{min(given)} is read-only")
    if body.get("status") not in {None, "Created"} and rules.creation != "any_status":
        raise BadShapeError("status", "a new task is Created")  # (25)
    if "title" not in body:
        raise BadShapeError("title", "a task needs a title")
    writable = ["title", "description", "assignees", "approvalSteps", "dueDate", "location", "notificationsDisabled"]
    writable += ["status"] if rules.creation == "any_status" else []
    return dict(field_of(name, body[name], rules) for name in writable if body.get(name) is not None)


PATCHABLE = frozenset({"approvalSteps", "assignees", "description", "dueDate", "location", "owner", "title"})
"""[P-patch]. `/status` is not among them (37)."""


def changes_of(body: Any, rules: Switches) -> dict[str, Any]:
    """The fields that a JSON Patch replaces [P-patch]: `replace` only, so there is no `test` to make it conditional."""
    if not isinstance(body, list) or not all(isinstance(each, dict) for each in body):
        raise BadShapeError("body", "a patch is an array of operations")
    patchable = PATCHABLE | {"status"} if rules.status_patch else PATCHABLE
    found: dict[str, Any] = {}
    for each in body:
        name = str(each.get("path", "")).removeprefix("/")
        if each.get("op") != "replace" or name not in patchable or "value" not in each:
            raise BadShapeError(str(each.get("path")), f"{each.get('op')} of {each.get('path')} is not supported")
        key, value = field_of(name, each["value"], rules)
        found[key] = value
    return found


def field_of(name: str, value: Any, rules: Switches) -> tuple[str, Any]:
    """One field, from its name on the wire to ours."""
    match name:
        case "title" | "owner" | "status":
            if not isinstance(value, str) or not value:
                raise BadShapeError(name, f"{name} is a text")
            return name, value
        case "description":
            if value is not None and not isinstance(value, str):
                raise BadShapeError(name, "description is a text")
            return name, value
        case "dueDate":
            return "due", _date(value, name)
        case "notificationsDisabled":
            return "notifications_disabled", bool(value)
        case "assignees":
            return name, _users(value, name)
        case "location":
            if value is not None and not (isinstance(value, dict) and isinstance(value.get("resource"), str)):
                raise BadShapeError(name, "a location names a resource")
            return name, value and {"resource": value["resource"], "segment": value.get("segment")}
        case _:
            if not isinstance(value, list):
                raise BadShapeError(name, "approvalSteps is an array")
            return "steps", tuple(_step(each, rules) for each in value)


def _step(value: Any, rules: Switches) -> Step:
    if not isinstance(value, dict):
        raise BadShapeError("approvalSteps", "a step is an object")
    participants = _users(value.get("participants"), "approvalSteps.participants")
    if value.get("completionMode") not in {"ONE", "ALL"}:
        raise BadShapeError("approvalSteps.completionMode", "completionMode is ONE or ALL")
    if not participants and rules.participants != "nobody":
        raise BadShapeError("approvalSteps.participants", "a step needs a participant")  # (26)
    if rules.participants == "refused" and len(set(participants)) < len(participants):
        raise BadShapeError("approvalSteps.participants", "a participant is named twice")
    due = _date(value.get("dueDate"), "approvalSteps.dueDate")
    return Step(participants, value["completionMode"], due, twice=rules.participants == "twice")


def _users(value: Any, target: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(u, dict) and isinstance(u.get("id"), str) for u in value):
        raise BadShapeError(target, "users are an array of {id, type}")
    return tuple(u["id"] for u in value)


def _date(value: Any, target: str) -> str | None:
    if value is None:
        return None
    try:
        at = instant(value)
    except (TypeError, ValueError):
        raise BadShapeError(target, f"{target} is a date-time with an offset") from None
    return str(value) if str(value).endswith("Z") else written(at, 0 if at.is_integer() else 3)  # "converted to UTC" [WPC]


def made(spec: Mapping[str, Any], *, id_: str, owner: str, at: float) -> Task:
    """A task as a test asks for it: plain user ids, any status, past responses.

    {title, steps: [{participants: [id], mode, due, responses: [{user, action, comment, at}]}], assignees, owner, status, round,
     process_made, description, due, location, modified_at}. No steps: one, for the owner. No status: awaiting approval, or what the
    responses make of it is the caller's to say.
    """
    known = {
        "id", "title", "steps", "assignees", "owner", "status", "round", "process_made", "description", "due", "location", "modified_at"
    }  # fmt: skip
    if unknown := set(spec) - known:
        raise BadShapeError(", ".join(sorted(unknown)), f"a task is made of {', '.join(sorted(known))}")
    for each in spec.get("steps", ()):
        if isinstance(each["participants"], str) or each.get("mode", "ONE") not in {"ONE", "ALL"}:
            raise BadShapeError("steps", "a step has participants: [id, …], and mode ONE or ALL")
    owner = spec.get("owner", owner)
    status = spec.get("status", "Awaiting Approval" if spec.get("steps", True) else "Created")
    round_ = spec.get("round", 0 if status == "Created" else 1)
    steps = tuple(
        Step(
            tuple(each["participants"]),
            each.get("mode", "ONE"),
            each.get("due"),
            tuple(
                Answer(a["user"], a.get("action", "APPROVE"), a.get("at", at), a.get("round", round_), a.get("comment"))
                for a in each.get("responses", ())
            ),
        )
        for each in spec.get("steps", ({"participants": [owner]},))
    )
    return Task(
        id=spec.get("id", id_),
        title=spec.get("title", "Review Document"),
        owner=owner,
        created_at=at,
        created_by=owner,
        modified_at=spec.get("modified_at", at),
        modified_by=owner,
        assignees=tuple(spec.get("assignees", (owner,))),
        steps=steps,
        status=status,
        round=round_,
        description=spec.get("description"),
        due=spec.get("due"),
        location=spec.get("location"),
        process_made=bool(spec.get("process_made")),
    )
