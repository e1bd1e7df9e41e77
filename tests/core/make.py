"""Values to test with, each with the least that it needs. Times count from NOW; people are named by a word."""

from dataclasses import replace
from typing import Any

from worker.core import submission as life
from worker.core.command import Command
from worker.core.outcomes import Fact
from worker.core.pins import pin_of
from worker.core.submission import Context, Rules
from worker.core.task import Response, Snapshot, Step, Task

NOW = 1_700_000_000.0
REALM = "workiva:api.example.com"
RULES = Rules(deadline=25.0, lease=30.0, cutoff=29.0, slack=20.0)
QUIET = 30.0 + 29.0 + 20.0
"""From the begin of an attempt whose sender died until nothing can come of it."""
FACT = Fact("answer", 500)


def approve(actor, at=0.0, comment=None, action="approve"):
    return Response(actor, action, NOW + at, comment)


def step(*people, mode="one", by=()):
    return Step(people, mode, tuple(by))


def snap(*steps, at=0.0, status="Awaiting Approval", **more):
    """The task as it is `at` seconds after NOW; its `modified` too, unless told."""
    values = {"awaiting": status == "Awaiting Approval", "done": status == "Completed", "modified": NOW + at, "date": NOW + at}
    return Snapshot(task="T", title="Review", status=status, steps=steps, **(values | more))


ONE = snap(step("jane"), at=-100)
TWO = snap(step("jane"), step("bob"), at=-100)
BOTH = snap(step("jane"), step("jane"), at=-100)
"""jane is in both steps: exposed."""
OTHERS = snap(step("jane", "bob"), step("eve"), at=-100)
"""bob may complete the first step as well."""


def command(**more):
    values: dict[str, Any] = {"key": "po-1", "account": "finance", "grant": "g", "task": "T", "action": "approve", "issued_at": NOW}
    return Command(**(values | more))


def accepted(look=TWO, number=1, **more):
    """A fresh submission with an exact pin; `look=None`: without one."""
    return life.accept(command(**more), id_="s1", realm=REALM, pin=pin_of(REALM, look, number) if look else None, now=NOW).submission


def context(after=0.0, **more):
    return Context(**({"now": NOW + after, "asked": NOW + after, "dice": 0.0, "rules": RULES, "acts_as": "jane", "grant": "proven"} | more))


def rules(**more):
    return replace(RULES, **more)


def begun(look=TWO, number=1, after=0.0, ctx=None, **more):
    """A submission whose first attempt was written down just now."""
    move = life.looked(accepted(look, number, **more), look, ctx or context(after))
    assert move.begin, move.submission.reason
    return move.submission


def mine(s, at=1.0, actor="jane", action=None):
    """The response that *s* leaves."""
    return approve(actor, at, f"fine [{s.mark}]", action or s.command.action)


def task(look=None, **more):
    row = Task(realm=REALM, task="T", kind="workiva", account="finance", **more)
    return replace(row, snapshot=row.align(look)) if look else row
