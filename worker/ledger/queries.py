"""Read-only questions, for people and for the tick. Nothing here locks or changes anything."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from worker.core import evidence
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.tokens import idle


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


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands under a key. `digest`: of its content (A16)."""

    id: str
    key: str
    state: str
    accepted_at: float
    digest: str


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a delivery. `took` in seconds; `excerpt`: the receiver's own words."""

    at: float
    outcome: str
    status: int | None
    took: float
    detail: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """An event's way out by one sink. `tries`: those that count; `history`: each one, where the sink measures them."""

    sink: str
    state: str
    tries: int
    next_at: float | None
    detail: str
    history: tuple[Try, ...]


def _like(glob: str) -> str:
    """`*` and `?` as LIKE has them."""
    plain = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return plain.replace("*", "%").replace("?", "_")


class Queries:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def now(self) -> float:
        """The ledger's clock."""
        with self._db.read() as c:
            return self._db.now(c)

    def due(self) -> list[tuple[str, str]]:
        """What to ring for: ("submit", account), ("poll", account), ("emit", sink), ("renew", "")."""
        s, w, b, d, k = tables.submissions, tables.watches, tables.breakers, tables.deliveries, tables.sinks
        with self._db.read() as c:
            now = self._db.now(c)
            out = [("submit", a) for a in c.scalars(sa.select(s.c.account).where(s.c.next_at <= now).distinct())]
            # What waits for a breaker is due when that is (`submissions.claim`); a watch is due all the time.
            away = sa.select(b.c.name).where(b.c.state == "open", b.c.next_at > now)
            watched = sa.select(w.c.account).where(w.c.next_at <= now, w.c.account.not_in(away))
            out += [("poll", a) for a in c.scalars(watched.distinct())]
            shut = sa.select(k.c.name).where(sa.or_(k.c.off != "", k.c.pause_until > now))
            sinks = sa.select(d.c.sink).where(d.c.state == "due", d.c.next_at <= now, d.c.sink.not_in(shut)).distinct()
            out += [("emit", x) for x in c.scalars(sinks)]
            if c.scalar(sa.select(tables.tokens.c.name).where(idle(now)).limit(1)):
                out.append(("renew", ""))
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
        task: str | None = None,
    ) -> Sequence[Listed]:
        """The newest submissions, filtered."""
        t = tables.submissions
        where: list[sa.ColumnElement[bool]] = [sa.true()]
        if state:
            where.append(t.c.state == state)
        if account:
            where.append(t.c.account == account)
        if since is not None:
            where.append(t.c.accepted_at >= since)
        if task:
            where.append(t.c.task == task)
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
        self,
        *,
        after: int = 0,
        since: float | None = None,
        account: str | None = None,
        limit: int = 500,
        newest: bool = False,
        type_: str | None = None,
    ) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """(position, CloudEvents object) in the order they were written. `type_`: a glob (`step.*`)."""
        t = tables.events
        where = [t.c.position > after]
        if since is not None:
            where.append(t.c.at >= since)
        if account:
            where.append(t.c.source.endswith(f"/{account}", autoescape=True))
        if type_:
            where.append(t.c.type.like(_like(type_), escape="\\"))
        order = t.c.position.desc() if newest else t.c.position
        with self._db.read() as c:
            found = [(r.position, r.body) for r in c.execute(sa.select(t.c.position, t.c.body).where(*where).order_by(order).limit(limit))]
        return found[::-1] if newest else found

    def leavings(self, ids: Collection[str]) -> Mapping[str, Sequence[Leaving]]:
        """Event id -> its way out by each sink, in the order of their names."""
        e, d, t = tables.events, tables.deliveries, tables.tries
        join = d.join(e, d.c.position == e.c.position)
        names = (e.c.id, d.c.sink, d.c.position, d.c.state, d.c.tries, d.c.next_at, d.c.detail)
        out: dict[str, list[Leaving]] = {}
        with self._db.read() as c:
            chosen = self._db.one_of(e.c.id, ids)
            history: dict[tuple[str, int], list[Try]] = {}
            tried = sa.select(t).where(t.c.position.in_(sa.select(e.c.position).where(chosen))).order_by(t.c.id)
            for r in c.execute(tried):
                history.setdefault((r.sink, r.position), []).append(Try(r.at, r.outcome, r.status, r.took, r.detail, r.excerpt))
            for r in c.execute(sa.select(*names).select_from(join).where(chosen).order_by(d.c.sink, d.c.position)):
                next_at = r.next_at if r.state == "due" else None
                made = Leaving(r.sink, r.state, r.tries, next_at, r.detail or "", tuple(history.get((r.sink, r.position), ())))
                out.setdefault(r.id, []).append(made)
        return out

    def event(self, id_: str) -> Mapping[str, Any] | None:
        """The CloudEvents object of that id."""
        with self._db.read() as c:
            found = c.scalar(sa.select(tables.events.c.body).where(tables.events.c.id == id_))
        return None if found is None else dict(found)

    def standing(self, names: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Standing]:
        """What stands under these (account, key) names (A16)."""
        t = tables.submissions
        out: dict[tuple[str, str], Standing] = {}
        wanted = sorted(names)
        with self._db.read() as c:
            for at in range(0, len(wanted), 400):  # two parameters each, and old SQLite takes 999
                where = sa.tuple_(t.c.account, t.c.key).in_(wanted[at : at + 400])
                query = sa.select(t.c.account, t.c.key, t.c.id, t.c.state, t.c.accepted_at, t.c.digest).where(where)
                out |= {(r.account, r.key): Standing(r.id, r.key, r.state, r.accepted_at, r.digest) for r in c.execute(query)}
        return out

    def derived(self, account: str, key: str) -> Sequence[Standing]:
        """The submissions under *key* and under *key* with a counter behind it (`KEY/2`), newest first."""
        t = tables.submissions
        where = sa.and_(t.c.account == account, sa.or_(t.c.key == key, t.c.key.startswith(f"{key}/", autoescape=True)))
        query = sa.select(t.c.id, t.c.key, t.c.state, t.c.accepted_at, t.c.digest).where(where)
        with self._db.read() as c:
            return [Standing(*r) for r in c.execute(query.order_by(t.c.accepted_at.desc(), t.c.id.desc()))]

    def slot(self, id_: str) -> tuple[str | None, Sequence[str]]:
        """Who holds the slot of the task that submission *id_* is for, and who waits behind *id_*."""
        s, t = tables.submissions, tables.tasks
        join = s.join(t, sa.and_(s.c.realm == t.c.realm, s.c.task == t.c.task))
        with self._db.read() as c:
            holder = c.scalar(sa.select(t.c.holder).select_from(join).where(s.c.id == id_))
            behind = list(c.scalars(sa.select(s.c.id).where(s.c.behind == id_, s.c.state == "waiting").order_by(s.c.accepted_at, s.c.id)))
        return holder, behind

    def credited(self, realm: str, task: str) -> frozenset[str]:
        """The responses of a task that are credited to submissions of ours (A10)."""
        t = tables.claims
        with self._db.read() as c:
            return frozenset(c.scalars(sa.select(t.c.response).where(t.c.realm == realm, t.c.task == task)))

    def position(self) -> int:
        """Where the events end now: what is told later stands behind it."""
        with self._db.read() as c:
            return int(c.scalar(sa.select(sa.func.max(tables.events.c.position))) or 0)

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
