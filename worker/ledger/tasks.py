"""The tasks' rows: one for each upstream task, locked in one order, written when they changed."""

from collections.abc import Collection, Iterable, Mapping

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
            self._db.put(c, tables.tasks, values, new=True)

    def make(self, wanted: Collection[Task]) -> None:
        """Rows for tasks that may not be there yet, in a transaction of their own."""
        if wanted:
            self._db.write(lambda c: self.ensure(c, wanted))

    def lock(self, c: Connection, keys: Collection[Key]) -> "Locked":
        """The rows of *keys*, locked in the order of their names."""
        t = tables.tasks
        if not keys:
            return Locked({})
        query = sa.select(t).where(self._db.among(keys, t.c.realm, t.c.task)).order_by(t.c.realm, t.c.task)
        return Locked({(r.realm, r.task): rows.task_of(r) for r in c.execute(self._db.locked(query)).all()})

    def save(self, c: Connection, locked: "Locked") -> Mapping[Key, Task]:
        """Write the rows that changed since `lock`; returns them as they were."""
        changed = {key: old for key, old in locked.before.items() if locked[key] is not old and locked[key] != old}
        # Most of a task's changes are to its slot and its sequence: the snapshot, which is most of its row, is not written again for those.
        looked = {key for key, old in changed.items() if locked[key].snapshot is not old.snapshot}
        self._db.alter(c, tables.tasks, [rows.task_values(locked[key]) for key in changed if key in looked])
        self._db.alter(c, tables.tasks, [rows.task_values(locked[key], snapshot=False) for key in changed if key not in looked])
        return changed

    def known(self, keys: Collection[Key]) -> dict[Key, Task]:
        """The rows of *keys* that there are, without locks."""
        t = tables.tasks
        if not keys:
            return {}
        with self._db.read() as c:
            query = sa.select(t).where(self._db.among(keys, t.c.realm, t.c.task))
            return {(r.realm, r.task): rows.task_of(r) for r in c.execute(query)}


class Locked(dict[Key, Task]):
    """Locked rows as they become; `before`: as they were."""

    def __init__(self, found: dict[Key, Task]) -> None:
        super().__init__(found)
        self.before = dict(found)
