"""`make bench`: the same job in this worker and in a plain Celery worker, in turns, on the servers that the tests use.

The job: a submission comes in by the broker, its task is looked at, one step is approved, and that the step is completed is told on an
exchange. Both sides have the same number of worker processes, the same upstream with the same latency, and RabbitMQ and PostgreSQL.
"""

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from tests import servers
from tests.benchmarks.stage import Round, Upstream, ours, running, theirs, timed

SIDES = {
    "ours": contextmanager(partial(ours, events="step.completed")),
    "all events": contextmanager(partial(ours, events="*")),
    "threads": contextmanager(partial(theirs, pool="threads")),
    "gevent": contextmanager(partial(theirs, pool="gevent")),
}
"""Ours tells what the plain ones tell, or all that there is to tell (five events a job)."""

PLAIN = ("threads", "gevent")


def main() -> int:
    given = arguments()
    results: dict[str, list[Round]] = {name: [] for name in given.sides}
    try:
        with servers.postgres() as postgres, servers.rabbitmq() as rabbitmq, tempfile.TemporaryDirectory(prefix="aw-bench-") as scratch:
            upstream = Upstream(Path(scratch), given.latency / 1000)
            with running([upstream.process]):
                began = time.monotonic()
                for number in range(1, given.rounds + 1):
                    # Only whole pairs are compared, so it is before a pair that we ask whether there is time for another.
                    if number > 1 and (time.monotonic() - began) * number / (number - 1) > given.seconds:
                        print(f"a slow machine: {number - 1} of {given.rounds} rounds within {given.seconds:g} s", file=sys.stderr)
                        break
                    for name in given.sides:
                        results[name].append(one(name, given, Path(scratch), upstream, postgres, rabbitmq))
                        told = results[name][-1]
                        print(f"round {number}: {name:10} {told.rate:7.0f} jobs/s", file=sys.stderr)
    except servers.Missing as exc:
        print(f"make bench: {exc}. `make servers` gets them.", file=sys.stderr)
        return 1
    found = {name: summary(rounds) for name, rounds in results.items()}
    about = {
        "jobs": given.jobs,
        "rounds": len(results[given.sides[0]]),
        "workers": given.workers,
        "latency_ms": given.latency,
        "cores": os.cpu_count(),
    }
    if given.json:
        print(json.dumps({"settings": about, "sides": found}))
    else:
        print_table(about, found)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", "-n", type=int, default=1000, help="submissions in a round (1000)")
    parser.add_argument("--rounds", "-r", type=int, default=3, help="rounds of each side (3)")
    parser.add_argument("--seconds", type=float, default=400.0, help="no further round is begun that would take longer in all (400)")
    parser.add_argument("--workers", type=int, default=3, help="worker processes of each side (3)")
    parser.add_argument("--latency", type=float, default=50.0, help="milliseconds before each answer of the upstream (50)")
    parser.add_argument("--only", choices=SIDES, dest="sides", action="append", help="this side only; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    given = parser.parse_args()
    given.sides = given.sides or list(SIDES)
    return given


def one(name: str, given: argparse.Namespace, scratch: Path, upstream: Upstream, postgres: str, rabbitmq: str) -> Round:
    tasks = upstream.tasks(given.jobs)
    run = f"bench_{secrets.token_hex(3)}"
    folder = scratch / run  # empty, so that no settings of a desk are read
    folder.mkdir()
    with servers.database(postgres) as ledger, SIDES[name](folder, upstream, tasks, ledger, rabbitmq, run, given.workers) as side:
        return timed(side, upstream, tasks)


def summary(rounds: Sequence[Round]) -> dict[str, float]:
    def middle(values: Sequence[float]) -> float:
        return round(median(values), 3)

    return {
        "jobs_per_second": middle([r.rate for r in rounds]),
        "slowest": round(min(r.rate for r in rounds), 3),
        "fastest": round(max(r.rate for r in rounds), 3),
        "worker_cpu_ms": middle([r.workers_cpu / r.jobs * 1000 for r in rounds]),
        "intake_and_beat_cpu_ms": middle([r.others_cpu / r.jobs * 1000 for r in rounds]),
        "sandbox_cpu_ms": middle([r.sandbox_cpu / r.jobs * 1000 for r in rounds]),
        "machine_busy_cores": middle([r.machine_cpu / r.seconds for r in rounds]),
        "events_per_job": middle([r.events / r.jobs for r in rounds]),
        "doubles": sum(r.doubles for r in rounds),
    }


ROWS = {
    "jobs_per_second": ("jobs/s, median", 0),
    "slowest": ("  slowest round", 0),
    "fastest": ("  fastest round", 0),
    "worker_cpu_ms": ("CPU ms a job, workers", 2),
    "intake_and_beat_cpu_ms": ("CPU ms a job, intake and beat", 2),
    "sandbox_cpu_ms": ("CPU ms a job, sandbox", 2),
    "machine_busy_cores": ("cores busy, whole machine", 2),
    "events_per_job": ("events told a job", 1),
    "doubles": ("effects that took place twice", 0),
}


def print_table(about: dict[str, float | int | None], found: dict[str, dict[str, float]]) -> None:
    print(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items()))
    print(f"{'':32}" + "".join(f"{name:>12}" for name in found))
    for key, (title, digits) in ROWS.items():
        print(f"{title:32}" + "".join(f"{side[key]:>12.{digits}f}" for side in found.values()))
    best = max((found[name]["jobs_per_second"] for name in PLAIN if name in found), default=None)
    if best:
        print(f"{'times the best plain one':32}" + "".join(f"{side['jobs_per_second'] / best:>12.2f}" for side in found.values()))


if __name__ == "__main__":
    sys.exit(main())
