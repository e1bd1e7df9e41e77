"""Questions to an upstream, asked for a person: read-only, through the connector and the engine."""

from collections.abc import Iterator, Mapping
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


def paid(rt: "Runtime", account: "Account", grant: str, flow: Any) -> Any:
    """What *flow* returns, asked as *grant*. It is paid for by the account's budget, into the red if need be: a person does not wait."""
    from worker.flows.budget import metered, settle_up

    answer = asked(rt, metered(rt, account, grant, flow, 0), account.connector.credentials(grant), account.rules.deadline)
    settle_up(rt, account)
    return answer


def look(rt: "Runtime", account: "Account", grant: str, task: str, order: "Order | None" = None) -> "Read":
    """One task, now; for *order*, with what is offered to its grant."""
    from worker.flows.tokens import ready

    ready(rt, account, [grant])
    flow = account.connector.look(order) if order else account.connector.read(task)
    read: Read = paid(rt, account, grant, flow)
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
    from worker.core.outcomes import Unknown
    from worker.engine import Errand
    from worker.flows.budget import metered, settle_up
    from worker.flows.tokens import ready

    ready(rt, account, set(readers.values()))
    found: dict[str, Read] = {}
    with rt.engine.bag() as bag:
        for task, grant in readers.items():
            credentials = account.connector.credentials(grant)
            flow = metered(rt, account, grant, account.connector.read(task), 0)
            bag.put(task, Errand(flow, credentials, account.rules.deadline, lost=Unknown, unsent=Unknown))
        while answers := bag.take():
            found |= answers
    settle_up(rt, account)
    return found


def feed(rt: "Runtime", account: "Account", grant: str) -> Iterator[tuple["Snapshot", bool]]:
    """Every task that the grant may see, in the feed's order, each once, as it was when it was read last; and whether with its steps."""
    from worker.core.outcomes import Unknown
    from worker.flows.tokens import ready

    ready(rt, account, [grant])
    cursor: str | None = None
    known: dict[str, tuple[Snapshot, bool]] = {}
    while True:
        page = paid(rt, account, grant, account.connector.changes(None, cursor))
        if isinstance(page, Unknown):
            raise Failure(f"the tasks could not be listed ({page.fact}). `approvals doctor` looks at address and grant")
        before = len(known)
        known |= {look.task: (look, True) for look in page.snapshots} | {look.task: (look, False) for look in page.touched}
        if page.cursor is None or (page.cursor == cursor and len(known) == before):
            break
        cursor = page.cursor
    yield from known.values()
