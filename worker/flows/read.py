"""Read tasks one by one, as they can be paid for, and put every look through its task's row (B1).

Every request is paid for before it leaves, from what the submissions leave (B3). A turn that cannot pay waits to its end and goes on in the
next one.
"""

import time
from collections import deque
from collections.abc import Sequence
from itertools import takewhile

from worker.core.advance import Answer
from worker.core.outcomes import Gone, Read, Unknown
from worker.core.task import Snapshot
from worker.engine import Bag, Errand
from worker.flows import Account, Runtime, breaker, tokens
from worker.flows.budget import heed, metered, price
from worker.flows.submit import settle
from worker.upstreams.base import Flow

Seen = tuple[str, Snapshot | Gone | Unknown]
"""A task, and what came of reading it."""

THRIFT = 0.25
"""Seconds between two tries to pay: a budget of 600 requests a minute pays for one look in it."""

UNREAD = -1
"""The version of a row that was not read before the request left: such a look may only add (B1)."""


def read(rt: Runtime, account: Account, tasks: Sequence[str], end: float, *, glance: bool = False) -> list[Seen]:
    """Read *tasks* one by one, as they can be paid for until *end*, and observe each; returns what was read. What one grant may not see,
    the next may: gone is what all say. *glance*: only what the feed may not show of them.
    """
    realm, grants = account.connector.realm, tokens.readers(rt, account)
    todo = deque((task, grants) for task in tasks)
    costs = account.connector.glance_costs if glance else account.connector.look_costs
    versions: dict[str, int] = {}
    out: list[Seen] = []
    with rt.engine.bag() as bag:
        while len(bag) or (todo and time.monotonic() < end and not rt.stopping.is_set()):
            room = bag.room(rt.room) if time.monotonic() < end else 0
            paid = [todo.popleft() for _ in range(_pay(rt, account, todo, room, costs))]
            rows = rt.ledger.tasks.known({(realm, t) for t, _ in paid})
            versions |= {t: row.version for (_, t), row in rows.items()}
            for task, readers in paid:
                row = rows.get((realm, task))
                known = row.snapshot if glance and row else None
                flow = account.connector.read(task) if known is None else account.connector.glance(known)
                _put(rt, account, bag, (task, readers), metered(rt, account, readers[0], flow, costs))
            if not len(bag):
                rt.stopping.wait(min(THRIFT, max(0.0, end - time.monotonic())))
                continue
            answers = bag.take(THRIFT if todo else None)
            heed(rt, account, ((readers[0], what) for (_, readers), what in answers))
            todo.extendleft((task, readers[1:]) for (task, readers), what in answers if isinstance(what, Gone) and readers[1:])
            seen = [(task, what) for (task, readers), what in answers if not (isinstance(what, Gone) and readers[1:])]
            settle(rt, account, [Answer(realm, t, versions.get(t, UNREAD), what) for t, what in seen if not isinstance(what, Unknown)])
            out += seen
    return out


def _pay(rt: Runtime, account: Account, todo: Sequence[tuple[str, tuple[str, ...]]], room: int, costs: int) -> int:
    """How many of *todo*, from its beginning, are paid for now: those of one reader at a time."""
    if not todo or room <= 0 or breaker.open_(rt, account):
        return 0
    reader = todo[0][1][0]
    alike = sum(1 for _ in takewhile(lambda each: each[1][0] == reader, todo))
    return rt.ledger.budgets.take(price(account, reader, costs), min(alike, room))


def _put(rt: Runtime, account: Account, bag: Bag, tag: tuple[str, tuple[str, ...]], flow: Flow[Read]) -> None:
    """Ask *flow* as the first of the tag's readers; the others may be asked after it."""
    _, readers = tag
    tokens.ready(rt, account, readers[:1])
    credentials = account.connector.credentials(readers[0])
    bag.put(tag, Errand(flow, credentials, account.rules.deadline, lost=Unknown, unsent=Unknown))
