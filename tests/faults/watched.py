"""`make faults ARGS=--watched`: what people do is watched by two workers and two schedulers, any of which is killed at any time.

People act on tasks of three accounts: one whose whole feed is watched (Workiva), one whose tasks are watched one by one, half of them in no
feed, and a project of Autodesk. Each act of a careful person waits until the one before it on that task was told, so that nothing can come
and go between two looks; a hasty one acts as fast as the upstream takes it. Reads are cut, stalled, throttled and answered late meanwhile.

Violations, and the exit status 1, are: an event that is missing; one that is told twice, under whatever id; events of a careful person's
task that are not in their order; a task whose events did not come in the order of their `sequence`.
"""

import argparse
import json
import logging
import random
import secrets
import tempfile
import time
import urllib.error
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from tests import servers
from tests.faults.stage import Chaos, Upstream, running_upstream, start
from tests.faults.storms import READ
from tests.system.house import House, listening, until
from worker import bootstrap
from worker.core.renewal import Renewed
from worker.flows import Runtime
from worker.flows.tokens import store
from worker.ledger.watches import FEED
from worker.sandbox.project import PROJECT
from worker.settings import load

PROCESSES = ("worker1", "worker2", "beat1", "beat2")
EVERY = 1.0
"""Seconds between two looks, at least."""

SOMETIMES = 0.05
"""The chance that somebody does what is next on a task, five times a second."""

RESPONDED = ("response.recorded", "step.completed")
TOLD: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "workiva": {
        "jane": (*RESPONDED, "step.opened"),
        "bob": (*RESPONDED, "task.completed"),
        "restart": ("step.opened", "task.restarted"),
    },
    "autodesk": {
        "jane": (*RESPONDED, "step.opened"),
        "bob": RESPONDED,
        "send back": (),
        "restart": ("step.opened", "task.restarted"),
        "manage": ("task.completed",),
    },
}
"""What has to be told of each act. `task.changed` comes besides: a status may move a moment after the response that moved it."""

BEFORE: Mapping[str, tuple[str, ...]] = {"workiva": ("jane", "restart"), "autodesk": ("jane", "send back", "restart")}
AFTER: Mapping[str, tuple[str, ...]] = {"workiva": ("jane", "bob"), "autodesk": ("jane", "bob", "manage")}


@dataclass
class Watched:
    """One task, what people are still to do with it, and what has to be told of what they did."""

    id: str
    kind: str
    hasty: bool
    todo: list[str]
    told: list[str] = field(default_factory=list)
    acts: int = 0

    def act(self, world: Upstream) -> None:
        """Do what is next. What the upstream does not take yet is tried again later."""
        name = self.todo[0]
        states = {"send back": "mgr-1", "restart": "rev", "manage": "sbc-2"}
        if self.kind == "workiva":
            act = {"action": "RESTART"} if name == "restart" else {"action": "APPROVE", "user": name}
        else:
            act = {"action": states[name]} if name in states else {"action": "close", "user": name}
        with suppress(urllib.error.HTTPError):
            world("POST", "/person", {"task": self.id, **act})
            self.told += TOLD[self.kind][name]
            self.acts += 1
            del self.todo[0]

    def wrong(self, types: Sequence[str]) -> str:
        """What is wrong with the events that came, each once and without `task.changed`; "" where nothing is."""
        if not self.hasty:
            return "" if list(types) == self.told else f"{list(types)} instead of {self.told}"
        came, due = Counter(types), Counter(self.told)
        passing = {"step.opened"}  # a step that opened and was completed between two looks
        off = {t: (came[t], due[t]) for t in came | due if came[t] > due[t] or (came[t] < due[t] and t not in passing)}
        return f"came, due: {off}" if off else ""


def run(args: argparse.Namespace) -> int:
    """Play, judge and show; the exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    dice, began = random.Random(args.seed), time.monotonic()
    end = began + args.budget
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="approvals-faults-")))
        world = stack.enter_context(running_upstream(folder, args.seed))
        broker = stack.enter_context(servers.private_rabbitmq())
        ledger = stack.enter_context(servers.database(stack.enter_context(servers.postgres())))
        more = {"LOG__LEVEL": "warning", **_settings(world.url)}
        house = stack.enter_context(House(folder, "", namespace="faults", ledger=ledger, broker=broker.url, more=more))
        rt = bootstrap.runtime(load(env=house.env))
        stack.callback(bootstrap.close, rt)
        told = stack.enter_context(listening(broker.url, house.namespace))
        tasks = [_task(world, rt, n, dice) for n in range(args.submissions)]
        site = rt.accounts["site"]
        given = world("POST", "/autodesk/grants", {"client_id": "sandbox:site-reader", "user": "site-reader"})
        store(rt, site, "me", Renewed(given["access_token"], given["expires_in"], given["refresh_token"], 15 * 86_400.0))
        for account in ("finance", "site"):
            rt.ledger.watches.add(account, FEED, EVERY)
        starts = time.monotonic()
        for name in PROCESSES:
            start(house, name)
        until(lambda: _known(rt, tasks) == len(tasks), 120, "the first sight of every task")
        world(
            "POST",
            "/faults",
            [_fault(dice, task) for task in tasks if dice.random() < 0.5] + [_fault(dice) for _ in range(len(tasks) // 10)],
        )
        chaos = Chaos(house, dice, broker, min(5.0, time.monotonic() - starts), PROCESSES)
        while any(task.todo for task in tasks) and time.monotonic() < end - 60:
            types = came(told.events)
            for task in tasks:
                if task.todo and dice.random() < SOMETIMES and (task.hasty or types[task.id] == task.told):
                    task.act(world)
            time.sleep(0.2)
        chaos.close()
        with suppress(AssertionError):
            until(lambda: not faulty(tasks, told.events), max(1.0, end - time.monotonic()), "the last events")
        for process in house.processes.values():
            process.stop()
        wrong = faulty(tasks, told.events)
        if left := sum(bool(task.todo) for task in tasks):
            wrong["people"] = f"did not come to an end with {left} tasks: what they waited for was not told, or the budget was short"
        events = list(told.events)
        print(
            f"watched, {args.submissions} tasks: seed {args.seed}, {time.monotonic() - began:.0f} s; {sum(t.acts for t in tasks)} acts, "
            f"{len({e['id'] for e in events})} events in {len(events)} messages; "
            f"killed {dict(chaos.kills)}, broker restarted {chaos.restarts} times"
        )
    for task_, what in wrong.items():
        print(f"VIOLATION  {task_}: {what}")
    print("see above" if wrong else "no violation", flush=True)
    return int(bool(wrong))


def _settings(url: str) -> dict[str, str]:
    """One grant each, who answers nothing."""
    workiva = {"KIND": "workiva", "BASE_URL": f"{url}/workiva"}
    submittals = {"KIND": "autodesk", "BASE_URL": f"{url}/autodesk", "PROJECT_ID": PROJECT}
    out = {"LEDGER__ENCRYPTION_KEYS": json.dumps([secrets.token_hex(32)])}
    for name, about in {"FINANCE": workiva, "LEGAL": workiva, "SITE": submittals}.items():
        user = f"{name.lower()}-reader"
        values = {**about, "REQUEST_DEADLINE": "2s", "LEASE": "3s", "UPSTREAM_CUTOFF": "2s", "SLACK": "3s"}
        values |= {"GRANTS__ME__CLIENT_ID": f"sandbox:{user}", "GRANTS__ME__CLIENT_SECRET": "sandbox", "GRANTS__ME__ACTS_AS": user}
        out |= {f"ACCOUNTS__{name}__{key}": value for key, value in values.items()}
    return out


def _task(world: Upstream, rt: Runtime, n: int, dice: random.Random) -> Watched:
    """In turn: shown by a watched feed; watched by itself, and every other one of these in no feed; an item."""
    kind, hasty = "autodesk" if n % 3 == 2 else "workiva", dice.random() < 0.2
    todo = [*(BEFORE[kind] if not hasty and dice.random() < 0.3 else ()), *AFTER[kind]]
    if kind == "autodesk":
        return Watched(world("POST", "/autodesk/items", {"steps": [["jane"], ["bob"]]})["id"], kind, hasty, todo)
    mine = {} if n % 3 == 0 else {"process_made": n % 2 == 0}
    id_ = world("POST", "/tasks", {"steps": [{"participants": ["jane"]}, {"participants": ["bob"]}], **mine})["id"]
    if mine:
        rt.ledger.watches.add("legal", id_, EVERY)
    return Watched(id_, kind, hasty, todo)


def _fault(dice: random.Random, task: Watched | None = None) -> dict[str, Any]:
    """Of a read of that task, or of any feed."""
    where = {"route": "read", "task": task.id, "after": dice.randrange(20)} if task else {"route": "list", "after": dice.randrange(100)}
    return {**where, **dice.choice(READ)}


def _known(rt: Runtime, tasks: Sequence[Watched]) -> int:
    """Of how many the first look is known: it is the baseline of what is told."""
    keys = {(rt.accounts["site" if t.kind == "autodesk" else "finance"].connector.realm, t.id) for t in tasks}
    return len(rt.ledger.tasks.changed(keys))


Events = Sequence[dict[str, Any]]


def each_once(events: Events) -> Events:
    """In the order they came first."""
    out: dict[str, dict[str, Any]] = {}
    for event in list(events):
        out.setdefault(event["id"], event)
    return list(out.values())


def came(events: Events) -> Mapping[str, list[str]]:
    """The types of each task's events, `task.changed` left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for event in each_once(events):
        if event["type"] != "task.changed":
            found[event["subject"]].append(event["type"])
    return found


def faulty(tasks: Sequence[Watched], events: Events) -> dict[str, str]:
    """What is wrong, by the task."""
    types = came(events)
    out = {f"{t.kind} {t.id}": what for t in tasks if (what := t.wrong(types[t.id]))}
    numbers: dict[str, list[int]] = defaultdict(list)
    for event in each_once(events):
        numbers[event["subject"]].append(int(event["sequence"]))
    out |= {f"sequence of {task}": str(found) for task, found in numbers.items() if found != sorted(found)}
    return out
