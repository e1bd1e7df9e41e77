"""The life of a submission: one requested decision, from the command to its end. Everything that moves a state is in this file.

             look: not ours to do               Unsent (proven), retry later
            .-----------------> superseded      .------------.
            |                   refused         v            |
 accept --> pending --slot, look--> (write) in_doubt --send--+--> applied
            |  ^                             |  ^            '--> refused
            |  '-- waiting: behind another,  |  '-- Unknown, or Absent too early: look again later
            |      or the step's turn        |  '-- Absent after the quiet period: a new attempt, still in_doubt
            '--> expired, cancelled          '--> parked (a person resolves), misapplied, duplicated

A1   `in_doubt` is committed before the request leaves. An attempt gets its outcome once; `Applied` beats any look.
A2   A look is not a send: `looked` takes what reading came to, `answered` what sending came to.
A4   quiet_until = lease end + cut-off + slack: before it, "not there" proves nothing. A living sender shortens it to its own end.
A5   `Absent` means: as in the baseline, `modified` included, and only after the quiet period. In doubt, changed, ours not there: parked.
A6   An answer speaks for its attempt only. While another attempt is unaccounted for, an ending waits for the quiet period and a look.
A7   The pin comes with the command. Moved before the first look, and later than `issued_at`: superseded.
A8   A retry acts on the pin or not at all.
A10  Ours is: on the pinned step (and part), by `acts_as`, the same action or choice, with our mark, not in the baseline, credited to no
     other.
A12  Exposed: `acts_as` also participates in a later step, so a race can carry our decision there. At most one attempt by default.
A13  If it cannot be told which step is active, nothing is sent. If `acts_as` has answered it already, nothing is sent. Where the task is
     exact, its step and part are known by name, and the part's own state decides (docs/decisions/parts.md).
A14  While the grant is unproven, `Absent` never counts. Our mark under another author stops the grant.
A15  Waiting is not failing, but `not_after` ends it. A pause is waiting, too.
A17  An end with an attempt unaccounted for, or exposed, is looked at again: at quiet end, ten minutes and a day later.
A19  A person resolves what is parked: applied, abandoned, or a retry with a pin after the quiet period.

All functions are pure: the time, the dice and the rules come in, a `Move` comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from worker.core import pace
from worker.core import task as tasks
from worker.core.command import ON_A_STEP, Command
from worker.core.keys import mark
from worker.core.outcomes import Absent, Applied, Fact, Found, Gone, InDoubt, Moved, Read, Refused, Seen, Sent, Unknown, Unsent
from worker.core.pause import Shut
from worker.core.pins import Pin, pin_of
from worker.core.task import Response, Snapshot, near

OPEN = frozenset({"pending", "waiting", "in_doubt"})
"""Carried on by the worker."""

HELD = frozenset({"parked", "misapplied", "duplicated"})
"""Ended for the worker, not for people: the slot stays taken until somebody resolves it (A9)."""

ENDED = frozenset({"applied", "refused", "superseded", "expired", "cancelled", "abandoned"})
"""Ended; the slot is free."""

STATES = OPEN | HELD | ENDED

TOLD = STATES - OPEN
"""States whose coming is an event."""

MAX_ATTEMPTS = 5
"""Possibly sent attempts before a person decides: a fifth lost answer in a row is no accident any more."""

RESOLVED = "resolved by a person"
ANOTHER_ROUND = "took effect in another round than the one it was meant for"

PATIENCE = 600.0
"""Seconds past `not_after` in which reading may fail before what is in doubt is parked: one failed look proves nothing either way."""

TURN = 30.0
"""Seconds between two looks at a task whose turn a submission waits for. A watch of the task makes it sooner."""

VIGIL = (0.0, 600.0, 86_400.0)
"""Seconds after the quiet period (A17): at once, past any plausible queue upstream, and past a night's batch."""

AFTERLOOK = 1.0
"""Seconds after an answer that showed only our part until the task is looked at whole: what follows from the last response to a step takes
place about 0.13 s after it [TUT]."""

VIGIL_SOON = 6
"""Tries of a look after the end that come soon, half a minute in all: it may be the one that tells what an answer did not show."""

VIGIL_GAP = 600.0
"""Seconds between two later tries of such a look: nobody waits for it any more."""

VIGIL_TRIES = 144
"""Tries of one such look, a day's worth; then the vigil goes on, so that a grant that is no more does not keep us asking for ever."""


@dataclass(frozen=True, slots=True)
class Rules:
    """An account's rules; times in seconds (A4). `marks`: a reference is planted in the comment (A10). `hold`: look, never send, until a
    person resumes it.
    """

    deadline: float
    lease: float
    cutoff: float
    slack: float
    when_exposed: Literal["once", "park", "resend"] = "once"
    marks: bool = True
    hold: bool = False

    @property
    def quiet(self) -> float:
        """Seconds from the end of a lease until an absent effect will not come any more."""
        return self.cutoff + self.slack


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs besides the submission. `own`: responses credited to other submissions; `acts_as`: the grant's user now;
    `wary`: something went wrong in this account that no person has resolved yet, so exposed ones are parked (A12). `frozen`: a task of this
    account showed that `modified` does not move with responses, so that "unchanged" proves nothing here. `asked`: when the look left us;
    None: it is not known, so a whole deadline ago. `shut`: why nothing of the account is sent now.
    """

    now: float
    dice: float
    rules: Rules
    acts_as: str
    grant: Literal["unproven", "proven", "stopped"] = "unproven"
    wary: bool = False
    frozen: bool = False
    own: frozenset[str] = frozenset()
    asked: float | None = None
    shut: Shut | None = None

    @property
    def seen_at(self) -> float:
        """What the look shows was so at this time or later: what happened while its answer was on the way is not in it."""
        return self.now - self.rules.deadline if self.asked is None else self.asked


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending. `outcome`: None until it is known; then unsent, refused, applied or in_doubt, once and for ever (A1)."""

    n: int
    began_at: float
    quiet_until: float
    outcome: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission's row. `task`: the upstream's, where the command's may name a part of it; `part`: that part, by the command or by the
    first look; `choice`: the id of the response that is sent. `pin` is set by the command or by the first look, then never moves.
    `baseline`: the look under the first attempt that is not proven unsent. `verdict`: an ending that waits for the quiet period of another
    attempt (A6). `written_off`: attempts up to this one were accounted for by a person.
    """

    id: str
    command: Command
    realm: str
    task: str
    accepted_at: float
    part: str | None = None
    choice: str | None = None
    state: str = "pending"
    reason: str | None = None
    behind: str | None = None
    next_at: float | None = None
    pin: Pin | None = None
    looked: bool = False
    acts_as: str | None = None
    baseline: Snapshot | None = None
    marked: bool = True
    exposed: bool = False
    cleared: bool = False
    verdict: tuple[str, str] | None = None
    hits: tuple[str, ...] = ()
    tries: int = 0
    transition: int = 0
    vigil: int = 0
    written_off: int = 0
    attempts: tuple[Attempt, ...] = ()

    @property
    def mark(self) -> str:
        """Our reference in the comment."""
        return mark(self.command.account, self.command.key)

    @property
    def doubts(self) -> tuple[Attempt, ...]:
        """Attempts that may have taken effect unseen: not answered, or answered with success and our response was not there."""
        unseen = (None, "in_doubt") if self.hits else (None, "in_doubt", "applied")
        return tuple(a for a in self.attempts if a.n > self.written_off and a.outcome in unseen)

    @property
    def sent(self) -> bool:
        """Whether anything may have taken effect."""
        return any(a.n > self.written_off and a.outcome in (None, "in_doubt", "applied") for a in self.attempts)

    @property
    def quiet_until(self) -> float:
        """When the last attempt in doubt can have no effect any more, within the stated assumptions. 0 where none is in doubt."""
        return max((a.quiet_until for a in self.doubts), default=0.0)

    @property
    def not_after(self) -> float:
        """When waiting ends (A15). The flow that accepts fills in the account's default."""
        return self.command.not_after if self.command.not_after is not None else float("inf")

    def lapsed(self, now: float) -> bool:
        """Whether it has run out before anything was sent."""
        return self.state in OPEN and not self.sent and now >= self.not_after


@dataclass(frozen=True, slots=True)
class Note:
    """A piece of evidence. `private` holds comments, people and whole snapshots, which `forget` can empty (A18)."""

    kind: str
    public: Mapping[str, Any]
    private: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """What a decision comes to. `begin`: commit it, then send. `claims`: responses called ours. `settled`: (attempt, outcome), written
    once. `proof`: what the answer said about the grant: the author it showed (A14).
    """

    submission: Submission
    begin: Attempt | None = None
    claims: tuple[str, ...] = ()
    settled: tuple[int, str] | None = None
    notes: tuple[Note, ...] = ()
    proof: str | None = None

    @property
    def told(self) -> bool:
        """Whether the new state is one that others are told."""
        return any(n.kind == "state" for n in self.notes)


# --- the beginning ------------------------------------------------------------------------------------------------------------------------


def accept(command: Command, *, id_: str, realm: str, task: str, pin: Pin | None, now: float, part: str | None = None) -> Move:
    """A new submission of *command*: pending, due at once or at `not_before`."""
    s = Submission(
        id=id_,
        command=command,
        realm=realm,
        task=task,
        part=part,
        accepted_at=now,
        pin=pin,
        next_at=max(now, command.not_before or now),
        transition=1,
    )
    public = {"digest": command.digest(), "key": command.key, "action": command.action, "step": pin.step if pin else command.step}
    public |= {name: value for name, value in (("part", part), ("response", command.response), ("state", command.state)) if value}
    private = {"comment": command.comment, "requested_by": command.requested_by, "labels": dict(command.labels)}
    if command.fields:
        private["fields"] = dict(command.fields)
    return Move(s, notes=(Note("accepted", public, private),))


def wait_behind(s: Submission, holder: str, now: float) -> Submission:
    """Another submission has the slot of this task. The end of that one wakes us; the time is only a net under it (A9)."""
    return replace(s, state="waiting", behind=holder, reason=f"behind {holder}", next_at=min(s.not_after, now + 60.0))


# --- a look -------------------------------------------------------------------------------------------------------------------------------


def looked(s: Submission, read: Read, ctx: Context) -> Move:
    """After a look at the task: what to do next. Never sends by itself: a `Move` with `begin` must be committed first (A1)."""
    if s.state in OPEN and not s.sent:
        return _before_sending(s, read, ctx)
    if s.state in OPEN:
        return _in_doubt(s, read, ctx)
    return _again(s, read, ctx)


def _before_sending(s: Submission, read: Read, ctx: Context) -> Move:
    if s.lapsed(ctx.now):
        return lapse(s, ctx)
    match read:
        case Unknown(fact):
            return _later(s, ctx, str(fact), fact.retry_after)
        case Gone(fact):
            return _end(s, "refused", f"the task cannot be seen: {fact}", ctx)
        case Snapshot() as look:
            if move := credited(s, look, ctx):  # an attempt that a person wrote off has taken effect after all
                return move
            if s.command.action not in ON_A_STEP:
                return _first_on_task(s, look, ctx)
            return _first_on_part(s, look, ctx) if look.exact else _first(s, look, ctx)
        case _:
            assert_never(read)


def _first(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """May this decision be sent to its step now? (A7, A8, A13)"""
    number = _number(s, look)
    if isinstance(number, str):
        return _end(s, "refused", number, ctx)
    if not s.looked and (why := _moved_before(s, number, look, ctx)):
        return _end(s, "superseded", f"moved before first look: {why}", ctx)
    pin = s.pin or pin_of(s.realm, look, number)
    if s.looked and (why := pin.broken(look)):
        return _end(s, "superseded", why, ctx)
    s = replace(s, pin=pin, looked=True)
    step = look.steps[number - 1]
    active = look.active()
    if isinstance(active, tasks.Unclear):
        return _end(s, "parked", f"unreadable: {active}", ctx, look=look)
    if active is None:
        return _end(s, "superseded" if step.complete else "refused", f"no active step: the task is {look.status}", ctx)
    if active > number:
        return _end(s, "superseded", f"step {number} was completed by others", ctx)
    if active < number:
        if not s.command.wait_for_turn:
            return _end(s, "refused", f"step {number} is not active yet: step {active} is. Use wait_for_turn to wait for it", ctx)
        return Move(
            replace(s, state="waiting", behind=None, reason=f"turn: step {active} is active", next_at=min(s.not_after, ctx.now + TURN))
        )
    if ctx.acts_as in {r.actor for r in step.responses}:
        return _end(s, "refused", f"already answered: {ctx.acts_as} has answered step {number}", ctx)
    if ctx.acts_as not in step.participants and s.command.action != "skip":  # who may skip is not documented: the upstream decides
        return _end(s, "refused", f"{ctx.acts_as} is not a participant of step {number}", ctx)
    return _may_send(s, look, ctx)


def _number(s: Submission, look: Snapshot) -> int | str:
    """The step that is meant, or why none is."""
    count = len(look.steps)
    number = s.pin.step if s.pin else (s.command.step or (1 if count == 1 else 0))
    if number == 0:
        return f"the task has {count} steps: say which one with `pin` or `step`. {outline(look)}"
    return f"the task has {count} steps, not {number}. {outline(look)}" if number > count else number


def _first_on_part(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """May this decision be sent to its part now? The part's own state says so, and what the upstream offers this caller (A7, A8, A13)."""
    offer = look.offer or tasks.Offer()
    named = look.part(s.part)
    if s.part and named is None:
        return _end(s, "superseded" if s.looked else "refused", f"the task has no part {s.part} (any more). {outline(look)}", ctx)
    number = named[0] if named else _number(s, look)
    if isinstance(number, str):
        return _end(s, "refused", number, ctx)
    if named and {number, s.command.step or number, s.pin.step if s.pin else number} != {number}:
        return _end(s, "refused", f"{s.part} is of step {number}, which is not the pinned one. {outline(look)}", ctx)
    if not s.looked and (why := _moved_before(s, number, look, ctx)):
        return _end(s, "superseded", f"moved before first look: {why}", ctx)
    pin = s.pin or pin_of(s.realm, look, number)
    if s.looked and (why := pin.broken(look)):
        return _end(s, "superseded", why, ctx)
    s = replace(s, pin=pin, looked=True)
    step = look.steps[number - 1]
    state = named[2].state if named else step.state
    if named and state == "complete":
        return _already(s, step, ctx)
    if not look.awaiting:
        return _end(s, "superseded" if step.complete else "refused", f"no active step: the task is {look.status}", ctx)
    if state == "complete":
        return _end(s, "superseded", f"step {number} was completed by others", ctx)
    if state == "waiting":
        if not s.command.wait_for_turn:
            return _end(s, "refused", f"step {number} has not begun yet. Use wait_for_turn to wait for it. {outline(look)}", ctx)
        return Move(
            replace(s, state="waiting", behind=None, reason="turn: the step has not begun", next_at=min(s.not_after, ctx.now + TURN))
        )
    if offer.refusal:
        return _end(s, "refused", offer.refusal, ctx)
    return _offered(replace(s, part=s.part or offer.part), look, ctx)


def _already(s: Submission, step: tasks.Step, ctx: Context) -> Move:
    """Our part is complete. By us before we sent anything: a person did it by hand."""
    answer = next((r for r in step.responses if r.part == s.part), None)
    if answer is not None and answer.actor == ctx.acts_as:
        return _end(s, "refused", f"already answered: {ctx.acts_as} has answered {s.part}", ctx)
    return _end(s, "superseded", f"{s.part} was completed by {answer.actor if answer and answer.actor else 'others'}", ctx)


def _offered(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """The upstream would take it. As whom? (A14) `me` is asked of the upstream itself, so it proves the grant before anything is sent."""
    if move := _as_another(s, look, ctx):
        return move
    offer = look.offer or tasks.Offer()
    proven = offer.me is not None and ctx.grant == "unproven"
    move = _may_send(replace(s, choice=offer.choice), look, replace(ctx, grant="proven") if proven else ctx)
    return replace(move, submission=replace(move.submission, acts_as=ctx.acts_as), proof=offer.me) if proven else move


def _as_another(s: Submission, look: Snapshot, ctx: Context) -> Move | None:
    """The grant acts as somebody else: nothing is sent with it (A14)."""
    me = look.offer.me if look.offer else None
    if me is None or me == ctx.acts_as:
        return None
    move = _later(replace(s, acts_as=ctx.acts_as), ctx, f"the grant is stopped: it acts as {me}, not as {ctx.acts_as}", pace.LONGEST)
    return move if ctx.grant == "stopped" else replace(move, proof=me)


def outline(look: Snapshot) -> str:
    """The steps in one line, for a refusal that lists them."""
    active = look.active()

    def who(s: tasks.Step) -> str:
        return ", ".join(f"{p.assigned} {look.task}/{p.id}" for p in s.parts) or ", ".join(s.participants)

    return "; ".join(
        f"step {n}: {who(s)} ({s.mode}){' complete' if s.complete else ''}{' ACTIVE' if n == active else ''}"
        for n, s in enumerate(look.steps, 1)
    )


def _first_on_task(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """The actions that leave no response have no step; they are pinned to the task as it was (PROTOCOL's table)."""
    if not s.looked and (why := _moved_before(s, 1, look, ctx)):
        return _end(s, "superseded", f"moved before first look: {why}", ctx)
    pin = s.pin or pin_of(s.realm, look, 1)
    if s.looked and (why := pin.broken(look, whole=True)):
        return _end(s, "superseded", why, ctx)
    s = replace(s, pin=pin, looked=True)
    if look.offer and look.offer.refusal:
        return _end(s, "refused", look.offer.refusal, ctx)
    return _offered(s, look, ctx)


def _moved_before(s: Submission, number: int, look: Snapshot, ctx: Context) -> str | None:
    """What happened between the requester's decision and our first look, and speaks against it (A7).

    An exact pin knows what its requester saw; without one the clock of `issued_at` has to tell. A response of ours to the same step,
    credited to another submission, is no surprise: otherwise no two commands could ever complete one ALL step. Nor is another's review
    beside ours, where each has a part of its own.
    """
    whole = s.command.action not in ON_A_STEP
    if s.pin and (why := s.pin.broken(look, whole=whole)):
        return why
    issued, aside = s.command.issued_at, look.exact and not whole
    for at_step, r in look.responses():
        if (
            at_step < number
            or (s.pin and s.pin.knew(at_step, r))
            or (at_step == number and (r.id in ctx.own or (aside and r.part != s.part)))
        ):
            continue
        if r.at is None or r.at > issued:
            return f"{r.actor or 'somebody'} answered step {at_step} ({r.action}) after the command was issued"
    if aside:
        return None if s.pin else _begun_since(s, look.steps[number - 1], look)
    if s.pin is None and look.modified is not None and look.modified > issued and not look.moved_by_response:
        return "the task was modified after the command was issued, and no visible response explains it"
    return None


def _begun_since(s: Submission, step: tasks.Step, look: Snapshot) -> str | None:
    """Whether the round is younger than the decision. Who waits for the turn decided before the step began, but not before the round; and a
    review that was taken back and sent again may go on with a step that keeps its old beginning.
    """
    begun = {"review": look.begun, "step": None if s.command.wait_for_turn else step.started}
    late = next((what for what, at in begun.items() if at is not None and at > s.command.issued_at), None)
    return late and f"the {late} was begun after the command was issued"


def _may_send(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """The look allows it; the rest is whether we want to."""
    exposed = is_exposed(s, look, ctx.acts_as)
    if ctx.shut:
        return _held(replace(s, exposed=exposed), ctx.shut)
    if ctx.grant == "stopped":
        return _later(replace(s, exposed=exposed), ctx, "the grant is stopped: its acts_as is not who it acts as", pace.LONGEST)
    if exposed and not s.cleared and (ctx.wary or ctx.rules.when_exposed == "park"):
        why = "something misapplied in this account is not resolved yet" if ctx.wary else "when_exposed is park"
        return _end(replace(s, exposed=True), "parked", f"exposed: {why}", ctx, look=look)
    return _begin(replace(s, exposed=exposed), look, ctx)


def is_exposed(s: Submission, look: Snapshot, acts_as: str) -> bool:
    """Whether a race could carry this decision to a later step (A12). A part is addressed by its name: no race changes that."""
    if s.part:
        return False
    if s.command.action not in ON_A_STEP or s.command.action == "skip" or s.pin is None:
        return True
    return any(acts_as in step.participants for step in look.steps[s.pin.step :])


def _begin(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """A new attempt: written before it is sent. The baseline is the look under the first attempt not proven unsent (A5)."""
    n = len(s.attempts) + 1
    attempt = Attempt(n, ctx.now, ctx.now + ctx.rules.lease + ctx.rules.quiet)
    s = replace(
        s,
        state="in_doubt",
        reason=f"attempt {n} may have been sent",
        behind=None,
        acts_as=ctx.acts_as,
        marked=ctx.rules.marks and (s.marked or not s.doubts),
        baseline=s.baseline or look,
        attempts=(*s.attempts, attempt),
        next_at=ctx.now + ctx.rules.lease,
    )
    note = Note("attempt", {"n": n, "shape": look.shape, "modified": look.modified, "status": look.status}, {"look": tasks.to_json(look)})
    return Move(s, begin=attempt, notes=(note,))


# --- in doubt -----------------------------------------------------------------------------------------------------------------------------


def recognise(s: Submission, look: Snapshot, own: frozenset[str]) -> Seen:
    """Is our effect in *look*? (A5, A10 and PROTOCOL's table). *own*: responses credited to other submissions."""
    base = s.baseline
    fresh = [(n, r) for n, r in look.fresh(base) if r.id not in own] if s.command.action in ON_A_STEP else []
    if hits := tuple((n, r) for n, r in fresh if _by_us(s, r) and _marks(s, r)):
        return Found(look, hits)
    if base is None or s.pin is None:
        return Unknown(Fact("no baseline to compare with"))
    if s.command.action not in ON_A_STEP:
        return Found(look, ()) if _as_asked(s, base, look) else _compared(s, base, look)
    if any(r.actor is None and r.part == s.part for _, r in fresh):
        return Unknown(Fact("a new response whose author cannot be read"))
    if not s.marked:
        alike = tuple(
            (n, r) for n, r in fresh if _by_us(s, r) and r.part == s.part and (r.comment or "").strip() == (s.command.comment or "").strip()
        )
        if len(alike) == 1 and alike[0][0] == s.pin.step and _since(alike[0][1], base) and not s.hits:
            return Found(look, alike)
        if alike:
            return Unknown(Fact("a response like ours, which may be somebody else's: no mark was planted"))
    return _compared(s, base, look)


def stranger(s: Submission, look: Snapshot) -> str | None:
    """Who answered with our mark and is not `acts_as`: the grant acts as somebody else (A14)."""
    return next((r.actor for _, r in look.fresh(s.baseline) if _marks(s, r) and r.actor not in (None, s.acts_as)), None)


def _as_stranger(s: Submission, author: str, look: Snapshot, ctx: Context) -> Move:
    if s.state == "parked":
        return Move(s, proof=author)
    return replace(_end(s, "parked", f"took effect as {author}, not as {s.acts_as}", ctx, look=look), proof=author)


def _by_us(s: Submission, r: Response) -> bool:
    return r.actor == s.acts_as and _as_meant(s, r)


def _as_meant(s: Submission, r: Response) -> bool:
    return r.action == s.command.action if s.choice is None else r.choice == s.choice


def _marks(s: Submission, r: Response) -> bool:
    return f"[{s.mark}]" in (r.comment or "")


def _since(r: Response, base: Snapshot) -> bool:
    """Not older than the baseline, both by the upstream's clock. Time makes a fit doubtful, it never makes an `Absent` (A10)."""
    return r.at is not None and base.date is not None and r.at >= base.date - tasks.SAME_INSTANT


def _as_asked(s: Submission, base: Snapshot, look: Snapshot) -> bool:
    """SUBMIT, CANCEL, RESTART leave no response: a status that fits what we asked for, and the last change was made by `acts_as` and is no
    response: that one would be their answer by hand, which may complete a task that we wanted restarted. A transition that answers the
    whole task leaves that answer, with our mark, whatever happens to the task later.
    """
    if s.choice is not None:
        r = look.answer
        fresh = r is not None and (base.answer is None or not r.same(base.answer))
        alike = r is not None and (r.comment or "").strip() == (s.command.comment or "").strip()
        return r is not None and fresh and _by_us(s, r) and (_marks(s, r) or (not s.marked and alike and _since(r, base)))
    if look.moved_by_response:
        return False
    if s.acts_as is None or look.modified_by != s.acts_as or look.modified is None or look.modified <= (base.modified or 0.0):
        return False
    if s.command.action == "transition":
        return look.status == s.command.state != base.status
    if (look.status.lower() == "cancelled") != (s.command.action == "cancel"):
        return False
    return look.status != base.status or (s.command.action == "restart" and bool(look.gone(base)))


def _compared(s: Submission, base: Snapshot, look: Snapshot) -> Absent | Moved:
    """Is *look* the baseline to the letter? If not, do others' responses to the pinned step explain it?"""
    if look.shape != base.shape:
        return Moved(look, "the steps are not the same any more")
    if s.part:
        return _part_compared(s, s.part, base, look)
    if look.gone(base):
        return Moved(look, "a response that stood is gone: a new round")
    unmoved = (
        look.explained(base.modified)
        if look.modified is None or base.modified is None
        else abs(look.modified - base.modified) <= tasks.SAME_MODIFIED
    )
    if unmoved and look.status == base.status and not look.fresh(base):
        return Absent(look)
    by_others = all(r.actor not in (None, s.acts_as) for _, r in look.fresh(base))
    if s.pin and s.command.action in ON_A_STEP and look.steps[s.pin.step - 1].complete and look.explained(base.modified) and by_others:
        return Moved(look, f"step {s.pin.step} was completed by others", others=True)
    return Moved(look, "the task has changed, and our response is not there")


def _part_compared(s: Submission, part: str, base: Snapshot, look: Snapshot) -> Absent | Moved:
    """Is our part the one that it was? What became of the others proves nothing about it, and is nothing that we would repeat."""
    was, now = base.part(part), look.part(part)
    if was is None or now is None:
        return Moved(look, f"there is no part {part} any more")
    if not (near(now[1].started, was[1].started, tasks.SAME_MODIFIED) and near(look.begun, base.begun, tasks.SAME_MODIFIED)):
        return Moved(look, "the step, or the review, was begun anew: a new round")
    if now[2].state == "complete":  # without any response: it ended with its step, and ours is not one that leaves none
        answer = next((r for r in now[1].responses if r.part == part), None)
        by = answer.actor if answer else "others"
        return Moved(look, f"{part} was completed by {by or 'nobody we can read'}", others=by not in (None, s.acts_as))
    if look.status != base.status or now[2] != was[2]:
        return Moved(look, "the part has changed, and our response is not there")
    return Absent(look)


def _in_doubt(s: Submission, read: Read, ctx: Context) -> Move:
    """Something may have been sent. Found settles it at once; anything else waits for the quiet period (A4, A5, A6)."""
    if isinstance(read, Snapshot):
        if author := stranger(s, read):
            return _as_stranger(s, author, read, ctx)
        seen = recognise(s, read, ctx.own)
    else:
        seen = Unknown(read.fact)
    if isinstance(seen, Found):
        return _found(s, seen, ctx)
    if ctx.seen_at < s.quiet_until:
        return _later(s, ctx, s.reason or "in doubt", None, until=s.quiet_until)
    match seen:
        case Unknown(fact):
            if isinstance(read, Gone):
                return _end(s, "parked", f"in doubt, and the task cannot be seen any more: {fact}", ctx)
            if isinstance(read, Snapshot) or ctx.now >= max(s.not_after, s.quiet_until) + PATIENCE:
                return _end(s, "parked", f"in doubt, and it cannot be told: {fact}", ctx)
            return _later(s, ctx, f"in doubt: {fact}", fact.retry_after)
        case Moved(look, why, others):
            if others and (s.marked or ctx.grant == "proven") and not _answered(s):
                return _end(s, "superseded", why, ctx, look=look)
            return _end(s, "parked", f"in doubt: {why}", ctx, look=look)
        case Absent(look):
            return _absent(s, look, ctx)
        case _:
            assert_never(seen)


def _absent(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """The quiet period is over and the task is as it was: the attempts so far came to nothing. Whether to send again (A5, A12, A14)."""
    if _answered(s):
        return _end(s, "parked", "answered with success, but our response is not there", ctx, look=look)
    if ctx.grant != "proven":
        return _end(
            s, "parked", "in doubt, and the grant is not proven: an effect under another author would not be recognised", ctx, look=look
        )
    if look.modified_unreliable or ctx.frozen:
        return _end(s, "parked", "in doubt, and `modified` does not move with responses here: unchanged proves nothing", ctx, look=look)
    if s.verdict:
        return _end(s, *s.verdict, ctx, look=look)
    if ctx.now >= s.not_after:
        return _end(s, "expired", "not_after has passed, and what was sent had no effect", ctx, look=look)
    exposed = is_exposed(s, look, ctx.acts_as)
    if exposed and (ctx.wary or ctx.rules.when_exposed != "resend"):
        return _end(replace(s, exposed=True), "parked", "exposed: a second attempt could reach another step", ctx, look=look)
    if len([a for a in s.attempts if a.outcome != "unsent"]) >= MAX_ATTEMPTS:
        return _end(s, "parked", f"{MAX_ATTEMPTS} attempts came to nothing", ctx, look=look)
    if look.offer and look.offer.refusal:
        return _end(s, "refused", look.offer.refusal, ctx, look=look)
    if ctx.shut:
        return _held(s, ctx.shut)
    if s.acts_as != ctx.acts_as:
        return _later(s, ctx, "the grant acts as another user now", pace.LONGEST)
    if move := _as_another(s, look, ctx):
        return move
    return _begin(replace(s, exposed=exposed), look, ctx)


def _ended_at(look: Snapshot) -> float | None:
    return look.answer.at if look.answer else None


def _answered(s: Submission) -> bool:
    return any(a.n > s.written_off and a.outcome == "applied" for a in s.attempts)


def _found(s: Submission, seen: Found, ctx: Context) -> Move:
    """Our effect is there. Where it is, and how often, says how it ended (A12)."""
    names = tuple(r.id for _, r in seen.hits)
    shown = any(_marks(s, r) for _, r in seen.hits) or (not names and seen.snapshot.modified_by == s.acts_as)
    proof = s.acts_as if shown else None
    if names and set(names) <= set(s.hits):
        return Move(s, claims=names, proof=proof)  # known already, and told; a person may have decided about it since
    s = replace(s, hits=tuple(dict.fromkeys((*s.hits, *names))))
    steps = sorted({n for n, _ in seen.hits})
    if len(s.hits) > 1:
        state, why = "duplicated", f"took effect {len(s.hits)} times, on step {', '.join(map(str, steps))}"
    elif s.pin and steps and steps != [s.pin.step]:
        state, why = "misapplied", f"meant for step {s.pin.step}, took effect on step {steps[0]}"
    elif s.part and names and any(r.part != s.part for _, r in seen.hits):
        state, why = "misapplied", f"meant for {s.part}, took effect on another part"
    elif s.baseline and steps and _another_round(s.baseline, seen.snapshot, seen.hits[0][1]):
        state, why = "misapplied", ANOTHER_ROUND
    elif s.baseline and s.choice and not steps and _begun_between(s.baseline, seen.snapshot, _ended_at(seen.snapshot)):
        state, why = "misapplied", "the item was closed in another review than the one that was seen before"
    else:
        state, why = "applied", f"step {steps[0]}" if steps else seen.snapshot.status
    if state == s.state:
        return Move(s, claims=names, proof=proof)
    return replace(_end(s, state, why, ctx, look=seen.snapshot), claims=names, proof=proof)


def _another_round(base: Snapshot, look: Snapshot, hit: Response) -> bool:
    """Of a part by its own beginning, because an answer that shows the part alone has no other; and by that of the review, where that is
    shown. That it was begun anew after the response says nothing: what stands in a step that goes on was there before.
    """
    if look.shape != base.shape:
        return True
    was, now = base.part(hit.part), look.part(hit.part)
    if was and now:
        same = all(near(a.started, b.started, tasks.SAME_MODIFIED) for a, b in ((now[1], was[1]), (now[2], was[2])))
        return not same or _begun_between(base, look, hit.at)
    return bool(look.gone(base))


def _begun_between(base: Snapshot, look: Snapshot, at: float | None) -> bool:
    """Whether the review was begun after *base* and before a response of *at*. One that was begun after it says nothing: it was opened, or
    sent, again since. Nor does a beginning that a manager wrote down by hand, in the past.
    """
    if (
        look.begun is None
        or look.begun <= (base.modified or 0.0) + tasks.SAME_MODIFIED
        or near(look.begun, base.begun, tasks.SAME_MODIFIED)
    ):
        return False
    return at is None or look.begun <= at


# --- an answer ----------------------------------------------------------------------------------------------------------------------------


def answered(s: Submission, n: int, sent: Sent, ctx: Context) -> Move:
    """After attempt *n* of *s* was answered. Keyed by attempt: a late or repeated answer changes nothing but the evidence (A1, A6)."""
    attempt = next((a for a in s.attempts if a.n == n), None)
    if attempt is None or attempt.outcome is not None:
        return Move(s)
    outcome = {Applied: "applied", Refused: "refused", Unsent: "unsent", InDoubt: "in_doubt"}[type(sent)]
    quiet = min(attempt.quiet_until, ctx.now + ctx.rules.quiet)
    s = replace(s, attempts=tuple(replace(a, outcome=outcome, quiet_until=quiet) if a.n == n else a for a in s.attempts))
    move = _answered_as(s, sent, ctx)
    told = any(m.private.get("look") for m in move.notes)  # the same look, beside what it came to
    private = {"look": tasks.to_json(sent.snapshot)} if isinstance(sent, Applied) and not told else {}
    note = Note("answer", {"n": n, "outcome": outcome, "fact": sent.fact.what, "status": sent.fact.status, "code": sent.fact.code}, private)
    return replace(move, settled=(n, outcome), notes=(note, *move.notes))


def _answered_as(s: Submission, sent: Sent, ctx: Context) -> Move:
    match sent:
        case Applied(look, _):
            return _applied(s, look, ctx)
        case Refused(fact):
            if s.state != "in_doubt":
                return Move(s)
            if not s.sent:
                return _end(s, "refused", str(fact), ctx)
            s = replace(s, verdict=("refused", str(fact)))
            return _later(s, ctx, "refused, but an earlier attempt is unaccounted for", None, until=s.quiet_until)
        case Unsent(fact, token):
            if s.state != "in_doubt":
                return Move(s)
            wait = 0.0 if token and s.tries == 0 else fact.retry_after
            if s.sent:
                return _later(s, ctx, f"in doubt; the last attempt was not sent: {fact}", wait)
            if s.verdict:
                return _end(s, *s.verdict, ctx)  # it waited for this attempt only
            return _later(replace(s, state="pending", baseline=None), ctx, f"not sent: {fact}", wait)
        case InDoubt(fact):
            if s.state != "in_doubt":
                return Move(s)
            return _later(replace(s, tries=0), ctx, f"in doubt: {fact}", None, until=s.quiet_until)
        case _:
            assert_never(sent)


def _applied(s: Submission, look: Snapshot, ctx: Context) -> Move:
    """The body of a 200 is a look like any other, and decides more than any other (A1)."""
    if s.command.action not in ON_A_STEP:
        return _found(s, Found(look, ()), ctx)
    fresh = [r for _, r in look.fresh(s.baseline) if r.id not in ctx.own]
    sole = s.baseline is not None and not s.marked and len(fresh) == 1 and _as_meant(s, fresh[0])
    alone = fresh[0].actor if sole else None
    if author := stranger(s, look) or (alone if alone != s.acts_as else None):
        return _as_stranger(s, author, look, ctx)
    seen = recognise(s, look, ctx.own)
    if isinstance(seen, Found):
        move = _found(s, seen, ctx)
        return replace(move, proof=move.proof or alone)
    if s.state != "in_doubt":
        return Move(s)
    return _later(s, ctx, "answered with success, but our response is not in the answer", None, until=s.quiet_until)


# --- the end, and after it ----------------------------------------------------------------------------------------------------------------


def _end(s: Submission, state: str, reason: str, ctx: Context, look: Snapshot | None = None) -> Move:
    """To an end, or to where a person decides. An end with an attempt unaccounted for, or exposed, is looked at again (A17)."""
    possible = [a for a in s.attempts if a.n > s.written_off and a.outcome in (None, "in_doubt", "applied")]
    watched = bool(possible) and (len(possible) > len(s.hits) or s.exposed)
    quiet = ctx.now >= s.quiet_until
    after = replace(
        s,
        state=state,
        reason=reason,
        behind=None,
        verdict=None,
        transition=s.transition + 1,
        tries=0,
        vigil=1 if quiet else 0,
        next_at=(ctx.now + VIGIL[1] if quiet else s.quiet_until + VIGIL[0]) if watched else None,
    )
    private = {"reason": reason, "look": tasks.to_json(look) if look else None}
    return Move(after, notes=(Note("state", {"state": state, "transition": after.transition}, private),))


def _again(s: Submission, read: Read, ctx: Context) -> Move:
    """The vigil: an ended one is looked at for an effect that came late, or twice (A17)."""
    if isinstance(read, Unknown) and s.tries < VIGIL_TRIES:
        wait = pace.again(s.tries, ctx.dice) if s.tries < VIGIL_SOON else VIGIL_GAP * (0.5 + ctx.dice / 2)
        return Move(replace(s, tries=s.tries + 1, next_at=ctx.now + wait))
    move = Move(s)
    if isinstance(read, Snapshot):
        author = stranger(s, read) if s.attempts and not s.hits else None
        move = (_as_stranger(s, author, read, ctx) if author else credited(s, read, ctx)) or move
    if move.submission.state != s.state:
        return move
    if s.vigil == 0 and ctx.now < s.quiet_until:  # it was looked at before its time
        return replace(move, submission=replace(move.submission, tries=0, next_at=s.quiet_until))
    stage = s.vigil + 1
    next_at = ctx.now + VIGIL[stage] - VIGIL[s.vigil] if s.sent and stage < len(VIGIL) else None
    return replace(move, submission=replace(move.submission, tries=0, vigil=stage, next_at=next_at))


def torn(s: Submission, look: Snapshot) -> bool:
    """Whether what *look* shows of our response is younger than what it shows of the item, which was read first: the review may have been
    begun anew in between.
    """
    if s.state != "applied" or s.part is None or look.modified is None:
        return False
    return any(r.at is not None and r.at > look.modified + tasks.SAME_MODIFIED for r in _ours(s, look))


def _ours(s: Submission, look: Snapshot) -> list[Response]:
    return [r for _, r in look.responses() if r.id in s.hits]


def shown_later(s: Submission, now: float) -> Submission:
    """An ended one that was not shown whole, by an answer or by a torn look: one look more, which tells what came of it. It takes the
    place of none.
    """
    stage = max(0, s.vigil - 1) if s.next_at is not None else len(VIGIL) - 1
    return replace(s, vigil=stage, next_at=now + AFTERLOOK)


def credited(s: Submission, look: Snapshot, ctx: Context) -> Move | None:
    """What *look* shows of the effect of *s* that was not known yet: whoever sees it first, credits it (B1). None: nothing new."""
    if s.acts_as is None or not s.attempts:
        return None
    seen = recognise(s, look, ctx.own)
    if isinstance(seen, Found) and ({r.id for _, r in seen.hits} - set(s.hits) if seen.hits else s.state == "in_doubt"):
        return _found(s, seen, ctx)
    return _end(s, "misapplied", ANOTHER_ROUND, ctx, look=look) if _begun_under(s, look) else None


def _begun_under(s: Submission, look: Snapshot) -> bool:
    """Whether the review had been begun anew under what was found to be applied: neither an answer, which shows the part alone, nor a torn
    look could tell. What a person has decided stands.
    """
    if s.state != "applied" or (s.reason or "").startswith(RESOLVED) or s.baseline is None or s.part is None:
        return False
    return any(_begun_between(s.baseline, look, r.at) for r in _ours(s, look))


def _later(s: Submission, ctx: Context, reason: str, retry_after: float | None, *, until: float | None = None) -> Move:
    """Nothing to decide yet: look again after a while, at *until* at the latest."""
    wait = pace.again(s.tries, ctx.dice) if retry_after is None else pace.throttled(retry_after, s.tries, ctx.dice)
    at = ctx.now + wait
    if until is not None and ctx.now < until:
        at = min(at, until)
    if s.state != "in_doubt":
        at = min(at, max(ctx.now, s.not_after))
    return Move(replace(s, reason=reason, tries=s.tries + 1, next_at=at))


def _held(s: Submission, shut: Shut) -> Move:
    """Nothing of the account is sent now: that is nobody's failure, and costs neither an attempt nor patience (A15)."""
    return Move(replace(s, reason=shut.why, tries=0, next_at=min(shut.until, s.not_after)))


def put_off(s: Submission, shut: Shut) -> Submission:
    """Nothing of the account is asked now, so it is not even looked at: it waits as it is, and is expired in time (A15)."""
    at = shut.until if s.sent else min(shut.until, s.not_after)
    told = s.state in OPEN and s.behind is None
    return replace(s, reason=shut.why if told else s.reason, next_at=at)


def lapse(s: Submission, ctx: Context) -> Move:
    """Its time has run out and nothing was sent (A15)."""
    return _end(s, "expired", "not_after has passed and nothing was sent", ctx)


# --- people -------------------------------------------------------------------------------------------------------------------------------


class NotNow(ValueError):
    """What a person asked for is not possible in this state; the text says why and what is."""


def cancel(s: Submission, ctx: Context) -> Move:
    """Before it is sent. Raises NotNow once anything may have been sent: nobody can call that back (A6)."""
    if s.state not in OPEN:
        msg = f"{s.id} is {s.state} already"
        raise NotNow(msg)
    if s.sent:
        msg = f"{s.id} is in doubt: it may have been sent, so it cannot be cancelled. It ends by itself after the quiet period"
        raise NotNow(msg)
    return _end(s, "cancelled", "cancelled before it was sent", ctx)


def resolve(s: Submission, verdict: Literal["applied", "abandoned", "retry"], note: str, pin: Pin | None, ctx: Context) -> Move:
    """A person decides what the worker could not (A19). Raises NotNow where there is nothing to decide, or it is too early."""
    if s.state not in HELD:
        msg = f"{s.id} is {s.state}: only parked, misapplied and duplicated ones are resolved by a person"
        raise NotNow(msg)
    said = Note("resolved", {"as": verdict}, {"note": note})
    if verdict != "retry":
        move = _end(s, verdict, f"{RESOLVED}: {note}", ctx)
        return replace(move, notes=(said, *move.notes))
    if pin is None and s.command.action in ON_A_STEP:
        msg = f"a retry needs --pin: copy the pin of the step it is meant for from `approvals task show {s.task}`"
        raise NotNow(msg)
    if ctx.now < s.quiet_until:
        msg = f"{s.id} may still take effect for {s.quiet_until - ctx.now:.0f} s (the quiet period): retry after that"
        raise NotNow(msg)
    if ctx.now >= s.not_after:
        msg = f"the not_after of {s.id} has passed: resolve it as abandoned and submit a new command"
        raise NotNow(msg)
    if s.hits:
        msg = f"{s.id} has taken effect: a retry would be a second effect. Resolve it as applied or abandoned"
        raise NotNow(msg)
    after = replace(
        s,
        state="pending",
        reason=f"retry, by a person: {note}",
        pin=pin,
        looked=False,
        cleared=True,
        baseline=None,
        verdict=None,
        vigil=0,
        written_off=len(s.attempts),
        command=replace(s.command, issued_at=ctx.now),
        tries=0,
        next_at=ctx.now,
        transition=s.transition + 1,
    )
    return Move(after, notes=(said,))
