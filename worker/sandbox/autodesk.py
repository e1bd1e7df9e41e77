"""Autodesk as a function: Submittals v2 of one project, and Authentication v2. A request in, its effect, a response out.

    /authentication/v2     authorize, token, revoke, introspect, keys; /userinfo
    /construction/submittals/v2/projects/{projectId}
        items  items/{id}  items/{id}:transition  items/{id}/revisions
        items/{id}/steps  …/steps/{id}  …/tasks  …/tasks/{id}  …/tasks/{id}:close
        responses  responses/{id}  users/me  metadata  templates  settings/mappings

There is no idempotency key, no ETag and no precondition [TASK][CLOSE]. A write is 200, a close of a task too [CLOSE].
"""

import email.utils
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from worker.sandbox import submittal_json as shapes
from worker.sandbox.authentication import Authentication, Token, gateway
from worker.sandbox.exchange import Request, Response, Stale, answer
from worker.sandbox.life import Refusal
from worker.sandbox.project import Project
from worker.sandbox.submittal_listing import BadQueryError, listed, page
from worker.sandbox.submittals import DRAFT, STATES, USER, Item, Person, may_close

AUTHENTICATION = "/authentication/v2"
SUBMITTALS = "/construction/submittals/v2/projects/"
CUTOFF = 60.0
"""Seconds a request may take (67)."""

_TOKENS = {("GET", "authorize"): "consent", ("POST", "token"): "token", ("POST", "revoke"): "revoke"}
_TOKENS |= {("POST", "introspect"): "introspect", ("GET", "keys"): "keys"}


class _StopError(Exception):
    """Left at once, with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Autodesk:
    """One project behind the two APIs."""

    name = "autodesk"

    def __init__(self, project: Project, *, prefix: str = "/autodesk") -> None:
        self.project = project
        self.authentication = Authentication(project)
        self.now = project.now
        self.prefix = prefix
        self._turn = 0
        self._windows: dict[str, tuple[float, int]] = {}

    def __call__(self, request: Request, *, arrived: float | None = None, stale: Stale | None = None) -> Response:
        """One request, whole, at this instant."""
        self._turn += 1
        turn = f"a{self._turn}"
        self.project.settle()
        try:
            response = self._serve(request, self.now() if arrived is None else arrived, stale, turn)
        except _StopError as stop:
            response = stop.response
        except BadQueryError as bad:
            response = self.error(400, str(bad), request)
        # Answers carry a Date, as any HTTP answer does; it is the upstream's own clock. The request's number is the journal's.
        return Response(response.status, {"Date": _date(int(self.now())), "X-Sandbox-Request": turn, **response.headers}, response.body)

    # ---- what the faults ask

    @property
    def outlasts(self) -> bool:
        """Whether the effect of a request that was cut at the limit takes place all the same (67)."""
        return self.project.switches.autodesk_outlasting == "applied"

    def route(self, request: Request) -> str:
        """consent, token, revoke, introspect, keys; list, read, act, change, catalogue, me; or unknown."""
        path = self._path(request)
        if path.startswith(AUTHENTICATION):
            return _TOKENS.get((request.method, path.removeprefix(f"{AUTHENTICATION}/")), "unknown")
        match request.method, *self._parts(request)[1:]:
            case "GET", "items":
                return "list"
            case ("GET", "items", _) | ("GET", "items", _, "steps" | "revisions", *_):
                return "read"
            case "POST", "items", id_ if id_.endswith(":transition"):
                return "act"
            case "POST", "items", _, "steps", _, "tasks", id_ if id_.endswith(":close"):
                return "act"
            case "PATCH", "items", _:
                return "change"
            case ("GET", "responses" | "metadata" | "templates", *_) | ("GET", "settings", "mappings"):
                return "catalogue"
            case "GET", "users", "me":
                return "me"
            case _:
                return "me" if (request.method, path) == ("GET", "/userinfo") else "unknown"

    def task_of(self, request: Request) -> str | None:
        """`item/step/task`, `item/step` or the item: as much of it as the path has."""
        parts = self._parts(request)
        if len(parts) < 3 or parts[1] != "items":
            return None
        return "/".join(part.partition(":")[0] for part in parts[2::2])

    def person(
        self, task: str, action: str, user: str | None = None, comment: str | None = None, *, besides: Request | None = None
    ) -> Response:
        """A person acts in Autodesk's own pages: `close` or `close:Rejected` a task (of an item: an open one); `rev`: goes there."""
        ids = tuple(task.split("/"))
        item = self.project.look(ids[0])
        if item is None:
            return answer(404, {"error": "no such item"})
        word, _, named = action.partition(":")
        if word.lower() == "close":
            done = self._person_closes(item, ids, user, self.project.reply_called(named or None).id, comment, besides)
        elif action in STATES:
            body = {"stateId": action, "manager": item.manager, "managerType": item.manager_type, "subcontractor": item.subcontractor}
            body |= {
                "subcontractorType": item.subcontractor_type,
                "submitterDueDate": "2030-01-01",
                "customIdentifier": str(item.identifier),
            }
            body |= {"responseId": self.project.reply_called(None).id, "responseComment": comment or "", "stepDueDate": "2030-01-01"}
            done = self.project.transition(item.id, user or self._manager(), body, by="person")
        else:
            raise ValueError(f"a person may close, close:<response>, or take an item to {', '.join(STATES)}; not {action!r}")
        if isinstance(done, Refusal):
            return answer(done.status, {"error": done.message})
        return answer(200, shapes.truth_json(done, self.project.switches))

    def edit(self, task: str, operations: Any) -> Response:
        """A manager edits the item: an object of fields."""
        done = self.project.change(task.partition("/")[0], self._manager(), dict(operations), by="person")
        if isinstance(done, Refusal):
            return answer(done.status, {"error": done.message})
        return answer(200, shapes.truth_json(done, self.project.switches))

    def expire(self, request: Request) -> None:
        """The request's access token is valid no longer."""
        self.authentication.expire(_bearer(request))

    def error(self, status: int, message: str = "", to: Request | None = None, **headers: str) -> Response:
        """An error of Submittals (45), of the token endpoint, or of what stands before them."""
        if to is not None and self._path(to).startswith(AUTHENTICATION):
            response = self.authentication.error(status, "slow_down" if status == 429 else "server_error", message)
        elif status == 429:
            response = answer(429, {"developerMessage": "Quota limit exceeded."}, Server="Apigee Router")  # [RATEGEN]
        elif self.project.switches.submittals_error == "text":
            response = Response(status, {"Content-Type": "text/plain"}, message.encode())
        elif self.project.switches.submittals_error == "empty":
            response = Response(status)
        else:
            response = answer(status, {"title": _TITLES.get(status, "Error"), "detail": message})
        return Response(response.status, {**response.headers, **headers}, response.body)

    # ---- the APIs

    def _serve(self, request: Request, arrived: float, stale: Stale | None, turn: str) -> Response:
        route = self.route(request)
        match route:
            case "consent":
                return self.authentication.authorize(request)
            case "token":
                return self.authentication.issue(request)
            case "revoke":
                return self.authentication.revoke(request)
            case "introspect":
                return self.authentication.introspect(request)
            case "keys":
                return self.authentication.keys()
            case "unknown" if not self._parts(request):
                return self.error(404, f"no {request.method} {request.path}", request)
        token = self.authentication.token(_bearer(request), arrived)
        if token is None:
            return gateway(401, "The token is missing, unknown or expired", "AUTH-006")
        if (needed := "data:write" if route in {"act", "change"} else "data:read") not in token.scopes:
            return gateway(403, f"Token does not have the privilege for this request: {needed}", "AUTH-010")
        if self._path(request) == "/userinfo":
            return self.authentication.userinfo(token)
        person = self._let_in(request, token)
        if route == "unknown":
            return self.error(404, f"no {request.method} {request.path}", request)
        if request.method == "GET":
            return self._read(request, person, stale)
        return self._write(request, person, turn)

    def _let_in(self, request: Request, token: Token) -> Person:
        """The limits, the project, and whether the token's user is one of its members."""
        rules = self.project.switches
        if (wait := self._over(token)) is not None:
            raise _StopError(self.error(429, "", request, **{"Retry-After": str(wait)}))
        if token.user is None:
            raise _StopError(gateway(rules.two_legged, "The request needs a user context", "AUTH-010"))  # (54)
        project, person = self._parts(request)[0], self.project.person(token.user)
        if project.startswith("b."):
            raise _StopError(self.error(rules.prefixed_project, "projectId is a UUID, without b.", request))  # (55)
        if project not in self.project.names or not person.roles:
            status = int(rules.hidden.rpartition(" ")[2])
            raise _StopError(self.error(status, "the user has no access to this project", request))  # (53)
        return person

    def _over(self, token: Token) -> int | None:
        """Seconds to wait, if the app or the user has had its share (63). A refused request counts, too."""
        limit, now = self.project.switches.requests_per_minute, self.now()
        waits = []
        for key in filter(None, (f"app {token.app}", token.user and f"user {token.user}")):
            start, count = self._windows.get(key, (now, 0))
            if now - start >= 60 or now < start:
                start, count = now, 0
            self._windows[key] = (start, count + 1)
            if limit and count >= limit:
                waits.append(math.ceil(start + 60 - now))
        return max(waits, default=None)

    def _read(self, request: Request, person: Person, stale: Stale | None) -> Response:
        rules = self.project.switches
        match self._parts(request)[1:]:
            case ["items"]:
                found = listed(list(self.project.all(stale)), request, person, rules)
                return self._page(found, request, lambda item: shapes.item_json(item, person, rules))
            case ["items", id_]:
                return answer(200, shapes.item_json(self._item(id_, person, request, stale), person, rules))
            case ["items", id_, "revisions"]:
                item = self._item(id_, person, request, stale)
                return self._page([item], request, lambda item: shapes.revision_json(item, rules))
            case ["items", id_, "steps"]:
                item = self._item(id_, person, request, stale)
                return self._page(item.steps, request, lambda step: shapes.step_json(item, step, person, rules), example=100)
            case ["items", id_, "steps", step_id, *rest]:
                item = self._item(id_, person, request, stale)
                return self._step(item, step_id, rest, request, person)
            case ["responses"]:
                return self._page(list(self.project.replies.values()), request, lambda reply: shapes.reply_json(reply, self.project))
            case ["responses", id_] if id_ in self.project.replies:
                return answer(200, shapes.reply_json(self.project.replies[id_], self.project))
            case ["users", "me"]:
                return answer(200, shapes.person_json(person))
            case ["metadata"]:
                return answer(200, shapes.metadata_json(self.project))
            case ["templates"]:
                return self._page(list(self.project.templates), request, lambda id_: shapes.template_json(self.project, id_))
            case ["settings", "mappings"]:
                managers = [each for each in self.project.people.values() if each.manages]
                wanted = request.query.get("filter[autodeskId]")
                rows = [each for each in managers if wanted is None or each.id in wanted.split(",")]
                return self._page(rows, request, shapes.mapping_json)
            case _:
                return self.error(404, f"no {request.method} {request.path}", request)

    def _step(self, item: Item, step_id: str, rest: Sequence[str], request: Request, person: Person) -> Response:
        rules = self.project.switches
        step = item.step(step_id)
        if step is None:
            return self.error(404, "no such step", request)
        match rest:
            case []:
                return answer(200, shapes.step_json(item, step, person, rules))
            case ["tasks"]:
                return self._page(step.tasks, request, lambda task: shapes.task_json(item, step, task, person, rules))
            case ["tasks", task_id] if found := item.find(step_id, task_id):
                return answer(200, shapes.task_json(item, *found, person, rules))
            case _:
                return self.error(404, "no such task", request)

    def _write(self, request: Request, person: Person, turn: str) -> Response:
        try:
            body = json.loads(request.body)
        except ValueError:
            return self.error(400, "the body is no JSON", request)
        if not isinstance(body, dict):
            return self.error(400, "the body is an object", request)
        rules = self.project.switches
        match [part.partition(":")[0] for part in self._parts(request)[2:]]:
            case [id_, _, step_id, _, task_id]:
                self._item(id_, person, request)
                done = self.project.close((id_, step_id, task_id), person.id, body, request=turn)
                if isinstance(done, Item):
                    found = done.find(step_id, task_id)
                    assert found is not None
                    return answer(200, shapes.task_json(done, *found, person, rules))
            case [id_, *_]:
                self._item(id_, person, request)
                if request.method == "PATCH":
                    if unknown := set(body) - shapes.PATCHABLE:
                        return self.error(400, f"Item::partial_update has no {', '.join(sorted(unknown))}", request)
                    done = self.project.change(id_, person.id, body, request=turn)
                else:
                    done = self.project.transition(id_, person.id, body, request=turn)
                if isinstance(done, Item):
                    return answer(200, shapes.item_json(done, person, rules))
            case _:
                done = Refusal(404, "no such item")
        return self.error(done.status, done.message, request)

    def _item(self, id_: str, person: Person, request: Request, stale: Stale | None = None) -> Item:
        item = self.project.look(id_, stale)
        if item is None:
            raise _StopError(self.error(404, "no such item", request))
        if item.state == DRAFT and not person.manages:
            raise _StopError(self.error(int(self.project.switches.hidden[:3]), "no such item", request))  # (53)
        return item

    def _page(self, rows: Sequence[Any], request: Request, shown: Any, *, example: int = 20) -> Response:
        cut = page(rows, request, self.project.switches, example=example)
        if isinstance(cut, Refusal):
            return self.error(cut.status, cut.message, request)
        return answer(200, {"pagination": cut[1], "results": [shown(row) for row in cut[0]]})

    # ---- people

    def _person_closes(
        self, item: Item, ids: tuple[str, ...], user: str | None, reply: str, comment: str | None, besides: Request | None
    ) -> Item | Refusal:
        open_ = [(step, task) for step in item.steps for task in step.tasks if ids[2:] in {(), (task.id,)} and task.status != "completed"]
        requester = self.authentication.token(_bearer(besides), self.now()) if besides else None
        for step, task in open_:
            others = [user] if user else [task.assigned] if task.kind == USER else []
            others += [] if user else [*self.project.people]
            others.sort(key=lambda who: requester is not None and who == requester.user)
            for who in others:
                if may_close(item, step, task, self.project.person(who), self.project.switches):
                    body = {"responseId": reply, "responseComment": comment}
                    return self.project.close((item.id, step.id, task.id), who, body, by="person")
        return Refusal(409, "there is nothing to close")

    def _manager(self) -> str:
        return next(person.id for person in self.project.people.values() if person.manages)

    # ---- paths

    def _path(self, request: Request) -> str:
        # one SDK of Autodesk's own asks for //authentication/v2/token
        path = request.path.removeprefix(self.prefix)
        return f"/{path.lstrip('/')}"

    def _parts(self, request: Request) -> list[str]:
        """The project and what comes after it; nothing for other paths."""
        path = self._path(request)
        return path.removeprefix(SUBMITTALS).split("/") if path.startswith(SUBMITTALS) else []


_TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
}


def _bearer(request: Request | None) -> str:
    scheme, _, token = (request.headers.get("authorization", "") if request else "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)
