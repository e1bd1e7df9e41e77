"""The upstreams of a scenario, each in its own words: one account of the house at each, behind one sandbox.

A test about the worker says `@pytest.mark.parametrize("upstream", UPSTREAMS, indirect=True)`; one that does not is about Workiva's API.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.system.house import JANE, TIMES, approve
from worker.sandbox.project import PROJECT
from worker.sandbox.server import RunningSandbox

Steps = Sequence[Sequence[str]]
"""Who is asked, step by step. The last one named has to answer; where a step is over with any answer, any one will do."""


class Workiva:
    """The account `finance`, which every house has."""

    account: ClassVar = "finance"

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox

    def task(self, steps: Steps) -> str:
        """A task under approval; its id."""
        return str(self.sandbox.task(steps=[{"participants": list(users)} for users in steps])["id"])

    def answers(self, task: str, user: str) -> None:
        """A person answers the active step by hand."""
        self.sandbox.person(task, user, "APPROVE")

    def approve(self, task: str, step: int | None = 1, **more: Any) -> dict[str, Any]:
        """The command of a plain JSON producer. Its key is the task, where it is not said: a key is an account's own."""
        return approve(**{"key": task, "account": self.account, "task": task, "step": step, **more})

    def done(self, task: str) -> list[tuple[int, str]]:
        """Who answered which step, in order."""
        return [(e["step"], e["user"]) for e in self.sandbox.journal(task)]

    def effects(self) -> int:
        """How many there were so far, of all tasks."""
        return len(self.sandbox.journal())


class Autodesk(Workiva):
    """The account `tower`, whose grant is a service account. A step has a part for each user, of which the last one's is required."""

    account = "tower"

    def __init__(self, sandbox: RunningSandbox) -> None:
        super().__init__(sandbox)
        self._key = generate_private_key(65537, 2048)
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        sandbox.control("POST", "/autodesk/accounts", {"id": JANE, "client_id": f"sandbox:{JANE}", "keys": {"k": public}})
        sandbox.assume(requests_per_minute=0)  # what a budget of 600 does is told by `test_fairness`
        approval, *_ = (reply for reply in sandbox.sandbox.project.replies.values() if reply.approval)
        for reply in list(sandbox.sandbox.project.replies.values()):  # one response that approves: then `approve` says enough
            sandbox.control("POST", "/autodesk/responses", {"id": reply.id, "isActive": reply == approval or not reply.approval})

    def settings(self, folder: Path) -> Mapping[str, str]:
        """What a house needs to have this account, too."""
        key = folder / "tower.pem"
        key.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key.chmod(0o600)
        values = {"KIND": "autodesk", "BASE_URL": self.sandbox.autodesk_url, "PROJECT_ID": PROJECT, "REQUESTS_PER_MINUTE": "60000", **TIMES}
        grant = {"CLIENT_ID": f"sandbox:{JANE}", "CLIENT_SECRET": "sandbox", "ACTS_AS": JANE, "FLOW": "service_account"}
        grant |= {"SERVICE_ACCOUNT_ID": JANE, "KEY_ID": "k", "PRIVATE_KEY_FILE": str(key)}
        values |= {f"GRANTS__JANE__{name}": value for name, value in grant.items()}
        return {f"ACCOUNTS__TOWER__{name}": value for name, value in values.items()}

    def task(self, steps: Steps) -> str:
        parts = [[*({"user": user, "required": False} for user in users[:-1]), users[-1]] for users in steps]
        return str(self.sandbox.item(steps=parts)["id"])

    def answers(self, task: str, user: str) -> None:
        self.sandbox.person(task, user, "close")

    def done(self, task: str) -> list[tuple[int, str]]:
        return [(e["step"], e["user"]) for e in self.sandbox.journal(task) if e["action"] == "close"]


UPSTREAMS = (Workiva, Autodesk)
