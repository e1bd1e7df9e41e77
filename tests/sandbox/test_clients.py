"""Other people's clients, as they came from the index, take the sandbox for Workiva: what it answers fits what their authors generated."""

import json
import urllib.parse
import urllib.request
from typing import Any

import openapi_client
import pytest
import workiva_platform_client

from tests.sandbox.conftest import ME

JANE, BOB = "jane", "bob"


@pytest.fixture(params=[workiva_platform_client, openapi_client], ids=["workiva-platform-client", "workiva-openapi-client"])
def client(request) -> Any:
    """The module."""
    return request.param


@pytest.fixture
def connect(client, sandbox):
    """Its TasksApi as a user. Only the first has to be told the version; neither fetches a token."""
    opened: list[Any] = []

    def connected(user: str = ME, version: str | None = "2026-01-01", scope: str = "task:read task:write") -> Any:
        form = {"client_id": f"sandbox:{user}", "client_secret": "sandbox", "grant_type": "client_credentials", "scope": scope}
        with urllib.request.urlopen(f"{sandbox.workiva_url}/oauth2/token", urllib.parse.urlencode(form).encode(), timeout=5) as answer:
            token = json.load(answer)["access_token"]
        api = client.ApiClient(client.Configuration(host=sandbox.workiva_url, access_token=token))
        if client is workiva_platform_client and version:
            api.set_default_header("X-Version", version)
        opened.append(api)
        return client.TasksApi(api)

    yield connected
    for api in opened:
        api.rest_client.pool_manager.clear()


def steps(client, *users):
    return [client.TaskApprovalStep(completion_mode="ONE", participants=[client.TaskUser(id=user, type="USER")]) for user in users]


def test_it_creates_reads_patches_acts_and_deletes(client, connect, sandbox):
    owner, jane, bob = connect(), connect(JANE), connect(BOB)
    task = client.Task(title="Review", approvalSteps=steps(client, JANE, BOB), dueDate="2026-12-01T01:00:00+01:00")
    made = owner.create_task(task)
    assert (made.status, made.owner, made.created.user.id, made.due_date.isoformat()) == ("Created", ME, ME, "2026-12-01T00:00:00+00:00")
    patch = client.JSONPatchOperation(op="replace", path="/title", value="Review it")
    assert owner.partially_update_task_by_id(made.id, [patch]).title == "Review it"
    assert owner.submit_task_action(made.id, client.TaskAction(action="SUBMIT")).status == "Awaiting Approval"
    acted = jane.submit_task_action(made.id, client.TaskAction(action="APPROVE", comment="fine"))
    assert acted.status == "Awaiting Approval"
    (response,) = acted.approval_steps[0].responses
    assert (response.action, response.comment, response.created.user.id) == ("APPROVE", "fine", JANE)
    assert bob.submit_task_action(made.id, client.TaskAction(action="APPROVE")).status == "Completed"
    assert owner.get_task_by_id(made.id).status == "Completed"
    owner.delete_task_by_id(made.id)
    with pytest.raises(client.exceptions.NotFoundException) as gone:
        owner.get_task_by_id(made.id)
    assert (gone.value.data.code, gone.value.data.version) == ("404NotFound", "2026-01-01")
    effects = [(e["action"], e["user"], e["step"]) for e in sandbox.journal()]
    assert effects == [
        ("CREATE", ME, None), ("PATCH", ME, None), ("SUBMIT", ME, None), ("APPROVE", JANE, 1), ("APPROVE", BOB, 2), ("DELETE", ME, None)
    ]  # fmt: skip


def test_it_lists_page_by_page(client, connect, sandbox):
    made = [sandbox.task(title=f"Task {n}")["id"] for n in range(5)]
    api, got, cursor = connect(), [], None
    while True:
        page = api.get_tasks(filter="status eq 'Awaiting Approval'", order_by="title", maxpagesize=2, next=cursor)
        got.append([task.id for task in page.data])
        if page.next_link is None:
            break
        cursor = urllib.parse.parse_qs(urllib.parse.urlsplit(page.next_link).query)["$next"][0]
    assert got == [made[:2], made[2:4], made[4:]]


def test_a_refusal_is_one_of_its_own_exceptions(client, connect, sandbox):
    task = sandbox.task(steps=[{"participants": [JANE]}])["id"]
    approve = client.TaskAction(action="APPROVE")
    with pytest.raises(client.exceptions.ForbiddenException) as refused:
        connect(BOB).submit_task_action(task, approve)
    assert refused.value.data.code == "403Forbidden"
    connect(JANE).submit_task_action(task, approve)
    with pytest.raises(client.exceptions.ConflictException) as again:
        connect(JANE).submit_task_action(task, approve)
    assert again.value.data.code == "409Conflict"
    assert len(sandbox.journal(task)) == 1


def test_the_example_of_the_pages_loses_its_author_and_its_due_date(client, connect, sandbox):
    """Generated from the schemas, they read neither `dueAt` nor `user_id`: had the wire the example's shape (16), they would not notice."""
    sandbox.assume(wire="example")
    task = sandbox.task(steps=[{"participants": [JANE, BOB]}], due="2026-12-01T00:00:00Z")["id"]
    shown = connect(JANE).submit_task_action(task, client.TaskAction(action="APPROVE"))
    assert (shown.due_date, shown.approval_steps[0].responses[0].created.user) == (None, None)


def test_without_a_version_it_is_routed_to_2022(sandbox, connect, client):
    """Which has no `/tasks`. The second client always says its version."""
    if client is openapi_client:
        connect(version=None).get_tasks()
        return
    with pytest.raises(client.exceptions.NotFoundException) as wrong:
        connect(version=None).get_tasks()
    assert json.loads(wrong.value.body)["code"] == "NotFound"


def test_a_throttled_read_is_asked_again_by_the_client_itself(client, connect, sandbox):
    sandbox.fault("read", "throttle", retry_after=0)
    task = sandbox.task()["id"]
    assert connect().get_task_by_id(task).id == task
