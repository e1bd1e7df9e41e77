"""Submittals v2 over the wire: shapes, lists, refusals, limits; and what the faults do to them."""

import json
import random
from datetime import datetime

import pytest

from tests.published import SEED_TASK
from tests.sandbox.conftest import START
from tests.sandbox.site import MANAGER, ROOT, Site
from worker.sandbox.exchange import Request
from worker.sandbox.faults import Fault, Faulty, Script

JANE, JOE = "jane", "joe"


@pytest.fixture
def site():
    return Site()


def ids(site, query, **how):
    return [row["id"] for row in site.get(f"/items{query}", **how)["results"]]


# ---- shapes


def test_a_task_has_the_fields_of_the_published_example(site):
    item = site.item([JANE])
    assert set(site.get(site.ref(item))) == set(SEED_TASK)
    action = site.get(site.ref(item))["permittedActions"][0]
    assert set(action) == set(SEED_TASK["permittedActions"][0])


def test_steps_and_tasks_are_the_same_wherever_they_are_read(site):
    item = site.item([JANE, JOE], [MANAGER])
    steps = site.steps(item)
    for step in steps:
        path = f"/items/{item}/steps/{step['id']}"
        assert site.get(path) == step
        assert site.get(f"{path}/tasks")["results"] == step["tasks"]
        for task in step["tasks"]:
            assert site.get(f"{path}/tasks/{task['id']}") == task
    assert [step["stepNumber"] for step in steps] == [1, 2]


def test_a_revision_has_other_names(site):
    item = site.item([JANE])
    (shown,) = site.get(f"/items/{item}/revisions")["results"]
    (task,) = shown["tasks"]
    assert (shown["itemId"], shown["steps"][0]["tasks"]) == (item, [task])
    assert {"id", "status", "permittedActions"}.isdisjoint(task)
    assert {"id", "status", "permittedActions"}.isdisjoint(shown)
    assert task["taskId"] == site.steps(item)[0]["tasks"][0]["id"]


def test_who_am_i(site):
    assert (site.get("/users/me")["id"], site.get("/users/me")["roles"]) == (MANAGER, ["1", "2", "4"])
    assert (site.get("/users/me", user=JANE)["id"], site.get("/users/me", user=JANE)["roles"]) == (JANE, ["2"])
    states = [way["stateTo"]["id"] for way in site.get("/users/me", user=JANE)["permittedActions"][0]["transitions"]]
    assert states == ["mgr-1"]


def test_the_catalogue_of_responses_is_the_tutorials(site):
    rows = site.get("/responses")["results"]
    assert [(row["value"], row["categoryId"], row["isApproval"], row["isActive"]) for row in rows] == [
        ("Approved", "1", True, True), ("Approved as noted", "1", True, True), ("For record only", "1", True, True),
        ("Rejected", "2", False, True), ("Revise and resubmit", "3", False, True),
    ]  # fmt: skip
    assert site.get("/metadata")["responses"] == rows
    assert [row["id"] for row in site.get("/metadata")["statuses"]] == ["1", "2", "3", "4", "5", "6"]
    assert [row["autodeskId"] for row in site.get("/settings/mappings")["results"]] == [MANAGER]


def test_a_manager_edits_an_item(site):
    item = site.item()
    assert site.call("PATCH", f"/items/{item}", {"title": "Doors", "priority": "High"}).json()["priority"] == "High"
    assert site.get(f"/items/{item}")["title"] == "Doors"
    assert site.call("PATCH", f"/items/{item}", {"stateId": "void"}).status == 400
    assert site.call("PATCH", f"/items/{item}", {"title": "x"}, user=JANE).status == 403


# ---- lists


def test_pages(site):
    made = [site.item() for _ in range(5)]
    seen, offset = [], 0
    while rows := site.get(f"/items?limit=2&offset={offset}"):
        assert rows["pagination"]["totalResults"] == 5
        seen += [row["id"] for row in rows["results"]]
        offset += 2
        if rows["pagination"]["nextUrl"] is None:
            break
        assert rows["pagination"]["nextUrl"].endswith(f"?limit=2&offset={offset}")
    assert seen == made
    assert site.get("/items?offset=9")["results"] == []
    for query in ("limit=0", "limit=51", "limit=x", "offset=-1"):
        assert site.call("GET", f"/items?{query}").status == 400


def test_filters(site):
    site.project.join({"id": JOE, "companies": ["acme"]})
    one = site.item([JANE], title="Doors")
    two = site.item([{"company": "acme"}], title="Windows")
    gone, draft = site.item(state="void"), site.item(state="draft", createdBy=JANE)
    site.clock.pass_(86_400)
    three = site.item([{"role": "architects"}], state="mgr-1")
    assert ids(site, "") == [one, two, draft, three]
    assert ids(site, "", user=JANE) == [one, two, three], "a draft is a manager's"
    assert ids(site, "?filter[stateId]=void") == [gone]
    assert ids(site, "?filter[stateId]=rev,mgr-1") == [one, two, three]
    assert ids(site, f"?filter[id]={three},{one}") == [one, three]
    assert ids(site, f"?filter[ballInCourtUsers]={JANE}&filter[stateId]=rev") == [one]
    assert ids(site, "?filter[ballInCourtCompanies]=acme") == [two]
    assert ids(site, f"?filter[createdBy]={JANE}") == [draft]
    assert ids(site, "?filter[packageId]=noPackage&filter[statusId]=2") == [one, two, three]
    assert ids(site, "?search=door") == [one]
    assert ids(site, "?filter[updatedAt]=2026-09-22") == [three]
    assert ids(site, "?filter[updatedAt]=2026-09-21..2026-09-22&filter[stateId]=rev") == [one, two]
    assert ids(site, "?filter[dueDate]=2026-09-28..2026-09-30") == [one, two]
    site.close(one, user=JANE, reply="rejected")
    assert ids(site, f"?filter[reviewResponseId]={site.reply('rejected')}") == [one]
    assert ids(site, f"?filter[responseId]={site.reply('rejected')}") == [], "that one is the item's own"
    watched = site.item(state="mgr-1", watchers=[{"id": JOE, "userType": "1"}])
    assert ids(site, f"?filter[watchers]={JOE}") == [watched]
    for bad in ("2026-09-22T00:00:00Z", "yesterday", "2026-9-1"):
        assert site.call("GET", f"/items?filter[updatedAt]={bad}").status == 400


@pytest.mark.parametrize(
    "name",
    [
        *("title", "statusId", "specId", "ballInCourtUsers", "ballInCourtCompanies", "ballInCourtRoles", "responseId", "reviewResponseId"),
        *("typeId", "packageId", "stateId", "identifier", "leadTime", "revision", "manager", "managerType", "subcontractor"),
        *("subcontractorType", "createdBy", "watchers", "id"),
    ],
)
def test_every_published_filter_is_there(site, name):
    site.item()
    assert ids(site, f"?filter[{name}]=nothing") == []


@pytest.mark.parametrize(
    "name",
    [
        *("dueDate", "submitterDueDate", "managerDueDate", "createdAt", "sentToSubmitter", "receivedFromSubmitter", "sentToReview"),
        *("receivedFromReview", "publishedDate", "requiredDate", "requiredApprovalDate", "requiredOnJobDate", "updatedAt"),
    ],
)
def test_every_published_filter_by_day_is_there(site, name):
    """And an item that has no such date is of no day."""
    site.item()
    assert ids(site, f"?filter[{name}]=2000-01-01..2000-12-31") == []


def test_the_newest_first(site):
    made = [site.item() for _ in range(3)]
    site.clock.pass_(60)
    site.go(made[1], "mgr-1", manager=MANAGER, managerType="1")
    assert ids(site, "?sort=updatedAt desc") == [made[1], made[0], made[2]]
    assert ids(site, "?sort=stateId asc,identifier desc") == [made[1], made[2], made[0]]


def test_every_precision_of_a_time_is_iso(site):
    for micro in (0, 250, 251, 252, 253):
        site.clock.at = START + micro / 1_000_000
        shown = site.get(f"/items/{site.item()}")["createdAt"]
        assert shown.endswith("Z")
        assert datetime.fromisoformat(shown).timestamp() == pytest.approx(site.clock.at, abs=2e-6)


# ---- refusals


@pytest.mark.parametrize("body", ["", "text"])
def test_no_token(site, body):
    answer = site.autodesk(Request.of("GET", f"{ROOT}/items", {"Authorization": f"Bearer {body}"}))
    assert (answer.status, answer.json()["errorCode"]) == (401, "AUTH-006")


@pytest.mark.parametrize(("method", "path"), [("GET", "/items"), ("POST", "/items/x:transition"), ("PATCH", "/items/x")])
def test_a_token_needs_the_scope(site, method, path):
    answer = site.call(method, path, {}, scope="account:read")
    assert (answer.status, answer.json()["errorCode"]) == (403, "AUTH-010")


@pytest.mark.parametrize("path", ["/items/none", "/items/none/steps", "/responses/none", "/nothing", "/items/none:close", "/users/you"])
def test_what_is_not_there(site, path):
    assert site.call("GET", path).status == 404


def test_a_task_of_another_step_is_not_there(site):
    item = site.item([JANE], [JOE])
    first, second = site.steps(item)
    path = f"/items/{item}/steps/{first['id']}/tasks/{second['tasks'][0]['id']}"
    assert site.call("GET", path).status == 404
    assert site.call("POST", f"{path}:close", {"responseId": site.reply()}).status == 404


# ---- limits


def test_the_limit_of_a_user_and_of_an_app(site):
    """Two users of one app have their own share, and one in common; after the minute both go on."""
    site.project.switches = site.project.switches.turned(requests_per_minute=5)
    jane, joe = site.bearer(JANE), site.bearer(JOE)
    assert [site.call("GET", "/users/me", bearer=jane).status for _ in range(3)] == [200] * 3
    site.clock.pass_(20)
    assert [site.call("GET", "/users/me", bearer=joe).status for _ in range(3)] == [200, 200, 429]
    over = site.call("GET", "/users/me", bearer=jane)
    assert (over.status, over.json(), over.headers["Retry-After"]) == (429, {"developerMessage": "Quota limit exceeded."}, "40")
    other = site.authentication.grant("sandbox", JANE)["access_token"]
    site.clock.pass_(40)
    assert site.call("GET", "/users/me", bearer=str(other)).status == 200


def test_a_token_costs_none_of_it(site):
    site.project.switches = site.project.switches.turned(requests_per_minute=1)
    token = site.authentication.grant("sandbox")
    for _ in range(3):
        renewed = site.renew(token["refresh_token"])
        assert renewed.status == 200
        token = renewed.json()


# ---- faults


def faulty(site, *faults):
    return Faulty(site.autodesk, Script(random.Random(1), faults))


def closing(site, item, step=1, user=JANE):
    return site.request("POST", f"{site.ref(item, step)}:close", {"responseId": site.reply()}, user=user)


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("what", ["reset", "close", "stall", "status"])
def test_an_answer_that_is_lost(site, what, when, effects):
    """Read again, the task tells whether it landed, and whose it was."""
    item = site.item([JANE])
    delivery = faulty(site, Fault("autodesk.act", what, when=when, task=item))(closing(site, item))
    assert delivery.how == ("answer" if what == "status" else what)
    assert len(site.project.journal) == effects
    assert site.get(site.ref(item))["respondedBy"] == (JANE if effects else None)


def test_a_late_effect_lands_when_its_time_comes(site):
    item = site.item([JANE])
    upstream = faulty(site, Fault("act", "late", seconds=40))
    assert upstream(closing(site, item)).how == "reset"
    assert site.get(site.ref(item))["status"] == "in-progress"
    site.clock.pass_(40)
    upstream.advance()
    assert site.get(site.ref(item))["status"] == "completed"


def test_a_late_effect_does_not_land_in_another_round_of_another_step(site):
    """It names its task by id. In the same step begun anew it does land: there is nothing in it that says which round was meant."""
    item = site.item([JANE], [JOE])
    again = ({"action": "mgr-1"}, {"action": "rev"})
    upstream = faulty(site, Fault("act", "late", seconds=40), Fault("act", "person", when="after", people=again))
    upstream(closing(site, item))
    assert site.project.items[item].round == 2
    site.clock.pass_(40)
    upstream.advance()
    assert [(deed.action, deed.round) for deed in site.project.journal][-1] == ("close", 2)


def test_a_person_is_faster(site):
    item = site.item([{"role": "architects"}])
    site.project.join({"id": JANE, "groups": ["architects"]})
    site.project.join({"id": JOE, "groups": ["architects"]})
    people = ({"action": "close:Rejected", "comment": "no"},)
    delivery = faulty(site, Fault("act", "person", people=people))(closing(site, item))
    assert delivery.response
    assert delivery.response.status == 403
    (deed,) = site.project.journal
    assert (deed.by, deed.user != JANE, deed.response) == ("person", True, site.reply("rejected"))


def test_a_stale_read_and_an_expired_token(site):
    item = site.item([JANE])
    site.close(item, user=JANE)
    upstream = faulty(site, Fault("read", "stale"), Fault("read", "expire", after=1))
    bearer = site.bearer()
    path = site.ref(item)
    old = upstream(site.request("GET", path, bearer=bearer)).response
    assert old
    assert old.json()["status"] == "in-progress"
    gone = upstream(site.request("GET", path, bearer=bearer)).response
    assert gone
    assert gone.status == 401


@pytest.mark.parametrize(("route", "path"), [("list", "/items"), ("read", "/items/x"), ("me", "/users/me"), ("catalogue", "/responses")])
def test_a_throttled_route(site, route, path):
    delivery = faulty(site, Fault(f"autodesk.{route}", "throttle", retry_after=25))(site.request("GET", path))
    assert delivery.response
    assert (delivery.response.status, delivery.response.headers["Retry-After"]) == (429, "25")
    assert json.loads(delivery.response.body) == {"developerMessage": "Quota limit exceeded."}


def test_a_fault_of_a_task_is_not_its_neighbours(site):
    item = site.item([JANE, JANE])
    step = site.project.items[item].steps[0]
    upstream = faulty(site, Fault("act", "reset", task=f"{item}/{step.id}/{step.tasks[1].id}"))
    assert upstream(closing(site, item)).how == "answer"
    second = site.request("POST", f"{site.ref(item, 1, 2)}:close", {"responseId": site.reply()}, user=JANE)
    assert upstream(second).how == "reset"
