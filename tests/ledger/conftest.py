import shutil

import psycopg
import pytest
import sqlalchemy as sa

from tests import servers
from tests.catalogue.judge import hold
from tests.ledger.make import Clock
from worker.ledger import Ledger, tables

BOTH = ["sqlite", "postgresql"]
TABLES = ", ".join(t.name for t in tables.metadata.sorted_tables)


@pytest.fixture(params=BOTH)
def empty(request, tmp_path):
    """An empty database of each kind."""
    return f"sqlite:///{tmp_path}/empty.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres_server):
    """One for all tests: migrating takes ten times as long as emptying."""
    with servers.database(postgres_server) as url:
        migrate(url)
        yield url


@pytest.fixture(params=BOTH)
def url(request, tmp_path):
    """A database of each kind with the ledger's tables, and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path}/ledger.db"
    address = request.getfixturevalue("migrated_database")
    with psycopg.connect(sa.make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY".encode())
    return address


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(url, clock):
    """A ledger whose time is passed in."""
    yield from opened(url, clock)


@pytest.fixture
def other(url, clock):
    """The same ledger by other connections, as another process has it."""
    yield from opened(url, clock)


@pytest.fixture
def own(url):
    """A ledger with its database's own clock."""
    yield from opened(url, None)


def opened(url, clock):
    made = Ledger(url, sinks=("erp",), clock=clock)
    yield made
    hold(made)
    made.close()


def migrate(url):
    made = Ledger(url)
    made.migrate()
    made.close()
