"""Other people's clients, as they came from the index, take the sandbox for Autodesk."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from autodesk_acc.generated_code.base_a_c_cclient import BaseACCclient
from autodesk_acc.generated_code.construction.submittals.v2.projects.item.items.item.steps.item.tasks.with_task_id_close import (
    with_task_id_close_post_request_body as close_body,
)
from autodesk_acc.generated_code.construction.submittals.v2.projects.item.items.items_request_builder import ItemsRequestBuilder
from autodesk_common_httpclient import AccessTokenProviderCallback, ErrorHandlerOption, HttpClientFactory
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import BaseBearerTokenAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_http.httpx_request_adapter import HttpxRequestAdapter

from tests.node import installed
from worker.sandbox.project import PROJECT

JANE, JOE = "jane", "joe"


@pytest.fixture
def submittals(sandbox):
    """`adsk-platform-acc`, unmodified, as a user. Its own error handler reads an answer that is not there yet: it is switched off."""

    async def run(user: str, use: Any) -> Any:
        async def token() -> str:
            return str(sandbox.control("POST", "/autodesk/grants", {"user": user})["access_token"])

        quiet = {"ErrorHandlerOption": ErrorHandlerOption(enabled=False)}
        async with HttpClientFactory.create(options=quiet) as http:
            proof = BaseBearerTokenAuthenticationProvider(AccessTokenProviderCallback(token))
            adapter = HttpxRequestAdapter(proof, http_client=http)
            adapter.base_url = sandbox.autodesk_url
            return await use(BaseACCclient(adapter).construction.submittals.v2.projects.by_project_id(PROJECT))

    return lambda user, use: asyncio.run(run(user, use))


def test_it_lists_items(submittals, sandbox):
    made = [sandbox.item(title=f"Item {n}", steps=[[JANE]])["id"] for n in range(3)]
    sandbox.item(state="sbc-2", steps=[[JANE]])
    query = ItemsRequestBuilder.ItemsRequestBuilderGetQueryParameters(filterstate_id="rev", limit=2, sort="updatedAt desc")

    async def use(project: Any) -> Any:
        return await project.items.get(RequestConfiguration(query_parameters=query))

    page = submittals(JANE, use)
    assert (page.pagination.total_results, page.pagination.limit) == (3, 2)
    assert [str(item.id) for item in page.results] == made[::-1][:2]
    assert page.results[0].created_at.year >= 2026


def test_it_reads_steps_and_closes_a_task(submittals, sandbox):
    made = sandbox.item(steps=[[JANE, {"user": JOE, "required": False}], [{"role": "architects"}]])
    item, step, task = (UUID(part) for part in made["tasks"][0].split("/"))

    async def use(project: Any) -> Any:
        of_item = project.items.by_item_id(item)
        steps = await of_item.steps.get()
        tasks = of_item.steps.by_step_id(step).tasks
        before = await tasks.by_task_id(task).get()
        responses = await project.responses.get()
        approved = next(each for each in responses.results if each.value == "Approved")
        body = close_body.WithTaskIdClosePostRequestBody(response_id=str(approved.id), response_comment="fine")
        after = await tasks.with_task_id_close(task).post(body)
        return steps, before, approved, after, await tasks.get()

    steps, before, approved, after, tasks = submittals(JANE, use)
    assert [(s.step_number, [t.assigned_to for t in s.tasks]) for s in steps.results] == [(1, [JANE, JOE]), (2, ["architects"])]
    assert (before.response_id, before.responded_at, before.is_required) == (None, None, True)
    assert (after.response_id, after.response_comment, after.responded_by) == (approved.id, "fine", JANE)
    assert after.completed_at == after.responded_at >= before.started_at
    assert [action.id for action in after.permitted_actions] == ["Task::retrieve"]
    assert len(tasks.results) == 2
    (effect,) = sandbox.journal(str(item))
    assert (effect["task"], effect["user"], effect["comment"], effect["step"]) == (made["tasks"][0], JANE, "fine", 1)


def test_what_it_makes_of_the_states(submittals, sandbox):
    """Its enumerations are cut at the hyphen: `in-progress` and `mgr-1` read as nothing. Not the sandbox's fault."""
    made = sandbox.item(steps=[[JANE]])
    item, step, task = (UUID(part) for part in made["tasks"][0].split("/"))

    async def use(project: Any) -> Any:
        return await project.items.by_item_id(item).steps.by_step_id(step).tasks.by_task_id(task).get()

    assert submittals(JANE, use).status is None


def test_a_refusal_is_its_own_exception_and_a_throttled_read_is_asked_again(submittals, sandbox):
    made = sandbox.item(steps=[[JOE]])
    item, step, task = (UUID(part) for part in made["tasks"][0].split("/"))
    sandbox.fault("autodesk.read", "throttle", retry_after=1)
    reply = next(iter(sandbox.sandbox.project.replies))

    async def use(project: Any) -> Any:
        tasks = project.items.by_item_id(item).steps.by_step_id(step).tasks
        assert (await tasks.by_task_id(task).get()).assigned_to == JOE
        await tasks.with_task_id_close(task).post(close_body.WithTaskIdClosePostRequestBody(response_id=reply))

    with pytest.raises(APIError) as refused:
        submittals(JANE, use)
    assert refused.value.response_status_code == 403
    assert sandbox.journal(str(item)) == []


# ---- Autodesk's own, which is JavaScript


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The folder in which `@aps_sdk/authentication` is installed."""
    return installed(tmp_path_factory.mktemp("sdk"), Path(__file__).with_name("node"), "tokens.mjs")


def test_the_sdk_gets_refreshes_and_revokes_tokens(sdk, sandbox):
    given = sandbox.control("POST", "/autodesk/grants", {"user": JANE})
    env = {**os.environ, "SANDBOX": sandbox.autodesk_url, "REFRESH": given["refresh_token"]}
    done = subprocess.run(["node", "tokens.mjs"], cwd=sdk, env=env, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert seen["two_legged"].startswith("sandbox-access-")
    assert seen["refreshed"].startswith("sandbox-refresh-")
    assert seen["refreshed"] != given["refresh_token"]
    assert (seen["active_before"], seen["active_after"]) == (True, False)
    assert seen["again"] == 400, "the first one is used up"
