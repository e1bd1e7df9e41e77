"""The broker comes late, goes away, freezes, comes back: nothing is lost, because it carries nothing but commands, rings and events."""

import sqlite3
import sys
from contextlib import closing, nullcontext

import pytest

from tests import servers
from tests.conftest import or_skip
from tests.system.house import BOB, JANE, House, approve, listening, until
from tests.system.upstreams import Autodesk
from worker.broker.redis import RedisLink

pytestmark = pytest.mark.system


@pytest.fixture(params=["RabbitMQ", "Redis"])
def broker(request):
    """A broker of this test's own, which is not started yet."""
    made = {"RabbitMQ": servers.private_rabbitmq, "Redis": servers.private_redis}[request.param]
    with or_skip(request.param, lambda: nullcontext(made())) as server:
        yield server


def test_processes_that_came_before_the_broker_connect_later_and_again_when_it_restarts_or_was_frozen(
    tmp_path, sandbox, sites, postgres_url, broker, namespace
):
    """Tasks of each upstream by turns: a house of its own for each would start as many brokers."""
    tasks = {site.task([[BOB, JANE], [JANE]]): site for _ in range(45) for site in sites.values()}
    commands = [site.approve(task) for task, site in tasks.items()]
    settings = sites[Autodesk].settings(tmp_path)
    with House(tmp_path, sandbox.workiva_url, namespace=namespace, ledger=postgres_url, broker=broker.url, more=settings) as house:
        for line in ("worker", "intake", "beat"):
            house.start(line)
        house["worker"].ready("Cannot connect to")
        house["intake"].ready("intake.disconnected")
        with broker, listening(broker.url, namespace) as told:
            house.open()
            house.publish(*commands[:30])
            until(lambda: any(site.done(task) for task, site in tasks.items()), what="the first effects")
            broker.restart()
            house.publish(*commands[30:60])
            for task in list(tasks)[:60]:
                house.ends(task, "applied", 60)
            until(lambda: len(house["worker"].said("Connected to")) >= 2, 60, "the worker to hear again")
            freeze_and_thaw(broker, house)
            house.publish(*commands[60:])
            for task in list(tasks)[60:]:
                house.ends(task, "applied", 60)
            until(lambda: len(told.of("submission.applied")) == 90, 60, "every event")
            assert all(process.running for process in house.processes.values())
            assert [site.done(task) for task, site in tasks.items()] == [[(1, JANE)]] * 90


def freeze_and_thaw(broker, house):
    """Long enough that every client notices. A probe says that it is no reason to restart anything; and who is told to end, ends."""
    heard = len(house["worker"].text())
    broker.freeze()
    try:
        ready = house.approvals("health", "--ready")
        assert ready.returncode == 1
        assert [line.split()[:2] for line in ready.stdout.splitlines()] == [["ledger", "OK"], ["broker", "FAIL"]]
        assert house.approvals("health", "--live").returncode == 0
        house["beat"].ready("rings.lost")
        if broker.url.startswith("redis"):
            # Known of kombu: a worker that is alive and hears nothing any more.
            words = ("BRPOP got no reply", "broker lost", "Cannot connect to")
            until(lambda: any(word in house["worker"].text()[heard:] for word in words), 60, "the worker to notice")
            until(lambda: "Timeout reading from socket" in house["intake"].text(), what="intake to notice")
        assert house["beat"].stop(within=15.0) == 0
    finally:
        broker.thaw()
    house.start("beat")


def test_everything_in_one_process_on_redis_killed_with_a_command_in_hand_takes_it_again(tmp_path, sandbox, namespace):
    """And a Redis that forgets everything costs what was in Redis only."""
    ledger, first, second = tmp_path / "ledger.db", *(sandbox.task(steps=[{"participants": [JANE]}])["id"] for _ in range(2))
    up = [sys.executable, "-m", "worker", "up"]
    with (
        or_skip("Redis", servers.PrivateRedis) as server,
        House(
            tmp_path,
            sandbox.workiva_url,
            namespace=namespace,
            ledger=f"sqlite:///{ledger}",
            broker=server.url,
            more={"BROKER__VISIBILITY_TIMEOUT": "1s"},
        ) as house,
    ):
        house.run("up", up).ready("ready.", 60)
        with closing(sqlite3.connect(ledger, isolation_level=None)) as lock:
            lock.execute("begin exclusive")
            house.publish(approve("killed", first))
            link = RedisLink(server.url)
            until(lambda: link.client.hlen(f"{namespace}.commands.unacked"), what="the command to be in its hands")
            house["up"].kill()
        assert house.state("killed") == ""
        house.run("up", up).ready("ready.", 60)
        house.ends("killed", "applied")
        until(lambda: not link.client.exists(f"{namespace}.commands.unacked"), what="the acknowledgement")
        link.close()

        server.restart()
        done = house.approvals("submit", "--task", second, "--action", "approve", "--step", "1", "--wait", "60")
        assert done.returncode == 0, done.stderr
        house.publish(approve("after", second))  # it comes too late, and is told so
        house.ends("after", "superseded", 60)
        assert [(e["step"], e["user"]) for task in (first, second) for e in sandbox.journal(task)] == [(1, JANE)] * 2
        assert house["up"].stop(within=15.0) == 0


@pytest.mark.parametrize("url", ["amqp://guest@127.0.0.1:1//", "redis://127.0.0.1:1/0"])
def test_everything_in_one_process_ends_when_it_is_told_to_though_the_broker_never_came(tmp_path, sandbox, namespace, url):
    """And leaves nothing in its folder but the ledger: the beat in it is ours, which has no file, and waits for no broker."""
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with House(tmp_path, sandbox.workiva_url, namespace=namespace, ledger=ledger, broker=url) as house:
        house.run("up", [sys.executable, "-m", "worker", "up"]).ready("Cannot connect to", 60)
        house["up"].ready("rings.lost", 60)
        assert house["up"].stop(within=15.0) == 0
        assert not list(tmp_path.glob("celerybeat*"))
