"""A turn of watching one account: its feed first, because that may spare looks at single tasks, then those, then what no feed shows."""

import time
from collections.abc import Sequence
from typing import Any

import structlog

from worker.core import cadence, due, pace
from worker.core.outcomes import Unknown
from worker.core.pause import Shut
from worker.core.task import Snapshot, Task
from worker.flows import Account, Runtime, breaker
from worker.flows.feed import follow
from worker.flows.read import read
from worker.flows.sweep import sweep
from worker.ledger.watches import Watch

log = structlog.get_logger()


def poll(rt: Runtime, name: str) -> bool:
    """Look at the due watches of account *name* for a turn; returns whether some may be left. Raises LedgerDown."""
    account = rt.accounts.get(name)
    if account is None or not account.grants:
        log.warning("poll.unknown_account", account=name)
        return False
    end = time.monotonic() + rt.turn
    silent = account.connector.silent or rt.ledger.tasks.frozen(account.connector.realm)
    while not rt.stopping.is_set():
        leave = breaker.enter(rt, account)
        if isinstance(leave, Shut):
            return False
        room = leave.room
        feeds = rt.ledger.watches.claim(name, room, account.rules.lease, feeds=True)
        whole = [follow(rt, account, feed, end, silent=silent) for feed in feeds]
        watches = rt.ledger.watches.claim(name, room, account.rules.lease)
        whole.append(_tasks(rt, account, watches, end))
        whole.append(sweep(rt, account, room, end, silent=silent))
        breaker.give_back(rt, account, leave)  # where nothing was asked after all
        if len(watches) < room and all(whole):
            return False
        if time.monotonic() > end:
            return True
    return True


def _tasks(rt: Runtime, account: Account, watches: Sequence[Watch], end: float) -> bool:
    """Read single tasks and observe them in waves; returns whether all of them were read."""
    if not watches:
        return True
    realm, tasks = account.connector.realm, {w.task: w for w in watches}
    rt.ledger.tasks.make([Task(realm, t, account.kind, account.name) for t in tasks])
    seen = read(rt, account, list(tasks), end)
    now, changed = rt.ledger.queries.now(), rt.ledger.tasks.changed({(realm, task) for task, _ in seen})
    looked: list[tuple[Watch, float, int, dict[str, Any]]] = []
    for task, what in seen:
        watch = tasks.pop(task)
        if isinstance(what, Unknown):
            looked.append((watch, pace.throttled(what.fact.retry_after, watch.tries, rt.dice()), watch.tries + 1, {}))
        else:
            idle = now - max(watch.created_at, changed.get((realm, task), 0.0))
            wait = cadence.interval(watch.interval, idle, due.due_in(what, now) if isinstance(what, Snapshot) else None)
            looked.append((watch, cadence.splayed(wait, rt.dice()), 0, {}))
    looked += [(watch, 0.0, watch.tries, {}) for watch in tasks.values()]
    rt.ledger.watches.all_done(looked)
    return not tasks
