"""`make faults`: the real processes on real servers while parts of them are killed and cut; judged by the upstream's journal.

    python -m tests.faults [--submissions 1000] [--seed N] [--when-exposed once|resend|both] [--late] [--budget SECONDS]
                           [--upstream workiva|autodesk] [--api-version 2026-01-01|2022-01-01] [--broker rabbitmq|redis | --embedded]
    python -m tests.faults --watched [--submissions N, of tasks] [--seed N] [--budget SECONDS]   see watched.py
    python -m tests.faults --matrix …       each upstream and version on each of the three, one after another, and one table at the end

A submission's effects are known by its comment, which nobody else uses. The simulated upstream writes behind each comment which attempt
this was, so that a first attempt and a retry are told apart by the upstream and not by the code under test. What is drawn comes of the seed
(tasks, faults, people, whom to kill); what two processes do first does not.

Violations, and the exit status 1, are: a lost submission; a second effect; an effect on another step with nobody else acting between the
last read and it, or on another part; one in such a race (A12), or in another round where that can be read, that nobody is told of; an end
that says "nothing happened" in front of an effect that stands; an effect that stands and a submission that is parked for not seeing it;
applied without an effect; an event never received; too few applied. With --late the upstream applies what it took after more than cut-off
and slack: then wrong effects are no violation, but untold ones are.
"""

import argparse
import base64
import json
import logging
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
import structlog
from kombu import Connection, Exchange, Queue

from tests import servers
from tests.faults import watched
from tests.faults.stage import BROKERS, Chaos, Upstream, running_upstream, start, upstream
from tests.faults.storms import STALE, AutodeskStorm, Plan, Storm, WorkivaStorm, drawn
from tests.system.house import CUTOFF, LOST, SLACK, House, Listener, listening, queue_there, until
from worker import bootstrap
from worker.core.command import Command
from worker.core.submission import OPEN, NotNow
from worker.flows import Runtime
from worker.flows.accept import accept
from worker.flows.emit import emit
from worker.flows.resolve import resolve
from worker.flows.submit import submit
from worker.ledger import Ledger
from worker.settings import load
from worker.upstreams.workiva import VERSIONS

PROCESSES = ("worker1", "worker1", "worker2", "worker2", "worker2", "intake")
EMBEDDED = ("up",)
"""Whom to kill, by so many of so many."""

ENOUGH = 0.95
"""Of the submissions that are not exposed and whose task no person touched, so many must be applied."""

# --- the run ------------------------------------------------------------------------------------------------------------------------------


class Operator:
    """A person who resolves what is misapplied or duplicated as it comes: until somebody does, the account parks what is exposed (A12)."""

    def __init__(self, rt: Runtime, tend: Callable[[], None]) -> None:
        self._rt, self._tend, self._over = rt, tend, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            self._tend()
            for state in ("misapplied", "duplicated"):
                for s in self._rt.ledger.queries.listed(state=state, limit=500):
                    with suppress(NotNow):
                        resolve(self._rt, s.id, "abandoned", "seen by the operator of the fault run")

    def close(self) -> None:
        """Go home."""
        self._over.set()
        self._thread.join(10)


def publish(house: House, rt: Runtime, plans: list[Plan], *, embedded: bool, stop_at: float) -> None:
    """Publish the commands of *plans*, again until the broker has confirmed all: the same key is the same submission."""
    now = time.time()
    if embedded:
        times: dict[str, Any] = {"issued_at": now, "not_after": now + 864_000}
        accept(rt, [Command(key=p.key, account=p.account, grant=p.grant, task=p.ref, comment=p.key, **p.decision, **times) for p in plans])
        return
    messages = [p.command(now) for p in plans]
    while time.monotonic() < stop_at:
        with suppress(*LOST):
            house.publish(*messages)
            return
        time.sleep(0.3)


class Box:
    """A queue in Redis that nobody reads before the end: kombu's consumer loses what it has taken when its connection breaks, and here it
    is not the consumer who is judged.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._queue = Queue(f"{namespace}.box", Exchange(f"{namespace}.events", type="topic", durable=True), routing_key="#", durable=True)
        self._redis = redis.Redis.from_url(url)
        with Connection(url) as connection:
            self._queue(connection.default_channel).declare()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What lies there."""
        found: Any = self._redis.lrange(self._queue.name, 0, -1)
        return [json.loads(base64.b64decode(json.loads(raw)["body"])) for raw in found]

    def close(self) -> None:
        """Leave it as it is: the server goes with the run."""
        self._redis.close()


def run(args: argparse.Namespace) -> "Verdict":
    """Play, judge and show."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # this process prints its table only
    began = time.monotonic()
    end = began + args.budget
    storm = storm_of(args)
    plans = drawn(storm, args.submissions, args.seed, args.when_exposed, late=args.late)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="approvals-faults-")))
        world = stack.enter_context(running_upstream(folder, args.seed))
        broker = None if args.embedded else stack.enter_context(BROKERS[args.broker]())
        ledger = f"sqlite:///{folder}/ledger.db"
        if not args.embedded:
            ledger = stack.enter_context(servers.database(stack.enter_context(servers.postgres())))
        url = broker.url if broker else "memory://"
        more = {"LOG__LEVEL": "warning", **storm.settings(args.when_exposed, world.url, folder)}
        house = House(folder, "", namespace="faults", ledger=ledger, broker=url, more=more)
        stack.enter_context(house)
        rt = bootstrap.runtime(load(env=house.env))
        stack.callback(bootstrap.close, rt)
        storm.prepare(world, rt)
        starts = time.monotonic()
        told = None if args.embedded else stack.enter_context(_open(house))
        boot = time.monotonic() - starts
        if args.embedded:
            start(house, "up")
        for plan in plans:
            storm.make(world, plan)
        operator = Operator(rt, lambda: storm.tend(world, rt))
        chaos = None
        size = max(1, len(plans) // 50)
        for at in range(0, len(plans), size):
            part = plans[at : at + size]
            if faults := [{**fault, "task": p.id} for p in part for fault in p.faults]:
                world("POST", "/faults", faults)
            publish(house, rt, part, embedded=args.embedded, stop_at=end)
            for p in part:
                if p.first:
                    with suppress(urllib.error.HTTPError):  # we were faster
                        world("POST", "/person", {"task": p.id, **p.first})
            if at == 0:
                until(lambda: _open_count(rt) == 0 and _count(rt) == size, 60, "the first, clean ones")
                boot = boot if told else time.monotonic() - starts
                chaos = Chaos(house, random.Random(args.seed), broker, boot, EMBEDDED if args.embedded else PROCESSES)
            time.sleep(min(1.6, len(plans) / 50 * 0.08))
        # The tail goes on under fire until a twentieth is left; then the parts may get up again and finish.
        _wait(lambda: _count(rt) == len(plans) and _open_count(rt) <= len(plans) // 20, end - 45)
        if chaos:
            chaos.close()
        _wait(lambda: _count(rt) == len(plans) and _open_count(rt) == 0, end)
        time.sleep(CUTOFF + SLACK + 8 if args.late else SLACK)  # what is late, comes
        left = len(plans) - _count(rt) + _open_count(rt)
        operator.close()
        for process in house.processes.values():
            process.stop()
        _vigil(rt, ledger, storm.keys)
        if told:
            written = {e["id"] for e in _written(rt)}
            _wait(lambda: written <= {e["id"] for e in list(told.events)}, time.monotonic() + 20)
        verdict = Verdict(plans, rt, world, told, storm, late=args.late)
        verdict.seconds = time.monotonic() - began
        print(
            f"{where(args)}: seed {args.seed}, {verdict.seconds:.0f} s, when_exposed={args.when_exposed}{', late' if args.late else ''}; "
            f"killed {dict(chaos.kills) if chaos else {}}, broker restarted {chaos.restarts if chaos else 0} times"
        )
        if left:
            verdict.broken["not finished within the budget"] = left
        verdict.show()
        return verdict


def where(args: argparse.Namespace) -> str:
    """What it ran on."""
    name = args.api_version if args.upstream == "workiva" else args.upstream
    return f"{name}, {'embedded' if args.embedded else args.broker}"


def storm_of(args: argparse.Namespace) -> Storm:
    """Of the upstream that was asked for."""
    return AutodeskStorm() if args.upstream == "autodesk" else WorkivaStorm(args.api_version)


def matrix(args: argparse.Namespace) -> int:
    """Each upstream and version on each broker and embedded; a table at the end. One that breaks down keeps no other from being run."""
    rows: list[tuple[str, ...]] = [("", "s", "applied", "parked", "doubled", "other step", "events", "verdict")]
    status = 0
    for upstream_, version in (*(("workiva", version) for version in VERSIONS), ("autodesk", "")):
        for broker in (*BROKERS, ""):
            asked = {"upstream": upstream_, "api_version": version, "broker": broker, "embedded": not broker}
            here = argparse.Namespace(**{**vars(args), **asked})
            try:
                verdict = run(here)
            except Exception as exc:
                rows.append((where(here), "", "", "", "", "", "", f"NOT RUN: {type(exc).__name__}: {exc}"[:100]))
                status = 1
                continue
            rows.append((where(here), *verdict.row()))
            status |= bool(verdict.broken)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\n{args.submissions} submissions each, seed {args.seed}")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return status


@contextmanager
def _open(house: House) -> Iterator[Listener | Box]:
    for name in ("worker1", "worker2", "intake", "beat"):
        start(house, name)
    until(lambda: queue_there(house.broker, f"{house.namespace}.commands"), 60, "the queue of the commands")
    if house.broker.startswith("redis"):
        with closing(Box(house.broker, house.namespace)) as box:
            yield box
        return
    with listening(house.broker, house.namespace) as told:
        yield told


def _wait(condition: Any, end: float) -> bool:
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.3)
    return bool(done)


def _states(rt: Runtime) -> dict[str, int]:
    out: Counter[str] = Counter()
    for _, state, count in rt.ledger.queries.states():
        out[state] += count
    return dict(out)


def _written(rt: Runtime) -> list[Any]:
    """Every event that the ledger holds."""
    out: list[Any] = []
    after = 0
    while page := rt.ledger.queries.events(after=after, limit=5000):
        out += [body for _, body in page]
        after = page[-1][0]
    return out


def _count(rt: Runtime) -> int:
    return sum(_states(rt).values())


def _open_count(rt: Runtime) -> int:
    return sum(count for state, count in _states(rt).items() if state in OPEN)


def _vigil(rt: Runtime, ledger: str, keys: Sequence[str]) -> None:
    """The looks after the end (A17), by the same flow, with a ledger clock that is ten minutes and a day ahead."""
    for ahead in (0.0, 620.0, 90_000.0):
        then = Ledger(ledger, sinks=tuple(rt.sinks), clock=lambda ahead=ahead: time.time() + ahead, keys=keys)  # type: ignore[misc]
        later = replace(rt, ledger=then, stopping=threading.Event(), on_close=[])
        end = time.monotonic() + 60.0  # a budget may have to be waited for
        while (due := then.queries.due()) and time.monotonic() < end:
            for verb, shard in due:
                (submit if verb == "submit" else emit)(later, shard)
        then.close()


# --- the verdict --------------------------------------------------------------------------------------------------------------------------


class Verdict:
    """What the journal says, beside what we say."""

    def __init__(self, plans: list[Plan], rt: Runtime, world: Upstream, told: Listener | Box | None, storm: Storm, *, late: bool) -> None:
        self.plans, self.late, self.seconds = plans, late, 0.0
        self.rows = {row.key: row for p in plans for row in rt.ledger.queries.find(p.key)}
        self.rounds, self.traced, self.replaces = storm.rounds(world), storm.traced, storm.replaces
        self.effects: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.people: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in world("GET", "/journal"):
            if entry["by"] == "person":
                self.people[entry["task"].partition("/")[0]].append(entry)
            elif entry["comment"]:
                self.effects[entry["comment"].split()[0]].append(entry)
        written = _written(rt)
        events = told.events if told else written
        self.written, self.ids = {e["id"] for e in written}, {e["id"] for e in events}
        self.told: dict[str, set[str]] = defaultdict(set)
        self.seen: dict[str, set[str]] = defaultdict(set)
        for event in events:
            if event["type"].startswith("submission."):
                self.told[event["data"]["submission"]["key"]].add(event["type"].removeprefix("submission."))
            if event["type"] == "response.recorded" and (comment := event["data"]["response"]["comment"]):
                self.seen[comment.split()[0]].add(comment)
        self.counts: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.parked: Counter[tuple[str, str]] = Counter()
        for plan in plans:
            self._one(plan)
        self._share()
        if missing := [e for e in written if e["id"] not in self.ids]:
            self._break("events written and never received", str(missing[0]), len(missing))

    def _break(self, what: str, example: str, count: int = 1) -> None:
        self.broken[what] += count
        self.examples.setdefault(what, example)

    def _stands(self, plan: Plan, effect: dict[str, Any]) -> bool:
        """Whether it can still be read: its round is the one that the task is in."""
        return bool(self.rounds[plan.id] == effect["round"])

    def _one(self, plan: Plan) -> None:
        row, effects = self.rows.get(plan.key), self.effects[plan.key]
        said = self.told[plan.key]
        loud = bool(said & {"misapplied", "duplicated"})
        if row is None:
            self._break("lost: published, confirmed, and not in the ledger", plan.key)
            return
        about = f"{plan.key} {row.state}: {row.reason}; effects {[(e['step'], e['round'], e['comment'].rsplit(' ')[-1]) for e in effects]}"
        if row.next_at is not None:
            about += f"; still to be looked at: {dict(row.progress)}"
        standing = [e for e in effects if self._stands(plan, e)]
        if len(effects) > 1:
            # What a second close has replaced is told where it was seen before that: afterwards nothing shows it.
            shown = len(self.seen[plan.key]) if self.replaces else len(standing)
            self._wrong("doubled", about, told=loud, shown=shown > 1, always=not self.late)
        for e in effects:
            number, _, read = e["comment"].rpartition("#")[2].partition("@")
            by = "a retry" if number != "1" else "a first attempt"
            raced = any(float(read) - STALE < p["at"] for p in self.people.get(plan.id, []) if p["n"] < e["n"])
            if e["step"] != plan.step or e["task"] != plan.ref:
                race = "in a race with a person" if raced else "with nobody else acting"
                shown = self._stands(plan, e)
                self._wrong(f"on another step, by {by}, {race}", about, told=loud, shown=shown, always=not raced and not self.late)
            elif e["round"] != 1:
                stood = () if self.traced else (r for s in plan.task["steps"] for r in s.get("responses", ()))
                seen = [*stood, *self.people.get(plan.id, [])]
                gone = self.traced or any(r["at"] < float(read) - STALE and r.get("round", 1) < e["round"] for r in seen)
                if gone and self._stands(plan, e):
                    self._wrong(f"in another round, by {by}", about, told=loud, shown=True, always=False)
                else:
                    self.counts[f"in a round begun again under its feet, by {by} (no trace in what can be read)"] += 1
        right = [e for e in effects if e["step"] == plan.step and e["task"] == plan.ref]
        if row.state == "applied" and not right:
            self._break("applied, and no effect", about)
        if row.state in {"superseded", "refused", "expired", "cancelled"} and standing:
            self._break("superseded, refused or expired in front of an effect that stands", about)
        if row.state in OPEN:
            self._break("neither at an end nor held", about)
        if row.state == "parked":
            self.parked[row.reason or "", self._why(plan, effects, standing)] += 1
            if standing:
                self._break("parked, though its effect can be read", about)

    def _why(self, plan: Plan, effects: list[dict[str, Any]], standing: list[dict[str, Any]]) -> str:
        people = "people acted" if plan.id in self.people or plan.first else "nobody else acted"
        effect = "effect stands" if standing else "effect cleared by a new round" if effects else "no effect"
        return f"{'exposed' if plan.exposed else 'not exposed'}, {effect}, {people}"

    def _wrong(self, what: str, about: str, *, told: bool, shown: bool, always: bool) -> None:
        """A wrong effect. Told is better than not; what the upstream shows no more, because of a new round, nobody can tell of."""
        self.counts[f"{what} ({'told' if told else 'UNTOLD' if shown else 'untold, and not shown any more'})"] += 1
        if always:
            self._break(what, about)
        elif shown and not told:
            self._break(f"{what}, and untold", about)

    def _share(self) -> None:
        open_ = [p for p in self.plans if not p.exposed]
        ended = Counter(row.state for p in open_ if (row := self.rows.get(p.key)))
        moot = ended["superseded"] + ended["refused"]
        self.counts[f"of {len(open_)} not exposed, applied, or ended because a person had acted ({moot})"] = ended["applied"] + moot
        plain = [p for p in self.plans if not p.exposed and p.id not in self.people and not p.first]
        applied = sum(1 for p in plain if (row := self.rows.get(p.key)) and row.state == "applied")
        self.counts[f"of {len(plain)} not exposed and touched by nobody, applied"] = applied
        for row in (self.rows.get(p.key) for p in plain):
            if row and row.state in {"refused", "superseded", "expired", "parked"}:
                self.counts[f"touched by nobody, and {row.state}: {(row.reason or '')[:90]}"] += 1
        if plain and applied < ENOUGH * len(plain) and not self.late:
            states = Counter((r.state, r.reason) for p in plain if (r := self.rows.get(p.key)) and r.state != "applied")
            self._break(f"fewer than {ENOUGH:.0%} of them applied", str(states.most_common(5)))

    def row(self) -> tuple[str, ...]:
        """For a table: seconds, applied, parked, doubled, on another step, events received, and what was violated."""
        states = Counter(row.state for row in self.rows.values())
        doubled, astray = (sum(n for name, n in self.counts.items() if name.startswith(what)) for what in ("doubled", "on another step"))
        events = f"{len(self.ids & self.written)}/{len(self.written)}"
        broken = "; ".join(f"{n} {name}" for name, n in self.broken.items()) or "no violation"
        return f"{self.seconds:.0f}", str(states["applied"]), str(states["parked"]), str(doubled), str(astray), events, broken

    def show(self) -> None:
        """Print."""
        states: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        for plan in self.plans:
            row = self.rows.get(plan.key)
            states[plan.exposed][row.state if row else "LOST"] += 1
        for exposed, found in states.items():
            print(f"  {'exposed' if exposed else 'not exposed':<12} {dict(found.most_common())}")
        print(f"  effects {sum(map(len, self.effects.values()))}, events {len(self.ids & self.written)} of {len(self.written)} received")
        for what in ("doubled", "on another step"):
            if not any(name.startswith(what) for name in self.counts):
                self.counts[what] = 0
        for name, count in sorted(self.counts.items()):
            print(f"  {count:>6}  {name}")
        for (reason, why), count in self.parked.most_common():
            print(f"  {count:>6}  parked: {reason[:90]} [{why}]")
        for name, count in self.broken.items():
            print(f"VIOLATION {count:>4}  {name}: {self.examples.get(name, '')}")
        print("no violation" if not self.broken else "see above", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--when-exposed", choices=("once", "resend", "both"), default="both")
    parser.add_argument("--late", action="store_true", help="the upstream applies later than cut-off and slack allow")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds")
    parser.add_argument("--upstream", choices=("workiva", "autodesk"), default="workiva")
    parser.add_argument("--api-version", choices=tuple(VERSIONS), default=next(iter(VERSIONS)), help="that the accounts speak")
    parser.add_argument("--broker", choices=tuple(BROKERS), default="rabbitmq", help="with PostgreSQL")
    parser.add_argument("--embedded", action="store_true", help="one process, SQLite, the in-process broker")
    parser.add_argument("--matrix", action="store_true", help="each upstream and version on each broker and embedded, and a table")
    parser.add_argument(
        "--watched", action="store_true", help="people act, on so many tasks, and every event has to come; RabbitMQ + PostgreSQL"
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        upstream(args.seed, args.serve)
        return 0
    if args.watched:
        return watched.run(args)
    return matrix(args) if args.matrix else int(bool(run(args).broken))


if __name__ == "__main__":
    raise SystemExit(main())
