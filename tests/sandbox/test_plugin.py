"""Other people's tests: the fixture is there without configuration, as new for each test, and costs nothing where it is not used."""

import subprocess
import sys

import pytest

USING = """
import httpx
import pytest

URLS = set()


def approve(sandbox, task, user="jane"):
    form = {"client_id": f"sandbox:{user}", "client_secret": "sandbox", "grant_type": "client_credentials"}
    with httpx.Client(base_url=sandbox.workiva_url, headers={"X-Version": "2026-01-01"}) as client:
        token = client.post("/oauth2/token", data=form).json()["access_token"]
        client.post(f"/tasks/{task}/actionSubmission", json={"action": "APPROVE"}, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("turn", range(3))
def test_as_new(approvals_sandbox, turn):
    URLS.add(approvals_sandbox.url)
    assert len(URLS) == 1
    assert approvals_sandbox.journal == []
    task = approvals_sandbox.task(steps=[{"participants": ["jane"]}, {"participants": ["jane"]}])
    assert isinstance(task, str)
    approvals_sandbox.fault("act", "reset", when="after")
    with pytest.raises(httpx.TransportError):
        approve(approvals_sandbox, task)
    approve(approvals_sandbox, task)
    assert [(e["task"], e["step"]) for e in approvals_sandbox.journal] == [(task, 1), (task, 2)]
    assert approvals_sandbox.truth(task)["status"] == "Completed"


def test_that_leaves_a_mess(approvals_sandbox):
    approvals_sandbox.task(id="left")
    approvals_sandbox.control("POST", "/clock", {"offset": 1e6})
    approvals_sandbox.control("POST", "/clients", {"client_id": "c", "client_secret": "s", "user": "u"})
    approvals_sandbox.assume(modified_frozen=True)
    approvals_sandbox.person(approvals_sandbox.task(steps=[{"participants": ["jane"]}]), "APPROVE")
    approvals_sandbox.fault("act", "garbage", times=None)
    approvals_sandbox.fault("act", "refuse", seconds=60)


def test_that_finds_none(approvals_sandbox):
    assert approvals_sandbox.control("GET", "/tasks") == []
    assert approvals_sandbox.control("GET", "/faults") == []
    assert [a["now"] for a in approvals_sandbox.control("GET", "/assumptions") if a["switch"] == "modified_frozen"] == [False]
    task = approvals_sandbox.task(steps=[{"participants": ["jane"]}])
    approve(approvals_sandbox, task)
    assert [e["task"] for e in approvals_sandbox.journal] == [task]


def test_an_item_of_autodesk(approvals_sandbox):
    item = approvals_sandbox.item(steps=[["jane"], ["joe"]])
    approvals_sandbox.person(item["tasks"][0], "close", comment="fine")
    assert [(e["task"], e["user"], e["comment"]) for e in approvals_sandbox.journal] == [(item["tasks"][0], "jane", "fine")]
    assert approvals_sandbox.truth(item["id"])["active_step"] == 2
    assert httpx.get(f"{approvals_sandbox.autodesk_url}/authentication/v2/keys").json()["keys"]
"""

NOT_USING = """
import sys


def test_nothing_of_ours_is_loaded():
    assert sorted(name for name in sys.modules if name.partition(".")[0] == "worker") == [
        "worker", "worker.sandbox", "worker.sandbox.pytest_plugin"
    ]
    assert not {"aiohttp", "celery", "httpx", "kombu", "pydantic", "sqlalchemy", "uvloop"} & sys.modules.keys()
"""


@pytest.fixture
def begin(tmp_path):
    """Run pytest on a file of its own, in a process of its own, as strict as it can be; several at a time."""

    def start(text, *options):
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
        run = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        runs.append(run)
        return run

    runs: list[subprocess.Popen[str]] = []
    yield start
    for run in runs:
        run.communicate(timeout=60)


def test_each_test_finds_it_as_new_and_runs_side_by_side_do_not_meet(begin):
    for run in [begin(USING), begin(USING)]:
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 0, output
        assert "6 passed" in output


def test_a_run_that_does_not_use_it_loads_nothing_of_it(begin):
    run = begin(NOT_USING)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output


def test_pytest_tells_of_the_fixture(begin):
    output, _ = begin(NOT_USING, "--fixtures").communicate(timeout=60)
    assert "approvals_sandbox -- " in output
    assert "`.fault(...)`" in output
