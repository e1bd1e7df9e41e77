"""The command as people and scripts run it: real settings files, a real SQLite ledger, the sandbox behind its port."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker import bootstrap
from worker.cli import cli
from worker.flows.submit import submit
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
