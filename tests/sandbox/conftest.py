import json
from collections.abc import Mapping
from typing import Any

import pytest

from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Request, Response
from worker.sandbox.server import running_sandbox
from worker.sandbox.workiva import Workiva
from worker.sandbox.workspace import SANDBOX_USER, Workspace

ME = SANDBOX_USER
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
    """A client without a network: one method a call, as whichever user."""

    def __init__(self, **switches: Any) -> None:
        self.clock = Clock()
        self.workspace = Workspace(self.clock, Switches().turned(**switches))
        self.workiva = Workiva(self.workspace)

    def token(self, user: str = ME, **form: str) -> str:
        body = {"client_id": f"sandbox:{user}", "client_secret": "sandbox", "grant_type": "client_credentials", **form}
        raw = "&".join(f"{k}={v}" for k, v in body.items()).encode()
        answer = self.workiva(Request.of("POST", "/workiva/oauth2/token", {"Content-Type": "application/x-www-form-urlencoded"}, raw))
        return str(answer.json()["access_token"])

    def request(self, method: str, path: str, body: Any = None, *, user: str = ME, headers: Mapping[str, str] | None = None) -> Request:
        sent = {"X-Version": "2026-01-01", "Authorization": f"Bearer {self.token(user)}", **(headers or {})}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return Request.of(method, f"https://api.app.wdesk.com/workiva{path}", sent, raw)

    def call(self, method: str, path: str, body: Any = None, *, user: str = ME, headers: Mapping[str, str] | None = None) -> Response:
        return self.workiva(self.request(method, path, body, user=user, headers=headers))

    def act(self, task: str, action: str, user: str = ME, comment: str | None = None) -> Response:
        return self.call("POST", f"/tasks/{task}/actionSubmission", {"action": action, "comment": comment}, user=user)

    def make(self, **spec: Any) -> str:
        return self.workspace.make(spec).id

    def read(self, task: str) -> Any:
        return self.call("GET", f"/tasks/{task}").json()


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def sandbox():
    with running_sandbox() as running:
        yield running
