"""One project of Autodesk: its items with their past, its people, templates and responses, and who did what."""

import heapq
import uuid
from collections.abc import Iterator, Mapping, MutableSequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from worker.sandbox import submittals
from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Clock, Stale
from worker.sandbox.life import Refusal
from worker.sandbox.submittals import ADMIN, COMPANY, MANAGER, MEMBER, REVIEW, ROLE, STATES, USER, Done, Item, Person, Reply, Step, Task

PROJECT = "9eae7d59-1469-4389-bfb2-4114e2ba5545"
"""The project of the published example [TASK]."""

AUTODESK_USER = "WD43ZJGKDFLFH"
"""The user of the client `sandbox`: the published example's [TASK]. Manages the project."""

KEPT = 64
"""Past states kept of each item, for stale reads."""

By = Literal["api", "person", "system"]


@dataclass(frozen=True, slots=True)
class Deed:
    """One effect. `task` is `item/step/task` of a response, else the item; `step` counts from 1; `state` is the item's afterwards."""

    n: int
    at: float
    task: str
    action: str
    user: str
    step: int | None
    round: int
    comment: str | None
    by: By
    request: str | None
    item: str
    response: str | None
    state: str

    def json(self) -> dict[str, Any]:
        """For the control API."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Template:
    """A review that an item can be given: its steps, as a spec [TPL]."""

    id: str
    name: str
    steps: tuple[Mapping[str, Any], ...]


_REPLIES = (
    # id, value, category, approval: the tutorial's, whose categories 2 and 3 contradict the reference [TUT][RESP]
    ("38ffb07d-d734-4aa6-bbf4-cb121c56972f", "Approved", "1", True),
    ("85bd95d5-84d8-4b55-a5c1-fb507ca2146c", "Approved as noted", "1", True),
    ("9ca0466e-8007-496e-afd4-22272b4dec26", "For record only", "1", True),
    ("d1001860-da66-4ea3-b704-52c669fdb5e3", "Rejected", "2", False),
    ("20dcd972-39e3-4e6b-9326-5a928efbdc25", "Revise and resubmit", "3", False),
)


class Project:
    """The truth. Every change of an item goes through `_put`, every effect into `journal`."""

    def __init__(self, now: Clock, switches: Switches | None = None, journal: MutableSequence[Any] | None = None, *, made: int = 0) -> None:
        self.now = now
        self.switches = switches or Switches()
        self.journal: MutableSequence[Any] = [] if journal is None else journal
        """May be another upstream's, too: then it is in the order in which things took place in both."""
        self.id = PROJECT
        self.names = {self.id}
        """The ids that it goes by: one project may be answered for under several."""
        self._made = 0
        self._ids = made
        self.reset()

    def reset(self) -> None:
        """No items; people, templates and responses as at first. Ids go on."""
        self.journal.clear()
        self.items: dict[str, Item] = {}
        self._past: dict[str, list[tuple[float, Item]]] = {}
        self._moves: list[tuple[float, str]] = []
        self.people = {AUTODESK_USER: Person(AUTODESK_USER, frozenset({MANAGER, MEMBER, ADMIN}))}
        self.templates: dict[str, Template] = {}
        self.replies: dict[str, Reply] = {}
        self.begun_at = self._instant()
        for id_, value, category, approval in _REPLIES:
            self.reply(id=id_, value=value, categoryId=category, isApproval=approval)

    # ---- who and what there is

    def person(self, user: str) -> Person:
        """Who is not told of is a member without further rights."""
        return self.people.get(user) or Person(user)

    def join(self, spec: Mapping[str, Any]) -> Person:
        """A user's place: `id`, `roles` (`1` manager, `2` user, `4` admin; none: no member), `companies`, `groups`."""
        roles = frozenset(map(str, spec.get("roles", [MEMBER])))
        if not roles <= {MANAGER, MEMBER, ADMIN}:
            raise ValueError("a role is 1 (manager), 2 (user) or 4 (admin)")
        person = Person(spec["id"], roles, frozenset(spec.get("companies", ())), frozenset(spec.get("groups", ())))
        self.people[person.id] = person
        return person

    def reply(self, **spec: Any) -> Reply:
        """One more response, or with the `id` of one, that one changed: `value`, `isApproval`, `isActive`, `categoryId`."""
        old = self.replies.get(spec.get("id", ""))
        value = spec.get("value", old.value if old else None)
        if value is None:
            raise ValueError("a response needs a value")
        made = Reply(
            id=old.id if old else spec.get("id") or self._next_id(),
            key=spec.get("key", old.key if old else str(value).lower().replace(" ", "_")),
            value=str(value),
            category=str(spec.get("categoryId", old.category if old else "1")),
            approval=bool(spec.get("isApproval", old.approval if old else True)),
            active=bool(spec.get("isActive", old.active if old else True)),
        )
        self.replies[made.id] = made
        return made

    def reply_called(self, name: str | None) -> Reply:
        """By id, key or value; by default the first active one that approves."""
        for each in self.replies.values():
            if name in {each.id, each.key, each.value} or (name is None and each.approval and each.active):
                return each
        raise ValueError(f"no response {name!r}; there are {', '.join(each.value for each in self.replies.values())}")

    def template(self, spec: Mapping[str, Any]) -> Template:
        """One more review template: `name`, `steps`."""
        steps = tuple(each if isinstance(each, Mapping) else {"tasks": each} for each in spec["steps"])
        template = Template(self._next_id(), spec.get("name", "Review"), steps)
        self._steps(template.steps, AUTODESK_USER, 0.0)  # refuses what makes no steps
        self.templates[template.id] = template
        return template

    def look(self, id_: str, stale: Stale | None = None) -> Item | None:
        """The item, or the item as it was."""
        self.settle()
        if stale is None:
            return self.items.get(id_)
        return self._as_of(self._past.get(id_, []), stale)

    def all(self, stale: Stale | None = None) -> Iterator[Item]:
        """Every item, in order of creation."""
        self.settle()
        if stale is None:
            return iter(self.items.values())
        return (item for past in self._past.values() if (item := self._as_of(past, stale)) is not None)

    def _as_of(self, past: list[tuple[float, Item]], stale: Stale) -> Item | None:
        if stale.seconds is None:
            return past[max(0, len(past) - 1 - stale.changes)][1] if past else None
        then = self.now() - stale.seconds
        return next((item for at, item in reversed(past) if at <= then), None)

    # ---- what is done

    def make(self, spec: Mapping[str, Any]) -> Item:
        """An item for a test; its making is no effect and stands in no journal.

        `title`, `state` (default `rev`, in its first round), `steps` or `template`, `manager`, `subcontractor`, `customIdentifier` (null:
        none), `createdBy`, `id`; fields of `PLAIN`; `extra`: fields that no page tells of. A step: `tasks`, `daysToRespond`; or just its
        tasks. A task: `user`, `company` or `role`, `required` (default true); or just a user.
        """
        own = {"title", "state", "steps", "template", "manager", "subcontractor", "customIdentifier", "id", "createdBy", "extra"}
        fields = {name: value for name, value in spec.items() if name not in own}
        if unknown := set(fields) - set(submittals.PLAIN):
            raise ValueError(f"an item has no {', '.join(sorted(unknown))}")
        state = spec.get("state", REVIEW)
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        at, by = self._instant(), spec.get("createdBy", AUTODESK_USER)
        named = self.templates[spec["template"]].steps if "template" in spec else spec.get("steps", [[AUTODESK_USER]])
        self._made += 1
        item = Item(
            id=spec.get("id") or self._next_id(),
            identifier=self._made,
            title=spec.get("title", f"Item {self._made}"),
            manager=spec.get("manager", AUTODESK_USER),
            subcontractor=spec.get("subcontractor", AUTODESK_USER),
            created_at=at,
            created_by=by,
            updated_at=at,
            updated_by=by,
            state=state,
            steps=self._steps(named, by, at),
            custom_identifier=spec.get("customIdentifier", str(self._made)),
            fields={**fields, **spec.get("extra", {})},
        )
        if state == REVIEW:
            item = submittals.begun(replace(item, sent_to_review=at, sent_to_review_by=by), by, at, self.switches)
        return self._put(item)

    def close(
        self, ids: tuple[str, str, str], user: str, body: Mapping[str, Any], *, by: By = "api", request: str | None = None
    ) -> Item | Refusal:
        """A response to a task, now. `responseId` and `responseComment` of the body."""
        item = self.look(ids[0])
        if item is None or item.find(ids[1], ids[2]) is None:
            return Refusal(404, "no such task")
        if not isinstance(body.get("responseId"), str):
            return Refusal(400, "responseId is mandatory", "responseId")
        if not isinstance(body.get("responseComment", ""), str | None):
            return Refusal(400, "responseComment is a text", "responseComment")
        reply = self.replies.get(body["responseId"])
        if reply is None:
            status = self.switches.dead_response
            return Refusal(status if isinstance(status, int) else 400, "there is no such response", "responseId")
        comment = body.get("responseComment")
        at = self._instant()
        done = submittals.close(item, ids[1:], self.person(user), reply, comment, at, self.switches)
        return self._done(done, at, "close", user, "/".join(ids), reply.id, comment, by, request)

    def transition(self, id_: str, user: str, body: Mapping[str, Any], *, by: By = "api", request: str | None = None) -> Item | Refusal:
        """To another state, now."""
        item = self.look(id_)
        if item is None:
            return Refusal(404, "no such item")
        at = self._instant()
        done = submittals.transition(item, body, self.person(user), self.replies, at, self.switches)
        reply = body.get("responseId") if body.get("stateId") == "sbc-2" else None
        return self._done(
            done, at, f"transition {item.state}::{body.get('stateId')}", user, id_, reply, body.get("responseComment"), by, request
        )

    def change(self, id_: str, user: str, body: Mapping[str, Any], *, by: By = "api", request: str | None = None) -> Item | Refusal:
        """PATCH of what is only kept and shown, and of the title."""
        item = self.look(id_)
        if item is None:
            return Refusal(404, "no such item")
        if not self.person(user).manages:
            return Refusal(403, "Item::partial_update is not permitted")
        rest = {name: value for name, value in body.items() if name != "title"}
        title = str(body.get("title", item.title))
        at = self._instant()
        changed = replace(item, title=title, fields={**item.fields, **rest}, updated_at=at, updated_by=user)
        return self._done(Done(changed), at, "update", user, id_, None, None, by, request)

    def settle(self) -> None:
        """Lets the system make the moves that are due by the clock."""
        while self._moves and self._moves[0][0] <= self.now():
            at, id_ = heapq.heappop(self._moves)
            item = self.items.get(id_)
            if item is not None and item.moves_at == at:
                moved = self._put(submittals.moved(item), at)
                self._note(moved, "move", "", moved.id, None, None, None, "system", None, at)

    # ---- how it is kept

    def _done(
        self,
        done: Done | Refusal,
        at: float,
        action: str,
        user: str,
        task: str,
        response: str | None,
        comment: str | None,
        by: By,
        request: str | None,
    ) -> Item | Refusal:
        if isinstance(done, Refusal):
            return done
        self._put(done.item, at)
        self._note(done.item, action, user, task, done.step, response, comment, by, request, at)
        return done.item

    def _note(
        self,
        item: Item,
        action: str,
        user: str,
        task: str,
        step: int | None,
        response: str | None,
        comment: str | None,
        by: By,
        request: str | None,
        at: float,
    ) -> None:
        n = len(self.journal) + 1
        self.journal.append(Deed(n, at, task, action, user, step, item.round, comment, by, request, item.id, response, item.state))

    def _put(self, item: Item, at: float | None = None) -> Item:
        self.items[item.id] = item
        past = self._past.setdefault(item.id, [])
        past.append((self._instant() if at is None else at, item))
        if len(past) > KEPT:
            del past[0]
        if item.moves_at is not None:
            heapq.heappush(self._moves, (item.moves_at, item.id))
        return item

    def _steps(self, named: Any, by: str, at: float) -> tuple[Step, ...]:
        made = []
        for number, each in enumerate(named, 1):
            spec = each if isinstance(each, Mapping) else {"tasks": each}
            tasks = tuple(self._task(task, by, at) for task in spec["tasks"])
            if not tasks:
                raise ValueError("a step needs a task")
            made.append(Step(self._next_id(), number, int(spec.get("daysToRespond", 7)), tasks, at, by, at, by))
        return tuple(made)

    def _task(self, spec: Any, by: str, at: float) -> Task:
        spec = spec if isinstance(spec, Mapping) else {"user": spec}
        kinds = {"user": USER, "company": COMPANY, "role": ROLE}
        who = [name for name in kinds if name in spec]
        if len(who) != 1 or not isinstance(spec[who[0]], str):
            raise ValueError("a task is for a user, a company or a role")
        return Task(self._next_id(), spec[who[0]], kinds[who[0]], bool(spec.get("required", True)), at, by, at, by)

    def _next_id(self) -> str:
        self._ids += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox/{self._ids}"))

    def _instant(self) -> float:
        return round(self.now(), 6)
