"""The fixture `approvals_sandbox`, for the tests of other programs: a simulated upstream on a free port.

pytest finds it by the entry point `pytest11` where approval-worker is installed. The server is started by the first test that asks for the
fixture, once a session, so `url` is the same for all of them; each test finds it as new: no task, no fault, an empty journal, nobody
connected. A run that does not ask for it loads this file and nothing else of ours.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from worker.sandbox.server import RunningSandbox


class ApprovalsSandbox:
    """A simulated upstream, seen from a test. `docs/sandbox.md` has the tables of routes and faults."""

    def __init__(self, running: "RunningSandbox") -> None:
        self._running = running
        self.url = running.url
        """Where everything is: `/workiva`, `/autodesk`, `/_control`."""
        self.workiva_url = running.workiva_url
        """What an account's `base_url` or a client's host is set to. Client id and secret: `sandbox`, or `sandbox:USER` to act as USER."""
        self.autodesk_url = running.autodesk_url
        """The same of Autodesk: its authentication and its submittals."""

    def task(self, **spec: Any) -> str:
        """Make a task, for example `steps=[{"participants": ["jane"]}]`; its id."""
        return str(self._running.task(**spec)["id"])

    def item(self, **spec: Any) -> dict[str, Any]:
        """Make a submittal item, for example `steps=[["jane"], [{"user": "joe", "required": False}, "ann"]]`; with `id` and `tasks`."""
        return self._running.item(**spec)

    def fault(self, route: str, what: str, **how: Any) -> int:
        """One more fault, for example `"act", "reset", when="after"`: the effect takes place and its answer is lost."""
        return self._running.fault(route, what, **how)

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every effect that took place in this test, in order: what doubles are counted with."""
        return self._running.journal()

    def truth(self, task: str) -> dict[str, Any]:
        """A task as it is, its round and active step included."""
        return self._running.truth(task)

    def person(self, task: str, action: str, *, user: str | None = None, comment: str | None = None) -> None:
        """A person acts in the upstream's own pages; no user: someone who may."""
        self._running.person(task, user, action, comment)

    def assume(self, **switches: Any) -> None:
        """Turn switches of the numbered assumptions."""
        self._running.assume(**switches)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Any other request of `/_control`. Raises ValueError if it is refused."""
        return self._running.control(method, path, body)


@pytest.fixture(scope="session")
def _approvals_sandbox_server() -> "Iterator[RunningSandbox]":
    from worker.sandbox.server import running_sandbox

    with running_sandbox() as running:
        yield running


@pytest.fixture
def approvals_sandbox(_approvals_sandbox_server: "RunningSandbox") -> ApprovalsSandbox:
    """A simulated upstream with `.url`, `.workiva_url`, `.task(...)`, `.fault(...)` and `.journal`; as new for each test."""
    _approvals_sandbox_server.renew()
    return ApprovalsSandbox(_approvals_sandbox_server)
