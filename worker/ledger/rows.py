"""Core values as rows, and rows as core values. Columns are what queries ask for; the rest of a submission is two JSON columns."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy.engine import Row

from worker.core import task as tasks_
from worker.core.command import Command
from worker.core.pins import Pin
from worker.core.submission import Attempt, Submission
from worker.core.task import Task

Key = tuple[str, str]
"""(realm, task)."""


def task_values(task: Task, *, snapshot: bool = True) -> dict[str, Any]:
    """A task's row, with or without what the last look showed. What it showed last is the latest news: until whoever reads it by itself
    says otherwise, it is to be looked at again at once, if an approval is awaited.
    """
    awaiting = bool(task.snapshot and task.snapshot.awaiting and not task.gone % 2)
    seen = {"snapshot": tasks_.to_json(task.snapshot) if task.snapshot else None, "look_at": task.changed_at if awaiting else None}
    return {
        **(seen if snapshot else {}),
        "realm": task.realm,
        "task": task.task,
        "kind": task.kind,
        "account": task.account,
        "round": task.round,
        "sequence": task.sequence,
        "version": task.version,
        "frozen": task.frozen,
        "gone": task.gone,
        "holder": task.holder,
        "changed_at": task.changed_at,
        "notice_at": task.notice_at,
        "listed": task.listed,
    }


def task_of(row: Row[Any]) -> Task:
    """The inverse of `task_values`."""
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
    snapshot = values.pop("snapshot")
    del values["look_at"], values["noticed"]  # theirs who read it by itself (`tasks`), and who tell of its due dates (`notices`)
    return Task(**values, snapshot=tasks_.from_json(snapshot) if snapshot else None)


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a frozen value. `dataclasses.asdict` would copy all that is below them, at twenty times the price."""
    return {f.name: getattr(value, f.name) for f in fields(value)}


def command_json(command: Command) -> dict[str, Any]:
    """A command as JSON values."""
    return {**fields_of(command), "labels": dict(command.labels), "fields": dict(command.fields)}


def progress(s: Submission) -> dict[str, Any]:
    """What changes while a submission lives and no query asks for."""
    return {
        "part": s.part,
        "choice": s.choice,
        "pin": fields_of(s.pin) if s.pin else None,
        "looked": s.looked,
        "acts_as": s.acts_as,
        "baseline": tasks_.to_json(s.baseline) if s.baseline else None,
        "marked": s.marked,
        "exposed": s.exposed,
        "cleared": s.cleared,
        "verdict": s.verdict,
        "hits": s.hits,
        "tries": s.tries,
        "transition": s.transition,
        "vigil": s.vigil,
        "written_off": s.written_off,
        "attempts": len(s.attempts),
        "issued_at": s.command.issued_at,
    }


def submission_values(s: Submission) -> dict[str, Any]:
    """The columns of a submission that change."""
    return {
        "state": s.state,
        "reason": s.reason,
        "behind": s.behind,
        "next_at": s.next_at,
        "sent": s.sent or s.state in ("misapplied", "duplicated"),
        "progress": progress(s),
    }


def pin_in(progress: Mapping[str, Any]) -> Pin | None:
    """The pin that a submission has by now."""
    pin = progress["pin"]
    return Pin(**{**pin, "seen": tuple((n, at) for n, at in pin["seen"])}) if pin else None


def submission_of(row: Row[Any], attempts: Iterable[Attempt]) -> Submission:
    """A submission of its row and its attempts."""
    p: Mapping[str, Any] = row.progress
    return Submission(
        id=row.id,
        command=Command(**{**row.command, "issued_at": p["issued_at"]}),
        realm=row.realm,
        task=row.task,
        part=p["part"],
        choice=p["choice"],
        accepted_at=row.accepted_at,
        state=row.state,
        reason=row.reason,
        behind=row.behind,
        next_at=row.next_at,
        pin=pin_in(p),
        looked=p["looked"],
        acts_as=p["acts_as"],
        baseline=tasks_.from_json(p["baseline"]) if p["baseline"] else None,
        marked=p["marked"],
        exposed=p["exposed"],
        cleared=p["cleared"],
        verdict=(p["verdict"][0], p["verdict"][1]) if p["verdict"] else None,
        hits=tuple(p["hits"]),
        tries=p["tries"],
        transition=p["transition"],
        vigil=p["vigil"],
        written_off=p["written_off"],
        attempts=tuple(attempts),
    )
