"""One connection to the broker, whatever it is."""

from collections.abc import Callable, Sequence
from typing import Protocol

from kombu import Exchange, Queue

from worker.broker.address import VISIBILITY, is_redis
from worker.broker.message import Fate, Incoming, Outgoing


class BrokerLost(ConnectionError):
    """The connection to the broker is of no use any more, or never was. What was on its way may have arrived."""


class Link(Protocol):
    """Of one thread. Connected when made. Every method raises `BrokerLost`, but for `close` and `drop`."""

    def declare(self, *things: Queue | Exchange) -> None:
        """Make what is not there yet. Raises where it is there with other arguments; the broker's answer names them."""

    def depth(self, queue: str) -> int:
        """How many messages are ready."""

    def consume(self, queue: str, prefetch: int, take: Callable[[Incoming], None]) -> None:
        """Hand every message to *take* while `drain` is called; at most *prefetch* of them are without an `ack`."""

    def get(self, queue: str) -> Incoming | None:
        """One message, or None. It is ours until `ack`, or until the link is closed."""

    def drain(self, timeout: float) -> bool:
        """Take in what comes next; False if nothing came in time."""

    def beat(self) -> None:
        """Show that we live and still hold what we took. To be called more often than every half of the heartbeat."""

    def ack(self, messages: Sequence[Incoming]) -> None:
        """These are done with."""

    def look(self) -> None:
        """Raise where the connection turns out to be gone; nothing is sent that could be in doubt."""

    def open(self, *things: Queue | Exchange, within: float) -> None:
        """Make ready to publish: declare *things*, within so many seconds."""

    def publish(self, batch: Sequence[Outgoing], fates: list[Fate], end: float) -> None:
        """Publish all of *batch* until *end* (monotonic) and write into *fates* what became of each. What is unknown stays as it is."""

    def risks(self) -> list[tuple[str, str]]:
        """What this broker, as it is set up, may lose: in words, and what to do about it."""

    def close(self) -> None:
        """Leave; what is without an `ack` goes back to its queue."""

    def drop(self) -> None:
        """Leave without a word: the other side may not be listening any more."""


def connect(url: str, *, patience: float = 10.0, heartbeat: float = 0, visibility: float = VISIBILITY) -> Link:
    """A link to the broker at *url*. No wait of it is longer than *patience*. Raises `BrokerLost`.

    *heartbeat*: seconds, where the broker has such a thing. *visibility*: seconds, where it has none: as often must `beat` be called.
    """
    if is_redis(url):
        from worker.broker.redis import RedisLink  # its client takes a third of a second to import

        return RedisLink(url, patience=patience, visibility=visibility)
    from worker.broker.amqp import KombuLink

    return KombuLink(url, patience=patience, heartbeat=heartbeat)
