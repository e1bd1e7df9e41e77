"""Workiva: tasks with approval steps, 2026-01-01 and the prototype of 2022-01-01.

What this API makes hard, and what stands here against it:

- No idempotency key, no ETag, no precondition, no step selector (0 hits in [OAS]). So every answer to the one POST is sorted by what it
  proves, and what proves nothing is `InDoubt`. Nothing here repeats a POST.
- No step id, no step status, no index [26-obj]. A snapshot carries what the answer shows; `core.task` guesses the active step, and says so.
- Its examples say `dueAt` and `created.user_id`, its schemas `dueDate` and `created.user.id` [SEED][OAS]. Both are read.
- `status` has no enum [OAS]: unknown words are kept, and mean neither "awaiting" nor "done".

A body that cannot be read is a fact in the outcome, never an exception. Readable means: an object with the id that was asked for, a status,
and steps whose participants, mode and actions are plain. An author or a time that cannot be read is None, and decided on elsewhere (A14).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, Final, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx

from worker.core import times
from worker.core.budget import UNPUBLISHED, Limit
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Page, Read, Refused, Sent, Unknown
from worker.core.sunset import Sunset
from worker.core.task import Response, Snapshot, Step
from worker.upstreams import reading
from worker.upstreams.auth import ClientCredentials, Grant
from worker.upstreams.base import Address, Flow, Order, Renewal, clean, date_of, decoded, fact_of, place, proven


@dataclass(frozen=True, slots=True)
class Version:
    """Where one API version keeps things."""

    prefix: str
    token: str
    sunset: date | None = None


VERSIONS: Final[Mapping[str, Version]] = {
    "2026-01-01": Version(prefix="", token="/oauth2/token"),  # noqa: S106  # a path [OAS]
    # Deprecated 2026-02-12, sunset 2027-01-31 [SEED]; tasks of 2022's other family (/platform/v1) take no actions at all [L-gen].
    "2022-01-01": Version(prefix="/prototype/platform", token="/iam/v1/oauth2/token", sunset=date(2027, 1, 31)),  # noqa: S106
}

SUCCESSOR: Final = 'set api_version = "2026-01-01", which shows the same tasks: docs/workiva-2022-to-2026.md'
"""What the user of a version that ends should do."""

ACTIONS: Final = frozenset({"submit", "approve", "reject", "cancel", "restart", "skip"})
"""[OAS TaskAction]"""

AWAITING: Final = frozenset({"awaiting approval"})
DONE: Final = frozenset({"approved", "completed"})
"""From the nine words of [L-obj]; when `Approved` and when `Completed` is not documented, so both count."""

PAGE: Final = 500
"""Tasks a page asks for, of 1000 allowed [OAS]: an answer must fit the 29 s that Workiva gives it [26-lim] and the engine's 8 MiB."""

MODES: Final[Mapping[str, Literal["one", "all"]]] = {"ONE": "one", "ALL": "all"}


@dataclass(frozen=True, slots=True)
class Workiva:
    """One Workiva account: its address, its API version, its grants by name, and the timezone in which a day-only due date ends.

    `requests_per_minute`: as the operator says; 0: none is published, so it is found.
    """

    base_url: str
    api_version: str = "2026-01-01"
    grants: Mapping[str, Grant] = field(default_factory=dict)
    timezone: str = "UTC"
    requests_per_minute: int = 0

    def __post_init__(self) -> None:
        """Bad settings stop here, at the start, and not in the middle of an approval."""
        if self.api_version not in VERSIONS:
            raise ValueError(f"api_version {self.api_version!r} is not one of {', '.join(VERSIONS)}")
        place(self.base_url)
        ZoneInfo(self.timezone)

    @property
    def realm(self) -> str:
        """For example `workiva:api.app.wdesk.com`. Both API versions show the same tasks, so the version is no part of it."""
        return f"workiva:{place(self.base_url)}"

    @property
    def sunset(self) -> Sunset | None:
        """The end of this API version, where one is published; 2026-01-01 has none yet."""
        day = VERSIONS[self.api_version].sunset
        return None if day is None else Sunset(self.api_version, day, SUCCESSOR)

    @property
    def actions(self) -> frozenset[str]:
        """All of them, in both versions."""
        return ACTIONS

    @property
    def look_costs(self) -> int:
        """GET task."""
        return 1

    def limits(self, grant: str) -> Mapping[str, Limit]:
        """No figure is published: 429 "on load or excessive frequency" [26-lim]. So it is found, for each client by itself."""
        limit = Limit(self.requests_per_minute) if self.requests_per_minute else Limit(UNPUBLISHED, published=False)
        return {f"{self.realm} {self.grants[grant].client_id}": limit}

    @property
    def silent(self) -> bool:
        """Tasks made by a process are in no feed, whatever happens to them: they are watched one by one."""
        return False

    def address(self, task: str) -> Address:
        """The task: it has no parts."""
        return Address(task)

    def credentials(self, grant: str) -> ClientCredentials:
        """The credentials of the grant with that name."""
        return ClientCredentials(self.base_url.rstrip("/") + VERSIONS[self.api_version].token, self.grants[grant])

    def renewal(self, grant: str) -> Renewal | None:  # noqa: ARG002  the port's signature
        """There is no refresh token [AUTH]: a token is fetched whenever one is needed."""
        return None

    def consent(self, grant: str, redirect: str, state: str, verifier: str) -> None:
        """A grant is made for its user in Workiva's own pages."""

    def whoami(self) -> Flow[None]:
        """There is no such question."""
        yield from ()

    def read(self, task: str) -> Flow[Read]:
        """Look at one task.

        A 401 is asked once more: by then the engine has dropped the token, and repeating a look costs nothing.
        """
        if not reading.segment(task):
            return Gone(Fact("task id", text="no task can have this id"))
        answer = yield self._request("GET", self._task(task))
        if answer.status_code == 401:
            answer = yield self._request("GET", self._task(task))
        if answer.status_code in {403, 404}:
            return Gone(fact_of(answer))
        if answer.status_code != 200:
            return Unknown(fact_of(answer))
        try:
            return self._snapshot(decoded(answer), task, date_of(answer))
        except ValueError as exc:
            return Unknown(fact_of(answer, "unreadable", str(exc)))

    @property
    def glance_costs(self) -> int:
        """As a look: there is nothing smaller to ask for."""
        return self.look_costs

    def glance(self, known: Snapshot) -> Flow[Read]:
        """The whole task: that is one request."""
        return self.read(known.task)

    def look(self, order: Order) -> Flow[Read]:
        """Look at the order's task. What this caller may do is not told before it is tried."""
        return self.read(order.task)

    def send(self, order: Order, seen: Snapshot) -> Flow[Sent]:  # noqa: ARG002  # its answer shows the whole task
        """Send one decision: one POST, never repeated, and its answer sorted by what it proves (A3).

        A 401 ends it too: it proves that nothing happened, and the next attempt brings a new token.
        """
        if order.action not in ACTIONS or not reading.segment(order.task):
            return Refused(Fact("order", text=f"not an action of a Workiva task: {clean(order.action)[:40]} on {clean(order.task)[:80]}"))
        body = {"action": order.action.upper()} | ({} if order.comment is None else {"comment": order.comment})
        answer = yield self._request("POST", self._task(order.task) + "/actionSubmission", json=body)
        if answer.status_code == 200:
            try:
                return Applied(self._snapshot(decoded(answer), order.task, date_of(answer)), fact_of(answer))
            except ValueError as exc:
                return InDoubt(fact_of(answer, "unreadable", str(exc)))
        return proven(answer)

    def changes(self, since: float | None, cursor: str | None = None) -> Flow[Page | Unknown]:
        """One page of the tasks changed at or after *since*, oldest change first (B2).

        The next page is a new query from the last `modified` of this one, because a row that is touched meanwhile moves to the end and an
        offset would skip its neighbour. Only where a whole page has one `modified` is `@nextLink` followed. A feed that does not obey its
        filter or its order would be read for ever or with holes: it is `Unknown`.
        """
        link = None
        if cursor is not None:
            kind, _, value = cursor.partition(" ")
            if kind == "from":
                since = times.parse(value)
            elif (link := self._own(value)) is None:
                return Unknown(Fact("next link", text="@nextLink leads to another scheme, host or port"))
        url = link or f"{self._root}/tasks?{_query(since)}"
        answer = yield self._request("GET", url)
        if answer.status_code == 401:
            answer = yield self._request("GET", url)
        if answer.status_code != 200:
            return Unknown(fact_of(answer))
        now = date_of(answer)
        try:
            body = reading.mapping(decoded(answer), "the answer")
            rows = tuple(self._snapshot(row, None, now) for row in reading.rows(body.get("data"), "data"))
            changed, after = _in_order(rows, since), body.get("@nextLink")
            onward = None if after is None else self._onward(reading.string(after, "@nextLink"), changed)
        except ValueError as exc:
            return Unknown(fact_of(answer, "unreadable", str(exc)))
        return Page(rows, onward, now)

    @property
    def _root(self) -> str:
        return self.base_url.rstrip("/") + VERSIONS[self.api_version].prefix

    def _task(self, task: str) -> str:
        return f"{self._root}/tasks/{quote(task, safe='')}"

    def _request(self, method: str, url: str, json: Any = None) -> httpx.Request:
        # Without X-Version a request is routed to 2022-01-01 [VER].
        return httpx.Request(method, url, headers={"Accept": "application/json", "X-Version": self.api_version}, json=json)

    def _own(self, link: str) -> str | None:
        """The absolute form of *link* if it stays on our own scheme, host and port: our token goes wherever it leads."""
        try:
            home = httpx.URL(self.base_url)
            url = home.join(link)
        except (httpx.InvalidURL, ValueError):
            return None
        same = (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)
        return str(url) if same and not url.userinfo else None

    def _onward(self, link: str, changed: list[float]) -> str:
        if changed and times.iso(changed[-1]) != times.iso(changed[0]):
            return f"from {times.iso(changed[-1])}"
        if self._own(link) is None:
            raise ValueError("@nextLink leads to another scheme, host or port")
        return f"next {link}"

    def _snapshot(self, value: Any, asked: str | None, now: float | None) -> Snapshot:
        """One task in our own shape. Raises ValueError, with the place, for what cannot be read."""
        task = reading.mapping(value, "the task")
        name = reading.string(task.get("id"), "id")
        if asked is not None and name != asked:
            raise ValueError("the answer is about another task")
        status = reading.string(task.get("status"), "status")
        word = status.strip().casefold()
        modified = reading.optional(task.get("modified"))
        return Snapshot(
            task=name,
            title=reading.text(task.get("title")) or "",
            status=status,
            awaiting=word in AWAITING,
            done=word in DONE,
            steps=tuple(self._step(s, n) for n, s in enumerate(reading.rows(task.get("approvalSteps"), "approvalSteps"), 1)),
            modified=reading.when(modified.get("dateTime")),
            modified_by=_who(modified),
            due=self._due(task),
            date=now,
            url=reading.link(task.get("sourceUrl")),
            assignees=_people(task.get("assignees"), "assignees"),
        )

    def _step(self, value: Any, number: int) -> Step:
        where = f"approvalSteps[{number}]"
        step = reading.mapping(value, where)
        mode = step.get("completionMode")
        if not isinstance(mode, str) or mode.upper() not in MODES:
            # A step whose mode we do not know cannot be called complete or open, and any guess may approve the wrong one (A13).
            raise ValueError(f"{where}.completionMode is neither ONE nor ALL")
        return Step(
            participants=_people(step.get("participants"), f"{where}.participants"),
            mode=MODES[mode.upper()],
            responses=tuple(_response(r, where) for r in reading.rows(step.get("responses"), f"{where}.responses")),
            due=self._due(step),
        )

    def _due(self, holder: Mapping[str, Any]) -> float | None:
        """`dueDate` or `dueAt`, whichever is there. A day without a time ends when that day ends in the account's timezone."""
        value = holder.get("dueDate")
        return reading.due(holder.get("dueAt") if value is None else value, self.timezone)


def _query(since: float | None) -> str:
    """The query of a feed. Its literals' quoting is not documented [P-list]; single quotes, as in OData, are an assumption."""
    query = {"$orderBy": "modified.dateTime asc", "$maxpagesize": str(PAGE)}
    if since is not None:
        query["$filter"] = f"modified.dateTime ge '{times.iso(since)}'"
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def _in_order(rows: tuple[Snapshot, ...], since: float | None) -> list[float]:
    """When the tasks of a page changed. A second of grace, for renderings that cut fractions."""
    changed = [row.modified for row in rows if row.modified is not None]
    if since is not None and any(at < since - 1.0 for at in changed):
        raise ValueError("the feed does not obey $filter")
    if any(later < earlier - 1.0 for earlier, later in pairwise(changed)):
        raise ValueError("the feed does not obey $orderBy")
    return changed


def _response(value: Any, where: str) -> Response:
    response = reading.mapping(value, f"{where}.responses")
    created = reading.optional(response.get("created"))
    action = reading.string(response.get("action"), f"{where}.responses.action").lower()
    return Response(_who(created), action, reading.when(created.get("dateTime")), reading.text(response.get("comment")))


def _who(action: Mapping[str, Any]) -> str | None:
    """The author: `user.id` (schema) or `user_id` (examples) [OAS][SEED]; None where there is none, or two that differ."""
    names = {n for n in (reading.text(reading.optional(action.get("user")).get("id")), reading.text(action.get("user_id"))) if n}
    return names.pop() if len(names) == 1 else None


def _people(value: Any, where: str) -> tuple[str, ...]:
    return tuple(reading.string(reading.mapping(person, where).get("id"), f"{where}.id") for person in reading.rows(value, where))
