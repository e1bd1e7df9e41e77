"""Steering: what a test does to the sandbox beside the API, through the port as another program would."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.sandbox.conftest import ME
from worker.sandbox.control import Busiest
from worker.sandbox.faults import Fault
from worker.sandbox.server import running_sandbox


@pytest.fixture
def control(sandbox):
    def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{sandbox.url}/_control{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                raw = answer.read()
                return answer.status, json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    return ask


def test_a_task_is_made_and_its_truth_told(control):
    response = {"user": "b", "action": "APPROVE", "comment": "seen"}
    status, task = control(
        "POST", "/tasks", {"title": "T", "steps": [{"participants": ["b"], "responses": [response]}, {"participants": [ME]}]}
    )
    assert (status, task["round"], task["active_step"], task["status"]) == (201, 1, 2, "Awaiting Approval")
    assert task["steps"][0]["complete"] is True
    assert control("GET", f"/tasks/{task['id']}") == (200, task)
    assert control("GET", "/tasks") == (200, [task])
    assert control("GET", "/journal") == (200, [])


def test_people_the_journal_and_reset(control):
    _, task = control("POST", "/tasks", {"steps": [{"participants": [ME, "b"]}, {"participants": [ME]}]})
    status, truth = control("POST", "/person", {"task": task["id"], "action": "APPROVE", "user": "b", "comment": "p"})
    assert (status, truth["active_step"]) == (200, 2)
    patch = [{"op": "replace", "path": "/assignees", "value": [{"id": "z"}]}]
    assert control("POST", "/person", {"task": task["id"], "patch": patch})[1]["round"] == 2
    assert control("POST", "/person", {"task": task["id"], "action": "APPROVE", "user": "x"})[0] == 403
    _, journal = control("GET", f"/journal?task={task['id']}")
    assert [(e["n"], e["action"], e["by"], e["step"], e["round"]) for e in journal] == [
        (1, "APPROVE", "person", 1, 1),
        (2, "PATCH", "person", None, 2),
        (3, "RESTART", "person", None, 2),
    ]
    assert control("GET", "/journal?task=another") == (200, [])
    assert control("POST", "/reset") == (204, None)
    assert control("GET", "/journal") == (200, [])
    assert control("GET", "/tasks") == (200, [])


def test_faults_come_and_go(control):
    assert control("POST", "/faults", {"route": "act", "what": "reset"}) == (201, {"ids": [1]})
    assert control("POST", "/faults", [{"route": "act", "what": "throttle"}, {"route": "list", "what": "stale"}])[1] == {"ids": [2, 3]}
    assert [(f["id"], f["what"], f["struck"]) for f in control("GET", "/faults")[1]] == [
        (1, "reset", 0),
        (2, "throttle", 0),
        (3, "stale", 0),
    ]
    assert control("DELETE", "/faults") == (204, None)
    assert control("GET", "/faults") == (200, [])


def test_assumptions_are_shown_and_turned(control):
    status, rows = control("POST", "/assumptions", {"wire": "both", "modified_frozen": True})
    assert status == 200
    assert {row["switch"]: row["now"] for row in rows if row["switch"] in {"wire", "modified_frozen"}} == {
        "wire": "both",
        "modified_frozen": True,
    }
    assert control("GET", "/assumptions") == (200, rows)
    control("POST", "/reset")
    assert control("GET", "/assumptions")[1] != rows


def test_clients_tokens_and_the_clock(control, sandbox):
    control("POST", "/clients", {"client_id": "c", "client_secret": "s", "user": "jane"})
    control("POST", "/tokens", {"expires_in": 60})
    form = b"client_id=c&client_secret=s&grant_type=client_credentials"

    def token() -> Any:
        with urllib.request.urlopen(f"{sandbox.workiva_url}/oauth2/token", form, timeout=5) as answer:
            return json.loads(answer.read())

    def status(held: str) -> int:
        headers = {"Authorization": f"Bearer {held}", "X-Version": "2026-01-01"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{sandbox.workiva_url}/tasks", headers=headers), timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    held = token()
    assert (held["expires_in"], status(held["access_token"])) == (60, 200)
    assert control("POST", "/clock", {"offset": 61})[1]["offset"] == 61
    assert status(held["access_token"]) == 401
    held = token()["access_token"]
    assert status(held) == 200
    control("POST", "/tokens", {"expire": True})
    assert status(held) == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", {"route": "act", "what": "explode"}, 400),
        ("POST", "/faults", {"what": "reset"}, 400),
        ("POST", "/assumptions", {"nothing": 1}, 400),
        ("POST", "/tasks", {"colour": "red"}, 400),
        ("POST", "/tasks", {"steps": [{}]}, 400),
        ("POST", "/tasks", {"steps": [{"participants": "jane"}]}, 400),
        ("POST", "/tasks", {"steps": [{"participants": ["jane"], "mode": "one"}]}, 400),
        ("POST", "/person", {"task": "x"}, 400),
        ("POST", "/person", {"task": "x", "action": "APPROVE", "user": "u"}, 404),
        ("GET", "/tasks/unknown", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", "/faults", {}, 404),
    ],
)
def test_what_control_does_not_know(control, method, path, body, status):
    assert control(method, path, body)[0] == status


def test_a_path_of_no_upstream(sandbox):
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(f"{sandbox.url}/nothing", timeout=5):
        pass
    caught.value.close()
    assert caught.value.code == 404


def test_the_methods_of_a_running_sandbox():
    with running_sandbox(faults=[Fault("act", "reset", times=None)]) as sandbox:
        task = sandbox.task(title="T")
        sandbox.assume(final_status="Approved")
        assert sandbox.person(task["id"], None, "APPROVE", "p")["status"] == "Approved"
        assert sandbox.truth(task["id"])["steps"][0]["responses"][0]["comment"] == "p"
        assert [e["comment"] for e in sandbox.journal(task["id"])] == ["p"]
        assert sandbox.fault("read", "stale") == 2
        with pytest.raises(ValueError, match="409"):
            sandbox.person(task["id"], None, "APPROVE")


def test_the_busiest_window_is_found_wherever_it_begins():
    """Without: a limit that is held against whole minutes lets in twice as many around their change."""
    window = Busiest(60)
    for at in [*[50.0] * 3, *[70.0] * 4, 109.9, *[130.0] * 5]:
        window.add(at)
    assert window.most == 8
    window.add(300.0)
    assert window.most == 8
