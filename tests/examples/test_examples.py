"""The examples do what they are there to show, with real Django and FastAPI, on a real broker and a real worker."""

import json
import subprocess
import sys

import httpx
import pytest

from tests.system.house import JANE, ROOT, House, until
from worker.sandbox.server import running_sandbox

EXAMPLES = ROOT / "docs" / "examples"
TOKEN = "only-for-this-example-1"
TWO = [{"participants": [JANE]}, {"participants": [JANE]}]


@pytest.fixture(scope="module")
def upstream():
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def house(tmp_path, upstream, namespace, rabbitmq_url):
    """Everything of the worker in one process, on RabbitMQ, with the console."""
    more = {"CONSOLE__BIND": "127.0.0.1:0", "CONSOLE__TOKENS": TOKEN}
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with House(tmp_path, upstream.workiva_url, namespace=namespace, ledger=ledger, broker=rabbitmq_url, more=more) as house:
        house.run("up", [sys.executable, "-m", "worker", "up"]).ready("ready.", 60).ready("console.started")
        yield house


@pytest.fixture
def program(tmp_path, house):
    """Run a program in the folder of an example, with where its broker is."""
    [line] = house["up"].said("console.started")
    env = {
        **{name: value for name, value in house.env.items() if not name.startswith("APPROVALS_")},
        "PYTHONPATH": str(ROOT),
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "SHOP_NAMESPACE": house.namespace,
        "SHOP_CONSOLE": f"http://{line['addresses'][0]}",
        "SHOP_TOKEN": TOKEN,
    }

    def run(example, *arguments, broker=house.broker):
        command = [sys.executable, *arguments]
        there = {**env, "SHOP_BROKER": broker}
        done = subprocess.run(command, cwd=EXAMPLES / example, env=there, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


DECIDE = """
import sys
from django.test import Client
from django.db import transaction
answer = Client().post("/orders/4711/approve", {"task": TASK, "step": 1, "comment": "within budget"})
print(answer.status_code, answer.json()["submitted"])
"""
ROLLED_BACK = """
from django.db import transaction
from shop.approvals import decide
try:
    with transaction.atomic():
        decide("4712", TASK, 2, "")
        raise KeyError
except KeyError:
    print("rolled back")
"""
SHOWN = "from shop.models import Decision; print([str(d) for d in Decision.objects.all()])"


def test_django_submits_after_the_commit_and_takes_each_event_in_once(house, program, upstream):
    """A decision outlives a broker that is away; what is rolled back is never submitted; a double changes nothing."""
    task = upstream.task(steps=TWO)["id"]

    def manage(*arguments, **more):
        return program("django", "manage.py", *arguments, **more)

    def shell(code, **more):
        return manage("shell", "--verbosity", "0", "-c", f"TASK = {task!r}\n{code}", **more).strip().splitlines()[-1]

    manage("migrate", "--run-syncdb", "--verbosity", "0")
    manage("listen", "--idle", "0.1")  # makes the queue
    assert shell(DECIDE, broker="amqp://127.0.0.1:1//") == "202 False"
    assert shell(ROLLED_BACK) == "rolled back"
    assert manage("submit_decisions").strip() == "1 of 1 submitted"
    assert manage("submit_decisions").strip() == "0 of 0 submitted"
    assert shell(DECIDE) == "202 True"
    house.ends("order-4711/1", "applied")
    until(lambda: all(state != "due" for _, state, _ in house.ledger.queries.deliveries()), what="the events to be out")
    told = manage("listen", "--idle", "2").splitlines()
    assert sorted(told) == ["step.completed handled", "submission.accepted handled", "submission.applied handled"]
    assert shell(SHOWN) == "['order-4711/1 applied']"
    assert house.approvals("sink", "replay", "exchange", "--since", "1h").returncode == 0
    again = manage("listen", "--idle", "5").splitlines()
    assert set(again) == {
        "step.completed was handled before",
        "submission.accepted was handled before",
        "submission.applied was handled before",
    }
    assert [(e["step"], e["comment"].startswith("within budget")) for e in upstream.journal(task)] == [(1, True)]


FASTAPI = """
import json, sys, time
from fastapi.testclient import TestClient
from app import app
tasks = json.loads(sys.argv[1])
with TestClient(app) as client:
    out = [client.post(f"/orders/{order}/{how}", json={"task": task, "step": 1}).status_code
           for order, task, how in (("1", tasks[0], "approve"), ("2", tasks[1], "approve-over-http")) for _ in range(2)]
    out.append(client.post("/orders/2/approve-over-http", json={"task": "other", "step": 1}).status_code)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        states = [client.get(f"/orders/{order}/1") for order in "12"]
        if all(s.is_success and s.json()["state"] == "applied" for s in states):
            break
        time.sleep(0.05)
    print(json.dumps([out, [s.json() for s in states]]))
"""


def test_fastapi_submits_by_the_broker_and_over_http(house, program, upstream):
    """Each decision sent twice, one effect each; another content under the same key is told; the listener knows what came of them."""
    tasks = [upstream.task(steps=TWO)["id"] for _ in range(2)]
    statuses, states = json.loads(program("fastapi", "-c", FASTAPI, json.dumps(tasks)).splitlines()[-1])
    assert statuses == [202, 202, 202, 202, 409]
    assert [state["state"] for state in states] == ["applied", "applied"]
    assert [[e["step"] for e in upstream.journal(task)] for task in tasks] == [[1], [1]]
    assert httpx.get(f"{upstream.url}/_control/stats").json()["requests"]["workiva.act"] >= 2
