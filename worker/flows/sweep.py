"""Tasks under approval that are read by themselves, whatever a feed says of them: by cadence, those that wait longest first (B5).

Where the feed shows a task, a glance is enough: at what may happen to it without moving it there.

Of an account whose whole feed is watched: all of them where a response may leave the feed as it is, else those that the feed does not show
at all. A task is claimed by moving its `look_at`, so that no two processes read it for this at the same time.
"""

import time
from collections.abc import Iterable

from worker.core import cadence, due, pace
from worker.core.outcomes import Unknown
from worker.core.task import Snapshot
from worker.flows import Account, Runtime
from worker.flows.read import Seen, read

WHOLE = 0.2
"""Of the glances at what a feed shows, so many are looks at the whole all the same: that an item was voided, no feed tells (Autodesk)."""


def sweep(rt: Runtime, account: Account, room: int, end: float, *, silent: bool) -> bool:
    """Read what is due until *end*, up to *room* at a time; returns whether all of it was."""
    feed = rt.ledger.watches.feed(account.name)
    if feed is None:
        return True
    realm = account.connector.realm
    while True:
        looks = rt.ledger.tasks.claim(realm, account.name, room, account.rules.lease, silent=silent)
        glances = [look.task for look in looks if look.listed and rt.dice() >= WHOLE]
        whole = [look.task for look in looks if look.task not in glances]
        seen = [*read(rt, account, whole, end), *read(rt, account, glances, end, glance=True)]
        rest(rt, account, feed.interval, seen)
        read_by_now = {task for task, _ in seen}
        rt.ledger.tasks.looked(realm, {look.task: look.at for look in looks if look.task not in read_by_now})
        if len(looks) < room:
            return len(seen) == len(looks)
        if rt.stopping.is_set() or time.monotonic() > end:
            return False


def rest(rt: Runtime, account: Account, base: float, seen: Iterable[Seen]) -> None:
    """These were read by themselves: when to read them so again."""
    realm, seen = account.connector.realm, list(seen)
    if not seen:
        return
    now = rt.ledger.queries.now()
    changed = rt.ledger.tasks.changed({(realm, task) for task, _ in seen})
    next_at: dict[str, float | None] = {}
    for task, what in seen:
        if isinstance(what, Snapshot) and what.awaiting:
            wait = cadence.interval(base, now - changed.get((realm, task), now), due.due_in(what, now))
            next_at[task] = now + cadence.splayed(wait, rt.dice())
        else:
            next_at[task] = now + pace.throttled(what.fact.retry_after, 0, rt.dice()) + base if isinstance(what, Unknown) else None
    rt.ledger.tasks.looked(realm, next_at)
