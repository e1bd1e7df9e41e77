"""One workspace: its tasks with their past, its clients, and the journal of every effect that took place."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, MutableSequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from worker.sandbox import life, shapes
from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Clock, Stale
from worker.sandbox.life import Effect, Refusal, Task

SANDBOX_USER = "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY"
"""The user of the client `sandbox`: one of the published example [SEED]."""

KEPT = 64
"""Past states kept of each task, for stale reads. A task has few; a benchmark has many tasks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect. `step` is 1-based, and None where an action has no step; `round` is the round it landed in, or began."""

    n: int
    at: float
    task: str
    action: str
    user: str
    step: int | None
    round: int
    comment: str | None
    by: Literal["api", "person"]
    request: str | None

    def json(self) -> dict[str, Any]:
        """For the control API."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Client:
    """A grant: it acts as exactly one user [a grant is bound to one Workiva user and one workspace]."""

    secret: str
    user: str


@dataclass(frozen=True, slots=True)
class _Version:
    at: float
    task: Task | None


def task_id(n: int) -> str:
    """Like the published ones: base64 of `Task`, a separator and 32 hex digits [SEED]."""
    digest = hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest()
    return base64.urlsafe_b64encode(f"Task\x1e{digest}".encode()).rstrip(b"=").decode()


class Workspace:
    """The truth. Every change of a task goes through `_put`, every effect into `journal`. *made*: ids go on after that many."""

    def __init__(self, now: Clock, switches: Switches | None = None, journal: MutableSequence[Any] | None = None, *, made: int = 0) -> None:
        self.now = now
        self.switches = switches or Switches()
        self.journal: MutableSequence[Any] = [] if journal is None else journal
        """May be another upstream's, too: then it is in the order in which things took place in both."""
        self.clients = {"sandbox": Client("sandbox", SANDBOX_USER)}
        self._made = made
        self.reset()

    def reset(self) -> None:
        """No tasks, no journal. Ids go on: one that is given twice would let a late request find a stranger's task."""
        self.tasks: dict[str, Task] = {}
        self.journal.clear()
        self._past: dict[str, list[_Version]] = {}

    def client(self, client_id: str) -> Client | None:
        """A registered one, or `sandbox:<user id>`: secret `sandbox`, acts as that user."""
        head, _, user = client_id.partition(":")
        if head == "sandbox" and user:
            return Client("sandbox", user)
        return self.clients.get(client_id)

    def look(self, id_: str, stale: Stale | None = None) -> Task | None:
        """The task, or the task as it was."""
        if stale is None:
            return self.tasks.get(id_)
        return self._as_of(self._past.get(id_, []), stale)

    def all(self, stale: Stale | None = None) -> Iterator[Task]:
        """Every task, in order of creation."""
        if stale is None:
            return iter(self.tasks.values())
        return (task for past in self._past.values() if (task := self._as_of(past, stale)) is not None)

    def _as_of(self, past: list[_Version], stale: Stale) -> Task | None:
        if stale.seconds is None:
            return past[max(0, len(past) - 1 - stale.changes)].task if past else None
        then = self.now() - stale.seconds
        return next((version.task for version in reversed(past) if version.at <= then), None)

    def none(self, id_: str) -> Refusal:
        """There is no such task, or no longer (27)."""
        return Refusal(self.switches.deleted_status if id_ in self._past else 404, "no such task", "taskId")

    def make(self, spec: Mapping[str, Any]) -> Task:
        """A task for a test; its making is no effect and stands in no journal."""
        task = shapes.made(spec, id_=self._next_id(), owner=SANDBOX_USER, at=self._instant())
        self._put(task.id, task)
        return task

    def create(self, fields: Mapping[str, Any], user: str, request: str | None) -> Task:
        """POST /tasks: Created, owned by its maker."""
        at = self._instant()
        values: dict[str, Any] = {
            "id": self._next_id(),
            "owner": user,
            "created_at": at,
            "created_by": user,
            "modified_at": at,
            "modified_by": user,
        }
        task = Task(**values, **fields)
        self._put(task.id, task)
        self._note(task, "CREATE", user, None, None, "api", request)
        return task

    def act(
        self,
        id_: str,
        action: str,
        user: str,
        comment: str | None = None,
        *,
        by: Literal["api", "person"] = "api",
        request: str | None = None,
    ) -> Task | Refusal:
        """An action, now."""
        task = self.tasks.get(id_)
        if task is None:
            return self.none(id_)
        done = life.act(task, action, user, comment, self._instant(), self.switches)
        return self._done(done, action, user, comment, by, request)

    def change(
        self,
        id_: str,
        fields: Mapping[str, Any],
        user: str,
        *,
        by: Literal["api", "person"] = "api",
        request: str | None = None,
    ) -> Task | Refusal:
        """A PATCH, now."""
        task = self.tasks.get(id_)
        if task is None:
            return self.none(id_)
        done = life.change(task, fields, user, self._instant(), self.switches)
        return self._done(done, "PATCH", user, None, by, request)

    def remove(self, id_: str, user: str, request: str | None) -> Refusal | None:
        """DELETE, now."""
        task = self.tasks.pop(id_, None)
        if task is None:
            return self.none(id_)
        self._past[id_].append(_Version(self._instant(), None))
        self._note(task, "DELETE", user, None, None, "api", request)
        return None

    def _done(
        self, done: Effect | Refusal, action: str, user: str, comment: str | None, by: Literal["api", "person"], request: str | None
    ) -> Task | Refusal:
        if isinstance(done, Refusal):
            return done
        self._put(done.task.id, done.task)
        self._note(done.task, action, user, done.step, comment, by, request)
        if done.restarted:
            self._note(done.task, "RESTART", user, None, None, by, request)
        return done.task

    def _note(
        self,
        task: Task,
        action: str,
        user: str,
        step: int | None,
        comment: str | None,
        by: Literal["api", "person"],
        request: str | None,
    ) -> None:
        n = len(self.journal) + 1
        self.journal.append(Entry(n, self._instant(), task.id, action, user, step, task.round, comment, by, request))

    def _put(self, id_: str, task: Task) -> None:
        self.tasks[id_] = task
        past = self._past.setdefault(id_, [])
        past.append(_Version(self._instant(), task))
        if len(past) > KEPT:
            del past[0]

    def _next_id(self) -> str:
        self._made += 1
        return task_id(self._made)

    def _instant(self) -> float:
        return round(self.now(), 3)  # what the wire shows, so that a filter by a time that was read finds its row
