"""`approvals verify` as people and scripts run it; what each check can tell stands in tests/verify."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import JANE
from worker import bootstrap
from worker.core.budget import Limit
from worker.core.renewal import Renewed
from worker.flows import tokens
from worker.sandbox.project import AUTODESK_USER, PROJECT
from worker.settings import load


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


# --- Autodesk -----------------------------------------------------------------------------------------------------------------------------

TOWER = """
[accounts.tower]
kind = "autodesk"
base_url = "{url}"
project_id = "{project}"
requests_per_minute = 10
[accounts.tower.grants.ann]
client_id = "sandbox"
client_secret = "sandbox"
acts_as = "{user}"
"""


@pytest.fixture
def tower(desk) -> tuple[str, ...]:
    """The words that verify an account of Autodesk's whose one user has consented some minutes ago."""
    text = TOWER.format(url=desk.sandbox.autodesk_url, project=PROJECT, user=AUTODESK_USER)
    desk.config.write_text(desk.config.read_text(encoding="utf-8") + text, encoding="utf-8")
    given = desk.sandbox.control("POST", "/autodesk/grants", {})
    rt = bootstrap.runtime(load(desk.config))
    try:
        rt.ledger.migrate()
        tokens.store(rt, rt.accounts["tower"], "ann", Renewed(given["access_token"], 3599.0, given["refresh_token"], 1e6))
    finally:
        bootstrap.close(rt)
    with closing(sqlite3.connect(desk.config.parent / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE tokens SET refreshed_at = refreshed_at - 120")
    named = desk.sandbox.item(steps=[[AUTODESK_USER]])["tasks"][0]
    return ("verify", "--account", "tower", "--task", named, "--yes", "--json")


def test_the_report_of_a_run_over_autodesk(desk, tower):
    """Nothing contradicts; a refresh token was used twice, and the one that is kept is good."""
    item = desk.sandbox.item(steps=[[AUTODESK_USER], [AUTODESK_USER]])["id"]
    done = desk(*tower, "--use", item, "--risk-grant")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["differs"]) == (0, [])
    assert {40, 44, 59, 66} <= set(report["holds"])
    assert [row["number"] for row in report["assumptions"]] == list(range(40, 68))
    assert (report["grants"], report["api_version"], report["tasks_left"]) == (1, "Submittals v2", 1)
    assert "approvals: 1 items were used, and are left as they are: void them" in done.stderr
    assert desk.sandbox.control("GET", "/autodesk/grants")[0]["renewed"] == 2
    with closing(sqlite3.connect(desk.config.parent / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE tokens SET access_until = 0")
    assert desk("task", "list", "--account", "tower").stderr == "", "the worker renews with it"
    assert desk.sandbox.control("GET", "/autodesk/grants")[0]["renewed"] == 3


def test_what_a_run_asks_is_paid_for(desk, tower):
    """By app and user, into the red: it does not wait, but whoever comes after it does. Two requests bring a token that is no grant's."""
    began = time.time()
    assert desk(*tower).exit_code == 0
    stats = desk.sandbox.control("GET", "/stats")["requests"]
    asked = sum(stats[f"autodesk.{route}"] for route in ("list", "read", "catalogue", "me"))
    with closing(sqlite3.connect(desk.config.parent / "ledger.db")) as ledger:
        paid = [(full_at - began) * Limit(10).ceiling for (full_at,) in ledger.execute("SELECT full_at FROM budgets")]
    assert [asked - 2 <= each for each in paid] == [True, True], (asked, paid)


def test_tokens_are_not_renewed_as_soon_as_they_are_new(desk, tower):
    """A second run at once: it says why, and the ledger keeps what it has."""
    assert desk(*tower).exit_code == 0
    report = json.loads(desk(*tower).stdout)
    assert report["assumptions"][26]["seen"] == (
        "the tokens cannot be renewed now: they are less than a minute old, or another process renews them"
    )


def test_a_grant_that_verify_has_ended_is_degraded(desk, tower):
    """What the flag warns of: the report says so, and the ledger, so that a person is told."""
    desk.sandbox.assume(lost_refresh="family")
    done = desk(*tower, "--risk-grant")
    assert (done.exit_code, json.loads(done.stdout)["differs"]) == (1, [44])
    assert [event["type"] for event in desk.lines("event", "list")] == ["account.degraded"]


def test_it_warns_of_what_it_may_end(desk, tower):
    words = [word for word in tower if word not in {"--yes", "--json"}]
    told = desk(*words, "--use", tower[4], "--risk-grant", stdin="n\n")
    assert "1 items that you named with --use are answered, returned and sent to review again, many times" in told.stderr
    assert "afterwards the grant may need `approvals login` again" in told.stderr
    assert desk.sandbox.journal() == []


def test_words_of_another_upstream(desk, tower, named):
    assert desk(*tower, "--process-made").exit_code == 2
    told = desk("verify", "--account", "finance", "--task", named, "--use", named, "--yes")
    assert (told.exit_code, "--use and --risk-grant are for autodesk" in told.stderr) == (2, True)
