"""For other programs: a command arrives or its sender is told, no wait is without end, and an event is gone only when it was handled."""

import importlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from tests.cable import Cable
from worker import client
from worker.broker import Names
from worker.client import Approvals, NoSuchQueue, NotConfirmed, NotConnected
from worker.core.command import Command
from worker.flows.accept import Accepted
from worker.intake import Intake
from worker.wire import Door

COMPLETED = "workiva.finance.step.completed"
DECISION: dict[str, Any] = {"account": "finance", "task": "T", "action": "approve"}


@pytest.fixture(params=["amqp", "redis", "memory"])
def url(request):
    fixture = {"amqp": "rabbitmq_url", "redis": "redis_url"}.get(request.param)
    return request.getfixturevalue(fixture) if fixture else "memory://"


@pytest.fixture
def names(namespace):
    return Names(namespace)


@pytest.fixture
def broker(url, names):
    """A connection of the test's own, with the doors that a worker opens; they go with what is in them."""
    with Connection(url, transport_options={} if url.startswith("amqp") else {"polling_interval": 0.01}) as connection:
        channel = connection.default_channel
        names.dead_queue()(channel).declare()
        names.commands_queue()(channel).declare()
        names.events_exchange()(channel).declare()
        yield connection
        channel = connection.channel()
        for queue in (names.commands, names.dead, f"{names.namespace}.erp"):
            Queue(queue)(channel).delete()
        Exchange(names.events)(channel).delete()


@pytest.fixture
def approvals(url, namespace, broker):
    with Approvals(url, namespace) as made:
        yield made


@pytest.fixture
def cable(url):
    with Cable(url) as made:
        yield made


def tell(broker, names, *ids, routing_key=COMPLETED):
    with broker.Producer() as producer:
        for id_ in ids:
            producer.publish(
                id_ if isinstance(id_, bytes) else json.dumps({"id": id_}),
                exchange=names.events,
                routing_key=routing_key,
                content_type="application/cloudevents+json",
                content_encoding="utf-8",
            )


def test_what_is_submitted_is_the_command_that_intake_understands(url, namespace, approvals):
    got: list[Command] = []

    def accept(commands):
        got.extend(commands)
        return [Accepted("id", c.key, "pending") for c in commands]

    key = approvals.submit(
        **DECISION,
        key="po-4711/2",
        as_="jane",
        pin="WzEs",
        comment="im Rahmen",
        issued_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
        not_before="2026-11-22T10:00:00+01:00",
        not_after="2026-12-01T00:00:00Z",
        wait_for_turn=True,
        requested_by="erp",
        labels={"po": "4711"},
    )
    approvals.submit(**DECISION, key="po-4711/3", step=3, response="Approved as noted")
    fields = {"managerDueDate": "2026-12-01", "leadTime": 2, "watchers": ["u1"], "specId": None}
    approvals.submit(account="tower", task="I", action="transition", key="po-4711/4", state="sbc-2", fields=fields)
    intake = Intake(url, Door(namespace), accept, lambda _: pytest.fail("refused"))
    while len(got) < 3:
        intake.run_once(5)
    intake.close()
    assert key == "po-4711/2"
    first, second, third = got
    assert first == Command(
        key="po-4711/2",
        account="finance",
        grant="jane",
        task="T",
        action="approve",
        pin="WzEs",
        comment="im Rahmen",
        issued_at=datetime(2026, 11, 22, 9, tzinfo=UTC).timestamp(),
        not_before=datetime(2026, 11, 22, 9, tzinfo=UTC).timestamp(),
        not_after=datetime(2026, 12, 1, tzinfo=UTC).timestamp(),
        wait_for_turn=True,
        requested_by="erp",
        labels={"po": "4711"},
    )
    assert (second.grant, second.step, second.response, second.wait_for_turn) == ("", 3, "Approved as noted", False)
    assert second.issued_at > first.issued_at
    assert (third.action, third.state, third.fields) == ("transition", "sbc-2", fields)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "the same key takes effect once"),
        ({"key": ""}, "the same key takes effect once"),
        ({"key": "k", "account": " "}, "account: must say something"),
        ({"key": "k", "step": 0}, "step: must be a number from 1"),
        ({"key": "k", "not_after": datetime(2026, 12, 1)}, "not_after: must have an offset"),  # noqa: DTZ001  that is what is wrong
        ({"key": "k", "not_before": "2026-12-01"}, "not_before: must have an offset"),
        ({"key": "k", "issued_at": "yesterday"}, "issued_at: must be a datetime"),
    ],
)
def test_what_no_intake_would_accept_is_told_at_once(wrong, says):
    """Without a connection: there is nothing at this address."""
    with pytest.raises(ValueError, match=says):
        Approvals("amqp://127.0.0.1:1//").submit(**(DECISION | wrong))


def test_a_queue_that_is_not_there_is_told_and_nothing_is_published(rabbitmq_url, namespace):
    with Approvals(rabbitmq_url, f"{namespace}_misspelt") as approvals:
        with pytest.raises(NoSuchQueue, match=f"{namespace}_misspelt.commands.*'k' was not submitted"):
            approvals.submit(**DECISION, key="k")
        with pytest.raises(NoSuchQueue):
            approvals.submit(**DECISION, key="k")


def test_a_broker_that_cannot_be_reached_is_told_in_time():
    """Nothing was ever sent, so nothing is in doubt."""
    approvals, begun = Approvals("amqp://127.0.0.1:1//", timeout=0.5), monotonic()
    with pytest.raises(NotConnected, match="'k' was not submitted"):
        approvals.submit(**DECISION, key="k")
    with pytest.raises(NotConnected):
        approvals.events()
    assert monotonic() - begun < 3


@pytest.mark.parametrize("url", ["amqp", "redis"], indirect=True)
def test_a_frozen_broker_holds_up_a_submit_no_longer_than_its_time_out(namespace, broker, cable):
    """Frozen while connected, and frozen from the beginning. What had no confirm may arrive, and the same key may be submitted again."""
    with Approvals(cable.url, namespace, timeout=2.0) as approvals:
        approvals.submit(**DECISION, key="before")
        cable.freeze()
        for key in ("connected", "not connected"):
            begun = monotonic()
            with pytest.raises((NotConfirmed, NotConnected), match="no"):
                approvals.submit(**DECISION, key=key)
            assert monotonic() - begun < 4
        cable.thaw()
        approvals.submit(**DECISION, key="connected")


@pytest.mark.parametrize("url", ["amqp", "redis"], indirect=True)
def test_a_connection_that_was_cut_is_made_again(url, namespace, names, broker, cable):
    """For commands and for events; what was in hand at the cut comes again, and what was behind it may come twice."""
    with Approvals(cable.url, namespace) as approvals, approvals.events(queue=f"{namespace}.erp", idle=20) as events:
        approvals.submit(**DECISION, key="before")
        tell(broker, names, "a", "b")
        assert next(events)["id"] == "a"
        cable.cut()
        approvals.submit(**DECISION, key="after")
        tell(broker, names, "c")
        again = list(takewhile(lambda id_: id_ != "c", (event["id"] for event in events)))
        assert ("a" in again) == url.startswith("amqp"), "on Redis the acknowledgement makes a connection of its own"
        assert list(dict.fromkeys(["a", *again])) == ["a", "b"]


def test_an_event_is_acknowledged_when_the_loop_goes_on(url, approvals, names, broker):
    """Whoever breaks off in the middle of one gets it again, with what was waiting behind it."""
    queue = f"{names.namespace}.erp"
    with approvals.events("*.finance.step.*", "*.*.submission.parked", queue=queue, idle=1) as events:
        tell(broker, names, "other", routing_key="workiva.finance.task.completed")
        tell(broker, names, "a", "b", "c")
        tell(broker, names, "p", routing_key="workiva.legal.submission.parked")
        for event in events:
            if event["id"] == "b":
                break
    with approvals.events("*.finance.step.*", queue=queue, idle=1) as events:
        again = [event["id"] for event in events]
        assert again == ["b", "c", "p"] or (sorted(again) == ["b", "c", "p"] and url == "memory://"), "the patterns of before stay"
    with approvals.events("*.finance.step.*", queue=queue, idle=0.2) as events:
        assert list(events) == []


def test_a_listener_without_a_queue_of_its_own_is_bound_when_it_is_made(approvals, names, broker):
    """And what is no event holds it up no longer than it takes to pass over it."""
    with approvals.events(idle=1) as events:
        tell(broker, names, "a", b"{", b"[]", "b")
        assert [event["id"] for event in events] == ["a", "b"]


@pytest.mark.parametrize("url", ["amqp"], indirect=True)
def test_a_queue_that_somebody_made_is_taken_as_it_is(approvals, names, broker):
    """A quorum queue with a limit, say: declaring it otherwise would be an error."""
    queue = f"{names.namespace}.erp"
    Queue(queue, durable=True, queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 5})(broker.channel()).declare()
    with approvals.events(queue=queue, idle=1) as events:
        tell(broker, names, "a")
        assert [event["id"] for event in events] == ["a"]


@pytest.mark.parametrize("url", ["amqp", "redis"], indirect=True)
def test_a_child_that_was_forked_has_a_connection_of_its_own(url, namespace, broker):
    """As under a server that loads the program and forks: parent and children submit, and none speaks on another's connection."""
    program = f"""
import os
from worker.client import Approvals
approvals = Approvals({url!r}, {namespace!r})
events = approvals.events(idle=1)
approvals.submit(account="finance", task="T", action="approve", step=1, key="before")
children = []
for n in range(2):
    if not (pid := os.fork()):
        approvals.submit(account="finance", task="T", action="approve", step=1, key=f"child-{{n}}")
        raise SystemExit
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
link = approvals._link
approvals.submit(account="finance", task="T", action="approve", step=1, key="after")
assert approvals._link is link, "the parent's is whole"
assert list(events) == []
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    queue = Queue(f"{namespace}.commands")(broker.channel())
    keys = [json.loads(message.body)["key"] for message in iter(queue.get, None) if message]
    assert sorted(keys) == ["after", "before", "child-0", "child-1"]


def test_the_file_works_alone_where_nothing_but_kombu_is_installed(tmp_path):
    """Copied into another program, in an environment that has kombu and what kombu needs, in memory from end to end."""
    shutil.copy(client.__file__, tmp_path / "approvals_client.py")
    for name in ("kombu", "amqp", "vine", "packaging"):
        (tmp_path / name).symlink_to(Path(str(importlib.import_module(name).__file__)).parent)
    program = """
import sys
from approvals_client import Approvals
from kombu import Connection, Queue
with Approvals("memory://") as approvals:
    assert approvals.submit(account="finance", task="T", action="approve", step=1, key="k") == "k"
    with Connection("memory://") as connection:
        print(Queue("approvals.commands")(connection.default_channel).get().body.decode())
    assert list(approvals.events("*.finance.step.*", idle=0.1)) == []
assert "worker" not in sys.modules and "celery" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["key"] == "k"


def test_a_broker_of_no_known_kind_is_told_at_once_and_without_its_password():
    with pytest.raises(ValueError, match="must begin with amqp://") as told:
        Approvals("ampq://guest:hunter2@127.0.0.1//")
    assert "hunter2" not in str(told.value)
