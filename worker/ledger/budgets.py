"""The budgets in the ledger: how many requests may leave, counted for all processes together (B3).

Buckets are locked in the order of their names, after everything else that a transaction locks, and for as short as it lasts.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core.advance import Contexts
from worker.core.budget import Bucket, Limit, Price
from worker.core.pause import Shut
from worker.core.submission import Context, Submission
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.rows import fields_of

THROTTLED = "throttled: the upstream has said when it may be asked again"
"""Why a send waits. Nothing failed, so it costs no attempt (A15)."""


Prices = Callable[[Submission], Price]
"""What carrying a submission on once costs: a look, and a send where it may come to that."""


class Purse:
    """Locked buckets, as they become. See the module."""

    def __init__(self, buckets: Mapping[str, Bucket], limits: Mapping[str, Limit], now: float) -> None:
        self._buckets, self._limits, self._now = dict(buckets), limits, now
        self.paid: set[str] = set()
        self._owed: Counter[str] = Counter()

    def affords(self, price: Price, *, watching: bool = False) -> int:
        """How many times *price* may be paid now."""
        least = min((self._buckets[n].affords(limit, self._now, watching=watching) for n, limit in price.limits.items()), default=None)
        return 1 << 30 if least is None else int(least // price.requests)

    def pay(self, price: Price, times: int = 1) -> None:
        """Take it, be it into the red."""
        for name, limit in price.limits.items():
            self._buckets[name] = self._buckets[name].pay(limit, self._now, price.requests * times)
            self.paid.add(name)

    def wait(self, price: Price) -> float:
        """Seconds until *price* may be paid after those who wait already, if nobody else pays meanwhile."""
        owed = self._owed
        return max((self._buckets[n].wait(limit, self._now, owed[n] + price.requests) for n, limit in price.limits.items()), default=0.0)

    def owe(self, price: Price) -> None:
        """It could not be paid, and is due later: who comes next waits for longer."""
        self._owed.update(dict.fromkeys(price.limits, price.requests))

    def changed(self) -> list[Bucket]:
        """The buckets that were paid into."""
        return [self._buckets[name] for name in sorted(self.paid)]


class Budgets:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def purse(self, c: Connection, prices: Iterable[Price], now: float) -> Purse:
        """The buckets of *prices*, locked until the transaction ends."""
        limits = {name: limit for price in prices for name, limit in price.limits.items()}
        found = self._buckets(c, limits, locked=True)
        if missing := sorted(limits.keys() - found.keys()):
            self._db.put(c, tables.budgets, [fields_of(Bucket(name)) for name in missing], new=True)
            found = self._buckets(c, limits, locked=True)
        return Purse(found, limits, now)

    def save(self, c: Connection, purse: Purse) -> None:
        """Write down what was paid."""
        self._db.alter(c, tables.budgets, [fields_of(bucket) for bucket in purse.changed()])

    def take(self, price: Price, wanted: int) -> int:
        """Pay *price* up to *wanted* times, for watching; returns how often it was paid."""

        def work(c: Connection) -> int:
            purse = self.purse(c, [price], self._db.now(c))
            times = min(wanted, purse.affords(price, watching=True))
            if times > 0:
                purse.pay(price, times)
                self.save(c, purse)
            return times

        return self._db.write(work) if wanted > 0 else 0

    def all(self) -> Sequence[Bucket]:
        """Every row: for people."""
        with self._db.read() as c:
            return list(self._rows(c, sa.select(tables.budgets).order_by(tables.budgets.c.name)))

    def spend(self, price: Price) -> None:
        """Pay *price*, be it into the red: it has been asked already, or a person asks."""

        def work(c: Connection) -> None:
            purse = self.purse(c, [price], self._db.now(c))
            purse.pay(price)
            self.save(c, purse)

        if price.limits:
            self._db.write(work)

    def before(self, c: Connection, contexts: Contexts, prices: Prices, asking: Sequence[Submission], now: float) -> Contexts:
        """*contexts*, each with what shuts its buckets now: a `Retry-After` that came to any worker while the look was under way."""
        names = {name for s in asking for name in prices(s).limits}
        t = tables.budgets
        query = sa.select(t.c.name, t.c.shut_until).where(self._db.one_of(t.c.name, sorted(names)), t.c.shut_until > now)
        until = {r.name: r.shut_until for r in c.execute(query)} if names else {}
        if not until:
            return contexts

        def context(s: Submission) -> Context:
            made = contexts(s)
            latest = max((until[name] for name in prices(s).limits if name in until), default=now)
            return replace(made, shut=Shut(THROTTLED, latest)) if made.shut is None and latest > now else made

        return context

    def pay_again(self, c: Connection, prices: Sequence[Price], now: float) -> None:
        """One request each, whose payment is too old to cover the minute in which it leaves."""
        if prices:
            purse = self.purse(c, prices, now)
            for price in prices:
                purse.pay(replace(price, requests=1))
            self.save(c, purse)

    def throttled(self, limits: Mapping[str, Limit], retry_after: float) -> None:
        """A 429 came: which of the buckets was over is not told, so all of them are shut for as long as it says."""

        def work(c: Connection) -> None:
            now = self._db.now(c)
            buckets = self._buckets(c, limits, locked=True)
            after = [buckets.get(name, Bucket(name)).throttled(limit, now, retry_after) for name, limit in sorted(limits.items())]
            self._db.put(c, tables.budgets, [fields_of(b) for b in after if b.name not in buckets], new=True)
            self._db.alter(c, tables.budgets, [fields_of(b) for b in after if b.name in buckets])

        self._db.write(work)

    def _buckets(self, c: Connection, names: Collection[str], *, locked: bool) -> dict[str, Bucket]:
        t = tables.budgets
        query = sa.select(t).where(self._db.one_of(t.c.name, sorted(names))).order_by(t.c.name)
        return {bucket.name: bucket for bucket in self._rows(c, self._db.locked(query) if locked else query)}

    @staticmethod
    def _rows(c: Connection, query: sa.Select[Any]) -> Iterator[Bucket]:
        for row in c.execute(query):
            yield Bucket(**row._mapping)  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
