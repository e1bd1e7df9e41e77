"""Values to fill a ledger with, each with the least that it needs. The upstream's clock and the ledger's both begin at NOW."""

from dataclasses import dataclass
from typing import Any

from worker.core.advance import Answer
from worker.core.command import Command
from worker.core.events import Event
from worker.core.keys import digest, marked
from worker.core.outcomes import Applied, Fact
from worker.core.pins import pin_of
from worker.core.submission import Context, Rules
from worker.core.task import Response, Snapshot, Step
from worker.ledger.submissions import New

NOW = 1_700_000_000.0
REALM = "workiva:api.example.com"
LEASE = 30.0
RULES = Rules(deadline=25.0, lease=LEASE, cutoff=29.0, slack=20.0)
SAID = Fact("answer", 200)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    at: float = NOW

    def __call__(self):
        return self.at

    def pass_(self, seconds):
        self.at += seconds


def look(task="T", first=(), second=(), at=-100.0, **more):
    """A task of two steps, jane's and bob's, with these responses, last modified *at* seconds after NOW."""
    steps = (Step(("jane",), "one", tuple(first)), Step(("bob",), "one", tuple(second)))
    known: dict[str, Any] = {"title": "Review", "status": "Awaiting Approval", "awaiting": True, "done": False, "steps": steps}
    return Snapshot(**{**known, "task": task, "modified": NOW + at, "date": NOW + at, **more})


def new(key="k1", task="T", step=1, **more):
    """A command that is ready, with an exact pin on *step*."""
    values: dict[str, Any] = {"account": "finance", "grant": "jane", "action": "approve", "issued_at": NOW, "not_after": NOW + 1e6}
    command = Command(**{**values, "key": key, "task": task, **more})
    return New(command, "workiva", REALM, pin_of(REALM, look(task), step), task)


def many(count, task=None, prefix="k"):
    """Commands, each for a task of its own, or all for *task*."""
    return [new(f"{prefix}{i:04}", task or f"{prefix}-T{i:04}") for i in range(count)]


def context(_submission, **more):
    return Context(**{"now": 0.0, "dice": 0.0, "rules": RULES, "acts_as": "jane", "grant": "proven", **more})


def seen(claimed, what=None):
    """The answer to the look of *claimed*: by default the task as its pin knows it."""
    s = claimed.submission
    what = what or look(s.command.task)
    return Answer(s.realm, s.command.task, claimed.version, what, s.id, claim=claimed.claim, attempts_before=len(s.attempts))


def sent(begun, what=None, at=1.0):
    """The answer to the send of *begun*: by default a 200 that shows our response."""
    s = begun.submission
    if what is None:
        ours = Response("jane", s.command.action, NOW + at, marked(s.command.comment, s.mark))
        what = Applied(look(s.command.task, [ours], at=at), SAID)
    return Answer(s.realm, s.command.task, begun.version, what, s.id, attempt=begun.attempt.n, claim=begun.claim)


def polled(what, version):
    """A look that nobody's submission asked for."""
    return Answer(REALM, what.task, version, what)


def fact(name, source="/workiva/finance"):
    """An event about no task."""
    message = {"key": None, "message_id": None, "size": 2, "digest": digest(name), "excerpt": "{}"}
    return Event(digest([name])[:32], "command.rejected", source, "approvals.commands", {"reason": name, **message}, NOW)


def state(ledger, key):
    """What became of the submission of *key*."""
    [found] = ledger.queries.find(key)
    return found.state


def begin(ledger, *items):
    """Accept *items* and carry them on until their attempts are written."""
    ledger.submissions.accept(items)
    claimed = ledger.submissions.claim("finance", 1000, LEASE)
    return ledger.submissions.settle([seen(c) for c in claimed], context).begun
