"""A task as an answer shows it, read with suspicion: whatever is not as it should be is CannotTell, and never repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.upstreams.workiva import AWAITING, DONE
from worker.verify.answers import Answer, a_list, an_object, instant
from worker.verify.verdict import CannotTell


@dataclass(frozen=True, slots=True)
class Task:
    """One task as an answer showed it."""

    raw: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.raw["id"])

    @property
    def status(self) -> object:
        """Its status, as sent."""
        return self.raw.get("status")

    @property
    def awaiting(self) -> bool:
        """Whether it waits for an approval."""
        return str(self.status).casefold() in AWAITING

    @property
    def done(self) -> bool:
        """Whether it is completed, whatever that is called."""
        return str(self.status).casefold() in DONE

    @property
    def modified(self) -> float:
        """When it was changed."""
        return instant(an_object(self.raw.get("modified")).get("dateTime"))

    @property
    def responses(self) -> list[list[Mapping[str, Any]]]:
        """The responses of each step."""
        steps = self.raw.get("approvalSteps")
        if not isinstance(steps, list):
            raise CannotTell("a task was answered without its steps")
        return [[an_object(each) for each in a_list(an_object(step).get("responses"))] for step in steps]

    def response(self, comment: str) -> Mapping[str, Any]:
        """The response with this comment. Raises CannotTell if there is none."""
        found = next((given for step in self.responses for given in step if given.get("comment") == comment), None)
        if found is None:
            raise CannotTell("the response that was just given is not in the answer")
        return found

    def landed(self, comment: str) -> int | None:
        """The step, from 1, that holds the response with this comment."""
        return next((n for n, given in enumerate(self.responses, 1) if any(r.get("comment") == comment for r in given)), None)


@dataclass(frozen=True, slots=True)
class TaskAnswer(Answer):
    """An answer that may hold a task."""

    @property
    def task(self) -> Task:
        """The task in it. Raises CannotTell for a refusal, and for what is none."""
        if not self.ok:
            raise CannotTell(f"a request that the check needs was answered {self.status}")
        if not isinstance(self.body, dict) or not isinstance(self.body.get("id"), str):
            raise CannotTell("an answer that should be a task is none")
        return Task(self.body)


def ids(answer: Answer) -> list[str] | None:
    """The ids of a page, in its order. None: it is no page."""
    rows = answer.body.get("data") if answer.ok and isinstance(answer.body, dict) else None
    if not isinstance(rows, list):
        return None
    return [str(an_object(row).get("id")) for row in rows]


def author_of(action: Any) -> object:
    """Whom an Action names, in either spelling."""
    return an_object(an_object(action).get("user")).get("id") or an_object(action).get("user_id")


def written(value: Any) -> datetime | None:
    """A time as it was sent, if it is one."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
