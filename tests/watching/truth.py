"""What happened, what a watcher could know of it, and what was told.

People's deeds are written down as what a task shows after each of them: a set of facts. Each look at a task compares what it shows with
what the look before it showed: what is there now and was not there then has to be told, once. What was there in between only came and
went between two looks. First sight is a baseline.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from worker.core import times

Shown = tuple[str, tuple[Any, ...], Any]
"""(event type, what tells it from others of that type, which time it is): `("step.opened", (1,), round)`."""

Key = tuple[str, str, tuple[Any, ...]]
"""(task, event type, what tells it from others)."""

CHANGES = ("title", "status", "due")
"""What `task.changed` tells of; the rest of it follows from progress here."""

FOREVER = float("inf")


def millis(at: float) -> int:
    """As events show times."""
    return round(at * 1000)


@dataclass(slots=True, eq=False)
class Happening:
    """One fact, from `since` on; `until`: when it was there no more. `fed`: the feed shows it; `due`: the look that has to tell it;
    `hidden`: a look has met it, and could not know that it was another than before.
    """

    key: Key
    since: float
    fed: bool
    until: float = FOREVER
    due: float | None = None
    told: float | None = None
    hidden: bool = False


@dataclass(slots=True)
class Story:
    """One task, or what one request shows of it. `seen`: at the last look, None before the first."""

    now: frozenset[Shown] = frozenset()
    seen: frozenset[Shown] | None = None
    there: dict[Shown, Happening] = field(default_factory=dict)
    stale: bool = True


@dataclass(slots=True)
class Window:
    """From when to when somebody wants to know of a task. `fed`: a feed shows it."""

    since: float
    fed: bool
    until: float = FOREVER


class Truth:
    """All tasks. *hides*: the upstream does not say when a round begins, so that only answers that are gone show that one has."""

    def __init__(self, *, hides: bool) -> None:
        self._hides = hides
        self._stories: dict[tuple[str, str], Story] = defaultdict(Story)
        self.windows: dict[str, Window] = {}
        self.happenings: list[Happening] = []

    def becomes(self, task: str, aspect: str, shown: Iterable[Shown], at: float, *, fed: bool) -> None:
        """*task* shows this from *at* on. *fed*: this change moves it in the feed."""
        story, now = self._stories[task, aspect], frozenset(shown)
        for gone in story.now - now:
            story.there.pop(gone).until = at
        for new in now - story.now:
            story.there[new] = Happening((task, new[0], new[1]), at, fed)
            if story.seen is not None:
                self.happenings.append(story.there[new])
        story.now, story.stale = now, True

    def look(self, task: str, aspect: str, at: float, *, without: Collection[str] = ()) -> None:
        """A watcher is shown *task*. *without*: types of which it shows nothing now."""
        story = self._stories.get((task, aspect))
        if story is None or not story.stale:
            return
        if story.seen is not None:
            for new in story.now - story.seen:
                if new[0] not in without and not self._hidden(new, story.seen, story.now):
                    story.there[new].due = at
            for happening in story.there.values():
                happening.hidden = happening.due is None
        story.seen, story.stale = story.now, False

    def _hidden(self, new: Shown, seen: frozenset[Shown], now: frozenset[Shown]) -> bool:
        """Whether nothing shows that this is another than was seen: a round that went by unseen leaves no trace."""
        if not self._hides or any(type_ == "response.recorded" for type_, _, _ in seen - now):
            return False
        return new[0] == "task.restarted" or (new[0] in {"step.opened", "task.completed"} and any(new[:2] == old[:2] for old in seen))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`told`: each with its `told`; `missed`, `doubled`: keys; `between`: what came and went between two looks."""

    told: list[Happening]
    missed: list[Happening]
    doubled: list[tuple[Key, float]]
    between: list[Happening]


OVERLOOKED = 7200.0
"""Seconds. The longest that a watch waits is an hour, and a tenth more: what could be seen for so long and met no look, was missed."""


def judge(truth: Truth, events: Iterable[tuple[float, dict[str, Any]]], end: float) -> Verdict:
    """Each fact that a look has shown against the events, (when it was told, CloudEvent) each; at *end* all was over."""
    said: dict[Key, list[float]] = defaultdict(list)
    for at, event in events:
        for key in keys(event):
            said[key].append(at)
    owed: dict[Key, list[Happening]] = defaultdict(list)
    for happening in truth.happenings:
        if happening.due is not None:
            owed[happening.key].append(happening)
    told, missed, doubled = [], [], []
    for key in said.keys() | owed.keys():
        open_ = sorted(owed.get(key, ()), key=lambda h: h.due or 0.0)
        for at in sorted(said.get(key, ())):
            if open_ and (open_[0].due or 0.0) <= at:
                happening = open_.pop(0)
                happening.told = at
                told.append(happening)
            else:
                doubled.append((key, at))
        missed += open_
    between: list[Happening] = []
    for happening in truth.happenings:
        wanted = truth.windows[happening.key[0]].until
        if happening.due is None and happening.since <= wanted:
            there = min(happening.until, wanted, end) - happening.since
            (missed if there > OVERLOOKED and not happening.hidden else between).append(happening)
    return Verdict(told, missed, doubled, between)


def keys(event: dict[str, Any]) -> list[Key]:
    """What facts an event tells."""
    task, type_, data = event["subject"], event["type"], event["data"]
    match type_:
        case "response.recorded":
            response = data["response"]
            return [(task, type_, (data["step"], response["actor"], response["action"], millis(times.parse(response["at"]))))]
        case "step.completed":
            return [(task, type_, (data["step"], millis(times.parse(event["time"]))))]
        case "step.opened":
            return [(task, type_, (data["step"],))]
        case "task.changed":
            return [(task, type_, (name,)) for name in data["changes"] if name in CHANGES]
        case "task.due_soon" | "task.overdue":  # told without a look
            return []
        case _:
            return [(task, type_, ())]
