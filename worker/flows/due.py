"""Tell of due dates: from what the ledger knows, without a request. Whatever happened to a task since its last look is not known here."""

from collections.abc import Sequence

from worker.core import due as core
from worker.core.due import Mark, Told
from worker.core.task import Task
from worker.flows import Runtime

BATCH = 200
"""Rows in one transaction."""


def due(rt: Runtime, minute: int) -> None:
    """Look once a minute and process: a due date is a day's business. Raises LedgerDown."""
    if minute == rt.minute:
        return

    def ask(task: Task, marks: Sequence[Mark] | None, now: float) -> Told:
        return core.tell(task, marks, rt.accounts[task.account].due_soon, now)

    told = 0
    asked = BATCH
    while asked == BATCH and not rt.stopping.is_set():
        each = rt.ledger.notices.tell(list(rt.accounts), BATCH, ask)
        asked, told = each.asked, told + len(each.told)
    if told:
        for sink in rt.sinks:
            rt.ring("emit", sink)
    rt.minute = minute
