"""Due dates told without asking anybody: `task.due_soon` and `task.overdue`, once for each due date, while an approval is awaited.

D1  A due date is the task's, or that of its active step. What is told or passed over is remembered in the row, for the due dates that it
    has now; the events' ids say the same (C2).
D2  First sight is a baseline (B1): what was due before it is passed over. A due date that comes later, with a new step or by an edit, is
    told even where it is past already: it has just become late.
D3  Of two notices of one due date that are due together, the later one says it all.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from worker.core import events
from worker.core.events import Event
from worker.core.task import Snapshot, Task

Kind = Literal["due_soon", "overdue"]

Mark = tuple[Kind, int | None, float]
"""A notice that was told or passed over: (kind, step, due)."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a task, or of its active step (1-based)."""

    step: int | None
    at: float


def deadlines(look: Snapshot | None) -> tuple[Deadline, ...]:
    """What has to be done by when."""
    if look is None or not look.awaiting:
        return ()
    active = look.active()
    step = active if isinstance(active, int) else None
    ends = [(None, look.due), (step, look.steps[step - 1].due if step else None)]
    return tuple(Deadline(n, at) for n, at in ends if at is not None)


def due_in(look: Snapshot, now: float) -> float | None:
    """Seconds until the nearest due date, negative after it; None where there is none."""
    return min((d.at - now for d in deadlines(look)), key=abs, default=None)


def notice_at(before: Task, look: Snapshot, now: float) -> float | None:
    """When the row is to be asked for notices, after *look*: now where its due dates are others than before."""
    ends = deadlines(look)
    if not ends:
        return None
    same = before.snapshot is not None and not before.gone % 2 and deadlines(before.snapshot) == ends
    return before.notice_at if same else now


@dataclass(frozen=True, slots=True)
class Told:
    """What a row has to tell now, what is told or passed over of its due dates, and when to ask it again."""

    events: tuple[Event, ...]
    marks: tuple[Mark, ...]
    next_at: float | None


def tell(task: Task, marks: Collection[Mark] | None, ahead: float, now: float) -> Told:
    """Ask a row whose `notice_at` has come. *marks*: None where it is asked for the first time; *ahead*: seconds before a due date at which
    it is due soon, 0 for never.
    """
    ends = deadlines(task.snapshot) if not task.gone % 2 else ()
    since = (task.notice_at or 0.0) if marks is None else None
    told: list[Event] = []
    kept: list[Mark] = []
    waiting: list[float] = []
    for end in ends:
        instants: list[tuple[Kind, float]] = [("due_soon", end.at - ahead), ("overdue", end.at)] if ahead else [("overdue", end.at)]
        waiting += [at for _, at in instants if at > now]
        come = [kind for kind, at in instants if at <= now]
        kept += [(kind, end.step, end.at) for kind in come]
        fresh = [k for k, at in instants if k in come and (since is None or at >= since) and (k, end.step, end.at) not in (marks or ())]
        if fresh and fresh[-1] == come[-1]:
            told.append(events.task_due(task, come[-1], end.step, end.at, now))
    return Told(tuple(told), tuple(kept), min(waiting, default=None))
