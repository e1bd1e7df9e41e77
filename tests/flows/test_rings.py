"""Rings: our message is one that Celery reads, and no broker holds up whoever rings."""

import socket
import threading
import time

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from worker.broker import Names, transport_options
from worker.rings import Rings


@pytest.fixture(params=["memory", "rabbitmq"])
def broker(request):
    return "memory://" if request.param == "memory" else request.getfixturevalue("rabbitmq_url")


def test_celery_hears_a_ring(broker, namespace):
    names = Names(namespace)
    app = Celery(namespace, broker=broker, set_as_current=False)
    app.conf.update(
        task_queues=[names.rings_queue()],
        task_default_queue=names.rings,
        task_create_missing_queues=False,
        accept_content=["json"],
        worker_enable_remote_control=False,
        broker_transport_options=transport_options(broker),
    )
    heard, enough = [], threading.Event()

    @app.task(name=f"{namespace}.submit")
    def submit(account):
        heard.append(account)
        if len(heard) == 2:
            enough.set()

    rings = Rings(broker, namespace)
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR", shutdown_timeout=30):
        rings.ring("submit", "finance")
        rings.ring("submit", "tower")
        assert enough.wait(30)
    rings.close()
    assert sorted(heard) == ["finance", "tower"]


def test_a_broker_that_does_not_answer_holds_up_nobody(namespace):
    """It takes the connection, like a frozen one, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rings = Rings(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//", namespace)
        start = time.monotonic()
        for n in range(1000):
            rings.ring("submit", f"account{n % 10}")
        assert time.monotonic() - start < 1.0
        connection, _ = silent.accept()
        rings.ring("submit", "finance")
        connection.close()
        rings.close(patience=0.0)


def test_rings_for_one_shard_that_wait_together_are_one(namespace):
    published = []
    rings = Rings("memory://", namespace)
    first, go_on, second = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def publish(self, batch):
            published.append(len(batch))
            (second if first.is_set() else first).set()
            assert go_on.wait(10)

        def close(self):
            pass

    rings._publisher = Slow()  # type: ignore[assignment]
    rings.ring("submit", "finance")
    assert first.wait(10)
    for _ in range(50):
        rings.ring("submit", "finance")
        rings.ring("emit", "erp")
    go_on.set()
    assert second.wait(10)
    rings.close(patience=10)
    assert published == [1, 2]


def test_a_bell_that_breaks_does_not_end_the_ringing(namespace):
    rings = Rings("nonsense://", namespace)
    rings.ring("submit", "finance")
    rings.close(patience=10)
