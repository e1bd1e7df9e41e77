"""The tasks' rows: one for each upstream task, locked in one order, written when they changed."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.task import Task
from worker.ledger import rows, tables
from worker.ledger.database import Database
from worker.ledger.rows import Key


class Tasks:
    """Inside the transactions of other verbs, and for questions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ensure(self, c: Connection, wanted: Iterable[Task]) -> None:
        """Rows for tasks that were never heard of; in one order, because two transactions may bring the same ones."""
        values = [rows.task_values(t) for t in sorted({(t.realm, t.task): t for t in wanted}.values(), key=lambda t: (t.realm, t.task))]
        if values:
            c.execute(self._db.insert(tables.tasks).values(values).on_conflict_do_nothing(index_elements=["realm", "task"]))

    def make(self, wanted: Collection[Task]) -> None:
        """Rows for tasks that may not be there yet, in a transaction of their own."""
        if wanted:
            self._db.write(lambda c: self.ensure(c, wanted))

    def lock(self, c: Connection, keys: Collection[Key]) -> "Locked":
        """The rows of *keys*, locked in the order of their names."""
        t = tables.tasks
        if not keys:
            return Locked({})
        query = sa.select(t).where(sa.tuple_(t.c.realm, t.c.task).in_(sorted(keys))).order_by(t.c.realm, t.c.task)
        return Locked({(r.realm, r.task): rows.task_of(r) for r in c.execute(self._db.locked(query))})

    def save(self, c: Connection, locked: "Locked") -> Mapping[Key, Task]:
        """Write the rows that changed since `lock`; returns them as they were."""
        changed = {key: old for key, old in locked.before.items() if locked[key] is not old and locked[key] != old}
        t = tables.tasks
        if changed:
            names = ("snapshot", "round", "sequence", "version", "gone", "holder")
            values: list[dict[str, Any]] = []
            for key in changed:
                v = rows.task_values(locked[key])
                values.append({"realm_": key[0], "task_": key[1], **{n: v[n] for n in names}})
            where = sa.and_(t.c.realm == sa.bindparam("realm_"), t.c.task == sa.bindparam("task_"))
            c.execute(sa.update(t).where(where).values({n: sa.bindparam(n) for n in names}), values)
        return changed

    def known(self, keys: Collection[Key]) -> dict[Key, Task]:
        """The rows of *keys* that there are, without locks."""
        t = tables.tasks
        if not keys:
            return {}
        with self._db.read() as c:
            query = sa.select(t).where(sa.tuple_(t.c.realm, t.c.task).in_(sorted(keys)))
            return {(r.realm, r.task): rows.task_of(r) for r in c.execute(query)}


class Locked(dict[Key, Task]):
    """Locked rows as they become; `before`: as they were."""

    def __init__(self, found: dict[Key, Task]) -> None:
        super().__init__(found)
        self.before = dict(found)
