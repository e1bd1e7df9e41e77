"""Due dates, told: the rows whose time has come, asked and written in one transaction with what they tell (C1)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.due import Mark, Told
from worker.core.events import Event
from worker.core.task import Task
from worker.ledger import rows, tables
from worker.ledger.database import Database
from worker.ledger.outbox import Outbox
from worker.ledger.rows import Key
from worker.ledger.tasks import Locked, Tasks

Ask = Callable[[Task, Sequence[Mark] | None, float], Told]
"""(row, what its due dates have told, now) -> what they tell."""


@dataclass(frozen=True, slots=True)
class Round:
    """How many rows were asked, and what they told."""

    asked: int
    told: tuple[Event, ...]


class Notices:
    """See the module."""

    def __init__(self, database: Database, tasks: Tasks, outbox: Outbox) -> None:
        self._db, self._tasks, self._outbox = database, tasks, outbox

    def tell(self, accounts: Collection[str], limit: int, ask: Ask) -> Round:
        """Ask up to *limit* rows of *accounts* whose time has come; those that another process asks right now are skipped."""
        return self._db.write(lambda c: self._tell(c, accounts, limit, ask))

    def _tell(self, c: Connection, accounts: Collection[str], limit: int, ask: Ask) -> Round:
        now = self._db.now(c)
        t = tables.tasks
        due = sa.select(t).where(t.c.notice_at <= now, self._db.one_of(t.c.account, sorted(accounts))).order_by(t.c.notice_at).limit(limit)
        found = c.execute(self._db.locked(due, skip=True)).all()
        locked = Locked({(r.realm, r.task): rows.task_of(r) for r in found})
        told: list[tuple[Key, Event]] = []
        marks = []
        for r in found:
            key = (r.realm, r.task)
            out = ask(locked[key], None if r.noticed is None else [(kind, step, at) for kind, step, at in r.noticed], now)
            locked[key] = replace(locked[key], notice_at=out.next_at)
            told += [(key, event) for event in out.events]
            marks.append({"realm": r.realm, "task": r.task, "noticed": [list(mark) for mark in out.marks]})
        self._outbox.write(c, locked, told, now)
        self._tasks.save(c, locked)
        self._db.alter(c, t, marks)
        return Round(len(found), tuple(event for _, event in told))
