"""What people said about accounts, and the gate that every send of an account passes in the transaction that writes `in_doubt` (A1).

The gate is a lock: whoever may begin attempts shares it, a pause or a resume takes it alone. So once a pause is committed no attempt
begins any more, in no process; what was begun before it is on its way, and finishes. On SQLite one transaction writes at a time anyway.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core import pace, pause
from worker.core.advance import Contexts
from worker.core.events import Event
from worker.core.pause import HELD, Word
from worker.core.submission import Context, Move, Submission
from worker.ledger import tables
from worker.ledger.database import Database
from worker.ledger.outbox import Outbox
from worker.ledger.tasks import Locked
from worker.ledger.waiting import wake

GATE = 72_057
"""The space of PostgreSQL's advisory locks that the gates are in."""


@dataclass(frozen=True, slots=True)
class Said:
    """What stands after somebody spoke. `changed`: it was otherwise before. `under_way`: when each attempt began whose answer is still out;
    `waiting`: submissions that a resume woke.
    """

    word: Word | None
    changed: bool
    under_way: Sequence[float] = ()
    waiting: int = 0


class Gate:
    """The gate of some accounts, shared until the transaction ends. See the module."""

    def __init__(self, words: dict[str, Word], now: float) -> None:
        self._words, self._now = words, now
        self.counted: set[str] = set()

    def before(self, contexts: Contexts) -> Contexts:
        """*contexts*, each with what shuts its account now."""

        def context(s: Submission) -> Context:
            made = contexts(s)
            return replace(made, shut=pause.shut(self._words.get(s.command.account), made.rules.hold, self._now, made.dice))

        return context

    def passed(self, moves: Iterable[Move]) -> None:
        """Count what begins, while that is counted."""
        for move in moves:
            name = move.submission.command.account
            word = self._words.get(name)
            if move.begin and word and word.slow(self._now):
                self._words[name] = replace(word, begun=word.begun + 1)
                self.counted.add(name)

    def counts(self) -> list[dict[str, str | int]]:
        """The rows of the accounts whose count has changed."""
        return [{"name": name, "begun": self._words[name].begun} for name in sorted(self.counted)]


class Accounts:
    """See the module."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._db, self._outbox = database, outbox

    def words(self) -> dict[str, Word]:
        """What people said last, by account. An account that nobody spoke about is missing: its settings say what holds."""
        with self._db.read() as c:
            return self._words(c, None)

    def pause(self, name: str, by: str, note: str) -> Said:
        """From now on nothing of this account begins. A pause that stands is left as it is."""
        return self._db.write(lambda c: self._pause(c, name, by, note))

    def _pause(self, c: Connection, name: str, by: str, note: str) -> Said:
        self._lock(c, [name], shared=False)
        word = self._words(c, [name]).get(name)
        if changed := word is None or word.said != "paused":
            word = self._say(c, name, "paused", by, note)
        return Said(word, changed, self._under_way(c, name))

    def resume(self, name: str, by: str, note: str, *, hold: bool) -> Said:
        """It sends again, slowly at first. *hold*: the settings hold it, and this lifts that. What is not shut is left as it is."""
        return self._db.write(lambda c: self._resume(c, name, by, note, hold=hold))

    def _resume(self, c: Connection, name: str, by: str, note: str, *, hold: bool) -> Said:
        self._lock(c, [name], shared=False)
        word = self._words(c, [name]).get(name)
        paused, held = word and word.said == "paused", hold and not (word and word.lifts)
        if not paused and not held:
            return Said(word, changed=False)
        word = self._say(c, name, "resumed", by, note, lifts=hold)
        at = word.at
        return Said(word, changed=True, waiting=wake(self._db, c, name, HELD, lambda n: at + pace.opens(n)))

    def obey(self, on: Collection[str]) -> None:
        """Of these accounts the settings say `writes = "on"`. A hold that was lifted before is over with that: the next one holds again."""
        t = tables.accounts
        if on:
            self._db.write(lambda c: c.execute(sa.update(t).where(t.c.name.in_(sorted(on)), t.c.lifts).values(lifts=False)))

    def sunset(self, name: str, realm: str, due: Callable[[float], tuple[str, Event] | None]) -> Event | None:
        """The event of *due*, which is asked what is to be told at the ledger's time, and under which mark; None where that was told."""
        return self._db.write(lambda c: self._sunset(c, name, realm, due(self._db.now(c))))

    def _sunset(self, c: Connection, name: str, realm: str, due: tuple[str, Event] | None) -> Event | None:
        if due is None:
            return None
        t, (mark, event) = tables.accounts, due
        insert = self._db.insert(t).values(name=name, at=event.time, by="", note="", lifts=False, begun=0, sunset=mark)
        fresh = sa.or_(t.c.sunset.is_(None), t.c.sunset != mark)
        if not c.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"sunset": mark}, where=fresh)).rowcount:
            return None
        self._outbox.write(c, Locked({}), [((realm, ""), event)], event.time)
        return event

    def gate(self, c: Connection, names: Collection[str], now: float) -> Gate:
        """The gate of *names*, which `share` has been asked for before *now* was read: a slow one lets one transaction in at a time."""
        words = self._words(c, names)
        if any(w.slow(now) for w in words.values()):
            words = self._words(c, names, alone=True)
        return Gate(words, now)

    def share(self, c: Connection, names: Collection[str]) -> None:
        """Share the gate of *names* until the transaction ends: no pause of them is committed before."""
        self._lock(c, names, shared=True)

    def count(self, c: Connection, gate: Gate) -> None:
        """Write down what began while it is counted."""
        self._db.alter(c, tables.accounts, gate.counts())

    def _lock(self, c: Connection, names: Collection[str], *, shared: bool) -> None:
        lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
        for name in () if self._db.sqlite else sorted(names):
            c.execute(sa.select(lock(GATE, sa.func.hashtext(name))))

    def _words(self, c: Connection, names: Collection[str] | None, *, alone: bool = False) -> dict[str, Word]:
        t = tables.accounts
        query = sa.select(t).where(t.c.said.is_not(None)).order_by(t.c.name)
        if names is not None:
            query = query.where(t.c.name.in_(sorted(names)))
        found = c.execute(self._db.locked(query) if alone else query)
        return {r.name: Word(r.said, r.at, r.by, r.note, r.lifts, r.begun) for r in found}

    def _say(self, c: Connection, name: str, said: Literal["paused", "resumed"], by: str, note: str, *, lifts: bool = False) -> Word:
        word = Word(said, self._db.now(c), by, note, lifts)
        values = {"said": said, "at": word.at, "by": by, "note": note, "lifts": lifts, "begun": 0}
        insert = self._db.insert(tables.accounts).values(name=name, **values)
        c.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
        return word

    def _under_way(self, c: Connection, name: str) -> list[float]:
        s, a, o = tables.submissions, tables.attempts, tables.outcomes
        join = s.join(a, a.c.submission == s.c.id).outerjoin(o, sa.and_(o.c.submission == a.c.submission, o.c.n == a.c.n))
        where = (s.c.account == name, s.c.state == "in_doubt", o.c.n.is_(None))
        return list(c.scalars(sa.select(a.c.began_at).select_from(join).where(*where).order_by(a.c.began_at)))
