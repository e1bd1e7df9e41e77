"""Who may act, and when: the lease of a submission and the slot of its task (A9, A15)."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.ledger.make import LEASE, NOW, REALM, begin, context, look, many, new, polled, seen, sent, state
from worker.core import submission as life
from worker.core.outcomes import Fact, Gone, Refused, Unknown, Unsent
from worker.core.submission import Context
from worker.core.task import Response
from worker.ledger import tables
from worker.ledger.submissions import free


def claim(ledger, room=100):
    return ledger.submissions.claim("finance", room, LEASE)


def keys(claimed):
    return [c.submission.command.key for c in claimed]


def test_a_set_with_two_for_one_task_proceeds_but_for_one(ledger):
    """A unique index would have aborted the whole set."""
    batch = many(99)
    ledger.submissions.accept([*batch, new("late", task=batch[0].command.task)])
    claimed = claim(ledger)
    assert len(claimed) == 99
    [waits] = ledger.queries.find("late")
    [holder] = ledger.queries.find(batch[0].command.key)
    assert ("waiting", holder.id) == (waits.state, waits.behind)


def test_what_is_claimed_is_nobody_elses_until_the_lease_ends(ledger, other, clock):
    ledger.submissions.accept([new("k")])
    [first] = claim(ledger)
    assert claim(other) == []
    clock.pass_(LEASE - 1)
    assert claim(other) == []
    clock.pass_(1)
    [second] = claim(other)
    assert first.submission.id == second.submission.id
    assert first.claim != second.claim


def test_the_oldest_has_the_slot_first(ledger, clock):
    for n in range(3):
        ledger.submissions.accept([new(f"k{n}")])
        clock.pass_(1)
    assert keys(claim(ledger)) == ["k0"]


def test_a_freed_slot_wakes_those_behind_it_and_the_oldest_has_it(ledger, clock):
    for n in range(3):
        ledger.submissions.accept([new(f"k{n}")])
        clock.pass_(1)
    [first] = claim(ledger)
    assert claim(ledger) == []
    ledger.submissions.settle([seen(first, Gone(Fact("answer", 404)))], context)
    assert state(ledger, "k0") == "refused"
    assert keys(claim(ledger)) == ["k1"]
    assert state(ledger, "k2") == "waiting"


def test_the_net_under_a_wake_up_is_a_minute(ledger, clock):
    ledger.submissions.accept([new("k0"), new("k1")])
    claim(ledger)
    clock.pass_(59)
    assert keys(claim(ledger)) == ["k0"]
    assert ledger.queries.find("k1")[0].next_at == NOW + 60


@pytest.mark.parametrize("state_", ["parked", "misapplied", "duplicated"])
def test_what_a_person_has_to_resolve_keeps_the_slot(ledger, clock, state_):
    [one] = begin(ledger, new("k0"))
    ours = Response("jane", "approve", NOW + 1, f"[{one.submission.mark}]")
    shown = {
        "parked": look(at=1, status="Odd", title="?"),
        "misapplied": look("T", second=[replace(ours, actor="jane")], at=1),
        "duplicated": look("T", first=[ours, replace(ours, at=NOW + 5)], at=5),
    }[state_]
    clock.pass_(1000)
    [again] = claim(ledger)
    ledger.submissions.settle([seen(again, shown)], context)
    assert state_ == state(ledger, "k0")
    ledger.submissions.accept([new("k1")])
    assert "k1" not in keys(claim(ledger))
    assert state(ledger, "k1") == "waiting"

    decide = Context(now=clock(), dice=0.0, rules=life.Rules(1, 1, 1, 1), acts_as="jane")
    ledger.submissions.change(one.submission.id, lambda s, now: life.resolve(s, "abandoned", "seen", None, decide))
    assert "k1" in keys(claim(ledger))


def test_what_the_vigil_finds_out_takes_the_slot_again(ledger, clock):
    """Applied, the slot given back, and a day later it turns out to have taken effect twice."""
    [one] = begin(ledger, new("k0", task="T"))
    clock.pass_(1)
    ledger.submissions.settle([sent(one)], context)
    holder = sa.select(tables.tasks.c.holder)
    with ledger.database.read() as c:
        assert c.scalar(holder) is None
    twice = [Response("jane", "approve", NOW + at, f"[{one.submission.mark}]") for at in (1, 9)]
    with ledger.database.write(lambda c: c.execute(sa.update(tables.submissions).values(next_at=clock()))) as _:
        pass
    [vigil] = claim(ledger)
    ledger.submissions.settle([seen(vigil, look("T", first=twice, at=9))], context)
    assert state(ledger, "k0") == "duplicated"
    with ledger.database.read() as c:
        assert one.submission.id == c.scalar(holder)


def test_who_waits_for_its_turn_gives_the_slot_back_and_is_woken_by_a_change(ledger, clock):
    ledger.submissions.accept([new("later", step=2, wait_for_turn=True, grant="bob")])
    [waits] = claim(ledger)
    as_bob = lambda s: replace(context(s), acts_as="bob" if s.command.grant == "bob" else "jane")  # noqa: E731
    ledger.submissions.settle([seen(waits)], as_bob)
    [found] = ledger.queries.find("later")
    assert (found.state, found.behind, found.next_at) == ("waiting", None, NOW + life.TURN)

    clock.pass_(5)
    ledger.submissions.accept([new("first")])
    [first] = claim(ledger)
    assert first.submission.command.key == "first"
    begun = ledger.submissions.settle([seen(first)], as_bob).begun
    assert claim(ledger) == []
    ledger.submissions.settle([sent(begun[0])], as_bob)
    assert keys(claim(ledger)) == ["later"]


def test_who_waits_for_its_turn_is_not_woken_by_its_own_look(ledger):
    """Its first look makes the task known, which changes the row: that is no news to the one who looked."""
    ledger.submissions.accept([new("later", step=2, wait_for_turn=True)])
    ledger.submissions.settle([seen(c) for c in claim(ledger)], lambda s: context(s, acts_as="bob"))
    assert claim(ledger) == []


def test_a_change_in_the_same_wave_wakes_it_all_the_same(ledger):
    ledger.submissions.accept([new("later", step=2, wait_for_turn=True)])
    [waits] = claim(ledger)
    other = polled(look(first=[Response("jane", "approve", NOW + 5, "fine")], at=5), 1)
    ledger.submissions.settle([seen(waits), other], lambda s: context(s, acts_as="bob"))
    assert keys(claim(ledger)) == ["later"]


def test_a_lapsed_one_needs_no_slot(ledger, clock):
    ledger.submissions.accept([new("holds"), new("lapses", not_after=NOW + 10)])
    claim(ledger)
    clock.pass_(10)
    [lapsed] = claim(ledger)
    assert (lapsed.submission.command.key, lapsed.lapsed) == ("lapses", True)
    ledger.submissions.settle([seen(lapsed, Unknown(Fact("lapsed")))], context)
    assert [state(ledger, "lapses"), state(ledger, "holds")] == ["expired", "pending"]


def test_a_crowd_behind_one_task_does_not_hide_what_is_due_after_it(ledger, clock):
    begin(ledger, new("first"))
    clock.pass_(1)
    ledger.submissions.accept(many(25, task="T"))
    clock.pass_(1)
    ledger.submissions.accept([new("alone", task="U")])
    assert keys(claim(ledger, room=10)) == ["alone"]


def test_two_claims_at_once_share_what_is_due(ledger, other):
    """Whoever comes second skips what the first is about to take, and does not wait for it."""
    if ledger.database.sqlite:
        pytest.skip("SQLite has one writer at a time")
    ledger.submissions.accept(many(20))
    with ledger.database.engine.begin() as c:
        mine = ledger.submissions._claim(c, "finance", 8, LEASE, free, None)[0]
        theirs = claim(other)
    assert (len(mine), len(theirs)) == (8, 12)
    assert not {c.submission.id for c in mine} & {c.submission.id for c in theirs}


def test_an_attempt_that_was_not_sent_keeps_the_slot(ledger):
    [one] = begin(ledger, new("k0"))
    ledger.submissions.settle([sent(one, Unsent(Fact("connect")))], context)
    ledger.submissions.accept([new("k1")])
    assert [k for k in keys(claim(ledger)) if k == "k1"] == []


def test_a_refusal_gives_the_slot_back(ledger):
    [one] = begin(ledger, new("k0"))
    ledger.submissions.settle([sent(one, Refused(Fact("answer", 403)))], context)
    with ledger.database.read() as c:
        assert c.scalar(sa.select(tables.tasks.c.holder)) is None


def test_the_version_of_a_claim_is_the_tasks(ledger):
    ledger.submissions.accept([new("k")])
    ledger.submissions.settle([polled(look(), 0)], context)
    assert [c.version for c in claim(ledger)] == [1]
    assert ledger.tasks.known({(REALM, "T")})[REALM, "T"].version == 1
