"""The exchange as a way out, on a real RabbitMQ and in memory: confirmed, in order, and never longer than its deadline."""

import json
from contextlib import contextmanager
from time import monotonic

import pytest
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_rabbitmq_event
from kombu import Exchange as Topic
from kombu import Queue

from tests import servers
from tests.conftest import forget, or_skip
from worker.broker import Names, connect
from worker.broker.amqp import KombuLink
from worker.core import events
from worker.core.delivery import Delivery, Left
from worker.sinks.exchange import Exchange


def delivery(number, key="workiva.finance.step.completed"):
    return Delivery(f"e{number}", key, {"specversion": "1.0", "id": f"e{number}", "subject": f"T{number % 10}", "n": number})


@contextmanager
def receiver(url, namespace, pattern="workiva.#"):
    """A queue bound to the namespace's events."""
    link, names = connect(url), Names(namespace)
    queue = f"{namespace}.receiver"
    link.declare(names.events_exchange(), Queue(queue, Topic(names.events, type="topic"), routing_key=pattern, durable=True))
    try:
        yield lambda: link.get(queue)
    finally:
        link.close()
        forget(url, queue, exchange=names.events)


@pytest.fixture(params=["rabbitmq", "redis", "memory"])
def url(request):
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def sink(url, namespace):
    sink = Exchange("erp", url, namespace, deadline=10)
    yield sink
    sink.close()


def test_every_event_arrives_once_and_in_order_for_each_task(url, namespace, sink):
    with receiver(url, namespace) as get:
        for start in range(0, 2000, 250):
            results = sink.publish([delivery(n) for n in range(start, start + 250)])
            assert {Left.DELIVERED} == {r.left for r in results.values()}
            assert len(results) == 250
        arrived = [get() for _ in range(2000)]
        assert get() is None
    bodies = [json.loads(m.body) for m in arrived]
    for task in range(10):
        assert list(range(task, 2000, 10)) == [b["n"] for b in bodies if b["subject"] == f"T{task}"]
    first = arrived[0].properties
    assert (first["content_type"], first["message_id"], first["delivery_mode"]) == ("application/cloudevents+json", "e0", 2)


def test_the_cloudevents_sdk_reads_what_arrives(url, namespace, sink):
    """By its binding for RabbitMQ, in structured mode."""
    event = events.sink_test("/approvals/erp", "erp", "n", 2e9)
    with receiver(url, namespace, "#") as get:
        sink.publish([Delivery(event.id, "approvals.erp.sink.test", events.cloudevent(event, 7))])
        message = get()
    read = from_rabbitmq_event(RabbitMQMessage(message.headers, message.properties["content_type"], message.body))
    assert (read.get_id(), read.get_type(), read.get_source()) == (event.id, "sink.test", "/approvals/erp")
    assert (read.get_extension("sequence"), read.get_data()) == ("7", {"sink": "erp"})
    assert read.get_dataschema() == events.dataschema("sink.test")


def test_what_no_queue_is_bound_for_is_told_and_holds_back_nothing(url, namespace, sink):
    with receiver(url, namespace) as get:
        results = sink.publish([delivery(1), delivery(2, "autodesk.tower.step.completed"), delivery(3)])
        assert [results[f"e{n}"].left for n in (1, 2, 3)] == [Left.DELIVERED, Left.UNBOUND, Left.DELIVERED]
        assert f"no queue is bound to {namespace}.events" in results["e2"].detail
        assert [get().properties["message_id"] for _ in range(2)] == ["e1", "e3"]


def test_nothing_to_publish_needs_no_broker():
    assert Exchange("erp", "amqp://nobody:x@127.0.0.1:1//", "n").publish([]) == {}


def test_a_refused_port_fails_at_once_and_tells_no_password():
    result = Exchange("erp", f"amqp://jane:hunter2@127.0.0.1:{servers.free_port()}//", "n").publish([delivery(1)])["e1"]
    assert Left.FAILED is result.left
    assert "refused" in result.detail
    assert "hunter2" not in result.detail


def test_a_connection_that_the_broker_closed_is_noticed_before_anything_is_sent(rabbitmq_url, namespace):
    sink = Exchange("erp", rabbitmq_url, namespace, deadline=10)
    with receiver(rabbitmq_url, namespace):
        sink.publish([delivery(1)])
        # What a firewall's reset looks like from here.
        held = sink._publisher._link
        assert isinstance(held, KombuLink)
        held._raw.sock.shutdown(2)
        assert Left.DELIVERED is sink.publish([delivery(2)])["e2"].left
    sink.close()


def test_an_exchange_that_is_of_another_kind_fails_in_words(rabbitmq_url, namespace):
    link = connect(rabbitmq_url)
    link.declare(Topic(f"{namespace}.events", type="direct", durable=True))
    try:
        result = Exchange("erp", rabbitmq_url, namespace).publish([delivery(1)])["e1"]
        assert Left.FAILED is result.left
        assert "inequivalent arg 'type'" in result.detail
    finally:
        link.close()
        forget(rabbitmq_url, exchange=f"{namespace}.events")


@pytest.mark.slow
def test_a_frozen_broker_fails_the_batch_within_the_deadline_and_is_used_again_when_it_thaws(namespace):
    with or_skip("RabbitMQ of our own", servers.private_rabbitmq) as server:
        link, names = connect(server.url), Names(namespace)
        link.declare(names.events_exchange(), Queue(namespace, Topic(names.events, type="topic"), routing_key="#", durable=True))
        sink = Exchange("erp", server.url, namespace, deadline=2.0)
        assert sink.publish([delivery(0)])["e0"].left is Left.DELIVERED
        server.freeze()
        try:
            # The first try meets a connection that was there before, the others have to make one. Large ones fill the socket's buffers.
            for size in (400_000, 1):
                start = monotonic()
                results = sink.publish([Delivery(f"f{n}", "workiva.a.b", {"x": "x" * size}) for n in range(50)])
                assert {r.left for r in results.values()} == {Left.FAILED}
                assert monotonic() - start < 3.0
        finally:
            server.thaw()
        assert sink.publish([delivery(1)])["e1"].left is Left.DELIVERED
        link.close()

        server.restart()
        assert sink.publish([delivery(2)])["e2"].left is Left.DELIVERED
        sink.close()
        link = connect(server.url)
        seen = {m.properties["message_id"] for m in iter(lambda: link.get(namespace), None)}
        assert {"e0", "e1", "e2"} <= seen
        link.close()
