"""`make webhooks`: events to five endpoints, four of them sick, while the worker is killed; judged by what the endpoints saw.

    python -m tests.webhooks [--events 10000] [--rate 100] [--rounds alone sick …] [--kills 8] [--seed N] [--json]

Rounds on PostgreSQL and RabbitMQ, with the lines of the Procfile: `alone` has the healthy endpoint only, `well` four more that take all,
`sick` four sick ones beside it (500, never an answer, 429 with Retry-After, 410); twice each, in turn, so that a machine that changes
shows. `killed` is as `sick`, its worker is killed with SIGKILL at random moments, and the secret is rotated meanwhile. In each, every event
reaches the healthy endpoint, in order for each task; the others get what their schedule says; every signature is good. Exit status 1 if
not. How late the healthy one gets its events is printed, and judged by people: it depends on what else the machine does.
"""

import argparse
import base64
import itertools
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import servers
from tests.ledger.make import new
from tests.system.house import House, until
from tests.webhooks.receiver import ENDPOINTS
from worker.ledger import Ledger
from worker.rings import Rings
from worker.settings import load

SCHEDULE = (2.0, 4.0, 8.0)
"""Seconds between the tries of an event: short ones, so that a run shows an end of them."""

DEADLINE, BUSY, RETRY_AFTER = 3.0, 20.0, 5.0
LATE = 2.0
"""Seconds that a try may come late besides: the tick, the turn, a machine of two cores."""

SICK = ENDPOINTS[1:]
ROUNDS = {"alone": ENDPOINTS[:1], "well": (ENDPOINTS[0], *(f"well{n}" for n in range(2, 6))), "sick": ENDPOINTS, "killed": ENDPOINTS}
A_SECOND = 10
"""Batches of events that are written a second, each with its rings: as a busy house does."""
PER_TASK = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request as an endpoint saw it. Times in seconds since the epoch."""

    endpoint: str
    at: float
    event: str
    subject: str
    sequence: int
    type: str
    told: float


def main() -> int:
    """Run the rounds and print what they came to."""
    given = arguments()
    print(f"seed {given.seed}", file=sys.stderr)
    rounds: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    try:
        with servers.postgres() as postgres, servers.rabbitmq() as rabbitmq:
            for number, kind in enumerate(given.rounds, 1):
                name, endpoints = f"{number} {kind}", ROUNDS[kind]
                kills = given.kills if kind == "killed" else 0
                with servers.database(postgres) as ledger, tempfile.TemporaryDirectory(prefix="aw-webhooks-") as folder:
                    rounds[name], wrong = one(Path(folder), ledger, rabbitmq, endpoints, kills, given)
                    faults += [f"{name}: {fault}" for fault in wrong]
                    print(f"{name}: {json.dumps(rounds[name])}", file=sys.stderr)
    except servers.Missing as exc:
        print(f"make webhooks: {exc}. `make servers` gets them.", file=sys.stderr)
        return 1
    about = {
        "events": given.events,
        "per_second": given.rate,
        "seed": given.seed,
        "cores": os.cpu_count(),
        "rounds": rounds,
        "faults": faults,
    }
    print(json.dumps(about, indent=2) if given.json else table(about))
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make webhooks", description="Events to five endpoints while the worker is killed.")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--rounds", nargs="+", choices=ROUNDS, default=["alone", "well", "sick"] * 2 + ["killed"])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def one(
    folder: Path, ledger: str, broker: str, endpoints: Sequence[str], kills: int, given: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """One round: its figures, and what was wrong."""
    old, new = ("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    with receiving(folder, old, new) as url:
        namespace = f"w{secrets.token_hex(4)}"
        with House(folder, "", namespace=namespace, ledger=ledger, broker=broker, more=settings(url, old, endpoints)) as house:
            house.start("beat")
            house.start("worker")
            house["worker"].ready("ready.", 60)
            with closing(Ledger(ledger, sinks=load(env=house.env).sinks)) as book:
                seconds, dice = given.events / given.rate, random.Random(given.seed)
                rotating = rotation(house, url, endpoints, (old, new), kills)
                killer = threading.Thread(target=kill, args=(house, kills, seconds, dice, rotating))
                killer.start()
                began, due = time.monotonic(), 0
                writes: list[float] = []
                rings = Rings(broker, namespace)
                size = int(given.rate / A_SECOND) or 1
                for number in range(0, given.events, size):
                    due = min(number + size, given.events)
                    started = time.monotonic()
                    write(book, number, due, given.events // PER_TASK)
                    writes.append(time.monotonic() - started)
                    for endpoint in endpoints:
                        rings.ring("emit", endpoint)
                    time.sleep(max(0.0, began + due / given.rate - time.monotonic()))
                killer.join()
                rings.close()
                wanted = [e for _, e in book.queries.events(limit=given.events + 100) if e["type"] == "submission.accepted"]
                for name in set(endpoints) - {"failing", "stalling", "gone"}:
                    until(lambda name=name: states(book)[name].get("due", 0) == 0, 300, f"{name} to have it all")  # type: ignore[misc]
                calls, refused = report(url)
                more = {"write_ms": round(statistics.median(writes) * 1000)} | ({} if kills else {"cpu_s": spent(house["worker"].pid)})
                found, wrong = judged(calls, {e["id"] for e in wanted}, endpoints, states(book), book, kills)
                return {**found, **more}, wrong + [f"{n} signatures were refused" for n in (refused,) if n]


def settings(url: str, secret: str, endpoints: Sequence[str]) -> dict[str, str]:
    """The sinks, by environment."""
    out: dict[str, str] = {}
    for name in endpoints:
        key = f"SINKS__{name.upper()}__"
        out |= {f"{key}KIND": "webhook", f"{key}URL": f"{url}/{name}", f"{key}SECRETS": secret, f"{key}ALLOW_HTTP": "true"}
        out |= {f"{key}ALLOW": "127.0.0.1", f"{key}DEADLINE": f"{DEADLINE:g}s", f"{key}SCHEDULE": ",".join(f"{s:g}s" for s in SCHEDULE)}
    return out


@contextmanager
def receiving(folder: Path, old: str, new: str) -> Iterator[str]:
    """The endpoints, in a process of their own."""
    command = [sys.executable, "-m", "tests.webhooks.receiver", old, new, str(BUSY), f"{RETRY_AFTER:g}"]
    with (folder / "receiver.log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())}"
        finally:
            process.kill()


def report(url: str) -> tuple[list[Call], int]:
    """What the endpoints saw, in the order it came; and how many calls whose signature they refused."""
    with urllib.request.urlopen(f"{url}/report") as answer:
        told = json.load(answer)
    return [Call(*call) for call in told["calls"]], told["refused"]


def spent(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    of = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return round((int(of[11]) + int(of[12])) / os.sysconf("SC_CLK_TCK"), 1)


def write(book: Ledger, first: int, last: int, tasks: int) -> None:
    """Events *first* to *last*, of so many tasks in turn."""
    book.submissions.accept([new(f"k{n}", task=f"T{n % tasks}") for n in range(first, last)])


def rotation(house: House, url: str, endpoints: Sequence[str], pair: tuple[str, str], kills: int) -> Mapping[int, Callable[[], None]]:
    """What is done while the worker is down: from the third part of the kills on both secrets sign, at half of them the receiver changes
    over, after two thirds the old one is taken away.
    """
    old, new = pair

    def sign(secrets: str) -> None:
        house.env |= {f"APPROVALS_SINKS__{name.upper()}__SECRETS": secrets for name in endpoints}

    def change() -> None:
        urllib.request.urlopen(f"{url}/change").close()

    return {kills // 3: lambda: sign(f"{new},{old}"), max(kills // 2, kills // 3 + 1): change, 2 * kills // 3 + 1: lambda: sign(new)}


def kill(house: House, kills: int, seconds: float, dice: random.Random, meanwhile: Mapping[int, Callable[[], None]]) -> None:
    """Kill the worker so often, at random moments, and start it again."""
    for n in range(kills):
        time.sleep(seconds / kills * dice.uniform(0.3, 1.0))
        house["worker"].kill()
        meanwhile.get(n, lambda: None)()
        house.start("worker", "worker")
        house["worker"].ready("ready.", 60)
        print(f"kill {n + 1} of {kills}", file=sys.stderr)


def states(book: Ledger) -> Mapping[str, Mapping[str, int]]:
    """Sink -> state -> how many deliveries."""
    out: dict[str, dict[str, int]] = defaultdict(dict)
    for sink, state, n in book.queries.deliveries():
        out[sink][state] = n
    return out


def judged(
    calls: Sequence[Call], wanted: set[str], endpoints: Sequence[str], left: Mapping[str, Mapping[str, int]], book: Ledger, kills: int
) -> tuple[dict[str, Any], list[str]]:
    """The figures of a round, and what was wrong."""
    of: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        of[call.endpoint].append(call)
    healthy = [c for c in of["healthy"] if c.event in wanted]
    first = {c.event: c for c in reversed(healthy)}
    delays = sorted(c.at - c.told for c in first.values())
    found: dict[str, Any] = {
        "received": len(first),
        "doubles": len(healthy) - len(first),
        "delay_ms": {p: round(delays[min(len(delays) - 1, int(len(delays) * p / 100))] * 1000) for p in (50, 99, 100)},
    }
    wrong = whole("healthy", healthy, wanted)
    if kills == 0 and found["doubles"]:
        wrong.append(f"{found['doubles']} doubles, and nobody was killed")
    for name in endpoints[1:]:
        if name not in SICK:
            wrong += whole(name, [c for c in of[name] if c.event in wanted], wanted)
            continue
        tries, by_event = of[name], defaultdict(list)
        for call in tries:
            by_event[call.event].append(call.at)
        found[name] = {"tries": len(tries), "events": len(by_event), **left[name]}
        if name in {"failing", "stalling"}:
            wrong += paced(name, by_event, DEADLINE if name == "stalling" else 0.0, kills)
            if left[name].get("delivered"):
                wrong.append(f"{name}: something was delivered")
        elif name == "busy":
            wrong += whole(name, [c for c in tries if c.at - tries[0].at >= BUSY and c.event in wanted], wanted)
            refused = [c.at for c in tries if c.at - tries[0].at < BUSY]
            volleys = sum(1 for a, b in itertools.pairwise(refused) if b - a > RETRY_AFTER / 2) + 1
            found[name]["volleys"] = volleys
            if volleys > BUSY / RETRY_AFTER + 1:
                wrong.append(f"busy: asked {volleys} times within {BUSY:g} s, and it said {RETRY_AFTER:g} s")
        elif name == "gone":
            if not book.outbox.standings()["gone"].off:
                wrong.append("gone: it is still on")
            if len(tries) > 16 * (kills + 1):
                wrong.append(f"gone: it was called {len(tries)} times")
    if "gone" in endpoints and "sink.disabled" not in {c.type for c in of["healthy"]}:
        wrong.append("nobody was told that one is shut off")
    return found, wrong


def whole(name: str, calls: Sequence[Call], wanted: set[str]) -> list[str]:
    """Whether every event came, those of a task in their order."""
    wrong = [f"{name}: {len(missing)} events never came"] if (missing := wanted - {c.event for c in calls}) else []
    last: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for call in calls:
        if call.event in seen:
            continue
        seen.add(call.event)
        if call.sequence != last[call.subject] + 1:
            wrong.append(f"{name}: {call.subject} has {call.sequence} after {last[call.subject]}")
        last[call.subject] = call.sequence
    return wrong[:10]


def paced(name: str, by_event: Mapping[str, Sequence[float]], slow: float, kills: int) -> list[str]:
    """Whether the tries of each event keep to the schedule. Late ones are no fault: whoever is killed is late. One whose try was not
    written down before a kill comes again at once, and counts as none.
    """
    wrong = []
    for event, times in by_event.items():
        gaps = [b - a for a, b in itertools.pairwise(times)]
        early = [g for g, least in zip(gaps, SCHEDULE, strict=False) if g < least + slow - 0.2]
        if (early and not kills) or len(times) > len(SCHEDULE) + 1 + kills:
            wrong.append(f"{name}: {event} was tried after {', '.join(f'{g:.1f}' for g in gaps)} s")
    return wrong[:10]


def table(about: Mapping[str, Any]) -> str:
    """The figures, for docs/events.md."""
    lines = [
        "| round | received | doubles | p50 | p99 | longest | of it, to be written | CPU of the worker, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in about["rounds"].items():
        d = r["delay_ms"]
        late = " | ".join(f"{ms} ms" for ms in (d[50], d[99], d[100], r["write_ms"]))
        lines.append(f"| {name} | {r['received']:,} | {r['doubles']} | {late} | {r.get('cpu_s', '')} |")
    lines += ["", "| endpoint | round | tries | events tried | delivered | set aside | due |", "|---|---|---|---|---|---|---|"]
    for name, r in about["rounds"].items():
        for sick in SICK:
            if sick in r:
                s = r[sick]
                cells = (s["tries"], s["events"], s.get("delivered", 0), s.get("dead", 0), s.get("due", 0))
                lines.append(f"| {sick} | {name} | " + " | ".join(f"{c:,}" for c in cells) + " |")
    return "\n".join([*lines, "", *(about["faults"] or ["no faults"])])


if __name__ == "__main__":
    sys.exit(main())
