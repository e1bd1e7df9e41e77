"""The ledger: all the SQL there is, and the only truth. Its verbs are the domain's, each one transaction, each over a set.

`submissions` accept, claim, settle; `accounts` pause and resume; `budgets` what may leave; `breakers` whether an upstream answers; `outbox`
events and their way out; `watches` what is polled; `notices` of due dates; `tokens` of grants that are renewed; `queries` read-only;
`schema` migrations.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from worker.core.delivery import Filter, Wanted
from worker.ledger import schema
from worker.ledger.accounts import Accounts
from worker.ledger.breakers import Breakers
from worker.ledger.budgets import Budgets
from worker.ledger.database import Database, Machine
from worker.ledger.notices import Notices
from worker.ledger.outbox import Outbox
from worker.ledger.queries import Queries
from worker.ledger.seal import Seal
from worker.ledger.submissions import Submissions
from worker.ledger.tasks import Tasks
from worker.ledger.tokens import Tokens
from worker.ledger.watches import Watches


class Ledger:
    """One database. *sinks*: names of the ways out, with what each lets out (names alone: everything); *clock*: replaces the
    ledger's clock in tests; *machine*: see `Database`; *keys*: what tokens are sealed with, newest first (none: see `seal`).
    """

    def __init__(
        self,
        url: str,
        *,
        sinks: Collection[str] | Mapping[str, Wanted] = (),
        clock: Callable[[], float] | None = None,
        machine: Machine | None = None,
        pool: int = 10,
        keys: Sequence[str] = (),
    ) -> None:
        self.database = Database(url, clock=clock, machine=machine, pool=pool)
        self.tasks = Tasks(self.database)
        self.outbox = Outbox(self.database, sinks if isinstance(sinks, Mapping) else dict.fromkeys(sinks, Filter()))
        self.accounts = Accounts(self.database, self.outbox)
        self.budgets = Budgets(self.database)
        self.breakers = Breakers(self.database, self.outbox)
        self.submissions = Submissions(self.database, self.tasks, self.outbox, self.accounts, self.budgets)
        self.watches = Watches(self.database)
        self.notices = Notices(self.database, self.tasks, self.outbox)
        file = self.database.file
        self.tokens = Tokens(self.database, self.outbox, Seal(keys, Path(f"{file}.key") if file else None))
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
