"""Write down an answer in hand, though the ledger is away: it is worth the wait. Given up, an approval is in doubt, a grant may be lost."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from worker.errors import LedgerDown
from worker.flows import Runtime

log = structlog.get_logger()
T = TypeVar("T")

REPEATS = 60
"""How often, a second apart, it is repeated."""


def insist(rt: Runtime, write: Callable[[bool], T], **about: object) -> T:
    """What *write* returns; it is told whether it was tried before, and is safe to repeat. *about*: for the log. Raises LedgerDown in the
    end.
    """
    for tried in range(REPEATS):
        try:
            return write(tried > 0)
        except LedgerDown as exc:
            log.warning("ledger.down", error=str(exc), tried=tried + 1, **about)
            if tried == REPEATS - 1:
                raise
            if rt.stopping.wait(1.0):  # asked to stop: it returns at once, and the ledger may still come back within the grace period
                time.sleep(1.0)
    raise AssertionError("REPEATS is no number")
