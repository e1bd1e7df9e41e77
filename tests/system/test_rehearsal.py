"""`approvals up --sandbox`, as somebody types it who wants to try before anything is real."""

import shlex
import sys

import pytest

from tests.sinks.receiver import receiving
from tests.system.house import ROOT, House, until
from worker.cli.process import SIGNED_WITH

pytestmark = pytest.mark.system

ENDS = "Ctrl-C ends it."


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def rehearsal(tmp_path, receiver):
    """An account that would be live, its writes on hold; and the lines to type that `up --sandbox` prints."""
    live = "http://127.0.0.1:1"  # nobody listens: what would be sent there fails
    more = {
        "ACCOUNTS__FINANCE__WRITES": "hold",
        "SINKS__ERP__KIND": "webhook",
        "SINKS__ERP__URL": f"{live}/",
        "SINKS__ERP__SECRETS": SIGNED_WITH,
    }
    more |= {"SINKS__ERP__ALLOW_HTTP": "true"}
    with House(tmp_path, live, namespace="t", ledger=f"sqlite:///{tmp_path}/live.db", broker="memory://", more=more) as house:
        up = house.run("up", [sys.executable, "-m", "worker", "up", "--sandbox", "--webhook", receiver.url])
        until(lambda: ENDS in up.text(), 60, "its greeting")
        house.env = {k: v for k, v in house.env.items() if not k.startswith("APPROVALS_")}  # another terminal
        yield house
        assert house["up"].stop() == 0


def printed(house):
    """The arguments of the lines that it says to type."""
    lines = [line.split("#")[0] for line in house["up"].text().splitlines() if line.startswith("  approvals ")]
    return [shlex.split(line)[1:] for line in lines]


def test_the_lines_it_prints_do_what_they_say_with_the_account_s_own_rules(rehearsal, receiver):
    """Show, submit, resume: what is on hold waits until it is resumed, and nothing reaches the live account, its ledger or its sinks. The
    receiver that was named gets the events, signed with the secret of the one in the docs.
    """
    show, submit, resume = printed(rehearsal)
    assert "step 1 ACTIVE" in rehearsal.approvals(*show).stdout
    dry = rehearsal.approvals(*submit[:-2], "--dry-run")
    assert (dry.returncode, "would wait: held" in dry.stdout) == (0, True)
    mine = rehearsal.approvals(*submit[:2], "task", "list", "--mine")
    assert mine.stdout.count("Review finance") == 1
    waits = rehearsal.approvals(*submit[:-1], "3")
    assert (waits.returncode, "approvals resume" in waits.stdout) == (6, True)
    assert rehearsal.approvals(*resume).returncode == 0
    name = waits.stdout.split()[0]
    until(lambda: rehearsal.approvals(*submit[:2], "show", name).stdout.startswith(f"{name}  applied"), 60, "it to be applied")
    assert rehearsal.approvals(*submit[:2], "task", "list", "--mine").stdout.split("\t")[3] == "2/2"
    assert not rehearsal.folder.joinpath("live.db").exists()
    until(lambda: "submission.applied" in [c.event.get_type() for c in receiver.calls], 60, "the receiver to hear of it")
    assert {c.signed_by(SIGNED_WITH)["source"] for c in receiver.calls} == {"/workiva/finance"}
    assert SIGNED_WITH in (ROOT / "docs/events.md").read_text()
    sinks = [line.split("\t")[:2] for line in rehearsal.approvals(*submit[:2], "sink", "list").stdout.splitlines()]
    assert sinks == [["exchange", "exchange"], ["webhook", "webhook"]]


def test_the_next_run_has_tasks_of_its_own_and_the_lines_it_prints_work_again(rehearsal):
    """The ledger remembers the run before; the simulated upstream does not. A decision on a task of then is none on a task of now."""
    tasks = set()
    for run in range(2):
        if run:
            rehearsal["up"].kill()
            rehearsal.run("up", [sys.executable, "-m", "worker", "up", "--sandbox"])
            until(lambda: ENDS in rehearsal["up"].text(), 60, "its greeting")
        _show, submit, *resume = printed(rehearsal)  # in the second run there are no settings, and nothing is on hold
        assert all(rehearsal.approvals(*line).returncode == 0 for line in resume)
        assert rehearsal.approvals(*submit[:-1], "60").returncode == 0
        tasks.add(submit[submit.index("--task") + 1])
    assert len(tasks) == 2


def test_two_in_one_folder_do_not_share_a_ledger(rehearsal):
    second = rehearsal.approvals("up", "--sandbox")
    assert (second.returncode, "another `approvals up --sandbox` runs in" in second.stderr) == (1, True)
    assert rehearsal.approvals("--config", "var/sandbox.toml", "task", "list").returncode == 0
