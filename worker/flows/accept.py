"""Accept commands: check them against the accounts, find their pins, write them down. The same key is the same submission (A16).

A command for a step that says neither pin nor step is only clear where the task has one step. What the ledger does not know of the task is
asked of the upstream, after everything that needs no asking has been accepted: one unclear command holds back none of its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worker.core.command import ON_A_STEP, Command
from worker.core.outcomes import Unknown
from worker.core.pins import PinError, read_pin
from worker.core.submission import outline
from worker.core.task import Snapshot
from worker.engine import Errand
from worker.flows import Runtime, tokens
from worker.flows.budget import metered, settle_up
from worker.ledger.submissions import New


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is a submission now."""

    id: str
    key: str
    state: str


@dataclass(frozen=True, slots=True)
class Existing:
    """The same key and the same content were accepted before: this call did nothing. `accepted_at` in seconds since the epoch."""

    id: str
    key: str
    state: str
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key was used with other content."""

    id: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """It cannot be accepted; the reason names what is wrong and what to do."""

    reason: str


Outcome = Accepted | Existing | Conflict | Rejected


ASKING = 5.0
"""Seconds that an unclear command may ask the upstream, at most: its batch is acknowledged after that. If nobody can tell, the first look
will."""


def accept(rt: Runtime, commands: Sequence[Command]) -> list[Outcome]:
    """Accept *commands*; one outcome each, in their order. Raises LedgerDown: repeat all of them, what is written stands."""
    checked = [check(rt, c) for c in commands]
    unclear = {i for i, new in enumerate(checked) if isinstance(new, New) and _unclear(new)}
    if unclear:  # what stands already is not asked about again: it is the same submission, whatever the task looks like now (A16)
        standing = rt.ledger.submissions.taken({(commands[i].account, commands[i].key) for i in unclear})
        names = {(commands[i].account, commands[i].key) for i in unclear} - set(standing)
        # Of one key in one batch the first wins (PROTOCOL D), so a clear one does not overtake an unclear one of its key.
        unclear = {i for i, c in enumerate(commands) if (c.account, c.key) in names and isinstance(checked[i], New)}
    out: dict[int, Outcome] = {i: new for i, new in enumerate(checked) if isinstance(new, Rejected)}
    out |= _write(rt, {i: new for i, new in enumerate(checked) if isinstance(new, New) and i not in unclear})
    if unclear:
        seen = _steps(rt, {i: new for i, new in enumerate(checked) if isinstance(new, New) and i in unclear})
        out |= {i: r for i, r in seen.items() if isinstance(r, Rejected)}
        out |= _write(rt, {i: n for i, n in seen.items() if isinstance(n, New)})
    accounts = sorted({commands[i].account for i, o in out.items() if isinstance(o, Accepted)})
    for account in accounts:
        rt.ring("submit", account)
    for sink in rt.sinks if accounts else ():
        rt.ring("emit", sink)
    return [out[i] for i in range(len(commands))]


def check(rt: Runtime, command: Command) -> New | Rejected:
    """Whether the accounts know what the command asks for, and its pin is one of its task."""
    account = rt.accounts.get(command.account)
    if account is None:
        known = ", ".join(sorted(rt.accounts)) or "none"
        return Rejected(f"unknown account {command.account!r}: the settings have {known}")
    if not command.grant and len(account.grants) == 1:
        command = replace(command, grant=next(iter(account.grants)))
    if command.grant not in account.grants:
        known = ", ".join(sorted(account.grants)) or "none"
        what = f"unknown grant {command.grant!r}" if command.grant else "say which grant with `as`"
        return Rejected(f"{what}: account {account.name} has {known}")
    if command.action not in account.actions:
        return Rejected(f"unknown action {command.action!r}: {account.kind} has {', '.join(sorted(account.actions))}")
    realm = account.connector.realm
    try:
        address = account.connector.address(command.task)
    except ValueError as exc:
        return Rejected(f"task: {exc}")
    if command.action == "transition" and command.state is None:
        return Rejected("state: a transition says where it leads, such as sbc-2")
    if command.action != "transition" and (foreign := [n for n in ("state", "fields") if getattr(command, n)]):
        return Rejected(f"{', '.join(foreign)}: only a transition takes this, and the action is {command.action}")
    if address.part and command.action not in ON_A_STEP:
        return Rejected(f"task: {command.action} is of the whole task: {address.task}")
    try:
        pin = read_pin(command.pin, realm, address.task) if command.pin else None
    except PinError as exc:
        return Rejected(f"pin: {exc}")
    if pin and command.step is not None and pin.step != command.step:
        return Rejected(f"pin and step disagree: the pin is for step {pin.step}, step says {command.step}")
    return New(command, account.kind, realm, pin, address.task, address.part)


def _unclear(new: New) -> bool:
    return new.command.action in ON_A_STEP and new.command.pin is None and new.command.step is None and new.part is None


def _write(rt: Runtime, items: dict[int, New]) -> dict[int, Outcome]:
    # The digest is of the command as it came, without the default of not_after: a repeat tomorrow is still the same content (A16).
    news = [_with_defaults(rt, new) for new in items.values()]
    standing = rt.ledger.submissions.accept(news)
    out: dict[int, Outcome] = {}
    for i, s in zip(items, standing, strict=True):
        if s.mine:
            out[i] = Accepted(s.id, s.key, s.state)
        elif s.same:
            out[i] = Existing(s.id, s.key, s.state, s.accepted_at)
        else:
            out[i] = Conflict(s.id, s.key, f"key {s.key!r} was used with other content by {s.id} ({s.state})")
    return out


def _with_defaults(rt: Runtime, new: New) -> New:
    command = new.command
    if command.not_after is not None:
        return new
    start = max(command.issued_at, command.not_before or command.issued_at)
    return replace(new, not_after=start + rt.accounts[command.account].expires_after)


def _steps(rt: Runtime, items: dict[int, New]) -> dict[int, New | Rejected]:
    """For commands that name no step: is there but one? Asked of the ledger, then of the upstream. Where nobody can tell, the first look
    will.
    """
    known = rt.ledger.tasks.known({(n.realm, n.task) for n in items.values()})
    looks = {i: row.snapshot for i, n in items.items() if (row := known.get((n.realm, n.task))) and row.snapshot}
    with rt.engine.bag() as bag:
        for i, new in items.items():
            if i not in looks and _unclear(new):
                account = rt.accounts[new.command.account]
                tokens.ready(rt, account, [new.command.grant])
                bag.put(
                    i,
                    Errand(
                        flow=metered(rt, account, new.command.grant, account.connector.read(new.task), 0),
                        credentials=account.connector.credentials(new.command.grant),
                        deadline=min(account.rules.deadline, ASKING),
                        lost=Unknown,
                        unsent=Unknown,
                    ),
                )
        while answers := bag.take():
            looks |= {i: look for i, look in answers if isinstance(look, Snapshot)}
    for name in {new.command.account for new in items.values()}:
        settle_up(rt, rt.accounts[name])
    return {i: _one_step(new, looks.get(i)) for i, new in items.items()}


def _one_step(new: New, look: Snapshot | None) -> New | Rejected:
    if not _unclear(new) or look is None or len(look.steps) <= 1:
        return new
    return Rejected(f"say pin or step: the task has {len(look.steps)} steps. {outline(look)}")
