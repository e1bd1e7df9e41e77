"""An account of Autodesk's at the sandbox, a person with a terminal, and a browser that does what it is told."""

import json
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from worker.cli import cli
from worker.ledger import Ledger
from worker.sandbox.project import AUTODESK_USER as MANAGER
from worker.sandbox.project import PROJECT
from worker.sandbox.server import RunningSandbox, running_sandbox

CONFIG = """
[ledger]
url = "sqlite:///{dir}/ledger.db"
[accounts.tower]
kind = "autodesk"
base_url = "{url}"
project_id = "{project}"
[accounts.tower.grants.mia]
client_id = "sandbox"
client_secret = "sandbox" # of the app
acts_as = "{user}"
[accounts.finance]
kind = "workiva"
base_url = "{url}"
[accounts.finance.grants.jane]
client_id = "sandbox"
client_secret = "sandbox"
acts_as = "jane"
"""

SECRET = 'client_secret = "sandbox" # of the app'


@dataclass
class Terminal:
    """See above."""

    sandbox: RunningSandbox
    config: Path
    port: int
    browse: Callable[[str], httpx.Response] = lambda address: httpx.get(address, follow_redirects=True)
    pages: "queue.SimpleQueue[httpx.Response]" = field(default_factory=queue.SimpleQueue)

    def set(self, old: str, new: str) -> None:
        """Change the settings."""
        self.config.write_text(self.config.read_text().replace(old, new))

    @property
    def command(self) -> list[str]:
        """`login`, and where."""
        return ["--config", str(self.config), "login", "--port", str(self.port)]

    def findings(self, check: str) -> list[dict[str, str]]:
        """What `approvals doctor` finds of that name."""
        result = CliRunner().invoke(cli, ["--config", str(self.config), "doctor", "--json"])
        return [finding for finding in map(json.loads, result.stdout.splitlines()) if finding["check"] == check]

    def lapse(self, days: float) -> None:
        """Time passes for the tokens that are stored."""
        with closing(sqlite3.connect(self.config.parent / "ledger.db")) as ledger, ledger:
            for column in ("access_until", "refreshed_at", "refresh_until"):
                ledger.execute(f"UPDATE tokens SET {column} = {column} - ?", [days * 86_400])

    def open(self, address: str) -> bool:
        """What `webbrowser.open` is: it returns at once, and the page comes when it comes."""
        threading.Thread(target=lambda: self.pages.put(self.browse(address))).start()
        return True

    def run(self, *args: str, stdin: str | None = None) -> Result:
        """`approvals login`."""
        return CliRunner().invoke(cli, [*self.command, *args], input=stdin)

    def login(self, *args: str) -> tuple[Result, httpx.Response]:
        """The whole of it, and what the browser shows."""
        result = self.run("--account", "tower", "--as", "mia", *args)
        return result, self.pages.get(timeout=10)

    def begin(self, *args: str) -> tuple[subprocess.Popen[str], str]:
        """The same as a process; and the address that it asks to be opened."""
        # Where the suite was started with SIGINT ignored (in the background, by nohup), its children would ignore it, too.
        listening = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        listening += "; runpy.run_module('worker', run_name='__main__')"
        command = [sys.executable, "-c", listening, *self.command, "--account", "tower", "--no-browser", *args]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=self.config.parent)
        assert process.stderr
        said = ""
        while "callback URL" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert f"http://127.0.0.1:{self.port}/callback" in said
        return process, next(line.strip() for line in said.splitlines() if "/authorize" in line)

    def stored(self) -> int:
        """How many grants have tokens."""
        ledger = Ledger(f"sqlite:///{self.config.parent}/ledger.db")
        try:
            return len([kept for kept in ledger.tokens.all() if kept.generation])
        finally:
            ledger.close()


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_sandbox() as sandbox:
        config = tmp_path / "approvals.toml"
        config.write_text(CONFIG.format(dir=tmp_path, url=sandbox.autodesk_url, project=PROJECT, user=MANAGER))
        terminal = Terminal(sandbox, config, port)
        monkeypatch.setattr(webbrowser, "open", terminal.open)
        yield terminal
