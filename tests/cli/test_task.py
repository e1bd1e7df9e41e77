"""Tasks as a person is shown them, and the calls that follow: of both upstreams, and what is particular to items with parts."""

import json
import shlex

import pytest
from click.testing import CliRunner

from tests.cli.conftest import ARCHITECT, BOB, ENGINEER, JANE
from worker.cli import cli
from worker.core.renewal import AFRESH
from worker.sandbox.project import AUTODESK_USER


def close(desk, part, who, response="Approved"):
    """Close that part by hand."""
    desk.sandbox.control("POST", "/person", {"task": part, "action": f"close:{response}", "user": who})


def ready(text):
    """The call that is offered, as words."""
    [line] = [line.strip() for line in text.splitlines() if line.strip().startswith("approvals submit")]
    return shlex.split(line)[1:]


def test_a_task_is_listed_with_its_active_step_and_pin(desk, review):
    [listed] = desk.lines("task", "list", "--account", review.account)
    shown = desk.json("task", "show", review.task, "--account", review.account)
    assert shown == {**listed, "submissions": []}
    assert (listed["task"], listed["active"], listed["steps"][0]["participants"]) == (review.task, 1, [review.user])
    cells = desk("task", "list", "--account", review.account).stdout.rstrip("\n").split("\t")
    assert (cells[0], cells[3], cells[4], cells[6]) == (review.task, "1/1", review.user, listed["steps"][0]["pin"])


def test_mine_is_what_waits_for_the_grants_user(desk, review):
    mine = ("task", "list", "--account", review.account, "--as", review.grant, "--mine")
    assert [t["task"] for t in desk.lines(*mine)] == [review.task]
    review.submit()
    desk.work(review.account)
    assert desk.lines(*mine) == []


def test_the_offered_call_is_one_that_takes_effect(desk, review):
    call = ready(desk("task", "show", review.task, "--account", review.account).stdout)
    words = [review.grant if w in ("GRANT", "bob") else "Approved" if w == "RESPONSE" else w for w in call]
    assert desk(*words, "--key", "k").exit_code == 0
    desk.work(review.account)
    assert desk.json("show", "k")["state"] == "applied"
    assert [user for _, user in review.effects()] == [review.user]


def test_parts_wait_for_one_person_each(tower):
    item = tower.item([ARCHITECT, {"user": ENGINEER, "required": False}], [ENGINEER])
    other = tower.item([ENGINEER])
    first, beside, later = item["tasks"]
    close(tower, first, ARCHITECT)
    assert {t["task"] for t in tower.lines("task", "list", "--account", "tower", "--mine")} == {item["id"], other["id"]}
    assert tower.lines("task", "list", "--account", "tower", "--mine", "--as", "architect") == []
    about = tower.json("task", "show", item["id"], "--account", "tower")
    assert [(p["task"], p["assigned"], p["required"], p["state"]) for s in about["steps"] for p in s["parts"]] == [
        (first, ARCHITECT, True, "complete"),
        (beside, ENGINEER, False, "active"),  # assumption 49: it stays open
        (later, ENGINEER, True, "active"),
    ]
    [response] = about["steps"][0]["responses"]
    assert (response["part"], response["actor"], response["action"], response["response"]) == (first, ARCHITECT, "approve", "Approved")
    call = ready(tower("task", "show", item["id"], "--account", "tower").stdout)
    assert call[call.index("--task") + 1] == later, "the required one first"


def test_those_not_under_approval_are_listed_without_being_read(tower):
    tower.item(state="mgr-1", title="not sent yet")
    under = tower.item([ARCHITECT], title="under review")
    before = tower.sandbox.control("GET", "/stats")["requests"]
    rows = {t["title"].partition(" ")[2]: t for t in tower.lines("task", "list", "--account", "tower", "--as", "architect")}
    asked = tower.sandbox.control("GET", "/stats")["requests"]
    assert (rows["not sent yet"]["steps"], rows["not sent yet"]["assignees"]) == (None, [AUTODESK_USER])
    assert rows["under review"]["steps"][0]["parts"][0]["task"] == under["tasks"][0]
    assert {n: asked[n] - before.get(n, 0) for n in asked if n.endswith("read")} == {"autodesk.read": 2}, "the item and its steps"


def test_no_more_are_read_than_shown(tower):
    for n in range(3):
        tower.item([ARCHITECT], title=f"review {n}")
    result = tower("task", "list", "--account", "tower", "--as", "architect", "--limit", 2, "--json")
    assert [json.loads(line)["steps"][0]["active"] for line in result.stdout.splitlines()] == [True, True]
    assert "the last 2 of 3" in result.stderr
    assert tower.sandbox.control("GET", "/stats")["requests"]["autodesk.read"] == 4


def test_one_that_cannot_be_read_says_why_and_hides_no_other(tower):
    bad, good = tower.item([ARCHITECT]), tower.item([ARCHITECT])
    tower.sandbox.fault("read", "status", status=500, task=bad["id"], times=None)
    rows = {t["task"]: t for t in tower.lines("task", "list", "--account", "tower", "--as", "architect")}
    assert rows[good["id"]]["active"] == 1
    assert (rows[bad["id"]]["steps"], rows[bad["id"]]["active"]) == (None, None)
    assert rows[bad["id"]]["unclear"].startswith("its steps could not be read: answer 500")


def test_a_part_is_shown_by_its_own_reference_and_the_call_is_for_it(tower):
    item = tower.item([ARCHITECT, ENGINEER])
    for part, grant in zip(item["tasks"], ("architect", "engineer"), strict=True):
        told = tower("task", "show", part, "--account", "tower").stdout
        assert f"task: {item['id']}\n" in told
        call = ready(told)
        assert (call[call.index("--task") + 1], call[call.index("--as") + 1]) == (part, grant)


@pytest.mark.parametrize("ref", ["a/b", "a//b", "../x"])
def test_what_can_be_no_reference_is_a_usage_error(tower, ref):
    result = tower("task", "show", ref, "--account", "tower")
    assert (result.exit_code, "<itemId>/<stepId>/<taskId>" in result.stderr) == (2, True)


def test_an_item_that_waits_for_its_manager_is_closed_by_a_transition(tower):
    item = tower.item([ARCHITECT])
    close(tower, item["tasks"][0], ARCHITECT)
    tower.sandbox.control("POST", "/clock", {"offset": 5})  # the system moves the item a moment later
    told = tower("task", "show", item["id"], "--account", "tower").stdout
    assert "[mgr-2]" in told
    call = [w if w != "RESPONSE" else "Approved as noted" for w in ready(told)]
    assert call[call.index("--as") + 1] == "manager"
    [dry] = [json.loads(tower(*call, "--comment", "thanks", "--dry-run", "--json").stdout)]
    assert (dry["path"].endswith(f"/items/{item['id']}:transition"), dry["body"]["stateId"], dry["part"]) == (True, "sbc-2", None)
    made = json.loads(tower(*call, "--comment", "thanks", "--json").stdout)
    tower.work("tower")
    about = tower.json("show", made["id"])
    assert (about["state"], about["part"], about["transition"]) == ("applied", None, {"state": "sbc-2", "fields": {}})
    assert "what: transition to sbc-2 of task" in tower("show", made["id"]).stdout
    answer = tower.json("task", "show", item["id"], "--account", "tower")["answer"]
    assert (answer["actor"], answer["response"]) == (AUTODESK_USER, "Approved as noted")
    assert f"answered: {answer['at']} {AUTODESK_USER} (grant manager)" in tower("task", "show", item["id"], "--account", "tower").stdout


def test_fields_of_a_transition_are_text_or_any_json(tower):
    item = tower.item([ARCHITECT])
    close(tower, item["tasks"][0], ARCHITECT)
    tower.sandbox.control("POST", "/clock", {"offset": 5})
    back = ("submit", "--account", "tower", "--as", "manager", "--task", item["id"], "--action", "transition", "--state", "rev")
    assert "stepDueDate" in tower(*back, "--dry-run").stdout, "what is missing is named"
    fields = ("--field", "stepDueDate=2030-01-02", "--field", 'watchers:=["u1"]')
    dry = json.loads(tower(*back, *fields, "--dry-run", "--json").stdout)
    assert dry["body"] == {"stateId": "rev", "stepDueDate": "2030-01-02", "watchers": ["u1"]}
    made, other = (json.loads(tower(*back, *given, "--json").stdout) for given in (fields, fields[:2]))
    assert made["key"] != other["key"], "other fields are another decision"
    about = tower.json("show", made["id"])
    assert about["transition"] == {"state": "rev", "fields": {"stepDueDate": "2030-01-02", "watchers": ["u1"]}}
    assert 'fields: {"stepDueDate": "2030-01-02", "watchers": ["u1"]}' in tower("show", made["id"]).stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--action", "transition"), "state: a transition says where it leads"),
        (("--action", "close", "--state", "sbc-2"), "only a transition takes this"),
        (("--action", "close", "--field", "a=b"), "fields: only a transition takes this"),
        (("--action", "transition", "--state", "rev", "--field", "a"), "write NAME=VALUE"),
        (("--action", "transition", "--state", "rev", "--field", "a:=b"), "not JSON"),
        (("--action", "transition", "--state", "rev", "--field", "a=1", "--field", "a=2"), "given twice"),
        (("--action", "transition", "--state", "rev", "--field", 'a:={"b": 1}'), "fields.a: must be text, a number"),
        (("--action", "sign"), "autodesk has approve, close, reject, transition"),
    ],
)
def test_what_is_no_decision_of_an_item_is_a_usage_error(tower, args, words):
    result = tower("submit", "--account", "tower", "--as", "manager", "--task", "ITEM", *args)
    assert (result.exit_code, words in result.stderr) == (2, True), result.stderr


def test_a_close_without_a_response_is_told_the_responses(tower):
    item = tower.item([ARCHITECT])
    at = ("submit", "--account", "tower", "--as", "architect", "--task", item["tasks"][0], "--action")
    for action, listed in (("close", "Rejected"), ("approve", "Approved as noted"), ("reject", "Revise and resubmit")):
        result = tower(*at, action, "--dry-run")
        assert (result.exit_code, listed in result.stdout) == (1, True)


def test_the_story_of_a_part_names_it(tower):
    part = tower.item([ARCHITECT])["tasks"][0]
    tower("submit", "--account", "tower", "--as", "architect", "--task", part, "--action", "close", "--response", "approved", "--key", "k")
    about = tower.json("show", "k")
    assert (about["task"], about["part"], about["response"]) == (part.partition("/")[0], part, "approved")
    assert f"part: {part}" in tower("show", "k").stdout
    assert f"accepted: close, part {part.partition('/')[2]}, response approved" in about["evidence"][0]["text"]


def test_a_workiva_task_is_shown_as_before(desk):
    told = desk("task", "show", desk.task(JANE, BOB), "--account", "finance").stdout
    assert f"step 1 ACTIVE, any one of: {JANE} (grant jane)" in told
    assert f"step 2 not active, any one of: {BOB} (grant bob)" in told


def test_a_stored_token_that_the_upstream_ended_is_renewed_and_the_question_asked_again(terminal):
    """Each command is a process of its own: no turn comes after it. A minute after its renewal a token that is refused is renewed again."""
    terminal.login()
    item = terminal.sandbox.item(steps=[[AUTODESK_USER]])
    terminal.lapse(days=2 * AFRESH / 86_400)
    terminal.sandbox.control("POST", "/tokens", {"expire": True})
    listed = CliRunner().invoke(cli, ["--config", str(terminal.config), "task", "list", "--account", "tower", "--json"])
    assert [json.loads(line)["task"] for line in listed.stdout.splitlines()] == [item["id"]], listed.stderr
    assert [grant["renewed"] for grant in terminal.sandbox.control("GET", "/autodesk/grants")] == [1]
