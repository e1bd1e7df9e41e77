"""RabbitMQ by the driver's own channel, and kombu's broker in memory, which imitates it.

kombu waits for each confirm by itself, hangs with a frozen broker or says "sent", and decompresses what it was not asked to. So on RabbitMQ
messages are sent and taken on py-amqp's channel: a whole batch, then the confirms as they come.
"""

import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import wraps
from itertools import takewhile
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from worker.broker.address import is_amqp, transport_options
from worker.broker.link import BrokerLost
from worker.broker.message import Fate, Incoming, Outgoing

_P = ParamSpec("_P")
_R = TypeVar("_R")

_LOST: tuple[type[Exception], ...] = (OSError, AMQPError, OperationalError, AttributeError, struct.error)
"""What a lost broker looks like below us. py-amqp answers a connection closed under it with AttributeError now and then, and a cut frame
with struct.error."""


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


class KombuLink:
    """A link to `amqp://`, `amqps://` or `memory://`."""

    @_translated
    def __init__(self, url: str, *, patience: float = 10.0, heartbeat: float = 0) -> None:
        self.amqp = is_amqp(url)
        # The handshake has up to four waits (connect, start, tune, open): together they must not outlast the patience.
        options = transport_options(url, patience=patience)
        self._client = Connection(url, connect_timeout=patience / 4, heartbeat=heartbeat, transport_options=options)
        self._transport: Any = self._client.transport
        self._raw: Any = self._transport.establish_connection()
        self._held: dict[Any, None] = {}
        self._settled = 0
        self._sent = 0
        try:
            with self._within(patience / 4):
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

    def look(self) -> None:
        """Raise where the connection turns out to be gone; nothing is sent that could be in doubt."""
        while self.amqp and self.drain(0):
            pass

    @_translated
    def open(self, *things: Queue | Exchange, within: float) -> None:
        """Make ready to publish: declare *things*, and have each message that is sent from now on confirmed."""
        with self._within(within):
            self.declare(*things)
            if self.amqp:
                self.channel.confirm_select()

    @_translated
    def publish(self, batch: Sequence[Outgoing], fates: list[Fate], end: float) -> None:
        """Publish all of *batch* until *end* (monotonic) and write into *fates* what became of each. What is unknown stays as it is."""
        if self.amqp:
            self._confirmed(batch, fates, end)
        else:
            self._stored(batch, fates)

    def _confirmed(self, batch: Sequence[Outgoing], fates: list[Fate], end: float) -> None:
        """Send all, then wait for the rest of the confirms. The broker numbers what it confirms from 1, per channel."""
        began = monotonic()
        channel, first = self.channel, self._sent + 1
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
            left = max(end - monotonic(), 0.001)
            channel.basic_publish(_prepared(channel, one), one.exchange, one.routing_key, mandatory=True, timeout=left)
        while waiting:
            left = end - monotonic()
            if left <= 0 or not self.drain(left):
                raise BrokerLost(f"the broker did not confirm {len(waiting)} of {len(batch)} within {end - began:.0f} s")

    def _stored(self, batch: Sequence[Outgoing], fates: list[Fate]) -> None:
        """Publish in memory, where a publish that returns is stored. What no queue is bound for kombu drops without a word: we ask."""
        for number, one in enumerate(batch):
            bound = not one.exchange or self._bound(one.exchange, one.routing_key)
            if bound:
                self.channel.basic_publish(_prepared(self.channel, one), one.exchange, one.routing_key)
            fates[number] = Fate.CONFIRMED if bound else Fate.UNBOUND

    def _bound(self, exchange: str, routing_key: str) -> bool:
        table = self.channel.get_table(exchange)
        return bool(self.channel.typeof(exchange).lookup(table, exchange, routing_key, None))

    def risks(self) -> list[tuple[str, str]]:
        """None: what RabbitMQ confirmed is on disk."""
        return []

    def close(self) -> None:
        """Leave; what is without an `ack` goes back to its queue."""
        if self._raw is None:
            return
        if not self.amqp:
            # kombu's memory transport would lose them, and puts them back in reverse order where it is asked to.
            for tag in self._held:
                self.channel.basic_reject(tag, requeue=True)
            self._held.clear()
        with suppress(*_LOST), self._within(2.0):
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

    def _within(self, seconds: float) -> AbstractContextManager[Any]:
        """Every wait inside is at most so long, also where py-amqp would wait for ever."""
        self._alive()
        return self._raw.transport.having_timeout(max(seconds, 0.001)) if self.amqp else nullcontext()

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
