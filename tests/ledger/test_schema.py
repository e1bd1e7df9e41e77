"""Migrations: models and tables agree, twice is once, and a process refuses tables that are not its own."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from worker.errors import LedgerDown, SchemaMismatch
from worker.ledger import Ledger, schema, tables


@pytest.fixture
def fresh(empty):
    made = Ledger(empty)
    yield made
    made.close()


def at(ledger, revision):
    ledger.database.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision}))


def test_models_and_migrations_agree(fresh):
    fresh.migrate()
    with fresh.database.read() as c:
        assert compare_metadata(MigrationContext.configure(c, opts={"compare_server_default": True}), tables.metadata) == []


def test_the_checks_of_the_models_are_in_the_tables(fresh):
    """Alembic does not compare them."""
    fresh.migrate()
    inspector = sa.inspect(fresh.database.engine)
    for table in tables.metadata.sorted_tables:
        wanted = {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
        assert {c["name"] for c in inspector.get_check_constraints(table.name)} == wanted


def test_twice_is_once(fresh):
    assert [fresh.migrate(), fresh.migrate()] == [schema.head()] * 2
    fresh.check()


def test_four_processes_at_once(empty):
    code = "import sys; from worker.ledger import Ledger; l = Ledger(sys.argv[1]); l.migrate(); l.check()"
    running = [subprocess.Popen([sys.executable, "-c", code, empty], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(p.communicate(timeout=120)[1], p.returncode) for p in running] == [("", 0)] * 4


def test_no_tables(fresh):
    with pytest.raises(SchemaMismatch, match="has no tables yet: run `approvals migrate`"):
        fresh.check()


def test_older_tables():
    """There are none yet."""
    assert schema.mismatch("0001", "0002", {"0001", "0002"}) == (
        "the ledger is at revision 0001, this release needs 0002: run `approvals migrate`"
    )


def test_newer_tables_are_refused_and_left_alone(fresh):
    fresh.migrate()
    at(fresh, "9999")
    for each in (fresh.check, fresh.migrate):
        with pytest.raises(SchemaMismatch, match="is at revision 9999, which is newer than this release"):
            each()


def test_an_outage_is_told_from_a_mistake(fresh):
    """A statement that is wrong must not look like a database that is away: it would be repeated for ever."""
    with pytest.raises(sa.exc.DBAPIError):
        fresh.queries.states()
    with pytest.raises(sa.exc.DBAPIError):
        fresh.database.write(lambda c: c.execute(sa.text("SELEKT")))


@pytest.mark.parametrize("url", ["sqlite:////proc/nowhere.db", "postgresql+psycopg://nobody@127.0.0.1:1/none"])
def test_a_database_that_is_away(url):
    away = Ledger(url)
    with pytest.raises(LedgerDown):
        away.queries.now()
    with pytest.raises(LedgerDown):
        away.submissions.claim("finance", 1, 1.0)


def test_every_session_commits_for_good(fresh):
    """A20: whatever the server's default is."""
    fresh.migrate()
    with fresh.database.read() as c:
        if fresh.database.sqlite:
            found = [c.scalar(sa.text(f"PRAGMA {p}")) for p in ("journal_mode", "synchronous", "foreign_keys")]
            assert found == ["wal", 2, 1]
        else:
            asked = ("synchronous_commit", "default_transaction_isolation", "idle_in_transaction_session_timeout", "lock_timeout")
            assert [c.scalar(sa.text(f"SHOW {name}")) for name in asked] == ["on", "read committed", "30s", "30s"]
