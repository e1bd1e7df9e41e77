"""Commands in: nothing is acknowledged before its commit, one bad message holds back nobody, and a ledger that is away is no poison."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pytest
from kombu import Connection, Queue

from tests import servers
from tests.conftest import forget, or_skip
from worker.broker import HEARTBEAT, BrokerLost, Fate, Incoming, Names, Outgoing, Publisher, connect
from worker.broker.amqp import KombuLink
from worker.flows.accept import Accepted, Conflict, Existing, Rejected
from worker.intake import Intake, dead_list, dead_requeue
from worker.ledger import Ledger
from worker.wire import Door


class Away(Exception):
    """The ledger cannot be reached."""


class Killed(BaseException):
    """kill -9, as far as this can be had in one process."""


class Book:
    """A ledger as intake sees it: accepts by key, tells what it is told, and fails as scripted."""

    def __init__(self):
        self.kept, self.told, self.calls, self.script = {}, [], [], []

    def accept(self, commands):
        self.calls.append([c.key for c in commands])
        if self.script and (wrong := self.script.pop(0)):
            raise wrong
        if any(c.comment == "poison" for c in commands):
            raise ValueError("value too long for type character varying(64)")
        return [self._one(c) for c in commands]

    def _one(self, command):
        if command.account != "finance":
            return Rejected(f"unknown account {command.account!r}: finance")
        if command.step is None and command.pin is None:
            return Rejected("say pin or step: the task has 2 steps")
        known = self.kept.setdefault(command.key, command.digest())
        if known != command.digest():
            return Conflict("id", command.key, f"key {command.key!r} was used with other content by id")
        return Accepted("id", command.key, "pending") if self.calls.count(command.key) == 0 else Existing("id", command.key, "pending", 0.0)

    def reject(self, messages):
        self.told += messages


def never(_stop, _seconds):
    """Wait for nothing, and go on."""
    return False


@pytest.fixture(params=["rabbitmq", "redis", "memory"])
def url(request):
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def intake(url, namespace, book):
    made = Intake(url, Door(namespace, 2048), book.accept, book.reject, transient=(Away,), batch=100, wait=never)
    made.open()
    yield made
    made.close()
    forget(url, f"{namespace}.commands", f"{namespace}.dead")


@pytest.fixture
def send(url, namespace):
    publisher = Publisher(url)

    def publish(*bodies, content_type="application/json", headers=None, **properties):
        batch = [
            Outgoing(
                f"{namespace}.commands",
                body if isinstance(body, bytes) else json.dumps(body).encode(),
                headers=headers or {},
                properties={"content_type": content_type, **properties},
            )
            for body in bodies
        ]
        assert {Fate.CONFIRMED} == set(publisher.publish(batch))

    yield publish
    publisher.close()


def command(key, **other):
    return {"key": key, "account": "finance", "as": "jane", "task": "T1", "action": "approve", "step": 1, **other}


def holds(url, namespace, *expected):
    """Whether so many commands are ready and so many are dead, soon: a quorum queue takes messages back behind the caller's back."""
    link, names, end = connect(url), Names(namespace), monotonic() + 10
    try:
        while (found := (link.depth(names.commands), link.depth(names.dead))) != expected and monotonic() < end:
            pass
    finally:
        link.close()
    return found == expected or pytest.fail(f"{found} instead of {expected}")


def drain(intake):
    """Handle all there is."""
    done = 0
    while n := intake.run_once(0.5):
        done += n
    return done


def test_each_bad_message_dies_alone_with_its_reason(url, namespace, intake, book, send):
    send(command("good-1"))
    send(b"{", message_id="m-malformed", correlation_id="c-7", headers={"tenant": "x", "n": 3}, expiration="60000")
    send(command("big", comment="x" * 3000))
    send(command("elsewhere", account="nowhere"))
    send(pickle.dumps(command("pickled")), content_type="application/x-python-serialize")
    send(command("unpinned", step=None), command("good-2"), command("good-2"), command("good-2", action="reject"))

    assert drain(intake) == 9

    assert set(book.kept) == {"good-1", "good-2"}
    assert holds(url, namespace, 0, 6)
    dead = dead_list(url, namespace)
    reasons = [
        "not JSON",
        "bytes are too many",
        "unknown account 'nowhere'",
        "never unpickled",
        "say pin or step",
        "used with other content",
    ]
    assert all(expected in found.reason for expected, found in zip(reasons, dead, strict=True)), [d.reason for d in dead]
    assert [t.reason for t in book.told] == [d.reason for d in dead]
    assert [t.key for t in book.told] == [None, None, "elsewhere", None, "unpinned", "good-2"]
    assert all(d.rejected_at.endswith("Z") for d in dead)
    assert holds(url, namespace, 0, 6), "looking at the dead takes none away"

    link = connect(url)
    first = link.get(f"{namespace}.dead")
    link.close()
    assert first
    assert first.body == b"{"
    assert {"tenant": "x", "n": 3}.items() <= first.headers.items()
    assert {"message_id": "m-malformed", "correlation_id": "c-7"}.items() <= first.properties.items()
    assert not first.properties.get("expiration"), "the dead do not vanish"


def test_what_celery_sends_comes_in_by_the_same_door(url, namespace, intake, book):
    with Connection(url) as connection, connection.Producer() as producer:
        producer.publish(
            [[], command("c-1"), {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
            serializer="json",
            routing_key=f"{namespace}.commands",
            headers={"lang": "py", "task": "approvals.accept", "id": "1"},
        )
    assert drain(intake) == 1
    assert set(book.kept) == {"c-1"}


def test_killed_between_the_commit_and_the_acknowledgement_it_comes_again(url, namespace, book, intake, send):
    def accept_and_die(commands):
        book.accept(commands)
        raise Killed

    intake.close()
    send(*[command(f"k{n}") for n in range(5)])
    dying = Intake(url, Door(namespace), accept_and_die, book.reject, transient=(Away,), wait=never)
    with pytest.raises(Killed):
        dying.run_once(5)
    assert set(book.kept) == {f"k{n}" for n in range(5)}
    dying.close()

    intake.open()
    assert drain(intake) == 5
    assert book.calls == [[f"k{n}" for n in range(5)]] * 2
    assert holds(url, namespace, 0, 0)
    assert book.told == []


def test_a_ledger_that_is_away_marks_nobody_and_the_same_batch_is_tried_again(url, namespace, intake, book, send):
    book.script = [Away(), Away(), Away()]
    send(*[command(f"k{n}") for n in range(5)])
    assert drain(intake) == 5
    assert book.calls[0] == book.calls[1] == book.calls[2] == book.calls[3] == [f"k{n}" for n in range(5)]
    assert holds(url, namespace, 0, 0)


def test_stopped_while_the_ledger_is_away_nothing_is_acknowledged(url, namespace, intake, book, send):
    stop, waits = threading.Event(), []

    def wait(stop_, seconds):
        waits.append(seconds)
        if len(waits) == 6:
            stop_.set()
        return stop_.is_set()

    intake.close()
    send(command("k"), b"bad")
    book.script = [Away()] * 10
    stopped = Intake(url, Door(namespace), book.accept, book.reject, transient=(Away,), wait=wait)
    stopped.run(stop)
    assert waits == [0.25, 0.5, 1, 2, 4, 5]
    assert max(waits) < HEARTBEAT / 2
    assert holds(url, namespace, 2, 0)
    assert book.told == []


def test_one_poison_among_many_is_found_by_halving(url, namespace, intake, book, send):
    send(*[command(f"k{n}", comment="poison" if n == 41 else None) for n in range(64)])
    assert drain(intake) == 64
    assert set(book.kept) == {f"k{n}" for n in range(64) if n != 41}
    assert holds(url, namespace, 0, 1)
    (dead,) = dead_list(url, namespace)
    assert "the ledger cannot take it: ValueError: value too long" in dead.reason
    assert len(book.calls) == 1 + 2 * 6


def test_an_error_of_telling_a_rejection_is_loud_and_loses_nothing(url, namespace, intake, book, send):
    def broken(_messages):
        raise RuntimeError("a bug")

    intake._reject = broken
    send(b"bad")
    with pytest.raises(RuntimeError, match="a bug"):
        intake.run_once(5)
    intake.close()
    assert holds(url, namespace, 1, 0)


def test_the_dead_are_given_back_and_a_rejection_after_it_is_another_one(url, namespace, intake, book, send):
    send(b"bad", command("late", account="later"), command("k", account="nowhere"))
    assert drain(intake) == 3
    assert dead_requeue(url, namespace, lambda d: "nowhere" not in d.reason) == 2
    assert drain(intake) == 2
    assert holds(url, namespace, 0, 3)
    assert len(book.told) == 5
    assert len({t.evidence for t in book.told}) == 5
    intake.close()  # else it has taken it already
    assert dead_requeue(url, namespace, limit=1) == 1
    assert holds(url, namespace, 1, 2)


def test_a_dead_list_is_bounded_and_keeps_all(url, namespace, intake, send):
    send(*[b"bad"] * 5)
    drain(intake)
    assert len(dead_list(url, namespace, 2)) == 2
    assert holds(url, namespace, 0, 5)


def test_headers_that_would_route_a_copy_elsewhere_are_left_out(rabbitmq_url, namespace, book, send, url, intake):
    send(b"bad", headers={"CC": [f"{namespace}.dead"]}) if url == "memory://" else send(b"bad", headers={"BCC": ["nowhere"]})
    assert drain(intake) == 1
    assert holds(url, namespace, 0, 1)


def test_a_connection_lost_while_consuming_is_made_again_and_nothing_is_lost(rabbitmq_url, namespace, book):
    stop = threading.Event()

    def accept(commands):
        done = book.accept(commands)
        if len(book.calls) == 1:
            assert isinstance(taker._link, KombuLink)
            taker._link._raw.sock.shutdown(2)  # the acknowledgement of this batch never arrives
        elif sum(map(len, book.calls[1:])) >= 50:
            stop.set()
        return done

    taker = Intake(rabbitmq_url, Door(namespace), accept, book.reject, transient=(Away,), wait=never)
    taker.open()
    publisher = Publisher(rabbitmq_url)
    publisher.publish(
        [
            Outgoing(f"{namespace}.commands", json.dumps(command(f"k{n}")).encode(), properties={"content_type": "application/json"})
            for n in range(50)
        ]
    )
    taker.run(stop)
    assert set(book.kept) == {f"k{n}" for n in range(50)}
    assert holds(rabbitmq_url, namespace, 0, 0)
    publisher.close()
    forget(rabbitmq_url, f"{namespace}.commands", f"{namespace}.dead")


def test_what_kills_its_taker_each_time_is_put_among_the_dead_by_the_broker(rabbitmq_url, namespace):
    names, link = Names(namespace), connect(rabbitmq_url)
    link.declare(names.dead_queue(), names.commands_queue(delivery_limit=2))
    publisher = Publisher(rabbitmq_url)
    publisher.publish([Outgoing(names.commands, b"x")])
    for _ in range(3):
        taker = connect(rabbitmq_url)
        taker.consume(names.commands, 1, lambda m: None)
        assert taker.drain(5)
        taker.drop()
    arrived = connect(rabbitmq_url)
    got: list[Incoming] = []
    arrived.consume(names.dead, 1, got.append)
    assert arrived.drain(5)
    arrived.close()
    (dead,) = dead_list(rabbitmq_url, namespace)
    assert dead.reason == "given up by the broker: delivery_limit"
    link.close()
    publisher.close()
    forget(rabbitmq_url, names.commands, names.dead)


@pytest.mark.slow
def test_a_broker_that_restarts_loses_no_command(namespace, book):
    def accept(commands):
        done = book.accept(commands)
        arrived.set() if "last" in book.kept else None
        return done

    def outgoing(key):
        return Outgoing(f"{namespace}.commands", json.dumps(command(key)).encode(), properties={"content_type": "application/json"})

    stop, arrived = threading.Event(), threading.Event()
    with or_skip("RabbitMQ of our own", servers.private_rabbitmq) as server:
        intake = Intake(server.url, Door(namespace), accept, book.reject, transient=(Away,), patience=4)
        intake.open()
        intake.close()
        publisher = Publisher(server.url)
        assert {Fate.CONFIRMED} == set(publisher.publish([outgoing(f"k{n}") for n in range(10)]))
        worker = threading.Thread(target=intake.run, args=[stop])
        server.stop()
        worker.start()
        server.start()
        assert {Fate.CONFIRMED} == set(publisher.publish([outgoing("last")]))
        assert arrived.wait(30)
        stop.set()
        worker.join(20)
        assert not worker.is_alive()
        assert set(book.kept) == {f"k{n}" for n in range(10)} | {"last"}
        assert holds(server.url, namespace, 0, 0)
        publisher.close()


def test_a_queue_that_is_there_with_other_arguments_is_told_in_the_brokers_words(rabbitmq_url, namespace):
    names, link = Names(namespace), connect(rabbitmq_url)
    link.declare(Queue(names.dead, durable=True))
    with pytest.raises(BrokerLost, match="inequivalent arg"):
        dead_list(rabbitmq_url, namespace)
    link.close()
    forget(rabbitmq_url, names.dead)


@pytest.mark.system
def test_the_process_takes_commands_and_leaves_in_good_order_when_told(rabbitmq_url, namespace, tmp_path):
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("APPROVALS_")},
        "APPROVALS_NAMESPACE": namespace,
        "APPROVALS_BROKER__URL": rabbitmq_url,
        "APPROVALS_LEDGER__URL": f"sqlite:///{tmp_path}/approvals.db",
    }
    names, link, publisher = Names(namespace), connect(rabbitmq_url), Publisher(rabbitmq_url)
    link.declare(names.dead_queue(), names.commands_queue())
    publisher.publish([Outgoing(names.commands, json.dumps(command("k")).encode(), properties={"content_type": "application/json"})])
    arrived: list[Incoming] = []
    link.consume(names.dead, 1, arrived.append)
    root = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-m", "worker.intake"], cwd=tmp_path, env={**env, "PYTHONPATH": str(root)})
    try:
        assert link.drain(30), "no settings name an account, so the command is refused"
        assert "unknown account 'finance'" in arrived[0].headers["x-reason"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        ledger = Ledger(f"sqlite:///{tmp_path}/approvals.db")
        assert [e["type"] for _, e in ledger.queries.events()] == ["command.rejected"]
        ledger.close()
    finally:
        process.kill()
        process.wait()
        link.close()
        publisher.close()
        forget(rabbitmq_url, names.commands, names.dead)
