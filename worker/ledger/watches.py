"""Watches: what is polled, when next, and how far a feed has been read."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.ledger import tables
from worker.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch. `task`: "" for the account's whole feed. `interval`: seconds between two looks. `cursor`: how far a feed was read."""

    id: str
    account: str
    task: str
    interval: float
    next_at: float
    claim: str | None
    tries: int
    cursor: Mapping[str, Any]
    created_at: float


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
            return _watch(c.execute(sa.select(t).where(t.c.account == account, t.c.task == task)).one())

        return self._db.write(work)

    def remove(self, id_: str) -> bool:
        """Stop watching. False where there is no such watch."""
        return self._db.write(lambda c: c.execute(sa.delete(tables.watches).where(tables.watches.c.id == id_)).rowcount) > 0

    def all(self) -> list[Watch]:
        """Every watch."""
        with self._db.read() as c:
            return [_watch(r) for r in c.execute(sa.select(tables.watches).order_by(tables.watches.c.created_at))]

    def claim(self, account: str, room: int, lease: float) -> list[Watch]:
        """Due watches of *account*, ours for *lease* seconds: a watch never overlaps itself (B5)."""

        def work(c: Connection) -> list[Watch]:
            now = self._db.now(c)
            t = tables.watches
            due = sa.select(t).where(t.c.account == account, t.c.next_at <= now).order_by(t.c.next_at).limit(room)
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


def _watch(row: sa.Row[Any]) -> Watch:
    return Watch(**row._mapping)  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
