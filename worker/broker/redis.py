"""Redis as a broker, in kombu's layout: lists for queues, a set of bindings for an exchange, a JSON envelope around each message. Any kombu
producer and consumer, and Celery, are on the other side.

The failures. kombu takes a message with BRPOP and notes it as handed out afterwards: a process killed in between loses it, and so does a
connection that was cut while it waited. An element that is no envelope ends the consumer. What no queue is bound for is dropped without a
word. And by default every wait is without an end.

So here a message leaves its list and is noted as handed out in one step, inside Redis; what its taker does not answer for in time goes
back by Redis's own clock, and what came back too often goes to the dead; an element that is no envelope is a message like any other;
bindings are looked up before an event is published; and no wait is longer than half the patience.

The limits. A publish that returned is in Redis's memory. What a restart without an append-only file, its last second with one, or a
failover to a replica forgets is lost. One server: no Cluster, no Sentinel.
"""

import json
import re
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
from kombu import Connection, Exchange, Queue
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from worker.broker.address import VISIBILITY, address
from worker.broker.link import BrokerLost
from worker.broker.message import Fate, Incoming, Outgoing
from worker.broker.names import NO_LIMIT

POLL = 0.05
"""Seconds between two looks into an empty queue. Waiting inside Redis (BRPOP) would take a message out before it is noted as handed out."""

SEPARATOR = "\x06\x16"
"""Between the parts of kombu's names."""

PRIORITIES = ("", f"{SEPARATOR}3", f"{SEPARATOR}6", f"{SEPARATOR}9")
"""A queue is four lists, read in this order. kombu sorts priorities from 0 to 9 into them."""

_TAKE = """
local unacked, deadlines, returns, dead, now = KEYS[1], KEYS[2], KEYS[3], KEYS[4], redis.call('TIME')
now = now[1] + now[2] / 1e6
for _, tag in ipairs(redis.call('ZRANGE', deadlines, now, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1000)) do
  local raw = redis.call('HGET', unacked, tag)
  redis.call('ZREM', deadlines, tag)
  redis.call('HDEL', unacked, tag)
  if raw then
    local times = redis.call('HINCRBY', returns, redis.sha1hex(raw), 1)
    if times < tonumber(ARGV[4]) then
      redis.call('RPUSH', KEYS[5], raw)
    else
      redis.call('HDEL', returns, redis.sha1hex(raw))
      redis.call('LPUSH', dead, raw)
    end
  end
end
local taken, most = {}, tonumber(ARGV[2])
for i = 5, #KEYS do
  while #taken < 2 * most do
    local raw = redis.call('RPOP', KEYS[i])
    if not raw then break end
    local tag = string.format('%s:%08d', ARGV[1], #taken)
    redis.call('HSET', unacked, tag, raw)
    redis.call('ZADD', deadlines, now + ARGV[3], tag)
    taken[#taken + 1] = tag
    taken[#taken + 1] = raw
  end
end
return taken
"""
"""Keys: what is handed out, until when, how often it came back, the dead, the queue's lists. Arguments: what begins the tags, how many, for
how long, how often each may be handed out. What was not answered for goes back first, to the end that is read next, in its order."""

_ACK = """
for _, tag in ipairs(ARGV) do
  local raw = redis.call('HGET', KEYS[1], tag)
  if raw then redis.call('HDEL', KEYS[3], redis.sha1hex(raw)) end
  redis.call('HDEL', KEYS[1], tag)
  redis.call('ZREM', KEYS[2], tag)
end
"""

_GIVE_BACK = """
for _, tag in ipairs(ARGV) do
  local raw = redis.call('HGET', KEYS[1], tag)
  redis.call('HDEL', KEYS[1], tag)
  if redis.call('ZREM', KEYS[2], tag) == 1 and raw then redis.call('RPUSH', KEYS[5], raw) end
end
"""

_HOLD = """
local now = redis.call('TIME')
for i = 2, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now[1] + now[2] / 1e6 + ARGV[1], ARGV[i]) end
"""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, RedisError) as exc:
        if isinstance(exc, BrokerLost):
            raise
        raise BrokerLost(f"{type(exc).__name__}: {exc}") from exc


class RedisLink:
    """A link to `redis://` or `rediss://`. `client` may connect again by itself: every call stands for itself, and no tag is used twice."""

    def __init__(self, url: str, *, patience: float = 10.0, visibility: float = VISIBILITY) -> None:
        self._visibility = visibility
        self._held: dict[str, str] = {}
        self._renewed = time.monotonic()
        self._queue, self._prefetch = "", 0
        self._take: Callable[[Incoming], None] = lambda _: None
        self._limits: dict[str, tuple[str, int]] = {}
        to = Connection(address(url))
        self.client = redis.Redis(
            host=to.hostname or "127.0.0.1",
            port=to.port or 6379,
            username=to.userid,
            password=to.password,
            db=int((to.virtual_host or "").strip("/") or 0),
            socket_timeout=patience / 2,
            socket_connect_timeout=patience / 2,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            ssl=bool(to.ssl),
            **(to.ssl or {}),
        )
        self._scripts = {name: self.client.register_script(text) for name, text in _SCRIPTS.items()}
        try:
            self.look()
        except BrokerLost:
            self.drop()
            raise

    def declare(self, *things: Queue | Exchange) -> None:
        """A binding is written down; a queue is there when something lies in it. Its delivery limit is ours to keep."""
        with _translated():
            queues: list[Any] = [thing for thing in things if isinstance(thing, Queue)]
            for queue in queues:
                if queue.exchange.name:
                    member = SEPARATOR.join((queue.routing_key, _regex(queue.routing_key), queue.name))
                    self.client.sadd(_bindings(queue.exchange.name), member)
                arguments = queue.queue_arguments or {}
                if dead := arguments.get("x-dead-letter-routing-key"):
                    self._limits[queue.name] = (dead, arguments["x-delivery-limit"])

    def depth(self, queue: str) -> int:
        """How many messages are ready."""
        with _translated(), self.client.pipeline(transaction=False) as pipe:
            for key in _lists(queue):
                pipe.llen(key)
            return sum(pipe.execute())

    def consume(self, queue: str, prefetch: int, take: Callable[[Incoming], None]) -> None:
        """Hand every message to *take* while `drain` is called; at most *prefetch* of them are without an `ack`."""
        self._queue, self._prefetch, self._take = queue, prefetch, take

    def get(self, queue: str) -> Incoming | None:
        """One message, or None. It is ours until `ack`, or until the link is closed."""
        return next(iter(self._taken(queue, 1)), None)

    def drain(self, timeout: float) -> bool:
        """Take in what is there, or comes within *timeout*; False if nothing came."""
        end = time.monotonic() + timeout
        while True:
            found = self._taken(self._queue, self._prefetch - len(self._held))
            for message in found:
                self._take(message)
            left = end - time.monotonic()
            if found or left <= 0:
                return bool(found)
            time.sleep(min(POLL, left))

    def beat(self) -> None:
        """Go on holding what we took."""
        if self._held and time.monotonic() - self._renewed > self._visibility / 4:
            with _translated():
                for queue in set(self._held.values()):
                    self._run("hold", queue, [self._visibility, *(tag for tag, of in self._held.items() if of == queue)])
            self._renewed = time.monotonic()

    def ack(self, messages: Sequence[Incoming]) -> None:
        """These are done with."""
        tags = [m.tag for m in messages]
        with _translated():
            for queue in {self._held[tag] for tag in tags}:
                self._run("ack", queue, [tag for tag in tags if self._held[tag] == queue])
        for tag in tags:
            del self._held[tag]

    def look(self) -> None:
        """Raise where the connection turns out to be gone."""
        with _translated():
            self.client.ping()

    def open(self, *things: Queue | Exchange, within: float) -> None:  # noqa: ARG002  every wait has its limit already
        """Make ready to publish."""
        self.declare(*things)

    def publish(self, batch: Sequence[Outgoing], fates: list[Fate], end: float) -> None:  # noqa: ARG002  as above
        """All of *batch* or nothing is stored. An event that no queue is bound for is not."""
        with _translated():
            bound = {name: self._bound(name) for name in {one.exchange for one in batch if one.exchange}}
            with self.client.pipeline() as pipe:
                known: list[Fate] = []
                for one in batch:
                    queues = (
                        {q for pattern, q in bound[one.exchange] if pattern.match(one.routing_key)} if one.exchange else {one.routing_key}
                    )
                    for queue in queues:
                        pipe.lpush(_lists(queue)[_step(one.properties)], _envelope(one))
                        if one.newest:
                            pipe.ltrim(queue, 0, one.newest - 1)
                    known.append(Fate.CONFIRMED if queues else Fate.UNBOUND)
                pipe.execute()
            fates[:] = known

    def risks(self) -> list[tuple[str, str]]:
        """What this Redis, as it is set up, may lose. Nothing is known where we may not ask."""
        info: Any
        with _translated():
            try:
                info = self.client.info()
            except ResponseError:
                return []
        found = []
        if not info.get("aof_enabled"):
            what = "Redis keeps commands and events that wait there in memory only: a restart loses them"
            found.append((what, "set `appendonly yes` and `appendfsync always`, or use RabbitMQ"))
        policy = info.get("maxmemory_policy", "noeviction")
        if info.get("maxmemory") and policy != "noeviction":
            found.append((f"Redis may throw queues away when its memory is full ({policy})", "set `maxmemory-policy noeviction`"))
        return found

    def close(self) -> None:
        """Leave; what is without an `ack` goes back to where it was."""
        with suppress(BrokerLost), _translated():
            for queue in set(self._held.values()):
                self._run("give_back", queue, [tag for tag, of in reversed(self._held.items()) if of == queue])
        self.drop()

    def drop(self) -> None:
        """Leave without a word."""
        self._held.clear()
        with suppress(OSError, RedisError):
            self.client.close()

    def _taken(self, queue: str, most: int) -> list[Incoming]:
        if most <= 0:
            return []
        _, limit = self._limits.get(queue, (queue, NO_LIMIT))
        with _translated():
            found = self._run("take", queue, [uuid.uuid4().hex, most, self._visibility, limit])
        pairs = [(tag.decode(), raw) for tag, raw in zip(found[::2], found[1::2], strict=True)]
        if not self._held:
            self._renewed = time.monotonic()
        self._held |= dict.fromkeys((tag for tag, _ in pairs), queue)
        return [_incoming(tag, raw) for tag, raw in pairs]

    def _run(self, script: str, queue: str, arguments: Sequence[Any]) -> Any:
        dead, _ = self._limits.get(queue, (queue, NO_LIMIT))
        keys = [f"{queue}.unacked", f"{queue}.unacked_until", f"{queue}.returns", dead, *_lists(queue)]
        return self._scripts[script](keys=keys, args=arguments)

    def _bound(self, exchange: str) -> list[tuple[re.Pattern[str], str]]:
        """The patterns of the queues that are bound to a topic exchange."""
        found = []
        members: Any = self.client.smembers(_bindings(exchange))
        for member in members:
            *_, pattern, queue = member.decode().split(SEPARATOR)
            if pattern:  # none: bound as another kind of exchange, which a message to a topic does not reach
                with suppress(re.error):
                    found.append((re.compile(pattern), queue))
        return found


_SCRIPTS = {"take": _TAKE, "ack": _ACK, "give_back": _GIVE_BACK, "hold": _HOLD}


def _lists(queue: str) -> list[str]:
    return [queue + step for step in PRIORITIES]


def _bindings(exchange: str) -> str:
    return f"_kombu.binding.{exchange}"


def _regex(routing_key: str) -> str:
    """The pattern that kombu writes down for a topic binding."""
    words = {"*": r"[^\.]+", "#": r".*?"}
    return "^{}$".format(r"\.".join(words.get(word, re.escape(word)) for word in routing_key.split(".")))


def _step(properties: Mapping[str, Any]) -> int:
    priority = properties.get("priority")
    return min(max(priority, 0), 9) // 3 if isinstance(priority, int) else 0


def _envelope(one: Outgoing) -> str:
    rest = dict(one.properties)
    return json.dumps(
        {
            "body": b64encode(one.body).decode(),
            "content-type": rest.pop("content_type", None),
            "content-encoding": rest.pop("content_encoding", None),
            "headers": dict(one.headers),
            "properties": {
                "priority": 0,
                **rest,
                "delivery_mode": 2,
                "delivery_info": {"exchange": one.exchange, "routing_key": one.routing_key},
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def _incoming(tag: str, raw: bytes) -> Incoming:
    """What a kombu producer wrapped, or else the element as it stands, taken for JSON."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = json.loads(raw)
        properties = dict(found["properties"])
        encoding, body = properties.pop("body_encoding", None), found["body"]
        if isinstance(body, str):
            whole = b64decode(body, validate=True) if encoding == "base64" else body.encode()
            properties.update(content_type=found.get("content-type"), content_encoding=found.get("content-encoding"))
            return Incoming(whole, dict(found.get("headers") or {}), properties, tag)
    return Incoming(raw, {}, {"content_type": "application/json"}, tag)
