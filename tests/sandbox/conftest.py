import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Request, Response
from worker.sandbox.server import running_sandbox
from worker.sandbox.workiva import FAMILIES, NEWEST, Workiva
from worker.sandbox.workspace import SANDBOX_USER, Workspace

ME = SANDBOX_USER
ERROR = {
    "2026-01-01": {"code", "message", "target", "details", "documentationUrl", "version"},
    "2022-01-01": {"code", "message", "target", "details"},
}
CODES = {
    "2026-01-01": {400: "400BadRequest", 401: "401Unauthorized", 403: "403Forbidden", 404: "404NotFound", 409: "409Conflict"},
    "2022-01-01": {400: "BadArgument", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"},
}
START = 1_790_000_000.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += seconds


class Api:
    """A client without a network: one method a call, as whichever user. Paths are written as 2026-01-01 has them, whatever the version."""

    def __init__(self, version: str = NEWEST, **switches: Any) -> None:
        self.version = version
        self.clock = Clock()
        self.workspace = Workspace(self.clock, Switches().turned(**switches))
        self.workiva = Workiva(self.workspace)

    def token(self, user: str = ME, **form: str) -> str:
        body = {"client_id": f"sandbox:{user}", "client_secret": "sandbox", "grant_type": "client_credentials", **form}
        raw = "&".join(f"{k}={v}" for k, v in body.items()).encode()
        answer = self.workiva(
            Request.of("POST", f"/workiva{FAMILIES[self.version].token}", {"Content-Type": "application/x-www-form-urlencoded"}, raw)
        )
        return str(answer.json()["access_token"])

    def request(self, method: str, path: str, body: Any = None, *, user: str = ME, headers: Mapping[str, str] | None = None) -> Request:
        sent = {"X-Version": self.version, "Authorization": f"Bearer {self.token(user)}", **(headers or {})}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return Request.of(method, f"https://api.app.wdesk.com/workiva{self.path(path)}", sent, raw)

    def path(self, path: str) -> str:
        """The same in the paths of its version."""
        root = FAMILIES[self.version].tasks
        return path if path.startswith(root) else root + path.removeprefix("/tasks")

    def call(self, method: str, path: str, body: Any = None, *, user: str = ME, headers: Mapping[str, str] | None = None) -> Response:
        return self.workiva(self.request(method, path, body, user=user, headers=headers))

    def act(self, task: str, action: str, user: str = ME, comment: str | None = None) -> Response:
        return self.call("POST", f"/tasks/{task}/actionSubmission", {"action": action, "comment": comment}, user=user)

    def make(self, **spec: Any) -> str:
        return self.workspace.make(spec).id

    def read(self, task: str) -> Any:
        return self.call("GET", f"/tasks/{task}").json()


@pytest.fixture
def api(version):
    return Api(version)


@pytest.fixture(scope="session")
def api_of(version) -> Callable[..., Api]:
    """An Api with switches turned."""
    return partial(Api, version)


@pytest.fixture
def sandbox():
    with running_sandbox() as running:
        yield running
