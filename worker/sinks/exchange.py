"""The broker's topic exchange as a way out: CloudEvents JSON, persistent, confirmed.

The failure: an event that no queue is bound for is dropped by a broker without a word, and one that was "sent" to a frozen broker was not.
The guarantee: `DELIVERED` means that the broker has taken it for at least one queue; `UNBOUND`, that there was none; anything else is
`FAILED` and is repeated with the same id, so a receiver may see an event twice and never misses one. A batch never takes longer than its
deadline.
"""

from collections.abc import Sequence

import orjson
from kombu import Exchange as Topic

from worker.broker import Fate, Names, Outgoing, Publisher
from worker.core.delivery import Policy
from worker.sinks.base import Delivery, Left, Result

CONTENT_TYPE = "application/cloudevents+json"

_LEFT = {Fate.CONFIRMED: Left.DELIVERED, Fate.UNBOUND: Left.UNBOUND, Fate.FAILED: Left.FAILED}


class Exchange:
    """Publishes to *exchange*, by default the namespace's `.events`. Connects when first used, and again after a failure."""

    room = 1000
    """Enough to fill the pipeline of a broker."""

    policy = Policy()

    def __init__(self, name: str, url: str, namespace: str, *, exchange: str = "", deadline: float = 10.0) -> None:
        self.name, self.deadline = name, deadline
        self._exchange = exchange or Names(namespace).events
        self._publisher = Publisher(url, deadline=deadline, declares=[Topic(self._exchange, type="topic", durable=True)])

    def publish(self, batch: Sequence[Delivery]) -> dict[str, Result]:
        """Try every delivery of *batch*; event id -> what became of it."""
        fates = self._publisher.publish([self._outgoing(d) for d in batch])
        trouble = self._publisher.trouble or "the broker refused it"
        detail = {Fate.CONFIRMED: "", Fate.UNBOUND: f"no queue is bound to {self._exchange} for it", Fate.FAILED: trouble}
        return {d.event: Result(_LEFT[fate], detail[fate]) for d, fate in zip(batch, fates, strict=True)}

    def close(self) -> None:
        """Leave the broker."""
        self._publisher.close()

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        body = orjson.dumps(delivery.body)
        about = {"content_type": CONTENT_TYPE, "content_encoding": "utf-8", "message_id": delivery.event}
        return Outgoing(delivery.routing_key, body, self._exchange, properties=about)
