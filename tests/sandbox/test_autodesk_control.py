"""Steering Autodesk, and both upstreams behind one port."""

import json
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

import pytest

from tests.sandbox.site import ROOT

JANE, JOE = "jane", "joe"


@pytest.fixture
def ask(sandbox):
    """A request through the port: status and JSON."""

    def asked(method: str, path: str, body: Any = None, *, user: str = JANE, bearer: str = "") -> tuple[int, Any]:
        token = bearer or sandbox.control("POST", "/autodesk/grants", {"user": user})["access_token"]
        raw = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(sandbox.url + ROOT + path, raw, headers, method=method), timeout=5
            ) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return asked


def close(sandbox, ask, made, task=0, **body):
    item, step, task_id = made["tasks"][task].split("/")
    reply = next(iter(sandbox.sandbox.project.replies))
    return ask("POST", f"/items/{item}/steps/{step}/tasks/{task_id}:close", {"responseId": reply, **body})


def test_the_system_moves_an_item_by_itself(sandbox, ask):
    """Nothing has to ask for it, and it is not there before its time."""
    made = sandbox.item(steps=[[JANE]])
    status, closed = close(sandbox, ask, made)
    landed = sandbox.journal()[0]["at"]
    assert status == 200
    assert datetime.fromisoformat(closed["respondedAt"]).timestamp() == pytest.approx(landed, abs=2e-6)
    until = time.monotonic() + 5
    while len(sandbox.journal()) < 2:
        assert time.monotonic() < until
    assert sandbox.journal()[1]["at"] - landed == pytest.approx(0.13, abs=1e-3)
    assert ask("GET", f"/items/{made['id']}")[1]["stateId"] == "mgr-2"


def test_one_journal_of_both(sandbox, ask):
    task = sandbox.task()["id"]
    made = sandbox.item(steps=[[JANE, JANE], [JOE]])
    sandbox.person(task, None, "APPROVE")
    close(sandbox, ask, made, responseComment="mark")
    sandbox.person(made["tasks"][1], None, "close:Rejected", "no")
    assert [(e["n"], e["task"], e["action"], e["by"]) for e in sandbox.journal()] == [
        (1, task, "APPROVE", "person"),
        (2, made["tasks"][0], "close", "api"),
        (3, made["tasks"][1], "close", "person"),
    ]
    assert [e["comment"] for e in sandbox.journal(made["id"])] == ["mark", "no"]
    assert [e["n"] for e in sandbox.journal(made["tasks"][1])] == [3]


def test_a_lost_answer(sandbox, ask):
    made = sandbox.item(steps=[[JANE]])
    sandbox.fault("autodesk.act", "reset", when="after", task=made["id"])
    with pytest.raises(OSError, match=r"reset|closed"):
        close(sandbox, ask, made)
    assert [e["action"] for e in sandbox.journal()][:1] == ["close"]
    assert sandbox.truth(made["tasks"][0])["steps"][0]["status"] == "completed"


def test_a_restart_under_the_reviewers_feet(sandbox, ask):
    made = sandbox.item(steps=[[JANE]])
    sandbox.fault("act", "person", people=[{"action": "mgr-1"}, {"action": "rev"}, {"patch": {"title": "Anew"}}])
    assert close(sandbox, ask, made)[0] == 200
    assert [(e["action"], e["round"], e["by"]) for e in sandbox.journal()][:4] == [
        ("transition rev::mgr-1", 1, "person"),
        ("transition mgr-1::rev", 2, "person"),
        ("update", 2, "person"),
        ("close", 2, "api"),
    ]


def test_people_templates_and_responses(sandbox, ask):
    sandbox.control("POST", "/autodesk/people", {"id": JOE, "roles": ["1", "2"], "groups": ["architects"]})
    template = sandbox.control("POST", "/autodesk/templates", {"name": "One", "steps": [[{"role": "architects"}]]})
    reply = sandbox.control("POST", "/autodesk/responses", {"value": "Geprüft", "isApproval": True})
    made = sandbox.item(template=template["id"], extra={"colour": "red"})
    assert ask("GET", f"/items/{made['id']}")[1]["colour"] == "red"
    assert ask("GET", f"/responses/{reply['id']}")[1]["value"] == "Geprüft"
    sandbox.control("POST", "/autodesk/responses", {"id": reply["id"], "isActive": False})
    assert ask("GET", f"/responses/{reply['id']}")[1] == {**reply, "isActive": False}
    assert sandbox.person(made["id"], JOE, "close")["steps"][0]["tasks"][0]["respondedBy"] == JOE


def test_tokens_and_the_clock(sandbox, ask):
    given = sandbox.control("POST", "/autodesk/grants", {"user": JANE})
    assert ask("GET", "/users/me", bearer=given["access_token"])[1]["id"] == JANE
    sandbox.control("POST", "/tokens", {"expire": True})
    assert ask("GET", "/users/me", bearer=given["access_token"])[0] == 401
    sandbox.control("POST", "/tokens", {"expires_in": 60})
    given = sandbox.control("POST", "/autodesk/grants", {"user": JANE})
    assert given["expires_in"] == 60
    sandbox.control("POST", "/clock", {"offset": 61})
    assert ask("GET", "/users/me", bearer=given["access_token"])[0] == 401
    assert given["refresh_token"] in [grant["refresh_token"] for grant in sandbox.control("GET", "/autodesk/grants")]
    sandbox.control("POST", "/autodesk/tokens", {"forget": True})
    assert sandbox.control("GET", "/autodesk/grants") == []


def test_assumptions_reach_both_and_a_reset_takes_them_back(sandbox, ask):
    sandbox.assume(second_close=409, wire="both")
    assert sandbox.sandbox.workspace.switches is sandbox.sandbox.project.switches
    made = sandbox.item(steps=[[JANE, JANE]])
    close(sandbox, ask, made)
    assert close(sandbox, ask, made)[0] == 409
    sandbox.control("POST", "/reset")
    assert (sandbox.control("GET", "/autodesk/items"), sandbox.journal()) == ([], [])
    made = sandbox.item(steps=[[JANE, JANE]])
    close(sandbox, ask, made)
    assert close(sandbox, ask, made)[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/autodesk/items", {"colour": "red"}),
        ("POST", "/autodesk/items", {"template": "none"}),
        ("POST", "/autodesk/people", {"id": "x", "roles": ["9"]}),
        ("POST", "/autodesk/people", {}),
        ("POST", "/autodesk/templates", {"steps": [[]]}),
        ("POST", "/autodesk/responses", {}),
        ("POST", "/autodesk/grants", {"client_id": "stranger"}),
        ("POST", "/autodesk/accounts", {"id": "x", "client_id": "sandbox", "keys": {"k": "no key"}}),
        ("GET", "/autodesk/items/none", None),
        ("PUT", "/autodesk/items", {}),
    ],
)
def test_what_control_does_not_know(sandbox, method, path, body):
    with pytest.raises(ValueError, match=r"40[04]"):
        sandbox.control(method, path, body)


@pytest.mark.parametrize("action", ["APPROVE", "close:Perhaps"])
def test_what_a_person_cannot_do(sandbox, action):
    made = sandbox.item(steps=[[JANE]])
    with pytest.raises(ValueError, match="400"):
        sandbox.person(made["id"], None, action)


def test_registered_clients_are_apps_of_both(sandbox, ask):
    sandbox.control("POST", "/clients", {"client_id": "app", "client_secret": "s", "user": JOE})
    assert ask("GET", "/users/me", bearer=sandbox.control("POST", "/autodesk/grants", {"client_id": "app"})["access_token"])[1]["id"] == JOE
