"""What lies on a broker under our namespace, and how it is declared."""

from dataclasses import dataclass

from kombu import Exchange, Queue

DELIVERY_LIMIT = 100
"""A message that was handed out this often and came back each time kills whoever takes it, and goes to the dead. Every clean restart of an
intake hands back what it holds, so the number must be far above what a day of deployments does."""

NO_LIMIT = 1_000_000
"""For the dead: looking at them hands them out and back, and RabbitMQ 4 would drop one for good after 20 looks. It has no "never" that 3.10
understands too."""

RING_TTL = 30_000
"""Milliseconds, by the broker's own clock, after which a ring that nobody heard is dropped: by then a tick has rung again."""

RINGS_KEPT = 1000
"""Rings that wait on a broker which knows no time to live (Redis): the newest so many. Nobody hears older ones, a tick rings again."""


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
