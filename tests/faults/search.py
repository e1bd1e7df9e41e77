"""Search for a world in which something breaks: `python -m tests.faults.search --seconds 60 --seed 7`.

World N of a seed is always the same. The first that breaks is made as small as it gets and printed, one line for each thing that happened.
"""

import argparse
import gc
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import structlog

from tests.faults.judge import judge
from tests.faults.tape import Tape
from tests.faults.world import Options, World, new_ledger

LENGTH = 400
"""Bytes of a tape: a storm of some thirty requests."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a world came to: the names of what broke, and what happened."""

    broken: tuple[tuple[str, str], ...]
    trace: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.broken)

    def __str__(self) -> str:
        return "\n".join([*self.trace, *(f"!! {name}: {text}" for name, text in self.broken)])


class Arena:
    """Where worlds are run, one after the other."""

    def __init__(self, folder: str) -> None:
        structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
        gc.disable()  # a world leaves little that refers to itself, and SQLAlchemy allocates much
        self._ledger, self._hand = new_ledger(str(Path(folder) / "ledger.db"))

    def run(self, tape: bytes, options: Options) -> Ran:
        """One world. An exception that nobody foresaw is an ERROR like any other."""
        world: World | None = None
        try:
            world = World(Tape(tape), options, self._ledger, self._hand)
            world.run()
            broken = tuple(judge(world))
        except Exception:
            broken = (("ERROR", traceback.format_exc(limit=-6)),)
        return Ran(broken, tuple(world.trace) if world else ())

    def close(self) -> None:
        """Give the ledger back."""
        self._ledger.close()


def tape_of(seed: int, number: int, length: int = LENGTH) -> bytes:
    """The tape of world *number*."""
    return random.Random(f"{seed}/{number}").randbytes(length)


def shrunk(arena: Arena, tape: bytes, options: Options, name: str, seconds: float = 60.0) -> bytes:
    """A smaller tape that breaks the same: cut at its end, then whole stretches and single bytes turned to 0."""
    end = time.monotonic() + seconds
    best = tape

    def tries() -> Iterator[bytes]:
        step = len(best) // 2
        while step:
            for at in range(0, len(best), step):
                if any(best[at : at + step]):
                    yield best[:at] + bytes(step) + best[at + step :]
            step //= 2

    for n in (len(tape) // 8, len(tape) // 4, len(tape) // 2):
        if name in arena.run(tape[:n], options).names:
            best = tape[:n]
            break
    again = True
    while again and time.monotonic() < end:
        again = False
        for each in tries():
            if len(each) == len(best) and time.monotonic() < end and name in arena.run(each, options).names:
                best, again = each, True
    return best.rstrip(b"\0")


def options_of(texts: list[str]) -> Options:
    """`people=0.3 exposed=True` as options."""
    known = {f.name: f for f in fields(Options)}
    given: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise SystemExit(f"no option {name}; there are {', '.join(known)}")
        given[name] = {"True": True, "False": False}.get(value, value if name in {"when_exposed", "version", "upstream", "does"} else None)
        if given[name] is None:
            given[name] = int(value) if name in {"commands", "tasks"} else float(value)
    return replace(Options(), **given)


def main() -> int:
    """Run; 1 when something broke (with --expect: when it did not)."""
    parser = argparse.ArgumentParser(prog="tests.faults.search", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--worlds", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="begin with this world")
    parser.add_argument("--expect", help="this must break, and nothing is printed but in how many worlds")
    parser.add_argument("--all", action="store_true", help="go on after the first, count")
    parser.add_argument("options", nargs="*", help="name=value, of tests.faults.world.Options")
    args = parser.parse_args()
    options, began, counts, n = options_of(args.options), time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        arena = Arena(folder)
        for n in range(args.first, args.first + args.worlds):
            if time.monotonic() - began > args.seconds:
                break
            ran = arena.run(tape_of(args.seed, n), options)
            counts.update(ran.names)
            if args.expect and args.expect in ran.names:
                print(f"{args.expect} in world {n - args.first + 1}")
                return 0
            if ran.broken and not args.expect and not args.all:
                name = ran.broken[0][0]
                small = shrunk(arena, tape_of(args.seed, n), options, name)
                print(f"seed {args.seed} world {n} {' '.join(args.options)}\ntape {small.hex()}\n{arena.run(small, options)}")
                return 1
        arena.close()
    took = time.monotonic() - began
    print(f"{n - args.first + 1} worlds, {(n - args.first + 1) / took:.0f} a second; broken: {dict(counts) or 'nothing'}")
    return 1 if counts or args.expect else 0


if __name__ == "__main__":
    sys.exit(main())
