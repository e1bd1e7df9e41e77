"""One worker process on a ledger, for the contention tests: accepts all commands, then carries on what it can claim until all have ended.

`python -m tests.ledger.carry URL COUNT LEASE`. It prints the id of each submission that it claims. Its upstream is imaginary: a look shows
what the ledger knows, and every send is answered with success.
"""

import random
import sys
from dataclasses import replace
from threading import Event

from tests.ledger.make import REALM, context, look, new, seen, sent
from worker.core.submission import OPEN, Rules
from worker.ledger import Ledger

SET = 50


def commands(count):
    """Two for each task."""
    return [new(f"k{n}", task=f"T{n // 2}", not_after=4e9) for n in range(count)]


def carry(ledger, count, lease):
    rules = Rules(deadline=lease / 2, lease=lease, cutoff=0.3, slack=0.2)
    batch = commands(count)
    random.shuffle(batch)
    for n in range(0, count, SET):
        ledger.submissions.accept(batch[n : n + SET])
        turn(ledger, rules)
    pause = Event()
    while any(state in OPEN for _, state, _ in ledger.queries.states()):
        if not turn(ledger, rules):
            pause.wait(0.05)


def turn(ledger, rules):
    """Claim, look, send and settle a set; how many were claimed."""

    def decided(s):
        return context(s, rules=rules)

    claimed = ledger.submissions.claim("finance", SET, rules.lease)
    for c in claimed:
        print(c.submission.id, flush=True)
    known = ledger.tasks.known({(REALM, c.submission.command.task) for c in claimed})
    looks = {task: row.snapshot for (_, task), row in known.items()}
    answers = [replace(seen(c, looks.get(c.submission.command.task) or look(c.submission.command.task)), asked_at=c.at) for c in claimed]
    begun = ledger.submissions.settle(answers, decided).begun
    ledger.submissions.settle([sent(b) for b in begun], decided)
    return len(claimed)


if __name__ == "__main__":
    carry(Ledger(sys.argv[1], sinks=("erp",)), int(sys.argv[2]), float(sys.argv[3]))
