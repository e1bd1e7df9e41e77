"""The real processes of a scenario: the lines of the Procfile, each in a process of its own, with settings by environment only.

They run in an empty folder, so that no settings file of a desk is read. Their logs are JSON lines there. Commands come from a program
that knows nothing but kombu and JSON, and events go to one that knows no more.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tests.catalogue.judge import hold
from worker.ledger import Ledger

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
JANE, BOB = "jane", "bob"
DEADLINE, LEASE, CUTOFF, SLACK = 2.0, 3.0, 2.0, 3.0
QUIET = LEASE + CUTOFF + SLACK
"""Seconds after which nothing that was sent can take effect any more."""
TIMES = {
    "REQUEST_DEADLINE": f"{DEADLINE:g}s",
    "LEASE": f"{LEASE:g}s",
    "UPSTREAM_CUTOFF": f"{CUTOFF:g}s",
    "SLACK": f"{SLACK:g}s",
}
"""The same for every account of a house."""
PATIENCE = 90.0
"""Seconds after which a test gives up. It says nothing of how fast anything is: beside others a process takes ten seconds to start."""
LOST = (OSError, AMQPError, OperationalError, RedisError)


def until(condition: Callable[[], T], seconds: float = PATIENCE, what: str = "") -> T:
    """What *condition* gives as soon as it is true; fails after *seconds*. The only place where a system test waits."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.02)
    return found


def procfile() -> dict[str, list[str]]:
    """The Procfile's lines, each with the interpreter that runs the tests."""
    python = [sys.executable]
    ours = {"exec": [], "celery": [*python, "-m", "celery"], "python": python, "approvals": [*python, "-m", "worker"]}
    lines = [line.split(":", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line and line[0] != "#"]
    return {
        name: [w for i, word in enumerate(shlex.split(line)) for w in (ours.get(word, [word]) if i < 2 else [word])] for name, line in lines
    }


class Process:
    """One process, with what it said."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name, self._log = name, folder / f"{name}.log"
        self._begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        """What it wrote since it began."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode(errors="replace")

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that name."""
        found = []
        for line in self.text().splitlines():
            if event in line:
                with suppress(ValueError):
                    found.append(json.loads(line))
        return [line for line in found if event in str(line.get("event"))]

    def about(self, subject: str) -> list[str]:
        """The types of the events of a task, where it writes events as lines."""
        found = []
        for line in self.text().splitlines():
            if subject in line:
                with suppress(ValueError):
                    found.append(json.loads(line))
        return [event["type"] for event in found if event.get("subject") == subject]

    def ready(self, event: str, seconds: float = PATIENCE) -> "Process":
        """Wait until it says *event*."""

        def said() -> bool:
            assert self.running, f"{self.name} ended:\n{self.text()[-3000:]}"
            return bool(self.said(event))

        until(said, seconds, f"{self.name} to say {event!r}:\n{self.text()[-3000:]}")
        return self

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.running:
            self.send(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, within: float = 15.0) -> int:
        """Ask it to end; its exit status."""
        if self.running:
            self.send(signal.SIGTERM)
        return self._process.wait(within)


class House:
    """The processes of one scenario. Leaving it ends them all. *more*: settings besides; without an *upstream* there is no account yet."""

    def __init__(
        self, folder: Path, upstream: str, *, namespace: str, ledger: str, broker: str, more: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.namespace, self.broker, self.ledger_url = folder, namespace, broker, ledger
        account = {
            "KIND": "workiva",
            "BASE_URL": upstream,
            **TIMES,
            "GRANTS__JANE__CLIENT_ID": f"sandbox:{JANE}",
            "GRANTS__JANE__CLIENT_SECRET": "sandbox",
            "GRANTS__JANE__ACTS_AS": JANE,
        }
        ours = {
            "NAMESPACE": namespace,
            "LEDGER__URL": ledger,
            "BROKER__URL": broker,
            **({f"ACCOUNTS__FINANCE__{key}": value for key, value in account.items()} if upstream else {}),
            **(more or {}),
        }
        plain = {key: value for key, value in os.environ.items() if not key.startswith("APPROVALS_")}
        self.env = {
            **plain,
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(self.folder),
            **{f"APPROVALS_{key}": value for key, value in ours.items()},
        }
        self.processes: dict[str, Process] = {}
        self._ledger: Ledger | None = None

    def __enter__(self) -> Self:
        if not self.ledger_url.startswith("sqlite"):
            self.ledger.migrate()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        for process in self.processes.values():
            process.kill()
        if self._ledger:
            if kind is None:
                hold(self._ledger)
            self._ledger.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger, as any other process may open it."""
        if self._ledger is None:
            self._ledger = Ledger(self.ledger_url, sinks=("exchange",))
        return self._ledger

    def start(self, line: str, name: str = "") -> Process:
        """A line of the Procfile as a process."""
        return self.run(name or line, procfile()[line])

    def run(self, name: str, command: Sequence[str]) -> Process:
        """Any command with the settings of this house."""
        process = self.processes[name] = Process(name, command, self.folder, self.env)
        return process

    def approvals(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, with the settings of this house, to its end."""
        command = [sys.executable, "-m", "worker", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120)

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def open(self) -> Self:
        """Worker, beat and intake run, and nobody else: whoever ended since is started again."""
        usual = ("worker", "intake", "beat")
        for name, process in list(self.processes.items()):
            if name not in usual:
                process.kill()
        for name in usual:
            if name not in self.processes or not self[name].running:
                self.start(name)
        self["worker"].ready("ready.")
        self["intake"].ready("intake.started")
        until(lambda: queue_there(self.broker, f"{self.namespace}.commands"), what="the queue of the commands")
        return self

    def publish(self, *commands: Mapping[str, Any]) -> None:
        """Publish plain JSON, as any program may."""
        publish(self.broker, self.namespace, [json.dumps(command) for command in commands])

    def state(self, key: str) -> str:
        """The state of a submission, "" where there is none."""
        found = self.ledger.queries.find(key)
        return found[0].state if found else ""

    def reason(self, key: str) -> str:
        """Why it is as it is."""
        found = self.ledger.queries.find(key)
        return (found[0].reason or "") if found else ""

    def ends(self, key: str, state: str, seconds: float = PATIENCE) -> None:
        """Wait until the submission is in *state*."""

        def there() -> bool:
            now = self.state(key)
            assert now == state or now in {"", "pending", "waiting", "in_doubt"}, f"{key} is {now}: {self.reason(key)}"
            return now == state

        until(there, seconds, f"{key} to be {state}")


def approve(key: str, task: str, step: int | None = 1, **more: Any) -> dict[str, Any]:
    """The command of a plain JSON producer."""
    return {"key": key, "account": "finance", "task": task, "action": "approve", "step": step, **more}


def publish(
    url: str,
    namespace: str,
    bodies: Sequence[str | bytes],
    content_type: str = "application/json",
    *,
    queue: str = "commands",
    headers: Mapping[str, Any] | None = None,
) -> None:
    """Publish to a queue of the house, confirmed. Raises one of LOST."""
    with Connection(url, transport_options={"confirm_publish": True}, connect_timeout=5) as connection, connection.Producer() as producer:
        for body in bodies:
            producer.publish(
                body,
                exchange="",
                routing_key=f"{namespace}.{queue}",
                content_type=content_type,
                content_encoding="utf-8",
                delivery_mode=2,
                headers=headers,
            )


def queue_there(url: str, queue: str) -> bool:
    """Whether there is such a queue. In Redis there always is."""
    if url.startswith("redis"):
        return True
    with suppress(*LOST), Connection(url, connect_timeout=5) as connection:
        connection.default_channel.queue_declare(queue, passive=True)
        return True
    return False


def messages(url: str, queue: str) -> list[tuple[Mapping[str, Any], bytes]]:
    """What lies in a queue: (headers, body). They are put back."""
    found = []
    with Connection(url) as connection:
        while message := connection.default_channel.basic_get(queue):
            body = message.body
            found.append((message.headers or {}, body.encode() if isinstance(body, str) else bytes(body)))
    return found


class Listener:
    """Somebody who is told: a durable queue bound with `#`, read by a thread that connects again as often as it takes."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url, self._over = url, threading.Event()
        # As docs/events.md has it: with a frozen Redis a client without these waits for ever.
        self._options = {"socket_timeout": 5, "socket_connect_timeout": 2} if url.startswith("redis") else {}
        exchange = Exchange(f"{namespace}.events", type="topic", durable=True)
        self._queue = Queue(f"{namespace}.listener", exchange, routing_key="#", durable=True)
        self.events: list[dict[str, Any]] = []
        self.bound = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            with (
                suppress(*LOST),
                Connection(self._url, connect_timeout=2, transport_options=self._options) as connection,
                connection.Consumer(self._queue, on_message=self._on),
            ):
                self.bound.set()
                while not self._over.is_set():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.2)
            self._over.wait(0.2)

    def _on(self, message: Any) -> None:
        self.events.append(json.loads(message.body))
        message.ack()

    def about(self, subject: str) -> list[str]:
        """The types of the events of a task, in the order they came; repeats (C3) left out."""
        seen: dict[str, str] = {e["id"]: e["type"] for e in list(self.events) if e.get("subject") == subject}
        return list(seen.values())

    def of(self, type_: str) -> list[dict[str, Any]]:
        """The events of a type, each once."""
        return list({e["id"]: e for e in list(self.events) if e["type"] == type_}.values())

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)


@contextmanager
def listening(url: str, namespace: str) -> Iterator[Listener]:
    """A listener whose queue is there already."""
    listener = Listener(url, namespace)
    try:
        assert listener.bound.wait(20), "the listener's queue"
        yield listener
    finally:
        listener.close()
