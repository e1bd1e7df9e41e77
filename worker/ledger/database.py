"""The database under the ledger: one code path for SQLite and PostgreSQL, and everything that differs between them decided here, once.

SQLite: `BEGIN IMMEDIATE` for every transaction that writes (a read lock that is upgraded later is a deadlock), WAL so that readers never
wait, `synchronous=FULL` so that a commit survives a power cut (A20), and a busy time-out. One host, local disk: a network file system
breaks it. PostgreSQL: `synchronous_commit` is switched on for each session, whatever the server's default (A20).

The ledger's clock (A4): PostgreSQL `clock_timestamp()`; SQLite the boot-time clock plus an offset that is fixed once per boot, so that
neither a wall clock that is set nor a machine that sleeps makes a lease longer or shorter.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from worker.errors import LedgerDown, SchemaMismatch
from worker.ledger import tables

T = TypeVar("T")

BUSY = 30.0
"""Seconds that a SQLite writer waits for another: transactions take milliseconds, so that this long a wait means a stuck process."""

TRIES = 8
"""How often a transaction that the database rolled back for its own reasons (deadlock, serialisation) is run again. None has effects
outside."""

RETRIED = frozenset({"40001", "40P01"})

DOWN = ("08", "25006", "25P03", "53", "55P03", "57", "58")
"""SQLSTATEs, or their first digits, that speak of the server and not of the statement: connection, a standby that only reads, a session
that was idle for too long, resources, a lock that is not given, operator, system."""

SESSION = (
    "SET synchronous_commit = on;"
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;"  # rows are read again after each wait for their lock
    "SET lock_timeout = '30s';"
    "SET idle_in_transaction_session_timeout = '30s'"  # a process that was stopped in a transaction does not hold up the others
)

NETWORK = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""A server that is gone without a word is found within a minute: a flow with an answer in hand waits for it."""


class Machine:
    """This machine's clocks, of which SQLite's ledger makes its own."""

    def boot(self) -> tuple[str, float]:
        """This boot's name and the seconds since it, sleep included."""
        try:
            name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return name, time.clock_gettime(time.CLOCK_BOOTTIME)
        except (OSError, AttributeError):  # not Linux: the wall clock has to do, and the docs say so
            return "wall", time.time()

    def wall(self) -> float:
        """Seconds since the epoch, as somebody has set them."""
        return time.time()


def _is_down(exc: sa.exc.DBAPIError) -> bool:
    """Whether it is the database that failed, and not the statement: a mistake of ours must not look like an outage."""
    if exc.connection_invalidated:
        return True
    if not isinstance(exc, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError):
        return False
    state = getattr(exc.orig, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(DOWN))
    return getattr(exc.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


@cache
def _given(table: sa.Table, names: tuple[str, ...]) -> Any:
    """Rows as one JSON parameter: PostgreSQL reads a set in one statement, which costs a fraction of a statement a row."""
    columns = [sa.column(n, sa.Text if isinstance(table.c[n].type, sa.String) else table.c[n].type) for n in names]
    given = sa.func.json_to_recordset(sa.bindparam("rows", type_=sa.JSON)).table_valued(*columns)
    return given.render_derived(name="given", with_types=True)


class Database:
    """Connections and transactions. *clock* replaces the ledger's clock, *machine* what SQLite's is made of: tests pass time in."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] | None = None,
        pool: int = 10,
        machine: Machine | None = None,
    ) -> None:
        self._machine = machine or Machine()
        self.url = sa.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self._offset: float | None = None
        self.file = Path(self.url.database) if self.sqlite and self.url.database not in (None, "", ":memory:") else None
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = (
            {"connect_args": {"timeout": BUSY, "check_same_thread": False}}
            if self.sqlite
            else {"pool_pre_ping": True, "connect_args": {**NETWORK, **self.url.query}}
        )
        options |= {"json_serializer": _text if self.sqlite else orjson.dumps, "json_deserializer": orjson.loads}
        self.engine = sa.create_engine(self.url, hide_parameters=True, pool_size=pool, max_overflow=pool, **options)
        self._reader = self.engine.execution_options(reads_only=True)
        sa.event.listen(self.engine, "connect", self._on_connect)
        if self.sqlite:
            sa.event.listen(self.engine, "begin", self._on_begin)

    def _on_connect(self, connection: Any, _record: Any) -> None:
        if self.sqlite:
            connection.isolation_level = None  # the driver would begin by itself, and late: `_on_begin` does it instead
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(BUSY * 1000)}"):
                connection.execute(f"PRAGMA {pragma}").close()
        else:
            was, connection.autocommit = connection.autocommit, True
            connection.execute(SESSION)
            connection.autocommit = was

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in one transaction and commit. It may run more than once, so it has no effect but on its connection.

        Raises LedgerDown where the database cannot be reached, or the commit's own outcome is unknown: the caller repeats what is
        idempotent and gives up what is not (A1).
        """
        for _ in range(TRIES):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as exc:
                if getattr(exc.orig, "sqlstate", None) in RETRIED:
                    continue
                if not _is_down(exc):
                    raise
                raise LedgerDown(str(exc.orig)) from exc
            except sa.exc.TimeoutError as exc:
                raise LedgerDown(str(exc)) from exc
        msg = f"a transaction was rolled back {TRIES} times in a row"
        raise LedgerDown(msg)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for questions only: it never blocks a writer, and sees one moment. Raises LedgerDown."""
        try:
            with self._reader.connect() as connection, connection.begin():
                yield connection
        except sa.exc.DBAPIError as exc:
            if not _is_down(exc):
                raise
            raise LedgerDown(str(exc.orig)) from exc
        except sa.exc.TimeoutError as exc:
            raise LedgerDown(str(exc)) from exc

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch on the ledger's clock."""
        if self._clock:
            return self._clock()
        if not self.sqlite:
            return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")) or 0.0)
        boot, seconds = self._machine.boot()
        return (self._anchor(connection, boot, seconds) if self._offset is None else self._offset) + seconds

    def _anchor(self, connection: Connection, boot: str, seconds: float) -> float:
        """The offset of this boot. After a restart of the machine the clock goes on from the wall clock, never behind what was written.

        Kept only once it was read back: what was written here may yet be rolled back, and another process may write another.
        """
        row = connection.execute(sa.select(tables.clock)).first()
        if row is not None and row.boot == boot:
            self._offset = float(row.offset)
            return self._offset
        newest = (tables.submissions.c.updated_at, tables.events.c.at)
        latest = max(connection.scalar(sa.select(sa.func.max(column))) or 0.0 for column in newest)
        offset = max(self._machine.wall(), latest) - seconds
        if not connection.get_execution_options().get("reads_only", False):
            values = {"one": 1, "boot": boot, "offset": offset}
            connection.execute(sa.delete(tables.clock))
            connection.execute(sa.insert(tables.clock).values(values))
        return offset

    def locked(self, query: sa.Select[Any], *, skip: bool = False) -> sa.Select[Any]:
        """The query with row locks. On SQLite the whole transaction holds the one write lock already."""
        return query if self.sqlite else query.with_for_update(skip_locked=skip)

    def put(
        self,
        c: Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        new: bool = False,
        returning: Sequence[sa.ColumnElement[Any]] = (),
    ) -> Sequence[sa.Row[Any]]:
        """Insert *rows*, which have the same columns; *new*: only those that are not there yet. Returns *returning* of what is written."""
        if not rows:
            return ()
        given = None if self.sqlite else _given(table, tuple(rows[0]))
        insert = self.insert(table) if given is None else self.insert(table).from_select(list(rows[0]), sa.select(*given.c))
        insert = insert.on_conflict_do_nothing() if new else insert
        insert = insert.returning(*returning) if returning else insert
        done = c.execute(insert, list(rows) if given is None else {"rows": list(rows)})
        return done.all() if returning else ()

    def alter(self, c: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Update by primary key; *rows* have the same columns."""
        if not rows:
            return
        keys, names = [k.name for k in table.primary_key], list(rows[0])
        if self.sqlite:
            where = [table.c[k] == sa.bindparam(f"{k}_") for k in keys]
            update = sa.update(table).where(*where).values({n: sa.bindparam(n) for n in names if n not in keys})
            c.execute(update, [{f"{n}_" if n in keys else n: v for n, v in row.items()} for row in rows])
        else:
            given = _given(table, tuple(names))
            where = [table.c[k] == given.c[k] for k in keys]
            c.execute(sa.update(table).where(*where).values({n: given.c[n] for n in names if n not in keys}), {"rows": list(rows)})

    def pairs(self, pairs: Collection[tuple[str, str]]) -> tuple[sa.FromClause, sa.ColumnElement[str], sa.ColumnElement[str]]:
        """*pairs* as rows, and their two columns.

        One parameter (PostgreSQL: one a column): a list of them makes another statement for each length, compiled, read and planned anew
        every time.
        """
        if self.sqlite:
            each = sa.func.json_each(sa.literal(sorted(pairs), sa.JSON)).table_valued("value", name="pair")
            one, two = (sa.func.json_extract(each.c.value, f"$[{n}]") for n in (0, 1))
            return each, one, two
        arrays = [sa.literal([pair[n] for pair in pairs], postgresql.ARRAY(sa.Text)) for n in (0, 1)]
        given = sa.func.unnest(*arrays).table_valued("one", "two").render_derived(name="pair")
        return given, given.c.one, given.c.two

    def among(self, pairs: Collection[tuple[str, str]], first: sa.ColumnElement[str], second: sa.ColumnElement[str]) -> Any:
        """Whether (*first*, *second*) is one of *pairs*."""
        _, one, two = self.pairs(pairs)
        return sa.tuple_(first, second).in_(sa.select(one, two))

    def one_of(self, column: sa.ColumnElement[Any], values: Collection[Any]) -> Any:
        """Whether *column* is one of *values*; in one parameter, for the same reason."""
        if self.sqlite:
            each = sa.func.json_each(sa.literal(list(values), sa.JSON)).table_valued("value", name="one")
            return column.in_(sa.select(each.c.value))
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))

    def insert(self, table: sa.Table) -> Any:
        """The dialect's INSERT, for `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


__all__ = ["Database", "SchemaMismatch"]
