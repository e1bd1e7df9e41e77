"""Read-only questions, for people and for the tick. Nothing here locks or changes anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from worker.core import evidence
from worker.ledger import tables
from worker.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Listed:
    """A submission as it is listed. Times in seconds since the epoch."""

    id: str
    key: str
    account: str
    grant: str
    task: str
    action: str
    state: str
    reason: str | None
    behind: str | None
    next_at: float | None
    accepted_at: float
    updated_at: float
    command: Mapping[str, Any]
    progress: Mapping[str, Any]


class Queries:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def now(self) -> float:
        """The ledger's clock."""
        with self._db.read() as c:
            return self._db.now(c)

    def due(self) -> list[tuple[str, str]]:
        """What to ring for: ("submit", account), ("poll", account), ("emit", sink)."""
        s, w, d = tables.submissions, tables.watches, tables.deliveries
        with self._db.read() as c:
            now = self._db.now(c)
            out = [("submit", a) for a in c.scalars(sa.select(s.c.account).where(s.c.next_at <= now).distinct())]
            out += [("poll", a) for a in c.scalars(sa.select(w.c.account).where(w.c.next_at <= now).distinct())]
            out += [("emit", x) for x in c.scalars(sa.select(d.c.sink).where(d.c.state == "due", d.c.next_at <= now).distinct())]
            return sorted(out)

    def find(self, name: str, account: str | None = None) -> Sequence[Listed]:
        """Submissions by id, or by key (one for each account that has it)."""
        t = tables.submissions
        where = sa.or_(t.c.id == name, t.c.key == name)
        return self._listed(sa.and_(where, t.c.account == account) if account else where, 100)

    def listed(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        since: float | None = None,
        limit: int = 200,
        open_on: str | None = None,
    ) -> Sequence[Listed]:
        """The newest submissions, filtered. `open_on`: those of that task which are not ended."""
        t = tables.submissions
        where: list[sa.ColumnElement[bool]] = [sa.true()]
        if state:
            where.append(t.c.state == state)
        if account:
            where.append(t.c.account == account)
        if since is not None:
            where.append(t.c.accepted_at >= since)
        if open_on:
            where.append(t.c.task == open_on)
        return self._listed(sa.and_(*where), limit)

    def _listed(self, where: Any, limit: int) -> Sequence[Listed]:
        t = tables.submissions
        names = [t.c[n] for n in Listed.__dataclass_fields__]
        with self._db.read() as c:
            found = c.execute(sa.select(*names).where(where).order_by(t.c.accepted_at.desc(), t.c.id.desc()).limit(limit))
            return [Listed(*r) for r in found]

    def story(self, id_: str) -> tuple[Sequence[evidence.Link], str | None]:
        """The evidence of one submission, and the first fault of its chain, if any (A18)."""
        t, s = tables.evidence, tables.submissions
        with self._db.read() as c:
            links = [
                evidence.Link(r.n, r.at, r.kind, r.public, r.private, r.salt, r.seal, r.digest)
                for r in c.execute(sa.select(t).where(t.c.submission == id_).order_by(t.c.n))
            ]
            head = c.execute(sa.select(s.c.head, s.c.links).where(s.c.id == id_)).first()
        fault = evidence.verify(links)
        if fault is None and head is not None and (head.links != len(links) or head.head != (links[-1].digest if links else "")):
            fault = "the chain does not end where the submission's row says"
        return links, fault

    def attempts(self, id_: str) -> Sequence[Mapping[str, Any]]:
        """The attempts of one submission with their outcomes."""
        a, o = tables.attempts, tables.outcomes
        join = a.outerjoin(o, sa.and_(a.c.submission == o.c.submission, a.c.n == o.c.n))
        names = (
            a.c.n,
            a.c.began_at,
            o.c.at.label("settled_at"),
            o.c.outcome,
            sa.func.coalesce(o.c.quiet_until, a.c.quiet_until).label("quiet_until"),
        )
        with self._db.read() as c:
            return [dict(r._mapping) for r in c.execute(sa.select(*names).select_from(join).where(a.c.submission == id_).order_by(a.c.n))]  # noqa: SLF001

    def events(
        self, *, after: int = 0, since: float | None = None, account: str | None = None, limit: int = 500, newest: bool = False
    ) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """(position, CloudEvents object) in the order they were written."""
        t = tables.events
        where = [t.c.position > after]
        if since is not None:
            where.append(t.c.at >= since)
        if account:
            where.append(t.c.source.like(f"%/{account}"))
        order = t.c.position.desc() if newest else t.c.position
        with self._db.read() as c:
            found = [(r.position, r.body) for r in c.execute(sa.select(t.c.position, t.c.body).where(*where).order_by(order).limit(limit))]
        return found[::-1] if newest else found

    def deliveries(self) -> Sequence[tuple[str, str, int]]:
        """(sink, state, how many)."""
        t = tables.deliveries
        with self._db.read() as c:
            query = sa.select(t.c.sink, t.c.state, sa.func.count()).group_by(t.c.sink, t.c.state).order_by(t.c.sink, t.c.state)
            return [(r[0], r[1], r[2]) for r in c.execute(query)]

    def states(self) -> Sequence[tuple[str, str, int]]:
        """(account, state, how many)."""
        t = tables.submissions
        with self._db.read() as c:
            query = sa.select(t.c.account, t.c.state, sa.func.count()).group_by(t.c.account, t.c.state).order_by(t.c.account, t.c.state)
            return [(r[0], r[1], r[2]) for r in c.execute(query)]
