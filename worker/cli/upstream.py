"""Questions to an upstream, asked for a person: read-only, through the connector and the engine."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.cli.session import NOT_FOUND, Failure

if TYPE_CHECKING:
    from worker.core.outcomes import Read
    from worker.core.task import Snapshot
    from worker.flows import Account, Runtime
    from worker.upstreams.base import Order


def asked(rt: "Runtime", flow: Any, credentials: Any, deadline: float) -> Any:
    """What *flow* returns. A failure on the way is `Unknown`."""
    from worker.core.outcomes import Unknown
    from worker.engine import Errand

    with rt.engine.bag() as bag:
        bag.put(None, Errand(flow, credentials, deadline, lost=Unknown, unsent=Unknown))
        return bag.take()[0][1]


def paid(rt: "Runtime", account: "Account", grant: str, ask: Callable[[], Any]) -> Any:
    """What the flow that *ask* makes returns, asked as *grant*. See `_answers`."""
    return _answers(rt, account, {"": (grant, ask)})[""]


def _answers(rt: "Runtime", account: "Account", asks: Mapping[str, tuple[str, Callable[[], Any]]]) -> dict[str, Any]:
    """What each flow returns, all at once: *asks* says for each as which grant. They are paid for by the account's budget, into the red if
    need be: a person does not wait.

    A stored token that was refused is renewed, and whatever was asked with it is asked once more: there is no next turn here.
    """
    from worker.core.outcomes import Unknown
    from worker.engine import Errand
    from worker.flows.budget import metered, settle_up
    from worker.flows.tokens import ready

    found: dict[str, Any] = {}
    left = asks
    for _ in range(2):
        ready(rt, account, {grant for grant, _ in left.values()})
        with rt.engine.bag() as bag:
            for name, (grant, ask) in left.items():
                credentials = account.connector.credentials(grant)
                flow = metered(rt, account, grant, ask(), 0)
                bag.put(name, Errand(flow, credentials, account.rules.deadline, lost=Unknown, unsent=Unknown))
            while answers := bag.take():
                found |= answers
        stored = {name: each for name, each in left.items() if account.connector.renewal(each[0])}
        left = {name: each for name, each in stored.items() if isinstance(found[name], Unknown) and found[name].fact.status == 401}
        if not left:
            break
    settle_up(rt, account)
    return found


def look(rt: "Runtime", account: "Account", grant: str, task: str, order: "Order | None" = None) -> "Read":
    """One task, now; for *order*, with what is offered to its grant."""
    read: Read = paid(rt, account, grant, lambda: account.connector.look(order) if order else account.connector.read(task))
    return read


def seen(read: "Read", task: str) -> "Snapshot":
    """The snapshot, or the failure that says why there is none."""
    from worker.core.outcomes import Gone, Unknown

    match read:
        case Gone(fact):
            raise Failure(f"the upstream shows no task {task!r} to this grant ({fact}): see `approvals task list`", NOT_FOUND)
        case Unknown(fact):
            raise Failure(f"the upstream could not be asked ({fact}). `approvals doctor` looks at address and grant")
    return read


def looks(rt: "Runtime", account: "Account", readers: Mapping[str, str]) -> dict[str, "Read"]:
    """Several tasks, now, all at once: *readers* says for each as which grant."""
    return _answers(rt, account, {task: (grant, partial(account.connector.read, task)) for task, grant in readers.items()})


def feed(rt: "Runtime", account: "Account", grant: str) -> Iterator[tuple["Snapshot", bool]]:
    """Every task that the grant may see, in the feed's order, each once, as it was when it was read last; and whether with its steps."""
    from worker.core.outcomes import Unknown

    cursor: str | None = None
    known: dict[str, tuple[Snapshot, bool]] = {}
    while True:
        page = paid(rt, account, grant, partial(account.connector.changes, None, cursor))
        if isinstance(page, Unknown):
            raise Failure(f"the tasks could not be listed ({page.fact}). `approvals doctor` looks at address and grant")
        before = len(known)
        known |= {look.task: (look, True) for look in page.snapshots} | {look.task: (look, False) for look in page.touched}
        if page.cursor is None or (page.cursor == cursor and len(known) == before):
            break
        cursor = page.cursor
    yield from known.values()
