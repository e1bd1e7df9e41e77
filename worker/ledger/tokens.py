"""Tokens of grants that are renewed by a refresh token: one row for all who share them, and a lease on it for whoever renews (R1 to R5).

Nothing here asks an upstream: `begin` and `settle` are the two transactions around the one request. New tokens are committed before anybody
gets to see them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core import events, renewal
from worker.core.events import Event
from worker.core.renewal import Answer, Kept, Renewed
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.outbox import Outbox
from worker.ledger.rows import fields_of
from worker.ledger.seal import Seal
from worker.ledger.tasks import Locked

KEPT = tuple(f.name for f in fields(Kept))


@dataclass(frozen=True, slots=True)
class Party:
    """A grant of the settings that uses the tokens of a row: it is told when they degrade and when they recover."""

    kind: str
    account: str
    grant: str
    realm: str


@dataclass(frozen=True, slots=True)
class Found:
    """A row at a moment of the ledger's clock. `access`: the access token, "" if there is none."""

    kept: Kept
    access: str = field(repr=False)
    now: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The lease to renew, and what to renew with."""

    kept: Kept
    refresh: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """What stands after a renewal, whoever brought it, and the events that were written with it."""

    found: Found
    events: tuple[Event, ...] = ()


class Tokens:
    """See the module. All verbs raise SettingsError where a token cannot be opened or sealed, and then change nothing."""

    def __init__(self, database: Database, outbox: Outbox, seal: Seal) -> None:
        self._db, self._outbox, self._seal = database, outbox, seal

    def find(self, name: str) -> Found | None:
        """What stands; None before the first consent."""
        with self._db.read() as c:
            row = c.execute(sa.select(tables.tokens).where(tables.tokens.c.name == name)).first()
            return None if row is None else self._found(row, self._db.now(c))

    def all(self) -> Sequence[Kept]:
        """Every row, without its tokens: for people."""
        with self._db.read() as c:
            return [_kept(row) for row in c.execute(sa.select(tables.tokens).order_by(tables.tokens.c.name))]

    def due(self) -> Sequence[str]:
        """Those that are to be renewed though nobody needs them."""
        t = tables.tokens
        with self._db.read() as c:
            return list(c.scalars(sa.select(t.c.name).where(idle(self._db.now(c))).order_by(t.c.name)))

    def begin(self, name: str, *, refused: int | None = None, idle: bool = False) -> Taken | Found:
        """Take the lease to renew, if it is still to be renewed (`renewal.verdict`); else what stands.

        Where it is not known whether that was committed (LedgerDown) nothing is sent, and the lease ends by itself.
        """

        def work(c: Connection) -> Taken | Found:
            row, now = self._locked(c, name)
            kept = _kept(row)
            if renewal.verdict(kept, now, refused=refused, idle=idle) != "take":
                return self._found(row, now)
            kept = renewal.taken(kept, secrets.token_hex(16), now)
            taken = Taken(kept, self._seal.open(name, row.refresh))
            self._write(c, kept)
            return taken

        return self._db.write(work)

    def settle(self, taken: Taken, answer: Answer, parties: Sequence[Party], dice: float) -> Settled:
        """Write down what a renewal came to, with its events. Safe to repeat: what is stored already stands."""

        def work(c: Connection) -> Settled:
            row, now = self._locked(c, taken.kept.name)
            after = renewal.settle(_kept(row), taken.kept, answer, now, dice)
            if after is None:
                return Settled(self._found(row, now))
            return self._put(c, _kept(row), after, answer if isinstance(answer, Renewed) else None, parties, now)

        return self._db.write(work)

    def store(self, name: str, answer: Renewed, parties: Sequence[Party]) -> Settled:
        """The tokens of a new consent, in the place of whatever stands there. A renewal that is under way comes too late."""

        def work(c: Connection) -> Settled:
            now = self._db.now(c)
            first = Kept(name, generation=0, access_until=now, refreshed_at=now, refresh_until=now)
            c.execute(self._db.insert(tables.tokens).values(refresh="", access="", **fields_of(first)).on_conflict_do_nothing())
            row, now = self._locked(c, name)
            return self._put(c, _kept(row), renewal.stored(_kept(row), answer, now), answer, parties, now)

        return self._db.write(work)

    def postpone(self, names: Sequence[str], seconds: float) -> None:
        """Let these be for so long: nobody in the settings uses them. Whoever comes to need them is not kept waiting: a lease that nobody
        holds ends the tick's interest and no one else's.
        """

        def work(c: Connection) -> None:
            t, now = tables.tokens, self._db.now(c)
            where = (t.c.name.in_(names), t.c.lease_until <= now)
            c.execute(sa.update(t).where(*where).values(holder=None, lease_until=now + seconds))

        if names:
            self._db.write(work)

    def _locked(self, c: Connection, name: str) -> tuple[sa.Row[Any], float]:
        """The row, locked; and the time after that wait."""
        row = c.execute(self._db.locked(sa.select(tables.tokens).where(tables.tokens.c.name == name))).one()
        return row, self._db.now(c)

    def _put(self, c: Connection, before: Kept, after: Kept, answer: Renewed | None, parties: Sequence[Party], now: float) -> Settled:
        sealed: dict[str, str] = {}
        if answer is not None:
            sealed = {"refresh": self._seal.close(after.name, answer.refresh), "access": ""}
            if answer.access:
                sealed["access"] = self._seal.close(after.name, answer.access)
        self._write(c, after, **sealed)
        told: list[tuple[tuple[str, str], Event]] = []
        if after.episode != before.episode:
            tell = events.account_degraded if after.state == "degraded" else events.account_recovered
            told = [((p.realm, ""), tell(f"/{p.kind}/{p.account}", p.account, p.grant, after, now)) for p in parties]
            self._outbox.write(c, Locked({}), told, now)
        row, now = self._locked(c, after.name)
        return Settled(self._found(row, now), tuple(event for _, event in told))

    def _write(self, c: Connection, kept: Kept, **sealed: str) -> None:
        c.execute(sa.update(tables.tokens).where(tables.tokens.c.name == kept.name).values(**fields_of(kept), **sealed))

    def _found(self, row: sa.Row[Any], now: float) -> Found:
        return Found(_kept(row), self._seal.open(row.name, row.access) if row.access else "", now)


def idle(now: float) -> sa.ColumnElement[bool]:
    """Which rows `renewal.verdict` finds to be renewed though nobody needs them."""
    t = tables.tokens
    due = sa.or_(t.c.state == "degraded", t.c.refreshed_at <= now - renewal.STALE)
    return sa.and_(t.c.next_at <= now, t.c.lease_until <= now, due)


def _kept(row: sa.Row[Any]) -> Kept:
    return Kept(**{name: row._mapping[name] for name in KEPT})  # noqa: SLF001  SQLAlchemy's documented name for a row as a mapping
