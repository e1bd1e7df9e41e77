"""`approvals verify` as people and scripts run it; what each check can tell stands in tests/verify."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import JANE


@pytest.fixture
def named(desk) -> str:
    """A task to throw away."""
    return str(desk.task(JANE, location={"resource": "somewhere", "segment": None}))


def titles(desk) -> list[str]:
    """The tasks that are there."""
    return [task["title"] for task in desk.sandbox.control("GET", "/tasks")]


def test_the_report_of_a_run(desk, named):
    """One JSON document; status 1, because one assumption does not hold, which it names; everything that was made is gone."""
    desk.sandbox.assume(final_status="Approved")
    done = desk("verify", "--account", "finance", "--task", named, "--yes", "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["differs"], report["not_tried"]) == (1, [8], [21, 28])
    assert (report["grants"], report["api_version"], report["host"], report["tasks_left"]) == (2, "2026-01-01", "another host", 0)
    eighth = report["assumptions"][7]
    assert (eighth["number"], eighth["held"], eighth["seen"]) == (8, "differs", "after the last APPROVE: Approved")
    assert titles(desk) == ["Review Document"]
    assert desk.lines("list") == [], "and the ledger knows nothing of it"


def test_it_asks_before_it_acts(desk, named):
    asked = desk("verify", "--account", "finance", "--task", named, stdin="n\n")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "approves, rejects, changes and deletes them" in asked.stderr
    assert asked.stderr.endswith("approvals: nothing was done\n")
    nobody = desk("verify", "--account", "finance", "--task", named)
    assert nobody.exit_code == 2
    assert "Say --yes where nobody can be asked" in nobody.stderr
    assert desk.sandbox.journal() == []


def test_not_while_the_account_sends_nothing(desk, named):
    """A pause and a hold mean verify, too."""
    desk("pause", "finance", "--note", "audit")
    told = desk("verify", "--account", "finance", "--task", named, "--yes")
    assert told.exit_code == 1
    assert "account finance sends nothing now (account paused by" in told.stderr
    assert "first `approvals resume finance`" in told.stderr
    desk("resume", "finance")
    held = desk.config.read_text(encoding="utf-8").replace("[accounts.careful]\n", '[accounts.careful]\nwrites = "hold"\n')
    desk.config.write_text(held, encoding="utf-8")
    assert 'writes = "hold" in the settings' in desk("verify", "--account", "careful", "--task", named, "--yes").stderr
    assert desk.sandbox.journal() == []


def test_not_on_a_task_that_submissions_wait_for(desk, named):
    """Nor on one that a person has to decide about. Decisions that have ended are in nobody's way."""
    verify = ("verify", "--account", "finance", "--task", named)
    assert desk.submit(named, "--key", "waits").exit_code == 0
    told = desk(*verify, "--yes")
    assert (told.exit_code, "is open for this task" in told.stderr) == (1, True)
    desk("cancel", "waits")
    told = desk(*verify, stdin="n\n")
    assert (told.exit_code, "Go on?" in told.stderr) == (1, True)


def test_no_such_task(desk):
    told = desk("verify", "--account", "finance", "--task", "VGFzax4x", "--yes", "--as", "jane")
    assert told.exit_code == 4
    assert "the upstream shows no such task to grant jane (404)" in told.stderr
    assert titles(desk) == []


def test_ctrl_c_leaves_nothing_behind(desk, named):
    """A real process, interrupted when it has told of its first checks."""
    # Where the suite was started with SIGINT ignored (in the background, by nohup), its children would ignore it, too.
    listening = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module('worker', run_name='__main__')"
    )
    words = ["--config", str(desk.config), "verify", "--account", "finance", "--task", named, "--yes"]
    command = [sys.executable, "-c", listening, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline().startswith("holds")
        assert len(titles(desk)) > 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
    assert titles(desk) == ["Review Document"]
