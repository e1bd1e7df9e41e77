"""Look at what is watched: single tasks one by one, an account's feed by pages, every look through the tasks' rows (B1, B2).

The watermark of a feed is the upstream's own time: the greatest `modified` read, but never later than the answer's `Date` less `OVERLAP`,
and moved only after a whole pass. What a feed shows twice tells nothing twice. A row of a feed whose version could not be read before its
request left only ever adds; where there is more to it (responses are gone, a change without a later `modified`), the task is read by
itself. A pass keeps its place page by page, so that a turn's end, a crash or a lost lease costs one page.
"""

import time
from collections.abc import Sequence
from typing import Any

import structlog

from worker.core import pace
from worker.core.advance import Answer
from worker.core.outcomes import Gone, Page, Unknown
from worker.core.task import Snapshot, Task
from worker.engine import Bag, Errand
from worker.flows import Account, Runtime
from worker.flows.submit import settle
from worker.ledger.watches import Watch

log = structlog.get_logger()

OVERLAP = 300.0
"""Seconds that each pass reads again: clocks differ, and a change may become visible after a later one."""

PATIENCE = 3
"""Pages in a row that could not be read before a pass is begun anew: its place may be what the upstream cannot read any more."""

UNREAD = -1
"""The version of a row that was not read before the request left: such a look may only add (B1)."""


def poll(rt: Runtime, name: str) -> bool:
    """Look at the due watches of account *name* for a turn; returns whether some may be left. Raises LedgerDown."""
    account = rt.accounts.get(name)
    if account is None or not account.grants:
        log.warning("poll.unknown_account", account=name)
        return False
    end = time.monotonic() + rt.turn
    while not rt.stopping.is_set():
        watches = rt.ledger.watches.claim(name, rt.room, account.rules.lease)
        _tasks(rt, account, [w for w in watches if w.task])
        whole = [_feed(rt, account, watch, end) for watch in watches if not watch.task]
        if len(watches) < rt.room and all(whole):
            return False
        if time.monotonic() > end:
            return True
    return True


def _tasks(rt: Runtime, account: Account, watches: Sequence[Watch]) -> None:
    """Read single tasks, all at once, and observe them in waves."""
    realm, tasks = account.connector.realm, {w.task: w for w in watches}
    rt.ledger.tasks.make([Task(realm, t, account.kind, account.name) for t in tasks])
    looked: list[tuple[Watch, float, int, dict[str, Any]]] = []
    for task, what in _read(rt, account, list(tasks)):
        watch = tasks[task]
        if isinstance(what, Unknown):
            looked.append((watch, pace.throttled(what.fact.retry_after, watch.tries, rt.dice()), watch.tries + 1, {}))
        else:
            looked.append((watch, _splayed(rt, watch), 0, {}))
    rt.ledger.watches.all_done(looked)


def _read(rt: Runtime, account: Account, tasks: Sequence[str]) -> list[tuple[str, Snapshot | Gone | Unknown]]:
    """Read *tasks* one by one and observe each; returns what was read. What one grant may not see, the next may: gone is what all say."""
    realm, readers = account.connector.realm, sorted(account.grants)
    versions = {t: row.version for (_, t), row in rt.ledger.tasks.known({(realm, t) for t in tasks}).items()}
    out: list[tuple[str, Snapshot | Gone | Unknown]] = []
    with rt.engine.bag() as bag:
        for task in tasks:
            _put(account, bag, task, readers)
        while answers := bag.take():
            read: list[tuple[str, Snapshot | Gone | Unknown]] = []
            for (task, others), what in answers:
                if isinstance(what, Gone) and others:
                    _put(account, bag, task, others)
                else:
                    read.append((task, what))
            settle(rt, account, [Answer(realm, t, versions.get(t, UNREAD), what) for t, what in read if not isinstance(what, Unknown)])
            out += read
    return out


def _put(account: Account, bag: Bag, task: str, readers: Sequence[str]) -> None:
    """Read *task* as the first of *readers*; the rest of them may be asked after it."""
    credentials = account.connector.credentials(readers[0])
    errand = Errand(account.connector.read(task), credentials, account.rules.deadline, lost=Unknown, unsent=Unknown)
    bag.put((task, tuple(readers[1:])), errand)


def _reader(account: Account) -> str:
    """The grant that reads feeds: the first by name, so that all processes share its token and its visibility."""
    return min(account.grants)


def _splayed(rt: Runtime, watch: Watch) -> float:
    """The watch's interval, give or take a tenth: watches that began together do not stay together (B5)."""
    return watch.interval * (0.9 + rt.dice() / 5)


def _feed(rt: Runtime, account: Account, watch: Watch, end: float) -> bool:
    """One pass over what has changed since the watermark, page by page, until *end*. A pass that is cut short goes on where it was. Returns
    False where there is more of it to do now.
    """
    claimed: Watch | None = watch
    cursor = dict(watch.cursor)
    mark: float | None = cursor.get("watermark")
    while claimed is not None:
        page = _page(rt, account, mark, cursor.get("page"))
        if isinstance(page, Unknown):
            log.info("feed.unread", account=account.name, fact=str(page.fact))
            tries = claimed.tries + 1
            if tries % PATIENCE == 0:
                cursor.pop("page", None)
            rt.ledger.watches.done(claimed, wait=pace.throttled(page.fact.retry_after, tries, rt.dice()), tries=tries, cursor=cursor)
            return True
        _observe(rt, account, page.snapshots)
        newest = [s.modified for s in page.snapshots if s.modified is not None]
        cursor |= {"page": page.cursor, "newest": max([cursor.get("newest") or 0.0, *newest])}
        if page.cursor is None:
            mark = max(mark or 0.0, min(cursor["newest"], (page.date or rt.ledger.queries.now()) - OVERLAP))
            rt.ledger.watches.done(claimed, wait=_splayed(rt, watch), tries=0, cursor={"watermark": mark})
            return True
        if rt.stopping.is_set() or time.monotonic() > end:
            rt.ledger.watches.done(claimed, wait=0.0, tries=0, cursor=cursor)
            return False
        claimed = rt.ledger.watches.keep(claimed, account.rules.lease, cursor)
    return True  # the pass is another's now


def _page(rt: Runtime, account: Account, since: float | None, next_link: str | None) -> Page | Unknown:
    with rt.engine.bag() as bag:
        flow = account.connector.changes(since, next_link)
        credentials = account.connector.credentials(_reader(account))
        bag.put(None, Errand(flow, credentials, account.rules.deadline, lost=Unknown, unsent=Unknown))
        answer: Page | Unknown = bag.take()[0][1]
        return answer


def _observe(rt: Runtime, account: Account, looks: Sequence[Snapshot]) -> None:
    """Rows of a feed. New tasks get their rows; what may not take the place of what we know is read by itself, with its version (B1)."""
    realm = account.connector.realm
    known = rt.ledger.tasks.known({(realm, s.task) for s in looks})
    rt.ledger.tasks.make([Task(realm, s.task, account.kind, account.name) for s in looks if (realm, s.task) not in known])
    doubtful: list[Snapshot] = []
    changed: list[Snapshot] = []
    for look in looks:
        row = known.get((realm, look.task))
        if row is None or row.snapshot is None:
            changed.append(look)
        elif row.news(look):
            (changed if row.current(row.align(look), UNREAD) else doubtful).append(look)
    settle(rt, account, [Answer(realm, s.task, UNREAD, s) for s in changed])
    if doubtful:
        _read(rt, account, [s.task for s in doubtful])
