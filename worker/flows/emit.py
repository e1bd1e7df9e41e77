"""Let events out of one sink, in order for each task (C3): lease lanes, take the oldest of each task, try them, write down what became of
them.

At most one event of a task is under way at a time. The next one goes as soon as it has left, whatever the other tasks wait for: a slow
answer holds back its own task. An outcome that nobody knows counts as failed, and the event leaves again with the same id (C4).
"""

import os
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, Self

import httpx
import structlog

from worker.core.delivery import Delivery, Left, Result, Standing, pace_of, speaks
from worker.core.events import Event, sink_disabled
from worker.core.outcomes import Fact
from worker.engine import Engine, Errand
from worker.flows import Runtime
from worker.ledger.outbox import Due
from worker.sinks.base import Called, Published, Sink

log = structlog.get_logger()

START = 10.0
"""Seconds after which a relay starts no delivery under the lease that it has: what is under way then is known a deadline later."""

MARGIN = 5.0
"""Seconds beyond that for which a lane stays with a relay that was killed: so late may its events be. A living one does not lose a lane
under way, which would repeat events."""

BATCH = 1000
"""Deliveries read at once: enough to fill the pipeline of a broker, few enough to be relayed well within the lease."""

RECORD = 0.5
"""Seconds until what has left is written down, at most: what is not would leave again after a kill. A commit for each answer would cost
more than the answers do."""


class Way(AbstractContextManager["Way"], Protocol):
    """A sink that is open: deliveries go in, results come out as they come. Whoever leaves it leaves what is under way."""

    def put(self, delivery: Delivery) -> None:
        """Start a delivery."""
        ...

    def take(self, timeout: float) -> dict[str, Result]:
        """Wait for results, at most *timeout* seconds where that can be had: event id -> what became of it."""
        ...


class _Batches:
    """A sink that takes many at once: what was put since goes out together when results are asked for."""

    def __init__(self, sink: Published) -> None:
        self._sink = sink
        self._batch: list[Delivery] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def put(self, delivery: Delivery) -> None:
        self._batch.append(delivery)

    def take(self, timeout: float) -> dict[str, Result]:
        del timeout
        batch, self._batch = self._batch, []
        return {d.event: Result(Left.FAILED, "no answer") for d in batch} | dict(self._sink.publish(batch))


class _Calls:
    """A sink that is called: an errand for each delivery, whose result tells how long it took."""

    def __init__(self, sink: Called, engine: Engine) -> None:
        self._sink, self._bag = sink, engine.bag()

    def __enter__(self) -> Self:
        self._bag.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bag.__exit__(*exc)

    def put(self, delivery: Delivery) -> None:
        began = time.monotonic()

        def timed(result: Result) -> Result:
            return replace(result, took=time.monotonic() - began)

        def flow() -> Generator[httpx.Request, httpx.Response, Result]:
            return timed((yield from self._sink.deliver(delivery)))

        def unanswered(fact: Fact) -> Result:
            return timed(self._sink.unanswered(fact))

        self._bag.put(delivery.event, Errand(flow(), None, self._sink.deadline, lost=unanswered, unsent=unanswered))

    def take(self, timeout: float) -> dict[str, Result]:
        return dict(self._bag.take(timeout))


def opened(rt: Runtime, sink: Sink) -> Way:
    """The way out by *sink*."""
    if isinstance(sink, Called):
        return _Calls(sink, rt.outside[sink.name])
    assert isinstance(sink, Published)
    return _Batches(sink)


def emit(rt: Runtime, name: str) -> bool:
    """Let due events out of sink *name* for a turn; returns whether some may be left. Raises LedgerDown."""
    sink = rt.sinks.get(name)
    if sink is None:
        log.warning("emit.unknown_sink", sink=name)
        return False
    if not rt.ledger.outbox.ready(name, sink.policy):
        return False  # the tick rings when something is due, each second
    holder = f"{os.uname().nodename}:{os.getpid()}:{threading.get_ident()}"
    try:
        with opened(rt, sink) as way:
            return _Relay(rt, sink, way, holder).run()
    finally:
        rt.ledger.outbox.release(name, holder)


def attempt(rt: Runtime, name: str, delivery: Delivery) -> Result:
    """Try *delivery* now, by itself, whatever the sink's standing is. Nothing is written down."""
    sink = rt.sinks[name]
    with opened(rt, sink) as way:
        way.put(delivery)
        return way.take(sink.deadline + MARGIN).get(delivery.event, Result(Left.FAILED, "no answer"))


class _Relay:
    """One turn of one sink. `lines`: what is due, a line for each task; `under_way`: event id -> what was started, one of each task."""

    def __init__(self, rt: Runtime, sink: Sink, way: Way, holder: str) -> None:
        self._rt, self._sink, self._way, self._holder = rt, sink, way, holder
        self._lines: dict[tuple[str, str], deque[Due]] = {}
        self._under_way: dict[str, Due] = {}
        self._busy: set[tuple[str, str]] = set()
        self._results: dict[int, tuple[int, Result]] = {}
        self._read = self._recorded = float("-inf")
        self._failing = False

    def run(self) -> bool:
        """Until nothing is due, or the turn is over; returns whether some may be left."""
        end = time.monotonic() + self._rt.turn
        while True:
            over = self._rt.stopping.is_set() or time.monotonic() > end
            if over:
                self._lines.clear()
            elif self._hungry():
                self._refill()
            started = self._start()
            if self._under_way:
                self._settle(self._way.take(RECORD))
                continue
            self._record()
            if over or not started:  # nothing is due, or its rate allows none now: the tick rings when there is
                return over

    def _heads(self) -> list[Due]:
        """The oldest of each task that has none under way, as far as there is room."""
        return [line[0] for key, line in self._lines.items() if key not in self._busy][: self._sink.room - len(self._under_way)]

    def _hungry(self) -> bool:
        """Whether what is due should be read: nothing is left to do, or there is room for more since a while, or the lease ends soon."""
        age = time.monotonic() - self._read
        free = self._sink.room - len(self._under_way) - len(self._heads())
        return not (self._lines or self._under_way) or (free > 0 and age > RECORD) or age > START

    def _refill(self) -> None:
        """Read what is due, and renew the lease that it is relayed under."""
        self._record()
        self._read = time.monotonic()
        outbox, name = self._rt.ledger.outbox, self._sink.name
        lanes = outbox.lease(name, self._holder, START + self._sink.deadline + MARGIN)
        self._failing = self._sink.policy.schedule is not None and outbox.standing(name).failing is not None
        self._lines = {}
        for due in outbox.due(name, lanes, self._sink.room if self._failing else BATCH) if lanes else ():
            if _key(due) not in self._busy:
                self._lines.setdefault(_key(due), deque()).append(due)

    def _start(self) -> int:
        """Start what there is room for, and what the rate allows; returns how many."""
        heads = self._heads()
        rate = pace_of(self._sink.policy, failing=self._failing)
        if heads and rate is not None:
            heads = heads[: self._rt.ledger.outbox.allow(self._sink.name, len(heads), rate)]
        for due in heads:
            self._busy.add(_key(due))
            self._under_way[due.delivery.event] = due
            self._lines[_key(due)].popleft()
            self._way.put(due.delivery)
        return len(heads)

    def _settle(self, left: dict[str, Result]) -> None:
        """What has left makes way for the next of its task; a task whose event failed waits, alone."""
        for event, result in left.items():
            due = self._under_way.pop(event)
            self._busy.discard(_key(due))
            self._results[due.position] = (due.tries, result)
            self._failing = self._failing and result.left is not Left.DELIVERED
            if result.left in {Left.FAILED, Left.DEAD} or not self._lines.get(_key(due)):
                self._lines.pop(_key(due), None)  # what stands behind a dead one is read anew, with its mark
        if time.monotonic() - self._recorded > RECORD or any(speaks(r) for r in left.values()):
            self._record()

    def _record(self) -> None:
        """Write down what has left. Where that speaks of the sink itself, what may still leave is read anew."""
        self._recorded = time.monotonic()
        name, results, self._results = self._sink.name, self._results, {}
        if not results:
            return
        told = self._rt.ledger.outbox.record(name, results, self._rt.dice(), self._sink.policy, self._off)
        for left_as in Left:
            if count := sum(1 for _, r in results.values() if r.left is left_as):
                detail = next((r.detail for _, r in results.values() if r.left is left_as and r.detail), None)
                log.info("events.left", sink=name, left=left_as.value, count=count, detail=detail)
        if told is not None or any(speaks(r) for _, r in results.values()):
            self._lines.clear()
        if told is not None:
            self._rt.alarm(told)
            for other in self._rt.sinks:
                self._rt.ring("emit", other)

    def _off(self, standing: Standing) -> Event:
        return sink_disabled(f"/{self._rt.namespace}/{self._sink.name}", self._sink.name, standing)


def _key(due: Due) -> tuple[str, str]:
    return due.realm, due.task or str(due.position)
