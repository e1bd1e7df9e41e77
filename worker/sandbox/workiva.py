"""The Workiva Platform API as a function: a request in, its effect on the workspace, a response out.

2026-01-01 [OAS]: GET and POST /tasks; GET, PATCH and DELETE /tasks/{id}; POST /tasks/{id}/actionSubmission (synchronous: 200 and the task).
2022-01-01: the same under /prototype/platform [SEED][P-list][P-create][P-patch], one task's GET and DELETE by inference (36). A token
endpoint for each. No idempotency key, no ETag, no precondition: the OpenAPI document has none of them, so headers that ask for one are
ignored here too.

A family of endpoints is a version and what differs between the versions; both show the same tasks in the same JSON [SEED][OAS]. Without
`X-Version` a request is routed to 2022-01-01 [VER]. That version's other family, /platform/v1, takes no actions [L-gen] and is not here.
"""

import base64
import binascii
import email.utils
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote

from worker.sandbox import life, shapes
from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Request, Response, Stale, answer
from worker.sandbox.life import Refusal, Task
from worker.sandbox.listing import Query, page
from worker.sandbox.shapes import BadShapeError
from worker.sandbox.workspace import Workspace

DEFAULT_VERSION = "2022-01-01"
"""What a request without `X-Version` is routed to, until 2029 [VER]."""


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between two versions: where tasks live; where a token is asked for, and how; how an error looks."""

    tasks: str
    token: str
    asked_by: frozenset[str]
    codes: Callable[[int], str]
    more: Mapping[str, str | None]


def _numbered(status: int) -> str:
    return CODES.get(status, f"{status}Error")


def _named(status: int) -> str:
    # BadArgument is the published example [ERR], the other words are 2026's (34).
    return "BadArgument" if status == 400 else _numbered(status).lstrip("0123456789")


SCOPES = frozenset({"task:read", "task:write"})

LARGEST = 10_485_760
"""Bytes of a body [26-lim]."""

CODES: Mapping[int, str] = {
    400: "400BadRequest",
    401: "401Unauthorized",
    403: "403Forbidden",
    404: "404NotFound",
    409: "409Conflict",
    429: "429TooManyRequests",
    500: "500InternalServerError",
    503: "503ServiceUnavailable",
}
"""The published ones [OAS ErrorResponse]; others are made in their manner."""

FAMILIES: Mapping[str, Family] = {
    "2026-01-01": Family(
        tasks="/tasks",
        token="/oauth2/token",
        asked_by=frozenset({"form"}),  # [OAS]
        codes=_numbered,
        more={"documentationUrl": None, "version": "2026-01-01"},  # [OAS ErrorResponse]
    ),
    "2022-01-01": Family(
        tasks="/prototype/platform/tasks",
        token="/iam/v1/oauth2/token",  # [AUTH]; the OpenAPI document of 2026 still names it as its tokenUrl
        asked_by=frozenset({"form", "json", "basic"}),  # [AUTH]; Basic is an older page's
        codes=_named,
        more={},  # [ERR]: code, message, target, details
    ),
}
NEWEST = next(iter(FAMILIES))

_NEEDS = {
    "list": "task:read",
    "read": "task:read",
    "create": "task:write",
    "change": "task:write",
    "delete": "task:write",
    "act": "task:write",
}
"""[OAS], per operation."""

_OPERATIONS = {"GET": "read", "PATCH": "change", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class _Grant:
    client: str
    user: str
    scopes: frozenset[str]
    until: float
    version: str
    """Of the endpoint that gave it."""


class _StopError(Exception):
    """Left at once: refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status)
        self.refusal = refusal


class Workiva:
    """One workspace behind the API. `token_lifetime`: 599 s, as the published example has it [AUTH]."""

    name = "workiva"

    def __init__(self, workspace: Workspace, *, prefix: str = "/workiva", token_lifetime: float = 599) -> None:
        self.workspace = workspace
        self.now = workspace.now
        self.prefix = prefix
        self.token_lifetime = token_lifetime
        self._grants: dict[str, _Grant] = {}
        self._tokens = 0
        self._turn = 0
        self._second = (0, 0)

    def __call__(self, request: Request, *, arrived: float | None = None, stale: Stale | None = None) -> Response:
        """One request, whole, at this instant."""
        self._turn += 1
        turn = f"r{self._turn}"
        request = self._versioned(request)
        try:
            done = self._throttled(request) or self._serve(request, self.now() if arrived is None else arrived, stale, turn)
        except _StopError as stop:
            done = stop.refusal
        except BadShapeError as bad:
            done = Refusal(_bad_body(self.workspace.switches)[0], str(bad), bad.target)
        response = self._refused(done, request) if isinstance(done, Refusal) else done
        # Answers carry a Date, as any HTTP answer does; it is the upstream's own clock. The request's number is the journal's.
        return Response(response.status, {"Date": _date(int(self.now())), "X-Sandbox-Request": turn, **response.headers}, response.body)

    # ---- what the faults ask

    @property
    def outlasts(self) -> bool:
        """Whether the effect of a request that was cut at the limit takes place all the same (28)."""
        return self.workspace.switches.outlasting == "applied"

    def route(self, request: Request) -> str:
        """token, list, create, read, change, delete, act, or unknown."""
        return self._routed(request)[0]

    def task_of(self, request: Request) -> str | None:
        """The id in the path."""
        return self._routed(request)[1]

    def person(
        self, task: str, action: str, user: str | None = None, comment: str | None = None, *, besides: Request | None = None
    ) -> Response:
        """As if done in Workiva's own pages: the same rules, another author, no token."""
        found = self.workspace.look(task)
        if user is None and found is not None:
            user = life.someone(found, action, self._user_of(besides) if besides else None)
        if user is None:
            return self.error(409, f"nobody could {action} now")
        done = self.workspace.act(task, action, user, comment, by="person")
        return self._refused(done) if isinstance(done, Refusal) else answer(200, shapes.truth_json(done))

    def edit(self, task: str, operations: Any) -> Response:
        """A JSON Patch by the owner."""
        found = self.workspace.look(task)
        if found is None:
            return self.error(404)
        try:
            done = self.workspace.change(task, shapes.changes_of(operations, self.workspace.switches), found.owner, by="person")
        except BadShapeError as bad:
            done = Refusal(400, str(bad), bad.target)
        return self._refused(done) if isinstance(done, Refusal) else answer(200, shapes.truth_json(done))

    def expire(self, request: Request) -> None:
        """The request's token, now."""
        self._grants.pop(_bearer(request), None)

    def expire_all(self) -> None:
        """Every token, now."""
        self._grants.clear()

    def error(self, status: int, message: str = "", to: Request | None = None, **headers: str) -> Response:
        """The error body of the version that the request asked for."""
        response = self._refused(Refusal(status, message), to)
        return Response(status, {**response.headers, **headers}, response.body)

    # ---- the API

    def _serve(self, request: Request, arrived: float, stale: Stale | None, turn: str) -> Response | Refusal:
        if len(request.body) > LARGEST:
            return Refusal(_bad_body(self.workspace.switches)[1], f"a body has at most {LARGEST} bytes")  # (24)
        route, id_ = self._routed(request)
        if route == "token":
            return self._token(request)
        if _version(request) not in FAMILIES:
            return Refusal(int(self.workspace.switches.unknown_version), "no such version", "X-Version")  # (23)
        if route == "unknown":
            return Refusal(404, f"no {request.method} {request.path} in version {_version(request)}")
        grant = self._grant(request, arrived)
        if _NEEDS[route] not in grant.scopes:
            return Refusal(403, f"needs the scope {_NEEDS[route]}")
        if (barred := self._barred(id_, grant.user, route)) is not None:
            return barred
        match route:
            case "list":
                return self._list(request, grant, stale)
            case "create":
                fields = shapes.fields_of(_json(request), self.workspace.switches)
                return self._task(self.workspace.create(fields, grant.user, turn), 201)
            case "read":
                return self._task(self.workspace.look(id_ or "", stale) or self.workspace.none(id_ or ""))
            case "change":
                changes = shapes.changes_of(_json(request), self.workspace.switches)
                return self._task(self.workspace.change(id_ or "", changes, grant.user, request=turn))
            case "delete":
                return self.workspace.remove(id_ or "", grant.user, turn) or answer(204)
            case _:
                return self._act(request, id_ or "", grant, turn)

    def _act(self, request: Request, id_: str, grant: _Grant, turn: str) -> Response | Refusal:
        body = _json(request)
        if not isinstance(body, dict) or not isinstance(body.get("action"), str):
            raise BadShapeError("action", "an action is an object with the field action")
        comment = body.get("comment")
        if comment is not None and not isinstance(comment, str):
            raise BadShapeError("comment", "a comment is a text")
        return self._task(self.workspace.act(id_, body["action"], grant.user, comment, request=turn))

    def _barred(self, id_: str | None, user: str, route: str) -> Refusal | None:
        """What a user may not reach, though it is there: a process's task (21), a stranger's (22)."""
        rules = self.workspace.switches
        task = self.workspace.look(id_ or "")
        if task is None:
            return None
        if (task.process_made and rules.process_tasks == "hidden") or not _sees(user, task, rules):
            return Refusal(404, "no such task", "taskId")
        if task.process_made and rules.process_tasks == "read_only" and route != "read":
            return Refusal(403, "a process has made this task")
        return None

    def _list(self, request: Request, grant: _Grant, stale: Stale | None) -> Response:
        rules = self.workspace.switches
        if rules.filtered == "old" and _version(request) != DEFAULT_VERSION and {"$filter", "$orderBy"} & set(request.query):
            raise BadShapeError("$filter", "this version does not filter or sort")  # (35)
        seen = (task for task in self.workspace.all(stale) if _sees(grant.user, task, rules))
        tasks, more = page(seen, Query.of(request.query), rules)
        result: dict[str, Any] = {"data": [shapes.task_json(task, rules, self._turn) for task in tasks]}
        if more is not None:  # absent on the last page [OAS]
            result["@nextLink"] = f"{request.origin}{request.path}?$next={quote(more.token)}"
        return answer(200, result)

    def _versioned(self, request: Request) -> Request:
        """A version that does not exist is the newest one, where that is assumed (23)."""
        if self.workspace.switches.unknown_version != "newest" or _version(request) in FAMILIES:
            return request
        return replace(request, headers={**request.headers, "x-version": NEWEST})

    def _routed(self, request: Request) -> tuple[str, str | None]:
        path = request.path.removeprefix(self.prefix)
        if request.method == "POST" and any(path == family.token for family in FAMILIES.values()):
            return "token", None
        root = self._root(request, path)
        if root is None:
            return "unknown", None
        match path.removeprefix(root).split("/"):
            case [""] if request.method in {"GET", "POST"}:
                return ("list" if request.method == "GET" else "create"), None
            case ["", id_] if id_ and request.method in self._by_id(root):
                return _OPERATIONS[request.method], id_
            case ["", id_, "actionSubmission"] if request.method == "POST":
                return "act", id_
            case _:
                return "unknown", None

    def _root(self, request: Request, path: str) -> str | None:
        """Where tasks live for this request: the version decides, not the path (31)."""
        family = FAMILIES.get(_version(request))
        families = FAMILIES.values() if family and self.workspace.switches.version_paths == "any" else filter(None, [family])
        return next((f.tasks for f in families if path.startswith(f.tasks)), None)

    def _by_id(self, root: str) -> frozenset[str]:
        """The methods that one task has (36)."""
        none = self.workspace.switches.old_by_id == "none" and root == FAMILIES[DEFAULT_VERSION].tasks
        return frozenset({"PATCH"} if none else _OPERATIONS)

    def _task(self, done: Task | Refusal, status: int = 200) -> Response | Refusal:
        if isinstance(done, Refusal):
            return done
        return answer(status, shapes.task_json(done, self.workspace.switches, self._turn))

    # ---- tokens

    def _token(self, request: Request) -> Response:
        """Client credentials, in the ways that the endpoint's version documents (32)."""
        path = request.path.removeprefix(self.prefix)
        version = next(version for version, family in FAMILIES.items() if path == family.token)
        ways = frozenset({"form", "json", "basic"}) if self.workspace.switches.token_ways == "any" else FAMILIES[version].asked_by
        form = _credentials(request, ways)
        if form is None or not form.get("grant_type"):
            return _iam(400, "invalid_request", f"grant_type is missing, or the request is not by {' or '.join(sorted(ways))}")
        if form["grant_type"] != "client_credentials":
            return _iam(400, "unsupported_grant_type", "only client_credentials")
        client = self.workspace.client(form.get("client_id", ""))
        if client is None or client.secret != form.get("client_secret"):
            return _iam(401, "invalid_client", "the client is unknown or its secret is wrong")
        scopes = frozenset(form.get("scope", "").split()) or SCOPES
        if not scopes <= SCOPES:
            return _iam(400, "invalid_scope", "there are task:read and task:write")
        self._tokens += 1
        token = f"sandbox-token-{self._tokens}"
        if self._tokens % 1000 == 0:  # a sandbox that runs for days
            self._grants = {t: g for t, g in self._grants.items() if g.until > self.now()}
        self._grants[token] = _Grant(form["client_id"], client.user, scopes, self.now() + self.token_lifetime, version)
        scope = " ".join(sorted(scopes))
        return answer(200, {"access_token": token, "expires_in": int(self.token_lifetime), "scope": scope, "token_type": "bearer"})

    def _grant(self, request: Request, arrived: float) -> _Grant:
        grant = self._grants.get(_bearer(request))
        if grant is None or grant.until <= arrived:
            raise _StopError(Refusal(401, "the token is missing, unknown or expired"))
        if grant.version != _version(request) and not self.workspace.switches.tokens_shared:
            raise _StopError(Refusal(401, "the token is of another version"))  # (33)
        return grant

    def _user_of(self, request: Request) -> str | None:
        grant = self._grants.get(_bearer(request))
        return grant.user if grant else None

    def _throttled(self, request: Request) -> Response | None:
        """A standing limit, if one is set (29)."""
        limit = self.workspace.switches.requests_per_second
        second, count = self._second
        self._second = (int(self.now()), count + 1 if second == int(self.now()) else 1)
        over = limit and self._second[1] > limit
        return self.error(429, "too many requests", request, **{"Retry-After": "1"}) if over else None

    def _refused(self, refusal: Refusal, to: Request | None = None) -> Response:
        """The error body of the version that was asked for; of the newest where that is none."""
        family = FAMILIES.get(_version(to) if to else NEWEST, FAMILIES[NEWEST])
        code = (_numbered if self.workspace.switches.old_codes == "numbered" else family.codes)(refusal.status)
        body: dict[str, Any] = {"code": code, "message": refusal.message or code, "target": refusal.target, "details": [], **family.more}
        return answer(refusal.status, body)


def _version(request: Request) -> str:
    return request.headers.get("x-version", DEFAULT_VERSION)


def _iam(status: int, error: str, description: str) -> Response:
    """The token endpoint has another error body [OAS IamError]; its words and statuses are OAuth's (RFC 6749, 5.2)."""
    return answer(status, {"error": error, "error_description": description, "error_uri": None})


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


def _bad_body(rules: Switches) -> tuple[int, int]:
    """The status of a body that cannot be read, and of one that is too large (24)."""
    unread, _, large = rules.bad_body.partition(", large ")
    return int(unread), int(large)


def _sees(user: str, task: Task, rules: Switches) -> bool:
    """Whether a task is there for a user (22)."""
    return rules.seen_by == "everyone" or life.leads(task, user) or any(user in step.participants for step in task.steps)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _credentials(request: Request, ways: frozenset[str]) -> dict[str, str] | None:
    try:
        if "json" in request.headers.get("content-type", ""):
            form = {str(k): str(v) for k, v in json.loads(request.body).items()} if "json" in ways else None
        else:
            form = dict(parse_qsl(request.body.decode()))
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if form is not None and scheme.lower() == "basic" and "basic" in ways:
            # an id of ours may hold a colon, the secret does not
            form["client_id"], _, form["client_secret"] = base64.b64decode(basic).decode().rpartition(":")
    except (ValueError, AttributeError, binascii.Error):
        return None
    return form


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        raise BadShapeError("body", "not JSON") from None
