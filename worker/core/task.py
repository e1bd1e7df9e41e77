"""One upstream task as we know it: what a look showed (`Snapshot`), and the one row that every look goes through (`Task`).

A13 Which step is active is a guess (Workiva gives no index): only if an approval is awaited, all earlier steps are surely complete and no
    later one has responses. Anything else is `Unclear`, and nothing is sent on a guess.
C2  A response keeps the identity of its first sight; answers whose fractions of a second differ are matched with 1 s tolerance.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, Literal

from worker.core.keys import digest

SAME_INSTANT = 1.0
"""Seconds. Two renderings of one upstream time may differ by their fraction; two responses of one person to one step do not come this
close."""

SAME_MODIFIED = 0.001
"""Seconds. `modified` is compared exactly, but for renderings that cut it to milliseconds: a second of tolerance would hide a restart."""

POSITIVE = frozenset({"approve", "skip"})
"""Responses that carry a step on. A rejection never completes a step: it is told as a response, and the task is returned."""


@dataclass(frozen=True, slots=True)
class Response:
    """One person's answer to a step. `actor` is None where the author cannot be read, `at` where the time cannot."""

    actor: str | None
    action: str
    at: float | None
    comment: str | None = None
    id: str = ""

    def same(self, other: "Response") -> bool:
        """Whether both are one response, seen twice."""
        if (self.actor, self.action) != (other.actor, other.action):
            return False
        if self.at is None or other.at is None:
            return self.at is other.at and self.comment == other.comment
        return abs(self.at - other.at) <= SAME_INSTANT


@dataclass(frozen=True, slots=True)
class Step:
    """One approval step. `mode`: "one" (any single response completes it) or "all" (everyone must respond) [WPC]."""

    participants: tuple[str, ...]
    mode: Literal["one", "all"]
    responses: tuple[Response, ...] = ()
    due: float | None = None

    @property
    def complete(self) -> bool:
        """Surely complete: enough approvals or skips, and nobody said no."""
        if self.rejected:
            return False
        answered = {r.actor for r in self.responses if r.action in POSITIVE}
        return bool(answered) if self.mode == "one" else bool(self.participants) and answered >= set(self.participants)

    @property
    def rejected(self) -> bool:
        """Whether somebody said no. What ALL with one REJECT means is not documented, so such a step is never called active or complete."""
        return any(r.action == "reject" for r in self.responses)

    @property
    def doubtful(self) -> bool:
        """Not surely complete, and not surely open either. Whether one SKIP ends an ALL step is not documented; a response without a
        readable author may be the last one that was missing; what an unknown action does, nobody knows.
        """
        return not self.complete and any(r.action != "approve" or r.actor is None for r in self.responses)


class Unclear(str):
    """Why it cannot be said which step is active (A13)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One task as seen at one moment, in our own shape, whatever the upstream.

    `awaiting`: an approval is awaited. `done`: the process ended with success. `date`: the upstream's own clock when it answered
    (its `Date` header), None where it gave none. `modified_by` is often absent.
    """

    task: str
    title: str
    status: str
    awaiting: bool
    done: bool
    steps: tuple[Step, ...]
    modified: float | None = None
    modified_by: str | None = None
    due: float | None = None
    date: float | None = None
    url: str | None = None
    assignees: tuple[str, ...] = ()

    @property
    def shape(self) -> str:
        """Fingerprint of the steps: their number, participants and modes. The same shape does not prove the same round."""
        return _shape(tuple((s.participants, s.mode) for s in self.steps))

    def responses(self) -> Iterator[tuple[int, Response]]:
        """Every response with the number of its step (1-based)."""
        for number, step in enumerate(self.steps, 1):
            for response in step.responses:
                yield number, response

    def active(self) -> int | Unclear | None:
        """The active step (1-based), None where no approval is awaited, or why it cannot be told (A13)."""
        if not self.awaiting:
            return None
        for number, step in enumerate(self.steps, 1):
            if step.complete:
                continue
            if step.rejected:
                return Unclear(f"step {number} holds a rejection, yet an approval is awaited")
            if step.doubtful:
                return Unclear(f"step {number} holds a response that may or may not complete it")
            if any(later.responses for later in self.steps[number:]):
                return Unclear(f"a step after step {number} has responses, but step {number} is not surely complete")
            return number
        return Unclear("an approval is awaited, but every step looks complete")

    def fresh(self, known: "Snapshot | None") -> tuple[tuple[int, Response], ...]:
        """The responses here that *known* does not have."""
        return _without(self, known)

    def gone(self, known: "Snapshot") -> tuple[tuple[int, Response], ...]:
        """The responses of *known* that are not here any more: a round has ended."""
        return _without(known, self)

    def explained(self, since: float | None) -> bool:
        """Whether `modified` still is *since*, or a visible response is what moved it.

        False is the sign of a change that left no trace we can read: an edit, a restart, a re-submission.
        """
        if self.modified is None or since is None:
            return self.modified is since
        if abs(self.modified - since) <= SAME_MODIFIED:
            return True
        return self.moved_by_response

    @property
    def moved_by_response(self) -> bool:
        """Whether the last change we are told of is a response that we can see."""
        return self.modified is not None and any(
            r.at is not None and abs(r.at - self.modified) <= SAME_INSTANT for _, r in self.responses()
        )

    @property
    def modified_unreliable(self) -> bool:
        """A response newer than `modified`: then `modified` does not move with responses, and "unchanged" proves less than it should."""
        newest = max((r.at for _, r in self.responses() if r.at is not None), default=None)
        return newest is not None and self.modified is not None and newest > self.modified + SAME_INSTANT


@lru_cache(1024)
def _shape(steps: tuple[tuple[tuple[str, ...], str], ...]) -> str:
    return digest([[sorted(participants), mode] for participants, mode in steps])[:12]


def _without(these: Snapshot, those: Snapshot | None) -> tuple[tuple[int, Response], ...]:
    left = [list(s.responses) for s in those.steps] if those else []
    out = []
    for number, response in these.responses():
        pool = left[number - 1] if number <= len(left) else []
        twin = next((r for r in pool if response.same(r)), None)
        if twin is None:
            out.append((number, response))
        else:
            pool.remove(twin)
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Credit:
    """Who a response is credited to: the submission's id, key and labels as they stand in events (A10)."""

    submission: str
    key: str
    labels: Mapping[str, str]
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """The one row of an upstream task. `realm`: kind, host and path of the upstream; `version` counts looks that changed something."""

    realm: str
    task: str
    kind: str
    account: str
    snapshot: Snapshot | None = None
    round: int = 1
    sequence: int = 0
    version: int = 0
    holder: str | None = None
    frozen: bool = False
    """Whether this task was ever seen with a response newer than `modified`: then `modified` does not move with responses here (A5)."""
    gone: int = 0
    """Episode number: odd while the task cannot be seen any more, even while it can."""

    @property
    def source(self) -> str:
        """The CloudEvents `source`."""
        return f"/{self.kind}/{self.account}"

    def align(self, look: Snapshot) -> Snapshot:
        """*look* with every response named: as at first sight where it was seen before, after its own facts where it is new (C2)."""
        known = [list(s.responses) for s in self.snapshot.steps] if self.snapshot else []
        taken = {r.id for step in known for r in step}
        steps = []
        for number, step in enumerate(look.steps, 1):
            pool = known[number - 1] if number <= len(known) else []
            named = []
            for response in step.responses:
                twin = next((r for r in pool if response.same(r)), None)
                if twin is not None:
                    pool.remove(twin)
                    named.append(replace(response, id=twin.id, at=twin.at))
                else:
                    named.append(replace(response, id=self._name(number, response, taken)))
                    taken.add(named[-1].id)
            steps.append(replace(step, responses=tuple(named)))
        return replace(look, steps=tuple(steps))

    def _name(self, number: int, r: Response, taken: AbstractSet[str]) -> str:
        """In whole seconds, because fractions differ between answers; counted, so that one effect that came twice is two responses."""
        fact = [self.source, self.task, number, r.actor, r.action, int(r.at) if r.at is not None else r.comment]
        names = (digest([*fact, n] if n else fact)[:24] for n in count())
        return next(name for name in names if name not in taken)

    def news(self, look: Snapshot) -> bool:
        """Whether *look* shows anything that the row does not know. When the upstream answered is no news."""
        before = self.snapshot
        return before is None or self.gone % 2 == 1 or replace(self.align(look), date=None) != replace(before, date=None)

    def stale(self, look: Snapshot) -> bool:
        """Whether *look* is older than what we know: its `modified` is lower than the stored one (B1), or the same while responses
        are gone: what takes responses away moves `modified`, even where a response does not.
        """
        before = self.snapshot
        if before is None or before.modified is None or look.modified is None:
            return False
        if look.modified < before.modified - SAME_MODIFIED:
            return True
        return look.modified <= before.modified + SAME_MODIFIED and bool(look.gone(before))

    def current(self, look: Snapshot, version: int) -> bool:
        """Whether *look* may take the place of what we know (B1): the row's version is still the one read before the request left; or the
        look says the same; or it only adds, and is newer by the upstream's own `modified`. "Only adds" proves nothing by itself: a look
        from before a restart adds the responses that the restart took away.
        """
        before = self.snapshot
        if before is None or self.stale(look):
            return before is None
        if version == self.version or replace(look, date=None) == replace(before, date=None):
            return True
        newer = look.modified is not None and before.modified is not None and look.modified > before.modified + SAME_MODIFIED
        return newer and not look.gone(before)


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain JSON values, for the ledger and the evidence."""
    return {
        "task": snapshot.task,
        "title": snapshot.title,
        "status": snapshot.status,
        "awaiting": snapshot.awaiting,
        "done": snapshot.done,
        "steps": [
            {
                "participants": list(s.participants),
                "mode": s.mode,
                "due": s.due,
                "responses": [{"actor": r.actor, "action": r.action, "at": r.at, "comment": r.comment, "id": r.id} for r in s.responses],
            }
            for s in snapshot.steps
        ],
        "modified": snapshot.modified,
        "modified_by": snapshot.modified_by,
        "due": snapshot.due,
        "date": snapshot.date,
        "url": snapshot.url,
        "assignees": list(snapshot.assignees),
    }


def from_json(data: Mapping[str, Any]) -> Snapshot:
    """The inverse of `to_json`."""
    steps = tuple(Step(tuple(s["participants"]), s["mode"], tuple(Response(**r) for r in s["responses"]), s["due"]) for s in data["steps"])
    return Snapshot(**{**data, "steps": steps, "assignees": tuple(data["assignees"])})
