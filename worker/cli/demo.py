"""`approvals demo`: the story that this program exists for, with real processes, in under a minute.

Three acts. First, a service user sits on both steps of a task; the approval of step 1 takes effect and its answer is lost. A Celery task
with `autoretry_for` approves step 2, which nobody reviewed; ours looks, finds its own response, and leaves step 2 alone until step 2 is
asked for. Then the worker is killed right after sending, and started again: one effect. At last both upstreams at once: a submittal of
Autodesk's is closed step by step through lost answers, by people whose tokens ended long ago, and then by its manager.
"""

import json
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.simulated import settle
from worker.sandbox.project import PROJECT
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.settings import load

SERVICE = "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY"
"""The service user of the seed's example: participant of both steps, so that a retry can reach the second one."""
COLLEAGUE = "V0ZVc2VyHzY0MTI5NzM0MzkxODg5OTI"
PATIENCE = 45.0
"""Seconds that anything in the demo may take before it is called a failure: more than a killed process's lanes of events stay its own."""

CONFIG = """
[ledger]
url = "sqlite:///{dir}/ledger.db"
[accounts.finance]
kind = "workiva"
base_url = "{url}"
request_deadline = "2s"
lease = "3s"
upstream_cutoff = "2s"
slack = "3s"
[accounts.finance.grants.jane]
client_id = "sandbox"
client_secret = "sandbox"
acts_as = "{user}"
[accounts.tower]
kind = "autodesk"
base_url = "{autodesk_url}"
project_id = "{project}"
request_deadline = "2s"
lease = "3s"
upstream_cutoff = "2s"
slack = "3s"
{people}
[log]
level = "error"
"""

PEOPLE = {"architect": "ARCHITECT", "engineer": "ENGINEER", "manager": "MANAGER"}
"""The grants of the tower, and who they act as. The last one manages the project."""


class Failed(Exception):
    """What did not happen, in words."""


class Worker:
    """The worker as a process: takes commands on its standard input, shows the events of its broker on its standard output."""

    def __init__(self, config: Path, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(  # noqa: S603  our own module, our own arguments
            [sys.executable, "-m", "worker.cli.stage", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait("the worker to start", lambda e: e.get("ready") is True)

    def _read(self) -> None:
        if self._process.stdout:
            for line in self._process.stdout:
                if line.startswith("{"):  # Celery says goodbye there, too
                    self.lines.put(json.loads(line))
        self.lines.put(None)

    def publish(self, **command: Any) -> None:
        """Publish a command to `approvals.commands`."""
        if self._process.stdin:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def wait(
        self, what: str, wanted: Callable[[Mapping[str, Any]], bool], seen: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Mapping[str, Any]:
        """The next event that is *wanted*; every event until then goes to *seen*."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                event = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failed(f"waited {PATIENCE:.0f} s for {what}") from None
            if event is None:
                raise Failed(f"the worker ended while waiting for {what}")
            if seen and "type" in event:
                seen(event)
            if wanted(event):
                return event

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9
        finally:
            self._log.close()


class Teller:
    """Prints the story, with the seconds since it began."""

    def __init__(self, console: Console) -> None:
        self._console, self._start = console, time.monotonic()

    def act(self, title: str) -> None:
        """A new act."""
        self._console.print()
        self._console.rule(title, align="left") if self._console.is_terminal else self._console.print(f"== {title}", markup=False)

    def say(self, text: str) -> None:
        """One line of it."""
        self._console.print(f"{time.monotonic() - self._start:5.1f}s  {text}", highlight=False, soft_wrap=True)

    def event(self, event: Mapping[str, Any]) -> None:
        """An event as it came from the exchange."""
        data, changes = event["data"], event["data"].get("changes", {})
        about = [
            f"step {data['step']}" if data.get("step") else "",
            str(data.get("outcome") or data.get("status") or ""),
            " to ".join(map(str, changes.get("status", ()))) or ", ".join(changes),
        ]
        self.say(f"        [cyan]event[/cyan] {event['source']:<16} {event['type']:<21} {', '.join(a for a in about if a)}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Both journals as one JSON document, and no story.")
def demo(as_json: bool) -> None:
    """The whole worker on its embedded default, faults injected, events out: about half a minute."""
    console = Console(quiet=as_json, width=None if sys.stdout.isatty() else 110)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="approvals-demo-") as directory, running_sandbox() as sandbox:
            result = play(console, sandbox, Path(directory))
    except Failed as exc:
        raise click.ClickException(f"the demo failed: {exc}") from exc
    if as_json:
        click.echo(json.dumps(result))
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. Next, with two terminals:\n")
    here = _typed()
    console.print(f"    {here} up --sandbox", highlight=False)
    console.print(f"    {here} --config var/sandbox.toml task list --account finance", highlight=False)
    console.print("\nThe README goes on from there.", highlight=False)


def _typed() -> str:
    """The command as it was typed, so that the next one can be typed the same way."""
    typed = sys.argv[0]
    return typed if Path(typed).name == "approvals" and Path(typed).exists() and shutil.which("approvals") is None else "approvals"


def play(console: Console, sandbox: RunningSandbox, directory: Path) -> dict[str, Any]:
    """All acts; returns the journals. Raises Failed where the story does not go as told."""
    tell = Teller(console)
    console.print("A simulated Workiva and Autodesk, a Celery task as everybody writes it, and this worker.", highlight=False)
    console.print("Times are short for the demo: deadline 2 s, lease 3 s, cut-off 2 s, slack 3 s.", highlight=False)
    console.print("So what an approval in doubt may still do is over after 8 s. With the defaults it is 79 s.", highlight=False)
    theirs, mine, third, other = (_task(sandbox) for _ in range(4))
    _usual(tell, sandbox, theirs)
    config, log = directory / "demo.toml", directory / "worker.log"
    people = "\n".join(
        f'[accounts.tower.grants.{name}]\nclient_id = "sandbox:{user}"\nclient_secret = "sandbox"\nacts_as = "{user}"'
        for name, user in PEOPLE.items()
    )
    at = {"url": sandbox.workiva_url, "autodesk_url": sandbox.autodesk_url, "project": PROJECT}
    config.write_text(CONFIG.format(dir=directory, user=SERVICE, people=people, **at), encoding="utf-8")
    with _worker(config, log) as worker:
        _ours(tell, sandbox, worker, mine)
    _killed(tell, sandbox, config, log, third)
    with _worker(config, log) as worker:
        _started_again(tell, sandbox, worker, third)
        settle(load(config, {}), sandbox, ended=True)
        item = _both(tell, sandbox, worker, other)
    return _journals(console, sandbox, {"usual": theirs, "ours": mine, "killed": third, "submittal": item})


@contextmanager
def _worker(config: Path, log: Path) -> Iterator[Worker]:
    worker = Worker(config, log)
    try:
        yield worker
    finally:
        worker.stop()


def _task(sandbox: RunningSandbox) -> str:
    steps = [{"participants": [COLLEAGUE, SERVICE], "mode": "ONE"}, {"participants": [SERVICE], "mode": "ONE"}]
    made = sandbox.task(title="Review Document", description="Review document for spelling and grammar", steps=steps)
    return str(made["id"])


def _usual(tell: Teller, sandbox: RunningSandbox, task: str) -> None:
    tell.act("Act 1a: a Celery task with autoretry_for")
    tell.say("The service user sits on both steps. It is told to approve [bold]step 1[/bold]. The answer will be lost after the effect.")
    sandbox.fault("act", "reset", when="after", task=task)
    command = [sys.executable, "-m", "worker.cli.usual", sandbox.workiva_url, task, "step 1 is fine"]
    try:
        done = subprocess.run(  # noqa: S603  as above
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed("the Celery task did not end") from None
    tries = json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else []
    steps = [e["step"] for e in sandbox.journal(task)]
    if steps != [1, 2]:
        raise Failed(
            f"the Celery task was expected to approve steps 1 and 2, the journal says {steps}; it said {tries} {done.stderr[-300:]}"
        )
    tell.say(f"It tried: {', then '.join(tries)}. It believes that all is well.")
    tell.say("[red]The upstream's journal: step 1 approved, step 2 approved. Nobody reviewed step 2.[/red]")


def _ours(tell: Teller, sandbox: RunningSandbox, worker: Worker, task: str) -> None:
    tell.act("Act 1b: the same task, the same lost answer, this worker")
    sandbox.fault("act", "reset", when="after", task=task)
    tell.say("A command for step 1 is published to the queue approvals.commands.")
    worker.publish(key="demo/1", account="finance", task=task, action="approve", step=1, comment="step 1 is fine")
    worker.wait("step 1 to be applied", _is("submission.applied"), tell.event)
    if (steps := [e["step"] for e in sandbox.journal(task)]) != [1]:
        raise Failed(f"one effect on step 1 was expected, the journal says {steps}")
    tell.say("[green]It looked, found its own response by its mark, and sent nothing again. Step 2 is untouched.[/green]")
    tell.say("Now step 2's own command comes, from somebody who has reviewed it.")
    worker.publish(key="demo/2", account="finance", task=task, action="approve", step=2, comment="step 2 is fine, too")
    worker.wait("step 2 to be applied", _is("submission.applied"), tell.event)


def _killed(tell: Teller, sandbox: RunningSandbox, config: Path, log: Path, task: str) -> None:
    tell.act("Act 2: the worker is killed right after sending")
    sandbox.fault("act", "stall", when="after", task=task, seconds=30)
    worker = Worker(config, log)
    worker.publish(key="demo/3", account="finance", task=task, action="approve", step=1, comment="killed, but once")
    worker.wait("its acceptance to be told", _is("submission.accepted"))
    threading.Event().wait(0.5)  # its lane of events is free again: killed before that, the story would wait for the lane's lease
    end = time.monotonic() + PATIENCE
    while not sandbox.journal(task):
        if time.monotonic() > end:
            worker.kill()
            raise Failed("nothing was sent before the kill")
        threading.Event().wait(0.01)
    worker.kill()
    tell.say("The request is out, its effect has taken place, no answer has come: [bold]kill -9[/bold].")


def _started_again(tell: Teller, sandbox: RunningSandbox, worker: Worker, task: str) -> None:
    tell.say("Started again. Nothing but the ledger knows what was under way.")
    worker.wait("the killed one to be applied", _is("submission.applied"), tell.event)
    if (steps := [e["step"] for e in sandbox.journal(task)]) != [1]:
        raise Failed(f"one effect on step 1 was expected, the journal says {steps}")
    tell.say("[green]One effect. The new process waited for the lease to end, looked, and found it.[/green]")


def _both(tell: Teller, sandbox: RunningSandbox, worker: Worker, task: str) -> str:
    tell.act("Act 3: two upstreams, one stream")
    steps = [[PEOPLE["architect"]], [PEOPLE["engineer"]]]
    item = sandbox.item(title="Curtain wall, shop drawings", steps=steps, manager=PEOPLE["manager"])
    id_, (first, second) = str(item["id"]), item["tasks"]
    sandbox.fault("act", "reset", when="after", task=id_, times=2)
    tell.say("A submittal of Autodesk's has two review steps. Its people consented weeks ago: their access tokens have ended.")
    tell.say("Both answers will be lost. Beside it, a task of Workiva's; and all three decisions are published at once.")
    worker.publish(key="demo/4", account="tower", **{"as": "architect"}, task=first, action="close", response="Approved")
    worker.publish(
        key="demo/5", account="tower", **{"as": "engineer"}, task=second, action="close", response="Approved as noted", wait_for_turn=True
    )
    worker.publish(key="demo/6", account="finance", task=task, action="approve", step=1, comment="meanwhile")
    worker.wait("all three to be applied", _applied("demo/4", "demo/5", "demo/6"), tell.event)
    tell.say("[green]Each renewed its token once, each was found by its mark, and the item went on to its manager by itself.[/green]")
    worker.publish(
        key="demo/7", account="tower", **{"as": "manager"}, task=id_, action="transition", state="sbc-2", response="Approved as noted"
    )
    worker.wait("the submittal to be closed", _is("task.completed"), tell.event)
    did = [e["action"] for e in sandbox.journal(id_)]
    if did != ["close", "close", "move", "transition mgr-2::sbc-2"]:
        raise Failed(f"two closes, the system's move and the manager's own were expected, the journal says {did}")
    renewed = {g["user"]: g["renewed"] for g in sandbox.control("GET", "/autodesk/grants")}
    if renewed != dict.fromkeys(PEOPLE.values(), 1):
        raise Failed(f"one renewal for each of the three was expected, it was {renewed}")
    return id_


def _applied(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    missing = set(keys)

    def wanted(event: Mapping[str, Any]) -> bool:
        if event.get("type") == "submission.applied":
            missing.discard(event["data"]["submission"]["key"])
        return not missing

    return wanted


def _is(type_: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda event: event.get("type") == type_


def _journals(console: Console, sandbox: RunningSandbox, tasks: Mapping[str, str]) -> dict[str, Any]:
    journals: dict[str, Sequence[Mapping[str, Any]]] = {name: sandbox.journal(task) for name, task in tasks.items()}
    table = Table(title="The upstream's journals: what took effect", title_justify="left", expand=False)
    titles = {"usual": "autoretry_for", "ours": "this worker", "killed": "this worker, killed", "submittal": "the submittal"}
    for name in tasks:
        table.add_column(titles[name])
    for row in range(max(len(j) for j in journals.values())):
        cells = []
        for journal in journals.values():
            entry = journal[row] if row < len(journal) else None
            where = f" step {entry['step']}" if entry and entry["step"] else ""
            cells.append(f"{entry['action']}{where}\n{entry['comment'] or ''}".replace("[", r"\[") if entry else "")
        table.add_row(*cells)
    console.print()
    console.print(table)
    return journals
