"""The facts that other systems are told. An event's id hashes the fact's own evidence, never one of our counters (C2).

The same fact seen by two workers, or again after a crash, is therefore the same event, and the ledger keeps it once. `sequence` is given in
the writing transaction, from the task's row, without gaps (C3). `round` is information and never part of an id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.core.keys import digest
from worker.core.sunset import Sunset
from worker.core.task import Credit, Response, Step, Task
from worker.core.times import iso

TYPES = (
    "step.opened",
    "step.completed",
    "response.recorded",
    "task.completed",
    "task.restarted",
    "task.changed",
    "task.gone",
    "submission.accepted",
    "submission.applied",
    "submission.refused",
    "submission.superseded",
    "submission.expired",
    "submission.cancelled",
    "submission.parked",
    "submission.abandoned",
    "submission.duplicated",
    "submission.misapplied",
    "command.rejected",
    "grant.misconfigured",
    "account.sunset_approaching",
)
"""Every type this release tells. Names are INTERFACES' and never change their meaning."""


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent before it has its sequence. `subject`: the upstream task, or what else it is about. `time`: 0 until it is told."""

    id: str
    type: str
    source: str
    subject: str
    data: Mapping[str, Any]
    time: float = 0.0


def cloudevent(event: Event, sequence: int | None) -> dict[str, Any]:
    """The CloudEvents 1.0 JSON object. `sequence` is a string of digits, padded so that it sorts as text (the `sequence` extension)."""
    out: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": iso(event.time),
        "datacontenttype": "application/json",
        "data": event.data,
    }
    if sequence is not None:
        out["sequence"] = str(sequence)
    return out


def routing_key(event_type: str, source: str) -> str:
    """`/workiva/finance` and `step.completed` -> `workiva.finance.step.completed` (INTERFACES §5)."""
    return ".".join([*source.strip("/").split("/"), event_type])


def _about(task: Task) -> dict[str, Any]:
    look = task.snapshot
    return {
        "account": task.account,
        "task": task.task,
        "title": look.title if look else None,
        "url": look.url if look else None,
        "round": task.round,
    }


def _modified(task: Task) -> float | None:
    return task.snapshot.modified if task.snapshot else None


def _step_count(task: Task) -> int:
    return len(task.snapshot.steps) if task.snapshot else 0


def _event(task: Task, type_: str, fact: Sequence[Any], data: Mapping[str, Any], time: float | None = None) -> Event:
    return Event(digest([task.source, task.task, type_, *fact])[:32], type_, task.source, task.task, {**_about(task), **data}, time or 0.0)


def _shown(response: Response, credit: Credit | None) -> dict[str, Any]:
    out = {"actor": response.actor, "action": response.action, "comment": response.comment, "at": iso(response.at) if response.at else None}
    if credit:
        out["submission"] = credit.submission
    return out


def _credited(credits_: Iterable[Credit | None]) -> dict[str, Any]:
    """The submission behind the responses, and whether what it did is in dispute (A12)."""
    found = [c for c in credits_ if c]
    out: dict[str, Any] = {}
    if found:
        out["submission"] = {"id": found[0].submission, "key": found[0].key, "labels": dict(found[0].labels)}
    if any(c.disputed for c in found):
        out["disputed"] = True
    return out


OUTCOME = {"approve": "approved", "skip": "skipped", "reject": "rejected", "close": "closed"}


def response_recorded(task: Task, number: int, response: Response, credit: Credit | None) -> Event:
    """Somebody answered a step, a rejection included."""
    data = {"step": number, "response": _shown(response, credit), **_credited([credit])}
    return _event(task, "response.recorded", [response.id], data, response.at)


def step_completed(task: Task, number: int, step: Step, credits_: Mapping[str, Credit], next_pin: str | None) -> Event:
    """A step has all the approvals it needs. `next_pin` is what a command for the step after it would bring."""
    data = {
        "step": number,
        "step_count": _step_count(task),
        "outcome": OUTCOME["skip" if all(r.action == "skip" for r in step.responses) else "approve"],
        "next_pin": next_pin,
        "responses": [_shown(r, credits_.get(r.id)) for r in step.responses],
        **_credited(credits_.get(r.id) for r in step.responses),
    }
    times = [r.at for r in step.responses if r.at is not None]
    return _event(task, "step.completed", [number, sorted(r.id for r in step.responses)], data, max(times, default=None))


def step_opened(task: Task, number: int, step: Step, evidence: Sequence[str], pin: str) -> Event:
    """A step waits for its participants now. `pin` is what a command for it would bring."""
    data = {
        "step": number,
        "step_count": _step_count(task),
        "participants": list(step.participants),
        "due": iso(step.due) if step.due else None,
        "pin": pin,
    }
    return _event(task, "step.opened", [number, sorted(evidence), _modified(task)], data, _modified(task))


def task_completed(task: Task) -> Event:
    """The approval process ended with success."""
    look = task.snapshot
    ids = sorted(r.id for _, r in look.responses()) if look else []
    return _event(task, "task.completed", [ids, _modified(task)], {"status": look.status if look else None}, _modified(task))


def task_restarted(task: Task, went: Sequence[tuple[int, Response]]) -> Event:
    """Responses went away: a new round. They are copied into the event, because the upstream has forgotten them."""
    data = {"responses": [{"step": number, **_shown(r, None)} for number, r in went]}
    return _event(task, "task.restarted", [sorted(r.id for _, r in went)], data)


def task_changed(task: Task, changes: Mapping[str, Sequence[Any]]) -> Event:
    """Something changed that is neither a response nor a step's progress: name -> [before, after]."""
    return _event(task, "task.changed", [changes, _modified(task)], {"changes": changes}, _modified(task))


def task_gone(task: Task) -> Event:
    """The upstream does not show a task any more that it showed before."""
    return _event(task, "task.gone", [task.gone], {})


def submission_event(task: Task, state: str, submission: str, transition: int, data: Mapping[str, Any], now: float) -> Event:
    """A submission came to a new state. The id hashes (id, type, transition number)."""
    type_ = f"submission.{state}"
    about = {k: v for k, v in _about(task).items() if v is not None}
    return Event(digest([submission, type_, transition])[:32], type_, task.source, task.task, {**about, **data}, now)


def command_rejected(source: str, reason: str, message: Mapping[str, Any], evidence: str, now: float) -> Event:
    """A command that could not be accepted, and why. `evidence`: the digest of its bytes and delivery."""
    return Event(
        digest(["command.rejected", source, evidence])[:32],
        "command.rejected",
        source,
        "approvals.commands",
        {"reason": reason, **message},
        now,
    )


def grant_misconfigured(source: str, account: str, grant: str, acts_as: str, author: str | None, now: float) -> Event:
    """An upstream shows another author than the settings' `acts_as` for what this grant did: it is stopped (A14)."""
    data = {"account": account, "grant": grant, "acts_as": acts_as, "author": author}
    return Event(
        digest(["grant.misconfigured", source, grant, acts_as, author])[:32], "grant.misconfigured", source, f"grants/{grant}", data, now
    )


def sunset_approaching(source: str, account: str, sunset: Sunset, mark: str, now: float) -> Event:
    """The API version of an account ends, or has ended. `mark`: the day of the end, and which of its tellings this is."""
    data = {
        "account": account,
        "api_version": sunset.version,
        "sunset": sunset.day.isoformat(),
        "days_left": sunset.days_left(now),
        "todo": sunset.todo,
    }
    type_ = "account.sunset_approaching"
    return Event(digest([type_, source, sunset.version, mark])[:32], type_, source, f"accounts/{account}", data, now)


def with_head(event: Event, head: str) -> Event:
    """The event with the head of its submission's evidence chain: its receiver is the witness (A18)."""
    return replace(event, data={**event.data, "evidence": head})
