"""The same door as intake's, with the answer in hand: what is accepted stands, the rest is told whole, nobody gets in without a token."""

import asyncio
import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cable import Cable
from tests.console.conftest import OLDER, TOKEN, running
from worker.broker import Incoming
from worker.console.api import MOST
from worker.ledger import Ledger
from worker.wire import CLOUDEVENT, Door, parse

SQLITE = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
DECISION = {
    "key": "po-4711/2",
    "account": "finance",
    "as": "jane",
    "task": "T1",
    "action": "approve",
    "step": 1,
    "comment": "within budget",
}


def submit(console, command=DECISION, **headers):
    return console.post("/api/submissions", json=command, headers=headers)


def detail(response, status):
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/problem+json")
    body = response.json()
    assert body["status"] == status
    return body["detail"]


def test_what_is_accepted_stands_and_a_repeat_is_the_same_submission(console):
    first = submit(console)
    assert first.status_code == 202
    made = first.json()
    assert made == {"id": made["id"], "key": "po-4711/2", "state": "pending", "url": f"/api/submissions/{made['id']}"}
    assert first.headers["Location"] == made["url"]
    again = submit(console)
    assert (again.status_code, again.json()) == (200, made)
    for name in (made["id"], "po-4711/2", "po-4711%2F2"):
        shown = console.get(f"/api/submissions/{name}")
        assert shown.status_code == 200
        assert shown.headers["Cache-Control"] == "no-store"
        told = shown.json()
        assert (told["id"], told["state"], told["comment"], told["step"]) == (made["id"], "pending", "within budget", 1)
        assert [link["kind"] for link in told["evidence"]] == ["accepted"]
        assert told["chain"]["holds"] is True


@SQLITE
@pytest.mark.parametrize(
    ("command", "part", "transition"),
    [
        ({"task": "I/s/t", "action": "close", "response": "Approved"}, "I/s/t", None),
        (
            {"task": "I", "action": "transition", "state": "rev", "fields": {"stepDueDate": "2030-01-02", "watchers": ["u1"]}},
            None,
            {"state": "rev", "fields": {"stepDueDate": "2030-01-02", "watchers": ["u1"]}},
        ),
    ],
)
def test_a_decision_about_an_item_comes_in_whole_and_is_shown_whole(console, command, part, transition):
    made = submit(console, {"key": "sub-1", "account": "tower", **command})
    assert made.status_code == 202, made.text
    told = console.get("/api/submissions/sub-1").json()
    assert (told["task"], told["part"], told["transition"], told["response"]) == ("I", part, transition, command.get("response"))


@SQLITE
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"task": "I", "action": "transition"}, "state: a transition says where it leads"),
        ({"task": "I/s/t", "action": "close", "state": "sbc-2"}, "state: only a transition takes this"),
        ({"task": "I/s/t", "action": "transition", "state": "rev"}, "transition is of the whole task: I"),
        ({"task": "I/s", "action": "close"}, "a task is <itemId> or <itemId>/<stepId>/<taskId>"),
        ({"account": "finance", "task": "T", "action": "close", "as": "jane"}, "workiva has approve, cancel"),
    ],
)
def test_what_is_no_decision_of_an_item_is_refused_in_words(console, command, words):
    assert words in detail(submit(console, {"key": "sub-1", "account": "tower", **command}), 422)


def test_a_way_out_that_is_shut_off_is_told(console, settings, ledger_url):
    submit(console)
    before = console.get("/api/sinks").json()
    ledger = Ledger(ledger_url)
    ledger.outbox.disable("exchange", "it moves")
    ledger.close()
    [after] = console.get("/api/sinks").json()["sinks"]
    assert before == {"sinks": [{"name": "exchange", "state": "on", "due": 1, "delivered": 0, "unbound": 0, "dead": 0}]}
    assert (after["state"].startswith("off since "), after["state"].endswith(": it moves")) == (True, True)


def test_a_key_that_was_used_with_other_content_names_both(console):
    id_ = submit(console).json()["id"]
    response = submit(console, {**DECISION, "action": "reject"})
    assert detail(response, 409) == f"key 'po-4711/2' was used with other content by {id_} (pending)"
    assert {"id": id_, "key": "po-4711/2", "url": f"/api/submissions/{id_}"}.items() <= response.json().items()


def test_a_key_of_two_accounts_is_asked_for_with_the_account(console):
    ids = {account: submit(console, {**DECISION, "account": account}).json()["id"] for account in ("finance", "legal")}
    assert "several accounts" in detail(console.get("/api/submissions/po-4711/2"), 400)
    for account, id_ in ids.items():
        assert console.get("/api/submissions/po-4711/2", params={"account": account}).json()["id"] == id_


@pytest.mark.parametrize("name", ["nobody", "%00", "x" * 300, "%ff", "a%2f..%2fb"])
def test_what_is_not_there_is_404(console, name):
    assert "no submission" in detail(console.get(f"/api/submissions/{name}"), 404)


@SQLITE
@pytest.mark.parametrize(
    ("header", "key"),
    [({}, "po-4711/2"), ({"Idempotency-Key": "po-4711/2"}, "po-4711/2"), ({"Idempotency-Key": '"po-4711/2"'}, "po-4711/2")],
)
def test_the_header_may_say_the_key_again(console, header, key):
    assert submit(console, **header).json()["key"] == key


@pytest.mark.parametrize("header", ["po-1", '"po-1"'])
@pytest.mark.parametrize("body", [{}, {"key": None}], ids=["no key", "null"])
@SQLITE
def test_the_header_is_the_key_where_the_body_has_none(console, header, body):
    command = {name: value for name, value in DECISION.items() if name != "key"} | body
    first, again = (submit(console, command, **{"Idempotency-Key": header}) for _ in range(2))
    assert (first.status_code, again.status_code, first.json()["key"]) == (202, 200, "po-1")


def test_a_cloudevent_comes_in_too(console):
    """Its key is that of its source and id, as on the queue."""
    event = {"specversion": "1.0", "id": "e1", "source": "/erp", "type": "approval.requested", "data": DECISION | {"key": None}}
    body = json.dumps(event).encode()
    response = console.post("/api/submissions", content=body, headers={"Content-Type": CLOUDEVENT})
    assert response.status_code == 202, response.text
    found = parse(Incoming(body, {}, {"content_type": CLOUDEVENT}), Door("x"), time.time())
    assert response.json()["key"] == found.key


JSON = {"Content-Type": "application/json"}
REFUSED = {
    "no JSON": (400, b"{", JSON, "not JSON: "),
    "no UTF-8": (400, b'"\xff"', JSON, "not UTF-8, at byte 1"),
    "a name twice": (400, b'{"key": "a", "key": "b"}', JSON, "'key' is given twice"),
    "no object": (422, b"[]", JSON, "the body must be a JSON object"),
    "every fault at once": (
        422,
        json.dumps({"key": "", "step": 0, "not_after": "2026-12-01", "as_": "jane"}).encode(),
        JSON,
        ("key: ", "account: is missing", "task: is missing", "action: is missing", "step: ", "not_after: ", "as_: unknown field"),
    ),
    "two keys": (422, json.dumps(DECISION).encode(), JSON | {"Idempotency-Key": "other"}, "the body says 'po-4711/2' and Idempotency-Key"),
    "no such account": (
        422,
        json.dumps(DECISION | {"account": "x"}).encode(),
        JSON,
        "unknown account 'x': the settings have finance, legal",
    ),
    "which grant": (422, json.dumps(DECISION | {"as": None}).encode(), JSON, "say which grant with `as`"),
    "a form": (415, b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, "is not taken"),
    "nothing said": (415, b"{}", {}, "there is no content_type"),
    "compressed": (415, b"{}", JSON | {"Content-Encoding": "gzip"}, "send plain JSON"),
    "an event as JSON": (422, b'{"specversion": "1.0"}', JSON, "send it with content_type application/cloudevents+json"),
    "too large": (413, b" " * 4097, JSON, "4097 bytes are too many: at most 4096"),
}


@pytest.mark.parametrize(("status", "body", "headers", "says"), REFUSED.values(), ids=REFUSED)
@SQLITE
def test_what_cannot_be_accepted_is_told_whole(console, status, body, headers, says):
    told = detail(console.post("/api/submissions", content=body, headers=headers), status)
    assert [word for word in ([says] if isinstance(says, str) else says) if word not in told] == []
    assert console.get("/api/submissions/po-4711/2").status_code == 404, "and nothing was written"


def test_a_body_that_does_not_say_its_length_is_too_large_all_the_same(console):
    response = console.post("/api/submissions", content=iter([b" " * 1000] * 5), headers=JSON)
    assert "at most 4096" in detail(response, 413)


def test_steps_are_asked_for_where_the_command_names_none(console, upstream):
    """As by the queue: refused with the steps listed, where there is more than one."""
    unclear = {name: value for name, value in DECISION.items() if name != "step"}
    two = upstream.task(steps=[{"participants": ["jane"]}, {"participants": ["jane"]}])["id"]
    assert "say pin or step: the task has 2 steps" in detail(submit(console, unclear | {"task": two}), 422)
    one = upstream.task(steps=[{"participants": ["jane"]}])["id"]
    assert submit(console, unclear | {"task": one}).status_code == 202


@pytest.mark.parametrize("path", ["/api/submissions", "/api/submissions/x", "/", "/nowhere"])
@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, 'Bearer realm="approvals"'),
        ("Bearer wrong", 'Bearer realm="approvals", error="invalid_token"'),
        (f"Bearer {TOKEN[:-1]}", 'Bearer realm="approvals", error="invalid_token"'),
        (f"Bearer {TOKEN}x", 'Bearer realm="approvals", error="invalid_token"'),
        (f"Basic {TOKEN}", 'Bearer realm="approvals", error="invalid_token"'),
        ("Bearer \xe4\xf6\xfc", 'Bearer realm="approvals", error="invalid_token"'),
        ("Bearer", 'Bearer realm="approvals", error="invalid_token"'),
    ],
)
@SQLITE
def test_without_a_token_nobody_learns_what_there_is(console, path, header, challenge):
    console.headers.pop("Authorization")
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    response = console.request("POST" if path == "/api/submissions" else "GET", path, headers=headers)
    assert "console.tokens" in detail(response, 401)
    assert response.headers["WWW-Authenticate"] == challenge


@SQLITE
def test_each_token_opens_and_what_is_not_served_is_told(console):
    assert console.get("/api/submissions/x", headers={"Authorization": f"bearer {OLDER}"}).status_code == 404
    assert detail(console.get("/"), 404) == "Not Found"
    response = console.put("/api/submissions")
    assert detail(response, 405) == "Method Not Allowed"
    assert response.headers["Allow"] == "POST"
    assert httpx.get(f"{console.base_url}/healthz").json() == {"ok": True}


@pytest.mark.parametrize("ledger_url", ["postgres"], indirect=True)
def test_a_ledger_that_is_away_is_told_with_when_to_come_again(settings, ledger_url):
    """First it is slow, and more than so many do not wait for it; then it is gone."""
    with Cable(ledger_url) as cable:
        behind = settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"url": type(settings.ledger.url)(cable.url)})})
        with running(behind) as console:
            assert submit(console).status_code == 202
            asyncio.run(_crowd(console, cable))
            cable.break_()
            response = submit(console)
            assert "with the same key" in detail(response, 503)
            assert response.headers["Retry-After"] == "5"


async def _crowd(console, cable):
    cable.freeze()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=console.base_url, headers=console.headers, timeout=60, limits=limits) as crowd:
        commands = [DECISION | {"key": f"k{n}"} for n in range(MOST + 6)]
        tasks = [asyncio.create_task(crowd.post("/api/submissions", json=command)) for command in commands]
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status_code for task in first} == {503}
        while sum(task.done() for task in tasks) < 6:
            await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED, timeout=10)
        cable.thaw()
        answers = [await task for task in tasks]
    told = [answer for answer in answers if answer.status_code == 503]
    assert (len(told), sum(answer.status_code == 202 for answer in answers)) == (6, MOST)
    assert {answer.headers["Retry-After"] for answer in told} == {"1"}


@SQLITE
@pytest.mark.parametrize("sent", [b"", b"POST /api/submissions HTTP/1.1\r\nHost: x\r\nAuthoriz"], ids=["nothing", "half a head"])
def test_a_head_that_does_not_come_holds_no_connection(settings, sent):
    with running(settings, idle=0.5) as console:
        parts = urlsplit(str(console.base_url))
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(1) == b""


@SQLITE
def test_a_body_that_does_not_come_is_told(settings):
    with running(settings, body_within=0.3) as console:
        parts = urlsplit(str(console.base_url))
        head = f"POST /api/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10\r\n\r\n{{"
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


@SQLITE
def test_the_calls_on_the_page(console):
    """docs/clients.md: what it says to type works, as typed."""
    page = (Path(__file__).parent.parent.parent / "docs/clients.md").read_text(encoding="utf-8")
    script = page.split("```\nURL=http://127.0.0.1:8080\n")[1].split("```")[0]
    env = {"PATH": os.environ["PATH"], "URL": str(console.base_url), "TOKEN": TOKEN}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=True, timeout=30)
    made, end = json.JSONDecoder().raw_decode(done.stdout)
    shown = json.loads(done.stdout[end:])
    assert (made["key"], made["state"], shown["id"], shown["step"]) == ("po-4711/2", "pending", made["id"], 2)
    told = {int(code) for row in re.findall(r"(?m)^\| ([\d, ]+) \|", page) for code in row.split(", ")}
    assert told == {200, 202, 400, 401, 408, 409, 413, 415, 422, 503}
