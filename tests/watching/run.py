"""One account, watched for as long as it is told: who was told what, how late, and for how many requests."""

import gc
import logging
import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
import structlog

from tests.watching.autodesk import AutodeskMonth
from tests.watching.engine import Direct
from tests.watching.people import Dice
from tests.watching.truth import Happening, Truth, Window, judge
from tests.watching.workiva import WorkivaMonth
from tests.watching.world import DAY, START, Patience, World
from worker.engine import Engine
from worker.flows import Runtime
from worker.flows.due import due
from worker.flows.poll import poll
from worker.ledger import Ledger, tables
from worker.ledger.watches import FEED
from worker.sandbox.control import Sandbox

Month = WorkivaMonth | AutodeskMonth
MONTHS: Mapping[str, Callable[[Dice, Sandbox, int, float], Month]] = {"workiva": WorkivaMonth, "autodesk": AutodeskMonth}

MEMORY = Path("/dev/shm")

LATE = 300.0
"""Seconds. In truth a due watch has its turn within a second. Here those of single tasks wait for each other so long, at the most: a turn
for each would make the month last an hour, and such a watch is late by minutes anyway."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`every`: seconds, as `approvals watch add` takes it."""

    kind: str
    count: int
    days: float
    every: float
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the tasks, or of what happens to them (then it is not `whole`, and its requests are for all). `told`, `between`: happenings;
    `missed`, `doubled`: how many.
    """

    name: str
    tasks: int
    requests: int
    told: Sequence[Happening]
    between: Sequence[Happening]
    missed: int
    doubled: int
    windows: Mapping[str, Window]
    whole: bool

    @property
    def delays(self) -> list[float]:
        """Seconds from what happened to when it was told, in order."""
        return sorted((h.told or 0.0) - h.since for h in self.told)


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of a plan. `requests`: by operation, tokens left out; `answers`: by status; `wrong`: what was missed or told twice."""

    plan: Plan
    end: float
    parts: Sequence[Part]
    requests: Mapping[str, int]
    answers: Mapping[int, int]
    events: Mapping[str, int]
    wrong: Sequence[str]


def watch(plan: Plan) -> Watched:
    """Carry *plan* out, and a day more in which nobody does anything: what is still to be found, is found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.set_threshold(100_000, 50, 50)
    world = World()
    sandbox = Sandbox(clock=world)
    month = MONTHS[plan.kind](Dice(random.Random(plan.seed), world, plan.days), sandbox, plan.count, plan.every)
    engine = Direct(month.upstream, world, month.looked)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db", clock=world)
        ledger.migrate()
        rt = Runtime(
            ledger=ledger,
            engine=cast("Engine", engine),
            accounts={month.name: month.account()},
            sinks={},
            stopping=Patience(world),
            dice=random.Random(plan.seed + 1).random,
            turn=60.0,
        )
        world.to(START)
        month.watch(rt)
        end = START + plan.days * DAY
        drive(rt, month, world, end)
        events = told(ledger)
        ledger.close()
    return found(plan, month, engine, events, end)


def drive(rt: Runtime, month: Month, world: World, end: float) -> None:
    """As the tick and the rings do: a turn whenever a watch is due."""
    while world.now < end + DAY:
        while poll(rt, month.name):
            pass
        due(rt, int(world.now // 60))
        world.to(math.ceil(next_turn(rt.ledger)))


def next_turn(ledger: Ledger) -> float:
    """When a feed is due; or a single watch, whose look may be late by `LATE`."""
    w = tables.watches
    feed = sa.select(sa.func.min(w.c.next_at)).where(w.c.task == FEED)
    single = sa.select(sa.func.min(w.c.next_at)).where(w.c.task != FEED)
    with ledger.database.read() as c:
        return float(min(c.scalar(feed), (c.scalar(single) or math.inf) + LATE))


def told(ledger: Ledger) -> list[tuple[float, dict[str, Any]]]:
    """All events, with when they were told."""
    t = tables.events
    with ledger.database.read() as c:
        return [(r.at, r.body) for r in c.execute(sa.select(t.c.at, t.c.body).order_by(t.c.position))]


def found(plan: Plan, month: Month, engine: Direct, events: Sequence[tuple[float, dict[str, Any]]], end: float) -> Watched:
    """The events against what happened."""
    truth: Truth = month.truth
    verdict = judge(truth, events, end + DAY)

    def part(name: str, requests: int, tasks: Mapping[str, Window], fed: bool | None) -> Part:
        def ours(h: Happening) -> bool:
            return h.key[0] in tasks and fed in {None, h.fed}

        between = [h for h in verdict.between if ours(h)]
        missed, doubled = sum(map(ours, verdict.missed)), sum(key[0] in tasks for key, _ in verdict.doubled)
        return Part(name, len(tasks), requests, [h for h in verdict.told if ours(h)], between, missed, doubled, tasks, whole=fed is None)

    parts = [part(*each) for each in month.parts()]
    wrong = [f"missed {h.key} since {h.since - START:.1f}, due {h.due and h.due - START}" for h in verdict.missed]
    wrong += [f"doubled {key} at {at - START:.1f}" for key, at in verdict.doubled]
    requests = {name: n for name, n in engine.requests.items() if name != "token"}
    return Watched(plan, end + DAY, parts, requests, engine.answers, Counter(e["type"] for _, e in events), wrong)
