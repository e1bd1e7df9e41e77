"""Questions to an upstream, asked for a person: read-only, through the connector and the engine, one at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from worker.cli.session import NOT_FOUND, Failure

if TYPE_CHECKING:
    from worker.core.outcomes import Read
    from worker.core.task import Snapshot
    from worker.flows import Account, Runtime


def asked(rt: "Runtime", flow: Any, credentials: Any, deadline: float) -> Any:
    """What *flow* returns. A failure on the way is `Unknown`."""
    from worker.core.outcomes import Unknown
    from worker.engine import Errand

    with rt.engine.bag() as bag:
        bag.put(None, Errand(flow, credentials, deadline, lost=Unknown, unsent=Unknown))
        return bag.take()[0][1]


def look(rt: "Runtime", account: "Account", grant: str, task: str) -> "Read":
    """One task, now."""
    read: Read = asked(rt, account.connector.read(task), account.connector.credentials(grant), account.rules.deadline)
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


def feed(rt: "Runtime", account: "Account", grant: str) -> Iterator["Snapshot"]:
    """Every task that the grant may see, oldest change first, each once, as it was when it was read last."""
    from worker.core.outcomes import Unknown

    cursor: str | None = None
    known: dict[str, Snapshot] = {}
    while True:
        page = asked(rt, account.connector.changes(None, cursor), account.connector.credentials(grant), account.rules.deadline)
        if isinstance(page, Unknown):
            raise Failure(f"the tasks could not be listed ({page.fact}). `approvals doctor` looks at address and grant")
        before = len(known)
        known |= {snapshot.task: snapshot for snapshot in page.snapshots}
        if page.cursor is None or (page.cursor == cursor and len(known) == before):
            break
        cursor = page.cursor
    yield from known.values()
