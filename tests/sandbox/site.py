"""A project of Autodesk without a network, and whoever calls it."""

import json
from typing import Any
from urllib.parse import urlencode

from tests.sandbox.conftest import Clock
from worker.sandbox.assumptions import Switches
from worker.sandbox.autodesk import SUBMITTALS, Autodesk
from worker.sandbox.exchange import Request, Response
from worker.sandbox.project import AUTODESK_USER, PROJECT, Project

MANAGER = AUTODESK_USER
ROOT = f"/autodesk{SUBMITTALS}{PROJECT}"
BOTH = "data:read data:write"


class Site:
    """One method a call, as whichever user. Paths begin after the project."""

    def __init__(self, **switches: Any) -> None:
        self.clock = Clock()
        self.project = Project(self.clock, Switches().turned(**switches))
        self.autodesk = Autodesk(self.project)
        self.authentication = self.autodesk.authentication

    def bearer(self, user: str = MANAGER, scope: str = BOTH) -> str:
        return str(self.authentication.grant("sandbox", user, scope)["access_token"])

    def request(self, method: str, path: str, body: Any = None, *, user: str = MANAGER, scope: str = BOTH, bearer: str = "") -> Request:
        headers = {"Authorization": f"Bearer {bearer or self.bearer(user, scope)}", "Content-Type": "application/json"}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return Request.of(
            method, f"https://developer.api.autodesk.com{path if path.startswith('/autodesk') else ROOT + path}", headers, raw
        )

    def call(self, method: str, path: str, body: Any = None, **how: Any) -> Response:
        return self.autodesk(self.request(method, path, body, **how))

    def get(self, path: str, **how: Any) -> Any:
        answer = self.call("GET", path, **how)
        assert answer.status == 200, answer
        return answer.json()

    def item(self, *steps: Any, **spec: Any) -> str:
        return self.project.make({"steps": steps or [[MANAGER]], **spec}).id

    def steps(self, item: str, user: str = MANAGER) -> Any:
        return self.get(f"/items/{item}/steps", user=user)["results"]

    def ref(self, item: str, step: int = 1, task: int = 1) -> str:
        """The path of a task; both count from 1."""
        found = self.project.items[item].steps[step - 1]
        return f"/items/{item}/steps/{found.id}/tasks/{found.tasks[task - 1].id}"

    def reply(self, key: str = "approved") -> str:
        return self.project.reply_called(key).id

    def close(self, item: str, step: int = 1, task: int = 1, *, user: str = MANAGER, reply: str = "approved", **body: Any) -> Response:
        sent = {"responseId": self.reply(reply), **body}
        return self.call("POST", f"{self.ref(item, step, task)}:close", sent, user=user)

    def go(self, item: str, state: str, *, user: str = MANAGER, **body: Any) -> Response:
        return self.call("POST", f"/items/{item}:transition", {"stateId": state, **body}, user=user)

    def state(self, item: str) -> str:
        return str(self.get(f"/items/{item}")["stateId"])

    def form(self, path: str, /, *, basic: str | None = None, **form: str) -> Response:
        """A request of Authentication."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if basic is not None:
            headers["Authorization"] = f"Basic {basic}"
        return self.autodesk(Request.of("POST", f"/autodesk/authentication/v2/{path}", headers, urlencode(form).encode()))

    def renew(self, token: str, **form: str) -> Response:
        return self.form(
            "token", grant_type="refresh_token", refresh_token=token, **{"client_id": "sandbox", "client_secret": "sandbox", **form}
        )
