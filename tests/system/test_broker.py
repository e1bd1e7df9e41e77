"""The broker comes late, goes away, comes back: nothing is lost, because it carries nothing but commands, rings and events."""

from contextlib import nullcontext

import pytest

from tests import servers
from tests.conftest import or_skip
from tests.system.house import BOB, JANE, House, approve, listening, until

pytestmark = pytest.mark.system


@pytest.fixture(params=["RabbitMQ", "Redis"])
def broker(request):
    """A broker of this test's own, which is not started yet."""
    made = {"RabbitMQ": servers.private_rabbitmq, "Redis": servers.private_redis}[request.param]
    with or_skip(request.param, lambda: nullcontext(made())) as server:
        yield server


def test_processes_that_came_before_the_broker_connect_later_and_again_when_it_restarts(
    tmp_path, upstream, postgres_url, broker, namespace
):
    tasks = [upstream.task(steps=[{"participants": [BOB, JANE]}, {"participants": [JANE]}])["id"] for _ in range(60)]
    with House(tmp_path, upstream.workiva_url, namespace=namespace, ledger=postgres_url, broker=broker.url) as house:
        for line in ("worker", "intake", "beat"):
            house.start(line)
        house["worker"].ready("Cannot connect to")
        house["intake"].ready("intake.disconnected")
        with broker, listening(broker.url, namespace) as told:
            house.open()
            house.publish(*(approve(task, task) for task in tasks[:30]))
            until(lambda: any(upstream.journal(task) for task in tasks), what="the first effects")
            broker.restart()
            house.publish(*(approve(task, task) for task in tasks[30:]))
            for task in tasks:
                house.ends(task, "applied", 60)
            until(lambda: len(told.of("submission.applied")) == 60, 60, "every event")
            assert all(process.running for process in house.processes.values())
            assert [(e["step"], e["user"]) for task in tasks for e in upstream.journal(task)] == [(1, JANE)] * 60
