"""Let events out of one sink, in order for each task (C3): lease lanes, take the oldest of each task, try them, write down what became of
them.

At most one event of a task is under way at a time. An outcome that nobody knows counts as failed, and the event leaves again with the same
id (C4).
"""

import os
import threading
import time
from collections import defaultdict, deque

import structlog

from worker.core.delivery import Left, Result
from worker.flows import Runtime
from worker.ledger.outbox import Due

log = structlog.get_logger()

LEASE = 25.0
"""Seconds that a lane stays with a relay that was killed: so late may its events be. A round takes 10 s at most (the sink's deadline) and
none is started after half the lease, so that a living relay does not lose a lane under way, which would repeat events."""

BATCH = 1000
"""Deliveries read at once: enough to fill the pipeline of a broker, few enough to be relayed well within the lease."""


def emit(rt: Runtime, name: str) -> bool:
    """Let due events out of sink *name* for a turn; returns whether some may be left. Raises LedgerDown."""
    sink = rt.sinks.get(name)
    if sink is None:
        log.warning("emit.unknown_sink", sink=name)
        return False
    holder = f"{os.uname().nodename}:{os.getpid()}:{threading.get_ident()}"
    end = time.monotonic() + rt.turn
    try:
        while not rt.stopping.is_set():
            lanes = rt.ledger.outbox.lease(name, holder, LEASE)
            due = rt.ledger.outbox.due(name, lanes, BATCH) if lanes else []
            if not due:
                return False
            _relay(rt, name, due, time.monotonic() + LEASE / 2)
            if time.monotonic() > end:
                return True
        return True
    finally:
        rt.ledger.outbox.release(name, holder)


def _relay(rt: Runtime, name: str, due: list[Due], until: float) -> None:
    """In rounds: the oldest of each task, then the next of each task whose event has left. A task whose event failed waits, alone. What is
    not under way by *until* stays due: behind a lost lane it would overtake.
    """
    lines: dict[tuple[str, str], deque[Due]] = defaultdict(deque)
    for d in due:
        lines[d.realm, d.task or str(d.position)].append(d)
    results: dict[int, tuple[int, Result]] = {}
    while lines and time.monotonic() < until:
        heads = [line[0] for line in lines.values()]
        left = rt.sinks[name].publish([d.delivery for d in heads])
        for key, d in zip(list(lines), heads, strict=True):
            result = left.get(d.delivery.event, Result(Left.FAILED, "no answer"))
            results[d.position] = (d.tries, result)
            lines[key].popleft()
            if result.left is Left.FAILED or not lines[key]:
                del lines[key]
    rt.ledger.outbox.record(name, results, rt.dice())
    for left_as in Left:
        if count := sum(1 for _, r in results.values() if r.left is left_as):
            detail = next((r.detail for _, r in results.values() if r.left is left_as and r.detail), None)
            log.info("events.left", sink=name, left=left_as.value, count=count, detail=detail)
