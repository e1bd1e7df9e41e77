"""What requests cost, and what a 429 says to all workers (B3)."""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TypeVar

import structlog

from worker.core import pace
from worker.core.budget import Price
from worker.core.outcomes import Applied, Page, Read, Sent
from worker.core.submission import OPEN, Submission
from worker.core.task import Snapshot
from worker.errors import LedgerDown
from worker.flows import Account, Runtime, breaker
from worker.upstreams.base import Flow

log = structlog.get_logger()
T = TypeVar("T")


def price(account: Account, grant: str, requests: int) -> Price:
    """So many requests as that grant; free where it is none of the account's any more, because nothing is asked as it."""
    return Price(requests, account.connector.limits(grant) if grant in account.grants else {})


def prices(account: Account) -> Callable[[Submission], Price]:
    """What carrying a submission on once costs: a look, and a send where it may come to that."""

    def cost(s: Submission) -> Price:
        return price(account, s.command.grant, account.connector.look_costs + (s.state in OPEN))

    return cost


def metered(rt: Runtime, account: Account, grant: str, flow: Flow[T], paid: int) -> Flow[T]:
    """*flow*, whose requests beyond the *paid* ones are owed: a second page, who the grant is, the project's responses."""
    made = 0
    with closing(flow):
        try:
            request = next(flow)
            while True:
                made += 1
                if made > paid:
                    rt.owed.add(account.name, grant)
                request = flow.send((yield request))
        except StopIteration as end:
            outcome: T = end.value
            return outcome


def settle_up(rt: Runtime, account: Account) -> None:
    """Pay what is owed, into the red: that delays what comes after it. While the ledger is down it is passed over."""
    for grant, requests in rt.owed.take(account.name).items():
        try:
            rt.ledger.budgets.spend(price(account, grant, requests))
        except LedgerDown as exc:
            log.warning("ledger.down", account=account.name, error=str(exc))


def heed(rt: Runtime, account: Account, answers: Iterable[tuple[str, Read | Sent | Page]]) -> None:
    """Of *answers*, (grant, what came) each: what throttled one request holds for all of its client and user, in all workers, from now on;
    and the breaker hears of all of them (B4). What was asked beyond what had been paid for is paid now.

    Advice, not truth: while the ledger is down it is passed over, and the next 429 says it again.
    """
    heard = list(answers)
    settle_up(rt, account)
    breaker.hear(rt, account, (what for _, what in heard))
    for grant, what in heard:
        if isinstance(what, Snapshot | Applied | Page) or what.fact.status != 429 or grant not in account.grants:
            continue
        wait = pace.throttled(what.fact.retry_after, 0, rt.dice())
        log.info("throttled", account=account.name, grant=grant, seconds=round(wait, 1))
        try:
            rt.ledger.budgets.throttled(account.connector.limits(grant), wait)
        except LedgerDown as exc:
            log.warning("ledger.down", account=account.name, error=str(exc))
