"""The Workiva Platform API as a function: a request in, its effect on the workspace, a response out.

2026-01-01 [OAS]: GET and POST /tasks; GET, PATCH and DELETE /tasks/{id}; POST /tasks/{id}/actionSubmission (synchronous: 200 and the task);
the token endpoint of both versions. No idempotency key, no ETag, no precondition: the OpenAPI document has none of them, so headers that
ask for one are ignored here too.

A family of endpoints is a version and the path it lives under. Without `X-Version` a request is routed to 2022-01-01 [VER]; that version's
`/prototype/platform/tasks` would be one more line of FAMILIES.
"""

import base64
import binascii
import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote

from worker.sandbox import life, shapes
from worker.sandbox.exchange import Request, Response, Stale, answer
from worker.sandbox.life import Refusal, Task
from worker.sandbox.listing import Query, page
from worker.sandbox.shapes import BadShapeError
from worker.sandbox.workspace import Workspace

DEFAULT_VERSION = "2022-01-01"
"""What a request without `X-Version` is routed to, until 2029 [VER]."""

FAMILIES: Mapping[str, str] = {"2026-01-01": "/tasks"}
"""Version -> where its tasks live."""

VERSIONS = frozenset({DEFAULT_VERSION, *FAMILIES})

TOKEN_PATHS = frozenset({"/oauth2/token", "/iam/v1/oauth2/token"})
"""The one of 2026 [OAS] and the one of 2022 [AUTH], which the OpenAPI document still names as tokenUrl."""

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


class _StopError(Exception):
    """Left at once, with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


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
        try:
            response = self._serve(request, self.now() if arrived is None else arrived, stale, turn)
        except _StopError as stop:
            response = stop.response
        except BadShapeError as bad:
            response = self._failed(400, str(bad), bad.target)
        # Answers carry a Date, as any HTTP answer does; it is the upstream's own clock. The request's number is the journal's.
        return Response(response.status, {"Date": _date(int(self.now())), "X-Sandbox-Request": turn, **response.headers}, response.body)

    # ---- what the faults ask

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
            done = self.workspace.change(task, shapes.changes_of(operations), found.owner, by="person")
        except BadShapeError as bad:
            return self._failed(400, str(bad), bad.target)
        return self._refused(done) if isinstance(done, Refusal) else answer(200, shapes.truth_json(done))

    def expire(self, request: Request) -> None:
        """The request's token, now."""
        self._grants.pop(_bearer(request), None)

    def expire_all(self) -> None:
        """Every token, now."""
        self._grants.clear()

    def error(self, status: int, message: str = "", **headers: str) -> Response:
        """ErrorResponse [OAS]."""
        response = self._failed(status, message)
        return Response(status, {**response.headers, **headers}, response.body)

    # ---- the API

    def _serve(self, request: Request, arrived: float, stale: Stale | None, turn: str) -> Response:
        self._throttle()
        if len(request.body) > LARGEST:
            return self._failed(413, f"a body has at most {LARGEST} bytes")  # (24)
        route, id_ = self._routed(request)
        if route == "token":
            return self._token(request)
        if request.headers.get("x-version", DEFAULT_VERSION) not in VERSIONS:
            return self._failed(400, "no such version", "X-Version")  # (23)
        if route == "unknown":
            return self._failed(404, f"no {request.method} {request.path} in version {request.headers.get('x-version', DEFAULT_VERSION)}")
        grant = self._grant(request, arrived)
        if _NEEDS[route] not in grant.scopes:
            return self._failed(403, f"needs the scope {_NEEDS[route]}")
        match route:
            case "list":
                return self._list(request, stale)
            case "create":
                return self._task(self.workspace.create(shapes.fields_of(_json(request)), grant.user, turn), 201)
            case "read":
                task = self.workspace.look(id_ or "", stale)
                return self._failed(404, "no such task", "taskId") if task is None else self._task(task)
            case "change":
                done = self.workspace.change(id_ or "", shapes.changes_of(_json(request)), grant.user, request=turn)
                return self._refused(done) if isinstance(done, Refusal) else self._task(done)
            case "delete":
                refusal = self.workspace.remove(id_ or "", grant.user, turn)
                return self._refused(refusal) if refusal else answer(204)
            case _:
                return self._act(request, id_ or "", grant, turn)

    def _act(self, request: Request, id_: str, grant: _Grant, turn: str) -> Response:
        body = _json(request)
        if not isinstance(body, dict) or not isinstance(body.get("action"), str):
            raise BadShapeError("action", "an action is an object with the field action")
        comment = body.get("comment")
        if comment is not None and not isinstance(comment, str):
            raise BadShapeError("comment", "a comment is a text")
        done = self.workspace.act(id_, body["action"], grant.user, comment, request=turn)
        return self._refused(done) if isinstance(done, Refusal) else self._task(done)

    def _list(self, request: Request, stale: Stale | None) -> Response:
        tasks, more = page(self.workspace.all(stale), Query.of(request.query), self.workspace.switches.quotes)
        rules = self.workspace.switches
        result: dict[str, Any] = {"data": [shapes.task_json(task, rules, self._turn) for task in tasks]}
        if more is not None:  # absent on the last page [OAS]
            result["@nextLink"] = f"{request.origin}{request.path}?$next={quote(more.token)}"
        return answer(200, result)

    def _routed(self, request: Request) -> tuple[str, str | None]:
        path = request.path.removeprefix(self.prefix)
        if path in TOKEN_PATHS and request.method == "POST":
            return "token", None
        family = FAMILIES.get(request.headers.get("x-version", DEFAULT_VERSION))
        if family is None or not path.startswith(family):
            return "unknown", None
        match path.removeprefix(family).split("/"):
            case [""] if request.method in {"GET", "POST"}:
                return ("list" if request.method == "GET" else "create"), None
            case ["", id_] if id_ and request.method in _OPERATIONS:
                return _OPERATIONS[request.method], id_
            case ["", id_, "actionSubmission"] if request.method == "POST":
                return "act", id_
            case _:
                return "unknown", None

    def _task(self, task: Task, status: int = 200) -> Response:
        return answer(status, shapes.task_json(task, self.workspace.switches, self._turn))

    # ---- tokens

    def _token(self, request: Request) -> Response:
        """Client credentials, in the form [OAS], as JSON [AUTH] or as HTTP Basic (the older page)."""
        form = _credentials(request)
        if form is None or not form.get("grant_type"):
            return _iam(400, "invalid_request", "grant_type is missing, or the body cannot be read")
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
        self._grants[token] = _Grant(form["client_id"], client.user, scopes, self.now() + self.token_lifetime)
        scope = " ".join(sorted(scopes))
        return answer(200, {"access_token": token, "expires_in": int(self.token_lifetime), "scope": scope, "token_type": "bearer"})

    def _grant(self, request: Request, arrived: float) -> _Grant:
        grant = self._grants.get(_bearer(request))
        if grant is None or grant.until <= arrived:
            raise _StopError(self._failed(401, "the token is missing, unknown or expired"))
        return grant

    def _user_of(self, request: Request) -> str | None:
        grant = self._grants.get(_bearer(request))
        return grant.user if grant else None

    # ---- errors

    def _throttle(self) -> None:
        """A standing limit, if one is set (29)."""
        limit = self.workspace.switches.requests_per_second
        second, count = self._second
        self._second = (int(self.now()), count + 1 if second == int(self.now()) else 1)
        if limit and self._second[1] > limit:
            raise _StopError(self.error(429, "too many requests", **{"Retry-After": "1"}))

    def _refused(self, refusal: Refusal) -> Response:
        return self._failed(refusal.status, refusal.message, refusal.target)

    def _failed(self, status: int, message: str, target: str | None = None) -> Response:
        code = CODES.get(status, f"{status}Error")
        body: dict[str, Any] = {
            "code": code,
            "message": message or code,
            "target": target,
            "details": [],
            "documentationUrl": None,
            "version": "2026-01-01",
        }
        return answer(status, body)


def _iam(status: int, error: str, description: str) -> Response:
    """The token endpoint has another error body [OAS IamError]."""
    return answer(status, {"error": error, "error_description": description, "error_uri": None})


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _credentials(request: Request) -> dict[str, str] | None:
    try:
        if "json" in request.headers.get("content-type", ""):
            form = {str(k): str(v) for k, v in json.loads(request.body).items()}
        else:
            form = dict(parse_qsl(request.body.decode()))
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
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
