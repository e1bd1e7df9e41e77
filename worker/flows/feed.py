"""A pass over a feed (B2): page by page, every row through its task's row.

What a feed shows twice tells nothing twice. A row of a feed whose version could not be read before its request left only ever adds; where
there is more to it (responses are gone, a change without a later `modified`), the task is read by itself. A pass keeps its place page by
page, so that a turn's end, a crash or a lost lease costs one page.

A pass serves the watches of single tasks, too: those that the feed shows have had their look with it. Where an account has no other feed
than that which serves them (`watches.SERVER`), a pass is begun only if it costs fewer requests than the looks that it saves.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from worker.core import cadence, pace
from worker.core.advance import Answer
from worker.core.feed import Feed, Pass
from worker.core.outcomes import Page, Unknown
from worker.core.task import SAME_MODIFIED, Snapshot, Task, near
from worker.engine import Errand
from worker.flows import Account, Runtime, breaker, tokens
from worker.flows.budget import heed, metered, price
from worker.flows.read import THRIFT, UNREAD, read
from worker.flows.submit import settle
from worker.flows.sweep import rest
from worker.ledger.watches import SERVER, Watch

log = structlog.get_logger()

PATIENCE = 3
"""Pages in a row that could not be read before a pass is begun anew: its place may be what the upstream cannot read any more."""

LATE = 1.5
"""Of the time to the next pass: when a watch that it serves is due by itself, should that pass not come."""


def follow(rt: Runtime, account: Account, watch: Watch, end: float, *, silent: bool) -> bool:
    """Carry the pass of *watch* on, or begin one, until *end*. Returns False where there is more of it to do now. *silent*: what happens to
    a task under approval may leave the feed as it is.
    """
    feed = Feed.of(watch.cursor)
    way = feed.way or _begin(rt, account, watch, feed, silent=silent)
    if way is None:
        rt.ledger.watches.done(watch, wait=_until_next(rt, watch, feed), tries=0, cursor=feed.skipped().cursor)
        return True
    if not watch.tries:  # those that it serves do not wait for a feed that cannot be read
        rt.ledger.watches.hold(account.name, account.connector.realm, account.rules.lease, whole=way.since is None, silent=silent)
    claimed: Watch | None = watch
    while claimed is not None:
        kept = replace(feed, way=way if way.pages else None)
        page = _page(rt, account, way.since, way.page, end)
        if page is None:
            rt.ledger.watches.done(claimed, wait=0.0, tries=claimed.tries, cursor=kept.cursor)
            return False
        if isinstance(page, Unknown):
            log.info("feed.unread", account=account.name, fact=str(page.fact))
            tries = claimed.tries + 1
            kept = replace(feed, way=None) if tries % PATIENCE == 0 else kept
            rt.ledger.watches.done(claimed, wait=pace.throttled(page.fact.retry_after, tries, rt.dice()), tries=tries, cursor=kept.cursor)
            return True
        news, left = _take(rt, account, watch, way, page, end)
        if left and time.monotonic() > end:  # what was read meanwhile is no news when the page is read again
            rt.ledger.watches.done(claimed, wait=0.0, tries=claimed.tries, cursor=kept.cursor)
            return False
        if left and claimed.tries + 1 < PATIENCE:
            wait, tries = pace.again(claimed.tries, rt.dice()), claimed.tries + 1
            rt.ledger.watches.done(claimed, wait=wait, tries=tries, cursor=kept.cursor)
            return True
        if left:  # one that cannot be read must not hide all others: its next change shows it again
            log.warning("feed.passed_over", account=account.name, tasks=left)
        old = [s for s in news if feed.watermark is not None and (s.modified is None or s.modified < feed.watermark)]
        way = way.on(page.cursor, [s.modified for s in (*page.snapshots, *page.touched)], len(news), len(old))
        if page.cursor is None:
            _over(rt, account, claimed, feed, way, page.date, silent=silent)
            return True
        feed = replace(feed, way=way)
        if way.spent:
            rt.ledger.watches.done(claimed, wait=_until_next(rt, watch, feed), tries=0, cursor=feed.given_up().cursor)
            return True
        if rt.stopping.is_set() or time.monotonic() > end:
            rt.ledger.watches.done(claimed, wait=0.0, tries=0, cursor=feed.cursor)
            return False
        claimed = rt.ledger.watches.keep(claimed, account.rules.lease, feed.cursor)
    return True  # the pass is another's now


def _begin(rt: Runtime, account: Account, watch: Watch, feed: Feed, *, silent: bool) -> Pass | None:
    """A new pass, if it is worth its cost. What it saves is counted: the looks that would be made by themselves before the next pass; or,
    where it is not known which tasks the feed shows, one look at each of those.
    """
    now = rt.ledger.queries.now()
    if watch.task != SERVER:
        return feed.begin(now)
    within = cadence.pass_interval(watch.interval, now - (feed.news_at or watch.created_at))
    gain = rt.ledger.watches.served(account.name, account.connector.realm, within, silent=silent)
    look = account.connector.look_costs
    if gain.unknown * look > feed.whole:
        return replace(feed, watermark=None).begin(now, allowed=gain.unknown * look)
    return feed.begin(now) if feed.watermark is not None and gain.soon * look > feed.pages else None


def _over(rt: Runtime, account: Account, claimed: Watch, feed: Feed, way: Pass, date: float | None, *, silent: bool) -> None:
    """After the last page: what no page has shown, whom the pass has served, when the next one begins."""
    realm, server = account.connector.realm, claimed.task == SERVER
    if way.since is None:
        rt.ledger.tasks.make([Task(realm, task, account.kind, account.name) for task in rt.ledger.watches.watched(account.name)])
        lost = rt.ledger.tasks.missed(realm, account.name, way.began, watched=server)
        if feed.watermark is not None:
            log.info("feed.missed", account=account.name, tasks=way.missed, lost=lost, pages=way.pages)
    now = rt.ledger.queries.now()
    after = feed.over(way, date, now, rt.dice())
    gap = cadence.pass_interval(claimed.interval, now - (after.news_at or now))

    def wait(base: float, idle: float, due_in: float | None) -> float:
        own = cadence.interval(base, idle, due_in)
        return cadence.splayed(own, rt.dice()) if own < gap else max(cadence.splayed(own, rt.dice()), LATE * gap)

    rt.ledger.watches.serve(account.name, realm, LATE * gap, wait, silent=silent)
    rt.ledger.watches.done(claimed, wait=cadence.splayed(gap, rt.dice()), tries=0, cursor=after.cursor)


def _until_next(rt: Runtime, watch: Watch, feed: Feed) -> float:
    """Seconds until a pass is thought of again."""
    now = rt.ledger.queries.now()
    return cadence.splayed(cadence.pass_interval(watch.interval, now - (feed.news_at or watch.created_at)), rt.dice())


def _page(rt: Runtime, account: Account, since: float | None, next_link: str | None, end: float) -> Page | Unknown | None:
    """One page; None where it could not be paid for in time."""
    reader, *_ = tokens.readers(rt, account)
    while breaker.open_(rt, account) or not rt.ledger.budgets.take(price(account, reader, 1), 1):
        if time.monotonic() > end or rt.stopping.wait(THRIFT):
            return None
    with rt.engine.bag() as bag:
        flow = metered(rt, account, reader, account.connector.changes(since, next_link), 1)
        bag.put(None, Errand(flow, account.connector.credentials(reader), account.rules.deadline, lost=Unknown, unsent=Unknown))
        answer: Page | Unknown = bag.take()[0][1]
    heed(rt, account, [(reader, answer)])
    return answer


def _take(rt: Runtime, account: Account, watch: Watch, way: Pass, page: Page, end: float) -> tuple[list[Snapshot], list[str]]:
    """The rows of a page. New tasks get their rows; what may not take the place of what we know is read by itself, with its version (B1),
    and so is what the feed shows without its steps. Returns the rows that were news, and the tasks that had to be read and could not be.
    """
    realm, looks, touched = account.connector.realm, page.snapshots, page.touched
    if watch.task == SERVER:  # nobody asked for the others
        mine = rt.ledger.watches.watched(account.name, [s.task for s in (*looks, *touched)])
        looks, touched = (tuple(s for s in rows if s.task in mine) for rows in (looks, touched))
    known = rt.ledger.tasks.known({(realm, s.task) for s in (*looks, *touched)})
    least = way.began if way.since is None else 0.0
    listed = {task for (_, task), row in known.items() if row.listed and row.listed >= least}
    rt.ledger.tasks.show([Task(realm, s.task, account.kind, account.name) for s in (*looks, *touched) if s.task not in listed])
    changed: list[Snapshot] = []
    doubtful: list[Snapshot] = []
    for look in looks:
        row = known.get((realm, look.task))
        if row is None or row.snapshot is None:
            changed.append(look)
        elif row.news(look):
            (changed if row.current(row.align(look), UNREAD) else doubtful).append(look)
    moved = [s for s in touched if _moved(known.get((realm, s.task)), s)]
    settle(rt, account, [Answer(realm, s.task, UNREAD, s) for s in changed])
    return [*changed, *doubtful, *moved], _unread(rt, account, watch, [s.task for s in (*doubtful, *moved)], end)


def _moved(row: Task | None, shown: Snapshot) -> bool:
    """Whether a task that the feed shows without its steps has been touched since we looked at it."""
    known = row.snapshot if row and not row.gone % 2 else None
    return known is None or not near(known.modified, shown.modified, SAME_MODIFIED)


def _unread(rt: Runtime, account: Account, watch: Watch, tasks: Sequence[str], end: float) -> list[str]:
    """Read *tasks* by themselves; returns those of them that nobody could read in time."""
    wanted = list(dict.fromkeys(tasks))
    seen = [(task, what) for task, what in read(rt, account, wanted, end) if not isinstance(what, Unknown)] if wanted else []
    if watch.task != SERVER:
        rest(rt, account, watch.interval, seen)
    known = {task for task, _ in seen}
    return [task for task in wanted if task not in known]
