"""What the pages say is true: links lead somewhere, the code in them runs, the tables are complete."""

import re
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from kombu import Connection, Queue

from tests.upstreams import port
from tests.upstreams.drive import drive, ok
from worker.broker import Incoming, Names
from worker.client import Approvals
from worker.core import events
from worker.core.command import Command
from worker.core.delivery import Delivery, Left, Policy
from worker.core.outcomes import Applied, InDoubt
from worker.sinks.exchange import Exchange
from worker.sinks.webhook import Webhook
from worker.upstreams.auth import Grant
from worker.upstreams.base import Connector, Order
from worker.wire import Door, parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link within the project names a file or a folder that is there."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_event_type_is_on_the_page() -> None:
    """docs/events.md tells of each type that this release tells."""
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    table = page.split("| type | tells |")[1].split("**At least once")[0]
    missing = [t for t in events.TYPES if f"`{t}`" not in table and t.removeprefix("submission.") not in table]
    assert missing == []


@pytest.fixture
def exchange(rabbitmq_url: str, namespace: str) -> Iterator[Exchange]:
    """The sink of a namespace of its own, with the queue of the page's consumer bound and removed again."""
    names = Names(namespace)
    sink = Exchange("exchange", rabbitmq_url, namespace)
    with Connection(rabbitmq_url) as connection:
        topic = names.events_exchange()(connection.default_channel)
        topic.declare()
        queue = Queue(f"{namespace}.erp", topic, routing_key="*.finance.step.completed", durable=True)(connection.default_channel)
        queue.declare()
        yield sink
        queue.delete()
        topic.delete()
    sink.close()


def test_the_consumer_on_the_page_drops_doubles(exchange: Exchange, rabbitmq_url: str, namespace: str) -> None:
    """The code of docs/events.md, as it stands but for names: an event that comes twice is handled once."""
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    for said, here in (
        ("amqp://guest:guest@127.0.0.1:5672//", rabbitmq_url),
        ('"approvals.events"', f'"{namespace}.events"'),
        ('"erp.approvals"', f'"{namespace}.erp"'),
        ("while True:", "for _ in range(4):"),
    ):
        assert said in code
        code = code.replace(said, here)
    for name, sequence in (("a", 1), ("b", 2), ("a", 1), ("c", 3)):
        body = {"id": name, "sequence": str(sequence), "subject": "T"}
        assert exchange.publish([Delivery(name, "workiva.finance.step.completed", body)])[name].left == Left.DELIVERED
    handled: list[str] = []
    exec(code, {"handle": lambda event: handled.append(event["id"])})
    assert handled == ["a", "b", "c"]


def test_the_receiver_on_the_page_verifies_and_drops_doubles() -> None:
    """The code of docs/events.md, as it stands: what our sink sends it is handled once, what nobody signed is not."""
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    code = next(block.split("```")[0] for block in page.split("```python\n") if "standardwebhooks import" in block[:80])
    handled: list[str] = []
    inside: dict[str, Any] = {"handle": lambda event: handled.append(event["id"])}
    exec(code, inside)
    secret = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", code)

    def statuses(*secrets: str) -> Iterator[str]:
        for id_ in ("a", "b", "a"):
            request = next(
                Webhook("erp", "https://e/", secrets, clock=time.time, policy=Policy()).deliver(Delivery(id_, "a.b.c", {"id": id_}))
            )
            headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
            environ = headers | {"wsgi.input": BytesIO(request.content), "CONTENT_LENGTH": str(len(request.content))}
            inside["app"](environ, lambda status, _: said.append(status))
            yield said[-1]

    said: list[str] = []
    assert [s[:3] for s in statuses("whsec_" + b64encode(b"n" * 32).decode())] == ["401"] * 3
    assert [s[:3] for s in statuses(*secret)] == ["204"] * 3
    assert handled == ["a", "b"]


@pytest.mark.parametrize(("name", "page"), [("README.md", ROOT / "README.md"), ("clients.md", ROOT / "docs/clients.md")])
def test_the_client_on_the_pages_submits_and_listens(exchange: Exchange, rabbitmq_url: str, namespace: str, name: str, page: Path) -> None:
    """As it stands but for names; and what is submitted is a command."""
    code = next(
        block.split("```")[0] for block in page.read_text(encoding="utf-8").split("```python\n") if "approvals.submit" in block[:400]
    )
    for said, here in (
        ('"amqp://guest:guest@127.0.0.1:5672//"', f'"{rabbitmq_url}", "{namespace}"'),
        ('"erp.approvals"', f'"{namespace}.erp", idle=0.5'),
    ):
        assert said in code
        code = code.replace(said, here)
    with Connection(rabbitmq_url) as connection:
        commands = Queue(f"{namespace}.commands", durable=True)(connection.default_channel)
        commands.declare()
        body = {"id": name, "sequence": "1", "subject": "T"}
        assert exchange.publish([Delivery(name, "workiva.finance.step.completed", body)])[name].left == Left.DELIVERED
        handled: list[str] = []
        exec(code, {"Approvals": Approvals, "handle": lambda event: handled.append(event["id"])})
        message = commands.get()
        commands.delete()
    assert handled == [name]
    found = parse(Incoming(message.body.encode(), {}, {"content_type": message.content_type}), Door(namespace), 2e9)
    assert isinstance(found, Command), found
    assert (found.key, found.task, found.grant) == ("po-4711/2", "VGFzax41", "jane")


# --- adding-an-upstream.md ----------------------------------------------------------------------------------------------------------------

REQUEST = {
    "id": "T",
    "title": "Foundation",
    "state": "in review",
    "updated": "2026-11-22T08:00:00.123Z",
    "steps": [
        {
            "state": "open",
            "begun": "2026-11-21T08:00:00Z",
            "approvals": [{"id": "A1", "user": "jane", "state": "open"}, {"id": "A2", "user": "joe", "state": "open"}],
        },
        {"state": "later", "approvals": [{"id": "A3", "user": "jane", "state": "later"}]},
    ],
}


def signoff() -> port.Case:
    """The connector on the page, as it stands; a look by Jane, and what she would send after it."""
    page = (ROOT / "docs/adding-an-upstream.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "signoff"}
    exec(page.split("```python\n")[1].split("```")[0], names)
    connector: Connector = names["Signoff"]("https://signoff.example.com", {"jane": Grant("client", port.SECRET)})
    order = Order("T", "approve", grant="jane", acts_as="jane")
    look, _ = drive(connector.look(order), ok(REQUEST))
    return port.Case(connector, replace(order, part=look.offer.part), look)


def test_the_connector_on_the_page_keeps_the_port() -> None:
    """By the suite that those in the table are held to."""
    case = signoff()
    port.has_the_port(case)
    port.hides_its_secret(case)
    port.asks_for_nothing_by_an_id_that_is_none(case)
    port.begins_again_only_at_its_own_place(case)
    for status in port.STATUSES:
        port.sorts_every_status(case, status)
        port.takes_a_failed_question_for_no_answer(case, httpx.Response(status))
    for body in port.UNREADABLE:
        port.believes_no_success_that_it_cannot_read(case, body)
        port.takes_a_failed_question_for_no_answer(case, httpx.Response(200, content=body))


def test_the_connector_on_the_page_acts_on_the_part_that_was_meant() -> None:
    """Of Jane's two approvals the open one; an answer that shows it is an effect, one that does not is a doubt."""
    case = signoff()
    assert (case.seen.exact, case.seen.active(), case.order.part) == (True, 1, "A1")
    first = {**REQUEST["steps"][0], "approvals": [{"id": "A1", "user": "jane", "state": "closed", "decision": "approve"}]}  # type: ignore[dict-item]
    shown = {**REQUEST, "steps": [first, REQUEST["steps"][1]]}
    sent, [request] = drive(case.connector.send(case.order, case.seen), ok(shown))
    assert request.url.path == "/requests/T/approvals/A1/decision"
    assert isinstance(sent, Applied)
    assert [(r.actor, r.action, r.part) for _, r in sent.snapshot.responses()] == [("jane", "approve", "A1")]
    assert isinstance(drive(case.connector.send(case.order, case.seen), ok(REQUEST))[0], InDoubt)


def test_the_guide_names_every_member_of_the_port() -> None:
    """A member that is added is told there."""
    page = (ROOT / "docs/adding-an-upstream.md").read_text(encoding="utf-8").split("## What the core needs")[0]
    assert [name for name in vars(Connector) if not name.startswith("_") and f"`{name}" not in page] == []
