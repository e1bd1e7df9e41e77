"""The outbox: events written with the state they tell of (C1), and their way out by lanes (C3).

A lane is (sink, hash of the task modulo 64). A relay leases lanes, not rows, and has at most one unconfirmed event for each task and sink,
so that the events of one task leave in order. A lane that is taken over after its lease may repeat an event: consumers drop it by id, or
by a lower `sequence`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core import pace
from worker.core.delivery import Delivery, Left, Result
from worker.core.events import Event, cloudevent, routing_key
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.rows import Key
from worker.ledger.tasks import Locked

LANES = 64
"""Enough that eight relays share the work evenly, few enough that a lease costs one small update."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that is due: where it stands, and what leaves."""

    position: int
    realm: str
    task: str
    tries: int
    delivery: Delivery


def lane_of(realm: str, task: str) -> int:
    """The lane of a task's events."""
    return zlib.crc32(f"{realm}\n{task}".encode()) % LANES


class Outbox:
    """See the module. *sinks*: every way out, with the globs of the event types that it lets out."""

    def __init__(self, database: Database, sinks: Mapping[str, Sequence[str]]) -> None:
        self._db, self._sinks = database, dict(sorted(sinks.items()))

    def write(self, c: Connection, locked: Locked, told: Sequence[tuple[Key, Event]], now: float) -> None:
        """Write events that are not there yet, each with the next sequence of its task, in the order of *told* (C2, C3).

        The tasks are locked by the caller, which is what orders writers. An event of no task (its key's task is "") has no sequence.
        """
        if not told:
            return
        t, d = tables.events, tables.deliveries
        known = set(c.scalars(sa.select(t.c.id).where(self._db.one_of(t.c.id, [e.id for _, e in told]))).all())
        values = []
        for (realm, task), event in told:
            if event.id in known:
                continue
            known.add(event.id)
            sequence = None
            if task:
                row = locked[realm, task]
                locked[realm, task] = row = replace(row, sequence=row.sequence + 1)
                sequence = row.sequence
            values.append(
                {
                    "id": event.id,
                    "realm": realm,
                    "task": task,
                    "sequence": sequence,
                    "type": event.type,
                    "source": event.source,
                    "at": now,
                    "body": cloudevent(event, sequence),
                }
            )
        if not values:
            return
        # Events of no task are not ordered by any lock: another may have told them by now, and then tells their deliveries, too.
        written = self._db.put(c, t, values, new=True, returning=(t.c.position, t.c.realm, t.c.task, t.c.type))
        positions = sorted(written, key=lambda r: r.position)
        out = [
            {
                "sink": sink,
                "position": r.position,
                "realm": r.realm,
                "task": r.task,
                "lane": lane_of(r.realm, r.task or str(r.position)),
                "state": "due",
                "tries": 0,
                "next_at": now,
                "detail": None,
            }
            for sink, globs in self._sinks.items()
            for r in positions
            if any(fnmatchcase(r.type, glob) for glob in globs)
        ]
        self._db.put(c, d, out, new=True)

    def tell(self, told: Sequence[Event], realm: str = "") -> None:
        """Events that belong to no task, such as `command.rejected`: written once, however often they are told."""

        def work(c: Connection) -> None:
            self.write(c, Locked({}), [((realm, ""), e) for e in told], self._db.now(c))

        if told:
            self._db.write(work)

    # -- out

    def lease(self, sink: str, holder: str, seconds: float) -> list[int]:
        """The lanes of *sink* with something due that nobody else relays: ours for *seconds*, renewed by calling again."""
        return self._db.write(lambda c: self._lease(c, sink, holder, seconds))

    def _lease(self, c: Connection, sink: str, holder: str, seconds: float) -> list[int]:
        t, d = tables.lanes, tables.deliveries
        now = self._db.now(c)
        due = sorted(set(c.scalars(sa.select(d.c.lane).where(d.c.sink == sink, d.c.state == "due", d.c.next_at <= now).distinct()).all()))
        if not due:
            return []
        self._db.put(c, t, [{"sink": sink, "lane": lane, "holder": None, "until": 0.0} for lane in due], new=True)
        query = sa.select(t.c.lane, t.c.holder, t.c.until).where(t.c.sink == sink, self._db.one_of(t.c.lane, due)).order_by(t.c.lane)
        free = [r.lane for r in c.execute(self._db.locked(query, skip=True)) if r.holder in (None, holder) or r.until <= now]
        if free:
            c.execute(sa.update(t).where(t.c.sink == sink, self._db.one_of(t.c.lane, free)).values(holder=holder, until=now + seconds))
        return free

    def release(self, sink: str, holder: str) -> None:
        """Give the lanes of *holder* back."""
        t = tables.lanes
        self._db.write(lambda c: c.execute(sa.update(t).where(t.c.sink == sink, t.c.holder == holder).values(holder=None, until=0.0)))

    def due(self, sink: str, lanes: Sequence[int], limit: int) -> list[Due]:
        """Deliveries of *lanes* that are due, oldest first. None of them stands behind an earlier event of its task that has to wait."""
        d, e = tables.deliveries, tables.events
        with self._db.read() as c:
            now = self._db.now(c)
            # Looked up once, not for each delivery: on a table that no ANALYZE has seen, NOT EXISTS reads it all a thousand times.
            waiting = (
                sa.select(d.c.realm, d.c.task, sa.func.min(d.c.position).label("first"))
                .where(d.c.sink == sink, d.c.state == "due", d.c.next_at > now, d.c.task != "")
                .group_by(d.c.realm, d.c.task)
                .cte("waiting")
                .prefix_with("MATERIALIZED", dialect="postgresql")
            )
            query = (
                sa.select(d.c.position, d.c.realm, d.c.task, d.c.tries, e.c.id, e.c.type, e.c.source, e.c.body)
                .select_from(
                    d.join(e, d.c.position == e.c.position).outerjoin(
                        waiting, sa.and_(d.c.realm == waiting.c.realm, d.c.task == waiting.c.task)
                    )
                )
                .where(d.c.sink == sink, self._db.one_of(d.c.lane, lanes), d.c.state == "due", d.c.next_at <= now)
                .where(sa.or_(waiting.c.first.is_(None), waiting.c.first > d.c.position))
                .order_by(d.c.position)
                .limit(limit)
            )
            return [
                Due(r.position, r.realm, r.task, r.tries, Delivery(r.id, routing_key(r.type, r.source), r.body))
                for r in c.execute(query).all()
            ]

    def record(self, sink: str, results: Mapping[int, tuple[int, Result]], dice: float) -> None:
        """What became of deliveries: position -> (tries so far, result). What failed is tried again later, with what stands behind it.

        One that has left meanwhile by another relay, which took the lane over, is not called back.
        """

        def work(c: Connection) -> None:
            now = self._db.now(c)
            d = tables.deliveries
            values = []
            for position, (tries, result) in results.items():
                failed = result.left is Left.FAILED
                wait = pace.throttled(result.retry_after, tries, dice) if failed else 0.0
                state = "due" if failed else result.left.value
                about = {"state": state, "tries": tries + 1, "next_at": now + wait, "detail": result.detail or None}
                values.append({"sink": sink, "position": position, **about})
            query = sa.select(d.c.position).where(d.c.sink == sink, d.c.state == "due", self._db.one_of(d.c.position, list(results)))
            due = set(c.scalars(self._db.locked(query.order_by(d.c.position))).all())
            self._db.alter(c, d, [v for v in values if v["position"] in due])

        if results:
            self._db.write(work)

    def requeue(self, sink: str, *, state: str = "unbound", since: float = 0.0) -> int:
        """Send again what left in *state* since *since*; returns how many (C4)."""
        d, e = tables.deliveries, tables.events

        def work(c: Connection) -> int:
            chosen = sa.select(e.c.position).where(e.c.at >= since)
            values: dict[str, Any] = {"state": "due", "next_at": self._db.now(c)}
            return c.execute(sa.update(d).where(d.c.sink == sink, d.c.state == state, d.c.position.in_(chosen)).values(values)).rowcount

        return self._db.write(work)
