"""The Workiva connector, its generators driven by hand: no network, no engine."""

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.published import EXAMPLE
from tests.upstreams.drive import AT, NOW, drive, ok
from worker.core import times
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Page, Refused, Unknown, Unsent
from worker.core.task import Snapshot
from worker.upstreams import KNOWN
from worker.upstreams.auth import LIFETIME, ClientCredentials, Grant
from worker.upstreams.base import EXCERPT, REFUSALS, Flow, Order, Token, retry_after
from worker.upstreams.workiva import ACTIONS, Workiva

HOST = "https://api.app.wdesk.com"
SEEN = Snapshot("t1", "", "Awaiting Approval", awaiting=True, done=False, steps=())


@pytest.fixture(scope="session")
def us(version: str) -> Workiva:
    """A US account, on each version."""
    return Workiva(HOST, version, {"jane": Grant("me", "s3cr3t")})


def tasks(us: Workiva) -> str:
    """Where its tasks live."""
    return HOST + {"2026-01-01": "/tasks", "2022-01-01": "/prototype/platform/tasks"}[us.api_version]


def task(**changes: Any) -> dict[str, Any]:
    return {"id": "t1", "title": "x", "status": "Awaiting Approval"} | changes


def read(us: Workiva, value: Any) -> Any:
    return drive(us.read("t1"), ok(value))[0]


# ---------------------------------------------------------------- settings


def test_known() -> None:
    assert KNOWN["workiva"] is Workiva


@pytest.mark.parametrize(
    ("base_url", "realm"),
    [
        (HOST, "workiva:api.app.wdesk.com"),
        (HOST + ":443/", "workiva:api.app.wdesk.com"),
        ("https://API.eu.wdesk.com", "workiva:api.eu.wdesk.com"),
        ("http://127.0.0.1:8099", "workiva:127.0.0.1:8099"),
        ("https://gateway.example/workiva/", "workiva:gateway.example/workiva"),
    ],
)
def test_realm(base_url: str, realm: str) -> None:
    assert Workiva(base_url).realm == realm
    assert Workiva(base_url, "2022-01-01").realm == realm


@pytest.mark.parametrize("base_url", ["", "api.app.wdesk.com", "ftp://x", "https://me:pw@x", "https://x?y=1", "https://x#y"])
def test_bad_address(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Workiva(base_url)


def test_bad_version_and_timezone() -> None:
    with pytest.raises(ValueError, match="2026-01-01, 2022-01-01"):
        Workiva(HOST, "2024-01-01")
    with pytest.raises(ZoneInfoNotFoundError):
        Workiva(HOST, timezone="Mars/Olympus")


# ---------------------------------------------------------------- requests


def test_requests(us: Workiva) -> None:
    where = tasks(us) + "/a%2Fb%25%3F%20c"
    look = next(us.read("a/b%? c"))
    assert (look.method, str(look.url), look.content) == ("GET", where, b"")
    send = next(us.send(Order("a/b%? c", "approve", "fine: ä [aw:7f3k9q]"), SEEN))
    assert (send.method, str(send.url)) == ("POST", where + "/actionSubmission")
    assert json.loads(send.content) == {"action": "APPROVE", "comment": "fine: ä [aw:7f3k9q]"}
    assert send.headers["content-length"] == str(len(send.content))
    for request in (look, send):
        assert (request.headers["x-version"], request.headers["accept"]) == (us.api_version, "application/json")
        assert "authorization" not in request.headers


def test_without_a_comment(us: Workiva) -> None:
    assert json.loads(next(us.send(Order("t1", "skip"), SEEN)).content) == {"action": "SKIP"}


@pytest.mark.parametrize("name", ["", ".", "..", "a\x00b", "\ud800"])
def test_ids_that_are_no_path_segment(name: str, us: Workiva) -> None:
    """`..` would lead the request to another resource, however it is encoded: nothing is sent."""
    assert isinstance(drive(us.read(name))[0], Gone)
    assert isinstance(drive(us.send(Order(name, "approve"), SEEN))[0], Refused)


def test_unknown_action(us: Workiva) -> None:
    assert isinstance(drive(us.send(Order("t1", "close"), SEEN))[0], Refused)
    assert {"approve", "reject", "skip", "submit", "cancel", "restart"} == ACTIONS


# ---------------------------------------------------------------- answers to a send


def test_applied(us: Workiva) -> None:
    got, (request,) = drive(us.send(Order("t1", "approve"), SEEN), ok(task(status="Completed")))
    assert isinstance(got, Applied)
    assert (got.snapshot.task, got.snapshot.done, got.snapshot.date) == ("t1", True, AT)
    assert got.fact == Fact("answer", 200)
    assert request.method == "POST"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b"<html>", b'{"id": "t1"', b'{"id": "t2", "status": "x"}', b'{"id": "t1"}', b"\xff", b"[" * 100_000],
)
def test_success_that_cannot_be_read(body: bytes, us: Workiva) -> None:
    """A 200 proves nothing if it does not show the task."""
    got, _ = drive(us.send(Order("t1", "approve"), SEEN), httpx.Response(200, content=body))
    assert isinstance(got, InDoubt)
    assert (got.fact.what, got.fact.status) == ("unreadable", 200)
    assert got.fact.text


@pytest.mark.parametrize("status", [s for s in range(200, 600) if s != 200])
def test_every_status(status: int, us: Workiva) -> None:
    """One request each, and the kind of outcome that the status proves (A3)."""
    refused = {400, 403, 404, 413, 415, 422}
    want: type[Any] = Refused if status in refused else Unsent if status in {401, 429} else InDoubt
    answer = httpx.Response(status, json={"code": "429TooManyRequests", "message": "slow down"}, headers={"retry-after": "7"})
    got, requests = drive(us.send(Order("t1", "approve"), SEEN), answer)
    assert isinstance(got, want)
    assert len(requests) == 1
    assert (got.fact.status, got.fact.retry_after) == (status, 7.0)
    if isinstance(got, Unsent):
        assert got.token is (status == 401)
    assert refused == REFUSALS


def test_conflict_is_doubt(us: Workiva) -> None:
    """409 stands in the documentation without any cause [OAS]: it may mean "already done", by us."""
    got, _ = drive(us.send(Order("t1", "approve"), SEEN), httpx.Response(409, json={"code": "409Conflict", "message": "conflicts"}))
    assert got == InDoubt(Fact("answer", 409, "409Conflict", "conflicts"))


# ---------------------------------------------------------------- answers to a look


@pytest.mark.parametrize(("status", "want"), [(403, Gone), (404, Gone), (204, Unknown), (301, Unknown), (429, Unknown), (500, Unknown)])
def test_look(status: int, want: type[Any], us: Workiva) -> None:
    got, _ = drive(us.read("t1"), httpx.Response(status, headers={"retry-after": "7"}))
    assert isinstance(got, want)
    assert (got.fact.status, got.fact.retry_after) == (status, 7.0)


def test_look_asks_again_after_a_401(us: Workiva) -> None:
    got, requests = drive(us.read("t1"), httpx.Response(401), ok(task()))
    assert isinstance(got, Snapshot)
    assert requests[0] is not requests[1]
    assert isinstance(drive(us.read("t1"), httpx.Response(401), httpx.Response(401))[0], Unknown)


def test_error_bodies(us: Workiva) -> None:
    """The platform's and OAuth's, and whatever a proxy says; never more than an excerpt."""
    cases = [
        ({"code": "404NotFound", "message": "no such task", "target": "taskId"}, "404NotFound", "no such task"),
        ({"error": "invalid_scope", "error_description": "task:read"}, "invalid_scope", "task:read"),
        ({"code": 7, "message": None}, None, '{"code":7,"message":null}'),
        ({"message": "x" * 5000}, None, "x" * EXCERPT),
        ({"message": "a\x00\ud800b"}, None, "a\ufffd?b"),
    ]
    for body, code, text in cases:
        answer = httpx.Response(404, content=json.dumps(body, separators=(",", ":")))
        assert drive(us.read("t1"), answer)[0] == Gone(Fact("answer", 404, code, text))
    page = httpx.Response(502, content=b"<html>\n  <b>Bad\n gateway</b>", headers={"content-type": "text/html; charset=base64"})
    assert drive(us.read("t1"), page)[0] == Unknown(Fact("answer", 502, None, "<html> <b>Bad gateway</b>"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Sun, 22 Nov 2026 09:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 08:00:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("inf", None),
        ("99999999999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(httpx.Response(429, headers=NOW | {"retry-after": value})) == seconds


def test_retry_after_without_a_clock() -> None:
    """A time means nothing without the upstream's own."""
    assert retry_after(httpx.Response(429, headers={"retry-after": "Sun, 22 Nov 2026 09:00:30 GMT"})) is None


# ---------------------------------------------------------------- reading a task


def test_the_example_of_the_documentation(us: Workiva) -> None:
    got, _ = drive(us.read(EXAMPLE["id"]), ok(EXAMPLE))
    assert isinstance(got, Snapshot)
    (step,) = got.steps
    (response,) = step.responses
    assert (got.task, got.title, got.status, got.awaiting, got.done) == (EXAMPLE["id"], "Review Document", "Awaiting Approval", True, False)
    assert got.due == times.parse("2019-10-30T00:00:00Z")
    assert got.modified == times.parse("2019-10-29T15:03:27Z")
    assert (got.modified_by, got.date, got.url) == (None, AT, EXAMPLE["sourceUrl"])
    assert got.assignees == ("V1ZVd2VyFzU3NiQ1NDA4NjIzNzk2MjD",)
    assert (step.mode, step.due) == ("one", None)
    assert step.participants == ("V0ZVc2VyHzY0MTI5NzM0MzkxODg5OTI", "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY")
    assert response.actor == "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY"
    assert (response.action, response.comment, response.at) == ("reject", "please refine", times.parse("2023-06-11T13:00:00Z"))


def test_the_schema_says_it_otherwise(us: Workiva) -> None:
    """`dueDate` and `user.id` read to the same as `dueAt` and `user_id`."""
    other = json.loads(json.dumps(EXAMPLE).replace('"dueAt"', '"dueDate"'))
    created = other["approvalSteps"][0]["responses"][0]["created"]
    created["user"] = {"id": created.pop("user_id")}
    assert drive(us.read(EXAMPLE["id"]), ok(other))[0] == drive(us.read(EXAMPLE["id"]), ok(EXAMPLE))[0]


@pytest.mark.parametrize(
    ("status", "awaiting", "done"),
    [
        ("Awaiting Approval", True, False),
        (" awaiting approval", True, False),
        ("Approved", False, True),
        ("Completed", False, True),
        ("Created", False, False),
        ("Returned", False, False),
        ("Cancelled", False, False),
        ("Something New", False, False),
    ],
)
def test_status(status: str, awaiting: bool, done: bool, us: Workiva) -> None:
    got = read(us, task(status=status))
    assert (got.awaiting, got.done, got.status) == (awaiting, done, status)


def test_lenient(us: Workiva) -> None:
    """Nulls, unknown fields and missing lists are nothing special."""
    got = read(
        us, task(approvalSteps=None, assignees=None, modified=None, dueDate=None, location=None, brandNew=[1], title=None, sourceUrl=5)
    )
    assert got == Snapshot("t1", "", "Awaiting Approval", True, False, (), date=AT)
    step = {"completionMode": "ALL", "participants": None, "responses": None, "x": 1}
    assert read(us, task(approvalSteps=[step])).steps[0].responses == ()


@pytest.mark.parametrize(
    ("created", "actor"),
    [
        (None, None),
        ({}, None),
        ({"user": None}, None),
        ({"user": {}}, None),
        ({"user": {"id": ""}}, None),
        ({"user": {"id": 5}}, None),
        ({"user": "u"}, None),
        ({"user": {"id": "u"}}, "u"),
        ({"user_id": "u"}, "u"),
        ({"user": {"id": "u"}, "user_id": "u"}, "u"),
        ({"user": {"id": "u"}, "user_id": "v"}, None),
    ],
)
def test_author(created: Any, actor: str | None, us: Workiva) -> None:
    """An author that cannot be read is None: such a response is never taken for ours (A14)."""
    step = {"completionMode": "ONE", "participants": [{"id": "u"}], "responses": [{"action": "APPROVE", "created": created}]}
    assert read(us, task(approvalSteps=[step])).steps[0].responses[0].actor == actor


@pytest.mark.parametrize(
    ("zone", "due", "at"),
    [
        ("UTC", "2026-11-30", "2026-12-01T00:00:00Z"),
        ("Europe/Berlin", "2026-11-30", "2026-11-30T23:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "2026-03-29T22:00:00Z"),  # the clocks went forward that day
        ("America/Chicago", "2026-11-30", "2026-12-01T06:00:00Z"),
        ("America/Chicago", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z"),
    ],
)
def test_due(zone: str, due: str, at: str, version: str) -> None:
    """A day without a time ends when that day ends where the account is."""
    got = read(Workiva(HOST, version, timezone=zone), task(dueDate=due))
    assert got.due == times.parse(at)


@pytest.mark.parametrize("due", ["9999-12-31", "2026-13-01", "0001-01-01T00:00:00+23:59", "2026-11-30T00:00:00", "soon", "", 5, {}])
def test_due_that_is_none(due: Any, us: Workiva) -> None:
    assert read(us, task(dueDate=due)).due is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//x", "", "data:text/html,x"])
def test_no_link_to_follow(url: str, us: Workiva) -> None:
    assert read(us, task(sourceUrl=url)).url is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"status": 5},
        {"approvalSteps": {}},
        {"approvalSteps": [None]},
        {"approvalSteps": [{"participants": []}]},
        {"approvalSteps": [{"completionMode": "MOST", "participants": []}]},
        {"approvalSteps": [{"completionMode": "ONE", "participants": [{"id": None}]}]},
        {"approvalSteps": [{"completionMode": "ONE", "participants": [], "responses": [{"action": None}]}]},
        {"assignees": "u"},
    ],
)
def test_what_nothing_may_be_decided_on(changes: dict[str, Any], us: Workiva) -> None:
    """Steps that cannot be read make the task unreadable: any guess might approve the wrong one."""
    got = read(us, task(**changes))
    assert isinstance(got, Unknown)
    assert got.fact.what == "unreadable"


def test_text_that_no_database_holds(us: Workiva) -> None:
    assert read(us, task(title="a\x00b")).title == "a\ufffdb"
    answer = httpx.Response(200, content=json.dumps(task(title="\ud800")))
    assert drive(us.read("t1"), answer)[0].title == "?"


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
actions = st.fixed_dictionaries({}, optional={"dateTime": values, "user": values, "user_id": values})
responses = st.fixed_dictionaries({}, optional={"action": values, "comment": values, "created": actions | values})
steps = st.fixed_dictionaries(
    {"completionMode": st.sampled_from(["ONE", "ALL"]) | values},
    optional={"participants": st.lists(st.fixed_dictionaries({"id": values})) | values, "responses": st.lists(responses) | values},
)
near = st.fixed_dictionaries(
    {"id": st.just("t1"), "status": st.text(min_size=1, max_size=20)},
    optional={
        "approvalSteps": st.lists(steps, max_size=3) | values,
        "assignees": values,
        "modified": actions | values,
        "dueDate": values | st.dates().map(str) | st.datetimes().map(str),
        "dueAt": values,
        "sourceUrl": values,
    },
)


@given(near | values)
def test_nothing_raises(us: Workiva, value: Any) -> None:
    """Whatever JSON comes back: an outcome. And what is read can be written down."""
    body = json.dumps(value)
    for flow in (us.read("t1"), us.send(Order("t1", "approve"), SEEN), us.changes(0.0)):
        got, _ = drive(flow, httpx.Response(200, content=body))
        assert isinstance(got, Snapshot | Unknown | Applied | InDoubt | Page)
        repr(got).encode()
    page, _ = drive(us.changes(None), httpx.Response(200, content=json.dumps({"data": value, "@nextLink": value})))
    assert isinstance(page, Page | Unknown)


@given(st.binary(max_size=60), st.integers(200, 599), st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text(max_size=30)))
def test_no_bytes_raise(us: Workiva, content: bytes, status: int, headers: dict[str, str]) -> None:
    fields = [(k.encode(), v.encode("utf-8", "replace")) for k, v in headers.items()]
    flows: list[Callable[[], Flow[Any]]] = [lambda: us.send(Order("t1", "approve"), SEEN), lambda: us.credentials("jane").fetch()]
    for flow in flows:
        drive(flow(), httpx.Response(status, content=content, headers=fields))


# ---------------------------------------------------------------- the feed


def row(name: str, modified: str) -> dict[str, Any]:
    return task(id=name, modified={"dateTime": modified})


def test_feed_query(us: Workiva) -> None:
    request = next(us.changes(AT))
    assert str(request.url).startswith(tasks(us) + "?")
    assert dict(request.url.params) == {
        "$filter": "modified.dateTime ge '2026-11-22T09:00:00.000Z'",
        "$orderBy": "modified.dateTime asc",
        "$maxpagesize": "500",
    }
    assert "$filter" not in next(us.changes(None)).url.params


def test_last_page(us: Workiva) -> None:
    got, _ = drive(us.changes(None), ok({"data": [row("a", "2026-11-22T08:00:00Z"), row("b", "2026-11-22T08:30:00Z")]}))
    assert isinstance(got, Page)
    assert ([s.task for s in got.snapshots], got.cursor, got.date) == (["a", "b"], None, AT)


def test_next_page_is_a_new_query(us: Workiva) -> None:
    """From the last time of this page: rows that move to the end meanwhile make no hole."""
    body = {"data": [row("a", "2026-11-22T08:00:00Z"), row("b", "2026-11-22T08:30:00Z")], "@nextLink": tasks(us) + "?$next=x"}
    got, _ = drive(us.changes(AT - 7200), ok(body))
    request = next(us.changes(AT - 7200, got.cursor))
    assert request.url.params["$filter"] == "modified.dateTime ge '2026-11-22T08:30:00.000Z'"


def test_equal_times_follow_the_link(us: Workiva) -> None:
    body = {"data": [row("a", "2026-11-22T08:00:00Z"), row("b", "2026-11-22T08:00:00Z")], "@nextLink": tasks(us) + "?$next=x%2By"}
    got, _ = drive(us.changes(AT - 7200), ok(body))
    assert str(next(us.changes(AT - 7200, got.cursor)).url) == tasks(us) + "?$next=x%2By"
    relative, _ = drive(us.changes(None), ok(body | {"@nextLink": tasks(us).removeprefix(HOST) + "?$next=z"}))
    assert str(next(us.changes(None, relative.cursor)).url) == tasks(us) + "?$next=z"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/tasks",
        "http://api.app.wdesk.com/tasks",
        "https://api.app.wdesk.com:8443/tasks",
        "//evil.example/tasks",
        "https://api.app.wdesk.com@evil.example/tasks",
        "https://u@api.app.wdesk.com/tasks",
        "https://api.app.wdesk.com.evil.example/",
        "http://[",
    ],
)
def test_link_to_elsewhere(link: str, us: Workiva) -> None:
    """Our token would go where it leads: nothing is asked, and the reason is told. A stored cursor is checked again."""
    body = {"data": [row("a", "2026-11-22T08:00:00Z")], "@nextLink": link}
    got, requests = drive(us.changes(None), ok(body))
    assert isinstance(got, Unknown)
    assert "another scheme, host or port" in str(got.fact)
    assert len(requests) == 1
    got, requests = drive(us.changes(None, "next " + link))
    assert isinstance(got, Unknown)
    assert requests == []


def test_feed_that_does_not_obey(us: Workiva) -> None:
    """A filter or an order that is ignored would be read for ever, or with holes."""
    older = ok({"data": [row("a", "2026-11-22T07:00:00Z")]})
    got, _ = drive(us.changes(AT), older)
    assert "$filter" in str(got.fact)
    turned = ok({"data": [row("a", "2026-11-22T08:00:00Z"), row("b", "2026-11-22T07:00:00Z")]})
    got, _ = drive(us.changes(None), turned)
    assert "$orderBy" in str(got.fact)


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": []}])
def test_empty_feed(body: dict[str, Any], us: Workiva) -> None:
    assert drive(us.changes(None), ok(body))[0] == Page((), None, AT)


def test_feed_asks_again_after_a_401(us: Workiva) -> None:
    assert drive(us.changes(None), httpx.Response(401), ok({"data": []}))[0] == Page((), None, AT)
    assert isinstance(drive(us.changes(None), httpx.Response(503))[0], Unknown)


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(("version", "path"), [("2026-01-01", "/oauth2/token"), ("2022-01-01", "/iam/v1/oauth2/token")])
def test_token(version: str, path: str) -> None:
    credentials = Workiva(HOST, version, {"jane": Grant("me", "s3&r3t")}).credentials("jane")
    token, (request,) = drive(credentials.fetch(), ok({"access_token": "abc", "expires_in": 599, "token_type": "bearer"}))
    assert token == Token("abc", 599.0)
    assert (request.method, str(request.url)) == ("POST", HOST + path)
    assert request.content == b"grant_type=client_credentials&client_id=me&client_secret=s3%26r3t"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert credentials.name == f"{HOST}{path}#me"


def test_scope() -> None:
    credentials = ClientCredentials(HOST, Grant("me", "x"), "task:read task:write")
    assert b"scope=task%3Aread+task%3Awrite" in next(credentials.fetch()).content
    assert credentials.name != ClientCredentials(HOST, Grant("me", "x")).name


@pytest.mark.parametrize("asked", [None, "x", 0, -5, "nan", "inf", [], 10**400])
def test_lifetime_that_is_none(asked: Any, us: Workiva) -> None:
    token, _ = drive(us.credentials("jane").fetch(), ok({"access_token": "abc", "expires_in": asked}))
    assert token == Token("abc", LIFETIME)


@pytest.mark.parametrize(
    "body",
    [{}, [], {"access_token": None}, {"access_token": "a b"}, {"access_token": "ä"}, {"access_token": "a", "token_type": "mac"}],
)
def test_no_token(body: Any, us: Workiva) -> None:
    got, _ = drive(us.credentials("jane").fetch(), ok(body))
    assert isinstance(got, Fact)
    assert (got.what, got.status) == ("token", 200)


def test_token_refused(us: Workiva) -> None:
    """OAuth's own error body; a secret that it echoes is blotted out."""
    answer = httpx.Response(401, json={"error": "invalid_client", "error_description": "wrong secret s3cr3t"}, headers={"retry-after": "3"})
    got, _ = drive(us.credentials("jane").fetch(), answer)
    assert got == Fact("token", 401, "invalid_client", "wrong secret …", 3.0)
