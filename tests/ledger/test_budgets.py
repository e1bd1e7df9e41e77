"""Budgets are one for all processes, whoever claims: paid in the transaction that claims, shut by anybody's 429 (B3, A15)."""

from dataclasses import replace

from tests.ledger.make import LEASE, NOW, RULES, context, many, new, seen
from worker.core.budget import GOOD_FOR, Limit, Price
from worker.core.pace import LONGEST

APP = Limit(600)
PAIR = Price(3, {"app": APP, "jane": APP})
WATCH = Price(2, {"app": APP})
AT_ONCE = int(APP.burst // PAIR.requests)


def claim(ledger, account="finance", price=PAIR):
    return ledger.submissions.claim(account, 100, LEASE, lambda _: price)


def test_no_more_is_claimed_than_can_be_paid_for_and_the_rest_is_due_when_it_can(ledger, clock):
    ledger.submissions.accept(many(20))
    assert [c.submission.command.key for c in claim(ledger)] == [f"k{n:04}" for n in range(AT_ONCE)]
    assert claim(ledger) == []
    clock.pass_(PAIR.requests / APP.ceiling + 0.01)
    assert [c.submission.command.key for c in claim(ledger)] == [f"k{AT_ONCE:04}"]
    assert all(found.next_at <= NOW + LONGEST for found in ledger.queries.listed(state="pending"))


def test_what_waits_for_the_budget_uses_up_no_attempt(ledger):
    ledger.submissions.accept(many(20))
    claim(ledger)
    assert {(found.state, found.reason, found.progress["attempts"]) for found in ledger.queries.listed()} == {("pending", None, 0)}


def test_two_accounts_and_two_processes_of_one_client_share_its_bucket(ledger, other):
    ledger.submissions.accept([*many(10), *[replace(n, command=replace(n.command, account="audit")) for n in many(10, prefix="a")]])
    assert len(claim(ledger)) + len(claim(other, "audit")) == AT_ONCE


def test_one_users_empty_bucket_does_not_hold_up_another(ledger):
    ledger.submissions.accept([new("jane", "A"), new("bob", "B", grant="bob")])
    ledger.budgets.throttled({"jane": APP}, 60.0)
    prices = {"jane": PAIR, "bob": Price(3, {"app": APP, "bob": APP})}
    claimed = ledger.submissions.claim("finance", 100, LEASE, lambda s: prices[s.command.grant])
    assert [c.submission.command.key for c in claimed] == ["bob"]


def test_watching_takes_what_submissions_leave_it(ledger):
    watched = ledger.budgets.take(WATCH, 1000) * WATCH.requests
    assert 0 < watched <= APP.burst / 2
    assert ledger.budgets.take(WATCH, 1000) == 0
    ledger.submissions.accept(many(20))
    assert len(claim(ledger)) == int((APP.burst - watched) // PAIR.requests)


def test_a_429_to_one_worker_shuts_the_bucket_for_all(ledger, other, clock):
    ledger.budgets.throttled({"app": APP}, 25.0)
    ledger.submissions.accept([new()])
    assert (claim(other), other.budgets.take(WATCH, 1)) == ([], 0)
    clock.pass_(25.0)
    assert len(claim(other)) == 1


def test_a_429_that_came_while_the_look_was_under_way_keeps_the_send_back(ledger, other):
    """Without: every worker with a look in flight sends one request more into what is throttled."""
    ledger.submissions.accept([new()])
    [claimed] = claim(ledger)
    other.budgets.throttled({"app": APP}, 25.0)
    settled = ledger.submissions.settle([seen(claimed)], context, prices=lambda _: PAIR)
    [found] = ledger.queries.listed()
    assert (settled.begun, found.state, found.next_at, found.progress["attempts"]) == ((), "pending", NOW + 25.0, 0)


def test_a_send_whose_look_took_long_is_paid_for_again(ledger, clock):
    """Without: looks that stall and come back together send more in one minute than was paid for in it."""
    ledger.submissions.accept([new()])
    [claimed] = claim(ledger)
    clock.pass_(RULES.deadline - GOOD_FOR)
    [begun] = ledger.submissions.settle([replace(seen(claimed), asked_at=claimed.at)], context, prices=lambda _: PAIR).begun
    ledger.submissions.accept(many(20))
    assert (begun.attempt.n, len(claim(ledger))) == (1, int((APP.burst - 1) // PAIR.requests))
