"""The breakers in the ledger: one row for each account whose upstream ever failed, shared by all processes (B4).

What a breaker comes to is written in one transaction with its event, and what waited for it is woken in the same one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core import breaker as core
from worker.core import events
from worker.core.breaker import Breaker
from worker.core.events import Event
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.outbox import Outbox
from worker.ledger.rows import fields_of
from worker.ledger.tasks import Locked
from worker.ledger.waiting import wake


@dataclass(frozen=True, slots=True)
class Heard:
    """A breaker after it was told what came of some requests, the ledger's time, and the event that this was worth."""

    breaker: Breaker
    now: float
    event: Event | None = None


class Breakers:
    """See the module."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._db, self._outbox = database, outbox

    def find(self, name: str) -> tuple[Breaker, float]:
        """The breaker of account *name*, and the ledger's time; 0 where no time matters, which spares a question."""
        with self._db.read() as c:
            found = self._found(c, name)
            return found, self._db.now(c) if found.at else 0.0

    def all(self) -> Sequence[Breaker]:
        """Every row: for people."""
        with self._db.read() as c:
            return [_breaker(row) for row in c.execute(sa.select(tables.breakers).order_by(tables.breakers.c.name))]

    def take(self, name: str, holder: str, lease: float) -> Heard | None:
        """*holder* probes, for all; None where somebody else does, or it is too early, or no probe is needed any more."""

        def work(c: Connection) -> Heard | None:
            found = self._found(c, name, locked=True)
            now = self._db.now(c)
            if found.state != "open" or not found.room(now, 1):
                return None
            taken = found.taken(holder, now, lease)
            self._save(c, taken)
            return Heard(taken, now)

        return self._db.write(work)

    def give_back(self, name: str, holder: str) -> None:
        """*holder* had nothing to ask after all."""
        t = tables.breakers

        def work(c: Connection) -> None:
            where = (t.c.name == name, t.c.state == "open", t.c.holder == holder)
            c.execute(sa.update(t).where(*where).values(holder=None, next_at=self._db.now(c)))

        self._db.write(work)

    def hear(self, name: str, kind: str, realm: str, answers: Sequence[str], holder: str, dice: float) -> Heard:
        """Tell the breaker of account *name* what came of requests (`Breaker.heard`)."""

        def work(c: Connection) -> Heard:
            before = self._found(c, name, locked=True)
            now = self._db.now(c)
            after = before.heard(answers, holder, now, dice)
            if after == before:
                return Heard(before, now)
            self._save(c, after)
            if after.episode == before.episode:
                return Heard(after, now)
            tell: Callable[..., Event] = events.upstream_away if after.state == "open" else events.upstream_back
            event = tell(f"/{kind}/{name}", name, after, now)
            self._outbox.write(c, Locked({}), [((realm, ""), event)], now)
            if after.state == "closed":
                wake(self._db, c, name, core.AWAY, lambda n: now + core.opens(n))
            return Heard(after, now, event)

        return self._db.write(work)

    def _found(self, c: Connection, name: str, *, locked: bool = False) -> Breaker:
        """The row; locked, it is made if need be."""
        t = tables.breakers
        query = sa.select(t).where(t.c.name == name)
        row = c.execute(self._db.locked(query) if locked else query).first()
        if row is None and locked:
            self._db.put(c, t, [fields_of(Breaker(name))], new=True)
            row = c.execute(self._db.locked(query)).first()
        return Breaker(name) if row is None else _breaker(row)

    def _save(self, c: Connection, found: Breaker) -> None:
        self._db.alter(c, tables.breakers, [fields_of(found)])


def _breaker(row: sa.Row[object]) -> Breaker:
    return Breaker(**row._mapping)  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
