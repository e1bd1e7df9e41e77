"""The Autodesk connector, its generators driven by hand: against payloads as they were published, and against the sandbox as a function."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.published import SEED_TASK
from tests.sandbox.conftest import START
from tests.sandbox.site import MANAGER, Site
from tests.upstreams.drive import AT, NOW, drive, ok
from worker.core import events, times
from worker.core.observe import observe
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Page, Refused, Unknown, Unsent
from worker.core.task import Offer, Part, Response, Snapshot, Step, Task, from_json, to_json
from worker.sandbox.assumptions import ASSUMPTIONS
from worker.sandbox.autodesk import SUBMITTALS
from worker.sandbox.exchange import Request
from worker.sandbox.project import PROJECT
from worker.upstreams import KNOWN
from worker.upstreams.auth import ServiceAccount
from worker.upstreams.autodesk import MOST_PAGES, Autodesk
from worker.upstreams.base import REFUSALS, Address, Flow, Order
from worker.upstreams.descent import ROUNDS

HOST = "https://developer.api.autodesk.com"
ROOT = HOST + SUBMITTALS + PROJECT
JANE, JOE = "jane", "joe"
ITEM, STEP, TASK = "767b5888", SEED_TASK["stepId"], SEED_TASK["id"]
PART = f"{STEP}/{TASK}"
APPROVED = SEED_TASK["responseId"]


@pytest.fixture
def us() -> Autodesk:
    """The project of the published example, nothing asked yet."""
    return Autodesk(HOST, PROJECT)


# ---------------------------------------------------------------- payloads


def item(**changes: Any) -> dict[str, Any]:
    """An item under review, with the nulls of the tutorial."""
    return {
        "id": ITEM,
        "customIdentifier": None,
        "title": "Concrete mix",
        "stateId": "rev",
        "ballInCourt": [],
        "ballInCourtUsers": ["WD43ZJGKDFLFH"],
        "ballInCourtCompanies": None,
        "dueDate": "2024-02-15",
        "sentToReview": "2024-03-21T23:15:49.406Z",
        "responseId": None,
        "responseComment": None,
        "respondedAt": None,
        "respondedBy": None,
        "updatedAt": "2024-03-24T23:04:50.1Z",
        "updatedBy": "WD43ZJGKDFLFH",
    } | changes


def step(*tasks: Any, **changes: Any) -> dict[str, Any]:
    return {
        "id": STEP,
        "itemId": ITEM,
        "status": "in-progress",
        "stepNumber": 1,
        "dueDate": None,
        "startedAt": "2024-03-21T23:15:49.406894Z",
        "tasks": list(tasks) or [open_()],
    } | changes


def open_(**changes: Any) -> dict[str, Any]:
    """A task that nobody has answered [TUT]."""
    nothing = dict.fromkeys(("responseId", "responseComment", "respondedAt", "respondedBy", "completedAt", "completedBy"))
    return SEED_TASK | nothing | {"status": "in-progress", "permittedActions": []} | changes


def page(*rows: Any, total: int | None = None, **pagination: Any) -> httpx.Response:
    return ok({"pagination": {"totalResults": len(rows) if total is None else total} | pagination, "results": list(rows)})


def reply(id_: str, label: str, approval: bool, active: bool = True) -> dict[str, Any]:
    return {"id": id_, "key": "", "value": label, "isActive": active, "categoryId": "2", "isApproval": approval}


PERMIT = {"id": "Task::close", "fields": {"responseId": []}, "mandatoryFields": ["responseId"], "transitions": [""]}
CATALOGUE = page(reply(APPROVED, "Approved", True), reply("no", "Rejected", False))


def read(us: Autodesk, *steps: Any, **changes: Any) -> Any:
    """What a look at one item shows, the catalogue where it is asked for."""
    flow, answers = us.read(ITEM), {f"/items/{ITEM}": ok(item(**changes)), f"/items/{ITEM}/steps": page(*steps), "/responses": CATALOGUE}
    request = next(flow)
    try:
        while True:
            request = flow.send(answers[request.url.path.removeprefix(SUBMITTALS + PROJECT)])
    except StopIteration as end:
        return end.value


# ---------------------------------------------------------------- settings


def test_known() -> None:
    assert KNOWN["autodesk"] is Autodesk


@pytest.mark.parametrize(
    ("base_url", "project", "realm"),
    [
        (HOST, PROJECT, f"autodesk:developer.api.autodesk.com/{PROJECT}"),
        (HOST + ":443/", PROJECT.upper(), f"autodesk:developer.api.autodesk.com/{PROJECT}"),
        ("http://127.0.0.1:8765/autodesk/", PROJECT, f"autodesk:127.0.0.1:8765/autodesk/{PROJECT}"),
    ],
)
def test_realm(base_url: str, project: str, realm: str) -> None:
    """One project is one realm, however it is written: two would be two slots for one item (A9)."""
    assert Autodesk(base_url, project).realm == realm


def test_a_prefixed_project_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=f"write '{PROJECT}', not 'b.{PROJECT}'"):
        Autodesk(HOST, f"b.{PROJECT}")


@pytest.mark.parametrize("project", ["", "..", "a/b", "a\x00"])
def test_bad_project(project: str) -> None:
    with pytest.raises(ValueError, match="project_id"):
        Autodesk(HOST, project)


def test_bad_address_of_the_host() -> None:
    with pytest.raises(ValueError, match="base_url"):
        Autodesk("developer.api.autodesk.com", PROJECT)


def test_address(us: Autodesk) -> None:
    assert us.address("i") == Address("i")
    assert us.address("i/s/t") == Address("i", "s/t")


@pytest.mark.parametrize("task", ["", "i/s", "i/s/t/u", "i//t", "/s/t", "i/s/", "i/../t", "./s/t", "..", "i/s/t\x00"])
def test_address_of_nothing(task: str, us: Autodesk) -> None:
    with pytest.raises(ValueError, match="<itemId> or <itemId>/<stepId>/<taskId>"):
        us.address(task)


def test_a_grant_is_asked_for_its_own_flow() -> None:
    robot = ServiceAccount("app", "s3cr3t", "robot", "key", None)  # type: ignore[arg-type]  # it signs nothing here
    us = Autodesk(HOST + "/", PROJECT, {"robot": robot})
    assert us.credentials("robot").name == f"{HOST}/authentication/v2/token#app#robot"
    assert us.renewal("robot") is None
    assert us.consent("robot", "", "", "") is None
    assert "s3cr3t" not in repr(us)


# ---------------------------------------------------------------- reading


def test_the_example_of_the_documentation(us: Autodesk) -> None:
    """The seed's task in a step of an item: its times with three, six and seven digits, its response by the catalogue."""
    got, requests = drive(us.read(ITEM), ok(item()), page(step(SEED_TASK, status="completed")), CATALOGUE)
    assert [str(r.url) for r in requests] == [
        f"{ROOT}/items/{ITEM}",
        f"{ROOT}/items/{ITEM}/steps?limit=50&offset=0",
        f"{ROOT}/responses?limit=50&offset=0",
    ]
    assert got == Snapshot(
        task=ITEM,
        title="Concrete mix",
        status="rev",
        awaiting=True,
        done=False,
        steps=(
            Step(
                ("WD43ZJGKDFLFH",),
                "parts",
                (
                    Response(
                        "WD43ZJGKDFLFH",
                        "approve",
                        times.parse("2024-02-03T12:09:24.198466Z"),
                        "Approved without changes.",
                        part=PART,
                        choice=APPROVED,
                        label="Approved",
                    ),
                ),
                times.parse("2024-02-16T00:00:00Z"),
                "complete",
                times.parse("2024-03-21T23:15:49.406894Z"),
                (
                    Part(
                        PART,
                        "WD43ZJGKDFLFH",
                        True,
                        "complete",
                        modified=times.parse("2024-03-24T23:04:49.406674Z"),
                        started=times.parse("2024-03-21T23:15:49.406894Z"),
                    ),
                ),
            ),
        ),
        modified=times.parse("2024-03-24T23:04:50.1Z"),
        modified_by="WD43ZJGKDFLFH",
        due=times.parse("2024-02-16T00:00:00Z"),
        date=AT,
        assignees=("WD43ZJGKDFLFH",),
        begun=times.parse("2024-03-21T23:15:49.406Z"),
    )


def test_a_snapshot_survives_the_ledger(us: Autodesk) -> None:
    look = read(us, step(SEED_TASK, status="completed"), responseId="no", respondedAt="2024-03-25T00:00:00Z", stateId="sbc-2")
    assert look == from_json(json.loads(json.dumps(to_json(look))))
    assert (look.done, look.answer.action, look.answer.label) == (True, "reject", "Rejected")


def test_the_example_as_an_event(us: Autodesk) -> None:
    """Who answered what, with which response, and when."""
    before, after = read(us, step()), read(us, step(SEED_TASK, status="completed"))
    task, _ = observe(Task(us.realm, ITEM, "autodesk", "tower"), before, {}, AT)
    _, told = observe(task, task.align(after), {}, AT)
    sent = [json.loads(json.dumps(events.cloudevent(event, 1))) for event in told]
    recorded = next(event for event in sent if event["type"] == "response.recorded")
    assert (recorded["source"], recorded["subject"], recorded["time"]) == ("/autodesk/tower", ITEM, "2024-02-03T12:09:24.198Z")
    assert recorded["data"]["response"] == {
        "actor": "WD43ZJGKDFLFH",
        "action": "approve",
        "comment": "Approved without changes.",
        "at": "2024-02-03T12:09:24.198Z",
        "part": f"{ITEM}/{PART}",
        "response": "Approved",
    }
    assert "step.completed" in {event["type"] for event in sent}


def test_what_nobody_answered_holds_nulls(us: Autodesk) -> None:
    """Then no catalogue is asked for; and fields that are not documented are nothing special."""
    got, _ = drive(us.read(ITEM), ok(item(brandNew=[1])), page(step(open_(brandNew={}))))
    assert (got.steps[0].responses, got.answer, got.active()) == ((), None, 1)


@pytest.mark.parametrize(
    ("kind", "assigned"), [("1", "WD43ZJGKDFLFH"), ("2", "company:WD43ZJGKDFLFH"), ("3", "role:WD43ZJGKDFLFH")]
)  # fmt: skip
def test_who_a_task_is_for(kind: str, assigned: str, us: Autodesk) -> None:
    got = read(us, step(open_(assignedToType=kind)))
    assert (got.steps[0].participants, got.steps[0].parts[0].assigned) == ((assigned,), assigned)


@pytest.mark.parametrize(
    ("status", "state"), [("not-started", "waiting"), ("in-progress", "active"), ("completed", "complete")]
)  # fmt: skip
def test_states(status: str, state: str, us: Autodesk) -> None:
    got = read(us, step(open_(status=status), status=status))
    assert (got.steps[0].state, got.steps[0].parts[0].state, got.exact) == (state, state, True)


def test_a_completed_task_without_a_response(us: Autodesk) -> None:
    """It ended with its step: completed, and answered by nobody."""
    got = read(us, step(open_(status="completed"), status="completed"))
    assert (got.steps[0].complete, got.steps[0].responses, got.steps[0].parts[0].state) == (True, (), "complete")


def test_a_response_that_only_waits_to_be_given_is_none(us: Autodesk) -> None:
    got = read(us, step(SEED_TASK | {"status": "in-progress"}))
    assert got.steps[0].responses == ()


def test_a_response_that_the_catalogue_does_not_know(us: Autodesk) -> None:
    """It closed the task all the same. It is looked for once, and not again before its time."""
    shown = step(SEED_TASK | {"responseId": "gone"}, status="completed")
    got, requests = drive(us.read(ITEM), ok(item()), page(shown), CATALOGUE)
    assert (got.steps[0].responses[0].action, got.steps[0].responses[0].label, got.steps[0].responses[0].choice) == ("close", None, "gone")
    assert len(requests) == 3
    assert drive(us.read(ITEM), ok(item()), page(shown))[0] == got


def test_the_catalogue_is_kept_for_ten_minutes_of_the_upstreams_clock(us: Autodesk) -> None:
    shown = page(step(SEED_TASK, status="completed"))

    def at(minute: int, *more: httpx.Response) -> Any:
        date = {"date": f"Sun, 22 Nov 2026 09:{minute:02}:00 GMT"}
        return drive(us.read(ITEM), *(httpx.Response(200, content=each.content, headers=date) for each in (ok(item()), shown, *more)))[0]

    at(0, CATALOGUE)
    at(9)
    relabelled = at(10, page(reply(APPROVED, "Fine", True)))
    assert relabelled.steps[0].responses[0].label == "Fine"


def test_without_a_clock_nothing_is_kept(us: Autodesk) -> None:
    answers = [httpx.Response(200, content=a.content) for a in (ok(item()), page(step(SEED_TASK, status="completed")), CATALOGUE)]
    assert [len(drive(us.read(ITEM), *answers)[1]) for _ in range(2)] == [3, 3]


def test_a_new_response_is_read_at_once(us: Autodesk) -> None:
    read(us, step(SEED_TASK, status="completed"))
    more = page(reply(APPROVED, "Approved", True), reply("new", "Fine", True))
    got, _ = drive(us.read(ITEM), ok(item()), page(step(SEED_TASK | {"responseId": "new"}, status="completed")), more)
    assert got.steps[0].responses[0].label == "Fine"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403),
        httpx.Response(500),
        page({"id": "a", "value": "x", "isActive": True, "isApproval": None}),
        page({"id": "a", "value": None, "isActive": True, "isApproval": True}),
        page({"id": "a", "value": "x", "isActive": "true", "isApproval": True}),
        page({"value": "x", "isActive": True, "isApproval": True}),
        ok([]),
    ],
)
def test_without_the_catalogue_nothing_is_known(answer: httpx.Response, us: Autodesk) -> None:
    """Whether a response approves is not guessed, and the item is not gone either."""
    got, _ = drive(us.read(ITEM), ok(item()), page(step(SEED_TASK, status="completed")), answer)
    assert isinstance(got, Unknown)


def test_steps_come_in_their_order(us: Autodesk) -> None:
    """Whatever order the list is in. Nothing of its own words for where it ends is believed."""
    first, second = step(), step(id="b", stepNumber=2, status="not-started", startedAt=None, tasks=[])
    got, requests = drive(
        us.read(ITEM),
        ok(item()),
        page(second, total=2, limit=100, offset=7, nextUrl="https://evil.example/"),
        page(first, total=2, nextUrl=None),
    )
    assert [s.state for s in got.steps] == ["active", "waiting"]
    assert [str(r.url) for r in requests[1:]] == [f"{ROOT}/items/{ITEM}/steps?limit=50&offset={n}" for n in (0, 1)]


def test_a_list_that_does_not_tell_its_length_ends_with_an_empty_page(us: Autodesk) -> None:
    got, _ = drive(us.read(ITEM), ok(item()), ok({"results": [step()]}), ok({"results": []}))
    assert len(got.steps) == 1


def steps(*numbers: int) -> list[dict[str, Any]]:
    return [step(id=f"s{n}", stepNumber=n, status="not-started", tasks=[]) for n in numbers]


@pytest.mark.parametrize(
    "pages",
    [
        [page(*steps(1), total=2), page(*steps(1), total=2)],  # the same again
        [page(*steps(1), total=2), page(total=2)],  # nothing more
        [page(*steps(1), total=3), page(*steps(2), total=2)],  # another length
        [page(*steps(1), total=0), page()],  # more than there are
        [page(*steps(1, 1))],
        [page(*steps(1, 2), total=1)],
        [page(*steps(1), total=2), httpx.Response(500)],
        [page(*steps(n), total=99) for n in range(1, MOST_PAGES + 1)],  # without an end
        [page(*steps(1, 3))],
        [page(*steps(0, 1))],
        [page(*steps(2))],
        [page(step(stepNumber=None))],
        [page(step(stepNumber=True))],
        [page(step(), step(id="b"))],
        [page(total=1), httpx.Response(500)],
        [ok({"results": [], "pagination": {"totalResults": "0"}})],
        [ok({"pagination": {"totalResults": 0}})],
        [ok([])],
        [page(None)],
    ],
)
def test_steps_that_are_not_surely_all(pages: list[httpx.Response], us: Autodesk) -> None:
    """A missing step would let the one after it pass for it: such a list is no answer."""
    flow = us.read(ITEM)
    next(flow)
    assert isinstance(ended(flow, [ok(item()), *pages]), Unknown)


def ended(flow: Flow[Any], answers: list[httpx.Response]) -> Any:
    """The outcome of a flow that has begun; not all answers may be needed."""
    try:
        for answer in answers:
            flow.send(answer)
    except StopIteration as end:
        return end.value
    raise AssertionError("it goes on")


@pytest.mark.parametrize(
    "shown",
    [
        step(status="done"),
        step(status=None),
        step(id="a/b"),
        step(id=".."),
        step(itemId="another"),
        step(tasks=None),
        step(tasks=[None]),
        step(open_(status="waiting")),
        step(open_(assignedToType="4")),
        step(open_(assignedToType=1)),
        step(open_(assignedTo=None)),
        step(open_(isRequired="yes")),
        step(open_(id=None)),
        step(open_(id="a/b")),
        step(open_(stepId="another")),
        step(open_(), open_()),
        step(SEED_TASK | {"responseId": 5}),
    ],
)
def test_what_nothing_may_be_decided_on(shown: dict[str, Any], us: Autodesk) -> None:
    got = read(us, shown)
    assert isinstance(got, Unknown)
    assert got.fact.what == "unreadable"


@pytest.mark.parametrize("changes", [{"stateId": None}, {"id": "another"}, {"id": None}, {"ballInCourtUsers": "u"}, {"responseId": 7}])
def test_an_item_that_cannot_be_read(changes: dict[str, Any], us: Autodesk) -> None:
    assert isinstance(read(us, step(), **changes), Unknown)


@pytest.mark.parametrize(
    ("state", "awaiting", "done"),
    [
        *((state, False, False) for state in ("draft", "sbc-1", "mgr-1", "mgr-2", "void", "new-1")),
        ("rev", True, False),
        ("sbc-2", False, True),
    ],
)
def test_states_of_an_item(state: str, awaiting: bool, done: bool, us: Autodesk) -> None:
    got = read(us, step(), stateId=state)
    assert (got.status, got.awaiting, got.done) == (state, awaiting, done)


def test_how_people_know_it(us: Autodesk) -> None:
    got = read(
        us,
        customIdentifier="7",
        customIdentifierHumanReadable="03-7",
        title="a\x00b",
        ballInCourtUsers=["u"],
        ballInCourtCompanies=["c"],
        ballInCourtRoles=["r"],
    )
    assert (got.title, got.assignees, got.steps, got.url) == ("03-7 a\ufffdb", ("u", "company:c", "role:r"), (), None)


def test_a_day_ends_where_the_account_is() -> None:
    got = read(Autodesk(HOST, PROJECT, timezone="America/Chicago"), step(dueDate="2026-11-30"), dueDate="2026-11-30")
    assert (got.due, got.steps[0].due) == (times.parse("2026-12-01T06:00:00Z"),) * 2


@pytest.mark.parametrize(
    ("status", "body", "want"),
    [
        (404, None, Gone),
        (403, None, Gone),
        (403, {"title": "Forbidden", "detail": "not yours"}, Gone),
        (403, {"developerMessage": "no privilege", "errorCode": "AUTH-010"}, Unknown),
        (403, {"developerMessage": "not authorised for this API", "errorCode": "Auth-001"}, Unknown),
        (429, {"developerMessage": "Quota limit exceeded."}, Unknown),
        (301, None, Unknown),
        (204, None, Unknown),
        (500, None, Unknown),
    ],
)
@pytest.mark.parametrize("nth", [1, 2])
def test_answers_to_a_look(nth: int, status: int, body: Any, want: type[Any], us: Autodesk) -> None:
    """What the gateway has against the token says nothing of the item: it is not gone for that."""
    answer = httpx.Response(status, json=body) if body else httpx.Response(status)
    got, _ = drive(us.read(ITEM), *[ok(item())][: nth - 1], answer)
    assert isinstance(got, want)
    assert got.fact.status == status


def test_each_question_is_asked_again_after_a_401(us: Autodesk) -> None:
    refused = httpx.Response(401)
    got, _ = drive(us.read(ITEM), refused, ok(item()), refused, page(step()))
    assert isinstance(got, Snapshot)
    assert isinstance(drive(us.read(ITEM), refused, refused)[0], Unknown)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\x00b", "\ud800"])
def test_ids_that_are_no_path_segment(name: str, us: Autodesk) -> None:
    """`..` would lead the request to another resource: nothing is asked."""
    assert isinstance(drive(us.read(name))[0], Gone)
    assert isinstance(drive(us.send(Order(name, "transition", state="void"), seen(task=name)))[0], Refused)


def test_a_review_that_begins_anew_while_it_is_read(us: Autodesk) -> None:
    """The item of one round, the step of the next: together they would show when the *old* round began."""
    later = page(step(startedAt="2024-03-25T08:00:00Z"))
    anew = ok(item(sentToReview="2024-03-25T08:00:00Z", updatedAt="2024-03-25T08:00:00Z"))
    got, _ = drive(us.read(ITEM), ok(item()), later, anew)
    assert got == Unknown(Fact("torn", text="the review was begun anew while it was read"))
    same, _ = drive(us.read(ITEM), ok(item()), later, ok(item()))  # a step's beginning need not touch the item
    assert same.steps[0].started == times.parse("2024-03-25T08:00:00Z")
    assert isinstance(drive(us.read(ITEM), ok(item()), later, httpx.Response(500))[0], Unknown)


# ---------------------------------------------------------------- against the sandbox


@dataclass
class Caller:
    """A user of the sandbox's project, and what they asked."""

    site: Site
    user: str
    connector: Autodesk
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, flow: Flow[Any], meanwhile: Mapping[int, Callable[[], Any]] | None = None) -> Any:
        """The outcome. *meanwhile*: what happens before the nth request arrives."""
        self.asked.clear()
        try:
            request = next(flow)
            while True:
                self.asked.append(request)
                (meanwhile or {}).get(len(self.asked), lambda: None)()
                request = flow.send(self.answer(request))
        except StopIteration as end:
            return end.value

    def answer(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers) | {"authorization": f"Bearer {self.site.bearer(self.user)}"}
        answer = self.site.autodesk(Request.of(request.method, str(request.url), headers, request.content))
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    def order(self, item: str, action: str = "approve", **more: Any) -> Order:
        return Order(item, action, **{"grant": self.user, "acts_as": self.user, **more})

    def read(self, item: str, **meanwhile: Any) -> Any:
        return self(self.connector.read(item), **meanwhile)

    def look(self, order: Order, **meanwhile: Any) -> Any:
        return self(self.connector.look(order), **meanwhile)

    def offer(self, item: str, action: str = "approve", **more: Any) -> Offer:
        look = self.look(self.order(item, action, **more))
        assert isinstance(look, Snapshot), look
        assert look.offer is not None
        return look.offer

    def act(self, item: str, action: str = "approve", **more: Any) -> Any:
        """Look and send, as flows do."""
        order = self.order(item, action, **more)
        look = self.look(order)
        assert look.offer.refusal is None, look.offer
        return self(self.connector.send(replace(order, part=order.part or look.offer.part, choice=look.offer.choice), look))


def callers(**switches: Any) -> Iterator[Caller]:
    """The manager, then as many others as are asked for, all through one connector, as in one process."""
    site, connector = Site(**switches), Autodesk(f"{HOST}/autodesk", PROJECT)
    for user in (MANAGER, JANE, JOE):
        yield Caller(site, user, connector)


def one_of_each(site: Site) -> None:
    """A catalogue with exactly one response of each meaning."""
    for key in ("approved_as_noted", "for_record_only", "revise_and_resubmit"):
        site.project.reply(id=site.reply(key), isActive=False)


def ref(site: Site, item: str, step: int = 1, task: int = 1) -> str:
    """A part's id."""
    found = site.project.items[item].steps[step - 1]
    return f"{found.id}/{found.tasks[task - 1].id}"


def test_what_is_asked_before_a_decision() -> None:
    """The item, who acts, the responses, and last the steps, which a decision rests on. The two in the middle are kept."""
    _, jane, _ = callers()
    one_of_each(jane.site)
    item = jane.site.item([JANE])
    order = jane.order(item)
    asked = []
    for _ in range(2):
        assert jane.look(order).offer == Offer(ref(jane.site, item), jane.site.reply(), None, JANE)
        asked.append([r.url.path.partition(PROJECT)[2] for r in jane.asked])
    assert asked == [[f"/items/{item}", "/users/me", "/responses", f"/items/{item}/steps"], [f"/items/{item}", f"/items/{item}/steps"]]


def test_a_glance_is_one_request_and_shows_what_the_feed_may_not() -> None:
    """A response in the middle of a step leaves the item as it is: the steps alone show all there is to see."""
    manager, jane, joe = callers()
    item = jane.site.item([JANE, JOE], [MANAGER])
    jane.act(item, part=ref(jane.site, item, 1, 1), response="Approved")
    before = manager.read(item)
    jane.site.clock.pass_(60)
    assert manager(manager.connector.glance(before)) == replace(before, date=before.date + 60)
    joe.act(item, part=ref(joe.site, item, 1, 2), response="Approved")
    after = manager(manager.connector.glance(before))
    assert [r.url.path.partition(PROJECT)[2] for r in manager.asked] == [f"/items/{item}/steps"]
    assert (after.steps, after.modified) == (manager.read(item).steps, before.modified)
    assert [r.actor for _, r in after.fresh(before)] == [JOE]


def test_a_glance_at_another_round_is_a_look() -> None:
    """Without: the responses of the new round beside the beginning of the old one."""
    manager, jane, _ = callers()
    item = jane.site.item([JANE, JOE])
    before = manager.read(item)
    jane.site.clock.pass_(60)
    for state in ("mgr-1", "rev"):
        manager.site.project.transition(item, MANAGER, {"stateId": state, "manager": MANAGER, "managerType": "1"})
    jane.act(item, part=ref(jane.site, item), response="Approved")
    assert manager(manager.connector.glance(before)) == manager.read(item)
    assert manager.read(item).begun == jane.site.clock()


def test_an_offer_is_no_part_of_what_is_seen() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE])
    look = jane.look(jane.order(item))
    assert look == jane.read(item)
    assert "offer" not in to_json(look)


def test_each_grant_is_asked_for_itself() -> None:
    manager, jane, _ = callers()
    item = jane.site.item([JANE])
    assert (jane.offer(item).me, manager.offer(item).me) == (JANE, MANAGER)


def test_who_one_acts_as_is_asked_again_in_time() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE])
    jane.offer(item)
    jane.site.clock.pass_(601)
    jane.offer(item)
    assert "/users/me" in [r.url.path.partition(PROJECT)[2] for r in jane.asked]


@pytest.mark.parametrize("answer", [httpx.Response(403), httpx.Response(500), ok({}), ok({"id": 5}), ok([])])
def test_without_knowing_who_acts_nothing_is_offered(answer: httpx.Response, us: Autodesk) -> None:
    assert isinstance(drive(us.look(Order(ITEM, "approve", grant="g")), ok(item()), answer)[0], Unknown)


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (ok({"id": JANE, "roles": ["2"]}), JANE),
        (ok({}), Unknown(Fact("unreadable", 200, text="users/me: id is not a text"))),
        (httpx.Response(403), Unknown(Fact("answer", 403))),
    ],
)
def test_whoami(answer: httpx.Response, want: Any, us: Autodesk) -> None:
    got, (request,) = drive(us.whoami(), answer)
    assert (got, str(request.url)) == (want, f"{ROOT}/users/me")


# ---- which part


def test_a_step_means_the_task_of_whoever_acts() -> None:
    """Not the one that a manager may close for somebody else."""
    manager, *_ = callers()
    item = manager.site.item([JANE, MANAGER, JOE])
    assert manager.offer(item, step=1, response="Approved").part == ref(manager.site, item, 1, 2)


def test_an_answer_of_ones_own_is_not_followed_by_one_for_somebody_else() -> None:
    manager, *_ = callers()
    item = manager.site.item([JANE, MANAGER])
    manager.site.close(item, task=2)
    assert manager.offer(item, response="Approved") == Offer(
        None,
        manager.site.reply(),
        f"{MANAGER} may close none of step 1: {item}/{ref(manager.site, item, 1, 2)} ({MANAGER})",
        MANAGER,
    )


def test_a_role_and_a_company() -> None:
    _, jane, _ = callers()
    jane.site.project.join({"id": JANE, "companies": ["acme"], "groups": ["architect"]})
    item = jane.site.item([{"company": "acme"}, JOE], [{"role": "architect"}])
    assert jane.offer(item, response="Approved").part == ref(jane.site, item)


def test_for_somebody_else_where_it_is_the_only_one() -> None:
    manager, *_ = callers()
    item = manager.site.item([JANE])
    assert manager.offer(item, response="Approved").part == ref(manager.site, item)


def test_several_tasks_are_listed() -> None:
    manager, *_ = callers()
    item = manager.site.item([JANE, JOE])
    refusal = manager.offer(item, response="Approved").refusal
    first, second = (f"{item}/{ref(manager.site, item, 1, n)}" for n in (1, 2))
    assert refusal == f"{MANAGER} may close several tasks of step 1: say which one: {first} ({JANE}), {second} ({JOE})"
    assert manager.offer(item, response="Approved", part=ref(manager.site, item, 1, 2)).refusal is None


def test_none_to_close_lists_whose_they_are() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JOE])
    assert jane.offer(item, response="Approved").refusal == f"{JANE} may close none of step 1: {item}/{ref(jane.site, item)} ({JOE})"


def test_a_part_that_one_may_not_close() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JOE])
    part = ref(jane.site, item)
    assert jane.offer(item, response="Approved", part=part).refusal == f"{JANE} may not close {item}/{part}: Task::close is not permitted"


def test_a_part_that_is_not_there() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE])
    assert jane.offer(item, response="Approved", part="a/b").refusal == f"{item} has no task a/b"


@pytest.mark.parametrize("how", [{"step": 2}, {"part": True}])
def test_before_its_turn_nothing_is_refused(how: dict[str, Any]) -> None:
    """Nobody is permitted anything then: whoever waits for the turn would be turned away."""
    _, jane, _ = callers()
    item = jane.site.item([JOE], [JANE])
    part = ref(jane.site, item, 2)
    assert jane.offer(item, response="Approved", **({"part": part} if "part" in how else how)) == Offer(part, jane.site.reply(), None, JANE)


def test_which_of_several_of_ones_own_is_not_guessed_before_their_turn() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JOE], [JANE, JANE])
    assert jane.offer(item, response="Approved", step=2) == Offer(None, jane.site.reply(), None, JANE)


def test_what_is_answered_is_not_chosen_again(us: Autodesk) -> None:
    """Even where the upstream would let it be closed a second time."""
    both = [open_(id="open", assignedTo="joe", permittedActions=[PERMIT]), SEED_TASK | {"assignedTo": "jane", "permittedActions": [PERMIT]}]
    order = Order(ITEM, "approve", grant="g", acts_as="me")
    got, _ = drive(us.look(order), ok(item()), ok({"id": "me"}), CATALOGUE, page(step(*both)))
    assert got.offer == Offer(f"{STEP}/open", APPROVED, None, "me")


def test_after_it_was_answered_nothing_is_refused() -> None:
    """That it is answered is seen in the task, and recognised as ours or another's."""
    _, jane, _ = callers()
    item = jane.site.item([JANE, JOE])
    jane.site.close(item, user=JANE)
    assert jane.offer(item, response="Approved", part=ref(jane.site, item)).refusal is None


@pytest.mark.parametrize(("step", "state"), [(None, "mgr-1"), (3, "rev")])
def test_no_step_to_answer(step: int | None, state: str) -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE], [JOE], state=state)
    assert jane.offer(item, response="Approved", step=step).refusal == f"no step to answer: the item is in {state} and has 2 steps"


# ---- which response


def offered(order: dict[str, Any], change: Callable[[Site], Any] = lambda _: None) -> tuple[str | None, str | None]:
    """The label of the response that is chosen, and the refusal."""
    _, jane, _ = callers()
    change(jane.site)
    got = jane.offer(jane.site.item([JANE]), **order)
    return got.choice and jane.site.project.replies[got.choice].value, got.refusal


@pytest.mark.parametrize(
    ("order", "label"),
    [
        ({"action": "approve"}, "Approved"),
        ({"action": "reject"}, "Rejected"),
        ({"action": "close", "response": "Rejected"}, "Rejected"),
        ({"action": "close", "response": " aPPROVED "}, "Approved"),
        ({"action": "close", "response": "38ffb07d-d734-4aa6-bbf4-cb121c56972f"}, "Approved"),
        ({"action": "approve", "choice": "38ffb07d-d734-4aa6-bbf4-cb121c56972f"}, "Approved"),
    ],
)
def test_a_response_that_is_clear(order: dict[str, Any], label: str) -> None:
    assert offered(order, one_of_each) == (label, None)


APPROVALS = 'say which with "response": Approved, Approved as noted, For record only'
REJECTIONS = 'say which with "response": Rejected, Revise and resubmit'
ALL = 'say which with "response": Approved, Approved as noted, For record only, Rejected, Revise and resubmit'


@pytest.mark.parametrize(
    ("order", "refusal"),
    [
        ({"action": "approve"}, f"approve alone names no response: {APPROVALS}"),
        ({"action": "reject"}, f"reject alone names no response: {REJECTIONS}"),
        ({"action": "close"}, f"close alone names no response: {ALL}"),
        ({"action": "close", "response": "Fine"}, f"no response: Fine; {ALL}"),
        ({"action": "approve", "response": "Rejected"}, f"Rejected does not approve; {APPROVALS}"),
        ({"action": "reject", "response": "Approved"}, f"Approved does not reject; {REJECTIONS}"),
        ({"action": "approve", "choice": "gone"}, f"no response: gone; {APPROVALS}"),
        ({"action": "skip"}, "skip is not done to a submittal: approve, close, reject, transition are"),
    ],
)
def test_a_response_that_is_not_clear(order: dict[str, Any], refusal: str) -> None:
    """Never by the category's number, and the choices are listed."""
    assert offered(order) == (None, refusal)


def test_responses_of_one_name() -> None:
    """They are told apart by their ids."""

    def twins(site: Site) -> None:
        one_of_each(site)
        site.project.reply(id="twin", value="APPROVED ")

    ids = "Approved (38ffb07d-d734-4aa6-bbf4-cb121c56972f), APPROVED  (twin)"
    order = {"action": "approve", "response": "approved"}
    assert offered(order, twins) == (None, f'several responses are called approved: say which with "response": {ids}')
    assert offered({"action": "approve", "response": "twin"}, twins) == ("APPROVED ", None)


def test_a_response_that_was_taken_out_of_use() -> None:
    """A later one of the same name takes its place; by its id it is refused."""
    dead = "38ffb07d-d734-4aa6-bbf4-cb121c56972f"

    def replaced(site: Site) -> None:
        one_of_each(site)
        site.project.reply(id=dead, isActive=False)
        site.project.reply(id="next", value="Approved")

    assert offered({"action": "close", "response": "Approved"}, replaced) == ("Approved", None)
    refusal = f'no longer active: {dead}; say which with "response": Approved'
    assert offered({"action": "approve", "response": dead}, replaced) == (None, refusal)


def test_no_response_of_that_meaning() -> None:
    def none(site: Site) -> None:
        for key in ("rejected", "revise_and_resubmit"):
            site.project.reply(id=site.reply(key), isActive=False)

    assert offered({"action": "reject"}, none) == (
        None,
        "reject alone names no response: the project has no such response that is active",
    )


def test_nothing_is_refused_for_an_old_catalogue() -> None:
    """It is read again first, once."""
    _, jane, _ = callers()
    item = jane.site.item([JANE])
    assert jane.offer(item).refusal is not None
    assert [r.url.path.endswith("/responses") for r in jane.asked].count(True) == 1
    one_of_each(jane.site)
    jane.site.clock.pass_(5)
    assert jane.offer(item).choice == jane.site.reply()


def test_what_was_read_just_now_is_not_read_again() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE])
    for _ in range(2):
        jane.offer(item)
        assert [r.url.path.endswith("/responses") for r in jane.asked].count(True) == 1
        jane.site.clock.pass_(601)


# ---- what the upstream asks for


def closing(us: Autodesk, order: Order, **permit: Any) -> Any:
    """The offer to close, with that permission."""
    shown = page(step(open_(permittedActions=[{"id": "Task::retrieve"}, PERMIT | permit])))
    got, _ = drive(us.look(replace(order, task=ITEM, grant="g")), ok(item()), ok({"id": "me"}), CATALOGUE, shown)
    return got.offer.refusal if isinstance(got, Snapshot) and got.offer else got


@pytest.mark.parametrize(
    ("permit", "comment", "refusal"),
    [
        ({}, None, None),
        ({"fields": None, "mandatoryFields": None, "transitions": None}, None, None),
        ({"mandatoryFields": ["responseId", "responseComment"]}, "fine", None),
        ({"mandatoryFields": ["responseId", "responseComment"]}, None, 'the upstream asks for a comment ("comment")'),
        ({"mandatoryFields": ["responseId", "responseComment"]}, "  ", 'the upstream asks for a comment ("comment")'),
        ({"mandatoryFields": ["responseId", "stamp", "seal"]}, "fine", "the upstream asks for stamp, seal"),
        ({"fields": {"responseId": [APPROVED]}}, None, None),
        ({"fields": {"responseId": ["x", "y"]}}, None, "responseId is one of x, y"),
    ],
)
def test_what_a_close_takes(permit: dict[str, Any], comment: str | None, refusal: str | None, us: Autodesk) -> None:
    assert closing(us, Order("", "approve", comment), **permit) == refusal


@pytest.mark.parametrize("permit", [{"mandatoryFields": "responseId"}, {"mandatoryFields": [5]}, {"fields": {"responseId": "x"}}])
def test_a_permission_that_cannot_be_read(permit: dict[str, Any], us: Autodesk) -> None:
    assert isinstance(closing(us, Order("", "approve"), **permit), Unknown)


# ---- transitions


def way(to: str, takes: list[str] | None = None, needs: list[str] | None = None) -> dict[str, Any]:
    return {"id": f"rev::{to}", "name": "Go", "stateTo": {"id": to}, "transitionFields": takes, "mandatoryFields": needs}


def going(us: Autodesk, order: Order, *ways: Any, fields: Any = None, **changes: Any) -> Offer:
    """The offer of a transition, where those ways are permitted."""
    shown = ok(item(permittedActions=[{"id": "Item::wf_transition", "fields": fields, "transitions": list(ways)}], **changes))
    catalogue = [CATALOGUE] if order.state == "sbc-2" else []
    got, _ = drive(us.look(replace(order, task=ITEM, grant="g", acts_as="me")), shown, ok({"id": "me"}), *catalogue, page())
    assert isinstance(got, Snapshot), got
    assert got.offer is not None
    return got.offer


@pytest.mark.parametrize(
    ("order", "ways", "refusal"),
    [
        ({"state": None}, ["rev"], 'say where to with "state"; me may take it to: rev (Go)'),
        ({"state": "mgr-2"}, ["sbc-2", "void"], "the item cannot go from mgr-2 to mgr-2; me may take it to: sbc-2 (Go), void (Go)"),
        ({"state": "void"}, [], "the item cannot go from mgr-2 to void; me may take it to: nowhere"),
        ({"state": "void"}, ["void"], None),
        ({"state": "void", "response": "Approved"}, ["void"], "a response goes with sbc-2 only, not with void"),
        ({"state": "void", "fields": {"mailNote": "x"}}, ["void"], "going to void takes no mailNote; it takes: nothing"),
        ({"state": "void", "fields": {"stateId": "x"}}, ["void"], 'stateId go into "state", "response" and "comment", not into "fields"'),
    ],
)
def test_where_an_item_may_go(order: dict[str, Any], ways: list[str], refusal: str | None, us: Autodesk) -> None:
    assert going(us, Order("", "transition", **order), *map(way, ways), stateId="mgr-2").refusal == refusal


@pytest.mark.parametrize(
    ("order", "changes", "refusal"),
    [
        ({"fields": {"manager": "u", "managerType": "1"}}, {}, None),
        ({"fields": {"manager": "u"}}, {}, "going to mgr-1 asks for managerType"),
        ({"fields": {"manager": "u", "managerType": None}}, {}, "going to mgr-1 asks for managerType"),
        ({}, {}, "going to mgr-1 asks for manager, managerType"),
        ({"fields": {"colour": "red", "size": 1}}, {}, "going to mgr-1 takes no colour, size; it takes: mailNote, manager, managerType"),
        ({"fields": {"manager": "u", "managerType": "9"}}, {}, "managerType is one of 1, 2, 3"),
    ],
)
def test_what_a_transition_asks_for(order: dict[str, Any], changes: dict[str, Any], refusal: str | None, us: Autodesk) -> None:
    ways = [way("mgr-1", ["mailNote", "manager", "managerType"], ["manager", "managerType"])]
    fields = {"managerType": ["1", "2", "3"], "manager": []}
    assert going(us, Order("", "transition", state="mgr-1", **order), *ways, fields=fields, **changes).refusal == refusal


@pytest.mark.parametrize(
    ("order", "number", "want"),
    [
        ({"response": "Approved"}, "7", Offer(choice=APPROVED, me="me")),
        ({"response": "rejected", "fields": {"customIdentifier": "8"}}, None, Offer(choice="no", me="me")),
        (
            {"response": "Approved", "fields": {"manager": "u"}},
            "7",
            Offer(refusal="going to sbc-2 takes no manager; it takes: customIdentifier", me="me"),
        ),
        ({"response": "Approved"}, None, Offer(choice=APPROVED, refusal="going to sbc-2 asks for customIdentifier", me="me")),
        ({}, "7", Offer(refusal='transition alone names no response: say which with "response": Approved, Rejected', me="me")),
        (
            {"response": "Fine"},
            "7",
            Offer(refusal='no response: Fine; say which with "response": Approved, Rejected', me="me"),
        ),
        (
            {"response": "Approved", "fields": {"responseId": "no"}},
            "7",
            Offer(refusal='responseId go into "state", "response" and "comment", not into "fields"', me="me"),
        ),
    ],
)
def test_the_final_answer(order: dict[str, Any], number: str | None, want: Offer, us: Autodesk) -> None:
    """Its response comes from the command's own word, and a number that the item has already is enough [TUT]."""
    ways = [way("sbc-2", ["responseId", "responseComment", "customIdentifier"], ["responseId", "customIdentifier"])]
    got = going(us, Order("", "transition", state="sbc-2", **order), *ways, stateId="mgr-2", customIdentifier=number)
    assert got == want


def test_a_comment_that_the_final_answer_must_have(us: Autodesk) -> None:
    ways = [way("sbc-2", ["responseId"], ["responseId", "responseComment"])]
    order = Order("", "transition", state="sbc-2", response="Approved")
    assert going(us, order, *ways).refusal == 'going to sbc-2 asks for a comment ("comment")'
    assert going(Autodesk(HOST, PROJECT), replace(order, comment="done"), *ways).refusal is None


def test_every_documented_transition_is_offered_with_what_it_asks_for() -> None:
    manager, *_ = callers()
    site = manager.site
    who = {"manager": MANAGER, "managerType": "1"}
    back = {"subcontractor": JOE, "subcontractorType": "1", "submitterDueDate": "2030-01-01"}
    for state, to, fields in [
        ("sbc-1", "mgr-1", {"manager": MANAGER}),
        ("sbc-1", "void", {}),
        ("mgr-1", "rev", {}),
        ("mgr-1", "sbc-1", back),
        ("rev", "mgr-1", who),
        ("mgr-2", "rev", {"stepDueDate": "2030-01-01"}),
        ("sbc-2", "mgr-2", {}),
    ]:
        item = site.item([JANE], state=state)
        before = manager.read(item)
        got = manager.act(item, "transition", state=to, fields=fields)
        assert isinstance(got, Applied), got
        after = manager.read(item)
        assert got.partial
        assert got.snapshot.steps == before.steps  # the answer shows none
        assert replace(got.snapshot, steps=after.steps) == after
    for state in ("sbc-1", "mgr-1", "rev", "mgr-2"):
        item = site.item([JANE], state=state)
        got = manager.act(item, "transition", state="sbc-2", response="approved as noted", comment="done [aw:7f3k9q]")
        assert (got.snapshot.done, got.snapshot.answer) == (True, manager.read(item).answer)
        assert (got.snapshot.answer.comment, got.snapshot.answer.label) == ("done [aw:7f3k9q]", "Approved as noted")


def test_who_is_no_manager_may_go_nowhere() -> None:
    _, jane, _ = callers()
    item = jane.site.item([JANE], state="mgr-2")
    assert jane.offer(item, "transition", state="void").refusal == f"the item cannot go from mgr-2 to void; {JANE} may take it to: nowhere"


# ---------------------------------------------------------------- acting


def seen(**changes: Any) -> Snapshot:
    """A look at an item of two steps, our task open in the first."""
    base = Snapshot(
        ITEM,
        "x",
        "rev",
        True,
        False,
        (
            Step(
                ("WD43ZJGKDFLFH", "joe"),
                "parts",
                (Response("joe", "reject", 1.0, part="s/joes", choice="no", label="Rejected"),),
                state="active",
                parts=(Part(PART, "WD43ZJGKDFLFH", True, "active"), Part("s/joes", "joe", True, "complete")),
            ),
            Step(("jane",), "parts", state="waiting", parts=(Part("s2/t2", "jane", True, "waiting"),)),
        ),
        modified=5.0,
        offer=Offer(PART, APPROVED),
    )
    return replace(base, **changes)


CLOSE = Order(ITEM, "approve", "fine [aw:7f3k9q]", part=PART, choice=APPROVED)
TO_VOID = Order(ITEM, "transition", "why", state="void", fields={"mailNote": "x"})
TO_END = Order(
    ITEM, "transition", "why", state="sbc-2", choice=APPROVED, fields={"customIdentifier": "7", "responseId": "x", "stateId": "y"}
)


def test_a_close(us: Autodesk) -> None:
    read(us, step(SEED_TASK, status="completed"))  # the catalogue is known
    got, (request,) = drive(us.send(CLOSE, seen()), ok(SEED_TASK))
    assert (request.method, str(request.url)) == ("POST", f"{ROOT}/items/{ITEM}/steps/{STEP}/tasks/{TASK}:close")
    assert json.loads(request.content) == {"responseId": APPROVED, "responseComment": "fine [aw:7f3k9q]"}
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    response = read(us, step(SEED_TASK)).steps[0].responses[0]
    first, second = seen().steps
    updated, started = (times.parse(SEED_TASK[name]) for name in ("updatedAt", "startedAt"))
    parts = (replace(first.parts[0], state="complete", modified=updated, started=started), first.parts[1])
    after = seen(steps=(replace(first, parts=parts, responses=(*first.responses, response)), second), date=AT, offer=None)
    assert got == Applied(after, Fact("answer", 200), partial=True)
    assert got.snapshot.offer is None


def test_a_close_without_a_comment(us: Autodesk) -> None:
    assert json.loads(next(us.send(replace(CLOSE, comment=None), seen())).content) == {"responseId": APPROVED}


def test_ids_are_quoted(us: Autodesk) -> None:
    part = "a b?/c#%"
    steps = (Step((), "parts", state="active", parts=(Part(part, "u", True, "active"),)),)
    request = next(us.send(Order("i:x", "close", part=part, choice="r"), seen(task="i:x", steps=steps)))
    assert str(request.url) == f"{ROOT}/items/i%3Ax/steps/a%20b%3F/tasks/c%23%25:close"


def test_a_later_answer_takes_the_place_of_the_one_before(us: Autodesk) -> None:
    """Where a second close is allowed, a task still has one response."""
    before = replace(seen().steps[0], responses=(Response("x", "close", 1.0, part=PART, choice="old"),))
    got, _ = drive(us.send(CLOSE, seen(steps=(before,))), ok(SEED_TASK))
    assert [r.choice for r in got.snapshot.steps[0].responses] == [APPROVED]


@pytest.mark.parametrize(
    ("order", "body"),
    [
        (TO_VOID, {"stateId": "void", "mailNote": "x"}),
        (replace(TO_VOID, fields={"responseId": "x", "responseComment": "y", "stateId": "z"}), {"stateId": "void"}),
        (TO_END, {"stateId": "sbc-2", "customIdentifier": "7", "responseId": APPROVED, "responseComment": "why"}),
        (replace(TO_END, comment=None), {"stateId": "sbc-2", "customIdentifier": "7", "responseId": APPROVED}),
    ],
)
def test_a_transition(order: Order, body: dict[str, Any], us: Autodesk) -> None:
    request = next(us.send(order, seen()))
    assert (request.method, str(request.url)) == ("POST", f"{ROOT}/items/{ITEM}:transition")
    assert json.loads(request.content) == body


@pytest.mark.parametrize(
    "order",
    [
        replace(CLOSE, choice=None),
        replace(CLOSE, part=None),
        replace(CLOSE, part="s/none"),
        replace(CLOSE, task="another"),
        replace(CLOSE, action="skip"),
        replace(TO_VOID, state=None),
        replace(TO_END, choice=None),
    ],
)
def test_nothing_is_sent_by_halves(order: Order, us: Autodesk) -> None:
    assert isinstance(drive(us.send(order, seen()))[0], Refused)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        json.dumps(SEED_TASK)[:-1].encode(),
        *(
            json.dumps(SEED_TASK | change).encode()
            for change in (
                {"id": "another"},
                {"stepId": "another"},
                {"status": "in-progress"},
                {"status": "closed"},
                {"responseId": None},
                {"responseId": 5},
                {"assignedToType": None},
            )
        ),
    ],
)
def test_success_that_does_not_show_the_effect(body: bytes, us: Autodesk) -> None:
    got, _ = drive(us.send(CLOSE, seen()), httpx.Response(200, content=body))
    assert isinstance(got, InDoubt)
    assert (got.fact.what, got.fact.status) == ("unreadable", 200)
    assert got.fact.text


@pytest.mark.parametrize("change", [{"id": "another"}, {"stateId": "rev"}, {"stateId": None}])
def test_a_transition_that_does_not_show_its_effect(change: dict[str, Any], us: Autodesk) -> None:
    got, _ = drive(us.send(TO_VOID, seen()), ok(item(stateId="void") | change))
    assert isinstance(got, InDoubt)


@pytest.mark.parametrize("order", [CLOSE, TO_VOID], ids=["close", "transition"])
@pytest.mark.parametrize("status", [s for s in range(200, 600) if s != 200])
def test_every_status(status: int, order: Order, us: Autodesk) -> None:
    """One request each, and the kind of outcome that the status proves (A3)."""
    want: type[Any] = Refused if status in REFUSALS else Unsent if status in {401, 429} else InDoubt
    got, requests = drive(us.send(order, seen()), httpx.Response(status, headers={"retry-after": "7"}))
    assert isinstance(got, want)
    assert len(requests) == 1
    assert (got.fact.status, got.fact.retry_after) == (status, 7.0)
    if isinstance(got, Unsent):
        assert got.token is (status == 401)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"title": "Forbidden", "detail": "this task is completed"}, "Forbidden", "this task is completed"),
        ({"developerMessage": "no privilege", "userMessage": "", "errorCode": "AUTH-010", "more info": "x"}, "AUTH-010", "no privilege"),
        ({"developerMessage": "Quota limit exceeded."}, None, "Quota limit exceeded."),
        ({"title": 5, "detail": None}, None, '{"title":5,"detail":null}'),
    ],
)
def test_error_bodies(body: Any, code: str | None, text: str, us: Autodesk) -> None:
    """No page gives their schema: what is known is read, the rest is quoted."""
    answer = httpx.Response(403, content=json.dumps(body, separators=(",", ":")))
    assert drive(us.send(CLOSE, seen()), answer)[0] == Refused(Fact("answer", 403, code, text))


@pytest.mark.parametrize(
    ("value", "want"), [(403, Refused), (400, Refused), (409, InDoubt), ("replaces", Applied)]
)  # fmt: skip
def test_a_second_close_of_one_task(value: int | str, want: type[Any]) -> None:
    """(40) Whatever it answers, it proves no more than it says."""
    _, jane, _ = callers(second_close=value)
    item = jane.site.item([JANE, JOE])
    order = jane.order(item, "close", part=ref(jane.site, item), choice=jane.site.reply())
    look = jane.read(item)
    assert isinstance(jane(jane.connector.send(order, look)), Applied)
    assert isinstance(jane(jane.connector.send(order, look)), want)


@pytest.mark.parametrize(("value", "want"), [(403, Refused), (400, Refused), (409, InDoubt)])
def test_a_close_before_its_turn(value: int, want: type[Any]) -> None:
    """(41)"""
    _, jane, _ = callers(early_close=value)
    item = jane.site.item([JOE], [JANE])
    order = jane.order(item, "close", part=ref(jane.site, item, 2), choice=jane.site.reply())
    assert isinstance(jane(jane.connector.send(order, jane.read(item))), want)


# ---------------------------------------------------------------- whatever the upstream turns out to do


NUMBERS: dict[str, tuple[int, ...]] = {"system_delay_ms": (0, 2000), "requests_per_minute": (0,)}
ALTERNATIVES = [
    pytest.param({row.switch: value}, id=f"{row.number} {row.switch}={value}")
    for row in ASSUMPTIONS
    if row.upstream == "autodesk"
    for value in NUMBERS.get(row.switch or "", row.values)
]


@pytest.mark.parametrize("switches", ALTERNATIVES)
def test_an_item_is_carried_to_its_end(switches: dict[str, Any]) -> None:
    """Two steps, an optional task in the first, the manager's answer: whatever any one assumption turns out to be."""
    manager, jane, joe = callers(**switches)
    site = manager.site
    item = site.item([JANE, {"user": JOE, "required": False}], [JOE, {"company": "acme"}], customIdentifier="7")
    site.project.join({"id": JANE, "companies": ["acme"]})
    for caller, number in ((jane, 1), (joe, 2), (jane, 2)):
        site.clock.pass_(3)
        before = caller.read(item)
        assert before.active() == number
        part = next(p.id for p in before.steps[number - 1].parts if p.assigned in {caller.user, "company:acme"})
        comment = f"by {caller.user} [aw:7f3k9q]"
        got = caller.act(item, "close", step=number, response="Approved as noted", comment=comment)
        assert isinstance(got, Applied), got
        after = caller.read(item)
        response = next(r for r in after.steps[number - 1].responses if r.part == part)
        assert (response.actor, response.action, response.comment) == (caller.user, "approve", comment)
        assert response in got.snapshot.steps[number - 1].responses  # the answer told as much as the next look
        assert after.fresh(before) == ((number, response),)
    site.clock.pass_(3)
    assert manager.read(item).status == "mgr-2"
    got = manager.act(item, "transition", state="sbc-2", response="Approved", comment="[aw:7f3k9q]")
    assert got.snapshot.answer == manager.read(item).answer
    assert manager.read(item).done
    assert [deed.action for deed in site.project.journal if deed.by == "api"] == ["close"] * 3 + ["transition mgr-2::sbc-2"]


@pytest.mark.parametrize("switches", [{}, {"new_round": "goes_on"}, {"return_for_review": "first"}, {"next_step": "later"}])
def test_a_new_round_shows(switches: dict[str, Any]) -> None:
    """In when the review was begun, always; in when the steps that go round began."""
    manager, jane, _ = callers(**switches)
    site = manager.site
    item = site.item([JANE], [JOE])
    jane.act(item, "close", response="Approved")
    site.clock.pass_(3)
    before = manager.read(item)
    manager.act(item, "transition", state="mgr-1", fields={"manager": MANAGER, "managerType": "1"})
    site.clock.pass_(3)
    manager.act(item, "transition", state="rev")
    after = manager.read(item)
    assert (after.begun, before.begun) == (site.clock.at, START)
    assert after.gone(before) == (() if "new_round" in switches else before.fresh(None))


@pytest.mark.parametrize("rejection", ["counts", "returns"])
def test_a_rejection_is_read_as_one(rejection: str) -> None:
    _, jane, _ = callers(rejection=rejection)
    one_of_each(jane.site)
    item = jane.site.item([JANE], [JOE])
    got = jane.act(item, "reject", comment="no")
    jane.site.clock.pass_(3)
    look = jane.read(item)
    assert got.snapshot.steps[0].responses == look.steps[0].responses
    assert (look.steps[0].responses[0].action, look.status) == ("reject", "rev" if rejection == "counts" else "mgr-2")


def test_too_many_requests() -> None:
    _, jane, _ = callers(requests_per_minute=1)
    item = jane.site.item([JANE])
    got = jane.read(item)
    assert isinstance(got, Unknown)
    assert (got.fact.status, got.fact.text, got.fact.retry_after) == (429, "Quota limit exceeded.", 60.0)


@pytest.mark.parametrize("hidden", ["404, project 403", "403, project 403", "404, project 404"])
def test_what_may_not_be_seen_is_gone(hidden: str) -> None:
    """(53)"""
    _, jane, _ = callers(hidden=hidden)
    assert isinstance(jane.read(jane.site.item([JANE], state="draft")), Gone)
    jane.site.project.join({"id": JANE, "roles": []})
    assert isinstance(jane.read(jane.site.item([JANE])), Gone)


# ---------------------------------------------------------------- hostile bodies


UNREAD = {"createdAt", "createdBy", "completedAt", "completedBy", "key", "categoryId", "ballInCourt"}
GOOD: dict[str, Any] = {
    "/items": json.loads(page(item()).content),
    f"/items/{ITEM}": item(
        permittedActions=[PERMIT | {"id": "Item::wf_transition", "transitions": [way("sbc-2", ["manager"], ["manager"])]}]
    ),
    f"/items/{ITEM}:transition": item(stateId="void"),
    f"/items/{ITEM}/steps": json.loads(page(step(open_(id="open", permittedActions=[PERMIT]), SEED_TASK)).content),
    f"/items/{ITEM}/steps/{STEP}/tasks/{TASK}:close": SEED_TASK,
    "/responses": json.loads(CATALOGUE.content),
    "/users/me": {"id": "u"},
}
HOSTILE: list[Any] = [None, True, -1, 10**400, "", "a/b", "\x00\ud800", "9999-12-31", [None], [[]], {"id": []}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key not in UNREAD:
            yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], instead: Any) -> Any:
    """A copy with something else in that place."""
    if not path:
        return instead
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    copy = {key: put(inner, path[1:], instead) if key == path[0] else inner for key, inner in pairs}
    return copy if isinstance(value, dict) else [*copy.values()]


@pytest.mark.parametrize("path", [(where, *path) for where, body in GOOD.items() for path in places(body)], ids=str)
def test_nothing_raises(path: tuple[Any, ...]) -> None:
    """Whatever stands in any place of any answer: an outcome. And what is read can be written down."""
    for hostile in HOSTILE:
        answers, us = put(GOOD, path, hostile), Autodesk(HOST, PROJECT)

        def answer(request: httpx.Request, answers: Any = answers) -> httpx.Response:
            return httpx.Response(200, content=json.dumps(answers[request.url.path.removeprefix(SUBMITTALS + PROJECT)]), headers=NOW)

        order = Order(ITEM, "approve", acts_as="WD43ZJGKDFLFH")
        looks = [us.look(order), us.look(replace(order, action="transition", state="sbc-2", response="Approved", fields={"manager": "u"}))]
        others = {"/items": us.changes(AT), f"/items/{ITEM}:transition": us.send(TO_VOID, seen())}
        others |= {f"/items/{ITEM}/steps/{STEP}/tasks/{TASK}:close": us.send(CLOSE, seen())}
        for flow in [others[path[0]]] if path[0] in others else looks:
            got, _ = drive_with(flow, answer)
            assert isinstance(got, Snapshot | Gone | Unknown | Applied | InDoubt | Page)
            repr(got).encode()


@given(st.binary(max_size=60), st.integers(200, 599), st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text(max_size=30)))
def test_no_bytes_raise(content: bytes, status: int, headers: dict[str, str]) -> None:
    us, fields = Autodesk(HOST, PROJECT), [(k.encode(), v.encode("utf-8", "replace")) for k, v in headers.items()]
    for flow in (us.read(ITEM), us.send(CLOSE, seen()), us.changes(AT), us.whoami()):
        drive_with(flow, lambda _: httpx.Response(status, content=content, headers=fields))


# ---------------------------------------------------------------- the feed


@dataclass
class Feed:
    """A feed of items by the time of their change, read by pages of three."""

    rows: dict[str, float]
    asked: list[httpx.Request] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        rows = sorted(self.rows.items(), key=lambda row: (-row[1], row[0]))
        offset = int(request.url.params["offset"])
        shown = [item(id=id_, updatedAt=times.iso(at)) for id_, at in rows[offset : offset + 3]]
        return page(*shown, total=len(rows))

    def pass_(self, us: Autodesk, since: float | None = None, meanwhile: Mapping[int, Callable[[], Any]] | None = None) -> Any:
        """The names that a whole pass touches, page by page; or why it ended. *meanwhile*: what happens before the nth page."""
        cursor, pages = None, []
        for n in range(1, 40):
            (meanwhile or {}).get(n, lambda: None)()
            got, _ = drive_with(us.changes(since, cursor), self.answer)
            if not isinstance(got, Page):
                return got
            assert got.snapshots == ()
            pages.append("".join(row.task for row in got.touched))
            cursor = got.cursor
            if cursor is None:
                return pages
        raise AssertionError("it goes on")


def drive_with(flow: Flow[Any], answer: Callable[[httpx.Request], httpx.Response]) -> tuple[Any, int]:
    asked, request = 0, next(flow)
    try:
        while True:
            asked, request = asked + 1, flow.send(answer(request))
    except StopIteration as end:
        return end.value, asked


def letters(names: str, **more: float) -> Feed:
    """The first is the newest."""
    return Feed({name: AT - 60.0 * n for n, name in enumerate(names)} | more)


def test_feed_query(us: Autodesk) -> None:
    """A day more on both sides: of which zone the filter's days are is not told (43)."""
    request = next(us.changes(AT))
    assert str(request.url).partition("?")[0] == f"{ROOT}/items"
    assert dict(request.url.params) == {
        "limit": "50",
        "offset": "0",
        "sort": "updatedAt desc",
        "filter[updatedAt]": "2026-11-21..2026-11-23",
    }
    assert "filter[updatedAt]" not in next(us.changes(None)).url.params


def test_the_last_day_is_the_upstreams(us: Autodesk) -> None:
    """We have no clock: if its own says that our range is short, it is asked again, once; then it is known."""
    got, requests = drive(us.changes(AT - 3 * 86400), page(), page())
    assert got == Page((), None, AT)
    assert [r.url.params["filter[updatedAt]"] for r in requests] == ["2026-11-18..2026-11-20", "2026-11-18..2026-11-23"]
    assert len(drive(us.changes(AT - 3 * 86400), page())[1]) == 1


@pytest.mark.parametrize("zone", ["UTC", "-08:00", "+10:00"])
@pytest.mark.parametrize("hour", range(0, 24, 5))
def test_the_zone_of_the_filters_days_does_not_matter(zone: str, hour: int) -> None:
    manager, *_ = callers(filter_zone=zone)
    manager.site.clock.at = START - START % 86400 + 3600 * hour
    item = manager.site.item()
    manager.site.clock.pass_(1)
    got = manager(manager.connector.changes(manager.site.clock.at - 3))
    assert [row.task for row in got.touched] == [item]


def test_one_page_is_a_pass(us: Autodesk) -> None:
    assert letters("abc").pass_(us) == ["abc"]
    assert Feed({}).pass_(us) == [""]


def test_pages_overlap_by_a_row_and_the_first_is_read_again(us: Autodesk) -> None:
    feed = letters("abcdefg")
    assert feed.pass_(us) == ["abc", "cde", "efg", "a"]
    assert [r.url.params["offset"] for r in feed.asked] == ["0", "2", "4", "0"]


def test_rows_of_one_time_are_read_like_others(us: Autodesk) -> None:
    """A mass change gives them all one time; the order among them is not told."""
    assert Feed(dict.fromkeys("abcdefg", AT)).pass_(us) == ["abc", "cde", "efg", "abc"]


def test_a_second_is_no_past(us: Autodesk) -> None:
    """A rendering that cuts fractions may show a row older than it was when the watermark was made of it."""
    assert letters("abcdefg", b=AT - 0.5, c=AT - 0.9).pass_(us, AT) == ["abc", "c", "abc"]


def test_a_pass_ends_where_its_past_begins(us: Autodesk) -> None:
    """The filter's days hold more: what is older than the watermark is not read, nor told."""
    assert letters("abcdefghijkl").pass_(us, AT - 210) == ["abc", "cd", "a"]


def test_a_row_that_is_touched_meanwhile_is_told(us: Autodesk) -> None:
    """`f` goes to the top before it was read: the rows that move down are read twice, and the top is read again."""
    feed = letters("abcdefg")
    pages = feed.pass_(us, meanwhile={2: lambda: feed.rows.update(f=AT + 1)})
    assert pages == ["abc", "bcd", "deg", "fa"]


def test_many_that_are_touched_meanwhile_are_read_to_where_the_descent_began(us: Autodesk) -> None:
    feed = letters("abcdefg")
    pages = feed.pass_(us, meanwhile={4: lambda: feed.rows.update({name: AT + n for n, name in enumerate("gfedc", 1)})})
    assert "".join(pages[:3]) == "abccdeefg"
    assert set("".join(pages[3:])) >= set("cdefg")
    assert len(pages) == 7


def test_a_row_that_is_taken_away_meanwhile_makes_the_pass_begin_again(us: Autodesk) -> None:
    """What would have been skipped is read all the same, and no more than that."""
    feed = letters("abcdefghijkl")
    pages = feed.pass_(us, AT - 350, meanwhile={2: lambda: [feed.rows.pop(name) for name in "abc"]})
    assert pages[0] == "abc"
    assert set("".join(pages)) == set("abcdef")


def test_a_feed_that_never_stands_still_ends_all_the_same(us: Autodesk) -> None:
    """Each descent saw what there was when it began: what came later is newer than the watermark."""
    feed, now = letters("abcdefg"), [AT]

    def touch() -> None:
        now[0] += 5
        feed.rows.update({name: now[0] + n / 100 for n, name in enumerate("gfedcba")})

    pages = feed.pass_(us, meanwhile=dict.fromkeys(range(4, 40), touch))
    assert isinstance(pages, list)
    assert len(pages) <= 4 * ROUNDS


def test_a_feed_that_loses_rows_again_and_again_is_unknown(us: Autodesk) -> None:
    feed = Feed({f"{n:03}": AT - n * 60.0 for n in range(100)})
    losing = {n: lambda: [feed.rows.pop(name) for name in sorted(feed.rows)[:3]] for n in range(2, 40, 2)}
    assert isinstance(feed.pass_(us, meanwhile=losing), Unknown)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403),
        httpx.Response(500),
        ok([]),
        ok({"results": None}),
        page(item(id=None)),
        page(item(id="a/b")),
        page(item(stateId=None)),
        page(total=5),
        page(item(id="a"), total=5),
        page(item(id="a", updatedAt="2026-11-22T07:00:00Z"), item(id="b", updatedAt="2026-11-22T08:00:00Z")),
    ],
)
def test_a_feed_that_cannot_be_followed(answer: httpx.Response, us: Autodesk) -> None:
    """One that does not obey its order, or does not go on, would be read with holes."""
    assert isinstance(drive(us.changes(None), answer)[0], Unknown)


def test_feed_asks_again_after_a_401(us: Autodesk) -> None:
    assert drive(us.changes(None), httpx.Response(401), page())[0] == Page((), None, AT)


def test_a_time_that_cannot_be_read_is_passed_on(us: Autodesk) -> None:
    """The item is named, so that it is read by itself."""
    got, _ = drive(us.changes(AT), page(item(id="a", updatedAt=None), item(id="b", updatedAt="2026-11-22T09:00:00Z")))
    assert [(row.task, row.modified) for row in got.touched] == [("a", None), ("b", AT)]


def test_a_feed_without_its_length_ends_with_what_is_known(us: Autodesk) -> None:
    rows = [item(id=name, updatedAt=f"2026-11-22T08:0{n}:00Z") for n, name in ((3, "a"), (2, "b"), (1, "c"))]
    first, _ = drive(us.changes(None), ok({"results": rows}))
    last, _ = drive(us.changes(None, first.cursor), ok({"results": rows[2:]}))
    again, _ = drive(us.changes(None, last.cursor), ok({"results": rows}))
    assert (first.cursor is None, last.cursor is None, again.cursor) == (False, False, None)


@pytest.mark.parametrize("cursor", ["", "x", "{}", "[]", "[1,2]", '["a",0,null,null,null,1]', '[null,0,null,null,null,"1"]'])
def test_a_place_that_is_none(cursor: str, us: Autodesk) -> None:
    got, requests = drive(us.changes(None, cursor))
    assert isinstance(got, Unknown)
    assert requests == []


def test_void_items_are_in_no_feed() -> None:
    """What the docstring says: the next look at the item tells it."""
    manager, *_ = callers()
    item = manager.site.item([JANE])
    manager.act(item, "transition", state="void")
    assert manager(manager.connector.changes(None)).touched == ()
    assert manager.read(item).status == "void"
