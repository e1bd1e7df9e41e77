"""What waits for its whole account, and is woken when that goes on."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.ledger import tables
from worker.ledger.database import Database


def wake(database: Database, c: Connection, account: str, why: str, due: Callable[[int], float]) -> int:
    """Let the submissions of *account* whose reason begins with *why* be due again, the n-th at `due(n)`, in the order of acceptance;
    returns how many. What others have locked is being decided, and sees what has changed.
    """
    t = tables.submissions
    query = sa.select(t.c.id).where(t.c.account == account, t.c.next_at.is_not(None), t.c.reason.startswith(why), t.c.claim.is_(None))
    found = list(c.scalars(database.locked(query.order_by(t.c.accepted_at, t.c.id), skip=True)))
    database.alter(c, t, [{"id": id_, "next_at": due(n)} for n, id_ in enumerate(found)])
    return len(found)
