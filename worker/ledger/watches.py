"""Watches: what is polled, when next, and how far a feed has been read.

Where an account has watches of several single tasks and none of its feed, there is one more watch, the server (`SERVER`): a feed that is
read for those tasks alone, if that costs fewer requests than reading them one by one. Nobody adds or removes it by hand.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.due import Mark
from worker.ledger import tables
from worker.ledger.database import Database

FEED = ""
SERVER = "*"
"""In the place of a task."""

FEEDS = (FEED, SERVER)

Wait = Callable[[float, float, float | None], float]
"""(interval, seconds since the last news, seconds until the nearest due date) -> seconds until the next look."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch. `task`: "" for the account's whole feed. `interval`: seconds between two looks, at least (of the server: the least of
    those that it may serve). `cursor`: how far a feed was read.
    """

    id: str
    account: str
    task: str
    interval: float
    next_at: float
    claim: str | None
    tries: int
    cursor: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Served:
    """What a feed may do for the watches of single tasks: how many of those it shows come due soon, and of how many it is not known yet
    whether it shows them.
    """

    soon: int
    unknown: int


class Watches:
    """The verbs; each one transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, account: str, task: str, interval: float) -> Watch:
        """Watch *task* of *account* ("": its feed) every *interval* seconds. Again: only the interval changes."""

        def work(c: Connection) -> Watch:
            now = self._db.now(c)
            t = tables.watches
            insert = self._db.insert(t).values(
                id="w" + secrets.token_hex(6),
                account=account,
                task=task,
                interval=interval,
                next_at=now,
                claim=None,
                tries=0,
                cursor={},
                created_at=now,
            )
            changed = {"interval": interval, "next_at": sa.case((t.c.claim.is_(None), now), else_=t.c.next_at)}  # one under way ends first
            c.execute(insert.on_conflict_do_update(index_elements=["account", "task"], set_=changed))
            self._server(c, account, now)
            return _watch(c.execute(sa.select(t).where(t.c.account == account, t.c.task == task)).one())

        return self._db.write(work)

    def remove(self, id_: str) -> bool:
        """Stop watching. False where there is no such watch."""
        t = tables.watches

        def work(c: Connection) -> bool:
            account = c.scalar(sa.delete(t).where(t.c.id == id_).returning(t.c.account))
            if account is not None:
                self._server(c, account, self._db.now(c))
            return account is not None

        return self._db.write(work)

    def _server(self, c: Connection, account: str, now: float) -> None:
        """The account's server as its other watches want it. A change of those makes it think again at once."""
        t = tables.watches
        ours = t.c.account == account
        query = sa.select(sa.func.count(), sa.func.min(t.c.interval)).where(ours, t.c.task.not_in(FEEDS))
        singles, least = c.execute(query).one()
        if singles < 2 or c.scalar(sa.select(sa.exists().where(ours, t.c.task == FEED))):
            c.execute(sa.delete(t).where(ours, t.c.task == SERVER))
            return
        fresh: dict[str, Any] = {
            "id": "w" + secrets.token_hex(6),
            "account": account,
            "task": SERVER,
            "claim": None,
            "tries": 0,
            "cursor": {},
        }
        insert = self._db.insert(t).values(**fresh, interval=least, next_at=now, created_at=now)
        changed = {"interval": least, "next_at": sa.case((t.c.claim.is_(None), now), else_=t.c.next_at)}
        c.execute(insert.on_conflict_do_update(index_elements=["account", "task"], set_=changed))

    def all(self) -> list[Watch]:
        """Every watch that somebody has added."""
        t = tables.watches
        with self._db.read() as c:
            return [_watch(r) for r in c.execute(sa.select(t).where(t.c.task != SERVER).order_by(t.c.created_at))]

    def feed(self, account: str, task: str = FEED) -> Watch | None:
        """The watch of the account's feed, or its server."""
        t = tables.watches
        with self._db.read() as c:
            found = c.execute(sa.select(t).where(t.c.account == account, t.c.task == task)).first()
            return _watch(found) if found else None

    def claim(self, account: str, room: int, lease: float, *, feeds: bool = False) -> list[Watch]:
        """Due watches of single tasks of *account*, or of its *feeds*, ours for *lease* seconds: a watch never overlaps itself (B5)."""

        def work(c: Connection) -> list[Watch]:
            now = self._db.now(c)
            t = tables.watches
            kind = t.c.task.in_(FEEDS) if feeds else t.c.task.not_in(FEEDS)
            due = sa.select(t).where(t.c.account == account, t.c.next_at <= now, kind).order_by(t.c.next_at).limit(room)
            found = [_watch(r) for r in c.execute(self._db.locked(due, skip=True))]
            token = secrets.token_hex(8)
            ids = [w.id for w in found]
            if ids:
                c.execute(sa.update(t).where(t.c.id.in_(ids)).values(claim=token, next_at=now + lease))
            return [Watch(w.id, w.account, w.task, w.interval, now + lease, token, w.tries, w.cursor, w.created_at) for w in found]

        return self._db.write(work)

    def keep(self, watch: Watch, lease: float, cursor: Mapping[str, Any]) -> Watch | None:
        """Write down how far a long pass has come, and go on for *lease* seconds more. None where the claim has become another's (B5)."""
        t = tables.watches

        def work(c: Connection) -> Watch | None:
            kept = replace(watch, next_at=self._db.now(c) + lease, tries=0, cursor=dict(cursor))
            update = sa.update(t).where(t.c.id == watch.id, t.c.claim == watch.claim)
            found = c.execute(update.values(next_at=kept.next_at, tries=0, cursor=dict(cursor)))
            return kept if found.rowcount else None

        return self._db.write(work)

    def done(self, watch: Watch, *, wait: float, tries: int, cursor: Mapping[str, Any]) -> None:
        """Look again in *wait* seconds. Does nothing where the claim has become another's: a watch never writes over a newer look (B5)."""
        self.all_done([(watch, wait, tries, cursor)])

    def all_done(self, looked: Sequence[tuple[Watch, float, int, Mapping[str, Any]]]) -> None:
        """`done` for a whole set: (watch, wait, tries, cursor) each."""
        t = tables.watches

        def work(c: Connection) -> None:
            now = self._db.now(c)
            ours = {w.id: w.claim for w, *_ in looked}
            query = self._db.locked(sa.select(t.c.id, t.c.claim).where(t.c.id.in_(list(ours))).order_by(t.c.id))
            held = {r.id for r in c.execute(query) if r.claim == ours[r.id]}
            rows = [
                {"id": w.id, "claim": None, "next_at": now + wait, "tries": tries, "cursor": dict(cursor)}
                for w, wait, tries, cursor in looked
                if w.id in held
            ]
            self._db.alter(c, t, rows)

        if looked:
            self._db.write(work)

    # -- single tasks, served by a feed

    def watched(self, account: str, tasks: Sequence[str] | None = None) -> set[str]:
        """Which of *tasks*, of all where it is None, have a watch of their own."""
        t = tables.watches
        query = sa.select(t.c.task).where(t.c.account == account, t.c.task.not_in(FEEDS))
        with self._db.read() as c:
            return set(c.scalars(query if tasks is None else query.where(self._db.one_of(t.c.task, tasks))))

    def served(self, account: str, realm: str, within: float, *, silent: bool) -> Served:
        """Count what a feed may do for the single watches of *account*. `soon`: within *within* seconds. *silent*: a feed may say nothing
        of what happens to a task under approval.
        """
        w, t = tables.watches, tables.tasks
        with self._db.read() as c:
            soon = sa.case((sa.and_(t.c.listed > 0, w.c.next_at <= self._db.now(c) + within), 1), else_=0)
            unknown = sa.case((t.c.listed.is_(None), 1), else_=0)
            join = w.outerjoin(t, sa.and_(t.c.realm == realm, t.c.task == w.c.task))
            query = sa.select(sa.func.sum(soon), sa.func.sum(unknown)).select_from(join).where(*_single(account, silent=silent))
            found = c.execute(query).one()
            return Served(int(found[0] or 0), int(found[1] or 0))

    def hold(self, account: str, realm: str, lease: float, *, whole: bool, silent: bool) -> None:
        """A pass begins or goes on: the single watches that it may serve wait for it, *lease* seconds at most. *whole*: it is over all
        there is, and shows which tasks the feed does.
        """
        w, t = tables.watches, tables.tasks

        def work(c: Connection) -> None:
            until = self._db.now(c) + lease
            join = w.outerjoin(t, sa.and_(t.c.realm == realm, t.c.task == w.c.task))
            may = sa.or_(t.c.listed.is_(None), t.c.listed > 0) if whole else t.c.listed > 0
            query = (
                sa.select(w.c.id).select_from(join).where(*_single(account, silent=silent), w.c.claim.is_(None), w.c.next_at < until, may)
            )
            ids = c.scalars(query.order_by(w.c.id)).all()
            c.execute(sa.update(w).where(self._db.one_of(w.c.id, ids), w.c.claim.is_(None)).values(next_at=until))

        self._db.write(work)

    def serve(self, account: str, realm: str, within: float, wait: Wait, *, silent: bool) -> int:
        """A pass is over: its single watches that come due within *within* seconds have had their look, and the next is *wait* from now.
        Returns how many there were.
        """
        w, t = tables.watches, tables.tasks

        def work(c: Connection) -> int:
            now = self._db.now(c)
            join = w.join(t, sa.and_(t.c.realm == realm, t.c.task == w.c.task))
            query = sa.select(w.c.id, w.c.interval, w.c.created_at, t.c.changed_at, t.c.notice_at, t.c.noticed).select_from(join)
            query = query.where(*_single(account, silent=silent), w.c.claim.is_(None), w.c.next_at <= now + within, t.c.listed > 0)
            found = c.execute((query if self._db.sqlite else query.with_for_update(of=w, skip_locked=True)).order_by(w.c.id)).all()
            waits = {
                r.id: wait(r.interval, now - max(r.created_at, r.changed_at or 0.0), _due_in(r.notice_at, r.noticed, now)) for r in found
            }
            self._db.alter(c, w, [{"id": id_, "next_at": now + seconds, "tries": 0} for id_, seconds in waits.items()])
            return len(found)

        return self._db.write(work)


def _due_in(notice_at: float | None, noticed: Sequence[Mark] | None, now: float) -> float | None:
    """Seconds until the due date nearest to *now*, or the notice of it, as a task's row knows them without its snapshot."""
    ends = ([] if notice_at is None else [notice_at]) + [due for _, _, due in noticed or ()]
    return min((end - now for end in ends), key=abs, default=None)


def _single(account: str, *, silent: bool) -> list[sa.ColumnElement[bool]]:
    """Of the watches joined with their tasks: those of single tasks that a feed can speak for."""
    w, t = tables.watches, tables.tasks
    return [w.c.account == account, w.c.task.not_in(FEEDS)] + ([t.c.look_at.is_(None)] if silent else [])


def _watch(row: sa.Row[Any]) -> Watch:
    return Watch(**row._mapping)  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
