"""Every fault, twice: as a value under a clock that the test moves, and through a real socket."""

import http.client
import json
import random
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.sandbox.conftest import ME, Api
from worker.sandbox.control import read_faults
from worker.sandbox.exchange import Request
from worker.sandbox.faults import BENDING, DECIDING, Delivery, Fault, Faulty, Script
from worker.sandbox.server import RunningSandbox, running_sandbox

TWO_STEPS = [{"participants": [ME, "b"], "mode": "ONE"}, {"participants": [ME, "c"], "mode": "ONE"}]


class Faults(Api):
    """An Api whose requests go through a script."""

    def __init__(self, version: str, *faults: Fault, **switches: Any) -> None:
        super().__init__(version, **switches)
        self.script = Script(random.Random(1), faults)
        self.faulty = Faulty(self.workiva, self.script)
        self.task = self.make(steps=TWO_STEPS, owner="owner", assignees=["owner"])

    def approve(self, comment: str = "x") -> Delivery:
        body = {"action": "APPROVE", "comment": comment}
        return self.faulty(self.request("POST", f"/tasks/{self.task}/actionSubmission", body))

    def get(self) -> Delivery:
        return self.faulty(self.request("GET", f"/tasks/{self.task}"))

    @property
    def effects(self) -> list[tuple[str, str | None, int | None]]:
        return [(e.action, e.comment, e.step) for e in self.workspace.journal]


@pytest.fixture
def faulty(version):
    """An Api with such faults."""
    return partial(Faults, version)


DONE: list[tuple[str, str | None, int | None]] = [("APPROVE", "x", 1)]
NOTHING: list[tuple[str, str | None, int | None]] = []


@pytest.mark.parametrize(
    ("fault", "how", "status", "effects"),
    [
        ({"what": "refuse"}, "refuse", None, NOTHING),
        ({"what": "reset", "when": "before"}, "reset", None, NOTHING),
        ({"what": "reset", "when": "after"}, "reset", 200, DONE),
        ({"what": "close", "when": "before"}, "close", None, NOTHING),
        ({"what": "close", "when": "after"}, "close", 200, DONE),
        ({"what": "stall", "when": "before"}, "stall", None, NOTHING),
        ({"what": "stall", "when": "after"}, "stall", 200, DONE),
        ({"what": "status", "when": "before"}, "answer", 503, NOTHING),
        ({"what": "status", "when": "after", "status": 502}, "answer", 502, DONE),
        ({"what": "status", "when": "after", "status": 409}, "answer", 409, DONE),
        ({"what": "status", "when": "after", "status": 408}, "answer", 408, DONE),
        ({"what": "status", "when": "after", "status": 307, "location": "/elsewhere"}, "answer", 307, DONE),
        ({"what": "throttle", "retry_after": 7}, "answer", 429, NOTHING),
        ({"what": "malformed"}, "answer", 200, DONE),
        ({"what": "bad_gzip"}, "answer", 200, DONE),
        ({"what": "half_body"}, "half_body", 200, DONE),
        ({"what": "half_head"}, "half_head", 200, DONE),
        ({"what": "garbage"}, "garbage", 200, DONE),
        ({"what": "expire"}, "answer", 401, NOTHING),
        ({"what": "late", "seconds": 40}, "reset", None, NOTHING),
        ({"what": "late", "seconds": 40, "status": 503}, "answer", 503, NOTHING),
        ({"what": "slow", "seconds": 5, "when": "after"}, "answer", 200, DONE),
        ({"what": "slow", "seconds": 5, "when": "before"}, "answer", None, NOTHING),
        ({"what": "slow", "seconds": 60, "when": "after"}, "answer", 504, DONE),
        ({"what": "slow", "seconds": 60, "when": "before"}, "answer", 504, NOTHING),
    ],
)
def test_what_becomes_of_an_approval(fault, how, status, effects, faulty):
    api = faulty(Fault("act", **fault))
    delivery = api.approve()
    answer = delivery.answer()
    assert (delivery.how, answer and answer.status, api.effects) == (how, status, effects)
    assert api.approve("again").how == "answer"  # once only


def test_every_fault_is_tried():
    rows = next(m for m in test_what_becomes_of_an_approval.pytestmark if m.name == "parametrize").args[1]
    assert {row[0]["what"] for row in rows} == {*DECIDING, *BENDING} - {"stale", "person"}


def test_headers_that_come_with_an_error(faulty):
    api = faulty(Fault("act", "throttle", retry_after=7), Fault("act", "throttle"), Fault("act", "status", status=307, location="/x"))
    answers = [api.approve().response for _ in range(3)]
    assert [(a.headers.get("Retry-After"), a.headers.get("Location")) for a in answers if a] == [("7", None), (None, None), (None, "/x")]


def test_a_late_effect_comes_when_its_time_has_come(faulty):
    api = faulty(Fault("act", "late", seconds=40))
    delivery = api.approve()
    api.clock.pass_(39)
    assert (api.faulty.advance(), api.effects) == (0, [])
    api.clock.pass_(1)
    assert (api.faulty.advance(), api.effects) == (1, DONE)
    assert delivery.pending is not None
    api.faulty.land(delivery.pending)
    assert api.effects == DONE


def test_a_late_effect_is_judged_by_the_token_it_came_with_and_lands_where_the_task_is_then(faulty):
    api = faulty(Fault("act", "late", seconds=700))
    api.approve("late")
    api.workiva.person(api.task, "APPROVE", "b", "person")
    api.clock.pass_(700)
    api.get()  # whatever comes next lets it happen first
    assert api.effects == [("APPROVE", "person", 1), ("APPROVE", "late", 2)]


def test_a_slow_effect_is_in_the_answer(faulty):
    api = faulty(Fault("act", "slow", seconds=5, when="before"))
    delivery = api.approve()
    assert (delivery.wait, delivery.answer()) == (5, None)
    api.clock.pass_(5)
    api.faulty.advance()
    answer = delivery.answer()
    assert answer is not None
    assert (answer.status, api.effects) == (200, DONE)


def test_beyond_the_cutoff_the_answer_is_504_and_the_effect_comes_all_the_same(faulty):
    api = faulty(Fault("act", "slow", seconds=35, when="before"))
    assert api.approve().wait == 29
    api.clock.pass_(35)
    api.faulty.advance()
    assert api.effects == DONE


def test_what_outlasts_the_cutoff_may_be_dropped(faulty):
    """Assumption 28 turned: 504, and nothing comes of it; what stays below the cut-off takes effect as ever."""
    api = faulty(Fault("act", "slow", seconds=35), Fault("act", "slow", seconds=5), outlasting="dropped")
    cut = api.approve("cut").answer()
    api.approve("slow")
    api.clock.pass_(35)
    api.faulty.advance()
    assert (cut.status, api.effects) == (504, [("APPROVE", "slow", 1)])


@pytest.mark.parametrize(("fault", "responses"), [({"changes": 1}, 1), ({"changes": 2}, 0), ({"seconds": 5}, 1), ({"seconds": 15}, 0)])
def test_a_stale_read(fault, responses, faulty):
    api = faulty(Fault("read", "stale", **fault))
    for comment in ("one", "two"):
        api.clock.pass_(10)
        api.approve(comment)
    answer = api.get().response
    assert answer is not None
    assert sum(len(step["responses"]) for step in answer.json()["approvalSteps"]) == responses
    assert len(api.effects) == 2


def test_a_stale_list(faulty):
    api = faulty(Fault("list", "stale"))
    api.approve()
    request = api.request("GET", "/tasks?$filter=status eq 'Awaiting Approval'")
    stale, fresh = (api.faulty(request).response for _ in range(2))
    assert stale is not None
    assert fresh is not None
    assert stale.json() != fresh.json()


@pytest.mark.parametrize(
    ("when", "people", "effects"),
    [
        ("before", [{"action": "APPROVE", "comment": "p"}], [("APPROVE", "p", 1), ("APPROVE", "x", 2)]),
        ("after", [{"action": "APPROVE", "comment": "p"}], [("APPROVE", "x", 1), ("APPROVE", "p", 2)]),
        ("before", [{"action": "REJECT"}, {"action": "SUBMIT"}], [("REJECT", None, 1), ("SUBMIT", None, None), ("APPROVE", "x", 1)]),
        (
            "after",
            [{"patch": [{"op": "replace", "path": "/assignees", "value": [{"id": "z"}]}]}],
            [("APPROVE", "x", 1), ("PATCH", None, None), ("RESTART", None, None)],
        ),
    ],
)
def test_a_person_acts_in_between(when, people, effects, faulty):
    api = faulty(Fault("act", "person", when=when, people=tuple(people)))
    api.approve()
    assert api.effects == effects
    assert {e.by for e in api.workspace.journal if e.comment != "x"} == {"person"}


def test_what_bends_adds_up_with_what_decides(faulty):
    people = ({"action": "APPROVE", "user": "b", "comment": "p"},)
    api = faulty(Fault("act", "person", when="before", people=people), Fault("act", "reset", when="after"))
    assert (api.approve().how, api.effects) == ("reset", [("APPROVE", "p", 1), ("APPROVE", "x", 2)])


def test_the_first_of_two_that_decide_strikes_and_the_other_waits(faulty):
    api = faulty(Fault("act", "reset"), Fault("act", "close"))
    assert [api.approve().how for _ in range(3)] == ["reset", "close", "answer"]


@pytest.mark.parametrize(
    ("route", "struck"),
    [
        ("act", True),
        ("workiva.act", True),
        ("workiva.*", True),
        ("*", True),
        ("POST /workiva*/tasks/*/actionSubmission", True),
        ("* */actionSubmission", True),
        ("read", False),
        ("autodesk.*", False),
        ("GET *", False),
    ],
)
def test_routes(route, struck, faulty):
    assert (faulty(Fault(route, "reset")).approve().how == "reset") == struck


def test_after_times_p_and_task(faulty):
    api = faulty(Fault("act", "reset", after=1, times=2))
    assert [api.approve().how for _ in range(4)] == ["answer", "reset", "reset", "answer"]
    api = faulty(Fault("read", "reset", times=None, p=0.5))
    hows = [api.get().how for _ in range(200)]
    assert 70 < hows.count("reset") < 130
    again = faulty(Fault("read", "reset", times=None, p=0.5))
    assert hows == [again.get().how for _ in range(200)]  # the dice are the script's own
    api = faulty(Fault("act", "reset", task="another"))
    assert api.approve().how == "answer"


def test_the_token_endpoint_can_fail(faulty):
    api = faulty(Fault("token", "status", status=500))
    request = Request.of("POST", "/workiva/oauth2/token", {}, b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox")
    assert [d.response.status for d in (api.faulty(request), api.faulty(request)) if d.response] == [500, 200]


def test_faults_are_data():
    fault = Fault("act", "person", when="after", times=None, p=0.25, people=({"action": "REJECT"}, {"action": "SUBMIT"}))
    assert Fault.of(json.loads(json.dumps(fault.json()))) == fault
    assert read_faults("act:reset:when=after,times=3; read:stale:seconds=5") == [
        Fault("act", "reset", when="after", times=3),
        Fault("read", "stale", seconds=5),
    ]
    assert read_faults('[{"route": "*", "what": "throttle"}]') == [Fault("*", "throttle")]
    assert read_faults("") == []


@pytest.mark.parametrize(
    "data",
    [
        {"route": "*", "what": "explode"},
        {"route": "*"},
        {"route": "*", "what": "reset", "when": "during"},
        {"route": "*", "what": "reset", "colour": 1},
        {"route": "*", "what": "late"},
        {"route": "*", "what": "person"},
        {"route": "*", "what": "person", "people": [{"user": "x"}]},
        {"route": "*", "what": "reset", "times": "3"},
        {"route": "*", "what": "reset", "p": -1},
    ],
)
def test_a_fault_that_does_not_exist(data):
    with pytest.raises(ValueError, match=r"fault|when|needs"):
        Fault.of(data)


# ---- through a socket


class Wire:
    """A client that looks at bytes."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.port = int(sandbox.url.rsplit(":", 1)[1])
        self.task = sandbox.task(steps=TWO_STEPS)["id"]
        self.headers = {"X-Version": "2026-01-01", "Content-Type": "application/json"}
        status, raw = self.send("POST", "/oauth2/token", b"client_id=sandbox&client_secret=sandbox&grant_type=client_credentials", {})
        assert status == 200
        self.headers["Authorization"] = f"Bearer {json.loads(raw)['access_token']}"

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 5
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, f"/workiva{path}", body, headers=self.headers if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def approve(self, comment: str = "x", **how: Any) -> tuple[int, bytes]:
        return self.send("POST", f"/tasks/{self.task}/actionSubmission", json.dumps({"action": "APPROVE", "comment": comment}), **how)

    @property
    def effects(self) -> list[tuple[str, str | None, int | None]]:
        return [(e["action"], e["comment"], e["step"]) for e in self.sandbox.journal()]


@pytest.fixture
def wire(sandbox):
    return Wire(sandbox)


@pytest.mark.parametrize(
    ("fault", "failure", "effects"),
    [
        ({"what": "reset", "when": "before"}, ConnectionResetError, NOTHING),
        ({"what": "reset", "when": "after"}, ConnectionResetError, DONE),
        ({"what": "close", "when": "before"}, http.client.RemoteDisconnected, NOTHING),
        ({"what": "close", "when": "after"}, http.client.RemoteDisconnected, DONE),
        ({"what": "stall", "when": "before"}, TimeoutError, NOTHING),
        ({"what": "stall", "when": "after"}, TimeoutError, DONE),
        ({"what": "stall", "when": "after", "seconds": 0.05}, http.client.RemoteDisconnected, DONE),
        ({"what": "half_body"}, http.client.IncompleteRead, DONE),
        ({"what": "garbage"}, http.client.BadStatusLine, DONE),
        ({"what": "late", "seconds": 60}, ConnectionResetError, NOTHING),
        ({"what": "refuse", "after": 1}, None, DONE),
    ],
)
def test_a_connection_that_breaks(wire, fault, failure, effects):
    wire.sandbox.fault("act", **fault)
    if failure is None:
        wire.approve()
        failure = OSError
        with pytest.raises(ConnectionResetError):
            wire.approve("struck")
    with pytest.raises(failure):
        wire.approve(timeout=0.3)
    assert wire.effects == effects


@pytest.mark.parametrize(
    ("fault", "status", "effects"),
    [
        ({"what": "status", "when": "before", "status": 500}, 500, NOTHING),
        ({"what": "status", "when": "after", "status": 500}, 500, DONE),
        ({"what": "status", "when": "after", "status": 308, "location": "/x"}, 308, DONE),
        ({"what": "throttle", "retry_after": "1"}, 429, NOTHING),
        ({"what": "expire"}, 401, NOTHING),
        ({"what": "malformed"}, 200, DONE),
        ({"what": "bad_gzip"}, 200, DONE),
        ({"what": "slow", "seconds": 0.1, "when": "before"}, 200, DONE),
        ({"what": "slow", "seconds": 0.1, "when": "after"}, 200, DONE),
        (
            {"what": "person", "when": "after", "people": [{"action": "APPROVE", "user": "c", "comment": "p"}]},
            200,
            [*DONE, ("APPROVE", "p", 2)],
        ),
    ],
)
def test_an_answer_that_arrives(wire, fault, status, effects):
    wire.sandbox.fault("act", **fault)
    got, body = wire.approve()
    assert (got, wire.effects) == (status, effects)
    if fault["what"] in {"malformed", "bad_gzip"}:
        with pytest.raises(ValueError, match=r"."):
            json.loads(body)


def test_an_answer_that_ends_in_its_head(wire):
    """Looked at as bytes: the standard library's client takes it for an empty 200."""
    wire.sandbox.fault("act", "half_head")
    head = f"Host: x\r\nAuthorization: {wire.headers['Authorization']}\r\nX-Version: 2026-01-01\r\nContent-Length: 37\r\n\r\n"
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as raw:
        raw.sendall(f'POST /workiva/tasks/{wire.task}/actionSubmission HTTP/1.1\r\n{head}{{"action": "APPROVE", "comment": "x"}}'.encode())
        got = b""
        while part := raw.recv(65536):
            got += part
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in got
    assert wire.effects == DONE


def test_a_late_effect_comes_by_itself(wire):
    wire.sandbox.fault("act", "late", seconds=0.1)
    with pytest.raises(ConnectionResetError):
        wire.approve()
    assert wire.effects == []
    end = time.monotonic() + 5
    while not wire.sandbox.do(lambda: wire.sandbox.sandbox.workspace.journal) and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert wire.effects == DONE


def test_a_refused_port_comes_back(wire):
    wire.sandbox.fault("*", "refuse", seconds=0.2)
    with pytest.raises(ConnectionRefusedError):
        wire.approve()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            assert wire.approve()[0] == 200
            break
        threading.Event().wait(0.02)
    assert wire.effects == DONE


def test_a_request_that_is_cut_in_its_body_has_no_effect(wire):
    """What a gate that closes while it sends leaves behind."""
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as raw:
        head = f"POST /workiva/tasks/{wire.task}/actionSubmission HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.headers['Authorization']}\r\n"
        raw.sendall(f'{head}X-Version: 2026-01-01\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{"act\r\n'.encode())
    assert wire.send("GET", f"/tasks/{wire.task}")[0] == 200
    assert wire.effects == []


def test_chunks_pipelines_and_expect(wire):
    head = f"Host: x\r\nAuthorization: {wire.headers['Authorization']}\r\nX-Version: 2026-01-01\r\n"
    path = f"/workiva/tasks/{wire.task}"
    body = '{"action": "APPROVE", "comment": "x"}'
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as raw:
        chunks = f"{len(body) - 9:x}\r\n{body[:-9]}\r\n9\r\n{body[-9:]}\r\n0\r\n\r\n"
        post = f"POST {path}/actionSubmission HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"
        raw.sendall(f"{post}GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 2 or not got.endswith(b"}"):
            got += raw.recv(65536)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as raw:
        raw.sendall(f"POST {path}/actionSubmission HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body.encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.effects == [*DONE, ("APPROVE", "x", 2)]


def test_what_is_no_http_is_told_so(wire):
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as raw:
        raw.sendall(b"HELO\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_latency_and_concurrency_are_seen_in_the_stats():
    with running_sandbox(latency=0.1) as sandbox:
        wire = Wire(sandbox)
        threads = [threading.Thread(target=wire.send, args=("GET", f"/tasks/{wire.task}")) for _ in range(5)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        stats = sandbox.control("GET", "/stats")
        assert took >= 0.1
        assert stats["requests"] == {"workiva.token": 1, "workiva.read": 5}
        assert 2 <= stats["max_concurrency"] <= 5
        assert sum(count for _, count in stats["per_second"]) == 6
        assert (stats["busiest"], stats["answers"]) == ({"workiva": {"1": 5, "10": 5, "60": 5}}, {"workiva": {"200": 6}})
