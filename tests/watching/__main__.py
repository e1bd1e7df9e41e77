"""`make watching`: a month of tasks, watched, and the usual way beside it. Prints the tables of docs/watching.md.

ARGS: --tasks 10000 --items 2000 --days 30 --every 60 --seed 1. Each upstream has a process of its own.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.watching.run import Part, Plan, Watched, watch
from tests.watching.usual import Usual, usual, wanted
from tests.watching.world import START

OFTEN = 300.0
"""Seconds between two reads of a task, the usual way."""


def of(values: Sequence[float], share: float) -> float:
    """The value that so many of *values*, which are in order, are not above."""
    return values[min(len(values) - 1, int(len(values) * share))]


def duration(seconds: float) -> str:
    """In a unit that fits."""
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def share(ratio: float) -> str:
    """*ratio* as one of so many."""
    return f"1 : {1 / ratio:,.0f}" if ratio < 0.1 else f"1 : {1 / ratio:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ours(part: Part, hours: float) -> list[str]:
    """What watching came to."""
    d = part.delays
    wrong = f"{part.missed} / {part.doubled}"
    news = [f"{len(d):,}", wrong, f"{len(part.between):,}"]
    tasks, requests = (f"{part.tasks:,}", f"{part.requests / hours:,.0f}") if part.whole else ("", "")
    return [part.name, tasks, *news, requests, duration(of(d, 0.5)), duration(of(d, 0.99))]


def theirs(name: str, interval: float, way: Usual, part: Part, hours: float) -> list[str]:
    """What the usual way comes to, and how ours compares with it."""
    middle, worst = of(way.delays, 0.5), of(way.delays, 0.99)
    ratio = share(part.requests / way.requests)
    return [name, duration(interval), f"{way.requests / hours:,.0f}", duration(middle), duration(worst), f"{way.between:,}", ratio]


def beside(part: Part, end: float) -> Iterator[list[str]]:
    """The usual way: as it is; as late as ours in the middle, and at worst; for as many requests."""
    hours, happened, d = (end - START) / 3600, [*part.told, *part.between], part.delays
    intervals = {
        "every five minutes": OFTEN,
        "as late as ours (median)": 2 * of(d, 0.5),
        "as late as ours (p99)": of(d, 0.99) / 0.99,
        "for as many requests": wanted(part.windows.values(), end) / part.requests,
    }
    for name, interval in intervals.items():
        yield theirs(name, interval, usual(happened, part.windows, interval, end), part, hours)


def report(all_: Sequence[Watched]) -> str:
    """Both tables, by part."""
    out = []
    head = ["", "tasks", "news told", "missed / told twice", "came and went", "requests an hour", "late: median", "p99"]
    out.append(table(head, [ours(part, (w.end - START) / 3600) for w in all_ for part in w.parts]))
    head = ["read every", "requests an hour", "late: median", "p99", "came and went", "requests, ours : theirs"]
    for w in all_:
        out += [table([f"{p.name}: the usual way", *head], list(beside(p, w.end))) for p in w.parts if p.whole]
    return "\n".join(out)


def main() -> int:
    """Zero where nothing was missed or told twice."""
    parser = argparse.ArgumentParser(prog="make watching", description="A month of tasks, watched, and the usual way beside it.")
    parser.add_argument("--tasks", type=int, default=10_000, help="of Workiva, one in five made by a process")
    parser.add_argument("--items", type=int, default=2_000, help="of Autodesk")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds, as `approvals watch add --every` takes them")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    plans = [
        Plan(kind, count, asked.days, asked.every, asked.seed)
        for kind, count in (("workiva", asked.tasks), ("autodesk", asked.items))
        if count
    ]
    began = time.monotonic()
    with ProcessPoolExecutor(len(plans)) as pool:
        all_ = list(pool.map(watch, plans))
    print(report(all_))
    for w in all_:
        print(f"{w.plan.kind}: requests {dict(w.requests)}, answers {dict(w.answers)}, events {dict(w.events)}")
        print("\n".join(w.wrong[:50]))
    print(f"{asked.days:g} days in {time.monotonic() - began:.0f} s")
    return 1 if any(w.wrong for w in all_) else 0


if __name__ == "__main__":
    sys.exit(main())
