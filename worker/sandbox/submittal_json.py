"""Items, steps, tasks and responses as JSON, for one caller: what each of them permits, its states, its times, its nulls."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from worker.sandbox import submittals
from worker.sandbox.assumptions import Switches
from worker.sandbox.project import Project
from worker.sandbox.submittals import COMPANY, DONE, ROLE, USER, Item, Move, Person, Reply, Step, Task

STATUS: Mapping[str, str] = {"draft": "6", "sbc-1": "1", "mgr-1": "2", "rev": "2", "mgr-2": "2", "sbc-2": "3", "void": "4"}
"""`statusId` by state [TUT]; 5, Empty, is no state's."""

STATUSES = (("1", "required"), ("2", "open"), ("3", "closed"), ("4", "void"), ("5", "empty"), ("6", "draft"))

_EDITABLE = (
    *("title", "description", "packageId", "specId", "subsection", "typeId", "priority", "manager", "managerType", "subcontractor"),
    *("subcontractorType", "watchers", "submitterDueDate", "sentToSubmitter", "receivedFromSubmitter", "managerDueDate", "sentToReview"),
    *("receivedFromReview", "publishedDate", "requiredDate", "requiredApprovalDate", "requiredOnJobDate", "leadTime"),
)
PATCHABLE = frozenset({*_EDITABLE, "customIdentifier", "mailNote", "sendEmails", "dueDate"})


def time(at: float | None, rules: Switches) -> str | None:
    """Six digits of a second, or three or seven (58). One instant is always written alike."""
    if at is None:
        return None
    micro = round(at * 1_000_000)
    stem, fraction = datetime.fromtimestamp(micro // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S"), f"{micro % 1_000_000:06d}"
    if rules.timestamps == "mixed":
        if fraction.endswith("000"):
            fraction = fraction[:3]
        elif micro % 3 == 0:
            fraction += "4"
    return f"{stem}.{fraction}Z"


def action(id_: str, fields: Iterable[str] = (), mandatory: Iterable[str] = (), transitions: Iterable[Any] = ()) -> dict[str, Any]:
    """One of `permittedActions`. An empty list of values: any."""
    values: dict[str, list[Any]] = {name: [] for name in fields}
    return {"id": id_, "fields": values, "mandatoryFields": list(mandatory), "transitions": list(transitions)}


def item_json(item: Item, person: Person, rules: Switches) -> dict[str, Any]:
    """As GET items and GET item show it to that person."""
    return {**plain_json(item, rules), "permittedActions": _item_actions(item, person)}


def plain_json(item: Item, rules: Switches) -> dict[str, Any]:
    """What every caller is shown alike."""
    whose, court = submittals.in_court(item)
    return {
        "id": item.id,
        "identifier": item.identifier,
        **submittals.PLAIN,
        "title": item.title,
        "revision": 0,
        "stateId": item.state,
        "statusId": STATUS[item.state],
        "ballInCourt": [],  # in no reference page, and in every payload of the tutorial [TUT]
        "ballInCourtUsers": court.get(USER, []),
        "ballInCourtCompanies": court.get(COMPANY, []),
        "ballInCourtRoles": court.get(ROLE, []),
        "ballInCourtType": whose,
        "manager": item.manager,
        "managerType": item.manager_type,
        "subcontractor": item.subcontractor,
        "subcontractorType": item.subcontractor_type,
        "dueDate": item.due,
        "sentToSubmitter": time(item.sent_to_submitter, rules),
        "receivedFromSubmitter": time(item.received_from_submitter, rules),
        "submittedBy": item.submitted_by,
        "sentToReview": time(item.sent_to_review, rules),
        "sentToReviewBy": item.sent_to_review_by,
        "receivedFromReview": time(item.received_from_review, rules),
        "publishedDate": time(item.published_at, rules),
        "publishedBy": item.published_by,
        "responseId": item.reply,
        "responseComment": item.comment,
        "respondedAt": time(item.responded_at, rules),
        "respondedBy": item.responded_by,
        "createdAt": time(item.created_at, rules),
        "createdBy": item.created_by,
        "updatedAt": time(item.updated_at, rules),
        "updatedBy": item.updated_by,
        "customIdentifier": item.custom_identifier,
        "customIdentifierHumanReadable": item.custom_identifier,
        **item.fields,
    }


def _item_actions(item: Item, person: Person) -> list[dict[str, Any]]:
    actions = [action(f"Item::{name}") for name in ("retrieve", "add_reference", "delete_reference")]
    actions += [action(f"{name}::list") for name in ("Attachment", "AttachmentDraft", "Comment", "Step")]
    if person.manages:
        actions.append(action("Item::partial_update", (*_EDITABLE, "customIdentifier")))
    ways = [_way(item.state, to, move) for to, move in submittals.moves(item, person)]
    if ways:
        actions.append(action("Item::wf_transition", ("stateId", *_EDITABLE), ("stateId",), ways))
    return actions


def _way(from_: str, to: str, move: Move) -> dict[str, Any]:
    def short(state: str) -> str:
        return state.replace("-", "").upper()

    return {
        "id": f"{from_}::{to}",
        "name": move.name,
        "stateFrom": {"id": from_, "name": from_.replace("-", " ").upper()},
        "stateTo": {"id": to, "name": to.replace("-", " ").upper()},
        "transitionFields": list(move.takes) or None,
        "mandatoryFields": list(move.needs) or None,
        "actionId": f"ITEM_TRANSITION_{short(from_)}_{short(to)}",
    }


def step_json(item: Item, step: Step, person: Person, rules: Switches) -> dict[str, Any]:
    """With its tasks."""
    actions = [action("Step::retrieve")]
    if person.manages:
        actions.append(action("Step::partial_update", ("daysToRespond", "startedAt", "dueDate")))
    actions.append(action("Task::list"))
    if person.manages and item.state == submittals.REVIEW:
        actions.append(action("Step::overwrite_step", ("tasks",), ("tasks",)))
    return {
        "id": step.id,
        "itemId": item.id,
        "status": step.status,
        "stepNumber": step.number,
        "daysToRespond": step.days,
        "dueDate": step.due,
        "startedAt": time(step.started_at, rules),
        "completedAt": time(step.completed_at, rules),
        "tasks": [task_json(item, step, task, person, rules) for task in step.tasks],
        "createdBy": step.created_by,
        "createdAt": time(step.created_at, rules),
        "updatedBy": step.updated_by,
        "updatedAt": time(step.updated_at, rules),
        "permittedActions": actions,
    }


def task_json(item: Item, step: Step, task: Task, person: Person, rules: Switches) -> dict[str, Any]:
    """A task that nobody answered has nulls [TUT]. Which actions it shows, before and after its close, is the tutorial's [TUT]."""
    actions = [action("Task::retrieve")]
    if person.manages:
        actions.append(action("Task::partial_update", ("startedAt", "completedAt") if task.status == DONE else ("startedAt",)))
    if task.status != DONE and submittals.may_close(item, step, task, person, rules):
        fields = ("responseComment", "responseId", "saveAttachmentDrafts", "duplicateAttachments")
        actions.append(action("Task::close", fields, ("responseId",)))
    return {**_task(step, task, rules), "permittedActions": actions}


def _task(step: Step, task: Task, rules: Switches) -> dict[str, Any]:
    responded = time(task.responded_at, rules)
    return {
        "id": task.id,
        "stepId": step.id,
        "createdBy": task.created_by,
        "createdAt": time(task.created_at, rules),
        "updatedBy": task.updated_by,
        "updatedAt": time(task.updated_at, rules),
        "status": task.status,
        "assignedTo": task.assigned,
        "assignedToType": task.kind,
        "isRequired": task.required,
        "stepDueDate": step.due,
        "responseComment": task.comment,
        "respondedAt": responded,
        "respondedBy": task.responded_by,
        "startedAt": time(task.started_at, rules),
        "completedAt": responded if task.status == DONE else None,
        "completedBy": task.responded_by,
        "responseId": task.reply,
    }


def revision_json(item: Item, rules: Switches) -> dict[str, Any]:
    """The one revision that there is: no status, no permitted actions; ids are called `stepId` and `taskId` [REV]."""
    steps: list[dict[str, Any]] = []
    for step in item.steps:
        tasks = [{"taskId": task.id, **_task(step, task, rules)} for task in step.tasks]
        for task in tasks:
            del task["id"], task["status"]
        steps.append(
            {
                "stepId": step.id,
                "stepNumber": step.number,
                "daysToRespond": step.days,
                "dueDate": step.due,
                "revision": 0,
                "startedAt": time(step.started_at, rules),
                "completedAt": time(step.completed_at, rules),
                "createdAt": time(step.created_at, rules),
                "updatedAt": time(step.updated_at, rules),
                "tasks": tasks,
            }
        )
    shown = plain_json(item, rules)
    kept = {name: shown[name] for name in (*_REVISED, "revision") if name in shown}
    return {"itemId": item.id, **kept, "steps": steps, "tasks": [task for step in steps for task in step["tasks"]]}


_REVISED = (
    *("manager", "managerType", "subcontractor", "subcontractorType", "managerDueDate", "submitterDueDate", "sentToSubmitter"),
    *("receivedFromSubmitter", "submittedBy", "sentToReview", "sentToReviewBy", "receivedFromReview", "publishedDate", "publishedBy"),
    *("responseId", "responseComment", "respondedAt", "respondedBy"),
)


def reply_json(reply: Reply, project: Project) -> dict[str, Any]:
    """One of the project's responses [RESP]."""
    at = time(project.begun_at, project.switches)
    return {
        "id": reply.id,
        "key": reply.key,
        "value": reply.value,
        "platformId": reply.key,
        "categoryId": reply.category,
        "isApproval": reply.approval,
        "isActive": reply.active,
        "isInUse": any(item.reply == reply.id for item in project.items.values()),
        "createdAt": at,
        "createdBy": "",
        "updatedAt": at,
        "updatedBy": "",
    }


def template_json(project: Project, id_: str) -> dict[str, Any]:
    """A review template [TPL]."""
    template = project.templates[id_]
    kinds = {"user": USER, "company": COMPANY, "role": ROLE}
    steps = []
    for number, each in enumerate(template.steps, 1):
        tasks = []
        for n, task in enumerate(each["tasks"], 1):
            who = task if isinstance(task, Mapping) else {"user": task}
            name = next(name for name in kinds if name in who)
            tasks.append(
                {
                    "id": _part(template.id, number, n),
                    "assignedTo": who[name],
                    "assignedToType": kinds[name],
                    "isRequired": bool(who.get("required", True)),
                }
            )
        steps.append(
            {"id": _part(template.id, number, 0), "stepNumber": number, "daysToRespond": int(each.get("daysToRespond", 7)), "tasks": tasks}
        )
    at = time(project.begun_at, project.switches)
    return {
        "id": template.id,
        "name": template.name,
        "steps": steps,
        "watchers": [],
        "createdAt": at,
        "createdBy": "",
        "updatedAt": at,
        "updatedBy": "",
    }


def _part(id_: str, step: int, task: int) -> str:
    return f"{id_[:-4]}{step:02x}{task:02x}"


def person_json(person: Person) -> dict[str, Any]:
    """GET users/me [ME]. Only a manager may create in `sbc-1`."""
    states = ("mgr-1", "sbc-1") if person.manages else ("mgr-1",)
    ways = [
        {
            "id": f"create::{to}",
            "name": "Create",
            "stateFrom": {"id": "create", "name": "Create"},
            "stateTo": {"id": to, "name": to.replace("-", " ").upper()},
            "transitionFields": ["manager", "managerType", "stateId", "title", "description", "priority"],
            "mandatoryFields": ["manager", "managerType", "stateId", "title"],
            "actionId": f"ITEM_TRANSITION_CREATE_{to.replace('-', '').upper()}",
        }
        for to in states
    ]
    return {"id": person.id, "roles": sorted(person.roles), "permittedActions": [action("Item::create", (), ("stateId",), ways)]}


def metadata_json(project: Project) -> dict[str, Any]:
    """What is documented of GET metadata, without item types and attachments [META]."""

    def rows(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"id": id_, "key": key, "value": key.capitalize()} for id_, key in pairs]

    roles = rows(("1", "manager"), ("2", "user"), ("4", "admin"))
    return {
        "id": project.id,
        "submittalRoles": roles,
        "adminMappingsSubmittalRoles": roles,
        "attachmentUrnTypes": [],
        "attachmentCategories": [],
        "attachmentTypes": [],
        "itemTypes": [],
        "userTypes": rows((USER, "user"), (COMPANY, "company"), (ROLE, "role")),
        "statuses": rows(*STATUSES),
        "responses": [reply_json(reply, project) for reply in project.replies.values()],
        "isManagerMappingDefined": any(person.manages for person in project.people.values()),
        "noPackagesInProject": True,
        "noItemsInProject": not project.items,
        "responseCategories": [
            {"id": "1", "value": "Approved", "isApproval": True},
            {"id": "2", "value": "Revise and resubmit", "isApproval": False},
            {"id": "3", "value": "Rejected", "isApproval": False},
        ],
        "customIdentifierSequenceType": "1",
    }


def mapping_json(person: Person) -> dict[str, Any]:
    """One manager [MAP]."""
    return {"id": person.id, "autodeskId": person.id, "userType": USER, "submittalsRole": "1"}


def truth_json(item: Item, rules: Switches) -> dict[str, Any]:
    """For the control API: what no caller sees is there, too. `tasks`: their references, as journal and faults name them."""
    nobody = Person("", frozenset())
    step = item.active
    shown = {**plain_json(item, rules), "steps": [step_json(item, each, nobody, rules) for each in item.steps]}
    return {
        **shown,
        "round": item.round,
        "active_step": step.number if step else None,
        "moves_at": item.moves_at,
        "tasks": [f"{item.id}/{step.id}/{task.id}" for step in item.steps for task in step.tasks],
    }
