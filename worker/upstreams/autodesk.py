"""Autodesk: submittal items under review, Submittals v2. The row of the ledger is the item; a *part* is one task of one of its steps.

What this API makes hard, and what stands here against it:

- No idempotency key, no ETag, no precondition [TASK][CLOSE]. So every answer to the one POST is sorted by what it proves, and what proves
  nothing is `InDoubt`. Nothing here repeats a POST.
- What a caller may do is told beforehand, in `permittedActions` [TASK][ITEM]. So a look is made by whoever is to act, and says what would
  be refused, in words that name the choices. Before a task's turn nothing is permitted to anybody: then that is no refusal.
- Responses are the project's own, editable, and their category numbers mean one thing in the reference and another in the tutorial
  [RESP][TUT]. A decision is read from `isApproval` and from nothing else, and nothing is chosen where more than one would fit.
- The answer to `:close` shows the task and not the item [CLOSE]: `Applied.partial`. The system moves the item a moment later [TUT].
- A response in the middle of a step may leave the item's `updatedAt` as it is (not documented): the feed is `silent`.
- Lists have defaults, ends and orders that examples and text tell differently [STEPS][TUT]: only what came and `totalResults` are believed.

**The item is read before its steps.** The two are not read at one instant. This way round the steps are never older than the item's
`updatedAt` beside them: a response may be seen early, and the next look explains it. The other way round a fresh `updatedAt` would vouch
for steps that were read before it. A round that is begun between the two would show its first `startedAt` beside the old `sentToReview`;
so where a step began after the item's `updatedAt`, the item is read again.

A body that cannot be read is a fact in the outcome, never an exception. Readable means: the item that was asked for, a state, steps that
are numbered 1 to n, and tasks whose assignment and status are in the documented words.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx

from worker.core.budget import Limit
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Page, Read, Refused, Sent, Unknown
from worker.core.sunset import Sunset
from worker.core.task import SAME_INSTANT, SAME_MODIFIED, Offer, Part, Response, Snapshot, State, Step, near
from worker.upstreams import reading
from worker.upstreams.auth import AuthorizationCode, Consented, ServiceAccount
from worker.upstreams.base import EXCERPT, Address, Credentials, Flow, Order, Renewal, clean, date_of, decoded, fact_of, place, proven
from worker.upstreams.descent import Place

AWAITING: Final = "rev"
DONE: Final = "sbc-2"
"""States of an item [ITEM]. Of the others, `mgr-2` says that the review is over, and waits for the manager's own close."""

STATES: Final[Mapping[str, State]] = {"not-started": "waiting", "in-progress": "active", "completed": "complete"}
"""Of steps and tasks [STEPS][TASK]. Another word makes the item unreadable: whether a decision may be sent hangs on it."""

KINDS: Final[Mapping[str, str]] = {"1": "", "2": "company:", "3": "role:"}
"""Who a task is assigned to [TASK], as participants are written."""

CLOSE: Final = "Task::close"
TRANSITION: Final = "Item::wf_transition"

MEANINGS: Final[Mapping[str, bool]] = {"approve": True, "reject": False}
"""The actions that name a meaning instead of a response, by `isApproval`."""

OURS: Final = frozenset({"stateId", "responseId", "responseComment"})
"""Fields of a transition that a command names otherwise: `state`, `response`, `comment`."""

PAGE: Final = 50
"""Rows of a page: the documented most [STEPS][ITEMS]."""

PUBLISHED: Final = Limit(600)
"""[RATE]"""

MOST_PAGES: Final = 40
"""Of steps or of responses. No review has 2000 steps; a list without an end has."""

KEPT: Final = 600.0
"""Seconds, by the upstream's clock, for which the project's responses and who a grant acts as are not asked for again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One of the project's responses [RESP]: its label, whether it approves, and whether it can still be given."""

    id: str
    label: str
    approval: bool
    active: bool


Replies = Mapping[str, Reply]


@dataclass(slots=True)
class Memory:
    """What need not be asked each time, with when the upstream said it. Lives on the engine's thread, as all flows do.

    `absent`: ids that tasks name and the catalogue does not know; asking again would not help before its time.
    """

    date: float | None = None
    replies: Replies | None = None
    replied: float | None = None
    absent: frozenset[str] = frozenset()
    people: dict[str, tuple[str, float]] = field(default_factory=dict)

    def fresh(self, at: float | None) -> bool:
        """Whether what was said then still holds."""
        return at is not None and self.date is not None and abs(self.date - at) < KEPT


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a success, and the upstream's clock with it."""

    value: dict[str, Any]
    date: float | None


@dataclass(frozen=True, slots=True)
class Whole:
    """One item with its steps. `item` as it came, for what it permits; `permits`: the parts that this caller may close, with what that
    takes; `me`: who the caller is, if that was asked.
    """

    look: Snapshot
    item: dict[str, Any]
    permits: Mapping[str, dict[str, Any]]
    replies: Replies
    me: str | None = None


@dataclass(frozen=True, slots=True)
class Autodesk:
    """One project: its address, its id without `b.`, its grants by name, and the timezone in which a day-only due date ends.

    `requests_per_minute`: of those that are published, how many are ours; 0: all of them.
    """

    ACTIONS: ClassVar = frozenset({"approve", "reject", "close", "transition"})

    base_url: str
    project_id: str
    grants: Mapping[str, Consented | ServiceAccount] = field(default_factory=dict)
    timezone: str = "UTC"
    requests_per_minute: int = 0
    memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Bad settings stop here, at the start, and not in the middle of an approval."""
        place(self.base_url)
        if self.project_id.startswith("b."):
            raise ValueError(f"project_id is the id without its prefix: write {self.project_id[2:]!r}, not {self.project_id!r}")
        if not _plain(self.project_id):
            raise ValueError("project_id is the project's id (a UUID) and nothing else")
        ZoneInfo(self.timezone)

    @property
    def realm(self) -> str:
        """For example `autodesk:developer.api.autodesk.com/9eae7d59-1469-4389-bfb2-4114e2ba5545`."""
        return f"autodesk:{place(self.base_url)}/{self.project_id.lower()}"

    @property
    def sunset(self) -> Sunset | None:
        """No end is published."""
        return None

    @property
    def actions(self) -> frozenset[str]:
        """All of them."""
        return self.ACTIONS

    @property
    def look_costs(self) -> int:
        """GET item and GET steps; and the project's responses, as long as this process does not know them."""
        return 2 if self.memory.fresh(self.memory.replied) else 3

    def limits(self, grant: str) -> Mapping[str, Limit]:
        """600 requests a minute for the app, and for the user, all endpoints of Submittals and all projects together [RATE]."""
        who, host = self.grants[grant], f"autodesk:{httpx.URL(self.base_url).netloc.decode()}"
        limit = Limit(self.requests_per_minute) if self.requests_per_minute else PUBLISHED
        return {f"{host} app {who.client_id}": limit, f"{host} user {who.user}": limit}

    @property
    def silent(self) -> bool:
        """Whether a response in the middle of a step touches the item is not documented; that items are voided is not listed at all."""
        return True

    def address(self, task: str) -> Address:
        """An item, or a task of one of its steps. Raises ValueError for anything else."""
        names = task.split("/")
        if len(names) not in {1, 3} or not all(map(_plain, names)):
            raise ValueError("a task is <itemId> or <itemId>/<stepId>/<taskId>")
        return Address(names[0], "/".join(names[1:]) or None)

    def credentials(self, grant: str) -> Credentials:
        """The credentials of the grant with that name: it signs for itself, or its tokens are held in the ledger."""
        return self.grants[grant].credentials(self._base)

    def renewal(self, grant: str) -> Renewal | None:
        """How the tokens of a grant that was consented to are renewed."""
        return self.grants[grant].renewal(self._base)

    def consent(self, grant: str, redirect: str, state: str, verifier: str) -> AuthorizationCode | None:
        """How the user of that grant consents; None where it signs for itself."""
        return self.grants[grant].consent(self._base, redirect, state, verifier)

    def whoami(self) -> Flow[str | Unknown]:
        """Who asks, by the upstream's own word [ME] (A14)."""
        answer = yield from self._get(self._root + "/users/me")
        if not isinstance(answer, Body):
            return Unknown(answer.fact)
        try:
            return reading.string(answer.value.get("id"), "users/me: id")
        except ValueError as exc:
            return _unreadable(exc)

    # ---- looking

    def read(self, task: str) -> Flow[Read]:
        """Look at one item.

        A 401 is asked once more: by then the engine has dropped the token, and repeating a look costs nothing.
        """
        whole = yield from self._whole(task)
        return whole.look if isinstance(whole, Whole) else whole

    @property
    def glance_costs(self) -> int:
        """GET steps."""
        return 1

    def glance(self, known: Snapshot) -> Flow[Read]:
        """The steps alone: what else there is to an item moves its `updatedAt`, and the feed shows that.

        Steps of another round beside the item of this one would be a look that nobody could have had. So the item is read, too, where a
        step that had begun has begun anew, or has not begun any more, or where the steps themselves are others.
        """
        rows = yield from self._rows(self._item(known.task) + "/steps")
        if isinstance(rows, Gone | Unknown):
            return rows
        try:
            found = _in_order(rows)
            replies: Replies | Unknown = {}
            if named := _named({}, found):
                replies = yield from self._replies(named)
            if isinstance(replies, Unknown):
                return replies
            steps = tuple(self._step(s, known.task, replies) for s in found)
        except ValueError as exc:
            return _unreadable(exc)
        if not _goes_on(known.steps, steps):
            return (yield from self.read(known.task))
        return replace(known, steps=steps, date=self.memory.date)

    def look(self, order: Order) -> Flow[Read]:
        """Look at the order's item as whoever is to act, and say in `offer` what the upstream would take from them.

        Whether the responses are still what they were is asked again before anything is refused because of them.
        """
        known = self.memory.replied
        whole = yield from self._whole(order.task, order)
        if not isinstance(whole, Whole):
            return whole
        try:
            offer = _offer(order, whole)
            if offer.refusal and offer.choice is None and known is not None and known == self.memory.replied:
                self.memory.replied = None
                replies = yield from self._replies(self.memory.absent)
                if isinstance(replies, Unknown):
                    return replies
                offer = _offer(order, replace(whole, replies=replies))
        except ValueError as exc:
            return _unreadable(exc)
        return replace(whole.look, offer=replace(offer, me=whole.me))

    def _whole(self, task: str, order: Order | None = None) -> Flow[Whole | Gone | Unknown]:
        """The item, then its steps (why: above). What is asked besides, is asked before the steps: a decision rests on what they show."""
        if not _plain(task):
            return Gone(Fact("task id", text="no item can have this id"))
        item = yield from self._get(self._item(task))
        if not isinstance(item, Body):
            return item
        me: str | None = None
        replies: Replies = {}
        if order is not None:
            asked = yield from self._aside(order)
            if isinstance(asked, Unknown):
                return asked
            me, replies = asked
        rows = yield from self._rows(self._item(task) + "/steps")
        if isinstance(rows, Gone | Unknown):
            return rows
        try:
            steps = _in_order(rows)
            if not (named := _named(item.value, steps)) <= replies.keys():
                found = yield from self._replies(named)
                if isinstance(found, Unknown):
                    return found
                replies = found
            look = self._snapshot(item, task, tuple(self._step(s, task, replies) for s in steps), replies)
            permits = _permits(steps) if order is not None else {}
        except ValueError as exc:
            return _unreadable(exc)
        began = max((s.started for s in look.steps if s.started is not None), default=None)
        if began is not None and look.modified is not None and began > look.modified + SAME_INSTANT:
            again = yield from self._get(self._item(task))
            if not isinstance(again, Body):
                return again
            if not near(reading.when(again.value.get("sentToReview")), look.begun, SAME_MODIFIED):
                return Unknown(Fact("torn", text="the review was begun anew while it was read"))
        return Whole(look, item.value, permits, replies, me)

    def _aside(self, order: Order) -> Flow[tuple[str, Replies] | Unknown]:
        """What a look at an order takes besides: who acts, and the project's responses, where the order names one."""
        me = yield from self._me(order.grant)
        if isinstance(me, Unknown):
            return me
        if order.action == "transition" and order.state != DONE:
            return me, {}
        replies = yield from self._replies(frozenset())
        return replies if isinstance(replies, Unknown) else (me, replies)

    def _me(self, grant: str) -> Flow[str | Unknown]:
        """Who that grant acts as, by the upstream's own word [ME] (A14)."""
        if (kept := self.memory.people.get(grant)) and self.memory.fresh(kept[1]):
            return kept[0]
        me = yield from self.whoami()
        if isinstance(me, str) and self.memory.date is not None:
            self.memory.people[grant] = (me, self.memory.date)
        return me

    def _replies(self, named: frozenset[str]) -> Flow[Replies | Unknown]:
        """The project's responses. *named*: ids that have to be among them, unless they were asked for in vain just now."""
        memory = self.memory
        if memory.replies is not None and memory.fresh(memory.replied) and named <= memory.replies.keys() | memory.absent:
            return memory.replies
        rows = yield from self._rows(self._root + "/responses")
        if isinstance(rows, Gone | Unknown):
            return Unknown(rows.fact)
        try:
            replies = {id_: _reply(id_, row) for id_, row in rows.items()}
        except ValueError as exc:
            return _unreadable(exc)
        memory.replies, memory.replied, memory.absent = replies, memory.date, named - replies.keys()
        return replies

    # ---- acting

    def send(self, order: Order, seen: Snapshot) -> Flow[Sent]:
        """Send one decision: one POST, never repeated, and its answer sorted by what it proves (A3).

        A 401 ends it too: it proves that nothing happened, and the next attempt brings a new token. A success that does not show the effect
        proves nothing.
        """
        comment = {} if order.comment is None else {"responseComment": order.comment}
        if order.action == "transition" and order.state and (order.choice or order.state != DONE):
            path, body = ":transition", {n: v for n, v in order.fields.items() if n not in OURS} | {"stateId": order.state}
            if order.state == DONE:
                body |= {"responseId": order.choice, **comment}
        elif order.action in self.ACTIONS and order.action != "transition" and order.choice and seen.part(order.part):
            step, _, task = str(order.part).partition("/")
            path, body = f"/steps/{quote(step, safe='')}/tasks/{quote(task, safe='')}:close", {"responseId": order.choice, **comment}
        else:
            return Refused(Fact("order", text=f"{clean(order.action)[:40]} without what it takes: a task and a response, or a state"))
        if seen.task != order.task or not _plain(order.task):
            return Refused(Fact("order", text=f"no item can have the id {clean(order.task)[:80]}, or the look was at another"))
        answer = yield self._request("POST", self._item(order.task) + path, json=body)
        if answer.status_code != 200:
            return proven(answer)
        try:
            shown = Body(reading.mapping(decoded(answer), "the answer"), date_of(answer))
            after = self._moved(order, seen, shown) if order.action == "transition" else self._closed(order, seen, shown)
        except ValueError as exc:
            return InDoubt(fact_of(answer, "unreadable", str(exc)))
        return Applied(after, fact_of(answer), partial=True)

    def _closed(self, order: Order, seen: Snapshot, shown: Body) -> Snapshot:
        """*seen* with the task that was answered. Raises ValueError where it is another task, or not answered."""
        part, response = _task(shown.value, str(order.part).partition("/")[0], "the task", self.memory.replies or {})
        if part.id != order.part:
            raise ValueError("the answer is about another task")
        if response is None:
            raise ValueError("the answer does not show the task completed with a response")
        steps = tuple(
            replace(
                step,
                parts=tuple(part if p.id == part.id else p for p in step.parts),
                responses=(*(r for r in step.responses if r.part != part.id), response),
            )
            if any(p.id == part.id for p in step.parts)
            else step
            for step in seen.steps
        )
        return replace(seen, steps=steps, date=shown.date, offer=None)

    def _moved(self, order: Order, seen: Snapshot, shown: Body) -> Snapshot:
        """The item as the transition left it, with the steps of *seen*. Raises ValueError where it is another item, or elsewhere."""
        after = self._snapshot(shown, order.task, seen.steps, self.memory.replies or {})
        if after.status != order.state:
            raise ValueError(f"the answer shows the item in {after.status}")
        return after

    # ---- following

    def changes(self, since: float | None, cursor: str | None = None) -> Flow[Page | Unknown]:
        """One page of the items touched at or after *since*, newest first (B2).

        Items come without their steps here, so they are `touched`. Void items are not listed [ITEMS]: that one was voided is told by the
        next look at it, never by the feed.
        """
        try:
            at = Place(since) if cursor is None else Place.of(cursor)
        except ValueError:
            return Unknown(Fact("cursor", text="not a place in this feed"))
        answer = yield from self._listed(since, at.offset)
        if not isinstance(answer, Body):
            return Unknown(answer.fact)
        try:
            found, total = _page(answer.value)
            replies = self.memory.replies or {}
            rows = tuple(self._snapshot(Body(row, answer.date), _name(row.get("id"), "id"), (), replies) for row in found)
            onward = at.onward([(row.task, row.modified) for row in rows], total)
        except ValueError as exc:
            return _unreadable(exc)
        return Page((), None if onward is None else onward.text(), answer.date, tuple(row for row in rows if at.news(row.modified)))

    def _listed(self, since: float | None, offset: int) -> Flow[Body | Gone | Unknown]:
        """A page of items. The filter takes days of a zone that is not told: a day more on both sides. The upstream says what day it is."""
        today = self.memory.date if self.memory.date is not None else since
        while True:
            query = {"limit": str(PAGE), "offset": str(offset), "sort": "updatedAt desc"}
            until = "" if since is None or today is None else _day(max(today, since), 1)
            if since is not None:
                query["filter[updatedAt]"] = f"{_day(since, -1)}..{until}"
            answer = yield from self._get(self._root + "/items?" + "&".join(f"{n}={quote(v, safe='')}" for n, v in query.items()))
            if not until or not isinstance(answer, Body) or answer.date is None or _day(answer.date, 1) <= until:
                return answer
            today = answer.date

    # ---- requests

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")

    @property
    def _root(self) -> str:
        return f"{self._base}/construction/submittals/v2/projects/{quote(self.project_id, safe='')}"

    def _item(self, item: str) -> str:
        return f"{self._root}/items/{quote(item, safe='')}"

    def _request(self, method: str, url: str, json: Any = None) -> httpx.Request:
        return httpx.Request(method, url, headers={"Accept": "application/json"}, json=json)

    def _get(self, url: str) -> Flow[Body | Gone | Unknown]:
        """One object. A 403 of the gateway is about the token, not about what was asked for [AUTHERR]: it makes nothing gone."""
        answer = yield self._request("GET", url)
        if answer.status_code == 401:
            answer = yield self._request("GET", url)
        now = date_of(answer)
        self.memory.date = self.memory.date if now is None else now
        if answer.status_code != 200:
            fact = fact_of(answer)
            gone = answer.status_code == 404 or (answer.status_code == 403 and not (fact.code or "").upper().startswith("AUTH-"))
            return Gone(fact) if gone else Unknown(fact)
        try:
            return Body(reading.mapping(decoded(answer), "the answer"), now)
        except ValueError as exc:
            return Unknown(fact_of(answer, "unreadable", str(exc)))

    def _rows(self, url: str) -> Flow[dict[str, dict[str, Any]] | Gone | Unknown]:
        """All rows of a list, by id. One that changes while it is read, or does not go on, is Unknown: a step could be missing."""
        rows: dict[str, dict[str, Any]] = {}
        total: int | None = None
        for _ in range(MOST_PAGES):
            answer = yield from self._get(f"{url}?limit={PAGE}&offset={len(rows)}")
            if not isinstance(answer, Body):
                return answer
            try:
                found, said = _page(answer.value)
                fresh = {reading.string(row.get("id"), "id"): row for row in found}
            except ValueError as exc:
                return _unreadable(exc)
            if len(fresh) < len(found) or rows.keys() & fresh.keys() or (rows and said != total):
                return Unknown(Fact("torn", text="the list repeats itself, or has changed while it was read"))
            rows |= fresh
            total = said
            if total is not None and len(rows) == total:
                return rows
            if not found or (total is not None and len(rows) > total):
                return rows if total is None else Unknown(Fact("torn", text=f"the list has {len(rows)} of {total} rows"))
        return Unknown(Fact("torn", text=f"the list does not end within {MOST_PAGES} pages"))

    # ---- our own shape

    def _snapshot(self, answer: Body, asked: str, steps: tuple[Step, ...], replies: Replies) -> Snapshot:
        """An item with its steps. Raises ValueError, with the place, for what cannot be read."""
        item = answer.value
        if reading.string(item.get("id"), "id") != asked:
            raise ValueError("the answer is about another item")
        status = reading.string(item.get("stateId"), "stateId")
        number = reading.text(item.get("customIdentifierHumanReadable")) or reading.text(item.get("customIdentifier"))
        return Snapshot(
            task=asked,
            title=" ".join(filter(None, (number, reading.text(item.get("title"))))),
            status=status,
            awaiting=status == AWAITING,
            done=status == DONE,
            steps=steps,
            modified=reading.when(item.get("updatedAt")),
            modified_by=reading.text(item.get("updatedBy")) or None,
            due=reading.due(item.get("dueDate"), self.timezone),
            date=answer.date,
            assignees=tuple(
                kind + reading.string(who, f"ballInCourt{where}")
                for where, kind in (("Users", ""), ("Companies", "company:"), ("Roles", "role:"))
                for who in reading.rows(item.get(f"ballInCourt{where}"), f"ballInCourt{where}")
            ),
            begun=reading.when(item.get("sentToReview")),
            answer=_response(item, None, replies) if item.get("responseId") is not None else None,
        )

    def _step(self, step: dict[str, Any], item: str, replies: Replies) -> Step:
        id_, where = _name(step.get("id"), "steps.id"), f"steps[{step['stepNumber']}]"
        if step.get("itemId") not in (None, item):
            raise ValueError(f"{where} is of another item")
        tasks = [_task(t, id_, f"{where}.tasks", replies) for t in _tasks(step)]
        if len({part.id for part, _ in tasks}) < len(tasks):
            raise ValueError(f"{where} has a task twice")
        days = (step.get("dueDate"), *(t.get("stepDueDate") for t in _tasks(step)))
        return Step(
            participants=tuple(dict.fromkeys(part.assigned for part, _ in tasks)),
            mode="parts",
            responses=tuple(response for _, response in tasks if response is not None),
            due=next((at for at in (reading.due(day, self.timezone) for day in days) if at is not None), None),
            state=_state(step, where),
            started=reading.when(step.get("startedAt")),
            parts=tuple(part for part, _ in tasks),
        )


def _unreadable(exc: ValueError) -> Unknown:
    return Unknown(Fact("unreadable", 200, text=clean(str(exc))[:EXCERPT]))


def _page(body: dict[str, Any]) -> tuple[list[dict[str, Any]], int | None]:
    """The rows of a page, and how many there are in all. Its `limit` and `nextUrl` are not looked at."""
    if not isinstance(body.get("results"), list):
        raise ValueError("results is not a list")  # noqa: TRY004  # what is wrong is a value from outside
    said = reading.optional(body.get("pagination")).get("totalResults")
    return [reading.mapping(row, "results") for row in body["results"]], None if said is None else reading.number(said, "totalResults")


def _in_order(rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps by their numbers, which are 1 to n: a gap may be a step that we were not shown."""
    steps = sorted(rows.values(), key=lambda s: reading.number(s.get("stepNumber"), "stepNumber"))
    if [s["stepNumber"] for s in steps] != [*range(1, len(steps) + 1)]:
        raise ValueError("stepNumber does not count from 1")
    return steps


def _tasks(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tasks of a step. None at all, and null, are not the same: a step whose tasks were left out is not one without tasks."""
    if not isinstance(step.get("tasks"), list):
        raise ValueError("steps.tasks is not a list")  # noqa: TRY004  # as above
    return [reading.mapping(task, "steps.tasks") for task in step["tasks"]]


def _plain(name: str) -> bool:
    """Whether *name* can be an id: a path segment, and one part of a task's name."""
    return reading.segment(name) and "/" not in name


def _name(value: Any, where: str) -> str:
    """An id that can be a part's name."""
    name = reading.string(value, where)
    if not _plain(name):
        raise ValueError(f"{where} cannot be an id")
    return name


def _state(holder: Mapping[str, Any], where: str) -> State:
    word = reading.string(holder.get("status"), f"{where}.status")
    if word not in STATES:
        raise ValueError(f"{where}.status is none of {', '.join(STATES)}")
    return STATES[word]


def _task(task: dict[str, Any], step: str, where: str, replies: Replies) -> tuple[Part, Response | None]:
    """A task as a part of its step, and its response, if it has one: what ended with its step unanswered has none."""
    if task.get("stepId") not in (None, step):
        raise ValueError(f"{where} holds a task of another step")
    kind = reading.string(task.get("assignedToType"), f"{where}.assignedToType")
    if kind not in KINDS:
        raise ValueError(f"{where}.assignedToType is none of {', '.join(KINDS)}")
    required = task.get("isRequired")
    part = Part(
        id=f"{step}/{_name(task.get('id'), f'{where}.id')}",
        assigned=KINDS[kind] + reading.string(task.get("assignedTo"), f"{where}.assignedTo"),
        required=False if required is None else reading.flag(required, f"{where}.isRequired"),
        state=_state(task, where),
        modified=reading.when(task.get("updatedAt")),
        started=reading.when(task.get("startedAt")),
    )
    answered = part.state == "complete" and task.get("responseId") is not None
    return part, _response(task, part.id, replies) if answered else None


def _response(holder: Mapping[str, Any], part: str | None, replies: Replies) -> Response:
    """The response of a task or of an item. What the catalogue does not know closed it all the same: that, and no more, is told."""
    choice = reading.string(holder.get("responseId"), "responseId")
    reply = replies.get(choice)
    return Response(
        actor=reading.text(holder.get("respondedBy")) or None,
        action="close" if reply is None else "approve" if reply.approval else "reject",
        at=reading.when(holder.get("respondedAt")),
        comment=reading.text(holder.get("responseComment")),
        part=part,
        choice=choice,
        label=None if reply is None else reply.label,
    )


def _named(item: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of all responses in an item."""
    named = [item.get("responseId"), *(t.get("responseId") for s in steps for t in _tasks(s))]
    return frozenset(name for name in named if isinstance(name, str))


def _goes_on(known: Sequence[Step], steps: Sequence[Step]) -> bool:
    """Whether *steps* can be of the round that *known* are of: the same parts, and what had begun then began when it did."""
    if [[p.id for p in s.parts] for s in known] != [[p.id for p in s.parts] for s in steps]:
        return False
    held, shown = ([at for s in steps_ for at in (s.started, *(p.started for p in s.parts))] for steps_ in (known, steps))
    return all(was is None or near(was, now, SAME_MODIFIED) for was, now in zip(held, shown, strict=True))


def _reply(id_: str, row: Mapping[str, Any]) -> Reply:
    return Reply(
        id_,
        reading.string(row.get("value"), "responses.value"),
        reading.flag(row.get("isApproval"), "responses.isApproval"),
        reading.flag(row.get("isActive"), "responses.isActive"),
    )


# ---- what is offered


def _permitted(holder: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for action in reading.rows(holder.get("permittedActions"), "permittedActions"):
        if reading.mapping(action, "permittedActions").get("id") == name:
            yield action


def _permits(steps: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The parts that the caller may close, with what that takes."""
    return {f"{s['id']}/{t['id']}": action for s in steps for t in _tasks(s) for action in _permitted(t, CLOSE)}


def _offer(order: Order, whole: Whole) -> Offer:
    """What the upstream would take of *order*. Raises ValueError for what cannot be read."""
    if order.action == "transition":
        return _transition(order, whole)
    if order.action not in Autodesk.ACTIONS:
        return Offer(refusal=f"{clean(order.action)[:40]} is not done to a submittal: {', '.join(sorted(Autodesk.ACTIONS))} are")
    part, unclear = _part(order, whole)
    choice, unnamed = _choice(order, whole.replies)
    permit = whole.permits.get(part or "")
    lacking = _lacking(order, choice, permit) if permit and choice else None
    return Offer(part, choice, unclear or unnamed or lacking)


def _part(order: Order, whole: Whole) -> tuple[str | None, str | None]:
    """The part that is meant, or why none is. Whoever has tasks of their own in the step means those, and else what they may close."""
    look = whole.look

    def listed(parts: Iterable[Part]) -> str:
        return ", ".join(f"{look.task}/{p.id} ({p.assigned})" for p in parts)

    if order.part is not None:
        found = look.part(order.part)
        if found is None:
            return None, f"{look.task} has no task {order.part}"
        barred = found[2].state == "active" and order.part not in whole.permits
        return order.part, f"{order.acts_as} may not close {look.task}/{order.part}: {CLOSE} is not permitted" if barred else None
    number = order.step or look.active()
    if not isinstance(number, int) or number > len(look.steps):
        return None, f"no step to answer: the item is in {look.status} and has {len(look.steps)} steps"
    step = look.steps[number - 1]
    own = [p for p in step.parts if p.assigned == order.acts_as]
    if step.state != "active":  # its turn is not now: who may close what is not told
        return own[0].id if len(own) == 1 else None, None
    open_ = [p for p in own or step.parts if p.state == "active" and p.id in whole.permits]
    if len(open_) == 1:
        return open_[0].id, None
    if open_:
        return None, f"{order.acts_as} may close several tasks of step {number}: say which one: {listed(open_)}"
    return None, f"{order.acts_as} may close none of step {number}: {listed(own or step.parts)}"


def _choice(order: Order, replies: Replies) -> tuple[str | None, str | None]:
    """The response that is meant, by its id, its label or its meaning; or why none is. Nothing is chosen where more than one would fit."""
    meaning = MEANINGS.get(order.action)
    active = [r for r in replies.values() if r.active]
    fitting = [r for r in active if meaning is None or r.approval == meaning]
    which = f'say which with "response": {_listed(fitting)}' if fitting else "the project has no such response that is active"
    named = order.choice or order.response
    if named is None:
        if meaning is not None and len(fitting) == 1:
            return fitting[0].id, None
        return None, f"{order.action} alone names no response: {which}"
    called = [replies[named]] if named in replies else [r for r in replies.values() if _word(r.label) == _word(named)]
    alive = [r for r in called if r.active]
    if len(alive) > 1:
        return None, f"several responses are called {clean(named)[:80]}: {which}"
    if not alive:
        return None, f"{'no longer active' if called else 'no response'}: {clean(named)[:80]}; {which}"
    if meaning is not None and alive[0].approval != meaning:
        return None, f"{alive[0].label} does not {order.action}; {which}"
    return alive[0].id, None


def _listed(replies: Sequence[Reply]) -> str:
    """Labels; where two are alike, with their ids."""
    words = [_word(r.label) for r in replies]
    return ", ".join(r.label if words.count(_word(r.label)) == 1 else f"{r.label} ({r.id})" for r in replies)


def _word(label: str) -> str:
    return label.strip().casefold()


def _lacking(order: Order, choice: str, permit: Mapping[str, Any]) -> str | None:
    """What closing a task takes that the order does not bring."""
    brought = {"responseId", *(["responseComment"] if (order.comment or "").strip() else [])}
    if missing := [name for name in _strings(permit, "mandatoryFields") if name not in brought]:
        return f"the upstream asks for {_asked(missing)}"
    return _disallowed(permit, {"responseId": choice})


def _transition(order: Order, whole: Whole) -> Offer:
    """A way from the item's state to the one that is named, as this caller may go it, with all that it asks for."""
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for action in _permitted(whole.item, TRANSITION):
        for way in reading.rows(action.get("transitions"), "transitions"):
            to = reading.mapping(reading.mapping(way, "transitions").get("stateTo"), "transitions.stateTo")
            ways[reading.string(to.get("id"), "transitions.stateTo.id")] = (way, action)
    there = ", ".join(f"{to} ({reading.text(way.get('name')) or 'unnamed'})" for to, (way, _) in ways.items()) or "nowhere"
    if order.state not in ways:
        asked = f"the item cannot go from {whole.look.status} to {clean(order.state)[:40]}" if order.state else 'say where to with "state"'
        return Offer(refusal=f"{asked}; {order.acts_as} may take it to: {there}")
    way, action = ways[order.state]
    mandatory = _strings(way, "mandatoryFields")
    takes = {*_strings(way, "transitionFields"), *mandatory} - OURS
    if misnamed := sorted(OURS & order.fields.keys()):
        return Offer(refusal=f'{", ".join(misnamed)} go into "state", "response" and "comment", not into "fields"')
    if unknown := sorted(order.fields.keys() - takes):
        return Offer(refusal=f"going to {order.state} takes no {_asked(unknown)}; it takes: {', '.join(sorted(takes)) or 'nothing'}")
    choice = refusal = None
    if order.state == DONE:
        choice, refusal = _choice(order, whole.replies)
    elif order.response is not None:
        refusal = f"a response goes with {DONE} only, not with {order.state}"
    brought = {name for name, value in order.fields.items() if value is not None} | {"stateId"}
    if order.state == DONE:
        brought |= {"responseId", *(["responseComment"] if (order.comment or "").strip() else [])}
    if whole.item.get("customIdentifier") is not None:
        brought.add("customIdentifier")  # the one that the item has already counts [TUT]
    if missing := [name for name in mandatory if name not in brought]:
        refusal = refusal or f"going to {order.state} asks for {_asked(missing)}"
    sent = {**order.fields, **({"responseId": choice} if choice else {})}
    return Offer(choice=choice, refusal=refusal or _disallowed(action, sent))


def _strings(holder: Mapping[str, Any], name: str) -> list[str]:
    return [reading.string(value, name) for value in reading.rows(holder.get(name), name) if value]


def _disallowed(action: Mapping[str, Any], sent: Mapping[str, Any]) -> str | None:
    """A value that is not among those that the upstream lists for its field; an empty list allows all [TASK]."""
    for name, value in sent.items():
        allowed = reading.rows(reading.optional(action.get("fields")).get(name), f"fields.{name}")
        if allowed and any(each not in allowed for each in (value if isinstance(value, list) else [value])):
            return f"{name} is one of {clean(', '.join(map(str, allowed)))[:EXCERPT]}"
    return None


def _asked(names: Collection[str]) -> str:
    """Fields as a command calls them."""
    ours = {"responseComment": 'a comment ("comment")', "responseId": 'a response ("response")'}
    return ", ".join(ours.get(name, clean(name)[:80]) for name in names)


def _day(at: float, more: int) -> str:
    return (datetime.fromtimestamp(at, UTC).date() + timedelta(days=more)).isoformat()
