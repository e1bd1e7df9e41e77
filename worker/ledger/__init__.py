"""The ledger: all the SQL there is, and the only truth. Its verbs are the domain's, each one transaction, each over a set.

`submissions` accept, claim, settle; `accounts` pause and resume; `outbox` events and their way out; `watches` what is polled; `queries`
read-only; `schema` migrations.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from worker.ledger import schema
from worker.ledger.accounts import Accounts
from worker.ledger.database import Database, Machine
from worker.ledger.outbox import Outbox
from worker.ledger.queries import Queries
from worker.ledger.submissions import Submissions
from worker.ledger.tasks import Tasks
from worker.ledger.watches import Watches


class Ledger:
    """One database. *sinks*: names of the ways out, with the globs of what each lets out (names alone: everything); *clock*: replaces the
    ledger's clock in tests; *machine*: see `Database`.
    """

    def __init__(
        self,
        url: str,
        *,
        sinks: Collection[str] | Mapping[str, Sequence[str]] = (),
        clock: Callable[[], float] | None = None,
        machine: Machine | None = None,
        pool: int = 10,
    ) -> None:
        self.database = Database(url, clock=clock, machine=machine, pool=pool)
        self.tasks = Tasks(self.database)
        self.outbox = Outbox(self.database, sinks if isinstance(sinks, Mapping) else dict.fromkeys(sinks, ("*",)))
        self.accounts = Accounts(self.database, self.outbox)
        self.submissions = Submissions(self.database, self.tasks, self.outbox, self.accounts)
        self.watches = Watches(self.database)
        self.queries = Queries(self.database)

    def migrate(self) -> str:
        """Bring the tables to this release; returns the revision. Safe to repeat, and from several processes at once."""
        return schema.migrate(self.database)

    def check(self) -> None:
        """Raises SchemaMismatch unless the tables are of this release."""
        schema.check(self.database)

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()
