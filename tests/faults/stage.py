"""What the fault runs play on: the upstream's process, the processes of the house, and what kills them."""

import asyncio
import json
import os
import random
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests import servers
from tests.system.house import ROOT, House, Process, until
from worker.sandbox.control import Sandbox
from worker.sandbox.exchange import Request
from worker.sandbox.faults import Delivery, Faulty, Script
from worker.sandbox.server import new_event_loop, serve

UPSTREAM_CUT = 1.8
"""Seconds after which the simulated upstream answers 504: before our deadline, so that we hear it."""


class Door(Faulty):
    """Writes behind the comment of each decision which attempt this is, and when its task was read last: `key [mark] #2@1790000000.123`.

    What is answered 401 or 429 did not count: it is proven to be without effect, so that the next one is a first attempt again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._attempts: Counter[str] = Counter()
        self._read: dict[str, float] = {}

    def __call__(self, request: Request) -> Delivery:
        route, task = self.upstream.route(request), (self.upstream.task_of(request) or "").partition("/")[0]
        if route == "read":
            self._read[task] = self.upstream.now()
        if route != "act":
            return super().__call__(request)
        comment = ""
        with suppress(ValueError, AttributeError):
            body = json.loads(request.body)
            name = "responseComment" if "responseComment" in body else "comment"
            comment = body.get(name) or ""
            body[name] = f"{comment} #{self._attempts[comment] + 1}@{self._read.get(task, 0.0):.3f}"
            request = replace(request, body=json.dumps(body).encode())
        delivery = super().__call__(request)
        if delivery.how != "answer" or delivery.response is None or delivery.response.status not in {401, 429}:
            self._attempts[comment] += 1
        return delivery


def upstream(seed: int, file: Path) -> None:
    """Serve until killed; the address goes to *file*."""
    sandbox = Sandbox(script=Script(random.Random(seed)))
    for each in (sandbox.workiva, sandbox.autodesk):
        sandbox.upstreams[each.prefix] = Door(each, sandbox.script, cutoff=UPSTREAM_CUT)

    def ready(url: str) -> None:
        file.with_suffix(".new").write_text(url)
        file.with_suffix(".new").rename(file)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(port=0, sandbox=sandbox, latency=0.02, ready=ready))


BROKERS = {"rabbitmq": servers.private_rabbitmq, "redis": servers.private_redis}


class Upstream:
    """The control API of the upstream's process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/_control{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


class Chaos:
    """Kills one of *whom* every few seconds and restarts the broker after five and then every twenty, whatever they are doing. *boot*:
    seconds that a start takes here: where it is slow, those who are killed need longer between, or nothing is ever at work.

    Redis is killed every other time: it has written down what it confirmed. A RabbitMQ is asked to end.
    """

    def __init__(self, house: House, dice: random.Random, broker: Any, boot: float, whom: Sequence[str]) -> None:
        self._house, self._dice, self._broker, self._whom = house, dice, broker, whom
        self._slow = max(1.0, boot / 3.0)
        self.kills: Counter[str] = Counter()
        self.restarts = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._kill, daemon=True)]
        if broker is not None:
            self._threads.append(threading.Thread(target=self._restart, daemon=True))
        for thread in self._threads:
            thread.start()

    def _kill(self) -> None:
        while not self._over.wait(self._dice.uniform(4, 7) * self._slow):
            name = self._dice.choice(self._whom)
            self._house[name].kill()
            self.kills[name] += 1
            start(self._house, name)

    def _restart(self) -> None:
        while not self._over.wait((20 if self.restarts else 5) * self._slow):
            if isinstance(self._broker, servers.PrivateRedis) and self.restarts % 2:
                self._broker.kill()
                self._broker.start()
            else:
                self._broker.restart()
            self.restarts += 1

    def close(self) -> None:
        """No more. Whatever is being restarted is up when this returns."""
        self._over.set()
        for thread in self._threads:
            thread.join(90)


def start(house: House, name: str) -> None:
    """Start a process of the run by its name."""
    if name == "up":
        house.run(name, [sys.executable, "-c", "from worker.settings import load; from worker.up import up; raise SystemExit(up(load()))"])
    else:
        house.start(name.rstrip("12"), name)


@contextmanager
def running_upstream(folder: Path, seed: int) -> Iterator[Upstream]:
    """The upstream's process."""
    file = folder / "upstream.url"
    command = [sys.executable, "-m", "tests.faults", "--serve", str(file), "--seed", str(seed)]
    process = Process("upstream", command, folder, {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        until(file.exists, 30, "the upstream")
        yield Upstream(file.read_text())
    finally:
        process.kill()
