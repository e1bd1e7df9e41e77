"""Redis as a broker: nothing is lost between its list and a commit, everything is bounded, and kombu is on the other side."""

import json
from time import monotonic
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue

from tests import servers
from tests.conftest import or_skip
from worker.broker import RINGS_KEPT, BrokerLost, Fate, Incoming, Names, Outgoing, Publisher, address, connect, transport_options
from worker.broker.redis import SEPARATOR, RedisLink
from worker.intake import dead_list
from worker.rings import message
from worker.settings import Url

NEVER = 60.0
"""Seconds that no test waits for: what is handed out stays handed out."""


@pytest.fixture
def link(redis_url):
    made = RedisLink(redis_url, visibility=NEVER)
    yield made
    made.close()


@pytest.fixture
def names(namespace):
    return Names(namespace)


def put(link, queue, *bodies):
    for body in bodies:
        link.publish([Outgoing(queue, body)], [Fate.FAILED], monotonic() + 5)


def taken(link, queue, prefetch=100):
    """All that can be had now."""
    found: list[Incoming] = []
    link.consume(queue, prefetch, found.append)
    link.drain(0)
    return found


class TestHandedOut:
    def test_what_a_killed_taker_held_comes_again_in_its_order_after_its_time(self, redis_url, link, names):
        put(link, names.commands, *(b"%d" % n for n in range(20)))
        killed = RedisLink(redis_url, visibility=0.3)
        assert [m.body for m in taken(killed, names.commands, 15)] == [b"%d" % n for n in range(15)]
        killed.client.close()  # as after kill -9: it says nothing

        assert [m.body for m in taken(link, names.commands, 3)] == [b"15", b"16", b"17"], "not before"
        again: list[Incoming] = []
        link.consume(names.commands, 100, again.append)
        end = monotonic() + 10
        while len(again) < 17 and monotonic() < end:
            link.drain(0.1)
        assert [m.body for m in again if m.body not in {b"18", b"19"}] == [b"%d" % n for n in range(15)]

    def test_whoever_still_works_on_it_keeps_it(self, redis_url, link, names):
        put(link, names.commands, b"slow")
        slow = RedisLink(redis_url, visibility=0.8)
        held = taken(slow, names.commands)
        end = monotonic() + 1.2
        while monotonic() < end:
            slow.beat()
            assert not link.drain(0)
            assert taken(link, names.commands) == []
        slow.ack(held)
        slow.close()
        assert link.depth(names.commands) == 0
        assert link.client.keys(f"{names.commands}*") == [], "nothing is left behind"

    def test_two_takers_never_hold_the_same_and_a_full_one_takes_no_more(self, redis_url, link, names):
        put(link, names.commands, *(b"%d" % n for n in range(10)))
        other = RedisLink(redis_url)
        first, second = taken(link, names.commands, 6), taken(other, names.commands, 6)
        assert [len(first), len(second)] == [6, 4]
        assert {m.body for m in first} | {m.body for m in second} == {b"%d" % n for n in range(10)}
        put(link, names.commands, b"more")
        assert not link.drain(0.01)
        link.ack(first)
        assert link.drain(0)
        other.close()

    def test_what_kills_its_taker_each_time_ends_among_the_dead_and_one_that_leaves_in_good_order_does_not_count(
        self, redis_url, link, names, namespace
    ):
        put(link, names.commands, b"poison")
        for _ in range(5):
            leaving = RedisLink(redis_url)
            leaving.declare(names.commands_queue(2))
            assert taken(leaving, names.commands)
            leaving.close()
        for _ in range(2):
            dying = RedisLink(redis_url, visibility=0.0)
            dying.declare(names.commands_queue(2))
            assert taken(dying, names.commands)
            dying.drop()
        link.declare(names.commands_queue(2))
        assert taken(link, names.commands) == []
        (dead,) = dead_list(redis_url, namespace)
        assert dead.reason == "given up by the broker: handed out too often"
        assert link.client.keys(f"{names.commands}*") == []

    def test_an_acknowledgement_after_redis_forgot_everything_takes_nobody_elses_message(self, namespace):
        names = Names(namespace)
        with or_skip("Redis of our own", servers.PrivateRedis) as server:
            old = RedisLink(server.url)
            put(old, names.commands, b"old")
            held = taken(old, names.commands)
            server.restart()
            new = RedisLink(server.url)
            put(new, names.commands, b"new")
            assert taken(new, names.commands)
            old.ack(held)
            new.close()
            again = RedisLink(server.url)
            assert [m.body for m in taken(again, names.commands)] == [b"new"]
            again.close()
            old.close()


class TestOnTheOtherSide:
    def test_a_program_without_kombu_pushes_a_json_object_and_no_element_ends_the_consumer(self, link, names):
        elements = [
            b'{"key": "po-1"}',
            b"\xff\xfe",
            b"[1]",
            b'{"body": 5, "properties": {}}',
            b'{"properties": {"body_encoding": "base64"}}',
            b"",
        ]
        link.client.lpush(names.commands, *elements)
        found = taken(link, names.commands)
        assert [m.body for m in found] == elements
        assert {m.properties["content_type"] for m in found} == {"application/json"}

    def test_kombu_reads_what_we_publish_and_we_what_it_does_by_priority(self, redis_url, link, names):
        about = {"content_type": "application/json", "message_id": "m1", "correlation_id": "c1"}
        link.publish([Outgoing(names.commands, b'{"n": 1}', headers={"h": 1}, properties=about)], [Fate.FAILED], monotonic() + 5)
        with Connection(redis_url) as connection:
            message = connection.default_channel.basic_get(names.commands)
            assert message is not None
            assert (message.payload, message.headers, message.properties["message_id"]) == ({"n": 1}, {"h": 1}, "m1")
            message.ack()
            producer = connection.Producer(serializer="json")
            for priority in (9, 4, 0):
                producer.publish(
                    {"p": priority}, exchange="", routing_key=names.commands, priority=priority, message_id="k", headers={"x": "y"}
                )
        assert link.depth(names.commands) == 3
        found = taken(link, names.commands)
        assert [json.loads(m.body) for m in found] == [{"p": 0}, {"p": 4}, {"p": 9}]
        assert (found[0].headers, found[0].properties["message_id"], found[0].properties["content_encoding"]) == ({"x": "y"}, "k", "utf-8")

    @pytest.mark.parametrize(
        ("pattern", "wanted"), [("#", True), ("*.finance.step.*", True), ("workiva.#", True), ("*.tower.#", False), ("*", False)]
    )
    def test_a_binding_that_kombu_wrote_down_is_ours_and_the_other_way_round(self, redis_url, link, names, pattern, wanted):
        queue = Queue(f"{names.namespace}.erp", Exchange(names.events, type="topic"), routing_key=pattern)
        with Connection(redis_url) as connection:
            queue(connection.default_channel).declare()
        key = f"_kombu.binding.{names.events}"
        by_kombu = link.client.smembers(key)
        link.client.delete(key)
        link.declare(queue)
        assert link.client.smembers(key) == by_kombu
        publisher = Publisher(redis_url)
        (fate,) = publisher.publish([Outgoing("workiva.finance.step.completed", b"{}", names.events)])
        publisher.close()
        assert fate is (Fate.CONFIRMED if wanted else Fate.UNBOUND)
        assert link.depth(queue.name) == int(wanted)

    def test_who_is_bound_as_another_kind_or_with_a_broken_pattern_does_not_count(self, redis_url, link, names):
        with Connection(redis_url) as connection:
            Queue("q", Exchange(names.events, type="fanout"))(connection.default_channel).declare()
        link.client.sadd(f"_kombu.binding.{names.events}", SEPARATOR.join(("x", "(", "q")))
        publisher = Publisher(redis_url)
        assert publisher.publish([Outgoing("workiva.finance.step.completed", b"{}", names.events)]) == [Fate.UNBOUND]
        publisher.close()


class TestBounded:
    def test_of_rings_that_nobody_hears_the_newest_are_kept(self, redis_url, link, names):
        publisher = Publisher(redis_url)
        for start in range(0, 2 * RINGS_KEPT, RINGS_KEPT // 2):
            publisher.publish([message(names, "submit", f"a{n}") for n in range(start, start + RINGS_KEPT // 2)])
        publisher.close()
        found = taken(link, names.rings, 2 * RINGS_KEPT)
        assert [json.loads(m.body)[0] for m in found] == [[f"a{n}"] for n in range(RINGS_KEPT, 2 * RINGS_KEPT)]

    def test_a_frozen_redis_holds_up_nobody_and_is_used_again_when_it_thaws(self, namespace):
        names = Names(namespace)
        with or_skip("Redis of our own", servers.private_redis) as server:
            publisher = Publisher(server.url, deadline=1.0, declares=[names.listener("erp")])
            event, command = Outgoing("workiva.a.b", b"x" * 100_000, names.events), Outgoing(names.commands, b"{}")
            assert publisher.publish([event, command]) == [Fate.CONFIRMED] * 2
            link = RedisLink(server.url, patience=0.5)
            server.freeze()
            try:
                # The first meets a connection that was there before, the second has to make one.
                for batch in ([event] * 50, [command]):
                    start = monotonic()
                    assert publisher.publish(batch) == [Fate.FAILED] * len(batch)
                    assert "Timeout" in publisher.trouble
                    assert monotonic() - start < 2.5
                link.consume(names.commands, 1, lambda _: None)
                for call in (lambda: link.drain(0), lambda: link.get(names.dead), lambda: link.depth(names.dead), link.look):
                    start = monotonic()
                    with pytest.raises(BrokerLost, match="Timeout"):
                        call()
                    assert monotonic() - start < 2.0
                start = monotonic()
                with pytest.raises(BrokerLost, match="Timeout"):
                    connect(server.url, patience=0.5)
                assert monotonic() - start < 2.0
            finally:
                server.thaw()
            assert publisher.publish([event]) == [Fate.CONFIRMED]
            link.close()
            publisher.close()

    def test_a_full_redis_stores_all_of_a_batch_or_nothing(self, namespace):
        names = Names(namespace)
        with or_skip("Redis of our own", servers.private_redis) as server:
            publisher = Publisher(server.url)
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxmemory", "1")
                assert publisher.publish([Outgoing(names.commands, b"{}")] * 3) == [Fate.FAILED] * 3
                assert "maxmemory" in publisher.trouble
                client.config_set("maxmemory", "0")
                assert client.llen(names.commands) == 0
            publisher.close()


def test_what_a_redis_may_lose_is_told(namespace):
    with or_skip("Redis of our own", servers.PrivateRedis) as server, redis.Redis.from_url(server.url) as client:
        link = RedisLink(server.url)
        assert [what.split(":")[0] for what, _ in link.risks()] == ["Redis keeps commands and events that wait there in memory only"]
        client.config_set("appendonly", "yes")
        client.config_set("maxmemory", "100mb")
        assert link.risks() == []
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert [todo for _, todo in link.risks()] == ["set `maxmemory-policy noeviction`"]
        client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
        assert link.risks() == []
        link.close()


class TestAddress:
    def test_a_password_is_in_no_error(self, namespace):
        with or_skip("Redis of our own", servers.private_redis) as server:
            with redis.Redis.from_url(server.url) as client:
                client.acl_setuser("jane", enabled=True, passwords=["+hunter2"], keys=["*"], commands=["+@all"])
                client.acl_setuser("default", enabled=False)
            right, wrong = (server.url.replace("//", f"//jane:{password}@") for password in ("hunter2", "hunter3"))
            with pytest.raises(BrokerLost) as refused:
                connect(wrong)
            assert "WRONGPASS" in str(refused.value) or "invalid username-password" in str(refused.value)
            assert "hunter" not in str(refused.value)
            assert Url(right).redacted == right.replace("hunter2", "********")
            connect(right).close()

    def test_a_user_with_the_rights_of_the_handbook_and_no_others_can_work(self, namespace):
        """docs/operating.md, The broker."""
        names = Names(namespace)
        with or_skip("Redis of our own", servers.private_redis) as server:
            rights = ["+@read", "+@write", "+@scripting", "+@connection", "+@transaction", "+time", "+info"]
            with redis.Redis.from_url(server.url) as client:
                client.acl_setuser("jane", enabled=True, passwords=["+pw"], keys=[f"{namespace}.*", "_kombu.binding.*"])
                client.execute_command("ACL", "SETUSER", "jane", *rights)
            url = server.url.replace("//", "//jane:pw@")
            publisher = Publisher(url, declares=[names.listener("erp")])
            assert (
                publisher.publish([Outgoing(names.rings, b"[]", newest=5), Outgoing("a.b.c", b"{}", names.events)]) == [Fate.CONFIRMED] * 2
            )
            publisher.close()
            jane = RedisLink(url, visibility=0.0)
            jane.declare(names.commands_queue())
            jane.ack(taken(jane, f"{namespace}.erp"))
            assert jane.risks() == []
            jane.close()
            # What Celery's worker does.
            with Connection(url, transport_options=transport_options(url)) as connection:
                heard: list[Any] = []
                with connection.Consumer(names.rings_queue(), on_message=heard.append):
                    connection.drain_events(timeout=5)
                assert [m.body for m in heard] == [b"[]"]

    def test_a_certificate_is_verified_unless_it_is_said_that_it_is_not(self):
        assert address("rediss://h/1") == "rediss://h/1?ssl_cert_reqs=required"
        assert address("rediss://h?ssl_ca_certs=/ca") == "rediss://h?ssl_ca_certs=/ca&ssl_cert_reqs=required"
        assert address("rediss://h?ssl_cert_reqs=none") == "rediss://h?ssl_cert_reqs=none"
        assert address("redis://h/1") == "redis://h/1"
