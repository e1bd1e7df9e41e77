"""What an action does to a task, by tables, under the assumptions as they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.conftest import CODES, ERROR, ME
from worker.sandbox.life import ACTIONS, ANSWERS, Refusal

TWO_STEPS = [{"participants": [ME, "b"], "mode": "ONE"}, {"participants": [ME, "c"], "mode": "ALL"}]


@pytest.mark.parametrize(
    ("acts", "status", "active", "round_"),
    [
        ("", "Awaiting Approval", 1, 1),
        ("me:APPROVE", "Awaiting Approval", 2, 1),
        ("b:APPROVE", "Awaiting Approval", 2, 1),
        ("me:APPROVE me:APPROVE", "Awaiting Approval", 2, 1),  # the accident: nobody reviewed step 2
        ("me:APPROVE me:APPROVE c:APPROVE", "Completed", None, 1),
        ("me:APPROVE c:SKIP", "Completed", None, 1),
        ("b:SKIP", "Awaiting Approval", 2, 1),
        ("b:REJECT", "Returned", None, 1),
        ("me:APPROVE c:REJECT", "Returned", None, 1),
        ("b:REJECT owner:SUBMIT", "Awaiting Approval", 1, 2),
        ("b:APPROVE owner:RESTART", "Awaiting Approval", 1, 2),
        ("me:APPROVE c:SKIP assignee:RESTART", "Awaiting Approval", 1, 2),
        ("owner:CANCEL", "Cancelled", None, 1),
        ("assignee:CANCEL owner:RESTART", "Awaiting Approval", 1, 2),
    ],
)
def test_the_way_of_a_task(api, acts, status, active, round_):
    task = api.make(steps=TWO_STEPS, owner="owner", assignees=["assignee"])
    for act in acts.split():
        user, action = act.split(":")
        assert api.act(task, action, {"me": ME}.get(user, user)).status == 200, act
    now = api.workspace.look(task)
    assert (now.status, now.active and now.active + 1, now.round) == (status, active if active != 1 else 0, round_)


@pytest.mark.parametrize(
    ("status", "acts", "expected"),
    [
        ("Awaiting Approval", "stranger:APPROVE", 403),
        ("Awaiting Approval", "c:APPROVE", 403),  # a participant of the second step, while the first is active
        ("Awaiting Approval", "stranger:SKIP", 403),
        ("Awaiting Approval", "b:CANCEL", 403),
        ("Awaiting Approval", "owner:SUBMIT", 409),
        ("Awaiting Approval", "b:NOD", 400),
        ("Created", "b:APPROVE", 409),
        ("Created", "owner:RESTART", 409),
        ("Returned", "b:APPROVE", 409),
        ("Completed", "b:APPROVE", 409),
        ("Completed", "owner:CANCEL", 409),
        ("Cancelled", "b:REJECT", 409),
        ("Cancelled", "owner:SUBMIT", 409),
    ],
)
def test_what_is_refused_has_no_effect(api, status, acts, expected):
    task = api.make(steps=TWO_STEPS, owner="owner", status=status)
    before = api.workspace.look(task)
    user, action = acts.split(":")
    answer = api.act(task, action, user)
    assert answer.status == expected
    assert (set(answer.json()), answer.json()["code"]) == (ERROR[api.version], CODES[api.version][expected])
    assert api.workspace.look(task) is before
    assert api.workspace.journal == []


def test_a_participant_of_an_all_step_answers_once(api):
    task = api.make(steps=[{"participants": ["a", "b"], "mode": "ALL"}])
    assert api.act(task, "APPROVE", "a").status == 200
    assert api.act(task, "APPROVE", "a").status == 409
    assert [e.user for e in api.workspace.journal] == ["a"]


def test_a_task_without_steps_is_completed_by_submit(api):
    task = api.make(steps=[], owner="owner")
    assert api.act(task, "SUBMIT", "owner").json()["status"] == "Completed"


def test_the_journal_tells_where_each_effect_landed(api):
    task = api.make(steps=TWO_STEPS, owner="owner")
    api.act(task, "APPROVE", ME, "one")
    api.act(task, "APPROVE", ME, "two")
    api.workiva.person(task, "REJECT", "c", "three")
    api.act(task, "SUBMIT", "owner")
    assert [(e.n, e.action, e.step, e.round, e.comment, e.by) for e in api.workspace.journal] == [
        (1, "APPROVE", 1, 1, "one", "api"),
        (2, "APPROVE", 2, 1, "two", "api"),
        (3, "REJECT", 2, 1, "three", "person"),
        (4, "SUBMIT", None, 2, None, "api"),
    ]


def test_an_answer_carries_the_number_that_the_journal_has(api):
    task = api.make()
    answer = api.act(task, "APPROVE")
    assert answer.headers["X-Sandbox-Request"] == api.workspace.journal[0].request


PATCHES = {
    "assignees": {"op": "replace", "path": "/assignees", "value": [{"id": "new", "type": "USER"}]},
    "location": {"op": "replace", "path": "/location", "value": {"resource": "r", "segment": None}},
    "approver": {
        "op": "replace",
        "path": "/approvalSteps",
        "value": [
            {"completionMode": "ONE", "participants": [{"id": "x", "type": "USER"}]},
            {"completionMode": "ALL", "participants": [{"id": ME}, {"id": "c"}]},
        ],
    },
    "another": {
        "op": "replace",
        "path": "/approvalSteps",
        "value": [
            {"completionMode": "ONE", "participants": [{"id": ME, "type": "USER"}]},
            {"completionMode": "ALL", "participants": [{"id": "d"}]},
        ],
    },
    "title": {"op": "replace", "path": "/title", "value": "New"},
}


@pytest.mark.parametrize(("patch", "restarts"), [("assignees", 1), ("location", 1), ("approver", 1), ("another", 0), ("title", 0)])
def test_a_patch_restarts_what_it_overturns(api, patch, restarts):
    task = api.make(steps=TWO_STEPS)
    api.act(task, "APPROVE")
    answer = api.call("PATCH", f"/tasks/{task}", [PATCHES[patch]])
    assert answer.status == 200
    responses = answer.json()["approvalSteps"][0]["responses"]
    assert (api.workspace.tasks[task].round, len(responses)) == (1 + restarts, 1 - restarts)
    assert [e.action for e in api.workspace.journal] == ["APPROVE", "PATCH", *["RESTART"] * restarts]


def test_a_patch_that_leaves_nobody_to_wait_for_completes(api):
    task = api.make(steps=[{"participants": [ME, "b"], "mode": "ALL"}])
    api.act(task, "APPROVE")
    step = {"completionMode": "ALL", "participants": [{"id": ME}]}
    answer = api.call("PATCH", f"/tasks/{task}", [{"op": "replace", "path": "/approvalSteps", "value": [step]}])
    assert answer.json()["status"] == "Completed"


ACTS = st.lists(st.tuples(st.sampled_from([ME, "b", "c", "owner"]), st.sampled_from(sorted(ACTIONS))), max_size=12)


@given(ACTS, st.sampled_from(["ONE", "ALL"]), st.sampled_from(["returned", "waits"]), st.sampled_from(["Awaiting Approval", "Created"]))
def test_whatever_is_done(api_of, acts, mode, all_reject, restart_status):
    """A response lands on the step that is active; nobody answers a step twice in a round; completed means that every step is."""
    api = api_of(all_reject=all_reject, restart_status=restart_status)
    task = api.make(steps=[{"participants": [ME, "b"], "mode": mode}, {"participants": [ME, "c"], "mode": mode}], owner="owner")
    for user, action in acts:
        before, effects = api.workspace.tasks[task], len(api.workspace.journal)
        refused = isinstance(api.workspace.act(task, action, user), Refusal)
        now = api.workspace.tasks[task]
        assert len(api.workspace.journal) - effects == (0 if refused else 1)
        if refused:
            assert now is before
        elif action in ANSWERS:
            assert before.active is not None
            assert (api.workspace.journal[-1].step, api.workspace.journal[-1].round) == (before.active + 1, before.round)
        else:
            assert now.round == before.round or not any(step.answers for step in now.steps)
        for step in now.steps:
            assert len({a.user for a in step.answers}) == len(step.answers)
        if now.status == "Completed":
            assert all(step.complete(now.round) for step in now.steps)
        assert (now.active is not None) == (now.status == "Awaiting Approval")


# ---- switch by switch: the other answer


def test_1_modified_may_stand_still(api_of):
    api = api_of(modified_frozen=True)
    task = api.make(steps=TWO_STEPS)
    api.clock.pass_(60)
    before = api.read(task)["modified"]
    assert api.act(task, "APPROVE").json()["modified"] == before
    api.act(task, "RESTART")
    assert api.read(task)["modified"] != before


@pytest.mark.parametrize("status", ["Reworking", "Awaiting Approval"])
def test_2_a_rejected_task_may_be_called_otherwise(status, api_of):
    api = api_of(reject_status=status)
    task = api.make(steps=TWO_STEPS)
    answer = api.act(task, "REJECT", comment="please refine").json()
    assert (answer["status"], answer["approvalSteps"][0]["responses"][0]["action"]) == (status, "REJECT")


@pytest.mark.parametrize(("resubmit", "left"), [("clears", []), ("keeps", ["REJECT"])])
def test_3_resubmission_clears_or_keeps(resubmit, left, api_of):
    api = api_of(resubmit=resubmit)
    task = api.make(steps=TWO_STEPS, owner="owner")
    api.act(task, "REJECT")
    answer = api.act(task, "SUBMIT", "owner").json()
    assert [r["action"] for r in answer["approvalSteps"][0]["responses"]] == left
    assert api.workspace.tasks[task].active == 0  # an old response decides nothing


def test_4_an_all_step_may_wait_for_everyone_before_it_returns(api_of):
    api = api_of(all_reject="waits")
    task = api.make(steps=[{"participants": ["a", "b"], "mode": "ALL"}])
    assert api.act(task, "REJECT", "a").json()["status"] == "Awaiting Approval"
    assert api.act(task, "APPROVE", "b").json()["status"] == "Returned"


@pytest.mark.parametrize(
    ("switch", "value", "user", "status", "expected"),
    [
        ("outsider_status", 404, "stranger", "Awaiting Approval", 404),
        ("wrong_state_status", 400, ME, "Completed", 400),
        ("wrong_state_status", 403, ME, "Cancelled", 403),
    ],
)
def test_5_and_7_other_statuses(switch, value, user, status, expected, api_of):
    api = api_of(**{switch: value})
    assert api.act(api.make(status=status), "APPROVE", user).status == expected


def test_6_a_second_response_may_be_recorded(api_of):
    api = api_of(second_response="recorded")
    task = api.make(steps=[{"participants": ["a", "b"], "mode": "ALL"}])
    api.act(task, "APPROVE", "a", "one")
    answer = api.act(task, "APPROVE", "a", "two")
    assert [r["comment"] for r in answer.json()["approvalSteps"][0]["responses"]] == ["one", "two"]
    assert answer.json()["status"] == "Awaiting Approval"


def test_8_the_end_may_be_called_approved(api_of):
    api = api_of(final_status="Approved")
    assert api.act(api.make(), "APPROVE").json()["status"] == "Approved"


def test_9_a_restart_may_wait_for_a_submission(api_of):
    api = api_of(restart_status="Created")
    task = api.make(steps=TWO_STEPS)
    assert api.act(task, "RESTART").json()["status"] == "Created"
    assert api.workspace.tasks[task].round == 1
    api.act(task, "SUBMIT")
    assert api.workspace.tasks[task].round == 2


def test_10_anyone_may_lead(api_of):
    api = api_of(roles="anyone")
    assert api.act(api.make(), "CANCEL", "stranger").status == 200
    assert api.act(api.make(), "SKIP", "stranger").status == 200
    assert api.act(api.make(), "APPROVE", "stranger").status == 403


def test_11_a_patch_may_restart_nothing(api_of):
    api = api_of(patch_restarts=False)
    task = api.make(steps=TWO_STEPS)
    api.call("PATCH", f"/tasks/{task}", [PATCHES["assignees"]])
    assert api.workspace.tasks[task].round == 1


def test_12_a_location_is_set_once(api):
    task = api.make()
    assert api.call("PATCH", f"/tasks/{task}", [PATCHES["location"]]).status == 200
    assert api.call("PATCH", f"/tasks/{task}", [{"op": "replace", "path": "/location", "value": None}]).status == 400
    assert api.call("PATCH", f"/tasks/{task}", [PATCHES["location"]]).status == 200  # the same one is no change


@pytest.mark.parametrize(("skip", "complete"), [("step", True), ("own", False)])
def test_38_a_skip_may_count_for_its_user_only(skip, complete, api_of):
    api = api_of(skip=skip)
    task = api.make(steps=[{"participants": ["a", "b"], "mode": "ALL"}, {"participants": ["c"], "mode": "ONE"}])
    api.act(task, "SKIP", "a")
    assert (api.workspace.tasks[task].active == 1) is complete
    if not complete:
        api.act(task, "APPROVE", "b")
    assert api.act(task, "SKIP", "c").json()["status"] == "Completed"


@pytest.mark.parametrize("status", ["Completed", "Cancelled"])
def test_39_what_is_over_may_stay_so(status, api_of):
    api = api_of(restart_from="open")
    assert api.act(api.make(status=status), "RESTART").status == 409
    assert api.act(api.make(), "RESTART").status == 200


def test_14_and_15_comments(api_of):
    api = api_of(comment_limit=5, reject_needs_comment=True)
    task = api.make()
    assert api.act(task, "APPROVE", comment="123456").status == 400
    assert api.act(task, "REJECT").status == 400
    assert api.act(task, "REJECT", comment="12345").status == 200
    unlimited = api_of(comment_limit=0)
    assert unlimited.act(unlimited.make(), "APPROVE", comment="x" * 9999).status == 200
