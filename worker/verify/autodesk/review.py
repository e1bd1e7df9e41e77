"""An item and its steps as they were shown, read with suspicion: whatever is not as it should be is CannotTell, and never repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.verify.answers import a_list, an_object, instant
from worker.verify.verdict import CannotTell

USER: Final = "1"
"""Type of a task that is a user's [TASK]."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a step. `step`: its id."""

    raw: Mapping[str, Any]
    step: str

    @property
    def id(self) -> str:
        """Its id."""
        return _text(self.raw, "id")

    @property
    def status(self) -> object:
        """Its status, as sent."""
        return self.raw.get("status")

    @property
    def user(self) -> str | None:
        """The one user whose task it is; None: a company's or a role's."""
        return _text(self.raw, "assignedTo") if self.raw.get("assignedToType") == USER else None

    @property
    def required(self) -> bool:
        """Whether the step waits for it."""
        return self.raw.get("isRequired") is True

    @property
    def answered(self) -> bool:
        """Whether it shows a response."""
        return self.raw.get("responseId") is not None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a review."""

    raw: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its id."""
        return _text(self.raw, "id")

    @property
    def status(self) -> object:
        """Its status, as sent."""
        return self.raw.get("status")

    @property
    def started(self) -> float:
        """When it began."""
        return instant(self.raw.get("startedAt"))

    @property
    def completed(self) -> float:
        """When it ended."""
        return instant(self.raw.get("completedAt"))

    @property
    def tasks(self) -> list[Task]:
        """Its tasks."""
        return [Task(an_object(task), self.id) for task in a_list(self.raw.get("tasks"))]

    @property
    def needed(self) -> list[Task]:
        """The tasks that it waits for: the required ones, or all where none is."""
        return [task for task in self.tasks if task.required] or self.tasks


@dataclass(frozen=True, slots=True)
class Review:
    """An item with its steps, in their order."""

    item: Mapping[str, Any]
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        """The item's id."""
        return _text(self.item, "id")

    @property
    def state(self) -> object:
        """The item's state, as sent."""
        return self.item.get("stateId")

    @property
    def updated(self) -> float:
        """When the item was touched."""
        return instant(self.item.get("updatedAt"))

    @property
    def statuses(self) -> list[object]:
        """Of its steps."""
        return [step.status for step in self.steps]

    @property
    def fresh(self) -> bool:
        """Whether its first step has just begun, and nobody has answered."""
        begun = ["in-progress"] + ["not-started"] * (len(self.steps) - 1)
        return self.state == "rev" and self.statuses == begun and not any(task.answered for step in self.steps for task in step.tasks)

    def task(self, like: Task) -> Task:
        """The same task, as it is in this look."""
        found = next((task for step in self.steps for task in step.tasks if (task.step, task.id) == (like.step, like.id)), None)
        if found is None:
            raise CannotTell("a task is not shown any more")
        return found


def review_of(item: Mapping[str, Any], steps: list[Any]) -> Review:
    """A review, its steps in their order."""
    rows = [an_object(step) for step in steps]
    if not all(isinstance(row.get("stepNumber"), int) for row in rows):
        raise CannotTell("a step was shown without its number")
    return Review(item, tuple(Step(row) for row in sorted(rows, key=lambda row: int(row["stepNumber"]))))


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise CannotTell(f"something was shown without its {name}")
    return value
