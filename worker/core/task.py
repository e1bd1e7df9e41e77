"""One upstream task as we know it: what a look showed (`Snapshot`), and the one row that every look goes through (`Task`).

A13 Where the upstream gives no index (Workiva), which step is active is a guess: only if an approval is awaited, all earlier steps are
    surely complete and no later one has responses. Anything else is `Unclear`, and nothing is sent on a guess. Where the upstream names its
    steps' states (Autodesk), a snapshot is `exact`, and nothing is guessed.
C2  A response keeps the identity of its first sight; answers whose fractions of a second differ are matched with 1 s tolerance.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
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


State = Literal["waiting", "active", "complete"]
"""Of a step or a part, where the upstream says it."""


@dataclass(frozen=True, slots=True)
class Response:
    """One person's answer to a step. `actor` is None where the author cannot be read, `at` where the time cannot.

    `part`: the part of the step that it answers; `choice`, `label`: which of the upstream's own responses it is. None where it has no such.
    """

    actor: str | None
    action: str
    at: float | None
    comment: str | None = None
    id: str = ""
    part: str | None = None
    choice: str | None = None
    label: str | None = None

    @property
    def fact(self) -> tuple[str | None, ...]:
        """Who answered what, however it is called: a catalogue's labels and meanings may be edited."""
        return (self.actor, self.action) if self.choice is None else (self.actor, self.part, self.choice)

    def same(self, other: "Response") -> bool:
        """Whether both are one response, seen twice."""
        if self.fact != other.fact:
            return False
        if self.at is None or other.at is None:
            return self.at is other.at and self.comment == other.comment
        return abs(self.at - other.at) <= SAME_INSTANT


@dataclass(frozen=True, slots=True)
class Part:
    """One of the upstream's own tasks within a step, answered by itself (a Submittals task [TASK]). `id`: its path below the task;
    `assigned`: a user's id, or `company:…`, `role:…`; `modified`: when it was last touched; `started`: when this round of it began, which
    an answer that shows the part alone shows, too.
    """

    id: str
    assigned: str
    required: bool
    state: State
    modified: float | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One approval step. `mode`: "one" (any single response completes it), "all" (everyone must respond) [WPC] or "parts" (its required
    parts complete it [CLOSE]). `state`: None where the upstream does not say it; `started`: when this round of it began.
    """

    participants: tuple[str, ...]
    mode: Literal["one", "all", "parts"]
    responses: tuple[Response, ...] = ()
    due: float | None = None
    state: State | None = None
    started: float | None = None
    parts: tuple[Part, ...] = ()

    @property
    def complete(self) -> bool:
        """Surely complete: the upstream says so; or enough approvals or skips, and nobody said no."""
        if self.state is not None:
            return self.state == "complete"
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


@dataclass(frozen=True, slots=True)
class Offer:
    """What the upstream offers the one who looked, for one order: it belongs to the caller, not to the task, and is never kept.

    `part`: which part the order means; `choice`: the id of the response that it names; `refusal`: why it would not be taken from this
    caller, and what would; `me`: who the caller is.
    """

    part: str | None = None
    choice: str | None = None
    refusal: str | None = None
    me: str | None = None


class Unclear(str):
    """Why it cannot be said which step is active (A13)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One task as seen at one moment, in our own shape, whatever the upstream.

    `awaiting`: an approval is awaited. `done`: the process ended with success. `date`: the upstream's own clock when it answered
    (its `Date` header), None where it gave none. `modified_by` is often absent. `begun`: when the round began, where the upstream says it;
    `answer`: the response to the task as a whole, where there is such a thing.
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
    begun: float | None = None
    answer: Response | None = None
    offer: Offer | None = field(default=None, compare=False)

    @property
    def exact(self) -> bool:
        """Whether the upstream says of each step how it stands: then nothing is guessed (A13)."""
        return bool(self.steps) and all(s.state is not None for s in self.steps)

    @property
    def shape(self) -> str:
        """Fingerprint of the steps: their number, participants, modes and parts. The same shape does not prove the same round."""
        return _shape(tuple((s.participants, s.mode, tuple((p.id, p.assigned, p.required) for p in s.parts)) for s in self.steps))

    @property
    def touched(self) -> float | None:
        """When something last happened here, by the upstream's own times: `modified` may not move with responses."""
        times = [self.modified, *(r.at for _, r in self.responses())]
        return max((at for at in times if at is not None), default=None)

    def part(self, id_: str | None) -> tuple[int, Step, Part] | None:
        """That part, with its step and the step's number."""
        return next(((n, s, p) for n, s in enumerate(self.steps, 1) for p in s.parts if p.id == id_), None)

    def responses(self) -> Iterator[tuple[int, Response]]:
        """Every response with the number of its step (1-based)."""
        for number, step in enumerate(self.steps, 1):
            for response in step.responses:
                yield number, response

    def active(self) -> int | Unclear | None:
        """The active step (1-based), None where no approval is awaited, or why it cannot be told (A13).

        Of an exact task also None between two steps: the end of one and the beginning of the next are not one instant upstream.
        """
        if not self.awaiting:
            return None
        if self.exact:
            return next((n for n, s in enumerate(self.steps, 1) if s.state == "active"), None)
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

    def younger(self, known: "Snapshot", part: str | None) -> bool:
        """Whether that part was touched since *known*, by its own `modified`."""
        was, now = known.part(part), self.part(part)
        return bool(was and now and was[2].modified and now[2].modified and now[2].modified > was[2].modified + SAME_MODIFIED)

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
        """A response newer than `modified`: then `modified` does not move with responses, and "unchanged" proves less than it should. Of an
        exact task nothing rests on it.
        """
        if self.exact:
            return False
        newest = max((r.at for _, r in self.responses() if r.at is not None), default=None)
        return newest is not None and self.modified is not None and newest > self.modified + SAME_INSTANT


@lru_cache(1024)
def _shape(steps: tuple[tuple[tuple[str, ...], str, tuple[tuple[str, str, bool], ...]], ...]) -> str:
    return digest([[sorted(participants), mode, sorted(parts)] for participants, mode, parts in steps])[:12]


def near(a: float | None, b: float | None, within: float) -> bool:
    """Whether two times are one, but for how they are written; two that are missing are."""
    return a is b if a is None or b is None else abs(a - b) <= within


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
    changed_at: float | None = None
    """When a look last showed news, on the ledger's clock; at first sight, when the upstream says that it was touched."""
    notice_at: float | None = None
    """When it has something to tell of its due dates, or has to be asked whether it has (`core.due`)."""
    listed: float | None = None
    """When a feed showed it last; 0 where a whole pass did not, None where none has been over it yet."""

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
        fact = [self.source, self.task, number, *r.fact, int(r.at) if r.at is not None else r.comment]
        names = (digest([*fact, n] if n else fact)[:24] for n in count())
        return next(name for name in names if name not in taken)

    def news(self, look: Snapshot) -> bool:
        """Whether *look* shows anything that the row does not know. When the upstream answered is no news."""
        before = self.snapshot
        return before is None or self.gone % 2 == 1 or replace(self.align(look), date=None) != replace(before, date=None)

    def stale(self, look: Snapshot) -> bool:
        """Whether *look* is older than what we know: its `modified` is lower than the stored one (B1), or the same while responses
        are gone: what takes responses away moves `modified`, even where a response does not. A part that is younger than it was has
        another response in the place of the first.
        """
        before = self.snapshot
        if before is None or before.modified is None or look.modified is None:
            return False
        if look.modified < before.modified - SAME_MODIFIED:
            return True
        return look.modified <= before.modified + SAME_MODIFIED and any(not look.younger(before, r.part) for _, r in look.gone(before))

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
    """A snapshot as plain JSON values, for the ledger and the evidence: what is not there in most of them is left out."""
    out: dict[str, Any] = {
        "task": snapshot.task,
        "title": snapshot.title,
        "status": snapshot.status,
        "awaiting": snapshot.awaiting,
        "done": snapshot.done,
        "steps": [_step_json(s) for s in snapshot.steps],
        "modified": snapshot.modified,
        "modified_by": snapshot.modified_by,
        "due": snapshot.due,
        "date": snapshot.date,
        "url": snapshot.url,
        "assignees": list(snapshot.assignees),
    }
    if snapshot.begun is not None:
        out["begun"] = snapshot.begun
    if snapshot.answer is not None:
        out["answer"] = _response_json(snapshot.answer)
    return out


def _step_json(s: Step) -> dict[str, Any]:
    out: dict[str, Any] = {
        "participants": list(s.participants),
        "mode": s.mode,
        "due": s.due,
        "responses": [_response_json(r) for r in s.responses],
    }
    if s.state is not None:
        out |= {"state": s.state, "started": s.started, "parts": [_part_json(p) for p in s.parts]}
    return out


def _part_json(p: Part) -> dict[str, Any]:
    out = {"id": p.id, "assigned": p.assigned, "required": p.required, "state": p.state, "modified": p.modified}
    return out if p.started is None else {**out, "started": p.started}


def _response_json(r: Response) -> dict[str, Any]:
    out: dict[str, Any] = {"actor": r.actor, "action": r.action, "at": r.at, "comment": r.comment, "id": r.id}
    return out if r.choice is None else {**out, "part": r.part, "choice": r.choice, "label": r.label}


def from_json(data: Mapping[str, Any]) -> Snapshot:
    """The inverse of `to_json`, but for the offer, which is nobody's to keep."""
    steps = tuple(_step_of(s) for s in data["steps"])
    answer = Response(**data["answer"]) if data.get("answer") else None
    return Snapshot(**{**data, "steps": steps, "assignees": tuple(data["assignees"]), "answer": answer})


def _step_of(s: Mapping[str, Any]) -> Step:
    responses, parts = tuple(Response(**r) for r in s["responses"]), tuple(Part(**p) for p in s.get("parts", ()))
    return Step(tuple(s["participants"]), s["mode"], responses, s["due"], s.get("state"), s.get("started"), parts)
