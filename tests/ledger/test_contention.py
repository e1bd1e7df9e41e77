"""Several processes on one ledger at once: each submission is claimed once, nothing deadlocks, one that is killed stops no other."""

import subprocess
import sys
from collections import Counter, defaultdict

import sqlalchemy as sa

from tests import servers

COUNT = 1000
PROCESSES = 4


def start(url, lease):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.carry", url, str(COUNT), str(lease)],
        cwd=servers.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(running):
    """What each process printed. None of them has complained."""
    done = [p.communicate(timeout=300) for p in running]
    assert [(p.returncode, errors) for p, (_, errors) in zip(running, done, strict=True)] == [(0, "")] * len(running)
    return "".join(out for out, _ in done).split()


def ended_well(ledger):
    """All that was asked for has ended, each task's first applied and its second too late, and no sequence has a gap."""
    assert Counter({state: count for _, state, count in ledger.queries.states()}) == {"applied": COUNT // 2, "superseded": COUNT // 2}
    sequences = defaultdict(list)
    for _, e in ledger.queries.events(limit=1_000_000):
        sequences[e["subject"]].append(int(e["sequence"]))
    assert len(sequences) == COUNT // 2
    assert all(s == list(range(1, len(s) + 1)) for s in sequences.values())
    if not ledger.database.sqlite:
        with ledger.database.read() as c:
            assert c.scalar(sa.text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")) == 0


def test_four_processes_claim_each_once(own, url):
    claimed = finish([start(url, 120) for _ in range(PROCESSES)])
    assert len(claimed) == len(set(claimed)) == COUNT
    ended_well(own)


def test_the_end_of_one_stops_no_other(own, url):
    """Killed in the middle of a set: its claims last until their leases end, then the others have them."""
    victim, *others = [start(url, 3) for _ in range(PROCESSES)]
    assert victim.stdout
    assert len([victim.stdout.readline() for _ in range(60)]) == 60
    victim.kill()
    victim.communicate()
    finish(others)
    ended_well(own)
