"""The facts that other systems are told. An event's id hashes the fact's own evidence, never one of our counters (C2).

The same fact seen by two workers, or again after a crash, is therefore the same event, and the ledger keeps it once. `sequence` is given in
the writing transaction, from the task's row, without gaps (C3). `round` is information and never part of an id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.core.breaker import Breaker
from worker.core.delivery import Standing
from worker.core.keys import digest
from worker.core.renewal import Kept
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
    "task.due_soon",
    "task.overdue",
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
    "account.degraded",
    "account.recovered",
    "account.sunset_approaching",
    "sink.disabled",
    "sink.test",
)
"""Every type this release tells. Names are INTERFACES' and never change their meaning."""

VERSIONS: Mapping[str, str] = dict.fromkeys(TYPES, "1.0")
"""Type -> the version of what stands in it. A field more: the second number. A field that goes, or means something else: the first, and
with it the address of the schema. The catalogue's golden file holds them to it.
"""


def dataschema(type_: str) -> str:
    """The CloudEvents attribute: the name of the schema, the same for all that an old reader can read."""
    return f"urn:approval-worker:event:{type_}:{VERSIONS[type_].partition('.')[0]}"


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
    """The CloudEvents 1.0 JSON object. `sequence` is a string of digits (the `sequence` extension)."""
    out: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": iso(event.time),
        "datacontenttype": "application/json",
        "dataschema": dataschema(event.type),
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


def _shown(task: Task, response: Response, credit: Credit | None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "actor": response.actor,
        "action": response.action,
        "comment": response.comment,
        "at": iso(response.at) if response.at else None,
    }
    if response.choice is not None:
        out |= {"part": f"{task.task}/{response.part}" if response.part else None, "response": response.label}
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
    data = {"step": number, "response": _shown(task, response, credit), **_credited([credit])}
    return _event(task, "response.recorded", [response.id], data, response.at)


def _outcome(step: Step) -> str:
    """What the step came to. A rejection completes one only where the upstream's own word says that it is complete."""
    actions = {r.action for r in step.responses}
    if "reject" in actions:
        return OUTCOME["reject"]
    return OUTCOME["skip" if actions == {"skip"} else "approve" if actions <= {"approve", "skip"} and actions else "close"]


def step_completed(task: Task, number: int, step: Step, credits_: Mapping[str, Credit], next_pin: str | None) -> Event:
    """A step is over: it has all the approvals it needs, or the upstream says so. `next_pin` is what a command for the step after it would
    bring.
    """
    data = {
        "step": number,
        "step_count": _step_count(task),
        "outcome": _outcome(step),
        "next_pin": next_pin,
        "responses": [_shown(task, r, credits_.get(r.id)) for r in step.responses],
        **_credited(credits_.get(r.id) for r in step.responses),
    }
    times = [r.at for r in step.responses if r.at is not None]
    # One that nobody answered was completed all the same, once for each time that it was begun.
    fact = [number, sorted(r.id for r in step.responses)] + ([] if step.responses else [step.started])
    return _event(task, "step.completed", fact, data, max(times, default=None))


def step_opened(task: Task, number: int, step: Step, evidence: Sequence[str], pin: str) -> Event:
    """A step waits for its participants now. `pin` is what a command for it would bring."""
    data = {
        "step": number,
        "step_count": _step_count(task),
        "participants": list(step.participants),
        "due": iso(step.due) if step.due else None,
        "pin": pin,
    }
    if step.parts:
        data["parts"] = [{"task": f"{task.task}/{p.id}", "assigned": p.assigned, "required": p.required} for p in step.parts]
    if step.started is not None:
        return _event(task, "step.opened", [number, step.started], data, step.started)
    return _event(task, "step.opened", [number, sorted(evidence), _modified(task)], data, _modified(task))


def task_completed(task: Task) -> Event:
    """The approval process ended with success."""
    look = task.snapshot
    ids = sorted(r.id for _, r in look.responses()) if look else []
    data: dict[str, Any] = {"status": look.status if look else None}
    if look and look.answer:
        data["response"] = _shown(task, look.answer, None)
    return _event(task, "task.completed", [ids, _modified(task)], data, _modified(task))


def task_restarted(task: Task, went: Sequence[tuple[int, Response]]) -> Event:
    """Responses went away, or the upstream says when it began anew: a new round. They are copied into the event, because the upstream has
    forgotten them.
    """
    data = {"responses": [{"step": number, **_shown(task, r, None)} for number, r in went]}
    begun = task.snapshot.begun if task.snapshot else None
    return _event(task, "task.restarted", [sorted(r.id for _, r in went)] + ([] if begun is None else [begun]), data, begun)


def task_changed(task: Task, changes: Mapping[str, Sequence[Any]]) -> Event:
    """Something changed that is neither a response nor a step's progress: name -> [before, after]."""
    return _event(task, "task.changed", [changes, _modified(task)], {"changes": changes}, _modified(task))


def task_due(task: Task, kind: str, step: int | None, due: float, now: float) -> Event:
    """`task.due_soon` or `task.overdue`: of the task as a whole (*step* is None), or of its active step. Once for each due date."""
    data: dict[str, Any] = {"due": iso(due), "step": step, "step_count": _step_count(task)}
    if task.snapshot and step:
        data["participants"] = list(task.snapshot.steps[step - 1].participants)
    return _event(task, f"task.{kind}", [step, due], data, now)


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


def account_degraded(source: str, account: str, grant: str, kept: Kept, now: float) -> Event:
    """The tokens of a grant are not renewed any more, or not now: what is sent as that grant waits (R4). `todo`: what helps."""
    todo = f"approvals login --account {account} --as {grant}" if kept.next_at is None else "approvals doctor"
    data = {"account": account, "grant": grant, "reason": kept.detail, "todo": todo}
    return _episode("account.degraded", source, account, kept, data, now)


def account_recovered(source: str, account: str, grant: str, kept: Kept, now: float) -> Event:
    """The tokens of a grant are good again: the end of what `account.degraded` told of."""
    return _episode("account.recovered", source, account, kept, {"account": account, "grant": grant}, now)


def _episode(type_: str, source: str, account: str, kept: Kept, data: Mapping[str, Any], now: float) -> Event:
    id_ = digest([type_, source, data["grant"], kept.name, kept.episode])[:32]
    return Event(id_, type_, source, f"accounts/{account}", data, now)


def upstream_away(source: str, account: str, breaker: Breaker, now: float) -> Event:
    """An account's upstream does not answer: it is asked now and then only (B4). No grant is named: it is all of them."""
    data = {"account": account, "reason": breaker.told, "todo": "approvals doctor"}
    return _turned("account.degraded", source, account, breaker, data, now)


def upstream_back(source: str, account: str, breaker: Breaker, now: float) -> Event:
    """It answers again: the end of what `upstream_away` told of."""
    return _turned("account.recovered", source, account, breaker, {"account": account}, now)


def _turned(type_: str, source: str, account: str, breaker: Breaker, data: Mapping[str, Any], now: float) -> Event:
    return Event(digest([type_, source, breaker.episode])[:32], type_, source, f"accounts/{account}", data, now)


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


def sink_disabled(source: str, sink: str, standing: Standing) -> Event:
    """Nothing leaves by a sink any more, until a person enables it. Told by the others."""
    data = {"sink": sink, "reason": standing.off, "failing_since": iso(standing.failing) if standing.failing else None}
    type_ = "sink.disabled"
    return Event(digest([type_, source, standing.since])[:32], type_, source, f"sinks/{sink}", data, standing.since)


def sink_test(source: str, sink: str, nonce: str, now: float) -> Event:
    """Somebody tries a sink: it says nothing but that it arrived. In no ledger, of no task."""
    return Event(digest(["sink.test", source, nonce])[:32], "sink.test", source, f"sinks/{sink}", {"sink": sink}, now)


def with_head(event: Event, head: str) -> Event:
    """The event with the head of its submission's evidence chain: its receiver is the witness (A18)."""
    return replace(event, data={**event.data, "evidence": head})
