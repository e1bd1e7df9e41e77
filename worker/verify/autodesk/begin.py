"""Whether the grants can do what the checks need, before any is made."""

from worker.verify.answers import Answer, a_list
from worker.verify.asking import Person
from worker.verify.autodesk.trial import Trial
from worker.verify.run import CannotBegin, asked

MANAGER = "1"
"""Of the roles in Submittals [ME]."""


def prepare(trial: Trial) -> None:
    """Every grant acts as the user that it should be, and all items that were named are there. Raises CannotBegin."""
    trial.managers = frozenset(person for person in trial.people if MANAGER in _roles(trial, person))
    for item in dict.fromkeys([trial.named, *trial.usable]):
        answer = asked(lambda item=item: trial.get(trial.url(item)), trial.me)  # type: ignore[misc]
        if answer.status in {403, 404}:
            message = f"the upstream shows no such item to grant {trial.me.grant} ({answer.status}): see `approvals task list`"
            raise CannotBegin(message, missing=True)
        if not answer.ok:
            raise CannotBegin(f"an item cannot be read as grant {trial.me.grant} ({answer.status}): `approvals doctor` looks at the grant")


def _roles(trial: Trial, person: Person) -> list[str]:
    me: Answer = asked(lambda: trial.get("/users/me", who=person), person)
    if not me.ok or not isinstance(me.body, dict):
        raise CannotBegin(f"grant {person.grant} is not told who it is ({me.status}): `approvals doctor` looks at the grant")
    if me.body.get("id") != person.user:
        raise CannotBegin(f"grant {person.grant} acts as somebody else than its acts_as: set it right first")
    return [str(role) for role in a_list(me.body.get("roles"))]
