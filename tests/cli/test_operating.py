import json
import os
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import BOB, JANE
from worker.health import STUCK, Heart, place
from worker.settings import load


def test_help_names_every_command():
    text = subprocess.run([sys.executable, "-m", "worker", "--help"], capture_output=True, text=True).stdout.splitlines()
    names = {line.split()[0] for line in text[text.index("Commands:") + 1 :] if line.strip()}
    assert {"up", "task", "submit", "import", "show", "list", "cancel", "resolve", "watch", "event", "dead", "doctor", "config"} <= names
    assert {"migrate", "health", "sandbox", "evidence", "sink", "pause", "resume", "verify", "login"} <= names
    assert not {"restored", "forget", "bench"} & names


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from worker.cli import cli; CliRunner().invoke(cli, ['--help']);"
        "print([m for m in ('celery', 'sqlalchemy', 'rich', 'pydantic', 'aiohttp', 'kombu') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_help_everywhere(desk):
    for args in (["task"], ["submit"], ["import"], ["show"], ["list"], ["cancel"], ["resolve"], ["watch", "add"], ["event", "follow"]):
        assert desk(*args, "--help").exit_code == 0


def test_tasks_are_listed_with_the_pin_of_the_active_step(desk):
    mine, other = desk.task(JANE, BOB), desk.task(BOB, JANE)
    found = {t["task"]: t for t in desk.lines("task", "list", "--account", "finance", "--as", "jane")}
    assert set(found) == {mine, other}
    assert found[mine]["active"] == 1
    assert all(step["pin"] for step in found[mine]["steps"])
    waiting = desk.lines("task", "list", "--account", "finance", "--as", "jane", "--mine")
    assert [t["task"] for t in waiting] == [mine]


def test_a_task_is_shown_with_our_submissions(desk):
    task = desk.task(JANE, BOB)
    desk.submit(task, "--key", "k")
    desk.work()
    about = desk.json("task", "show", task, "--account", "finance")
    assert [s["active"] for s in about["steps"]] == [False, True]
    assert about["steps"][0]["responses"][0]["actor"] == JANE
    assert [(s["key"], s["state"]) for s in about["submissions"]] == [("k", "applied")]
    assert f"step 2 ACTIVE, any one of: {BOB} (grant bob)" in desk("task", "show", task, "--account", "finance").stdout


def test_watches_are_added_listed_and_removed(desk):
    feed = desk.json("watch", "add", "--account", "finance", "--every", "2m")
    task = desk.json("watch", "add", "--account", "finance", "--task", "t")
    assert (feed["task"], feed["every"], task["every"]) == (None, 120.0, 30.0)
    assert [w["id"] for w in desk.lines("watch", "list")] == [feed["id"], task["id"]]
    assert desk("watch", "remove", feed["id"]).exit_code == 0
    assert [w["id"] for w in desk.lines("watch", "list")] == [task["id"]]
    assert desk("watch", "add", "--account", "finance", "--every", "0s").exit_code == 2
    assert desk("watch", "add", "--account", "finance", "--task", "*").exit_code == 2


def test_events_are_listed_as_cloudevents_and_filtered_by_a_glob(desk):
    task = desk.task()
    desk.submit(task)
    desk.work()
    every = desk.lines("event", "list")
    assert {e["specversion"] for e in every} == {"1.0"}
    assert every[0]["type"] == "submission.accepted"
    assert {e["type"] for e in desk.lines("event", "list", "--type", "submission.*")} == {"submission.accepted", "submission.applied"}
    assert {e["type"] for e in desk.lines("event", "list", "--type", "step.completed")} == {"step.completed"}
    assert desk.lines("event", "list", "--since", "1h", "--account", "finance") == every
    assert not desk.lines("event", "list", "--account", "careful")
    assert not desk.lines("event", "list", "--since", "2099-01-01T00:00:00Z")


def test_events_are_followed_as_they_come(desk):
    desk.submit(desk.task())
    command = [sys.executable, "-m", "worker", "--config", desk.config, "event", "follow", "--since", "1h", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=desk.config.parent) as following:
        assert following.stdout
        assert json.loads(following.stdout.readline())["type"] == "submission.accepted"
        desk.submit(desk.task())
        assert json.loads(following.stdout.readline())["type"] == "submission.accepted"
        following.terminate()


def test_sinks_are_counted_and_replayed(desk):
    desk.submit(desk.task())
    assert desk.lines("sink", "list") == [
        {
            "name": "exchange",
            "kind": "exchange",
            "to": "approvals.events",
            "state": "on",
            "due": 1,
            "delivered": 0,
            "unbound": 0,
            "dead": 0,
        }
    ]
    assert desk.json("sink", "replay", "exchange", "--missing") == {"sink": "exchange", "replayed": 0}
    assert desk.json("sink", "replay", "exchange", "--since", "1h") == {"sink": "exchange", "replayed": 0}


def test_the_dead_of_the_embedded_broker_stand_in_the_ledger(desk):
    result = desk("dead", "list")
    assert result.exit_code == 0
    assert "command.rejected" in result.stderr
    assert desk("dead", "requeue", "--all").exit_code == 1


def test_config_names_origins_and_no_secret(desk):
    found = {row["key"]: row for row in desk.lines("config")}
    assert found["accounts.finance.grants.jane.client_secret"]["value"] == "********"
    assert found["accounts.finance.quiet_period"]["value"] == "8s"
    assert found["intake.batch"]["origin"] == "default"
    assert found["ledger.url"]["origin"] == str(desk.config)


def test_migrate_may_be_repeated(desk):
    first = desk.json("migrate")
    assert first["revision"]
    assert desk.json("migrate") == first


def test_a_postgresql_ledger_without_tables_says_what_to_do(desk, postgres_url):
    text = desk.config.read_text().replace(f"sqlite:///{desk.config.parent}/ledger.db", postgres_url)
    desk.config.write_text(text)
    before = desk("list")
    assert before.exit_code == 1
    assert "approvals migrate" in before.stderr
    assert desk("migrate").exit_code == 0
    assert desk("list").exit_code == 0
    assert desk.submit(desk.task()).exit_code == 0


def test_a_file_that_is_no_database_is_a_sentence(desk):
    (desk.config.parent / "ledger.db").write_bytes(b"this is no database, and never was one" * 100)
    result = desk("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("approvals: the ledger")


@pytest.mark.parametrize("url", ["amqp://guest@127.0.0.1:1//", "redis://:hunter2@127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_a_sentence(desk, url):
    desk.config.write_text(f'[broker]\nurl = "{url}"\n' + desk.config.read_text())
    result = desk("dead", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("approvals: the broker cannot be used")
    assert desk("health", "--ready").exit_code == 1
    found = {f["check"]: f for f in desk.lines("doctor")}
    assert found["broker"]["verdict"] == "FAIL"
    assert "127.0.0.1:1" in found["broker"]["detail"]
    assert "hunter2" not in result.stderr + desk("doctor").stdout + desk("config").stdout


@pytest.mark.parametrize("wrong", ["redis://a:1;redis://b:2", "redis://a:1,b:2/0", "redis://a/zero", "sentinel://a:1"])
def test_a_redis_that_is_not_one_server_is_refused_in_words(desk, wrong):
    desk.config.write_text(f'[broker]\nurl = "{wrong}"\n' + desk.config.read_text())
    result = desk("config")
    assert result.exit_code == 2
    assert "broker.url: must" in result.stderr


def test_the_doctor_finds_a_healthy_system_healthy(desk):
    task = desk.task()
    desk.submit(task)
    desk.work()
    result = desk("doctor", "--json")
    found = {f["check"]: f for f in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 0
    assert {c: f["verdict"] for c, f in found.items()} == {
        "account finance": "OK",
        "account careful": "OK",
        "broker": "OK",
        "processes": "WARN",
        "ledger": "OK",
        "sink exchange": "OK",
        "grant finance/jane": "OK",
        "grant finance/bob": "WARN",
        "grant careful/ann": "WARN",
    }
    assert "proven" in found["grant finance/jane"]["detail"]
    assert all(f["todo"] for f in found.values() if f["verdict"] != "OK")


def test_the_doctor_says_what_to_do_about_a_wrong_secret(desk):
    desk.config.write_text(desk.config.read_text().replace('client_secret = "sandbox"', 'client_secret = "wrong-one"', 1))
    result = desk("doctor", "--json")
    found = {f["check"]: f for f in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert found["grant finance/jane"]["verdict"] == "FAIL"
    assert "client_secret" in found["grant finance/jane"]["todo"]
    assert "wrong-one" not in result.stdout


def test_the_doctor_tells_of_an_upstream_whose_clock_is_off(desk):
    desk.sandbox.control("POST", "/clock", {"offset": 120})
    found = {f["check"]: f for f in desk.lines("doctor")}
    assert found["grant finance/jane"]["verdict"] == "WARN"
    assert "clock" in found["grant finance/jane"]["detail"]


def test_ready_is_reachability(desk):
    result = desk("health", "--ready", "--json")
    assert [(o["name"], o["ok"]) for o in map(json.loads, result.stdout.splitlines())] == [("ledger", True), ("broker", True)]


def test_live_is_progress(desk):
    assert desk("health", "--live").exit_code == 1, "nobody is there"
    directory = place(load(desk.config))
    clock = [0.0]
    heart = Heart(directory, "worker", clock=lambda: clock[0])
    assert heart.beat()
    assert desk("health", "--live").exit_code == 0
    with heart.working():
        clock[0] = STUCK + 1
        assert not heart.beat(), "something has been at work for longer than it ever may"
        (file,) = directory.iterdir()
        os.utime(file, (time.time() - 60, time.time() - 60))
        assert desk("health", "--live").exit_code == 1
    assert heart.beat()
    assert desk("health", "--live").exit_code == 0
    heart.stop()
    assert not list(directory.iterdir())


def test_one_that_was_killed_is_forgotten(desk):
    directory = place(load(desk.config))
    directory.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (directory / f"worker-{gone.pid}").touch()
    assert desk("health", "--live").exit_code == 1
    assert not list(directory.iterdir())


@pytest.mark.parametrize("faults", ["act:explode", "{not json"])
def test_faults_that_cannot_be_read_are_a_usage_error(desk, faults):
    assert desk("sandbox", "--port", "0", "--faults", faults).exit_code == 2
