"""One run over a project: the items that it was told to use, and how one that was used is made ready again.

No API makes the steps of a review, so nothing is made here and nothing is taken away. An item that was answered goes back to its manager
and to review again, which is to begin the review anew (59); where it does not, each check takes an item of its own, as long as there are
any. Lists are never asked for without a filter that leaves the items of the run.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from worker.core import renewal
from worker.upstreams.autodesk import Autodesk
from worker.verify.answers import Answer, a_list, an_object
from worker.verify.asking import PATIENCE, Asking, Person
from worker.verify.autodesk.review import Review, Step, Task, review_of
from worker.verify.verdict import CannotTell

SUBMITTALS: Final = "/construction/submittals/v2/projects/"

DUE: Final = "2099-01-01"
"""Far enough that nobody is reminded."""

TIMES: Final = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?Z)"')
"""Times with their digits, as they were sent."""

PAGE: Final = 50
"""Rows: the documented most [STEPS]."""

Fits = Callable[[Review], bool]


class Spend(Protocol):
    """Renews the tokens of a grant by *use*, which is given the refresh token and says what is to be kept. False: not possible now."""

    def __call__(self, grant: str, use: Callable[[str], renewal.Answer]) -> bool:
        """See above."""
        ...


def _keeps(grant: str, use: Callable[[str], renewal.Answer]) -> bool:
    del grant, use
    return False


@dataclass(slots=True)
class Trial(Asking):
    """What the checks of Autodesk work with.

    `named`: the item that the user gave; it is only read. `usable`: items that may be answered, returned and sent again. `spend`: renews
    the tokens of a grant; `risk`: also in a way that may end it.
    """

    usable: Sequence[str] = ()
    spend: Spend = _keeps
    risk: bool = False
    managers: frozenset[Person] = frozenset()
    """Those of the people who manage the project's submittals, as `begin` has found."""
    digits: dict[str, int] = field(default_factory=dict)
    """Every time that was seen, with its digits of a second."""
    renewed: Any = None
    """What the one renewal of this run has shown."""
    _used: list[str] = field(default_factory=list)
    _replies: list[Mapping[str, Any]] | None = None

    @property
    def version(self) -> str:
        """Of the API."""
        return "Submittals v2"

    @property
    def connector(self) -> Autodesk:
        """The account's."""
        connector = self.wire.connector
        assert isinstance(connector, Autodesk)
        return connector

    def intends(self) -> list[str]:
        """What will be done."""
        used = f"{len(self.usable)} items that you named with --use are answered, returned and sent to review again, many times"
        risk = ["uses a refresh token twice: afterwards the grant may need `approvals login` again"] if self.risk else []
        return [
            used if self.usable else "acts on no item: none was named with --use",
            "the item that you named with --task is only read",
            *risk,
        ]

    def clear(self) -> int:
        """Nothing can be taken away. Returns how many items are not as they were."""
        return len(self._used)

    def remains(self, left: int) -> str | None:
        """What to say of that many items that are left."""
        return f"{left} items were used, and are left as they are: void them" if left else None

    # ---- requests

    @property
    def root(self) -> str:
        """Where the project is."""
        return f"{self.wire.base}{SUBMITTALS}{self.connector.project_id}"

    def url(self, item: str, rest: str = "") -> str:
        """Where an item is, and what belongs to it."""
        return f"{self.root}/items/{quote(item, safe='')}{rest}"

    def get(self, url: str, query: Mapping[str, str] | None = None, *, who: Person | None = None, token: str | None = None) -> Answer:
        """GET an address, or a path of the project. `token`: instead of the grant's."""
        params = "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in (query or {}).items())
        headers = {"Accept": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        address = url if url.startswith("http") else self.root + url
        return self.ask(httpx.Request("GET", f"{address}?{params}" if params else address, headers=headers), who)

    def ask(self, request: httpx.Request, who: Person | None = None, *, patient: bool = False) -> Answer:
        """As ever; the times in it are kept for a check that is about times."""
        answer = Asking.ask(self, request, who, patient=patient)  # super() does not find its way in a class with slots
        if answer.ok:
            self.digits |= {text.decode(): len(digits) for text, digits in TIMES.findall(answer.raw)}
        return answer

    def listed(self, item: str, query: Mapping[str, str] | None = None, **how: Any) -> Answer:
        """GET items, but only this one."""
        return self.get("/items", {"filter[id]": item, **(query or {})}, **how)

    # ---- looking

    def look(self, item: str) -> Review:
        """An item and its steps."""
        shown = self.get(self.url(item)).needed
        steps = self.get(self.url(item, "/steps"), {"limit": str(PAGE)}).needed
        return review_of(shown, a_list(steps.get("results")))

    def until(self, item: str, fits: Fits) -> Review:
        """The first look at an item that fits; or the last one: what the system does takes it a moment."""
        look = self.look(item)
        for _ in range(PATIENCE):
            if fits(look):
                break
            self.pause()
            look = self.look(item)
        return look

    def state(self, item: str) -> object:
        """The item's state."""
        return self.get(self.url(item)).needed.get("stateId")

    # ---- what may be used

    def review(self, needs: str, fits: Fits) -> Review:
        """A review that has just begun, as a check needs it: of an item that nobody has used, or of one that is begun anew."""
        for item in [*(each for each in self.usable if each not in self._used), *self._used]:
            look = self._ready(item)
            if look is not None and fits(look):
                if item not in self._used:
                    self._used.append(item)
                return look
        raise CannotTell(f"needs an item (--use) whose review {needs}")

    def _ready(self, item: str) -> Review | None:
        """The item with a review that has just begun, if it has one or can be brought there."""
        look = self.look(item)
        if item not in self._used and look.state not in {"mgr-1", "rev"}:
            return None
        if look.fresh or not look.steps:
            return look if look.steps else None
        if item not in self._used:
            self._used.append(item)
        if look.state == "mgr-2" and not self.go(item, "rev", stepDueDate=DUE).ok:
            return None
        if look.state != "mgr-1" and not self.returned(look).ok:
            return None
        if not self.go(item, "rev").ok:
            return None
        look = self.look(item)
        return look if look.fresh else None

    def closer(self, task: Task) -> Person | None:
        """Whose task it is, of the people of the run."""
        return next((person for person in self.people if person.user == task.user), None)

    def ours(self, review: Review) -> bool:
        """Whether the people of the run can go through the whole of it."""
        return all(step.tasks and all(self.closer(task) for task in step.needed) for step in review.steps)

    def long(self, review: Review) -> bool:
        """Ours, and not over after its first step."""
        return len(review.steps) > 1 and self.ours(review)

    # ---- acting

    def close(self, item: str, task: Task, who: Person | None = None, response: str | None = None) -> Answer:
        """Try to close a task, as whose it is if nobody is named, with a response that approves if none is given."""
        return self.ask(self.closing(item, task, response or self.reply(approves=True)), who or self.closer(task))

    def closing(self, item: str, task: Task, response: str) -> httpx.Request:
        """The request that closes a task."""
        path = f"/steps/{quote(task.step, safe='')}/tasks/{quote(task.id, safe='')}:close"
        return httpx.Request("POST", self.url(item, path), json={"responseId": response, "responseComment": self.comment()})

    def answer(self, item: str, task: Task, response: str | None = None) -> Mapping[str, Any]:
        """Close a task; the task as it was answered. A refusal is CannotTell."""
        return self.close(item, task, response=response).needed

    def finish(self, item: str, step: Step) -> Mapping[str, Any]:
        """Close what a step waits for; the last task as it was answered."""
        shown: Mapping[str, Any] = {}
        for task in step.needed:
            if not task.answered:
                shown = self.answer(item, task)
        return shown

    def through(self, review: Review, but: int = 0) -> Mapping[str, Any]:
        """Close what is open, step by step, and wait for the next one to begin; but not the last ones. The last task as it was answered."""
        shown: Mapping[str, Any] = {}
        for n in range(len(review.steps) - but):
            look = self.until(review.id, lambda now, n=n: now.statuses[n] != "not-started")  # type: ignore[misc]
            shown = self.finish(review.id, look.steps[n]) if look.statuses[n] == "in-progress" else shown
        if but:
            self.until(review.id, lambda now: now.statuses[-but] != "not-started")
        return shown

    def go(self, item: str, state: str, who: Person | None = None, **fields: Any) -> Answer:
        """Try to take an item to another state."""
        return self.ask(httpx.Request("POST", self.url(item, ":transition"), json={"stateId": state, **fields}), who)

    def returned(self, review: Review, who: Person | None = None) -> Answer:
        """Try to give an item back to its manager."""
        held = {name: review.item.get(name) for name in ("manager", "managerType")}
        return self.go(review.id, "mgr-1", who, **held)

    def manages(self) -> None:
        """Raises CannotTell where `me` manages nothing."""
        if self.me not in self.managers:
            raise CannotTell("needs a first grant whose user manages the project's submittals")

    # ---- the project's responses

    @property
    def replies(self) -> list[Mapping[str, Any]]:
        """The first page of them."""
        if self._replies is None:
            rows = a_list(self.get("/responses", {"limit": str(PAGE)}).needed.get("results"))
            self._replies = [row for row in map(an_object, rows) if isinstance(row.get("id"), str)]
        return self._replies

    def reply(self, *, approves: bool, active: bool = True) -> str:
        """A response of that meaning."""
        for row in self.replies:
            if row.get("isActive") is active and (row.get("isApproval") is approves or not active):
                return str(row["id"])
        raise CannotTell(
            f"the project has no response that is {'active' if active else 'deleted'} and {'an' if approves else 'no'} approval"
        )
