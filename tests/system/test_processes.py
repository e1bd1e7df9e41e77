"""A command goes in by the broker and its effect comes out by the broker, with the processes of the Procfile and nothing else."""

import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa

from tests.system.house import BOB, JANE, ROOT, House, messages, publish, until
from tests.system.upstreams import UPSTREAMS, Autodesk, Workiva
from worker.core import pace
from worker.ledger import tables
from worker.wire import REASON

pytestmark = pytest.mark.system

on_each = pytest.mark.parametrize("upstream", UPSTREAMS, indirect=True, ids=lambda each: each.__name__)
ONE = [[JANE]]
TWO = [[BOB, JANE], [JANE]]
UP = """
import threading
from worker.broker import Names
from worker.cli import stage
from worker.settings import load
from worker.up import up
settings = load()
threading.Thread(target=stage._listen, args=(settings.broker.url, Names(settings.namespace)), daemon=True).start()
raise SystemExit(up(settings))
"""


@on_each
def test_a_json_message_of_any_client_ends_applied_and_its_event_is_on_the_exchange(house, told, upstream):
    task = upstream.task(TWO)
    house.publish(upstream.approve(task, labels={"po": "1"}))
    until(lambda: {"submission.applied", "step.opened"} <= set(told.about(task)), what="the events")
    assert upstream.done(task) == [(1, JANE)]
    progress = ["response.recorded", "step.completed", "step.opened"]  # Autodesk's answer does not show them: they are seen a second later
    assert [type_ for type_ in told.about(task) if not type_.startswith("submission.")] == progress
    assert [type_ for type_ in told.about(task) if type_ not in progress] == ["submission.accepted", "submission.applied"]
    assert [e["data"]["submission"]["labels"] for e in told.of("submission.applied") if e["subject"] == task] == [{"po": "1"}]


@pytest.fixture
def embedded(tmp_path, sandbox, namespace):
    """Everything in one process, on SQLite and the broker inside it; the events of its exchange stand on its standard output."""
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with House(tmp_path, sandbox.workiva_url, namespace=namespace, ledger=ledger, broker="memory://") as house:
        house.run("up", [sys.executable, "-c", UP]).ready("ready.")
        yield house
        assert house["up"].stop(within=60.0) == 0


@pytest.mark.parametrize(("where", "upstream"), [("servers", Workiva), ("servers", Autodesk), ("embedded", Workiva)], indirect=["upstream"])
def test_a_submit_that_waits_ends_when_it_is_applied_and_the_completed_step_is_on_the_exchange(request, upstream, where):
    """From a process that does no work. The broker inside `up` carries no ring from here: the ledger does, and the tick finds it."""
    house = request.getfixturevalue("house" if where == "servers" else "embedded")
    told = request.getfixturevalue("told").about if where == "servers" else house["up"].about
    task = upstream.task(TWO)
    command = [
        "submit",
        "--account",
        upstream.account,
        "--task",
        task,
        "--action",
        "approve",
        "--step",
        "1",
        "--comment",
        "fine",
        "--wait",
        "60",
    ]
    done = house.approvals(*command, "--comment", "fine", "--wait", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[1].rstrip(":") == "applied"
    assert upstream.done(task) == [(1, JANE)]
    until(lambda: "step.completed" in told(task), what="the event")


def test_everything_in_one_process_killed_right_after_the_effect_and_started_again_leaves_one_effect(embedded, upstream, sandbox):
    task = upstream.task(TWO)
    sandbox.fault("act", "stall", when="after", task=task)
    assert embedded.approvals("submit", "--task", task, "--action", "approve", "--step", "1", "--key", "killed").returncode == 0
    until(lambda: upstream.done(task), what="the effect")
    embedded["up"].kill()
    embedded.run("up", [sys.executable, "-c", UP]).ready("ready.")
    embedded.ends("killed", "applied")
    assert upstream.done(task) == [(1, JANE)]


def test_the_bad_ones_lie_among_the_dead_with_their_reasons_and_hold_back_nobody(house, told, upstream):
    task = upstream.task(TWO)
    publish(house.broker, house.namespace, [pickle.dumps({"key": "pickled"})], "application/x-python-serialize")
    large = upstream.approve(task, key="large", comment="x" * 5000)
    publish(house.broker, house.namespace, ['{"key": "malformed", ', json.dumps(large)])
    house.publish(upstream.approve(task, key="unknown", account="nobody"), upstream.approve(task, None, key="unpinned"))
    house.publish(upstream.approve(task, key="good"))
    house.ends("good", "applied")
    dead = f"{house.namespace}.dead"
    until(lambda: len(messages(house.broker, dead)) == 5, what="five among the dead")
    reasons = sorted(str(headers[REASON]) for headers, _ in messages(house.broker, dead))
    for word in ("JSON", "too many", "pickled", "unknown account", "say pin or step"):
        assert any(word in reason for reason in reasons), (word, reasons)
    until(lambda: len(told.of("command.rejected")) == 5, what="five events")
    assert sorted(e["data"]["reason"] for e in told.of("command.rejected")) == reasons
    assert upstream.done(task) == [(1, JANE)]


@on_each
def test_a_command_that_waited_while_a_person_approved_its_step_never_reaches_the_next_one(house, told, upstream):
    """The accident with no retry at all: the command was for step 1, and what the worker happens to see is step 2."""
    task = upstream.task(TWO)
    assert house["intake"].stop() == 0
    house.publish(upstream.approve(task))
    upstream.answers(task, JANE)
    house.start("intake")
    house.ends(task, "superseded")
    assert upstream.done(task) == [(1, JANE)]


@on_each
def test_a_worker_killed_between_the_effect_and_its_answer_leaves_one_effect(house, upstream, sandbox):
    task = upstream.task(TWO)
    sandbox.fault("act", "stall", when="after", task=task)
    house.publish(upstream.approve(task))
    until(lambda: upstream.done(task), what="the effect")
    house["worker"].kill()
    house.start("worker")
    house.ends(task, "applied")
    assert upstream.done(task) == [(1, JANE)]


def test_a_decision_in_doubt_under_the_prototype_api_is_settled_under_its_successor(house, upstream, sandbox):
    """What docs/workiva-2022-to-2026.md says, with the process killed in between. The path of the fault is the prototype's."""
    version = "APPROVALS_ACCOUNTS__FINANCE__API_VERSION"
    task = upstream.task(TWO)
    sandbox.fault("POST /workiva/prototype/platform/tasks/*/actionSubmission", "reset", when="after", task=task)
    house["worker"].stop()
    house.env[version] = "2022-01-01"
    house.start("worker")
    house.publish(upstream.approve(task))
    until(lambda: upstream.done(task), what="the effect")
    house["worker"].kill()
    del house.env[version]
    house.start("worker")
    house.ends(task, "applied")
    assert upstream.done(task) == [(1, JANE)]
    assert [(f["what"], f["struck"]) for f in sandbox.control("GET", "/faults") if f["task"] == task] == [("reset", 1)]


@on_each
def test_asked_to_end_a_worker_lets_what_is_in_flight_come_home(house, upstream, sandbox):
    task = upstream.task(TWO)
    sandbox.fault("act", "slow", when="after", seconds=1.5, task=task)
    house.publish(upstream.approve(task))
    until(lambda: upstream.done(task), what="the effect")
    assert house["worker"].stop(within=30.0) == 0
    assert house.state(task) == "applied"


@on_each
def test_while_an_account_is_paused_no_process_begins_and_after_the_resume_all_is_done(house, upstream, sandbox):
    """Two workers in the middle of a queue. All effects in the journal were begun before the pause was written."""
    tasks = [upstream.task(ONE) for _ in range(30)]
    house.start("worker", "second").ready("ready.")
    sandbox._server.latency = 0.1
    house.publish(*map(upstream.approve, tasks[:20]))
    until(lambda: any(map(upstream.done, tasks)), what="the first effect")
    pause = house.ledger.accounts.pause(upstream.account, "ann", "drill")
    house.publish(*map(upstream.approve, tasks[20:]))

    def held():
        return {task for task in tasks if house.reason(task).startswith("held: account paused by ann")}

    until(lambda: held() | {task for task in tasks if house.state(task) == "applied"} == set(tasks), what="all to be applied or held")
    assert held() >= set(tasks[20:])
    assert {task for task in tasks if upstream.done(task)} == set(tasks) - held()
    begun = [a["began_at"] for task in tasks for a in house.ledger.queries.attempts(house.ledger.queries.find(task)[0].id)]
    assert max(begun) < pause.word.at
    sandbox._server.latency = 0.0
    waited = len(held())
    assert json.loads(house.approvals("resume", upstream.account, "--json").stdout)["waiting"] == waited
    for task in tasks:
        house.ends(task, "applied")
    assert [len(upstream.done(task)) for task in tasks] == [1] * len(tasks)
    with house.ledger.database.engine.begin() as c:  # the tests after this one begin a minute later, when nothing is slow any more
        c.execute(sa.update(tables.accounts).values(at=tables.accounts.c.at - pace.SLOW))


def test_a_worker_that_sleeps_past_its_lease_sends_nothing_when_it_wakes(house, sites, sandbox):
    """What it had sent is found by the other, what it had not is sent by the other; and its own gate stays shut. At each upstream: the one
    that sleeps has taken rings that nobody hears any more, and that is waited for once.
    """
    tasks = {site.task(ONE): site for _ in range(20) for site in sites.values()}
    before = {site: site.effects() for site in sites.values()}
    sandbox._server.latency = 0.2
    house.publish(*(site.approve(task) for task, site in tasks.items()))
    until(lambda: all(site.effects() > count for site, count in before.items()), what="the first effects")
    house["worker"].send(signal.SIGSTOP)
    house.start("worker", "other")
    for task in tasks:
        house.ends(task, "applied")
    house["worker"].send(signal.SIGCONT)
    sent = [house.ledger.queries.find(task)[0].id for task in tasks]
    until(
        lambda: all(a["outcome"] for id_ in sent for a in house.ledger.queries.attempts(id_)),
        what="the one that slept to settle what it had in hand",
    )
    sandbox._server.latency = 0.0
    assert {task: site.done(task) for task, site in tasks.items()} == {task: [(1, JANE)] for task in tasks}


@on_each
def test_two_workers_and_two_beats_do_everything_once(house, told, upstream):
    tasks = [upstream.task(TWO) for _ in range(60)]
    house.start("beat", "beat2")
    house.start("worker", "worker2").ready("ready.")
    house.publish(*(upstream.approve(task, n, key=f"{task}/{n}", wait_for_turn=True) for task in tasks for n in (1, 2)))
    for task in tasks:
        house.ends(f"{task}/1", "applied")
        house.ends(f"{task}/2", "applied")
    assert {task: upstream.done(task) for task in tasks} == {task: [(1, JANE), (2, JANE)] for task in tasks}
    until(lambda: all(told.about(task).count("submission.applied") == 2 for task in tasks), what="the events")
    for task in tasks:
        numbers = [int(e["sequence"]) for e in {e["id"]: e for e in list(told.events) if e["subject"] == task}.values()]
        assert numbers == list(range(1, len(numbers) + 1)), "in order and without gaps"


@on_each
def test_without_beat_nothing_is_lost_and_beat_makes_up_for_it(house, upstream, sandbox):
    """A ring that was lost, here because nobody rang at all, costs the time until the next tick."""
    house["beat"].stop()
    task = upstream.task(TWO)
    sandbox.fault("act", "reset", when="after", task=task)
    house.publish(upstream.approve(task))
    until(lambda: house.state(task) == "in_doubt", what="the doubt")
    until(lambda: ("submit", upstream.account) in house.ledger.queries.due(), what="its time to come")
    assert house.state(task) == "in_doubt"
    house.start("beat")
    house.ends(task, "applied")
    assert upstream.done(task) == [(1, JANE)]


def test_a_program_that_imports_us_keeps_its_own_celery_and_its_logging(tmp_path):
    """Importing reads no settings, takes nobody's current app, and connects to none of Celery's signals."""
    program = """
import celery
from celery import signals
mine = celery.Celery("host", broker="memory://")
import worker.app
import worker.client
assert celery.current_app._get_current_object() is mine, celery.current_app
for name in ("setup_logging", "celeryd_init", "worker_init", "beat_init", "worker_shutting_down", "worker_shutdown"):
    receivers = getattr(signals, name).receivers
    assert not any("worker.app" in repr(r) for r in receivers), (name, receivers)
"""
    env = {"PATH": "", "PYTHONPATH": str(ROOT), "APPROVALS_NO_SUCH__KEY": "1", "APPROVALS_CONFIG": "/no/such/file"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", ["worker", "beat", "intake"])
def test_a_process_with_settings_that_cannot_be_used_says_why_and_ends(tmp_path, line):
    with House(tmp_path, "http://127.0.0.1:1", namespace="t", ledger="sqlite:///l.db", broker="memory://") as house:
        house.env["APPROVALS_ACCOUNTS__FINANCE__LEASE"] = "1s"
        process = house.start(line)
        until(lambda: not process.running, what="its end")
        assert process.stop() != 0
        assert "accounts.finance.lease" in process.text()


def test_the_demo_tells_its_story_to_the_end(tmp_path):
    """Its second act is everything in one process, killed right after the effect and started again: one effect, and it is applied. Its
    third is both upstreams.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("APPROVALS_")}
    command = [sys.executable, "-m", "worker", "demo", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    journals = json.loads(done.stdout)
    submittal = journals.pop("submittal")
    assert {name: [e["step"] for e in journal] for name, journal in journals.items()} == {"usual": [1, 2], "ours": [1, 2], "killed": [1]}
    assert [(e["by"], e["step"], e["state"]) for e in submittal] == [
        ("api", 1, "rev"),
        ("api", 2, "rev"),
        ("system", None, "mgr-2"),
        ("api", None, "sbc-2"),
    ]
