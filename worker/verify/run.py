"""One run: first whether the grants can do what the checks need, then every check, then everything that was made is deleted."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from worker.verify.answers import Answer, author_of
from worker.verify.table import CHECKS
from worker.verify.trial import Person, Trial, one
from worker.verify.verdict import CannotTell, Held, Verdict


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


def prepare(trial: Trial) -> None:
    """The named task is there, every grant may act, and what is made can be read and deleted. Raises CannotBegin."""
    named = _asked(lambda: trial.ask(trial.request("GET", trial.url(trial.named))), trial.me)
    hidden = trial.process_made and named.status in {403, 404}  # which is what assumption 21 is about
    if not named.ok and not hidden:
        _refuse(named, trial.me)
    if named.ok and isinstance(named.body, dict) and isinstance(named.body.get("location"), dict):
        trial.lent = named.body["location"]
    for person in trial.people:
        _prove(trial, person)
    with suppress(CannotTell):
        trial.quoted(trial.label)


def _refuse(answer: Answer, person: Person) -> None:
    if answer.status in {403, 404, 410}:
        message = f"the upstream shows no such task to grant {person.grant} ({answer.status}): see `approvals task list`"
        raise CannotBegin(message, missing=True)
    raise CannotBegin(f"the named task cannot be read as grant {person.grant} ({answer.status}): `approvals doctor` looks at the grant")


def _prove(trial: Trial, person: Person) -> None:
    """A task of our own: made, submitted and approved by the grant, and approved as the user that it should be."""
    made = _asked(lambda: trial.post(one(person)), trial.me)
    if not made.ok:
        todo = "it needs the scope task:write and the right to make tasks"
        raise CannotBegin(f"grant {trial.me.grant} may not make a task ({made.status}): {todo}")
    try:
        task = trial.do(made.task, "SUBMIT")
        comment = trial.comment()
        approved = trial.act(task, "APPROVE", person, comment)
    except CannotTell as why:
        raise CannotBegin(f"a task that grant {trial.me.grant} made cannot be submitted: {why}") from why
    if not approved.ok:
        todo = "is its acts_as the user that it acts as?"
        raise CannotBegin(f"grant {person.grant} may not approve a task that waits for it ({approved.status}): {todo}")
    with suppress(CannotTell):
        if author_of(approved.task.response(comment).get("created")) not in {None, person.user}:
            raise CannotBegin(f"grant {person.grant} acts as somebody else than its acts_as: set it right first")
    read, deleted = (_asked(lambda ask=ask: ask(task), trial.me) for ask in (trial.read, trial.delete))  # type: ignore[misc]
    if not (read.ok and deleted.ok):
        seen = f"GET {read.status}, DELETE {deleted.status}"
        raise CannotBegin(f"a task that was made cannot be read and deleted by its id ({seen}), and without that nothing is tried")


def _asked(ask: Callable[[], Answer], person: Person) -> Answer:
    try:
        return ask()
    except CannotTell as why:
        raise CannotBegin(f"as grant {person.grant}: {why}. `approvals doctor` looks at address and grant") from why


def findings(trial: Trial, numbers: Iterable[int]) -> Iterator[Finding]:
    """A finding for each number, in their order, as they come. A check that cannot be made is no contradiction."""
    for number in numbers:
        verdict = _made(trial, number)
        yield Finding(number, verdict.held, verdict.seen)


def _made(trial: Trial, number: int) -> Verdict:
    check = CHECKS.get(number)
    if check is None:
        return Verdict("not tried", "this release has no check for it")
    try:
        return check(trial)
    except CannotTell as why:
        return Verdict("not tried", str(why))
