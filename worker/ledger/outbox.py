"""The outbox: events written with the state they tell of (C1), and their way out by lanes (C3).

A lane is (sink, hash of the task modulo 64). A relay leases lanes, not rows, and has at most one unconfirmed event for each task and sink,
so that the events of one task leave in order. A lane that is taken over after its lease may repeat an event: consumers drop it by id, or
by a lower `sequence`.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.delivery import Delivery, Next, Policy, Result, Standing, Wanted, after, pace_of, wants, weigh
from worker.core.events import Event, cloudevent, routing_key
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.rows import Key
from worker.ledger.tasks import Locked

LANES = 64
"""Enough that eight relays share the work evenly, few enough that a lease costs one small update."""

MISSING = ("unbound", "dead")
"""States of what its receiver does not have."""

LONGEST_READ = 16_000
"""Deliveries that are looked through at once for one that may leave, where many stand behind others that have to wait."""

FOR_EVER = Policy()

_DUE, _DEAD = (tables.deliveries.c.state == sa.literal_column(f"'{state}'") for state in ("due", "dead"))
"""Literals: the indexes are of these rows only."""

Off = Callable[[Standing], Event]
"""Makes the event that tells of a sink that was shut off."""


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds after which it is forgotten: a try of the history, a delivery that has left, an event with all that is left of it."""

    tries: float
    deliveries: float
    events: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were forgotten. False where none was."""

    tries: int = 0
    deliveries: int = 0
    events: int = 0

    def __bool__(self) -> bool:
        return any((self.tries, self.deliveries, self.events))


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
    """See the module. *sinks*: every way out, with what it lets out."""

    def __init__(self, database: Database, sinks: Mapping[str, Wanted]) -> None:
        self._db, self._sinks = database, dict(sorted(sinks.items()))

    def write(self, c: Connection, locked: Locked, told: Sequence[tuple[Key, Event]], now: float, *, but: str = "") -> None:
        """Write events that are not there yet, each with the next sequence of its task, in the order of *told* (C2, C3). The sink *but*
        does not let them out.

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
        written = self._db.put(c, t, values, new=True, returning=(t.c.position, t.c.realm, t.c.task, t.c.type, t.c.source))
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
            for sink, wanted in self._sinks.items()
            for r in positions
            if sink != but and wants(wanted, r.type, r.source)
        ]
        self._db.put(c, d, out, new=True)

    def tell(self, told: Sequence[Event], realm: str = "") -> None:
        """Events that belong to no task, such as `command.rejected`: written once, however often they are told."""

        def work(c: Connection) -> None:
            self.write(c, Locked({}), [((realm, ""), e) for e in told], self._db.now(c))

        if told:
            self._db.write(work)

    # -- out

    def ready(self, sink: str, policy: Policy) -> bool:
        """Whether a turn of *sink* may let something out, as far as one row tells: it is not off, not left alone, and its rate allows some.
        Where nothing gets through, half a second's worth: each event that is written rings, and a turn costs more than a try.
        """
        with self._db.read() as c:
            if (row := self._row(c, sink)) is None:
                return True
            now = self._db.now(c)
            rate = pace_of(policy, failing=row.failing is not None)
            enough = rate is None or _unused(row, rate, now) * rate + 1e-6 >= max(1.0, rate / 2 if row.failing is not None else 1.0)
            return enough and not row.off and row.pause_until <= now

    def lease(self, sink: str, holder: str, seconds: float) -> list[int]:
        """The lanes of *sink* with something due that nobody else relays: ours for *seconds*, renewed by calling again. None of a sink that
        is off or left alone for now.
        """
        return self._db.write(lambda c: self._lease(c, sink, holder, seconds))

    def _lease(self, c: Connection, sink: str, holder: str, seconds: float) -> list[int]:
        t, d = tables.lanes, tables.deliveries
        now = self._db.now(c)
        if (row := self._row(c, sink)) and (row.off or row.pause_until > now):
            return []
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
        """Deliveries of *lanes* that are due, oldest first. None of them stands behind an earlier event of its task that has to wait: such
        a one waits for as long, and is not read again before.
        """
        size = limit
        while True:
            found, firsts = self._read(sink, lanes, size)
            ready = [r for r in found if r.position < firsts.get((r.realm, r.task), r.position + 1)]
            if behind := [r for r in found if r.position > firsts.get((r.realm, r.task), r.position)]:
                self._db.write(lambda c, behind=behind, firsts=firsts: self._wait(c, sink, behind, firsts))  # type: ignore[misc]
            if ready or not behind:
                return self._whole(sink, ready[:limit])
            size = min(4 * size, LONGEST_READ)

    def _read(self, sink: str, lanes: Sequence[int], limit: int) -> tuple[Sequence[Any], Mapping[Key, int]]:
        """What is due, and for each of its tasks the position of the first delivery that has to wait, if one has."""
        d = tables.deliveries
        mine = sa.and_(d.c.sink == sink, _DUE)
        with self._db.read() as c:
            now = self._db.now(c)
            due = sa.select(d.c.position, d.c.realm, d.c.task, d.c.tries).where(mine, self._db.one_of(d.c.lane, lanes), d.c.next_at <= now)
            # By a sum, which is in no index: else it may be read by the primary key, through all that has ever left.
            found = c.execute(due.order_by(d.c.position + 0).limit(limit)).all()
            # One look into `ix_deliveries_task` for each task: no other index fits what is asked. On a table that no ANALYZE has seen the
            # planner takes any that does, or a join, for as good, and then reads all that waits a thousand times: 20 s with 100,000.
            given, one, two = self._db.pairs({(r.realm, r.task) for r in found if r.task})
            of_task = (d.c.sink.concat("") == sink, _DUE, d.c.realm == one, d.c.task == two)
            first = sa.select(sa.func.min(d.c.position).filter(d.c.next_at > now)).where(*of_task)
            firsts = c.execute(sa.select(one, two, first.scalar_subquery()).select_from(given)).all() if found else []
        return found, {(r[0], r[1]): r[2] for r in firsts if r[2] is not None}

    def _whole(self, sink: str, found: Sequence[Any]) -> list[Due]:
        """Deliveries with what leaves."""
        if not found:
            return []
        d, e = tables.deliveries, tables.events
        # One look into `ix_deliveries_dead` for each event, as above: the newest of its task before it that was set aside.
        of_task = (d.c.sink.concat("") == sink, _DEAD, d.c.realm == e.c.realm, d.c.task == e.c.task, e.c.task != "")
        aside = sa.select(sa.func.max(d.c.position)).where(*of_task, d.c.position < e.c.position).scalar_subquery()
        with self._db.read() as c:
            chosen = self._db.one_of(e.c.position, [r.position for r in found])
            names = (e.c.position, e.c.id, e.c.type, e.c.source, e.c.body, aside.label("aside"))
            events = {r.position: r for r in c.execute(sa.select(*names).where(chosen))}
            before = {r.aside for r in events.values() if r.aside is not None}
            given = sa.select(e.c.position, e.c.sequence).where(self._db.one_of(e.c.position, before))
            sequence = {r.position: r.sequence for r in c.execute(given)} if before else {}
        out = []
        for r in found:
            event = events[r.position]
            body = event.body if event.aside is None else {**event.body, "setaside": str(sequence[event.aside])}
            out.append(Due(r.position, r.realm, r.task, r.tries, Delivery(event.id, routing_key(event.type, event.source), body)))
        return out

    def _wait(self, c: Connection, sink: str, behind: Sequence[Any], firsts: Mapping[Key, int]) -> None:
        """What stands behind the first of its task that has to wait, waits until then. Under the lock of whoever lets go (`enable`)."""
        d = tables.deliveries
        self._held(c, sink, self._db.now(c))
        waits = sa.select(d.c.position, d.c.next_at).where(d.c.sink == sink, d.c.state == "due")
        until = {r.position: r.next_at for r in c.execute(waits.where(self._db.one_of(d.c.position, sorted(set(firsts.values())))))}
        pairs = ((r.position, until.get(firsts[r.realm, r.task])) for r in sorted(behind, key=lambda r: r.position))
        self._db.alter(c, d, [{"sink": sink, "position": position, "next_at": at} for position, at in pairs if at is not None])

    def allow(self, sink: str, wanted: int, rate: float) -> int:
        """How many of *wanted* deliveries may be started now, at *rate* a second: of a second that was not used all may be made up for."""

        def work(c: Connection) -> int:
            now = self._db.now(c)
            row = self._held(c, sink, now)
            unused = _unused(row, rate, now)
            granted = min(wanted, int(unused * rate + 1e-6))
            if granted:
                paid = now - unused + granted / rate
                c.execute(sa.update(tables.sinks).where(tables.sinks.c.name == sink).values(paid_until=paid))
            return granted

        return self._db.write(work)

    def record(
        self, sink: str, results: Mapping[int, tuple[int, Result]], dice: float, policy: Policy = FOR_EVER, off: Off | None = None
    ) -> Event | None:
        """What became of deliveries: position -> (tries so far, result). What failed is tried again later, with what stands behind it.

        One that has left meanwhile by another relay, which took the lane over, is not called back. Where the sink is shut off by this, the
        event that *off* makes of it is told by the others, and returned.
        """
        return self._db.write(lambda c: self._record(c, sink, results, dice, policy, off)) if results else None

    def _record(
        self, c: Connection, sink: str, results: Mapping[int, tuple[int, Result]], dice: float, policy: Policy, off: Off | None
    ) -> Event | None:
        now, d = self._db.now(c), tables.deliveries
        query = sa.select(d.c.position).where(d.c.sink == sink, d.c.state == "due", self._db.one_of(d.c.position, list(results)))
        due = set(c.scalars(self._db.locked(query.order_by(d.c.position))).all())
        follows = {p: after(result, tries, policy, dice) for p, (tries, result) in results.items()}
        self._db.alter(c, d, [self._value(sink, p, follows[p], results[p][1], now) for p in results if p in due])
        self._db.put(
            c,
            tables.tries,
            [
                {
                    "sink": sink,
                    "position": position,
                    "at": now,
                    "outcome": follows[position].state if follows[position].state != "due" else result.left.value,
                    "status": result.status,
                    "took": result.took,
                    "detail": result.detail,
                    "excerpt": result.excerpt,
                }
                for position, (_, result) in results.items()
                if result.took is not None
            ],
        )
        return self._stand(c, sink, [r for _, r in results.values()], policy, off, now) if policy.schedule is not None else None

    @staticmethod
    def _value(sink: str, position: int, follows: Next, result: Result, now: float) -> Mapping[str, Any]:
        about = {"state": follows.state, "tries": follows.tries, "next_at": now + follows.wait, "detail": result.detail or None}
        return {"sink": sink, "position": position, **about}

    def _stand(self, c: Connection, sink: str, results: Sequence[Result], policy: Policy, off: Off | None, now: float) -> Event | None:
        before = _standing(self._held(c, sink, now))
        standing = weigh(before, results, policy, now)
        if standing != before:
            c.execute(sa.update(tables.sinks).where(tables.sinks.c.name == sink).values(asdict(standing)))
        if not standing.off or before.off or off is None:
            return None
        event = off(standing)
        self.write(c, Locked({}), [(("", ""), event)], now, but=sink)
        return event

    # -- a sink's standing

    def standings(self) -> Mapping[str, Standing]:
        """What is known of each sink, by name. One that is missing works, and never failed."""
        with self._db.read() as c:
            return {r.name: _standing(r) for r in c.execute(sa.select(tables.sinks))}

    def standing(self, sink: str) -> Standing:
        """What is known of *sink*."""
        with self._db.read() as c:
            row = self._row(c, sink)
        return _standing(row) if row else Standing()

    def enable(self, sink: str) -> int:
        """Whatever shut it off: it works again, and what waits leaves at once, with all tries before it. Returns how many wait."""
        d = tables.deliveries

        def work(c: Connection) -> int:
            now = self._db.now(c)
            self._held(c, sink, now)
            fresh = {"off": "", "since": now, "failing": None, "pause_until": 0.0}
            c.execute(sa.update(tables.sinks).where(tables.sinks.c.name == sink).values(fresh))
            waits = sa.update(d).where(d.c.sink == sink, d.c.state == "due")
            return c.execute(waits.values(next_at=now, tries=0)).rowcount

        return self._db.write(work)

    def disable(self, sink: str, why: str) -> bool:
        """Nothing leaves by it any more; what is written waits. Returns whether it worked before."""

        def work(c: Connection) -> bool:
            now = self._db.now(c)
            if self._held(c, sink, now).off:
                return False
            c.execute(sa.update(tables.sinks).where(tables.sinks.c.name == sink).values(off=why, since=now))
            return True

        return self._db.write(work)

    def _row(self, c: Connection, sink: str) -> sa.Row[Any] | None:
        return c.execute(sa.select(tables.sinks).where(tables.sinks.c.name == sink)).first()

    def _held(self, c: Connection, sink: str, now: float) -> sa.Row[Any]:
        """The row of *sink*, locked; made where there is none."""
        fresh = {"name": sink, "off": "", "since": now, "failing": None, "pause_until": 0.0, "paid_until": 0.0}
        self._db.put(c, tables.sinks, [fresh], new=True)
        return c.execute(self._db.locked(sa.select(tables.sinks).where(tables.sinks.c.name == sink))).one()

    # -- again

    def requeue(
        self, sink: str, states: Sequence[str] = MISSING, *, since: float = 0.0, until: float | None = None, event: str | None = None
    ) -> int:
        """Send again what left in *states*, with all tries before it: of the events that were written since *since* and before *until*, or
        the one of that id. Returns how many (C4).
        """
        d, e = tables.deliveries, tables.events
        where = [e.c.at >= since] + ([e.c.at < until] if until is not None else []) + ([e.c.id == event] if event is not None else [])

        def work(c: Connection) -> int:
            now = self._db.now(c)
            self._held(c, sink, now)
            chosen = sa.select(e.c.position).where(*where)
            values: dict[str, Any] = {"state": "due", "tries": 0, "next_at": now}
            mine = sa.update(d).where(d.c.sink == sink, d.c.state.in_(states), d.c.position.in_(chosen))
            return c.execute(mine.values(values)).rowcount

        return self._db.write(work)

    # -- away

    def prune(self, ages: Ages, chunk: int = 2000) -> Pruned:
        """Forget what is older than *ages*, in small transactions. What has not left yet stays, and its event with it. An event that was
        forgotten would be told anew, should its fact ever be seen for the first time again.
        """
        t, d, e = tables.tries, tables.deliveries, tables.events
        stays = sa.exists().where(d.c.position == e.c.position, d.c.state == "due")

        def away(c: Connection, now: float) -> Pruned:
            old = list(c.scalars(sa.select(t.c.id).where(t.c.at < now - ages.tries).order_by(t.c.id).limit(chunk)))
            tries = c.execute(sa.delete(t).where(self._db.one_of(t.c.id, old))).rowcount
            settled = sa.select(d.c.sink, d.c.position).join(e, d.c.position == e.c.position).where(d.c.state == "delivered")
            some = c.execute(settled.where(e.c.at < now - ages.deliveries).order_by(d.c.position).limit(chunk)).all()
            deliveries = sum(self._forget(c, sink, [r.position for r in some if r.sink == sink]) for sink in {r.sink for r in some})
            gone = list(c.scalars(sa.select(e.c.position).where(e.c.at < now - ages.events, ~stays).order_by(e.c.position).limit(chunk)))
            deliveries += self._forget(c, None, gone)
            events = c.execute(sa.delete(e).where(self._db.one_of(e.c.position, gone))).rowcount
            return Pruned(tries, deliveries, events)

        total = Pruned()
        while some := self._db.write(lambda c: away(c, self._db.now(c))):
            total = Pruned(total.tries + some.tries, total.deliveries + some.deliveries, total.events + some.events)
        return total

    def _forget(self, c: Connection, sink: str | None, positions: Sequence[int]) -> int:
        """Deliveries with their history, of one sink or of all; returns how many."""
        out = 0
        for table in (tables.tries, tables.deliveries):
            where = [self._db.one_of(table.c.position, positions)] + ([] if sink is None else [table.c.sink == sink])
            out = c.execute(sa.delete(table).where(*where)).rowcount
        return out


def _unused(row: sa.Row[Any], rate: float, now: float) -> float:
    """Seconds that are not paid for yet: of one second, or of the time that one try takes at *rate*, all may be made up for."""
    return float(min(now - row.paid_until, max(1.0, rate) / rate))


def _standing(row: sa.Row[Any]) -> Standing:
    return Standing(row.off, row.since, row.failing, row.pause_until)
