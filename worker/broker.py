"""What lies on the broker under our namespace, and the two ways to use it: a `Link` to take messages, a `Publisher` to give them.

The failures. A publish without a confirm is a hope: the broker may be frozen, full, or gone, and the client says "sent". A confirm awaited
message by message costs a round trip each. And a client that waits without an end hangs with the broker. So a `Publisher` sends a whole
batch, collects the confirms as they come, and has one deadline for all of it; what was not confirmed by then has *failed*, which means that
nobody knows.

The limits: the deadline is kept by time-outs on each wait, so a broker that answers every step of the handshake slowly can stretch it; a
name that no resolver answers for is the resolver's to time out; on `memory://` messages live and die with the process.
"""

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from itertools import takewhile
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

_P = ParamSpec("_P")
_R = TypeVar("_R")


class BrokerLost(ConnectionError):
    """The connection to the broker is of no use any more, or never was. What was on its way may have arrived."""


_LOST: tuple[type[Exception], ...] = (OSError, AMQPError, OperationalError, AttributeError, struct.error)
"""What that looks like below us. py-amqp answers a connection closed under it with AttributeError now and then, and a cut frame with
struct.error."""

DELIVERY_LIMIT = 100
"""A message that was handed out this often and came back each time kills whoever takes it, and goes to the dead. Every clean restart of an
intake hands back what it holds, so the number must be far above what a day of deployments does."""

NO_LIMIT = 1_000_000
"""For the dead: looking at them hands them out and back, and RabbitMQ 4 would drop one for good after 20 looks. It has no "never" that 3.10
understands too."""

RING_TTL = 30_000
"""Milliseconds, by the broker's own clock, after which a ring that nobody heard is dropped: by then a tick has rung again."""

HEARTBEAT = 30
"""Seconds. A connection that a firewall dropped without a word is found after two of them."""

KEPT = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id", "priority")
"""The properties that a copy keeps. Not `expiration`: a dead message must not vanish. Not `user_id`: the broker refuses another's."""


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that we use on a broker begins with the namespace: staging and production may share one."""

    namespace: str

    @property
    def commands(self) -> str:
        """The queue that commands come in by."""
        return f"{self.namespace}.commands"

    @property
    def dead(self) -> str:
        """The queue of those that could not be accepted."""
        return f"{self.namespace}.dead"

    @property
    def events(self) -> str:
        """The topic exchange that events go out by."""
        return f"{self.namespace}.events"

    @property
    def rings(self) -> str:
        """The queue of Celery's rings."""
        return f"{self.namespace}.rings"

    def commands_queue(self, delivery_limit: int = DELIVERY_LIMIT) -> Queue:
        """Replicated where the broker can; what comes back too often goes to the dead, and does not leave here before it is there."""
        return Queue(
            self.commands,
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": delivery_limit,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dead,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",  # the strategy asks for it; without a length limit it never rejects
            },
        )

    def dead_queue(self) -> Queue:
        """Where nothing is taken away but by a person."""
        return Queue(self.dead, durable=True, queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT})

    def events_exchange(self) -> Exchange:
        """Durable; each receiver binds a queue of its own."""
        return Exchange(self.events, type="topic", durable=True)

    def listener(self, name: str, pattern: str = "#") -> Queue:
        """A queue of a receiver's own, bound to the events whose routing keys match; it goes when its receiver does."""
        return Queue(f"{self.namespace}.{name}", self.events_exchange(), routing_key=pattern, auto_delete=True, durable=True)

    def rings_queue(self) -> Queue:
        """A ring may be lost, doubled or late without harm: a plain durable queue (transient ones end with RabbitMQ 4.3)."""
        return Queue(self.rings, durable=True, queue_arguments={"x-queue-type": "classic", "x-message-ttl": RING_TTL})


def is_amqp(url: str) -> bool:
    """Whether the broker confirms what it took. The others are kombu's imitations: there a publish that returns has been stored."""
    return url.startswith(("amqp://", "amqps://"))


def transport_options(url: str, patience: float = 10.0) -> dict[str, Any]:
    """What keeps each transport from waiting without an end. Celery may use the same."""
    if is_amqp(url):
        return {"read_timeout": patience, "write_timeout": patience}
    if url.startswith(("redis://", "rediss://")):
        return {
            "visibility_timeout": 600,  # above any time that a batch is held
            "socket_timeout": patience + 5,  # must be longer than the wait of a BRPOP
            "socket_connect_timeout": patience / 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "unacked_restore_interval": 5,  # by default a killed worker's messages come back after 90 s
            "unacked_restore_throttle": 1,
        }
    return {"polling_interval": 0.01}  # kombu's default of 1 s gives 31 messages a second


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as the wire gave it. Nothing was decoded, decompressed or unpickled."""

    body: bytes
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    tag: Any = None

    def kept(self) -> dict[str, Any]:
        """The properties that a copy of it has."""
        return {name: self.properties[name] for name in KEPT if self.properties.get(name) is not None}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published. Without an exchange the routing key is a queue's name."""

    routing_key: str
    body: bytes
    exchange: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


class Fate(StrEnum):
    """What became of it. `FAILED`: nobody knows; it may have arrived, or may yet."""

    CONFIRMED = "confirmed"
    UNBOUND = "unbound"
    FAILED = "failed"


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    @wraps(method)
    def translating(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except BrokerLost:
            raise
        except _LOST as exc:
            raise BrokerLost(f"{type(exc).__name__}: {exc}") from exc

    return translating


class Link:
    """One connection and one channel, alike on every transport. Opened when made; of one thread. Raises `BrokerLost`."""

    @_translated
    def __init__(self, url: str, *, patience: float = 10.0, heartbeat: float = 0) -> None:
        self.amqp = is_amqp(url)
        # The handshake has up to four waits (connect, start, tune, open): together they must not outlast the patience.
        options = transport_options(url, patience)
        self._client = Connection(url, connect_timeout=patience / 4, heartbeat=heartbeat, transport_options=options)
        self._transport: Any = self._client.transport
        self._raw: Any = self._transport.establish_connection()
        self._held: dict[Any, None] = {}
        self._settled = 0
        try:
            with self.within(patience / 4):
                self.channel: Any = self._transport.create_channel(self._raw)
        except _LOST:
            self.drop()
            raise
        # py-amqp would turn the body into text where a content encoding says so.
        self.channel.auto_decode = False

    @_translated
    def declare(self, *things: Queue | Exchange) -> None:
        """Make what is not there yet. Raises where it is there with other arguments; the broker's answer names them."""
        for thing in things:
            thing(self.channel).declare()

    @_translated
    def depth(self, queue: str) -> int:
        """How many messages are ready."""
        return int(self.channel.queue_declare(queue, passive=True).message_count)

    @_translated
    def consume(self, queue: str, prefetch: int, take: Callable[[Incoming], None]) -> None:
        """Hand every message to *take* while `drain` is called; at most *prefetch* of them are without an `ack`."""
        self.channel.basic_qos(0, prefetch, False)
        self.channel.basic_consume(queue, no_ack=False, callback=lambda raw: take(self._incoming(raw)), consumer_tag=f"{queue}.intake")

    @_translated
    def get(self, queue: str) -> Incoming | None:
        """One message, or None. It is ours until `ack`, or until the link is closed."""
        raw = self.channel.basic_get(queue, no_ack=False)
        return None if raw is None else self._incoming(raw)

    @_translated
    def drain(self, timeout: float) -> bool:
        """Take in what comes next; False if nothing came in time."""
        self._alive()
        try:
            self._transport.drain_events(self._raw, timeout=timeout)
        except TimeoutError:
            return False
        return True

    @_translated
    def beat(self) -> None:
        """Show that we live, and look whether the other side does. To be called more often than every half of the heartbeat."""
        self._alive()
        self._transport.heartbeat_check(self._raw)

    @_translated
    def ack(self, messages: Sequence[Incoming]) -> None:
        """These are done with. As few frames as it takes: what a quorum queue has not yet worked off when we leave, it forgets.

        Measured on 3.10: of 50 acknowledgements one by one and a close after them, 33 took effect.
        """
        tags = [message.tag for message in messages]
        if self.amqp:
            upto = self._settled
            for tag in tags:
                upto += tag == upto + 1
            if upto > self._settled:
                self.channel.basic_ack(upto, multiple=True)
                tags = [tag for tag in tags if tag > upto]
                self._settled = upto
        for tag in tags:
            self.channel.basic_ack(tag)
            self._held.pop(tag, None)

    @_translated
    def confirm(self) -> None:
        """Have each message that is sent from now on confirmed."""
        self.channel.confirm_select()

    @_translated
    def send(self, one: "Outgoing", within: float) -> None:
        """Hand *one* to the network; whether it arrived is the confirm's to say."""
        message = _prepared(self.channel, one)
        if self.amqp:
            self.channel.basic_publish(message, one.exchange, one.routing_key, mandatory=True, timeout=max(within, 0.001))
        else:
            self.channel.basic_publish(message, one.exchange, one.routing_key)

    @_translated
    def bound(self, exchange: str, routing_key: str) -> bool:
        """Whether any queue wants it. Only where the broker is kombu's: RabbitMQ tells by returning the message."""
        table = self.channel.get_table(exchange)
        return bool(self.channel.typeof(exchange).lookup(table, exchange, routing_key, None))

    def within(self, seconds: float) -> AbstractContextManager[Any]:
        """Every wait inside is at most so long, also where py-amqp would wait for ever."""
        self._alive()
        return self._raw.transport.having_timeout(max(seconds, 0.001)) if self.amqp else nullcontext()

    def close(self) -> None:
        """Leave; what is without an `ack` goes back to its queue."""
        if self._raw is None:
            return
        if not self.amqp:
            # kombu's memory transport would lose them, and puts them back in reverse order where it is asked to.
            for tag in self._held:
                self.channel.basic_reject(tag, requeue=True)
            self._held.clear()
        with suppress(*_LOST), self.within(2.0):
            self._transport.close_connection(self._raw)
        self.drop()

    def drop(self) -> None:
        """Leave without a word: the other side may not be listening any more."""
        raw, self._raw = self._raw, None
        if raw is None or not self.amqp:
            return
        with suppress(*_LOST):
            if raw.connected:
                raw.sock.settimeout(0.2)  # closing a TLS connection says goodbye first
            raw.collect()

    def _alive(self) -> None:
        """py-amqp opens a lost connection again, without its channels, when it is merely looked at."""
        if self._raw is None or (self.amqp and not self._raw.connected):
            raise BrokerLost("the connection to the broker is closed")

    def _incoming(self, raw: Any) -> Incoming:
        properties = dict(raw.properties)
        if self.amqp:
            headers = properties.pop("application_headers", None) or {}
        else:
            headers = raw.headers
            properties.update(content_type=raw.content_type, content_encoding=raw.content_encoding)
            self._held[raw.delivery_tag] = None
        body = raw.body or b""
        return Incoming(body.encode() if isinstance(body, str) else bytes(body), headers, properties, raw.delivery_tag)


class Publisher:
    """Gives batches to the broker, confirmed, within a deadline. Threads take turns. Never raises for what the broker or the network does.

    After a failure the connection is dropped: late confirms of an old batch can never be read as those of a new one.
    """

    def __init__(self, url: str, *, deadline: float = 10.0, declares: Sequence[Queue | Exchange] = ()) -> None:
        self._url, self._deadline, self._declares = url, deadline, declares
        self._lock = threading.Lock()
        self._link: Link | None = None
        self.trouble = ""
        """Why the last batch failed, for people."""

    def publish(self, batch: Sequence[Outgoing]) -> list[Fate]:
        """Publish all of *batch*; what became of each, in its order. Those of one routing key arrive in the order given."""
        with self._lock:
            fates = [Fate.FAILED] * len(batch)
            if not batch:
                return fates
            end = monotonic() + self._deadline
            self.trouble = ""
            try:
                link = self._ready()
                if link.amqp:
                    self._confirmed(link, batch, fates, end)
                else:
                    _stored(link, batch, fates)
            except BrokerLost as exc:
                self.trouble = str(exc)
            if self.trouble and self._link:
                self._link.drop()
                self._link = None
            return fates

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            if self._link:
                self._link.close()
                self._link = None

    def _ready(self) -> Link:
        """The connection, new where the old one turns out to be gone. Looked at before anything is sent, when nothing can be in doubt."""
        if self._link and self._link.amqp:
            try:
                while self._link.drain(0):
                    pass
            except BrokerLost:
                self._link.drop()
                self._link = None
        if self._link is None:
            link = Link(self._url, patience=self._deadline)
            try:
                with link.within(self._deadline / 2):
                    link.declare(*self._declares)
                    if link.amqp:
                        link.confirm()
            except BrokerLost:
                link.drop()
                raise
            self._link, self._sent = link, 0
        return self._link

    def _confirmed(self, link: Link, batch: Sequence[Outgoing], fates: list[Fate], end: float) -> None:
        """Send all, then wait for the rest of the confirms. The broker numbers what it confirms from 1, per channel."""
        channel, first = link.channel, self._sent + 1
        waiting = dict.fromkeys(range(first, first + len(batch)))
        returned: set[tuple[str, str, Any]] = set()

        def settle(tag: int, multiple: bool, fate: Fate) -> None:
            for number in list(takewhile(lambda n: n <= tag, waiting)) if multiple else [tag]:
                if number in waiting:
                    del waiting[number]
                    one = batch[number - first]
                    # A message that no queue wanted is returned, and confirmed after it.
                    unbound = fate is Fate.CONFIRMED and (one.exchange, one.routing_key, one.properties.get("message_id")) in returned
                    fates[number - first] = Fate.UNBOUND if unbound else fate

        def on_return(_why: Any, exchange: str, routing_key: str, message: Any) -> None:
            returned.add((exchange, routing_key, message.properties.get("message_id")))

        handlers = {
            "basic_ack": lambda tag, multiple: settle(tag, multiple, Fate.CONFIRMED),
            "basic_nack": lambda tag, multiple: settle(tag, multiple, Fate.FAILED),
            "basic_return": on_return,
        }
        for event, handler in handlers.items():
            channel.events[event] = {handler}
        for one in batch:
            self._sent += 1
            link.send(one, end - monotonic())
        while waiting:
            left = end - monotonic()
            if left <= 0 or not link.drain(left):
                self.trouble = f"the broker did not confirm {len(waiting)} of {len(batch)} within {self._deadline:g} s"
                return


def _prepared(channel: Any, one: Outgoing) -> Any:
    rest = dict(one.properties)
    rest["delivery_mode"] = 2  # persistent
    return channel.prepare_message(
        one.body,
        priority=rest.pop("priority", None),
        content_type=rest.pop("content_type", None),
        content_encoding=rest.pop("content_encoding", None),
        headers=dict(one.headers),
        properties=rest,
    )


def _stored(link: Link, batch: Sequence[Outgoing], fates: list[Fate]) -> None:
    """Publish where a publish that returns is stored. kombu drops what no queue is bound for without a word: so we ask first."""
    for number, one in enumerate(batch):
        bound = not one.exchange or link.bound(one.exchange, one.routing_key)
        if bound:
            link.send(one, 0)
        fates[number] = Fate.CONFIRMED if bound else Fate.UNBOUND
