"""Migrations by Alembic, run from code: no ini file, no second way to say where the database is.

A migration works with the release before it (expand, then contract). Processes refuse a schema that is not theirs.
"""

from collections.abc import Collection
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from worker.errors import SchemaMismatch
from worker.ledger import tables
from worker.ledger.database import Database

LOCK = 7_205_759_403
"""PostgreSQL advisory lock under which migrations run, so that two deployments at once migrate once."""


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def head() -> str:
    """The revision this release needs."""
    return _script().get_current_head() or ""


def current(connection: Connection) -> str | None:
    """The revision the tables are at; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database) -> str:
    """Upgrade to this release's revision in one transaction. Raises SchemaMismatch where the tables are of a newer one."""
    script, config = _script(), Config()
    config.set_main_option("script_location", script.dir)

    def work(connection: Connection) -> str:
        if not database.sqlite:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
        found, known = current(connection), {r.revision for r in script.walk_revisions()}
        if found is not None and found not in known:
            raise SchemaMismatch(mismatch(found, head(), known))
        with EnvironmentContext(config, script, fn=lambda rev, _: script._upgrade_revs("head", rev), destination_rev="head") as environment:  # noqa: SLF001  alembic.command does the same
            environment.configure(connection=connection, target_metadata=tables.metadata, transactional_ddl=False)
            environment.run_migrations()
        return current(connection) or ""

    return database.write(work)


def check(database: Database) -> None:
    """Raises SchemaMismatch unless the tables are exactly at this release's revision."""
    with database.read() as connection:
        found = current(connection)
    if fault := mismatch(found, head(), {r.revision for r in _script().walk_revisions()}):
        raise SchemaMismatch(fault)


def mismatch(found: str | None, needed: str, known: Collection[str]) -> str | None:
    """What is wrong with tables at revision *found*, and the command that mends it. *known*: the revisions of this release."""
    if found == needed:
        return None
    if found is None:
        return "the ledger has no tables yet: run `approvals migrate`"
    if found in known:
        return f"the ledger is at revision {found}, this release needs {needed}: run `approvals migrate`"
    return f"the ledger is at revision {found}, which is newer than this release ({needed}): run the newer release"
