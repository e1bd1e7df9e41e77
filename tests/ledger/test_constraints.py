"""The last line: what the code gets wrong, the database refuses. Tried with raw SQL."""

import pytest
import sqlalchemy as sa

from tests.ledger.make import REALM, begin, context, many, new, sent

COPY = "INSERT INTO {table} ({to}) SELECT {of} FROM {table}"


def refused(ledger, statement, **values):
    with pytest.raises(sa.exc.IntegrityError):
        ledger.database.write(lambda c: c.execute(sa.text(statement), values))


@pytest.fixture
def full(ledger):
    """Two submissions: one applied, one whose attempt is written."""
    one, _two = begin(ledger, *many(2))
    ledger.submissions.settle([sent(one)], context)
    return ledger


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE submissions SET \"key\" = 'k0000'", "a key is one submission's (A16)"),
        ("UPDATE tasks SET holder = (SELECT id FROM submissions ORDER BY id LIMIT 1)", "a submission holds one slot (A9)"),
        ("UPDATE submissions SET sent = (1 = 0)", "what is in doubt was sent (A1)"),
        ("UPDATE submissions SET state = 'lost'", "a state is one of those there are"),
        ("UPDATE submissions SET task = 'nobody''s'", "a submission has its task's row (B1)"),
        ("INSERT INTO attempts SELECT * FROM attempts", "an attempt begins once"),
        ("INSERT INTO outcomes SELECT * FROM outcomes", "an attempt settles once (A1)"),
        ("INSERT INTO outcomes SELECT submission, n + 1, outcome, at, quiet_until FROM outcomes", "what was not begun does not settle"),
        ("UPDATE outcomes SET outcome = 'perhaps'", "an outcome is one of those there are"),
        ("INSERT INTO claims SELECT realm, task, response, submission FROM claims", "a response is credited once (A10)"),
        ("INSERT INTO evidence SELECT * FROM evidence", "a link has its place (A18)"),
        ("UPDATE events SET id = 'same'", "an event's id is its own (C2)"),
        ("UPDATE events SET sequence = 1 WHERE task <> ''", "a sequence is given once for each task (C3)"),
        ("UPDATE deliveries SET state = 'lost'", "a delivery is due, delivered or unbound"),
        ("DELETE FROM events", "what is on its way out is not deleted"),
        ("UPDATE tasks SET version = NULL", "a row has its version"),
    ],
)
def test_the_database_refuses(full, statement, rule):
    refused(full, statement)


def test_a_task_has_one_row_and_so_one_slot(full):
    refused(full, "INSERT INTO tasks SELECT * FROM tasks")
    assert len(full.tasks.known({(REALM, "k-T0000"), (REALM, "k-T0001")})) == 2


def test_a_grant_is_proven_or_stopped(full):
    refused(full, "INSERT INTO grants VALUES ('finance', 'jane', 'jane', 'perhaps', 0)")
    full.submissions.accept([new("after")])
