"""What every connector has to do, whatever its upstream: one suite over all that are in the table, and over the one of the guide."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.upstreams.drive import NOW
from worker.core.outcomes import Gone, InDoubt, Page, Refused, Sent, Unknown, Unsent
from worker.core.task import Part, Snapshot, Step
from worker.upstreams.auth import Consented, Grant
from worker.upstreams.autodesk import Autodesk
from worker.upstreams.base import REFUSALS, Connector, Flow, Order
from worker.upstreams.vault import Vault
from worker.upstreams.workiva import Workiva

SECRET = "hush-hush"
STATUSES = [201, 202, 204, 206, 301, 302, 304, 307, *range(400, 430), 451, 499, *range(500, 512), 599]
UNREADABLE = [b"", b"null", b"[]", b"{}", b"\xff", b'{"id": 7}', b"[" * 100_000]


@dataclass(frozen=True, slots=True)
class Case:
    """A connector with a grant whose secret is SECRET, and a decision that it would send after *seen*."""

    connector: Connector
    order: Order
    seen: Snapshot


def workiva() -> Case:
    connector = Workiva("https://api.app.wdesk.com", grants={"jane": Grant("client", SECRET)})
    seen = Snapshot("T", "", "Awaiting Approval", awaiting=True, done=False, steps=(Step(("jane",), "one"),))
    return Case(connector, Order("T", "approve", grant="jane", acts_as="jane"), seen)


def autodesk() -> Case:
    grants = {"jane": Consented("client", SECRET, "jane", Vault(lambda: 0.0))}
    connector = Autodesk("https://developer.api.autodesk.com", "9eae7d59-1469-4389-bfb2-4114e2ba5545", grants)
    step = Step(("jane",), "parts", state="active", parts=(Part("S/P", "jane", required=True, state="active"),))
    seen = Snapshot("T", "", "rev", awaiting=True, done=False, steps=(step,))
    return Case(connector, Order("T", "close", grant="jane", acts_as="jane", part="S/P", choice="R"), seen)


CASES: Mapping[str, Callable[[], Case]] = {"autodesk": autodesk, "workiva": workiva}


def has_the_port(case: Case) -> None:
    """Every member that flows use."""
    members = {name for name in vars(Connector) if not name.startswith("_")}
    assert {name for name in members if not hasattr(case.connector, name)} == set()
    assert case.connector.look_costs >= case.connector.glance_costs >= 1
    assert case.order.action in case.connector.actions
    assert case.connector.address(case.order.task).task == case.order.task
    assert [limit for limit in case.connector.limits("jane").values() if limit.per_minute <= 0] == []


def hides_its_secret(case: Case) -> None:
    """In no repr of what is logged when something breaks."""
    assert SECRET not in repr(case.connector) + repr(case.connector.credentials("jane")) + repr(case.connector.renewal("jane"))


def sorts_every_status(case: Case, status: int) -> None:
    """One request, and no more, whatever is answered; and what that proves (A3)."""
    sent, requests = _ended(case.connector.send(case.order, case.seen), httpx.Response(status, headers=NOW))
    assert len(requests) == 1
    want: type[Sent] = Refused if status in REFUSALS else Unsent if status in {401, 429} else InDoubt
    assert type(sent) is want


def believes_no_success_that_it_cannot_read(case: Case, body: bytes) -> None:
    """A 200 that does not show the effect proves nothing."""
    sent, requests = _ended(case.connector.send(case.order, case.seen), httpx.Response(200, content=body, headers=NOW))
    assert (type(sent), len(requests)) == (InDoubt, 1)


def takes_a_failed_question_for_no_answer(case: Case, answer: httpx.Response) -> None:
    """No look and no page comes of it, and no exception."""
    assert isinstance(_ended(case.connector.read("T"), answer)[0], Gone | Unknown)
    assert isinstance(_ended(case.connector.glance(case.seen), answer)[0], Gone | Unknown)
    assert isinstance(_ended(case.connector.look(case.order), answer)[0], Gone | Unknown)
    if not answer.content.startswith(b"{"):  # what an empty page looks like is the upstream's own
        assert isinstance(_ended(case.connector.changes(None), answer)[0], Unknown)


def asks_for_nothing_by_an_id_that_is_none(case: Case) -> None:
    """`..` would be another resource."""
    found, requests = _ended(case.connector.read(".."), httpx.Response(500))
    assert isinstance(found, Gone)
    assert requests == []


def begins_again_only_at_its_own_place(case: Case) -> None:
    """A cursor that leads elsewhere, or nowhere, is no page: our token would go with it."""
    page, requests = _ended(case.connector.changes(0.0, "next https://evil.example.com/"), httpx.Response(500))
    assert not isinstance(page, Page)
    assert [str(request.url) for request in requests if "evil" in str(request.url)] == []


def _ended(flow: Flow[Any], answer: httpx.Response) -> tuple[Any, list[httpx.Request]]:
    """The outcome where every request is answered alike, and the requests: ten are too many."""
    requests: list[httpx.Request] = []
    try:
        request = next(flow)
        while len(requests) < 10:
            requests.append(request)
            request = flow.send(answer)
    except StopIteration as end:
        return end.value, requests
    raise AssertionError("it asks for ever")
