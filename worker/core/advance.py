"""One answer, decided: the look goes through the task's row, the submissions move, and the events come out in their order.

Whoever sees a response first credits it, be it the sender, a later look or a poll. In one transaction the order is response, step, task,
submission (C3); where a response landed on the wrong step or twice, its submission is told first, and `step.completed` says `disputed`
(A12).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from worker.core import events, observe
from worker.core import submission as life
from worker.core.command import ON_A_STEP
from worker.core.events import Event
from worker.core.outcomes import Applied, Fact, Gone, Read, Sent, Unknown
from worker.core.submission import TOLD, Context, Move, Submission
from worker.core.task import Credit, Snapshot, Task

Contexts = Callable[[Submission], Context]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, for whom. `version`: the task row's version read before the request left (B1). `submission` is None for a poll;
    `attempt` is None for a look. `claim`: the token under which the look was made; a send is settled whoever holds the claim now.
    `attempts_before`: how many attempts there were when a look was asked; `asked_at`: when that was, on the ledger's clock (A5).
    """

    realm: str
    task: str
    version: int
    what: Read | Sent
    submission: str | None = None
    attempt: int | None = None
    claim: str | None = None
    attempts_before: int = 0
    asked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An upstream task as the ledger holds it, locked: the row, its submissions that are carried on or looked at, the credits given."""

    task: Task
    live: Mapping[str, Submission]
    credits: Mapping[str, Credit]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write, in one transaction."""

    task: Task
    moves: tuple[Move, ...]
    events: tuple[Event, ...]


def advance(row: Row, answer: Answer, contexts: Contexts, now: float) -> Decision:
    """Decide one answer against the rows as they are now."""
    task, what = row.task, answer.what
    look = what if isinstance(what, Snapshot) else what.snapshot if isinstance(what, Applied) else None
    partial = isinstance(what, Applied) and what.partial
    current = True
    if look is not None:
        look = task.align(look)
        current = not partial and task.current(look, answer.version)
        what = look if isinstance(what, Snapshot) else replace(what, snapshot=look) if isinstance(what, Applied) else what
    moves: dict[str, Move] = {}
    if (s := row.live.get(answer.submission or "")) is not None:
        moves[s.id] = _moved(s, answer, what, current, _context(contexts, s, row.credits, now, answer))
    if look is not None and not partial:
        for other in row.live.values():
            if other.id not in moves and (move := life.credited(other, look, _context(contexts, other, _credits(row, moves), now, answer))):
                moves[other.id] = move
        for id_, move in moves.items():
            if move.told and life.torn(move.submission, look):
                moves[id_] = replace(move, submission=life.shown_later(move.submission, now))
    told: tuple[Event, ...] = ()
    if look is not None and current:
        task, told = observe.observe(task, look, _credits(row, moves), now)
    elif isinstance(what, Gone) and answer.submission is None and answer.version == task.version:
        task, told = observe.vanish(task, now)
    before: list[Event] = []
    after: list[Event] = []
    for move in moves.values():
        if event := submission_event(task, move, now):
            (before if move.submission.state in ("misapplied", "duplicated") else after).append(event)
    return Decision(task, tuple(moves.values()), (*before, *told, *after))


def _moved(s: Submission, answer: Answer, what: Read | Sent, current: bool, ctx: Context) -> Move:
    """The asking submission's own move. A look that is not current is only good for finding our effect in it, never for missing it (B1)."""
    if answer.attempt is not None:
        move = life.answered(s, answer.attempt, what, ctx)  # type: ignore[arg-type]  # an answer with an attempt is a Sent
        if move.settled and isinstance(what, Applied) and what.partial and move.submission.state not in life.OPEN:
            return replace(move, submission=life.shown_later(move.submission, ctx.now))
        if move.settled and not current and move.submission.state not in life.OPEN:
            return replace(move, submission=replace(move.submission, vigil=0, next_at=ctx.now))  # its events are still to be seen
        return move
    if isinstance(what, Snapshot) and not current:
        found = life.credited(s, what, ctx)
        return found or life.looked(s, Unknown(Fact("stale", text="a newer look came first")), ctx)
    return life.looked(s, what, ctx)  # type: ignore[arg-type]  # an answer without an attempt is a Read


def _context(contexts: Contexts, s: Submission, credits_: Mapping[str, Credit], now: float, answer: Answer) -> Context:
    return replace(contexts(s), now=now, asked=answer.asked_at, own=frozenset(r for r, c in credits_.items() if c.submission != s.id))


def credit_of(s: Submission) -> Credit:
    """The submission as it stands beside the responses that are its own."""
    return Credit(s.id, s.command.key, s.command.labels, disputed=s.state in ("misapplied", "duplicated"))


def _credits(row: Row, moves: Mapping[str, Move]) -> dict[str, Credit]:
    out = dict(row.credits)
    for move in moves.values():
        out.update(dict.fromkeys(move.submission.hits, credit_of(move.submission)))
    return out


def submission_event(task: Task, move: Move, now: float) -> Event | None:
    """The event of a new state, or None where the move tells nothing."""
    s = move.submission
    if not move.told or s.state not in TOLD:
        return None
    return state_event(task, s, s.state, now)


def state_event(task: Task, s: Submission, state: str, now: float) -> Event:
    """`submission.<state>`: what was asked, what became of it and why."""
    data = {
        "submission": {"id": s.id, "key": s.command.key, "labels": dict(s.command.labels)},
        "action": s.command.action,
        **({"part": f"{s.task}/{s.part}"} if s.part else {}),
        **({"transition": {"state": s.command.state}} if s.command.state else {}),
        "step": (s.pin.step if s.pin else s.command.step) if s.command.action in ON_A_STEP else None,
        "grant": s.command.grant,
        "reason": s.reason,
        "attempts": len(s.attempts),
        "requested_by": s.command.requested_by,
    }
    ours = replace(task, account=s.command.account)  # a task that two accounts share: its row is the first one's
    return events.submission_event(ours, state, s.id, s.transition, data, now)
