"""What the pages say is true: links lead somewhere, the code in them runs, the tables are complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from worker.broker import Incoming, Names
from worker.client import Approvals
from worker.core import events
from worker.core.command import Command
from worker.core.delivery import Delivery, Left
from worker.sinks.exchange import Exchange
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
