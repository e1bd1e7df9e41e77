"""What people decide: cancel what was not sent, resolve what the worker could not decide (A6, A19)."""

from collections.abc import Callable
from typing import Literal

from worker.core import submission as life
from worker.core.command import ON_A_STEP
from worker.core.pins import read_pin
from worker.core.submission import Context, Move, Submission
from worker.errors import ApprovalsError
from worker.flows import Runtime


class NoSuchSubmission(ApprovalsError):
    """There is no submission of this id."""


def cancel(rt: Runtime, id_: str) -> Submission:
    """Cancel a submission that was not sent. Raises NoSuchSubmission, life.NotNow (a ValueError that says why), LedgerDown."""
    return _change(rt, id_, life.cancel)


def resolve(rt: Runtime, id_: str, verdict: Literal["applied", "abandoned", "retry"], note: str, pin: str | None = None) -> Submission:
    """Resolve a parked one. A retry needs the pin of the step it is meant for. Raises NoSuchSubmission, life.NotNow, PinError,
    LedgerDown.
    """

    def decide(s: Submission, ctx: Context) -> Move:
        at = read_pin(pin, s.realm, s.task) if pin and s.command.action in ON_A_STEP else None
        return life.resolve(s, verdict, note, at, ctx)

    return _change(rt, id_, decide)


def _change(rt: Runtime, id_: str, decide: Callable[[Submission, Context], Move]) -> Submission:
    done: list[Submission] = []

    def with_context(s: Submission, now: float) -> Move:
        account = rt.accounts.get(s.command.account)
        rules = account.rules if account else life.Rules(0.0, 0.0, 0.0, 0.0)
        move = decide(s, Context(now=now, dice=rt.dice(), rules=rules, acts_as=s.acts_as or ""))
        done[:] = [move.submission]
        return move

    if rt.ledger.submissions.change(id_, with_context) is None:
        msg = f"no submission {id_}"
        raise NoSuchSubmission(msg)
    rt.ring("submit", done[0].command.account)
    for sink in rt.sinks:
        rt.ring("emit", sink)
    return done[0]
