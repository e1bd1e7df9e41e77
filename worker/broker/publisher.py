"""Batches out, within a deadline."""

import threading
from collections.abc import Sequence
from time import monotonic

from kombu import Exchange, Queue

from worker.broker.link import BrokerLost, Link, connect
from worker.broker.message import Fate, Outgoing


class Publisher:
    """Gives batches to the broker within a deadline. Threads take turns. Never raises for what the broker or the network does.

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
                self._ready().publish(batch, fates, end)
            except BrokerLost as exc:
                self.trouble = str(exc)
                if self._link:
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
        if self._link:
            try:
                self._link.look()
            except BrokerLost:
                self._link.drop()
                self._link = None
        if self._link is None:
            link = connect(self._url, patience=self._deadline)
            try:
                link.open(*self._declares, within=self._deadline / 2)
            except BrokerLost:
                link.drop()
                raise
            self._link = link
        return self._link
