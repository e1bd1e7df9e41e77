"""Pause and resume: after a pause is committed nothing begins, in no process; what was begun finishes; a resume begins slowly."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from tests.ledger.make import LEASE, NOW, begin, context, many, new, seen, sent, state
from worker.core import pace
from worker.core.pause import HELD, ON_HOLD
from worker.core.submission import Rules

HOLDS = Rules(deadline=25.0, lease=LEASE, cutoff=29.0, slack=20.0, hold=True)


def held_by_settings(s):
    return context(s, rules=HOLDS)


def turn(ledger, contexts=context, account="finance"):
    """Claim, look and settle all that is due; the keys of what began."""
    claimed = ledger.submissions.claim(account, 1000, LEASE)
    return [b.submission.command.key for b in ledger.submissions.settle([seen(c) for c in claimed], contexts).begun]


def test_what_was_looked_at_before_a_pause_does_not_begin_after_it(ledger, other):
    ledger.submissions.accept([new("k")])
    claimed = ledger.submissions.claim("finance", 10, LEASE)
    other.accounts.pause("finance", "ann", "quarter close")
    assert ledger.submissions.settle([seen(c) for c in claimed], context).begun == ()
    [found] = ledger.queries.find("k")
    assert (found.state, found.reason) == ("pending", f"{HELD}account paused by ann since 2023-11-14T22:13:20.000Z: quarter close")
    assert ledger.queries.attempts(found.id) == []


def test_a_pause_waits_for_what_is_just_beginning(ledger, other):
    """The settle that shares the gate commits first. Without the gate the pause would be over before the attempt is written."""
    with ThreadPoolExecutor(1) as pool, ledger.database.engine.begin() as c:
        ledger.accounts.share(c, ["finance"])
        paused = pool.submit(other.accounts.pause, "finance", "ann", "")
        assert wait([paused], timeout=0.3).not_done
        if not ledger.database.sqlite:  # there one transaction writes at a time anyway
            other.submissions.accept([new("of another account", account="tower", task="X")])
            assert turn(other, account="tower") == ["of another account"]
        c.rollback()
        assert paused.result(timeout=20).changed


def test_it_tells_what_is_under_way_and_that_finishes(ledger):
    begun = begin(ledger, *many(3))
    ledger.submissions.settle([sent(begun[0])], context)
    said = ledger.accounts.pause("finance", "ann", "")
    assert (said.changed, said.under_way) == (True, [NOW, NOW])
    ledger.submissions.settle([sent(b) for b in begun[1:]], context)
    assert [state(ledger, f"k{n:04}") for n in range(3)] == ["applied"] * 3


def test_another_account_goes_on(ledger):
    ledger.accounts.pause("tower", "ann", "")
    assert len(begin(ledger, new("k"))) == 1


def test_the_first_word_stands_until_the_other_is_said(ledger, clock):
    one = ledger.accounts.pause("finance", "ann", "first")
    clock.pass_(5)
    two = ledger.accounts.pause("finance", "bob", "second")
    assert (two.changed, two.word) == (False, one.word)
    assert ledger.accounts.resume("finance", "bob", "", hold=False).changed
    assert not ledger.accounts.resume("finance", "bob", "", hold=False).changed
    assert not ledger.accounts.resume("tower", "bob", "", hold=False).changed


def test_a_resume_wakes_what_was_held_one_by_one_and_nothing_else(ledger, clock):
    ledger.accounts.pause("finance", "ann", "")
    ledger.submissions.accept([*many(25), new("later", "T-later", not_before=NOW + 100)])
    turn(ledger)
    clock.pass_(1)
    assert ledger.accounts.resume("finance", "ann", "", hold=False).waiting == 25
    due = [ledger.queries.find(f"k{n:04}")[0].next_at - clock() for n in range(25)]
    assert due == pytest.approx([pace.opens(n) for n in range(25)], abs=1e-5)
    assert ledger.queries.find("later")[0].next_at == NOW + 100


def test_a_slow_start_holds_for_all_processes_together(ledger, other, clock):
    """Also for what was accepted after the resume; what has no room now is due later, within the minute."""
    ledger.accounts.pause("finance", "ann", "")
    ledger.accounts.resume("finance", "ann", "", hold=False)
    ledger.submissions.accept(many(40))
    clock.pass_(10)
    half = ledger.submissions.claim("finance", 20, LEASE)
    assert len(other.submissions.settle([seen(c) for c in other.submissions.claim("finance", 20, LEASE)], context).begun) == 11
    assert ledger.submissions.settle([seen(c) for c in half], context).begun == ()
    clock.pass_(10)
    assert len(turn(ledger)) == 20
    clock.pass_(pace.SLOW)
    assert len(turn(other)) == 9


def test_processes_that_begin_slowly_at_once_count_together(ledger, other, clock):
    ledger.accounts.pause("finance", "ann", "")
    ledger.accounts.resume("finance", "ann", "", hold=False)
    ledger.submissions.accept(many(60))
    clock.pass_(20)
    waves = [(each, [seen(c) for c in each.submissions.claim("finance", 10, LEASE)]) for each in (ledger, other) * 3]
    with ThreadPoolExecutor(6) as pool:
        begun = list(pool.map(lambda wave: len(wave[0].submissions.settle(wave[1], context).begun), waves))
    assert sum(begun) == pace.opened(20)


def test_the_settings_hold_until_a_person_lifts_it(ledger):
    ledger.submissions.accept([new("k")])
    assert turn(ledger, held_by_settings) == []
    assert ledger.queries.find("k")[0].reason == HELD + ON_HOLD
    assert not ledger.accounts.resume("finance", "ann", "", hold=False).changed
    assert ledger.accounts.resume("finance", "ann", "", hold=True).waiting == 1
    assert turn(ledger, held_by_settings) == ["k"]


def test_a_hold_that_was_lifted_holds_again_once_the_settings_have_said_on(ledger):
    ledger.accounts.resume("finance", "ann", "", hold=True)
    ledger.accounts.obey(["tower"])
    assert begins_when_held(ledger, "one")
    ledger.accounts.obey(["finance"])
    assert not begins_when_held(ledger, "two")
    assert ledger.accounts.resume("finance", "ann", "", hold=True).changed


def begins_when_held(ledger, key):
    ledger.submissions.accept([new(key, f"T-{key}")])
    return turn(ledger, held_by_settings) == [key]


def test_the_settings_end_no_pause(ledger):
    ledger.accounts.pause("finance", "ann", "")
    ledger.accounts.obey(["finance"])
    assert ledger.accounts.words()["finance"].said == "paused"
