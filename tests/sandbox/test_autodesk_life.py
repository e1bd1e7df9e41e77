"""The life of a submittal item, seen through the API."""

import pytest

from tests.sandbox.conftest import START
from tests.sandbox.site import MANAGER, Site

JANE, JOE, ANN = "jane", "joe", "ann"
ASIDE = {"user": JOE, "required": False}
TO_MANAGER = {"manager": MANAGER, "managerType": "1"}


@pytest.fixture
def site():
    return Site()


def statuses(site, item):
    return [(step["status"], [task["status"] for task in step["tasks"]]) for step in site.steps(item)]


def closing(site, item, user, step=1, task=1):
    """What `Task::close` permits that user."""
    actions = site.get(site.ref(item, step, task), user=user)["permittedActions"]
    return next((action for action in actions if action["id"] == "Task::close"), None)


def test_the_tutorial(site):
    """From the contractor to the close: the states, who is in whose court, and the instants, as the published payloads have them."""
    item = site.item([MANAGER], state="sbc-1", subcontractor=JANE)
    assert site.get(f"/items/{item}")["ballInCourtUsers"] == [JANE]
    assert site.go(item, "mgr-1", user=JANE, manager=MANAGER).json()["ballInCourtType"] == "manager"
    site.clock.pass_(60)
    shown = site.go(item, "rev").json()
    assert (shown["stateId"], shown["statusId"], shown["ballInCourtType"], shown["sentToReviewBy"]) == ("rev", "2", "reviewer", MANAGER)
    (step,) = site.steps(item)
    (task,) = step["tasks"]
    assert (step["status"], step["dueDate"], task["stepDueDate"], shown["dueDate"]) == ("in-progress", *[task["stepDueDate"]] * 3)
    nulls = ("responseId", "responseComment", "respondedAt", "respondedBy", "completedAt", "completedBy")
    assert [task[name] for name in nulls] == [None] * 6
    assert [action["id"] for action in task["permittedActions"]] == ["Task::retrieve", "Task::partial_update", "Task::close"]
    site.clock.pass_(60)
    closed = site.close(item, responseComment="reviewed")
    assert closed.status == 200
    task = closed.json()
    assert (task["status"], task["responseId"], task["responseComment"]) == ("completed", site.reply(), "reviewed")
    assert task["respondedAt"] == task["completedAt"]
    assert (task["respondedBy"], task["completedBy"]) == (MANAGER, MANAGER)
    assert [action["id"] for action in task["permittedActions"]] == ["Task::retrieve", "Task::partial_update"]
    assert site.get(site.ref(item)) == task
    assert site.state(item) == "rev", "the system has not moved it yet"
    site.clock.pass_(0.2)
    shown = site.get(f"/items/{item}")
    assert (shown["stateId"], shown["responseId"], shown["dueDate"]) == ("mgr-2", None, None)
    assert task["completedAt"] < shown["receivedFromReview"] < shown["updatedAt"]
    shown = site.go(item, "sbc-2", responseId=site.reply("rejected"), responseComment="final").json()
    assert (shown["statusId"], shown["responseComment"], shown["publishedBy"]) == ("3", "final", MANAGER)
    assert [(deed.action, deed.user, deed.step, deed.by, deed.state) for deed in site.project.journal] == [
        ("transition sbc-1::mgr-1", JANE, None, "api", "mgr-1"),
        ("transition mgr-1::rev", MANAGER, None, "api", "rev"),
        ("close", MANAGER, 1, "api", "rev"),
        ("move", "", None, "system", "mgr-2"),
        ("transition mgr-2::sbc-2", MANAGER, None, "api", "sbc-2"),
    ]


def test_the_journal_tells_what_where_when_and_by_which_request(site):
    item = site.item([JANE], [JOE])
    site.clock.pass_(5)
    answer = site.close(item, user=JANE, responseComment="mark")
    (deed,) = site.project.journal
    step = site.project.items[item].steps[0]
    told = deed.json()
    assert (told["item"], told["task"], told["step"], told["round"]) == (item, f"{item}/{step.id}/{step.tasks[0].id}", 1, 1)
    assert (told["at"], told["response"], told["comment"], told["request"]) == (
        START + 5, site.reply(), "mark", answer.headers["X-Sandbox-Request"]
    )  # fmt: skip


def test_the_last_required_task_ends_a_step_and_the_next_one_begins(site):
    item = site.item([JANE, ASIDE, ANN], [ANN])
    site.close(item, 1, 1, user=JANE)
    assert statuses(site, item)[0] == ("in-progress", ["completed", "in-progress", "in-progress"])
    assert closing(site, item, ANN, 2) is None, "the second step has not begun"
    site.clock.pass_(60)
    site.close(item, 1, 3, user=ANN)
    assert statuses(site, item) == [("completed", ["completed", "in-progress", "completed"]), ("in-progress", ["in-progress"])]
    assert closing(site, item, JOE, 1, 2) is None, "an optional task that was left"
    second = site.steps(item)[1]
    assert second["startedAt"] == site.get(site.ref(item, 2))["startedAt"] == site.steps(item)[0]["completedAt"]
    assert site.get(f"/items/{item}")["ballInCourtUsers"] == [ANN]
    site.clock.pass_(60)
    assert site.state(item) == "rev"


def test_an_optional_task_can_be_closed_and_ends_nothing(site):
    item = site.item([ASIDE, JANE])
    assert site.close(item, 1, 1, user=JOE).status == 200
    site.clock.pass_(60)
    assert (site.state(item), statuses(site, item)) == ("rev", [("in-progress", ["completed", "in-progress"])])


def test_a_rejection_counts_as_a_response(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE, reply="rejected")
    assert [status for status, _ in statuses(site, item)] == ["completed", "in-progress"]


@pytest.mark.parametrize(
    ("assigned", "who"),
    [(JANE, JANE), ({"company": "acme"}, JOE), ({"role": "architects"}, ANN)],
    ids=["user", "company", "role"],
)
def test_who_may_close(site, assigned, who):
    """The user, any member of the company, any holder of the role; the manager on their behalf; and nobody else."""
    site.project.join({"id": JOE, "companies": ["acme"]})
    site.project.join({"id": ANN, "groups": ["architects"]})
    item = site.item([assigned, assigned])
    for user in (JANE, JOE, ANN):
        assert (closing(site, item, user) is not None) == (user == who)
        if user != who:
            assert site.close(item, user=user).status == 403
    assert site.close(item, user=who).json()["respondedBy"] == who
    assert site.close(item, task=2).json()["respondedBy"] == MANAGER
    court = site.get(f"/items/{site.item([assigned])}")
    assert [kind for kind in ("Users", "Companies", "Roles") if court[f"ballInCourt{kind}"]] == [
        {JANE: "Users", JOE: "Companies", ANN: "Roles"}[who]
    ]


def test_another_round_has_the_same_tasks_anew(site):
    """Returned to the manager and sent again: same ids, no responses, a later start; its journal tells the round."""
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE)
    before = site.steps(item)
    site.clock.pass_(60)
    assert site.go(item, "mgr-1", **TO_MANAGER).json()["stateId"] == "mgr-1"
    assert site.close(item, 2, user=JOE).status == 403, "the item is not under review"
    site.clock.pass_(60)
    site.go(item, "rev")
    after = site.steps(item)
    assert [t["id"] for s in after for t in s["tasks"]] == [t["id"] for s in before for t in s["tasks"]]
    assert statuses(site, item) == [("in-progress", ["in-progress"]), ("not-started", ["not-started"])]
    assert after[0]["tasks"][0]["startedAt"] > before[0]["tasks"][0]["startedAt"]
    assert after[0]["tasks"][0]["responseId"] is None
    site.close(item, user=JANE)
    assert [(deed.action, deed.round) for deed in site.project.journal if deed.action == "close"] == [("close", 1), ("close", 2)]


def test_a_return_for_review_begins_the_last_step_again(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE)
    site.close(item, 2, user=JOE)
    site.clock.pass_(1)
    assert site.go(item, "rev", stepDueDate="2030-05-06").json()["dueDate"] == "2030-05-06"
    assert statuses(site, item) == [("completed", ["completed"]), ("in-progress", ["in-progress"])]


def test_the_manager_may_be_faster_than_the_system(site):
    """Taken back in the moment between the last response and the system's move: it moves no more."""
    item = site.item([JANE])
    site.close(item, user=JANE)
    site.go(item, "mgr-1", **TO_MANAGER)
    site.clock.pass_(60)
    assert site.state(item) == "mgr-1"


@pytest.mark.parametrize(
    ("state", "ways"),
    [
        ("sbc-1", ["mgr-1", "void", "sbc-2"]),
        ("mgr-1", ["sbc-2", "void", "sbc-1", "rev"]),
        ("rev", ["sbc-2", "void", "mgr-1"]),
        ("mgr-2", ["sbc-2", "void", "rev"]),
        ("sbc-2", ["mgr-2"]),
        ("void", []),
        ("draft", []),
    ],
)
def test_the_ways_from_a_state(site, state, ways):
    """They are shown to a manager, each with its mandatory fields, and no other one is there; nobody else has any."""
    item = site.item(state=state, subcontractor=JANE)
    shown = [a for a in site.get(f"/items/{item}")["permittedActions"] if a["id"] == "Item::wf_transition"]
    assert [way["stateTo"]["id"] for action in shown for way in action["transitions"]] == ways
    for way in shown[0]["transitions"] if shown else []:
        needs = [name for name in way["mandatoryFields"] or [] if name != "customIdentifier"]
        if needs:
            assert site.go(item, way["stateTo"]["id"]).status == 400, "its mandatory fields are missing"
    for to in {"draft", "sbc-1", "mgr-1", "rev", "mgr-2", "sbc-2", "void"} - set(ways):
        assert site.go(item, to).status == 403
    if state != "draft":
        others = [a["id"] for a in site.get(f"/items/{item}", user=JOE)["permittedActions"]]
        assert "Item::wf_transition" not in others
        assert site.go(item, "void", user=JOE).status == 403


def test_a_number_is_needed_for_a_review_and_for_a_close(site):
    item = site.item(state="mgr-1", customIdentifier=None)
    assert site.go(item, "rev").status == 400
    assert site.go(item, "rev", customIdentifier="17").json()["customIdentifier"] == "17"


def test_an_item_without_steps_cannot_be_reviewed(site):
    item = site.project.make({"steps": [], "state": "mgr-1"}).id
    assert site.go(item, "rev").status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"responseId": None}, 400), ({"responseId": "nonsense"}, 400), ({"responseComment": 5}, 400), (b"{", 400), ([], 400)],
)
def test_a_close_that_cannot_be_read_does_nothing(site, body, status):
    item = site.item([JANE])
    if isinstance(body, dict) and "responseComment" in body:
        body["responseId"] = site.reply()
    assert site.call("POST", f"{site.ref(item)}:close", body, user=JANE).status == status
    assert not site.project.journal


def test_a_response_that_was_deleted_is_refused(site):
    item = site.item([JANE])
    site.project.reply(id=site.reply(), isActive=False)
    assert site.close(item, user=JANE).status == 400
    assert site.get(f"/responses/{site.reply()}")["isActive"] is False


def test_a_review_by_a_template(site):
    template = site.project.template({"name": "Two", "steps": [[JANE], {"daysToRespond": 3, "tasks": [ASIDE, {"role": "architects"}]}]})
    (shown,) = site.get("/templates")["results"]
    assert [len(step["tasks"]) for step in shown["steps"]] == [1, 2]
    assert [(t["assignedTo"], t["assignedToType"], t["isRequired"]) for t in shown["steps"][1]["tasks"]] == [
        (JOE, "1", False), ("architects", "3", True)
    ]  # fmt: skip
    item = site.project.make({"template": template.id}).id
    assert [[t["assignedTo"] for t in step["tasks"]] for step in site.steps(item)] == [[JANE], [JOE, "architects"]]


@pytest.mark.parametrize("spec", [{"state": "open"}, {"steps": [[]]}, {"steps": [[{"user": "a", "role": "b"}]]}, {"steps": [[5]]}])
def test_an_item_that_cannot_be(site, spec):
    with pytest.raises(ValueError, match=r"state|step|task"):
        site.project.make(spec)
