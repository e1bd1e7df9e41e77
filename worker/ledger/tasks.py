"""The tasks' rows: one for each upstream task, locked in one order, written when they changed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.task import Task
from worker.ledger import rows, tables
from worker.ledger.database import Database
from worker.ledger.rows import Key


@dataclass(frozen=True, slots=True)
class Look:
    """A task that is to be read by itself, and since when. `listed`: a feed shows it."""

    task: str
    at: float
    listed: bool = False


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
        looked = {key for key, old in changed.items() if locked[key].version != old.version}
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

    def changed(self, keys: Collection[Key]) -> dict[Key, float]:
        """When those of *keys* changed last whose look is known."""
        t = tables.tasks
        with self._db.read() as c:
            query = sa.select(t.c.realm, t.c.task, t.c.changed_at).where(self._db.among(keys, t.c.realm, t.c.task))
            return {(r.realm, r.task): r.changed_at for r in c.execute(query) if r.changed_at is not None}

    def frozen(self, realm: str) -> bool:
        """Whether a task of *realm* was seen whose responses do not move its `modified`: no feed shows those."""
        t = tables.tasks
        with self._db.read() as c:
            return bool(c.scalar(sa.select(sa.exists().where(t.c.realm == realm, t.c.frozen))))

    # -- feeds

    def show(self, wanted: Collection[Task]) -> None:
        """A feed shows these: rows for those that are new, and for all of them that it does."""
        keys = {(t.realm, t.task) for t in wanted}
        t = tables.tasks

        def work(c: Connection) -> None:
            now = self._db.now(c)
            self.ensure(c, [replace(task, listed=now) for task in wanted])
            mine = self._db.locked(
                sa.select(t.c.realm, t.c.task).where(self._db.among(keys, t.c.realm, t.c.task)).order_by(t.c.realm, t.c.task)
            )
            seen = [{"realm": r.realm, "task": r.task, "listed": now} for r in c.execute(mine)]
            self._db.alter(c, t, seen)

        if wanted:
            self._db.write(work)

    def missed(self, realm: str, account: str, since: float, *, watched: bool) -> int:
        """A whole pass, begun at *since*, is over: what it did not show is read by itself from now on, at once where it used to be shown.
        Returns how many those are. *watched*: among the tasks with a watch of their own.
        """
        t, w = tables.tasks, tables.watches
        unseen = sa.or_(t.c.listed.is_(None), sa.and_(t.c.listed > 0, t.c.listed < since))
        where: list[sa.ColumnElement[bool]] = [t.c.realm == realm, t.c.account == account, unseen]
        if watched:
            where.append(sa.exists().where(w.c.account == account, w.c.task == t.c.task))

        def work(c: Connection) -> int:
            found = c.execute(self._db.locked(sa.select(t.c.task, t.c.listed).where(*where).order_by(t.c.task))).all()
            unlisted = sa.update(t).where(t.c.realm == realm).values(listed=0.0)
            c.execute(unlisted.where(self._db.one_of(t.c.task, [r.task for r in found])))
            lost = [r.task for r in found if r.listed is not None]
            there = sa.and_(t.c.snapshot.is_not(None), t.c.gone % 2 == 0)
            c.execute(sa.update(t).where(t.c.realm == realm, self._db.one_of(t.c.task, lost), there).values(look_at=self._db.now(c)))
            return len(lost)

        return self._db.write(work)

    # -- one by one

    def claim(self, realm: str, account: str, limit: int, lease: float, *, silent: bool) -> list[Look]:
        """Up to *limit* tasks of *account* that are to be read by themselves now, those that wait longest first; ours for *lease* seconds.

        *silent*: a feed may say nothing of what happens to them; else only those that it does not show. Not those with a watch.
        """
        t, w = tables.tasks, tables.watches
        watched = sa.exists().where(w.c.account == account, w.c.task == t.c.task)
        where: list[sa.ColumnElement[bool]] = [t.c.realm == realm, t.c.account == account, sa.not_(watched)]
        if not silent:
            where.append(t.c.listed == sa.literal_column("0"))  # a literal, or the index of those is not used

        def work(c: Connection) -> list[Look]:
            now = self._db.now(c)
            due = sa.select(t.c.task, t.c.look_at, t.c.listed).where(*where, t.c.look_at <= now).order_by(t.c.look_at).limit(limit)
            found = [Look(r.task, r.look_at, bool(r.listed)) for r in c.execute(self._db.locked(due, skip=True))]
            mine = self._db.one_of(t.c.task, [look.task for look in found])
            c.execute(sa.update(t).where(t.c.realm == realm, mine).values(look_at=now + lease))
            return found

        return self._db.write(work)

    def looked(self, realm: str, look_at: Mapping[str, float | None]) -> None:
        """When to read these by themselves again; None: never. Those that a look has settled meanwhile are left alone."""
        t = tables.tasks

        def work(c: Connection) -> None:
            there = sa.select(t.c.task, t.c.look_at).where(t.c.realm == realm, self._db.one_of(t.c.task, sorted(look_at)))
            found = c.execute(self._db.locked(there.order_by(t.c.task))).all()
            self._db.alter(c, t, [{"realm": realm, "task": r.task, "look_at": look_at[r.task]} for r in found if r.look_at is not None])

        if look_at:
            self._db.write(work)


class Locked(dict[Key, Task]):
    """Locked rows as they become; `before`: as they were."""

    def __init__(self, found: dict[Key, Task]) -> None:
        super().__init__(found)
        self.before = dict(found)
