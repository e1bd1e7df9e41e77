"""The tasks' rows: what a feed shows, what is read by itself, and when (B5)."""

from dataclasses import replace

import pytest

from tests.ledger.make import LEASE, NOW, REALM, context, look, polled
from worker.core.outcomes import Fact, Gone
from worker.core.task import Task

AGE = 100.0
"""Seconds since the tasks of `look` were touched, by the upstream's word."""


@pytest.fixture
def tasks(ledger):
    return ledger.tasks


def row(name, realm=REALM, account="finance"):
    return Task(realm, name, "workiva", account)


def see(ledger, *looks, version=0):
    """Looks that nobody's submission asked for."""
    ledger.tasks.make([row(each.task) for each in looks])
    ledger.submissions.settle([polled(each, version) for each in looks], context)


def listed(ledger, name):
    [found] = ledger.tasks.known({(REALM, name)}).values()
    return found.listed


def due(ledger, *, silent=True, room=10, account="finance"):
    return [each.task for each in ledger.tasks.claim(REALM, account, room, LEASE, silent=silent)]


def test_first_sight_changed_when_the_upstream_says_and_later_looks_when_they_show_it(ledger, tasks, clock):
    see(ledger, look("T"))
    assert tasks.changed({(REALM, "T"), (REALM, "U")}) == {(REALM, "T"): NOW - AGE}
    clock.pass_(60)
    see(ledger, look("T", title="Other", at=1), version=1)
    assert tasks.changed({(REALM, "T")}) == {(REALM, "T"): NOW + 60}
    clock.pass_(60)
    see(ledger, look("T", title="Other", at=1), version=2)
    assert tasks.changed({(REALM, "T")}) == {(REALM, "T"): NOW + 60}


def test_what_is_under_approval_is_to_be_read_and_is_one_readers_for_a_lease(ledger, other, clock):
    see(ledger, look("T"), look("draft", awaiting=False))
    assert (due(ledger), due(other)) == (["T"], [])
    clock.pass_(LEASE)
    assert due(other) == ["T"]


def test_who_has_waited_longest_is_first(ledger, tasks, clock):
    see(ledger, *map(look, "ABC"))
    tasks.looked(REALM, {"A": NOW - 1, "B": NOW - 3, "C": NOW - 2})
    assert (due(ledger, room=2), due(ledger)) == (["B", "C"], ["A"])


def test_a_look_says_when_the_next_one_is_and_news_that_it_is_now(ledger, tasks, clock):
    see(ledger, look("T"))
    tasks.looked(REALM, {"T": NOW + 600})
    assert due(ledger) == []
    see(ledger, look("T", title="Other", at=1), version=1)
    assert due(ledger) == ["T"]


def test_what_awaits_nothing_any_more_is_left_alone(ledger, tasks, clock):
    """The look that found this out comes before the one that says when to look again."""
    see(ledger, look("T"), look("U"))
    see(ledger, look("T", awaiting=False, at=1), version=1)
    ledger.submissions.settle([polled(replace(look("U")), 1)], context)
    tasks.looked(REALM, {"T": NOW, "U": None})
    assert due(ledger) == []


def test_what_is_gone_is_left_alone(ledger, tasks, clock):
    see(ledger, look("T"))
    answer = replace(polled(look("T"), 1), what=Gone(Fact("answer", 404)))
    ledger.submissions.settle([answer], context)
    assert due(ledger) == []


def test_only_what_its_feed_does_not_show_where_the_feed_can_be_trusted(ledger, tasks, clock):
    see(ledger, look("shown"), look("unknown"), look("process"))
    tasks.show([row("shown"), row("unknown")])
    clock.pass_(1)
    tasks.missed(REALM, "finance", NOW, watched=False)
    assert due(ledger, silent=False) == ["process"]


def test_not_those_that_have_a_watch_of_their_own_nor_another_accounts(ledger, clock):
    see(ledger, look("T"), look("U"))
    ledger.watches.add("finance", "T", 60.0)
    ledger.watches.add("tower", "U", 60.0)
    assert (due(ledger, account="tower"), due(ledger)) == ([], ["U"])


def test_a_feed_makes_rows_for_what_is_new_and_marks_what_it_shows(ledger, tasks, clock):
    see(ledger, look("T"))
    assert listed(ledger, "T") is None
    tasks.show([row("T"), row("new")])
    assert (listed(ledger, "T"), listed(ledger, "new")) == (NOW, NOW)
    [kept] = tasks.known({(REALM, "T")}).values()
    assert kept.snapshot is not None


def test_a_whole_pass_tells_what_no_feed_shows_and_what_it_does_not_show_any_more(ledger, tasks, clock):
    """The latter is read at once, whatever state it was in: it may be gone."""
    see(ledger, look("lost", awaiting=False), look("kept"), look("process"))
    tasks.show([row("lost"), row("kept")])
    clock.pass_(60)
    began = clock()
    tasks.show([row("kept")])
    assert tasks.missed(REALM, "finance", began, watched=False) == 1
    assert [listed(ledger, name) for name in ("lost", "kept", "process")] == [0, began, 0]
    assert due(ledger, silent=False) == ["process", "lost"]
    assert tasks.missed(REALM, "finance", began, watched=False) == 0


def test_a_pass_for_single_watches_says_nothing_of_the_others(ledger, tasks, clock):
    see(ledger, look("T"), look("U"))
    ledger.watches.add("finance", "T", 60.0)
    tasks.missed(REALM, "finance", NOW, watched=True)
    assert (listed(ledger, "T"), listed(ledger, "U")) == (0, None)


def test_another_accounts_tasks_are_not_missed(ledger, tasks, clock):
    tasks.make([row("T", account="tower")])
    tasks.missed(REALM, "finance", NOW, watched=False)
    assert listed(ledger, "T") is None
