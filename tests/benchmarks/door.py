"""`make door`: that no more leaves than may, counted where it arrives, and what submissions wait for meanwhile.

Two accounts of one app of Autodesk's, several worker processes on PostgreSQL and RabbitMQ, and more watches than the budget pays for.
Submissions trickle in: first without the watches, then beside them. In the middle all workers are stopped and started again.
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
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests import servers
from tests.benchmarks.waits import Waits, applied, pass_until, summed
from tests.system.house import House
from worker.core.budget import GOOD_FOR, Limit
from worker.sandbox.project import PROJECT
from worker.sandbox.server import RunningSandbox, running_sandbox

ACCOUNTS = {"north": "robot1", "south": "robot2"}
"""Account -> the service account that it acts as. Both are of the app `sandbox`."""

PACE = 2.0
"""Seconds from one submission to the next. Each is five requests: its look, its send, and the look that sees the item moved."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came in at the door. `busiest`: the most in any window of so many seconds; `used`: requests a minute beside the watches."""

    limit: Limit
    busiest: Mapping[int, int]
    refused: int
    used: float
    alone: Waits
    beside: Waits

    def allowed(self, seconds: float) -> float:
        """In any window of so many seconds. A request leaves within `GOOD_FOR` of its payment."""
        return self.limit.burst + self.limit.ceiling * (seconds + GOOD_FOR)


def measure(folder: Path, ledger: str, broker: str, *, workers: int, per_minute: int, submissions: int, watches: int) -> Figures:
    """The whole run. *submissions*: in each third (without watches, with them, with them after the restart); *watches*: of each account."""
    key = generate_private_key(65537, 2048)
    with ExitStack() as stack:
        sandbox = stack.enter_context(running_sandbox())
        sandbox.assume(requests_per_minute=per_minute)
        more = settings(folder, sandbox, key, per_minute)
        namespace = f"door{secrets.token_hex(4)}"
        house = stack.enter_context(House(folder, "", namespace=namespace, ledger=ledger, broker=broker, more=more))
        house.start("beat")
        house.start("intake").ready("intake.started", 60)
        start(house, workers)
        alone = trickle(house, sandbox, "alone", submissions)
        for account in ACCOUNTS:
            for _ in range(watches):
                house.ledger.watches.add(account, item(sandbox, "nobody")["id"], 1.0)
        before, began = total(sandbox), time.monotonic()
        beside = trickle(house, sandbox, "beside", submissions)
        for n in range(workers):
            house[f"worker{n}"].stop(60)
        start(house, workers)
        beside += trickle(house, sandbox, "restarted", submissions)
        used = (total(sandbox) - before) / (time.monotonic() - began) * 60
        stats = sandbox.control("GET", "/stats")
        busiest = {int(seconds): most for seconds, most in stats["busiest"]["autodesk"].items()}
        refused = stats["answers"]["autodesk"].get("429", 0)
        return Figures(Limit(per_minute), busiest, refused, used, summed(alone), summed(beside))


def settings(folder: Path, sandbox: RunningSandbox, key: RSAPrivateKey, per_minute: int) -> dict[str, str]:
    """Two projects' worth of accounts, of one app. The sandbox has one project, so each acts as a user of its own."""
    pem = folder / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem.chmod(0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    out: dict[str, str] = {}
    for account, user in ACCOUNTS.items():
        sandbox.control("POST", "/autodesk/accounts", {"id": user, "client_id": "sandbox", "keys": {"k": public}})
        grant = {"FLOW": "service_account", "CLIENT_ID": "sandbox", "CLIENT_SECRET": "sandbox", "ACTS_AS": user}
        grant |= {"SERVICE_ACCOUNT_ID": user, "KEY_ID": "k", "PRIVATE_KEY_FILE": str(pem)}
        values = {"KIND": "autodesk", "BASE_URL": sandbox.autodesk_url, "PROJECT_ID": PROJECT}
        values["REQUESTS_PER_MINUTE"] = str(0 if per_minute == 600 else per_minute)
        values |= {f"GRANTS__ROBOT__{name}": value for name, value in grant.items()}
        out |= {f"ACCOUNTS__{account.upper()}__{name}": value for name, value in values.items()}
    return out


def item(sandbox: RunningSandbox, user: str) -> dict[str, Any]:
    """An item under review by *user*."""
    return sandbox.item(steps=[[{"user": user}]])


def total(sandbox: RunningSandbox) -> int:
    """Answers so far, those of the token endpoint included: a handful."""
    return sum(sandbox.control("GET", "/stats")["answers"].get("autodesk", {}).values())


def start(house: House, workers: int) -> None:
    for n in range(workers):
        house.start("worker", f"worker{n}")
    for n in range(workers):
        house[f"worker{n}"].ready("ready.", 90)


def trickle(house: House, sandbox: RunningSandbox, name: str, submissions: int) -> list[float]:
    """One after another, each account in its turn; how long each took."""
    keys, accounts = [], list(ACCOUNTS.items())
    for n in range(submissions):
        began = time.monotonic()
        account, user = accounts[n % len(accounts)]
        made = item(sandbox, user)
        keys.append(f"{name}-{n}")
        [task] = made["tasks"]
        house.publish({"key": keys[-1], "account": account, "task": task, "action": "close", "response": "Approved"})
        pass_until(began + PACE)
    return applied(house, keys, 120)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.door", description=__doc__)
    parser.add_argument("--workers", type=int, default=4, help="worker processes (4)")
    parser.add_argument("--per-minute", type=int, default=600, help="requests a minute that the upstream lets in (600)")
    parser.add_argument("--submissions", type=int, default=50, help="in each third of the run, one every two seconds (50)")
    parser.add_argument("--watches", type=int, default=300, help="of each account, each as often as can be (300)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    size = {name: getattr(given, name) for name in ("workers", "per_minute", "submissions", "watches")}
    try:
        with ExitStack() as stack:
            ledger = stack.enter_context(servers.database(stack.enter_context(servers.postgres())))
            broker = stack.enter_context(servers.rabbitmq())
            found = measure(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aw-door-"))), ledger, broker, **size)
    except servers.Missing as exc:
        print(f"make door: {exc}. `make servers` gets them.", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps({name: value for name, value in asdict(found).items() if name != "limit"}))
    else:
        for seconds, most in found.busiest.items():
            print(f"most in any {seconds:2} s:          {most:4} (of {found.allowed(seconds):.0f} that the bucket lets out)")
        print(f"let in a minute:            {given.per_minute:4}; refused: {found.refused}; used beside the watches: {found.used:.0f}")
        print(f"submissions alone:          {found.alone}\nsubmissions beside watches: {found.beside}")
    return 1 if found.refused or found.busiest[60] > given.per_minute else 0


if __name__ == "__main__":
    sys.exit(main())
