"""Carry the due submissions of an account on: look, decide and commit, send, decide and commit.

One loop for fresh submissions, for repeats and for recovery. Whatever came back while the last commit ran is decided and committed
together, so that the size of a wave follows the load and one slow answer holds back nobody. Look and send of one submission run back to
back: if more than `GAP` lies between them, the gate in the request's body stays shut, and it is looked at again (A12).
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

import httpx
import structlog

from worker.core.advance import Answer, Contexts
from worker.core.keys import marked
from worker.core.outcomes import Fact, InDoubt, Read, Sent, Unknown, Unsent
from worker.core.pause import Shut
from worker.core.submission import Context, Submission
from worker.engine import Bag, Errand
from worker.errors import LedgerDown
from worker.flows import Account, Runtime, breaker, tokens
from worker.flows.budget import heed, metered, prices
from worker.flows.insist import insist
from worker.ledger.submissions import Begun, Claimed, Settled
from worker.upstreams.base import Credentials, Order

log = structlog.get_logger()
T = TypeVar("T")

GAP = 2.0
"""Seconds between a look's answer and the moment its send leaves, at most (A12): the world can move in it."""

GLANCE = 0.2
"""Seconds to wait for an answer before asking the ledger again: what is accepted meanwhile does not wait for a slow answer."""


@dataclass(frozen=True, slots=True)
class Looking:
    """The tag of a look in flight."""

    claimed: Claimed


@dataclass(frozen=True, slots=True)
class Sending:
    """The tag of a send in flight."""

    begun: Begun


Tag = Looking | Sending
Stamped = tuple[float, T]
"""(boot-time instant of the answer, outcome)"""


def submit(rt: Runtime, name: str) -> bool:
    """Carry the due submissions of account *name* on for a turn; returns whether some may be left. Raises LedgerDown."""
    account = rt.accounts.get(name)
    if account is None:
        log.warning("submit.unknown_account", account=name)
        return False
    start = time.monotonic()
    down: LedgerDown | None = None
    with rt.engine.bag() as bag:
        while True:
            ended = bool(down) or rt.stopping.is_set() or time.monotonic() > start + (rt.turn if not len(bag) else rt.turn * 20)
            answers: list[tuple[Answer, float]] = []
            claimed: list[Claimed] = []
            if not ended and len(bag) <= (room := bag.room(rt.room)):
                try:
                    claimed = _claim(rt, account, len(bag), room)
                    tokens.ready(rt, account, {c.submission.command.grant for c in claimed})
                except LedgerDown as exc:  # those in flight come home first: left alone, each would be in doubt
                    down, ended = exc, True
                for c in claimed:
                    _look(rt, account, bag, c, answers)
            came = bag.take(timeout=None if ended else GLANCE)
            heed(rt, account, ((_grant(tag), what) for tag, (_, what) in came))
            answers += [_answer(tag, stamped) for tag, stamped in came]
            if answers:
                _wave(rt, account, bag, answers)
            elif not len(bag) and not claimed:
                if down:
                    raise down
                return ended


def _claim(rt: Runtime, account: Account, in_flight: int, most: int) -> list[Claimed]:
    """Up to *most* that are ours to carry on now. While the upstream is away: what has run out, and now and then one to probe with."""
    leave = breaker.enter(rt, account)
    if isinstance(leave, Shut):
        return rt.ledger.submissions.claim(account.name, most, account.rules.lease, prices(account), leave)
    room = min(most, leave.room - in_flight)
    claimed = rt.ledger.submissions.claim(account.name, room, account.rules.lease, prices(account)) if room > 0 else []
    if all(c.lapsed for c in claimed):
        breaker.give_back(rt, account, leave)
    return claimed


def _wave(rt: Runtime, account: Account, bag: Bag, answers: Sequence[tuple[Answer, float]]) -> None:
    """Decide and commit what came back, then send what is written now."""
    before = rt.engine.clock()
    settled = settle(rt, account, [a for a, _ in answers])
    arrived = {a.submission: at for a, at in answers if a.attempt is None}
    for begun in settled.begun:
        leave_by = min(before + account.rules.lease - account.rules.deadline, arrived.get(begun.submission.id, before) + GAP)
        _send(rt, account, bag, begun, leave_by)


def settle(rt: Runtime, account: Account, answers: Sequence[Answer]) -> Settled:
    """Commit what *answers* come to, and tell. While the ledger is down it is repeated: an answer in hand is worth waiting for.

    Where it is not known whether a commit took place, nothing of it is sent: an attempt it may have begun is settled as never sent (A1).
    """

    def write(again: bool) -> Settled:
        return rt.ledger.submissions.settle(answers, contexts(rt, account), again=again, prices=prices(account))

    settled = insist(rt, write, account=account.name, answers=len(answers))
    for s in settled.told:
        rt.notice(s)
    for event in settled.alarms:
        rt.alarm(event)
    if settled.events:
        for sink in rt.sinks:
            rt.ring("emit", sink)
    return settled


def contexts(rt: Runtime, account: Account) -> Contexts:
    """What decisions about submissions of *account* need, as of now."""
    standing = rt.ledger.submissions.standing(account.name, account.connector.realm)

    def context(s: Submission) -> Context:
        acts_as = account.grants.get(s.command.grant, "")
        known = cast("Literal['unproven', 'proven', 'stopped']", standing.grants.get((s.command.grant, acts_as), "unproven"))
        return Context(
            now=0.0, dice=rt.dice(), rules=account.rules, acts_as=acts_as, grant=known, wary=standing.wary, frozen=standing.frozen
        )

    return context


def _look(rt: Runtime, account: Account, bag: Bag, claimed: Claimed, answers: list[tuple[Answer, float]]) -> None:
    """Ask the upstream, unless there is nothing to ask or nobody to ask as."""
    s = claimed.submission
    if s.command.grant not in account.grants:
        why = f"account {account.name} has no grant {s.command.grant} any more"
    elif claimed.lapsed:
        why = "lapsed"
    else:
        flow = metered(rt, account, s.command.grant, account.connector.look(order_of(s, account)), account.connector.look_costs)
        credentials = account.connector.credentials(s.command.grant)
        bag.put(Looking(claimed), _errand(rt, flow, credentials, account.rules.deadline, lost=Unknown, unsent=Unknown))
        return
    answers.append(_answer(Looking(claimed), (rt.engine.clock(), Unknown(Fact(why)))))


def order_of(s: Submission, account: Account) -> Order:
    """What the connector is asked to look for, and then to send."""
    command = s.command
    return Order(
        task=s.task,
        action=command.action,
        comment=marked(command.comment, s.mark if s.marked else None),
        response=command.response,
        grant=command.grant,
        acts_as=account.grants.get(command.grant, ""),
        step=s.pin.step if s.pin else command.step,
        part=s.part,
        choice=s.choice,
        state=command.state,
        fields=command.fields,
    )


def _send(rt: Runtime, account: Account, bag: Bag, begun: Begun, leave_by: float) -> None:
    s = begun.submission
    assert s.baseline is not None  # begun
    credentials = account.connector.credentials(s.command.grant)
    flow = account.connector.send(order_of(s, account), s.baseline)
    errand = _errand(rt, flow, credentials, account.rules.deadline, lost=InDoubt, unsent=Unsent, leave_by=leave_by)
    bag.put(Sending(begun), errand)


def _errand(
    rt: Runtime,
    flow: Generator[httpx.Request, httpx.Response, T],
    credentials: Credentials,
    deadline: float,
    *,
    lost: Callable[[Fact], T],
    unsent: Callable[[Fact], T],
    leave_by: float | None = None,
) -> Errand[Stamped[T]]:
    """An errand whose outcome carries the instant of its answer, on the clock that the engine asks at the gate."""
    clock = rt.engine.clock

    def stamped() -> Generator[httpx.Request, httpx.Response, Stamped[T]]:
        outcome = yield from flow
        return clock(), outcome

    return Errand(
        flow=stamped(),
        credentials=credentials,
        deadline=deadline,
        lost=lambda fact: (clock(), lost(fact)),
        unsent=lambda fact: (clock(), unsent(fact)),
        leave_by=leave_by,
    )


def _grant(tag: Tag) -> str:
    s = tag.claimed.submission if isinstance(tag, Looking) else tag.begun.submission
    return s.command.grant


def _answer(tag: Tag, stamped: Stamped[Read | Sent]) -> tuple[Answer, float]:
    at, what = stamped
    if isinstance(tag, Looking):
        c = tag.claimed
        s = c.submission
        return Answer(s.realm, s.task, c.version, what, s.id, claim=c.claim, attempts_before=len(s.attempts), asked_at=c.at), at
    b = tag.begun
    s = b.submission
    return Answer(s.realm, s.task, b.version, what, s.id, attempt=b.attempt.n, claim=b.claim), at
