"""What a way out for events is. The ledger keeps what has left and what has not; a sink only tries."""

from collections.abc import Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import httpx

from worker.core.delivery import Delivery, Left, Policy, Result
from worker.core.outcomes import Fact

__all__ = ["Called", "Delivery", "Left", "Published", "Result", "Sink"]


class Sink(Protocol):
    """A way out. Never raises for what the receiver or the network does: that is a `Result`."""

    @property
    def name(self) -> str:
        """What it is called in settings, events and logs."""
        ...

    @property
    def room(self) -> int:
        """Deliveries under way at a time."""
        ...

    @property
    def deadline(self) -> float:
        """Seconds after which it is known of a delivery under way that nothing is known."""
        ...

    @property
    def policy(self) -> Policy:
        """How it tries again."""
        ...

    def close(self) -> None:
        """Give its connections back."""
        ...


@runtime_checkable
class Published(Sink, Protocol):
    """A way out that takes many deliveries at once."""

    def publish(self, batch: Sequence[Delivery]) -> Mapping[str, Result]:
        """Try every delivery of *batch*; event id -> what became of it. An id left out counts as failed."""
        ...


@runtime_checkable
class Called(Sink, Protocol):
    """A way out by one HTTP request for each delivery, which the engine carries."""

    def deliver(self, delivery: Delivery) -> Generator[httpx.Request, httpx.Response, Result]:
        """One try, as a connector's flow."""
        ...

    def unanswered(self, fact: Fact) -> Result:
        """What became of a try without an answer."""
        ...
