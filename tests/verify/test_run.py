"""The run around the checks: who is needed, what is left behind, what is never said."""

import json
from typing import Any

import httpx
import pytest

from tests.verify.conftest import BOB, JANE, Bench
from worker.cli.verify import run
from worker.engine import Engine
from worker.sandbox.assumptions import ASSUMPTIONS
from worker.sandbox.exchange import Request
from worker.sandbox.workiva import Workiva as Simulated
from worker.sandbox.workspace import Client, Workspace
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import Workiva
from worker.verify.run import CannotBegin, Finding, prepare
from worker.verify.table import CHECKS
from worker.verify.trial import Person, Trial
from worker.verify.wire import Wire


def not_tried(found: dict[int, Finding]) -> dict[int, str]:
    assert [n for n, f in found.items() if f.held == "differs"] == []
    return {n: f.seen for n, f in found.items() if f.held == "not tried"}


def ours(bench: Bench) -> list[str]:
    """Tasks that are there, but for the one that was named."""
    return [task["title"] for task in bench.sandbox.control("GET", "/tasks") if task["id"] != bench.named]


def test_every_assumption_has_a_check():
    """Those about Workiva: what is assumed of Autodesk is looked at by the sandbox's own tests until the worker speaks it."""
    assert sorted(CHECKS) == [row.number for row in ASSUMPTIONS if row.upstream == "workiva"]


def test_one_grant_is_one_person(bench):
    """What takes two people is not tried, and says so; the rest is."""
    assert not_tried(bench.run(bench.trial("jane"))) == dict.fromkeys((4, 5, 6, 10, 22, 38), "needs a second grant, of another user")


def test_what_is_tried_only_if_asked_for(bench):
    """A named task without a location that no process made, and no time."""
    bench.named = bench.sandbox.task()["id"]
    before = bench.sandbox.truth(bench.named)
    assert not_tried(bench.run(bench.trial(process_made=False, slow=False))) == {
        12: "the named task has no location to lend",
        21: "needs a task that a process made: name one, and say --process-made",
        28: "takes 32 s: --slow",
    }
    assert bench.sandbox.truth(bench.named) == before, "it was only read"


def test_nothing_of_others_is_touched(bench):
    bystander = bench.sandbox.task(title="a task of others")
    bench.run(bench.trial())
    assert bench.sandbox.truth(bystander["id"]) == bystander
    assert ours(bench) == ["a task of others"]


@pytest.mark.parametrize("after", [4, 9])
def test_a_task_whose_making_was_cut_off_is_deleted_too(bench, after):
    """The answer to a creation is lost: that check is not tried, and its task is found by its title."""
    bench.sandbox.fault("create", "reset", when="after", after=after)
    assert list(not_tried(bench.run(bench.trial())).values()) == ["a request that the check needs was not answered"]
    assert ours(bench) == []


def test_an_interrupted_run_leaves_nothing(bench):
    def interrupt(seconds: float) -> None:
        assert ours(bench) != []
        raise KeyboardInterrupt

    bench.wire.wait = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(bench.trial(), as_json=True)
    assert ours(bench) == []


def test_tasks_that_cannot_be_deleted_are_counted(bench, capsys):
    """Deletion stops working in the middle: the report and a remark say how many are left, and how to find them."""
    trial = bench.trial("jane")
    bench.sandbox.fault("delete", "status", status=503, times=None, after=3)
    report = run(trial, as_json=True)
    assert report["tasks_left"] == len(ours(bench)) > 0
    assert f"{report['tasks_left']} tasks could not be deleted: their titles begin with {trial.label}" in capsys.readouterr().err


def test_no_such_task(bench):
    bench.named = "VGFzax4x"
    with pytest.raises(CannotBegin, match=r"no such task to grant jane \(404\)") as caught:
        prepare(bench.trial(process_made=False))
    assert caught.value.missing


def test_a_grant_that_acts_as_somebody_else(bench):
    trial = Trial(bench.wire, (Person("jane", JANE), Person("bob", "somebody")), bench.named)
    with pytest.raises(CannotBegin, match=r"grant bob may not approve a task that waits for it \(403\): is its acts_as"):
        prepare(trial)
    trial.clear()


def test_an_unknown_client(bench, engine):
    wire = Wire(engine, Workiva(bench.sandbox.workiva_url, grants={"jane": Grant("stranger", "sandbox")}), 10.0, bench.pass_)
    with pytest.raises(CannotBegin, match=r"the named task cannot be read as grant jane \(401\)"):
        prepare(Trial(wire, (Person("jane", JANE),), bench.named))


def test_nobody_answers(engine):
    wire = Wire(engine, Workiva("http://127.0.0.1:9", grants={"jane": Grant("sandbox", "sandbox")}), 10.0)
    with pytest.raises(CannotBegin, match="as grant jane: a request that the check needs was not answered") as caught:
        prepare(Trial(wire, (Person("jane", JANE),), "T"))
    assert "127.0.0.1" not in str(caught.value)


# --- what is never said -------------------------------------------------------------------------------------------------------------------

PLANT = "QXZ"
"""In every text that could get out."""


class Planted(httpx.AsyncBaseTransport):
    """An upstream whose every word of its own is distinctive: statuses, codes, messages, ids, people, titles, comments, headers."""

    def __init__(self, simulated: Simulated) -> None:
        self.simulated = simulated

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        answer = self.simulated(Request.of(request.method, str(request.url), request.headers, body))
        value = json.loads(answer.body) if answer.body else None
        if isinstance(value, dict) and "access_token" not in value:
            value = self.planted(value)
        headers = {**answer.headers, "X-Served-By": f"{PLANT}-server"}
        return httpx.Response(answer.status, headers=headers, content=b"" if value is None else json.dumps(value).encode())

    def planted(self, value: dict[str, Any]) -> dict[str, Any]:
        words = {"status": ("Awaiting Approval", "Created"), "code": (), "message": (), "target": ()}
        return {k: f"{PLANT}-{k}" if k in words and v not in words[k] else v for k, v in value.items()}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("plants", [False, True], ids=["", "words"])
def test_a_report_names_no_secret_and_no_content(capsys, as_json, plants):
    """Distinctive strings in everything: the host, the clients and their secrets, people, ids, titles, comments, places; and once in
    every word that the upstream sends. None of them is in the report, in either form, nor in the remarks beside it."""
    clock = {"at": 1_790_000_000.0}
    workspace = Workspace(lambda: clock["at"])
    simulated = Simulated(workspace, prefix=f"/{PLANT}-path")
    names = [f"{PLANT}jane", f"{PLANT}bob"]
    grants = {}
    for name in names:
        workspace.clients[f"{PLANT}-client-{name}"] = Client(f"{PLANT}-secret", f"{PLANT}-user-{name}")
        grants[name] = Grant(f"{PLANT}-client-{name}", f"{PLANT}-secret")
    people = [f"{PLANT}-user-{name}" for name in names]
    answered = [{"user": people[1], "comment": f"{PLANT} comment"}]
    named = workspace.make(
        {
            "id": f"{PLANT}-task",
            "title": f"{PLANT} title",
            "description": f"{PLANT} description",
            "owner": people[0],
            "steps": [{"participants": people, "mode": "ALL", "responses": answered}],
            "location": {"resource": f"{PLANT}-place", "segment": f"{PLANT}-segment"},
            "process_made": True,
        }
    )

    def wait(seconds: float) -> None:
        clock["at"] += seconds

    class Upstream(Planted):
        def planted(self, value: dict[str, Any]) -> dict[str, Any]:
            return super().planted(value) if plants else value

    engine = Engine(transport=Upstream(simulated))
    try:
        wire = Wire(engine, Workiva(f"https://{PLANT}.example.com/{PLANT}-path", grants=grants), 10.0, wait)
        report = run(Trial(wire, tuple(map(Person, names, people)), named.id, process_made=True), as_json=as_json)
        print(json.dumps(report))
    finally:
        engine.close()
    printed = capsys.readouterr()
    assert report["holds"], "it ran"
    assert bool(report["differs"]) == plants, "the planted words were seen"
    assert PLANT not in printed.out + printed.err
    assert "example.com" not in printed.out + printed.err
    assert report["host"] == "another host"


def test_a_published_host_is_named(engine):
    from worker.cli.verify import report_of

    wire = Wire(engine, Workiva("https://api.eu.wdesk.com", grants={}), 10.0)
    assert report_of(Trial(wire, (Person("jane", JANE), Person("bob", BOB)), "T"), [], {}, 0)["host"] == "api.eu.wdesk.com"


def test_an_answer_that_cannot_be_read(bench):
    """A check that meets an answer it cannot read is not tried, and contradicts nothing."""
    bench.sandbox.fault("change", "malformed", times=None)
    assert not_tried(bench.run(bench.trial()))[11] == "an answer that should be a task is none"
