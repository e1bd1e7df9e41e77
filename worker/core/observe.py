"""Every look at a task goes through here, and only here events about tasks are born.

B1  A look (a poll, before a send, after doubt, the body of a 200) is compared with the task's one row. A look whose version is not the
    row's, or whose `modified` is lower than the stored one, is a stale read: the caller drops it before it comes here. First sight is a
    baseline.
C3  The order in one look is response, step, task.

What came and went between two looks leaves no trace: in ALL mode "restart, then another approves" can look like progress.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.core import due, events
from worker.core.events import Event
from worker.core.pins import pin_of
from worker.core.task import POSITIVE, SAME_MODIFIED, Credit, Snapshot, Step, Task, near


def observe(task: Task, look: Snapshot, credits_: Mapping[str, Credit], now: float) -> tuple[Task, tuple[Event, ...]]:
    """The row after *look*, and the events that it tells: responses, then steps, then the task.

    *look* has been aligned and is not stale (the caller checked). *credits_* names the submissions behind responses, by response id.
    """
    before = task.snapshot
    frozen, notice_at = task.frozen or look.modified_unreliable, due.notice_at(task, look, now)
    if before is None:
        at = min(look.touched or now, now)
        return replace(task, snapshot=look, version=task.version + 1, frozen=frozen, changed_at=at, notice_at=notice_at), ()
    if not task.gone % 2 and replace(look, date=None) == replace(before, date=None):
        return task, ()
    told: list[Event] = []
    after = replace(task, snapshot=look, version=task.version + 1, frozen=frozen, changed_at=now, notice_at=notice_at)
    went = look.gone(before)
    anew = _anew(before, look, went)
    if task.gone % 2:
        after = replace(after, gone=task.gone + 1)
    if anew:
        after = replace(after, round=task.round + 1)
    for number, response in look.fresh(before):
        told.append(events.response_recorded(after, number, response, credits_.get(response.id)))
    active = look.active()
    for number, step in enumerate(look.steps, 1):
        was = before.steps[number - 1] if number <= len(before.steps) else None
        if step.complete and (was is None or not was.complete or _new_evidence(step, was)):
            next_pin = pin_of(task.realm, look, active).token() if isinstance(active, int) else None
            told.append(events.step_completed(after, number, step, credits_, next_pin))
    if isinstance(active, int) and (active != before.active() or anew):
        evidence = [r.id for n, r in look.responses() if n < active] + [r.id for _, r in went]
        told.append(events.step_opened(after, active, look.steps[active - 1], evidence, pin_of(task.realm, look, active).token()))
    if anew:
        told.append(events.task_restarted(after, went))
    if look.done and (not before.done or anew or _closed_again(before, look)):
        told.append(events.task_completed(after))
    if changes := _changes(before, look):
        told.append(events.task_changed(after, changes))
    return after, tuple(e if e.time else replace(e, time=now) for e in told)


def vanish(task: Task, now: float) -> tuple[Task, tuple[Event, ...]]:
    """The row after the upstream said that the task is not there, or not ours to see any more, though it was (B5)."""
    if task.snapshot is None or task.gone % 2:
        return task, ()
    after = replace(task, gone=task.gone + 1, version=task.version + 1, changed_at=now, notice_at=None)
    return after, (replace(events.task_gone(after), time=now),)


def _anew(before: Snapshot, look: Snapshot, went: Sequence[object]) -> bool:
    """Whether a new round has begun. Where the upstream says when its rounds begin, a response that went was replaced, or taken back."""
    if look.exact and look.begun is not None and before.begun is not None:
        return not near(look.begun, before.begun, SAME_MODIFIED)
    return bool(went)


def _new_evidence(step: Step, was: Step) -> bool:
    """Completed, restarted and completed again between two looks: none of the responses that complete it now was there before."""
    if step.state is not None:  # its round says it
        return not near(step.started, was.started, SAME_MODIFIED)
    return not {r.id for r in step.responses if r.action in POSITIVE} & {r.id for r in was.responses}


def _closed_again(before: Snapshot, look: Snapshot) -> bool:
    """Completed, opened and completed again between two looks, without a new round: the response to the whole is another."""
    return before.answer is not None and look.answer is not None and not look.answer.same(before.answer)


def _changes(before: Snapshot, after: Snapshot) -> dict[str, list[Any]]:
    """What changed that is neither a response nor progress, nor follows from them: name -> [before, after]."""
    was = _gone_on(before, after)
    pairs: Iterable[tuple[str, Any, Any]] = (
        ("title", was.title, after.title),
        ("status", was.status, after.status),
        ("due", was.due, after.due),
        ("assignees", sorted(was.assignees), sorted(after.assignees)),
        ("steps", _plan(was), _plan(after)),
    )
    return {name: [b, a] for name, b, a in pairs if b != a}


def _gone_on(before: Snapshot, after: Snapshot) -> Snapshot:
    """*before* with what follows from the progress since. While parts are awaited, who is to act follows from them; and the due date of a
    step comes with its beginning, and is in `step.opened`. Else each response and each step of Autodesk would be told as a change, too.
    """
    follows = before.awaiting and after.awaiting and any(s.parts for s in after.steps)
    dated = tuple(
        s if then.started is None or near(then.started, s.started, SAME_MODIFIED) else replace(s, due=then.due)
        for s, then in zip(before.steps, after.steps, strict=False)
    )
    return replace(before, assignees=after.assignees if follows else before.assignees, steps=dated + before.steps[len(dated) :])


def _plan(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {"participants": sorted(s.participants), "mode": s.mode, "due": s.due}
        | (
            {"parts": [{"task": f"{snapshot.task}/{p.id}", "assigned": p.assigned, "required": p.required} for p in s.parts]}
            if s.parts
            else {}
        )
        for s in snapshot.steps
    ]
