"""What a way out for events is: one method. The ledger keeps what has left and what has not; a sink only tries."""

from collections.abc import Sequence
from typing import Protocol

from worker.core.delivery import Delivery, Left, Result

__all__ = ["Delivery", "Left", "Result", "Sink"]


class Sink(Protocol):
    """A way out. Never raises for what the receiver or the network does: that is a `Result`."""

    @property
    def name(self) -> str:
        """What it is called in settings, events and logs."""
        ...

    def publish(self, batch: Sequence[Delivery]) -> dict[str, Result]:
        """Try every delivery of *batch*; event id -> what became of it. An id left out counts as failed."""
        ...

    def close(self) -> None:
        """Give its connections back."""
        ...
