"""B4: one breaker for all processes, its events once, and whoever waits for it uses up nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ledger.make import LEASE, NOW, REALM, begin, context, many, new, seen, state
from worker.core.breaker import AWAY, FAILURES, SLOW, opens

BAD = ["answer 503"] * FAILURES


def hear(ledger, *answers, by="me"):
    return ledger.breakers.hear("finance", "workiva", REALM, answers, by, 1.0)


def told(ledger):
    return [(e["type"], e["data"]) for _, e in ledger.queries.events(type_="account.*")]


def claim(ledger, room=100):
    breaker, _ = ledger.breakers.find("finance")
    return ledger.submissions.claim("finance", room, LEASE, shut=breaker.shut() if breaker.state == "open" else None)


@pytest.fixture
def away(ledger):
    hear(ledger, *BAD)
    return ledger


def test_processes_count_together_and_one_of_them_tells(ledger, other):
    assert [hear(each, *BAD[:2]).event for each in (ledger, other)] == [None, None]
    opened = hear(other, *BAD[:2])
    assert (opened.breaker.state, hear(ledger, *BAD).event) == ("open", None)
    reason = f"no answer from the upstream since {opened.event.data['reason'].split()[6]} answer 503"
    assert told(ledger) == [("account.degraded", {"account": "finance", "reason": reason, "todo": "approvals doctor"})]


def test_an_account_that_never_failed_has_no_row(ledger):
    breaker, now = ledger.breakers.find("finance")
    assert (breaker.well, now, ledger.breakers.all()) == (True, 0.0, [])


def test_one_probes_at_a_time(away, other, clock):
    assert away.breakers.take("finance", "early", LEASE) is None
    clock.pass_(1)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: (away, other)[n % 2].breakers.take("finance", str(n), LEASE), range(8)))
    assert len([t for t in taken if t]) == 1
    clock.pass_(LEASE)
    assert other.breakers.take("finance", "after one that died", LEASE)


def test_a_probe_that_was_not_needed_is_anybody_s(away, other, clock):
    clock.pass_(1)
    assert away.breakers.take("finance", "me", LEASE)
    other.breakers.give_back("finance", "another")
    assert other.breakers.take("finance", "another", LEASE) is None
    away.breakers.give_back("finance", "me")
    assert other.breakers.take("finance", "another", LEASE)


def test_a15_what_waits_for_it_is_not_claimed_uses_no_attempt_and_says_why(away):
    away.submissions.accept(many(3))
    assert claim(away) == []
    [found] = away.queries.find("k0000")
    assert (found.state, found.reason, found.next_at) == ("pending", away.breakers.find("finance")[0].shut().why, NOW + 1)
    assert away.queries.attempts(found.id) == []


def test_a15_not_after_ends_the_wait(away, clock):
    away.submissions.accept([new("k", not_after=NOW + 0.5)])
    claim(away)
    assert away.queries.find("k")[0].next_at == NOW + 0.5
    clock.pass_(0.5)
    claimed = claim(away)
    assert [c.lapsed for c in claimed] == [True]
    away.submissions.settle([seen(c) for c in claimed], context)
    assert state(away, "k") == "expired"


def test_what_is_in_doubt_waits_as_it_is(ledger, clock):
    [begun] = begin(ledger, new("k"))
    clock.pass_(LEASE)
    hear(ledger, *BAD)
    assert claim(ledger) == []
    [found] = ledger.queries.find("k")
    assert (found.state, found.reason[: len(AWAY)], len(ledger.queries.attempts(begun.submission.id))) == ("in_doubt", AWAY, 1)


def test_other_accounts_are_not_concerned(away):
    away.submissions.accept([new("k", account="tower", task="X")])
    assert away.breakers.find("tower")[0].well
    assert len(away.submissions.claim("tower", 10, LEASE)) == 1


def test_an_answer_closes_it_tells_so_once_and_wakes_what_waited_slowly(away, other, clock):
    away.submissions.accept([*many(20), new("later", "T-later", not_before=NOW + 100)])
    claim(away)
    clock.pass_(0.5)
    assert hear(other, "", by="whoever").event.type == "account.recovered"
    assert hear(away, "").event is None
    due = [away.queries.find(f"k{n:04}")[0].next_at - clock() for n in range(20)]
    assert due == pytest.approx([opens(n) for n in range(20)], abs=1e-5)
    assert away.queries.find("later")[0].next_at == NOW + 100
    assert told(away)[1:] == [("account.recovered", {"account": "finance"})]


def test_each_episode_is_told_by_itself(away, clock):
    for _ in range(2):
        clock.pass_(SLOW)
        hear(away, "")
        hear(away, *BAD)
    assert [type_ for type_, _ in told(away)] == ["account.degraded", *["account.recovered", "account.degraded"] * 2]


def test_watches_of_an_upstream_that_is_away_are_not_rung_for(away, clock):
    away.watches.add("finance", "T", 60.0)
    away.watches.add("tower", "T", 60.0)
    assert ("poll", "finance") not in away.queries.due()
    clock.pass_(1)
    assert {("poll", "finance"), ("poll", "tower")} <= set(away.queries.due())
