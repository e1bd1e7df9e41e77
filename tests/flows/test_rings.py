"""Rings: our message is one that Celery reads, and no broker holds up whoever rings."""

import socket
import threading
import time

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from worker.broker import Names, transport_options
from worker.rings import Rings


@pytest.fixture(params=["memory", "rabbitmq", "redis"])
def broker(request):
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")


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


@pytest.fixture
def silent():
    """A broker that takes the connection, like a frozen one, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_broker_that_does_not_answer_holds_up_nobody_and_rings_that_wait_for_one_shard_are_one(silent, namespace):
    rings = Rings(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//", namespace)
    rings.ring("submit", "finance")
    connection, _ = silent.accept()  # the first volley is under way now, and stays there
    start = time.monotonic()
    for _ in range(1000):
        rings.ring("submit", "finance")
        rings.ring("emit", "erp")
    assert time.monotonic() - start < 1.0
    assert list(rings._waiting) == [("submit", "finance"), ("emit", "erp")]
    connection.close()
    rings.close(patience=0.0)


def test_a_bell_that_breaks_does_not_end_the_ringing(namespace):
    rings = Rings("nonsense://", namespace)
    rings.ring("submit", "finance")
    rings.close(patience=10)
