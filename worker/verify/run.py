"""One run: every check in turn, and what came of it. What cannot even begin says why."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.verify.asking import Asking, Person
from worker.verify.verdict import CannotTell, Held, Verdict

T = TypeVar("T")


class CannotBegin(Exception):
    """No check can be made. The text says why and what to do; `missing`: there is no such task."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one numbered assumption."""

    number: int
    held: Held
    seen: str


def asked(ask: Callable[[], T], person: Person) -> T:
    """What *ask* returns. Raises CannotBegin where it cannot tell."""
    try:
        return ask()
    except CannotTell as why:
        raise CannotBegin(f"as grant {person.grant}: {why}. `approvals doctor` looks at address and grant") from why


def findings(trial: Asking, numbers: Iterable[int], checks: Mapping[int, Callable[[Any], Verdict]]) -> Iterator[Finding]:
    """A finding for each number, in the order of *checks*, as they come. A check that cannot be made is no contradiction."""
    order = {number: n for n, number in enumerate(checks)}
    for number in sorted(numbers, key=lambda number: order.get(number, len(order))):
        verdict = _made(trial, checks.get(number))
        yield Finding(number, verdict.held, verdict.seen)


def _made(trial: Asking, check: Callable[[Any], Verdict] | None) -> Verdict:
    if check is None:
        return Verdict("not tried", "this release has no check for it")
    try:
        return check(trial)
    except CannotTell as why:
        return Verdict("not tried", str(why))
