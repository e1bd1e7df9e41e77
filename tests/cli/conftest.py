"""The command as people and scripts run it: real settings files, a real SQLite ledger, the sandbox behind its port."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.cli.tower import terminal  # noqa: F401  a fixture
from worker import bootstrap
from worker.cli import cli
from worker.flows.submit import submit
from worker.sandbox.project import AUTODESK_USER, PROJECT
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.settings import load

JANE = "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY"
BOB = "V0ZVc2VyHzE"

CONFIG = """
[ledger]
url = "sqlite:///{dir}/ledger.db"
[accounts.finance]
kind = "workiva"
base_url = "{url}"
workspace = "finance"
request_deadline = "2s"
lease = "3s"
upstream_cutoff = "2s"
slack = "3s"
[accounts.finance.grants.jane]
client_id = "sandbox"
client_secret = "sandbox"
acts_as = "{jane}"
[accounts.finance.grants.bob]
client_id = "sandbox:{bob}"
client_secret = "sandbox"
acts_as = "{bob}"
[accounts.careful]
kind = "workiva"
base_url = "{url}"
workspace = "careful"
when_exposed = "park"
request_deadline = "2s"
lease = "3s"
upstream_cutoff = "2s"
slack = "3s"
[accounts.careful.grants.ann]
client_id = "sandbox:{jane}"
client_secret = "sandbox"
acts_as = "{jane}"
"""

TOWER = """
[accounts.tower]
kind = "autodesk"
base_url = "{url}"
project_id = "{project}"
request_deadline = "2s"
lease = "3s"
upstream_cutoff = "2s"
slack = "3s"
"""

REVIEWER = """
[accounts.tower.grants.{name}]
flow = "service_account"
client_id = "sandbox"
client_secret = "sandbox"
service_account_id = "{user}"
key_id = "k1"
private_key_file = "{key}"
acts_as = "{user}"
"""

ARCHITECT, ENGINEER = "ARCHITECT", "ENGINEER"
PEOPLE = {"architect": ARCHITECT, "engineer": ENGINEER, "manager": AUTODESK_USER}


@dataclass
class Desk:
    """A person at a terminal, one config file, and a worker that works when it is told to."""

    config: Path
    sandbox: RunningSandbox

    def __call__(self, *args: object, stdin: str | None = None) -> Result:
        """Run `approvals ARGS`."""
        return CliRunner().invoke(cli, ["--config", str(self.config), *map(str, args)], input=stdin)

    def json(self, *args: object) -> dict:
        """Run it with --json; the one document it prints."""
        return dict(json.loads(self(*args, "--json").stdout))

    def lines(self, *args: object) -> list[dict]:
        """Run it with --json; the documents it prints, one a line."""
        return [json.loads(line) for line in self(*args, "--json").stdout.splitlines()]

    def work(self, account: str = "finance") -> None:
        """One turn of a worker."""
        rt = bootstrap.runtime(load(self.config))
        try:
            submit(rt, account)
        finally:
            bootstrap.close(rt)

    def item(self, *steps: object, **spec: object) -> dict:
        """A submittal item whose steps have these tasks; its truth."""
        return self.sandbox.item(steps=steps or [[ARCHITECT]], **spec)

    def task(self, *steps: str, **spec: object) -> str:
        """A task whose steps have these participants, one each."""
        made = self.sandbox.task(steps=[{"participants": [user]} for user in steps or (JANE,)], **spec)
        return str(made["id"])

    def submit(self, task: str, *args: object) -> Result:
        """Approve step 1 of *task* as Jane."""
        return self("submit", "--account", "finance", "--as", "jane", "--task", task, "--action", "approve", "--step", 1, *args)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running_sandbox() as sandbox:
        config = tmp_path / "approvals.toml"
        config.write_text(CONFIG.format(dir=tmp_path, url=sandbox.workiva_url, jane=JANE, bob=BOB), encoding="utf-8")
        yield Desk(config, sandbox)


@pytest.fixture(scope="session")
def signing():
    """A service account's key, both halves as PEM."""
    key = generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public.decode()


@pytest.fixture
def tower(desk, signing, tmp_path):
    """The desk with a project of Autodesk's: two reviewers and the manager, as service accounts."""
    (tmp_path / "key.pem").write_bytes(signing[0])
    with desk.config.open("a", encoding="utf-8") as config:
        config.write(TOWER.format(url=desk.sandbox.autodesk_url, project=PROJECT))
        for name, user in PEOPLE.items():
            config.write(REVIEWER.format(name=name, user=user, key=tmp_path / "key.pem"))
            desk.sandbox.control("POST", "/autodesk/accounts", {"id": user, "client_id": "sandbox", "keys": {"k1": signing[1]}})
    return desk


@dataclass
class Review:
    """A task with a step that waits for the grant's user, of either upstream: how it is called there, and how it is answered."""

    desk: Desk
    account: str
    grant: str
    user: str
    task: str
    at: tuple[object, ...]
    path: str
    body: dict

    def submit(self, *args: object) -> Result:
        """Answer it."""
        return self.desk("submit", "--account", self.account, "--as", self.grant, *self.at, *args)

    def effects(self) -> list[tuple[str, str]]:
        """Who did what; not what the upstream itself made of it."""
        return [(e["action"].lower(), e["user"]) for e in self.desk.sandbox.journal(self.task) if e["by"] != "system"]


@pytest.fixture(params=["workiva", "autodesk"])
def review(request, desk):
    if request.param == "workiva":
        task = desk.task()
        at: tuple[object, ...] = ("--task", task, "--action", "approve", "--step", 1)
        return Review(desk, "finance", "jane", JANE, task, at, f"/workiva/tasks/{task}/actionSubmission", {"action": "APPROVE"})
    item = request.getfixturevalue("tower").item()
    part = item["tasks"][0]
    _, step, task = part.split("/")
    path = f"/autodesk/construction/submittals/v2/projects/{PROJECT}/items/{item['id']}/steps/{step}/tasks/{task}:close"
    response = next(r.id for r in desk.sandbox.sandbox.project.replies.values() if r.value == "Approved")
    at = ("--task", part, "--action", "close", "--response", "approved")
    return Review(desk, "tower", "architect", ARCHITECT, item["id"], at, path, {"responseId": response})
