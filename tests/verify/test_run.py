"""The run around the checks: who is needed, what is left behind, what is never said."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest

from tests.verify.conftest import ANN, BOB, JANE, JOE, OfAutodesk, OfWorkiva
from worker.cli.verify import run
from worker.engine import Engine
from worker.sandbox.autodesk import Autodesk as AutodeskSimulated
from worker.sandbox.exchange import Request
from worker.sandbox.project import Project
from worker.sandbox.server import running_sandbox
from worker.sandbox.workiva import Workiva as WorkivaSimulated
from worker.sandbox.workspace import Client, Workspace
from worker.upstreams.auth import Consented, Grant
from worker.upstreams.autodesk import Autodesk
from worker.upstreams.vault import Vault
from worker.upstreams.workiva import Workiva
from worker.verify.asking import Person
from worker.verify.autodesk.trial import Trial as AutodeskTrial
from worker.verify.run import CannotBegin, Finding
from worker.verify.table import Trial
from worker.verify.wire import Wire
from worker.verify.workiva.begin import prepare
from worker.verify.workiva.trial import Trial as WorkivaTrial


def not_tried(found: dict[int, Finding]) -> dict[int, str]:
    assert [n for n, f in found.items() if f.held == "differs"] == []
    return {n: f.seen for n, f in found.items() if f.held == "not tried"}


def ours(bench: OfWorkiva) -> list[str]:
    """Tasks that are there, but for the one that was named."""
    return [task["title"] for task in bench.sandbox.control("GET", "/tasks") if task["id"] != bench.named]


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
        run(bench.trial(), "workiva", as_json=True)
    assert ours(bench) == []


def test_tasks_that_cannot_be_deleted_are_counted(bench, capsys):
    """Deletion stops working in the middle: the report and a remark say how many are left, and how to find them."""
    trial = bench.trial("jane")
    bench.sandbox.fault("delete", "status", status=503, times=None, after=3)
    report = run(trial, "workiva", as_json=True)
    assert report["tasks_left"] == len(ours(bench)) > 0
    assert f"{report['tasks_left']} tasks could not be deleted: their titles begin with {trial.label}" in capsys.readouterr().err


def test_no_such_task(bench):
    bench.named = "VGFzax4x"
    with pytest.raises(CannotBegin, match=r"no such task to grant jane \(404\)") as caught:
        prepare(bench.trial(process_made=False))
    assert caught.value.missing


def test_a_grant_that_acts_as_somebody_else(bench):
    trial = WorkivaTrial(bench.wire, (Person("jane", JANE), Person("bob", "somebody")), bench.named)
    with pytest.raises(CannotBegin, match=r"grant bob may not approve a task that waits for it \(403\): is its acts_as"):
        prepare(trial)
    trial.clear()


def test_an_unknown_client(bench, engine):
    wire = Wire(engine, Workiva(bench.sandbox.workiva_url, grants={"jane": Grant("stranger", "sandbox")}), 10.0, bench.pass_)
    with pytest.raises(CannotBegin, match=r"the named task cannot be read as grant jane \(401\)"):
        prepare(WorkivaTrial(wire, (Person("jane", JANE),), bench.named))


def test_nobody_answers(engine):
    wire = Wire(engine, Workiva("http://127.0.0.1:9", grants={"jane": Grant("sandbox", "sandbox")}), 10.0)
    with pytest.raises(CannotBegin, match="as grant jane: a request that the check needs was not answered") as caught:
        prepare(WorkivaTrial(wire, (Person("jane", JANE),), "T"))
    assert "127.0.0.1" not in str(caught.value)


# --- Autodesk: items are used, not made -------------------------------------------------------------------------------------------------

MANAGED = "needs a first grant whose user manages the project's submittals"


def test_what_takes_more_than_items(site):
    """Without flags, a draft and a second person: each number says what it needs, and nothing contradicts."""
    site.pass_(4 * 3600)  # two o'clock, UTC
    site.named = site.item([[ANN], [ANN]])
    two = "needs an item (--use) whose review has two steps, "
    assert not_tried(site.run(site.trial("ann", risk=False, slow=False))) == {
        42: two + "two required tasks in the first one, all for users of the grants",
        44: "may end a grant, which then needs `approvals login` again: --risk-grant",
        49: two + "a required and an optional task in the first one, all for users of the grants",
        50: two + "no required and two optional tasks in the first one, all for users of the grants",
        53: "a project that does not exist: 403; a draft to who is no manager: needs a draft (--task or --use) and a grant of such a user",
        63: "takes more than 600 requests at once: --burst 660",
        67: "takes 63 s: --slow",
    }


def test_without_items_it_only_reads(site):
    """What acts is not tried, and says that it needs an item; no effect took place."""
    found = site.run(site.trial(usable=()))
    acts = {40, 41, 42, 49, 50, 51, 52, 56, 57, 59, 60, 61, 62, 67}
    assert {n for n, why in not_tried(found).items() if "--use" in why} >= acts
    assert site.sandbox.journal() == []


def test_who_manages_nothing_begins_no_review_anew(site):
    """A reviewer's grant first: a review is theirs to answer once, and what it takes a manager for is not tried."""
    site.named = site.item([[ANN]])
    assert {n for n, why in not_tried(site.run(site.trial("joe"))).items() if why == MANAGED} == {52, 59, 60}


def test_a_day_is_not_told_from_noon(engine):
    """An item that was changed at noon is found on the same day in most zones: that says nothing, and nothing is said."""
    with running_sandbox() as sandbox:
        site = OfAutodesk(engine, sandbox)
        site.pass_(14 * 3600)
        site.named = site.item([[ANN]])
        assert not_tried(site.run(site.trial(usable=())))[43].endswith(
            "name items that were changed shortly after and shortly before midnight, UTC"
        )


def test_no_other_item_is_touched(site):
    """Nor the one that was only named. Those that were used are counted, and a person is told what to do with them."""
    bystander = site.item([[ANN, JOE], [ANN]])
    before = site.sandbox.truth(bystander), site.sandbox.truth(site.named)
    trial = site.trial()
    site.run(trial)
    assert (site.sandbox.truth(bystander), site.sandbox.truth(site.named)) == before
    assert {effect["item"] for effect in site.sandbox.journal()} == set(site.usable)
    assert trial.remains(trial.clear()) == "3 items were used, and are left as they are: void them"


def test_a_consent_that_a_second_use_ends(site):
    """Worst comes to worst: it is said, and what comes after it contradicts nothing."""
    site.sandbox.assume(lost_refresh="family")
    found = site.run(site.trial())
    assert (found[44].held, found[44].seen) == (
        "differs",
        "a second use of a refresh token is refused; after it the successor is dead, and the grant needs `approvals login` again",
    )
    assert [n for n, f in found.items() if f.held == "differs"] == [44]


def test_new_tokens_are_kept_whatever_becomes_of_the_check(site):
    """The question after the renewal is cut off: the refresh token in hand is the new one, not the one that was used."""
    kept = []

    def spend(grant, use):
        old = site.held[grant]
        site.sandbox.fault("me", "reset", times=None)
        kept.append((old, use(old).refresh))
        return True

    found = site.run(site.trial(spend=spend, risk=False))
    assert not_tried(found)[66] == "no access token was at hand before the renewal"
    assert kept[0][0] != kept[0][1]
    assert [grant["refresh_token"] for grant in site.sandbox.control("GET", "/autodesk/grants")].count(kept[0][1]) == 1


def test_a_consent_of_somebody_else(site):
    trial = AutodeskTrial(site.wire, (Person("ann", ANN), Person("joe", "somebody")), site.named)
    with pytest.raises(CannotBegin, match="grant joe acts as somebody else than its acts_as"):
        site.run(trial)


def test_no_such_item(site):
    with pytest.raises(CannotBegin, match=r"no such item to grant ann \(404\)") as caught:
        site.run(site.trial(usable=("00000000-0000-4000-8000-00000000000a",)))
    assert caught.value.missing


# --- what is never said -------------------------------------------------------------------------------------------------------------------

PLANT = "QXZ"
"""In every text that could get out."""


class Planted(httpx.AsyncBaseTransport):
    """An upstream whose every word of its own is distinctive: statuses, codes, messages, ids, people, titles, comments, headers.

    `kept`: words by name that a run cannot go on without.
    """

    def __init__(self, simulated: WorkivaSimulated | AutodeskSimulated, kept: Mapping[str, tuple[str, ...]]) -> None:
        self.simulated, self.kept = simulated, kept

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        answer = self.simulated(Request.of(request.method, str(request.url), request.headers, body))
        value = json.loads(answer.body) if answer.body else None
        if isinstance(value, dict) and "access_token" not in value:
            value = {k: f"{PLANT}-{k}" if k in self.kept and v not in self.kept[k] else v for k, v in value.items()}
        headers = {**answer.headers, "X-Served-By": f"{PLANT}-server"}
        return httpx.Response(answer.status, headers=headers, content=b"" if value is None else json.dumps(value).encode())


class Still:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.at = 1_790_000_000.0

    def __call__(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += seconds


NAMES = [f"{PLANT}jane", f"{PLANT}bob"]
USERS = [f"{PLANT}-user-{name}" for name in NAMES]
PEOPLE = tuple(map(Person, NAMES, USERS))
HOST = f"https://{PLANT}.example.com/{PLANT}-path"


@contextmanager
def planted_workiva(*, words: bool) -> Iterator[Trial]:
    clock = Still()
    workspace = Workspace(clock)
    for name, user in zip(NAMES, USERS, strict=True):
        workspace.clients[f"{PLANT}-client-{name}"] = Client(f"{PLANT}-secret", user)
    grants = {name: Grant(f"{PLANT}-client-{name}", f"{PLANT}-secret") for name in NAMES}
    named = workspace.make(
        {
            "id": f"{PLANT}-task",
            "title": f"{PLANT} title",
            "description": f"{PLANT} description",
            "owner": USERS[0],
            "steps": [{"participants": USERS, "mode": "ALL", "responses": [{"user": USERS[1], "comment": f"{PLANT} comment"}]}],
            "location": {"resource": f"{PLANT}-place", "segment": f"{PLANT}-segment"},
            "process_made": True,
        }
    )
    kept = {"status": ("Awaiting Approval", "Created"), "code": (), "message": (), "target": ()} if words else {}
    engine = Engine(transport=Planted(WorkivaSimulated(workspace, prefix=f"/{PLANT}-path"), kept))
    try:
        yield WorkivaTrial(Wire(engine, Workiva(HOST, grants=grants), 10.0, clock.wait), PEOPLE, named.id, process_made=True)
    finally:
        engine.close()


@contextmanager
def planted_autodesk(*, words: bool) -> Iterator[Trial]:
    clock = Still()
    project = Project(clock)
    project.id = f"{PLANT}-project"
    project.names = {project.id}
    for user, roles in zip(USERS, (["1", "2"], ["2"]), strict=True):
        project.join({"id": user, "roles": roles})
    for reply in list(project.replies.values()):
        project.reply(id=reply.id, value=f"{PLANT} {reply.value}", key=f"{PLANT}-{reply.key}")
    items = [
        project.make({"id": f"{PLANT}-item-{n}", "title": f"{PLANT} title", "steps": [USERS, USERS[:1]], "manager": USERS[0], **more}).id
        for n, more in enumerate([{"state": "draft"}, {"description": f"{PLANT} description"}, {"customIdentifier": f"{PLANT}-number"}])
    ]
    simulated = AutodeskSimulated(project, prefix=f"/{PLANT}-path")
    vault = Vault(clock)
    grants = {name: Consented(f"sandbox:{user}", "sandbox", user, vault) for name, user in zip(NAMES, USERS, strict=True)}
    connector = Autodesk(HOST, project.id, grants)
    for name, user in zip(NAMES, USERS, strict=True):
        token = simulated.authentication.grant(f"sandbox:{user}")["access_token"]
        renewal = connector.renewal(name)
        assert renewal is not None
        vault.keep(renewal.name, 1, token, 3000.0, 3000.0)
    kept = {"status": (), "errorCode": (), "title": (), "detail": (), "respondedBy": (), "developerMessage": ()} if words else {}
    engine = Engine(transport=Planted(simulated, kept))
    try:
        yield AutodeskTrial(Wire(engine, connector, 10.0, clock.wait), PEOPLE, items[0], usable=items[1:])
    finally:
        engine.close()


@pytest.mark.parametrize(("kind", "planted"), [("autodesk", planted_autodesk), ("workiva", planted_workiva)])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("words", [False, True], ids=["", "words"])
def test_a_report_names_no_secret_and_no_content(capsys, kind, planted, as_json, words):
    """Distinctive strings in everything: the host, the clients and their secrets, people, ids, titles, comments, places; and once in
    every word that the upstream sends. None of them is in the report, in either form, nor in the remarks beside it."""
    with planted(words=words) as trial:
        report = run(trial, kind, as_json=as_json)
        print(json.dumps(report))
    printed = capsys.readouterr()
    assert report["holds"], "it ran"
    assert bool(report["differs"]) == words, "the planted words were seen"
    assert PLANT not in printed.out + printed.err
    assert "example.com" not in printed.out + printed.err
    assert report["host"] == "another host"


def test_a_published_host_is_named(engine):
    from worker.cli.verify import report_of

    wire = Wire(engine, Workiva("https://api.eu.wdesk.com", grants={}), 10.0)
    assert report_of(WorkivaTrial(wire, (Person("jane", JANE), Person("bob", BOB)), "T"), [], {}, 0)["host"] == "api.eu.wdesk.com"


def test_an_answer_that_cannot_be_read(bench):
    """A check that meets an answer it cannot read is not tried, and contradicts nothing."""
    bench.sandbox.fault("change", "malformed", times=None)
    assert not_tried(bench.run(bench.trial()))[11] == "an answer that should be a task is none"
