"""`make isolation`: how long nine healthy accounts wait, beside one whose upstream takes 29 s for everything, and without it.

One after another in one run: first the tenth account has nothing to do; then it has hundreds of submissions and watches, and whatever can
stall does. The nine have the same to do in both halves. Each on the processes of the Procfile, PostgreSQL and RabbitMQ.
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import servers
from tests.benchmarks.waits import Waits, applied, pass_until, summed
from tests.system.house import House, approve, until
from worker.sandbox.server import RunningSandbox, running_sandbox

HEALTHY, STALLED = tuple(f"well{n}" for n in range(9)), "stalled"
STALL = 29.0
"""Seconds."""

WAVE = 1.0
"""Seconds from one wave of nine submissions to the next."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the nine waited. `stalling`: how many requests the tenth held at its upstream, at the most."""

    alone: Waits
    beside: Waits
    stalling: int

    @property
    def ratio(self) -> float:
        return self.beside.median / self.alone.median


def measure(folder: Path, ledger: str, broker: str, *, workers: int, waves: int, load: int) -> Figures:
    """Both halves. *load*: submissions, and watches, of the account that stalls."""
    with ExitStack() as stack:
        well, stalls = (stack.enter_context(running_sandbox(latency=0.05)) for _ in range(2))
        for route in ("read", "list", "act"):
            stalls.fault(route, "slow", seconds=STALL, times=None)
        more = {f"ACCOUNTS__{name.upper()}__{key}": value for name in HEALTHY for key, value in account(well, name).items()}
        more |= {f"ACCOUNTS__{STALLED.upper()}__{key}": value for key, value in account(stalls, STALLED).items()}
        namespace = f"iso{secrets.token_hex(4)}"
        house = stack.enter_context(House(folder, "", namespace=namespace, ledger=ledger, broker=broker, more=more))
        for name in ("beat", "intake"):
            house.start(name)
        for n in range(workers):
            house.start("worker", f"worker{n}")
        for n in range(workers):
            house[f"worker{n}"].ready("ready.", 90)
        house["intake"].ready("intake.started", 60)
        half(house, well, "warm", 2)
        alone = half(house, well, "alone", waves)
        for _ in range(load):
            house.ledger.watches.add(STALLED, task(stalls), 30.0)
        house.publish(*(approve(f"{STALLED}-{n}", task(stalls), account=STALLED) for n in range(load)))
        until(lambda: stalls.control("GET", "/stats")["concurrency"] >= min(load, 40), 90, "the tenth to stall")
        beside = half(house, well, "beside", waves)
        return Figures(summed(alone), summed(beside), stalls.control("GET", "/stats")["max_concurrency"])


def account(sandbox: RunningSandbox, name: str) -> Mapping[str, str]:
    """The settings of an account with its own client, all times at their defaults."""
    grant = {"CLIENT_ID": f"sandbox:{name}", "CLIENT_SECRET": "sandbox", "ACTS_AS": name}
    return {"KIND": "workiva", "BASE_URL": sandbox.workiva_url, **{f"GRANTS__ONE__{key}": value for key, value in grant.items()}}


def task(sandbox: RunningSandbox, user: str = STALLED) -> str:
    """A task for *user*."""
    return str(sandbox.task(steps=[{"participants": [user]}])["id"])


def half(house: House, sandbox: RunningSandbox, name: str, waves: int) -> list[float]:
    """A submission for each of the nine, again and again; how long each took."""
    keys: list[str] = []
    for n in range(waves):
        began = time.monotonic()
        commands = [approve(f"{name}-{n}-{who}", task(sandbox, who), account=who) for who in HEALTHY]
        house.publish(*commands)
        keys += [str(command["key"]) for command in commands]
        pass_until(began + WAVE)
    return applied(house, keys, 120)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.isolation", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--waves", type=int, default=60, help="submissions of each of the nine, in each half (60)")
    parser.add_argument("--load", type=int, default=400, help="submissions, and watches, of the account that stalls (400)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        with ExitStack() as stack:
            ledger = stack.enter_context(servers.database(stack.enter_context(servers.postgres())))
            broker = stack.enter_context(servers.rabbitmq())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aw-iso-")))
            found = measure(folder, ledger, broker, workers=given.workers, waves=given.waves, load=given.load)
    except servers.Missing as exc:
        print(f"make isolation: {exc}. `make servers` gets them.", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps({**asdict(found), "ratio": found.ratio}))
    else:
        print(f"nine alone:               {found.alone}\nnine beside one at 29 s:  {found.beside}")
        print(f"ratio of the medians:     {found.ratio:.2f}; the tenth held up to {found.stalling} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
