"""A turn: what a ring comes to. One at a time for each verb and shard in a process; what is left over is rung for again.

The new ring goes to the end of the queue, and that is the fairness between shards. A ring for a shard at work goes home, and the one at
work rings again for it when it leaves.
"""

from collections.abc import Callable

import structlog

from worker.errors import LedgerDown
from worker.flows import Runtime

log = structlog.get_logger()


def turn(rt: Runtime, verb: str, shard: str, flow: Callable[[Runtime, str], bool]) -> None:
    """Let *flow* take a turn for *shard*, unless it has one in this process already."""
    if not rt.busy.enter(verb, shard):
        return
    left = False
    try:
        with rt.working():
            left = flow(rt, shard)
    except LedgerDown as exc:
        log.warning("ledger.down", verb=verb, shard=shard, error=str(exc))  # the tick rings when it is back
    finally:
        rung = rt.busy.leave(verb, shard)
    if (left or rung) and not rt.stopping.is_set():
        rt.ring(verb, shard)
