"""Whether the grants can do what the checks need, before any is made."""

from contextlib import suppress

from worker.verify.asking import Person
from worker.verify.run import CannotBegin, asked
from worker.verify.verdict import CannotTell
from worker.verify.workiva.task import TaskAnswer, author_of
from worker.verify.workiva.trial import Trial, one


def prepare(trial: Trial) -> None:
    """The named task is there, every grant may act, and what is made can be read and deleted. Raises CannotBegin."""
    named = asked(lambda: trial.ask(trial.request("GET", trial.url(trial.named))), trial.me)
    hidden = trial.process_made and named.status in {403, 404}  # which is what assumption 21 is about
    if not named.ok and not hidden:
        _refuse(named, trial.me)
    if named.ok and isinstance(named.body, dict) and isinstance(named.body.get("location"), dict):
        trial.lent = named.body["location"]
    for person in trial.people:
        _prove(trial, person)
    with suppress(CannotTell):
        trial.quoted(trial.label)


def _refuse(answer: TaskAnswer, person: Person) -> None:
    if answer.status in {403, 404, 410}:
        message = f"the upstream shows no such task to grant {person.grant} ({answer.status}): see `approvals task list`"
        raise CannotBegin(message, missing=True)
    raise CannotBegin(f"the named task cannot be read as grant {person.grant} ({answer.status}): `approvals doctor` looks at the grant")


def _prove(trial: Trial, person: Person) -> None:
    """A task of our own: made, submitted and approved by the grant, and approved as the user that it should be."""
    made = asked(lambda: trial.post(one(person)), trial.me)
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
    read, deleted = (asked(lambda ask=ask: ask(task), trial.me) for ask in (trial.read, trial.delete))  # type: ignore[misc]
    if not (read.ok and deleted.ok):
        seen = f"GET {read.status}, DELETE {deleted.status}"
        raise CannotBegin(f"a task that was made cannot be read and deleted by its id ({seen}), and without that nothing is tried")
