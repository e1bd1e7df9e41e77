"""Values to test with, each with the least that it needs. Times count from NOW; people are named by a word."""

from dataclasses import replace
from typing import Any

from worker.core import submission as life
from worker.core.command import Command
from worker.core.outcomes import Fact
from worker.core.pins import pin_of
from worker.core.submission import Context, Rules
from worker.core.task import Offer, Part, Response, Snapshot, State, Step, Task

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


# --- an exact task: a review whose steps have parts, in a round of their own

BEGAN = -200
"""When the review was begun, and its first step."""


def closes(number, who, at=0.0, comment=None, choice="ok", part=None):
    """*who* has closed a part of step *number*, by default the one that bears their name."""
    return Response(who, "approve", NOW + at, comment, part=part or f"s{number}/{who}", choice=choice, label="Approved")


def review(number, *people, by=(), optional=(), state: State = "active", started: float | None = BEGAN, modified=BEGAN):
    """Step *number* with a part for each of *people* and *optional*, named after them. `by`: what closed some of them."""
    done = {r.part: r.at for r in by}
    begun = NOW + started if started is not None and state != "waiting" else None

    def part(who):
        id_ = f"s{number}/{who}"
        now: State = "complete" if id_ in done else "waiting" if state == "waiting" else "active"
        return Part(id_, who, who not in optional, now, done.get(id_, NOW + modified), begun)

    everybody = (*people, *optional)
    return Step(everybody, "parts", tuple(by), state=state, started=begun, parts=tuple(map(part, everybody)))


def item(*steps, at=BEGAN, status="rev", begun=BEGAN, **more):
    """A submittal as it is: `at` is when the item itself was touched, which a response need not do."""
    values = {"awaiting": status == "rev", "done": status == "sbc-2", "modified": NOW + at, "date": NOW + at, "begun": NOW + begun}
    return Snapshot(task="T", title="Review", status=status, steps=steps, **(values | more))


def offered(look, part="s1/jane", choice="ok", refusal=None, me="jane"):
    """*look* as the upstream shows it to *me*."""
    return replace(look, offer=Offer(part, choice, refusal, me))


def wanted(part="s1/jane", look=None, number=1, **more):
    """A fresh submission for a part of an item; `look`: the one that its pin was made of."""
    values = {"action": "close", "task": f"T/{part}" if part else "T", "response": "Approved", **more}
    pin = pin_of(REALM, look, number) if look else None
    return life.accept(command(**values), id_="s1", realm=REALM, task="T", part=part, pin=pin, now=NOW).submission


def closing(look, part="s1/jane", ctx=None, **more):
    """A submission for a part whose first attempt was written down just now."""
    move = life.looked(wanted(part, **more), offered(look, part), ctx or context())
    assert move.begin, move.submission.reason
    return move.submission


def command(**more):
    values: dict[str, Any] = {"key": "po-1", "account": "finance", "grant": "g", "task": "T", "action": "approve", "issued_at": NOW}
    return Command(**(values | more))


def accepted(look=TWO, number=1, **more):
    """A fresh submission with an exact pin; `look=None`: without one."""
    return life.accept(
        command(**more), id_="s1", realm=REALM, task="T", pin=pin_of(REALM, look, number) if look else None, now=NOW
    ).submission


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
    if s.part:
        return Response(actor, action or "approve", NOW + at, f"fine [{s.mark}]", part=s.part, choice=s.choice, label="Approved")
    return approve(actor, at, f"fine [{s.mark}]", action or s.command.action)


def task(look=None, **more):
    row = Task(realm=REALM, task="T", kind="workiva", account="finance", **more)
    return replace(row, snapshot=row.align(look)) if look else row
