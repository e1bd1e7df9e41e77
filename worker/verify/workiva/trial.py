"""One run: the people in it, the tasks it makes, and what it takes away again.

Everything made carries the run's label in its title, so that lists can be filtered down to it and nothing else is ever touched, and so that
a task whose making was cut off in the middle is found and deleted, too.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx

from worker.upstreams.workiva import VERSIONS, Workiva
from worker.verify.answers import Answer
from worker.verify.asking import PATIENCE, Asking, Person
from worker.verify.verdict import CannotTell
from worker.verify.workiva.task import Task, TaskAnswer, ids

OWN, NEW = "own", "new"
"""The account's version; a comment that no other response has."""

DUE: Final = "2099-01-01T00:00:00Z"
"""Far enough that nobody is reminded."""


@dataclass(slots=True)
class Trial(Asking):
    """What the checks of Workiva work with.

    `named`: the task that the user gave. `process_made`: they say that a process made it, and it may be renamed and restarted.
    """

    process_made: bool = False
    label: str = field(default_factory=lambda: f"approvals-verify-{secrets.token_hex(4)}")
    lent: Mapping[str, Any] | None = None
    _titles: int = 0
    _made: list[str] = field(default_factory=list)
    _quotes: dict[str, str | None] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """The account's version of the API."""
        return self.connector.api_version

    @property
    def connector(self) -> Workiva:
        """The account's."""
        connector = self.wire.connector
        assert isinstance(connector, Workiva)
        return connector

    def intends(self) -> list[str]:
        """What will be done."""
        return [
            "makes some fifty tasks, approves, rejects, changes and deletes them; their titles begin with " + self.label,
            "the task that you named "
            + (
                "is renamed, and submitted or restarted"
                if self.process_made
                else "is only read; its location, if any, is lent to one of them"
            ),
        ]

    def remains(self, left: int) -> str | None:
        """What to say of that many tasks that are left."""
        return f"{left} tasks could not be deleted: their titles begin with {self.label}" if left else None

    # ---- requests

    def root(self, version: str | None = None) -> str:
        """Where a version's tasks live: the account's own, or another's."""
        return f"{self.wire.base}{VERSIONS[version or self.version].prefix}/tasks"

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        version: str | None = OWN,
        content: bytes | None = None,
        token: str | None = None,
    ) -> httpx.Request:
        """A request. `version`: the account's own, another, or None: no X-Version. `content`: instead of JSON. `token`: not the grant's."""
        named = self.version if version == OWN else version
        headers = {"Accept": "application/json"}
        headers |= {} if named is None else {"X-Version": named}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        if content is not None:
            return httpx.Request(method, url, headers={**headers, "Content-Type": "application/json"}, content=content)
        return httpx.Request(method, url, headers=headers, json=body)

    def ask(self, request: httpx.Request, who: Person | None = None, *, patient: bool = False) -> TaskAnswer:
        """As ever, with the task in it."""
        answer = Asking.ask(self, request, who, patient=patient)  # super() does not find its way in a class with slots
        return TaskAnswer(answer.status, answer.body, answer.retry_after, answer.raw)

    def token_by(self, version: str, way: str) -> Answer:
        """Ask for a token at a version's endpoint: by `form`, `json` or `basic`. The secret goes to the account's own address, as it always
        does.
        """
        known = self.connector.grants[self.me.grant]
        named = {"client_id": known.client_id, "client_secret": known.client_secret}
        form = {"grant_type": "client_credentials"}
        url, headers = self.wire.base + VERSIONS[version].token, {"Accept": "application/json"}
        match way:
            case "json":
                request = httpx.Request("POST", url, json=form | named, headers=headers)
            case "basic":
                request = httpx.Request("POST", url, data=form, headers=headers)
                basic = httpx.BasicAuth(known.client_id, known.client_secret)
                request = next(basic.auth_flow(request))
            case _:
                request = httpx.Request("POST", url, data=form | named, headers=headers)
        return self.asked(lambda: self.wire.send(request, None))

    def token(self, version: str) -> str:
        """A token of `me` from a version's own endpoint, asked for once."""
        if version not in self._tokens:
            answer = self.token_by(version, "form")
            value = answer.body.get("access_token") if answer.ok and isinstance(answer.body, dict) else None
            if not isinstance(value, str):
                raise CannotTell(f"the token endpoint of {version} answers {answer.status}")
            self._tokens[version] = value
        return self._tokens[version]

    def of(self, version: str | None, method: str, url: str, body: Any = None) -> httpx.Request:
        """A request to a version, with a token of its own endpoint; None: the account's, as ever."""
        if version in {None, self.version}:
            return self.request(method, url, body)
        return self.request(method, url, body, version=version, token=self.token(str(version)))

    # ---- tasks

    def title(self) -> str:
        """A title that no other task has."""
        self._titles += 1
        return f"{self.label}-{self._titles:02}"

    def post(self, *steps: Any, version: str | None = None, **fields: Any) -> TaskAnswer:
        """Try to make a task of `me`; if it is made, it will be deleted."""
        body = {"title": self.title(), "assignees": users(self.me), "approvalSteps": list(steps), "notificationsDisabled": True, **fields}
        answer = self.ask(self.of(version, "POST", self.root(version), body))
        if answer.ok and isinstance(answer.body, dict) and isinstance(answer.body.get("id"), str):
            self._made.append(answer.body["id"])
        return answer

    def make(self, *steps: Any, **fields: Any) -> Task:
        """A new task."""
        return self.post(*steps, **fields).task

    def awaiting(self, *steps: Any, **fields: Any) -> Task:
        """A new task that waits for the approval of its first step."""
        task = self.do(self.make(*steps, **fields), "SUBMIT")
        if not task.awaiting:
            raise CannotTell("a task that was submitted does not await approval")
        return task

    def action(self, task: Task, action: str, comment: str | None = None) -> httpx.Request:
        """The request that acts."""
        return self.request("POST", f"{self.url(task.id)}/actionSubmission", {"action": action, "comment": comment})

    def act(self, task: Task, action: str, who: Person | None = None, comment: str | None = NEW) -> TaskAnswer:
        """Try to act, with a new comment if none is given."""
        return self.ask(self.action(task, action, self.comment() if comment == NEW else comment), who)

    def do(self, task: Task, action: str, who: Person | None = None, comment: str | None = NEW) -> Task:
        """Act; a refusal is CannotTell."""
        return self.act(task, action, who, comment).task

    def patch(self, task: Task, **fields: Any) -> TaskAnswer:
        """Replace fields."""
        body = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in fields.items()]
        return self.ask(self.request("PATCH", self.url(task.id), body))

    def read(self, task: Task, who: Person | None = None) -> TaskAnswer:
        """GET by id."""
        return self.ask(self.request("GET", self.url(task.id)), who)

    def delete(self, task: Task, version: str | None = None) -> TaskAnswer:
        """Delete a task, as a version does it."""
        answer = self.ask(self.of(version, "DELETE", self.url(task.id, version)))
        if answer.ok and task.id in self._made:
            self._made.remove(task.id)
        return answer

    def url(self, id_: str, version: str | None = None) -> str:
        """Where a task lives."""
        return f"{self.root(version)}/{quote(id_, safe='')}"

    # ---- lists: never without a filter that leaves the run's own tasks only

    def listing(self, version: str | None = None, **parameters: str) -> httpx.Request:
        """GET /tasks."""
        query = urlencode({f"${name}": value for name, value in parameters.items()}, quote_via=quote)
        return self.of(version, "GET", f"{self.root(version)}?{query}")

    def quoted(self, title: str, version: str | None = None) -> str:
        """The filter for a part of a title, quoted in a way that the version reads. Raises CannotTell if there is none."""
        version = version or self.version
        if version not in self._quotes:
            self._quotes[version] = self._quote(version)
        quote_ = self._quotes[version]
        if quote_ is None:
            raise CannotTell(f"no filter by title finds a task that was just made, in {version}")
        return f"title contains {quote_}{title}{quote_}"

    def _quote(self, version: str) -> str | None:
        title = self.title()
        known = self.make(one(self.me), title=title)
        for _ in range(PATIENCE):
            for quote_ in ("'", '"', ""):
                if ids(self.ask(self.listing(version, filter=f"title contains {quote_}{title}{quote_}"))) == [known.id]:
                    return quote_
            self.pause()
        return None

    def until_listed(self, title: str, count: int, version: str | None = None) -> None:
        """Wait until a list shows so many tasks with this title: it may lag behind."""
        for _ in range(PATIENCE):
            if len(ids(self.ask(self.listing(version, filter=self.quoted(title, version)))) or ()) == count:
                return
            self.pause()
        raise CannotTell("the list does not show in time what was made")

    # ---- the end

    def clear(self) -> int:
        """Delete everything that was made. Returns how many tasks are left, which then carry the label in their titles."""
        left = 0
        for id_ in [*dict.fromkeys(self._made), *self._strays()]:
            try:
                left += not self.delete(Task({"id": id_})).ok
            except CannotTell:
                left += 1
        self._made.clear()
        return left

    def _strays(self) -> list[str]:
        """Tasks with our label that we were never told of: the answer to their making was lost."""
        if self._quotes.get(self.version) is None:
            return []
        try:
            answer = self.ask(self.listing(filter=self.quoted(self.label)))
        except CannotTell:
            return []
        rows = answer.body.get("data") if isinstance(answer.body, dict) else None
        mine = [row for row in rows or [] if isinstance(row, dict) and str(row.get("title", "")).startswith(self.label)]
        return [str(row["id"]) for row in mine if "id" in row and row["id"] not in {*self._made, self.named}]


def users(*people: Person) -> list[dict[str, str]]:
    """People as the wire has them."""
    return [{"id": person.user, "type": "USER"} for person in people]


def one(*people: Person) -> dict[str, Any]:
    """A step that any one of them completes."""
    return {"completionMode": "ONE", "participants": users(*people)}


def every(*people: Person) -> dict[str, Any]:
    """A step that all of them complete."""
    return {"completionMode": "ALL", "participants": users(*people)}
