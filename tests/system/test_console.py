"""For other programs, in real processes: a decision goes in by the client or over HTTP, and what came of it is told either way."""

import json
import signal
import sys
import threading

import httpx
import pytest

from tests.system.house import JANE, House, until
from worker.client import Approvals
from worker.sandbox.server import running_sandbox

TOKEN = "only-for-this-test-4711"
ON = {"CONSOLE__BIND": "127.0.0.1:0", "CONSOLE__TOKENS": TOKEN}
TWO = [{"participants": [JANE]}, {"participants": [JANE]}]


@pytest.fixture(scope="module")
def upstream():
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(params=["servers", "up", "up on Redis"])
def house(request, tmp_path, upstream, namespace):
    """The processes on PostgreSQL and RabbitMQ; or all as one, on SQLite and the broker inside it, or on Redis."""
    if request.param == "servers":
        ledger, broker = request.getfixturevalue("postgres_url"), request.getfixturevalue("rabbitmq_url")
    else:
        ledger = f"sqlite:///{tmp_path}/ledger.db"
        broker = request.getfixturevalue("redis_url") if "Redis" in request.param else "memory://"
    with House(tmp_path, upstream.workiva_url, namespace=namespace, ledger=ledger, broker=broker, more=ON) as house:
        if request.param == "servers":
            house.open()
            house.start("console")
        else:
            house.run("console", [sys.executable, "-m", "worker", "up"]).ready("ready.", 60)
        yield house


@pytest.fixture
def console(house):
    [line] = house["console"].ready("console.started").said("console.started")
    [address] = line["addresses"]
    with httpx.Client(base_url=f"http://{address}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client


def command(key, task, **more):
    return {"key": key, "account": "finance", "task": task, "action": "approve", "step": 1, "comment": "nobody's business", **more}


def test_a_decision_over_http_takes_effect_and_ends_with_the_process(house, console, upstream):
    """The same JSON as `show --json`; a request in flight comes home when the process is asked to end; no secret, no comment in the log."""
    task = upstream.task(steps=TWO)["id"]
    made = console.post("/api/submissions", json=command("http/1", task))
    assert made.status_code == 202, made.text
    until(lambda: console.get(made.json()["url"]).json()["state"] == "applied", 60, "its effect")
    assert [(e["step"], e["user"]) for e in upstream.journal(task)] == [(1, JANE)]
    shown = json.loads(house.approvals("show", "http/1", "--json").stdout)
    assert console.get("/api/submissions/http/1").json() == shown

    assert house.approvals("health", "--live").returncode == 0
    other = upstream.task(steps=TWO[:1])["id"]
    upstream.fault("read", "slow", seconds=1.0, task=other)  # the steps are asked for
    seen = upstream.sandbox.stats.requests["workiva.read"]
    answers = []
    late = threading.Thread(target=lambda: answers.append(console.post("/api/submissions", json=command("late", other, step=None))))
    late.start()
    until(lambda: upstream.sandbox.stats.requests["workiva.read"] > seen, what="the request in flight")
    house["console"].send(signal.SIGTERM)
    late.join(20)
    assert [answer.status_code for answer in answers] == [202]
    # It is asked once: a second signal would end an interpreter that is taking itself down.
    until(lambda: not house["console"].running, 60, "its end")
    assert house["console"].stop() == 0
    log = house["console"].text()
    assert log.count('"console.request"') >= 4
    assert TOKEN not in log
    assert "nobody's business" not in log


@pytest.mark.parametrize("house", ["servers", "up on Redis"], indirect=True)
def test_the_client_submits_and_is_told_what_came_of_it(house, upstream):
    """By the broker, from another process than the worker's; a decision that is submitted twice takes effect once."""
    task = upstream.task(steps=TWO)["id"]
    with Approvals(house.broker, house.namespace) as approvals, approvals.events("*.finance.#", idle=60) as events:
        for key in ("client/1", "client/1"):
            approvals.submit(account="finance", task=task, action="approve", step=1, key=key, labels={"po": "4711"})
        told = {}
        for event in events:
            told[event["type"]] = event
            if {"step.completed", "submission.applied"} <= told.keys():
                break
    assert told["submission.applied"]["data"]["submission"]["labels"] == {"po": "4711"}
    assert told["step.completed"]["subject"] == task
    assert [(e["step"], e["user"]) for e in upstream.journal(task)] == [(1, JANE)]


def test_without_a_token_there_is_no_console(tmp_path):
    """`console` says what to do and ends; an address that is taken is told, too."""
    with House(tmp_path, "", namespace="t", ledger=f"sqlite:///{tmp_path}/l.db", broker="memory://") as house:
        done = house.approvals("console")
        assert (done.returncode, done.stdout) == (2, "")
        assert "console.tokens is empty" in done.stderr
        house.env |= {"APPROVALS_CONSOLE__TOKENS": "short"}
        done = house.approvals("console")
        assert done.returncode == 2
        assert "console.tokens: each must have at least 16 characters" in done.stderr
        assert "short" not in done.stderr.replace("shorter", "")
        with running_sandbox() as taken:
            house.env |= {f"APPROVALS_{name}": value for name, value in ON.items()}
            house.env["APPROVALS_CONSOLE__BIND"] = taken.url.removeprefix("http://")
            done = house.approvals("console")
            assert done.returncode == 1
            assert "cannot be had" in done.stderr
            assert "console.bind" in done.stderr
            up = house.run("up", [sys.executable, "-m", "worker", "up"])
            until(lambda: not up.running, 60, "its end")
            assert up.stop() == 1
            assert up.said("console.broken")
