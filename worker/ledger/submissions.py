"""The submissions in the ledger: accept, claim, settle, change. Each verb is one transaction and works on a set.

Locks are always taken in one order: submissions by id, then tasks by (realm, task), so that no two transactions wait for each other in a
circle. A claim skips submissions that others hold; what `accept` inserts nobody else can see; a wake-up skips what it cannot have at once.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.core import advance as core
from worker.core import events, evidence
from worker.core import submission as life
from worker.core.advance import Answer, Contexts, Decision
from worker.core.budget import GOOD_FOR, Price
from worker.core.command import Command
from worker.core.events import Event
from worker.core.outcomes import Fact, Unsent
from worker.core.pace import LONGEST
from worker.core.pause import Shut
from worker.core.pins import Pin
from worker.core.submission import ENDED, HELD, Attempt, Context, Move, Submission
from worker.core.task import Credit, Task
from worker.ledger import rows, tables
from worker.ledger.accounts import Accounts
from worker.ledger.budgets import Budgets, Prices
from worker.ledger.database import Database
from worker.ledger.outbox import Outbox
from worker.ledger.rows import Key
from worker.ledger.tasks import Locked, Tasks

Head = tuple[int, str]
"""How many links a chain of evidence has, and the digest of the last."""


def free(_: Submission) -> Price:
    """Nothing is counted."""
    return Price(1, {})


Seen = tuple[Move, int]
"""A move, and the version of the task's row that it was decided on."""


@dataclass(frozen=True, slots=True)
class New:
    """A command ready to become a submission. `task`, `part`: where its `task` leads. `not_after`: the account's default, where the command
    has none; it is not part of the content that a key stands for, so that a repeat tomorrow is the same (A16).
    """

    command: Command
    kind: str
    realm: str
    pin: Pin | None
    task: str
    part: str | None = None
    not_after: float | None = None

    @property
    def complete(self) -> Command:
        """The command with its default filled in."""
        return self.command if self.not_after is None else replace(self.command, not_after=self.not_after)


@dataclass(frozen=True, slots=True)
class Standing:
    """The submission that stands under a key after `accept`. `mine`: this call made it; `same`: its content is the command's (A16)."""

    id: str
    key: str
    state: str
    accepted_at: float
    mine: bool
    same: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A submission that is ours to carry on until its lease ends. `version`: its task row's, read before any request leaves (B1).
    `lapsed`: its time has run out, so there is nothing to ask the upstream. `at`: when it was claimed, on the ledger's clock.
    """

    submission: Submission
    version: int
    claim: str
    lapsed: bool
    at: float


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """`wary`: something misapplied or duplicated is not resolved yet (A12). `frozen`: a task was seen whose `modified` does not move with
    its responses, so that "unchanged" proves nothing (A5). `grants`: (grant, acts_as) -> proven or stopped; what is
    missing is unproven (A14).
    """

    wary: bool
    frozen: bool
    grants: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that is written and may be sent now, under the lease that the settling gave it."""

    submission: Submission
    attempt: Attempt
    claim: str
    version: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What a wave came to: attempts to send now, submissions that came to a new state, how many events were written, and those of them
    that tell of a stopped grant.
    """

    begun: tuple[Begun, ...]
    told: tuple[Submission, ...]
    events: int
    alarms: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Locked submissions by id; who holds the claim on each; the length and the head of its chain of evidence."""

    submissions: Mapping[str, Submission]
    claims: Mapping[str, str | None]
    heads: Mapping[str, Head]


class Submissions:
    """The verbs. See the module."""

    def __init__(self, database: Database, tasks: Tasks, outbox: Outbox, accounts: Accounts, budgets: Budgets) -> None:
        self._db, self._tasks, self._outbox, self._accounts, self._budgets = database, tasks, outbox, accounts, budgets

    # -- in

    def accept(self, items: Sequence[New]) -> list[Standing]:
        """Make submissions of the commands whose key is not taken; say for each what stands under its key now. In the order of *items*."""
        return self._db.write(lambda c: self._accept(c, items)) if items else []

    def _accept(self, c: Connection, items: Sequence[New]) -> list[Standing]:
        now = self._db.now(c)
        first: dict[Key, New] = {}
        for item in items:
            first.setdefault((item.command.account, item.command.key), item)
        fresh = {
            name: life.accept(i.complete, id_=new_id(now, n), realm=i.realm, task=i.task, part=i.part, pin=i.pin, now=now)
            for n, (name, i) in enumerate(first.items())
        }
        self._tasks.ensure(c, [Task(i.realm, i.task, i.kind, i.command.account) for i in first.values()])
        locked = self._tasks.lock(c, {(i.realm, i.task) for i in first.values()})
        links, heads = _chained(fresh.values(), now, {})
        values = [
            {
                "id": m.submission.id,
                "account": i.command.account,
                "key": i.command.key,
                "digest": i.command.digest(),
                "realm": i.realm,
                "task": i.task,
                "grant": i.command.grant,
                "action": i.command.action,
                "claim": None,
                "accepted_at": now,
                "updated_at": now,
                "command": rows.command_json(i.complete),
                "links": heads[m.submission.id][0],
                "head": heads[m.submission.id][1],
                **rows.submission_values(m.submission),
            }
            for (name, i), m in sorted(zip(first.items(), fresh.values(), strict=True), key=lambda pair: pair[0][0])
        ]
        t = tables.submissions
        insert = self._db.insert(t).on_conflict_do_nothing(index_elements=["account", "key"]).returning(t.c.id)
        mine = set(c.scalars(insert, values).all())
        self._db.put(c, tables.evidence, [link for link in links if link["submission"] in mine])
        told: list[tuple[Key, Event]] = []
        for s in (m.submission for m in fresh.values() if m.submission.id in mine):
            key = (s.realm, s.task)
            told.append((key, events.with_head(core.state_event(locked[key], s, "accepted", now), heads[s.id][1])))
        self._outbox.write(c, locked, told, now)
        self._tasks.save(c, locked)
        query = sa.select(t.c.id, t.c.account, t.c.key, t.c.digest, t.c.state, t.c.accepted_at).where(
            self._db.among(first, t.c.account, t.c.key)
        )
        standing = {(r.account, r.key): r for r in c.execute(query).all()}
        out = []
        for item in items:
            row = standing[item.command.account, item.command.key]
            ours = row.id in mine and first[item.command.account, item.command.key] is item
            out.append(Standing(row.id, row.key, row.state, row.accepted_at, ours, row.digest == item.command.digest()))
        return out

    def taken(self, names: Collection[Key]) -> set[Key]:
        """Which of *names*, (account, key) each, have a submission."""
        t = tables.submissions
        if not names:
            return set()
        with self._db.read() as c:
            query = sa.select(t.c.account, t.c.key).where(self._db.among(names, t.c.account, t.c.key))
            return {(r.account, r.key) for r in c.execute(query)}

    # -- claim

    def claim(self, account: str, room: int, lease: float, prices: Prices = free, shut: Shut | None = None) -> list[Claimed]:
        """Up to *room* due submissions of *account*, ours for *lease* seconds. Those that need their task's slot have it now; the others of
        their task wait behind it (A9). Each is paid for here, look and send as a pair (B3); what cannot be paid for is due when it can.
        *shut*: the account is not to be asked now (B4), so that only those are claimed whose time has run out; the others are due later.
        """
        while True:  # a set that has to wait as a whole, behind one task, must not hide what is due after it
            claimed, found = self._db.write(lambda c: self._claim(c, account, room, lease, prices, shut))
            if claimed or found < room:
                return claimed

    def _claim(self, c: Connection, account: str, room: int, lease: float, prices: Prices, shut: Shut | None) -> tuple[list[Claimed], int]:
        now = self._db.now(c)
        t = tables.submissions
        due = sa.select(t).where(t.c.account == account, t.c.next_at <= now).order_by(t.c.next_at, t.c.accepted_at, t.c.id).limit(room)
        found = c.execute(self._db.locked(due, skip=True)).all()
        if not found:
            return [], 0
        subs = self._with_attempts(c, found)
        if shut is not None:
            later = [life.put_off(s, shut) for s in subs if not s.lapsed(now)]
            self._db.alter(c, t, [_place(s, s.next_at, None) for s in later])
            subs = [s for s in subs if s.lapsed(now)]
        locked = self._tasks.lock(c, {(s.realm, s.task) for s in subs})
        costs = {s.id: prices(s) for s in subs if not s.lapsed(now)}
        purse = self._budgets.purse(c, costs.values(), now)
        token = secrets.token_hex(8)
        claimed, updates = [], []
        for s in sorted(subs, key=lambda s: (s.accepted_at, s.id)):
            key = (s.realm, s.task)
            task = locked[key]
            free_of_slot = s.state not in life.OPEN or s.lapsed(now)
            if not free_of_slot and task.holder not in (None, s.id):
                s = life.wait_behind(s, task.holder, now)  # noqa: PLW2901  # it is this one, as it waits
                updates.append(_place(s, s.next_at, None))
                continue
            price = costs.get(s.id)
            if price and not purse.affords(price):
                updates.append(_place(s, now + min(purse.wait(price), LONGEST), None))
                purse.owe(price)
                continue
            if price:
                purse.pay(price)
            if not free_of_slot and task.holder is None:
                locked[key] = replace(task, holder=s.id)
            claimed.append(Claimed(s, task.version, token, s.lapsed(now), now))
            updates.append(_place(replace(s, behind=None), now + lease, token))
        self._budgets.save(c, purse)
        self._tasks.save(c, locked)
        self._db.alter(c, t, updates)
        return claimed, len(found)

    # -- settle

    def settle(self, answers: Sequence[Answer], contexts: Contexts, *, again: bool = False, prices: Prices = free) -> Settled:
        """Decide *answers* against the rows as they are now, and write down all that comes of it: the state, the attempts, the claims, the
        evidence and the events, in one transaction. Repeating it is harmless: attempts settle once, events have their facts' ids.

        *again*: it is not known whether an earlier try was committed, and nothing of it was sent. An attempt that it began under the claim
        of its look is settled as never sent (A1). Under another's claim it is another's attempt, and of that we know nothing. *prices*: a
        send whose look was paid for too long ago is paid for again (B3).
        """
        return self._db.write(lambda c: self._settle(c, answers, contexts, prices, again=again)) if answers else Settled((), (), 0)

    def _settle(self, c: Connection, answers: Sequence[Answer], contexts: Contexts, prices: Prices, *, again: bool) -> Settled:
        keys = {(a.realm, a.task) for a in answers}
        held = self._lock(c, keys, {a.submission for a in answers if a.submission})
        locked = self._tasks.lock(c, keys)
        credits_ = self._credits(c, keys)
        asking = [held.submissions.get(a.submission or "") for a in answers if a.attempt is None]
        accounts = {s.command.account for s in asking if s}
        self._accounts.share(c, accounts)
        now = self._db.now(c)
        gate = self._accounts.gate(c, accounts, now)
        gated = self._budgets.before(c, gate.before(contexts), prices, [s for s in asking if s], now)
        live: dict[Key, dict[str, Submission]] = defaultdict(dict)
        for s in held.submissions.values():
            live[s.realm, s.task][s.id] = s
        moves: list[Seen] = []
        told: list[tuple[Key, Event]] = []
        for each in [*(_never_sent(answers, held) if again else ()), *answers]:
            key = (each.realm, each.task)
            ours = each.attempt is not None or each.submission is None or held.claims.get(each.submission) == each.claim
            answer = each if ours else replace(each, submission=None)  # the claim is another's now: this look only observes
            decision = core.advance(core.Row(locked[key], live[key], credits_[key]), answer, gated, now)
            gate.passed(decision.moves)
            self._apply(decision, key, locked, live, credits_, moves)
            told += [(key, e) for e in decision.events]
        self._accounts.count(c, gate)
        asked = {a.submission: a.asked_at for a in answers if a.attempt is None}
        late = [m.submission for m, _ in moves if m.begin and (asked.get(m.submission.id) or now) < now - GOOD_FOR]
        self._budgets.pay_again(c, [prices(s) for s in late], now)
        return self._write(c, locked, moves, told, held, now, contexts)

    def _apply(
        self,
        decision: Decision,
        key: Key,
        locked: Locked,
        live: dict[Key, dict[str, Submission]],
        credits_: dict[Key, dict[str, Credit]],
        moves: list[Seen],
    ) -> None:
        """Take a decision into the rows in hand, so that the next answer of the wave sees it."""
        locked[key] = decision.task
        for move in decision.moves:
            s = move.submission
            live[key][s.id] = s
            moves.append((move, decision.task.version))
            credits_[key].update(dict.fromkeys(s.hits, core.credit_of(s)))
            holder = locked[key].holder
            if holder == s.id and (s.state in ENDED or (s.state == "waiting" and s.behind is None)):
                # What the vigil found out while this one had the slot keeps the task held (A12).
                held = next((o.id for o in live[key].values() if o.id != s.id and o.state in HELD), None)
                locked[key] = replace(locked[key], holder=held)
            elif holder is None and s.state in HELD:  # what the vigil found out after the slot was given back (A12)
                locked[key] = replace(locked[key], holder=s.id)

    def _write(
        self,
        c: Connection,
        locked: Locked,
        moves: Sequence[Seen],
        told: list[tuple[Key, Event]],
        held: Rows,
        now: float,
        contexts: Contexts,
    ) -> Settled:
        claims = held.claims
        made = [move for move, _ in moves]
        last = {m.submission.id: m.submission for m in made}
        links, heads = _chained(made, now, held.heads)
        self._db.put(c, tables.evidence, links)
        told = [(key, self._witnessed(e, heads)) for key, e in told]
        alarms = [(m.submission.realm, e) for m in made for e in self._grants(c, m, locked, contexts, now)]
        told += [((realm, ""), e) for realm, e in alarms]
        self._outbox.write(c, locked, told, now)
        before = self._tasks.save(c, locked)
        self._attempts(c, made, now)
        self._claims(c, made)
        # What a later answer of the same wave has carried further is not to be sent any more.
        begins = {m.submission.id: m.begin for m in made if m.begin and m.begin in last[m.submission.id].attempts}
        begins = {id_: a for id_, a in begins.items() if last[id_].state == "in_doubt"}
        self._save(c, last.values(), heads, now, {id_: claims.get(id_) for id_ in begins})
        freed = [old.holder for key, old in before.items() if old.holder and locked[key].holder != old.holder]
        changed = [key for key, old in before.items() if old.version != locked[key].version]
        awake = {m.submission.id for m, version in moves if version == locked[m.submission.realm, m.submission.task].version}
        self._wake(c, freed, changed, now, awake)
        begun = tuple(
            Begun(s, begins[s.id], claims.get(s.id) or "", locked[s.realm, s.task].version) for s in last.values() if s.id in begins
        )
        ids = {m.submission.id for m in made if m.told}
        return Settled(begun, tuple(s for s in last.values() if s.id in ids), len(told), tuple(e for _, e in alarms))

    # -- people

    def change(self, id_: str, decide: Callable[[Submission, float], Move]) -> Settled | None:
        """One submission changed by a person: `decide` may raise `NotNow`. None where there is no such submission."""
        return self._db.write(lambda c: self._change(c, id_, decide))

    def _change(self, c: Connection, id_: str, decide: Callable[[Submission, float], Move]) -> Settled | None:
        t = tables.submissions
        row = c.execute(sa.select(t.c.realm, t.c.task).where(t.c.id == id_)).first()
        if row is None:
            return None
        key = (row.realm, row.task)
        held = self._lock(c, {key}, {id_})
        live = dict(held.submissions)
        s = live[id_]
        locked = self._tasks.lock(c, {key})
        now = self._db.now(c)
        move = decide(s, now)
        moves: list[Seen] = []
        event = core.submission_event(locked[key], move, now)
        told = [(key, event)] if event else []
        self._apply(Decision(locked[key], (move,), ()), key, locked, {key: live}, defaultdict(dict), moves)
        return self._write(c, locked, moves, told, replace(held, claims={}), now, lambda _: _no_context())

    # -- the pieces

    def standing(self, account: str, realm: str) -> AccountStanding:
        """What is known of *account* and of its upstream that decisions need: is something wrong in it, which grants are proven."""
        t, g, tasks = tables.submissions, tables.grants, tables.tasks
        frozen = sa.exists().where(tasks.c.realm == realm, tasks.c.frozen)
        wary = sa.exists().where(t.c.account == account, t.c.state.in_(("misapplied", "duplicated")))
        one = sa.select(wary.label("wary"), frozen.label("frozen")).subquery("one")
        with self._db.read() as c:
            query = sa.select(one, g.c.grant, g.c.acts_as, g.c.state).select_from(one.outerjoin(g, g.c.account == account))
            found = c.execute(query).all()
        grants = {(r.grant, r.acts_as): r.state for r in found if r.grant is not None}
        return AccountStanding(bool(found[0].wary), bool(found[0].frozen), grants)

    def _lock(self, c: Connection, keys: Collection[Key], ids: Collection[str]) -> Rows:
        """The submissions asked for, and the others of these tasks whose effect may still be seen; locked by id."""
        t = tables.submissions
        live = sa.select(t.c.id).where(
            self._db.among(keys, t.c.realm, t.c.task), t.c.sent, sa.or_(t.c.next_at.is_not(None), t.c.state.in_(sorted(HELD)))
        )
        wanted = sorted({*ids, *c.scalars(live).all()})
        found = c.execute(self._db.locked(sa.select(t).where(self._db.one_of(t.c.id, wanted)).order_by(t.c.id))).all()
        return Rows(
            {s.id: s for s in self._with_attempts(c, found)},
            {r.id: r.claim for r in found},
            {r.id: (r.links, r.head) for r in found},
        )

    def _with_attempts(self, c: Connection, found: Sequence[sa.Row[Any]]) -> list[Submission]:
        a, o = tables.attempts, tables.outcomes
        tried = [r.id for r in found if r.progress["attempts"]]
        if not tried:  # most of those that are claimed
            return [rows.submission_of(r, ()) for r in found]
        query = (
            sa.select(
                a.c.submission, a.c.n, a.c.began_at, sa.func.coalesce(o.c.quiet_until, a.c.quiet_until).label("quiet_until"), o.c.outcome
            )
            .select_from(a.outerjoin(o, sa.and_(a.c.submission == o.c.submission, a.c.n == o.c.n)))
            .where(self._db.one_of(a.c.submission, tried))
            .order_by(a.c.submission, a.c.n)
        )
        made: dict[str, list[Attempt]] = defaultdict(list)
        for row in c.execute(query).all():
            made[row.submission].append(Attempt(row.n, row.began_at, row.quiet_until, row.outcome))
        return [rows.submission_of(r, made[r.id]) for r in found]

    def _credits(self, c: Connection, keys: Collection[Key]) -> dict[Key, dict[str, Credit]]:
        t, s = tables.claims, tables.submissions
        query = (
            sa.select(t.c.realm, t.c.task, t.c.response, s.c.id, s.c.key, s.c.state, s.c.command)
            .select_from(t.join(s, t.c.submission == s.c.id))
            .where(self._db.among(keys, t.c.realm, t.c.task))
        )
        out: dict[Key, dict[str, Credit]] = defaultdict(dict)
        for r in c.execute(query).all():
            disputed = r.state in ("misapplied", "duplicated")
            out[r.realm, r.task][r.response] = Credit(r.id, r.key, r.command["labels"], disputed=disputed)
        return out

    @staticmethod
    def _witnessed(event: Event, heads: dict[str, Head]) -> Event:
        """A submission's event carries the head of its chain (A18)."""
        if not event.type.startswith("submission."):
            return event
        return events.with_head(event, heads[event.data["submission"]["id"]][1])

    def _grants(self, c: Connection, move: Move, locked: Locked, contexts: Contexts, now: float) -> list[Event]:
        """What an answer proved of its grant, or against it (A14)."""
        s = move.submission
        if move.proof is None or s.acts_as is None:
            return []
        proven = move.proof == s.acts_as
        if proven and contexts(s).grant == "proven":
            return []
        t, command = tables.grants, s.command
        insert = self._db.insert(t).values(
            account=command.account, grant=command.grant, acts_as=s.acts_as, state="proven" if proven else "stopped", at=now
        )
        if proven:  # never back from stopped: a person changes acts_as, and that is another row
            c.execute(insert.on_conflict_do_nothing(index_elements=["account", "grant", "acts_as"]))
            return []
        c.execute(insert.on_conflict_do_update(index_elements=["account", "grant", "acts_as"], set_={"state": "stopped", "at": now}))
        source = f"/{locked[s.realm, s.task].kind}/{command.account}"
        return [events.grant_misconfigured(source, command.account, command.grant, s.acts_as, move.proof, now)]

    def _attempts(self, c: Connection, moves: Sequence[Move], now: float) -> None:
        begun = [
            {"submission": m.submission.id, "n": m.begin.n, "began_at": m.begin.began_at, "quiet_until": m.begin.quiet_until}
            for m in moves
            if m.begin
        ]
        self._db.put(c, tables.attempts, begun)
        settled = [
            {
                "submission": m.submission.id,
                "n": m.settled[0],
                "outcome": m.settled[1],
                "at": now,
                "quiet_until": next(a.quiet_until for a in m.submission.attempts if a.n == m.settled[0]),
            }
            for m in moves
            if m.settled
        ]
        self._db.put(c, tables.outcomes, settled)

    def _claims(self, c: Connection, moves: Sequence[Move]) -> None:
        values = [
            {"realm": m.submission.realm, "task": m.submission.task, "response": r, "submission": m.submission.id}
            for m in moves
            for r in m.claims
        ]
        self._db.put(c, tables.claims, values, new=True)

    def _save(
        self, c: Connection, subs: Iterable[Submission], heads: dict[str, Head], now: float, claims: Mapping[str, str | None]
    ) -> None:
        """The rows as they are now; the claim stays with those of *claims* only."""
        updates = []
        for s in subs:
            links, head = heads[s.id]
            claim = claims.get(s.id)
            updates.append({**rows.submission_values(s), "claim": claim, "links": links, "head": head, "updated_at": now, "id": s.id})
        self._db.alter(c, tables.submissions, updates)

    def _wake(self, c: Connection, freed: Collection[str | None], changed: Collection[Key], now: float, awake: Collection[str]) -> None:
        """Those behind a freed slot, and those who wait for their turn on a task that changed, but for *awake*, who have seen it as it is.

        Who is claimed keeps the claim: a look that is older than the change is found to be so, and made again. Rows that others have locked
        are skipped: they are about to lock the task, and see it as we leave it.
        """
        t = tables.submissions
        wanted = []
        if freed:
            wanted.append(self._db.one_of(t.c.behind, [f for f in freed if f]))
        if changed:
            wanted.append(sa.and_(t.c.state == "waiting", t.c.behind.is_(None), self._db.among(changed, t.c.realm, t.c.task)))
        for where in wanted:
            ids = self._db.locked(sa.select(t.c.id).where(where, t.c.claim.is_(None)), skip=True)
            c.execute(sa.update(t).where(t.c.id.in_(ids), sa.not_(self._db.one_of(t.c.id, list(awake)))).values(next_at=now))


def _place(s: Submission, next_at: float | None, claim: str | None) -> dict[str, Any]:
    """The columns that a claim moves."""
    return {"id": s.id, "state": s.state, "reason": s.reason, "behind": s.behind, "next_at": next_at, "claim": claim}


def _never_sent(answers: Sequence[Answer], held: Rows) -> Iterable[Answer]:
    """For each look whose own try may have begun an attempt: it was not sent. Only the holder of a claim begins attempts."""
    fact = Fact("never sent", text="it is not known whether its attempt was written")
    for look in answers:
        if look.submission and look.attempt is None and held.claims.get(look.submission) == look.claim:
            for attempt in held.submissions[look.submission].attempts[look.attempts_before :]:
                yield replace(look, what=Unsent(fact), attempt=attempt.n)


def _chained(moves: Iterable[Move], now: float, heads: Mapping[str, Head]) -> tuple[list[dict[str, Any]], dict[str, Head]]:
    """The notes of *moves* as rows at the ends of their chains, and id -> (number of links, head) after them."""
    out, values = dict(heads), []
    for move in moves:
        n, head = out.get(move.submission.id, (0, ""))
        for note in move.notes:
            link = evidence.link(head, n + 1, now, note.kind, note.public, note.private, secrets.token_hex(16))
            n, head = link.n, link.digest
            values.append({"submission": move.submission.id, **rows.fields_of(link)})
        out[move.submission.id] = (n, head)
    return values, out


def _no_context() -> Context:
    raise AssertionError  # a person's move proves nothing of a grant, so nobody asks


def new_id(now: float, n: int) -> str:
    """A submission's id: it sorts by the time of acceptance (milliseconds, base 16), then by its place *n* in the batch, and cannot be
    guessed. The oldest of a task goes first (A9), and a batch is in order too.
    """
    return f"s{int(now * 1000):011x}{n:04x}{secrets.token_hex(5)}"
