"""Due dates in the ledger: told in the transaction that says they were, by one process (C1)."""

import sqlalchemy as sa

from tests.ledger.make import NOW, REALM, context, look, polled
from worker.core.due import tell
from worker.core.task import Task
from worker.ledger import tables

DAY = 86_400.0


def ask(task, marks, now):
    return tell(task, marks, DAY, now)


def make(ledger, *looks, account="finance"):
    ledger.tasks.make([Task(REALM, each.task, "workiva", account) for each in looks])
    ledger.submissions.settle([polled(each, 0) for each in looks], context)


def told(ledger):
    return [(e["type"], e["subject"], e["sequence"]) for _, e in ledger.queries.events(limit=100)]


def test_a_row_is_asked_when_its_time_has_come_and_tells_once(ledger, other, clock):
    make(ledger, look("T", due=NOW + 2 * DAY))
    rounds = []
    for _ in range(5):
        rounds += [each.notices.tell(["finance"], 10, ask).asked for each in (ledger, other)]
        clock.pass_(DAY)
    assert rounds == [1, 0, 1, 0, 1, 0, 0, 0, 0, 0]
    assert told(ledger) == [("task.due_soon", "T", "1"), ("task.overdue", "T", "2")]


def test_a_notice_whose_event_was_pruned_is_not_told_again(ledger, clock):
    make(ledger, look("T", due=NOW + 1))
    ledger.notices.tell(["finance"], 10, ask)
    clock.pass_(60)
    ledger.notices.tell(["finance"], 10, ask)
    assert told(ledger) == [("task.overdue", "T", "1")]
    with ledger.database.engine.begin() as c:
        c.execute(sa.delete(tables.deliveries))
        c.execute(sa.delete(tables.events))
        c.execute(sa.update(tables.tasks).values(notice_at=NOW))
    ledger.notices.tell(["finance"], 10, ask)
    assert told(ledger) == []


def test_a_batch_at_a_time_and_no_account_that_is_not_in_the_settings(ledger, clock):
    make(ledger, *(look(f"T{n}", due=NOW + DAY * 9) for n in range(3)))
    make(ledger, look("other", due=NOW + DAY * 9), account="tower")
    assert [ledger.notices.tell(["finance"], 2, ask).asked for _ in range(3)] == [2, 1, 0]


def test_a_task_without_a_due_date_is_never_asked(ledger, clock):
    make(ledger, look("T"))
    assert ledger.notices.tell(["finance"], 10, ask).asked == 0
