"""What both sides of the comparison stand on: a sandbox in a process of its own, workers in theirs, and the CPU that each has used.

Nobody reads the events while the clock runs: they lie in a queue, and the broker is asked how many there are. Afterwards they are read and
compared with the sandbox's journal: a figure without its effects is none.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from kombu import Connection

from tests.benchmarks import plain
from worker.broker import Fate, Outgoing, Publisher
from worker.ledger import Ledger

ROOT = Path(__file__).parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0
"""Seconds for one round: whoever is slower than this is stuck."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one side. CPU in seconds, without what a process used to start."""

    jobs: int
    seconds: float
    workers_cpu: float
    others_cpu: float
    sandbox_cpu: float
    machine_cpu: float
    events: int
    doubles: int

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds


class Process:
    """One process, its output in a file."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        if self._process.poll() is not None:
            raise SystemExit(f"{self.name} ended by itself:\n{self.text()[-3000:]}")

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def cpu(self) -> float:
        """Seconds of CPU so far, in user and kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


@contextmanager
def running(processes: Sequence[Process]) -> Iterator[Sequence[Process]]:
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()


def until(condition: Callable[[], bool], processes: Sequence[Process], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        for process in processes:
            process.check()
        if time.monotonic() > end:
            last = "\n".join(f"--- {p.name}\n{p.text()[-1500:]}" for p in processes)
            raise SystemExit(f"not within {seconds:g} s: {what}\n{last}")
        time.sleep(0.02)


def environment(**more: str) -> dict[str, str]:
    rest = {key: value for key, value in os.environ.items() if not key.startswith(("APPROVALS_", "PLAIN_"))}
    return {**rest, "PYTHONPATH": str(ROOT), **more}


def machine_cpu() -> float:
    """Seconds of CPU that anybody on this machine has used."""
    fields = [int(f) for f in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS


class Upstream:
    """The sandbox as the benchmark uses it."""

    def __init__(self, folder: Path, latency: float) -> None:
        command = [sys.executable, "-m", "worker", "sandbox", "--port", "0", "--latency", f"{latency * 1000:g}"]
        self.process = Process("sandbox", command, folder, environment(PYTHONUNBUFFERED="1"))
        until(lambda: "http://" in self.process.text(), [self.process], "the sandbox to listen")
        self.url = self.process.text().split()[0]
        self._client = httpx.Client(base_url=f"{self.url}/_control", timeout=30)

    def tasks(self, count: int) -> list[str]:
        """So many fresh tasks of two steps, and nothing else."""
        self._client.post("/reset").raise_for_status()
        steps = [{"participants": ["jane", "bob"], "mode": "ONE"}, {"participants": ["bob"], "mode": "ONE"}]
        return [self._client.post("/tasks", json={"title": f"Invoice {n}", "steps": steps}).json()["id"] for n in range(count)]

    def effects(self) -> Counter[str]:
        return Counter(entry["task"] for entry in self._client.get("/journal").raise_for_status().json())


class Told:
    """The events in the broker: those of `step.completed` in one queue, all of them in another."""

    def __init__(self, url: str, name: str, exchange: str) -> None:
        self._connection = Connection(url)
        self._channel = channel = self._connection.channel()
        self._completed, self._all = f"{name}.completed", f"{name}.all"
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        for queue, pattern in ((self._completed, "#.step.completed"), (self._all, "#")):
            channel.queue_declare(queue, durable=True, auto_delete=False)
            channel.queue_bind(queue, exchange, pattern)

    def count(self) -> int:
        return int(self._channel.queue_declare(self._completed, passive=True).message_count)

    def all(self) -> int:
        return int(self._channel.queue_declare(self._all, passive=True).message_count)

    def consumers(self, queue: str) -> int:
        """How many consume from *queue*, 0 where it is not there yet."""
        try:
            with self._connection.channel() as channel:
                return int(channel.queue_declare(queue, passive=True).consumer_count)
        except self._connection.channel_errors:
            return 0

    def subjects(self) -> set[str]:
        """The tasks that were told of, each once."""
        found = set()
        while message := self._channel.basic_get(self._completed, no_ack=True):
            found.add(json.loads(message.body)["subject"])
        return found

    def close(self) -> None:
        for queue in (self._completed, self._all):
            self._channel.queue_delete(queue)
        self._connection.close()


@dataclass(slots=True)
class Side:
    """One way to do the job, made ready: `start` lets the jobs in, `settled` says when nothing is left to be told."""

    workers: list[Process]
    others: list[Process]
    told: Told
    start: Callable[[], None]
    settled: Callable[[], bool]


def timed(side: Side, upstream: Upstream, tasks: Sequence[str]) -> Round:
    """One round, from the first command published to the last completed step in the queue of a receiver."""
    everybody = [*side.workers, *side.others, upstream.process]

    def used() -> tuple[float, float, float, float]:
        return sum(p.cpu() for p in side.workers), sum(p.cpu() for p in side.others), upstream.process.cpu(), machine_cpu()

    before, began = used(), time.monotonic()
    side.start()
    until(lambda: side.told.count() >= len(tasks), everybody, f"{len(tasks)} completed steps to be told")
    seconds, machine = time.monotonic() - began, machine_cpu() - before[3]
    until(side.settled, everybody, "the rest to be told")
    workers, others, sandbox, _ = (b - a for a, b in zip(before, used(), strict=True))
    events, effects, subjects = side.told.all(), upstream.effects(), side.told.subjects()
    if subjects != set(tasks) or set(effects) != set(tasks):
        raise SystemExit(f"{len(tasks)} tasks, but {len(effects)} with an effect and {len(subjects)} told")
    return Round(len(tasks), seconds, workers, others, sandbox, machine, events, sum(effects.values()) - len(effects))


def ours(
    folder: Path, upstream: Upstream, tasks: Sequence[str], ledger: str, broker: str, name: str, workers: int, *, events: str
) -> Iterator[Side]:
    """The processes of the Procfile, with so many workers, and these events let out."""
    account = {
        "KIND": "workiva",
        "BASE_URL": f"{upstream.url}/workiva",
        "GRANTS__JANE__CLIENT_ID": "sandbox:jane",
        "GRANTS__JANE__CLIENT_SECRET": "sandbox",
        "GRANTS__JANE__ACTS_AS": "jane",
    }
    settings = {
        "NAMESPACE": name,
        "LEDGER__URL": ledger,
        "BROKER__URL": broker,
        "SINKS__EXCHANGE__EVENTS": events,
        **{f"ACCOUNTS__FINANCE__{k}": v for k, v in account.items()},
    }
    env = environment(**{f"APPROVALS_{k}": v for k, v in settings.items()})
    book = Ledger(ledger, sinks=("exchange",))
    book.migrate()
    told = Told(broker, name, f"{name}.events")
    at_work = [Process(f"worker-{n}", procfile()["worker"], folder, env) for n in range(workers)]
    others = [Process(line, procfile()[line], folder, env) for line in ("intake", "beat")]
    with running([*at_work, *others]) as everybody:
        until(lambda: told.consumers(f"{name}.rings") >= workers, everybody, "the workers to listen")
        until(lambda: told.consumers(f"{name}.commands") >= 1, everybody, "the intake to listen")
        commands = [
            {"key": f"{name}/{n}", "account": "finance", "as": "jane", "task": task, "action": "approve", "step": 1}
            for n, task in enumerate(tasks)
        ]
        batch = [Outgoing(f"{name}.commands", json.dumps(c).encode(), properties={"content_type": "application/json"}) for c in commands]
        yield Side(at_work, others, told, lambda: publish(broker, batch), lambda: not any(state == "due" for _, state in _deliveries(book)))
    told.close()
    book.close()


def _deliveries(book: Ledger) -> list[tuple[Any, ...]]:
    with book.database.read() as c:
        return [tuple(r) for r in c.execute(sa.text("SELECT DISTINCT sink, state FROM deliveries"))]


def theirs(
    folder: Path, upstream: Upstream, tasks: Sequence[str], ledger: str, broker: str, name: str, workers: int, *, pool: str
) -> Iterator[Side]:
    """So many plain Celery workers, with this pool."""
    env = environment(PLAIN_BROKER=broker, PLAIN_LEDGER=ledger, PLAIN_UPSTREAM=f"{upstream.url}/workiva")
    rows = [{"id": f"{name}/{n}", "task": task, "state": "new"} for n, task in enumerate(tasks)]
    engine = sa.create_engine(ledger)
    with engine.begin() as connection:
        plain.metadata.create_all(connection)
        connection.execute(sa.insert(plain.jobs), rows)
    engine.dispose()
    told = Told(broker, name, plain.EXCHANGE)
    command = [sys.executable, "-m", "celery", "-A", "tests.benchmarks.plain:app", "worker", "--loglevel", "WARNING"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-P", pool, "-c", str(plain.POOLS[pool])]
    at_work = [Process(f"plain-{n}", [*command, "-n", f"{name}-{n}"], folder, env) for n in range(workers)]
    with running(at_work):
        until(lambda: told.consumers(plain.QUEUE) >= workers, at_work, "the plain workers to listen")
        batch = [_message(row["id"], row["task"]) for row in rows]
        yield Side(at_work, [], told, lambda: publish(broker, batch), lambda: told.consumers(plain.QUEUE) >= 0)
    told.close()


def _message(job: str, task: str) -> Outgoing:
    made = plain.app.amqp.as_task_v2(str(uuid.uuid4()), "plain.approve", (job, task), {}, ignore_result=True)
    properties = {"content_type": "application/json", "content_encoding": "utf-8", "correlation_id": made.properties["correlation_id"]}
    return Outgoing(plain.QUEUE, json.dumps(made.body).encode(), headers=made.headers, properties=properties)


def publish(broker: str, batch: Sequence[Outgoing]) -> None:
    publisher = Publisher(broker, deadline=30)
    fates = publisher.publish(batch)
    publisher.close()
    if any(fate is not Fate.CONFIRMED for fate in fates):
        raise SystemExit(f"the broker did not take the commands: {publisher.trouble}")


def procfile() -> dict[str, list[str]]:
    """The Procfile's lines, each with the interpreter that runs this."""
    ours_ = {"celery": [sys.executable, "-m", "celery"], "python": [sys.executable]}
    out = {}
    for line in (ROOT / "Procfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, command = line.partition(":")
            first, *rest = shlex.split(command.replace("exec ", "", 1))
            out[name] = [*ours_.get(first, [first]), *rest]
    return out
