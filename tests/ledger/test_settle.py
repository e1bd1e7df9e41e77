"""What came back, written down: once for each attempt, and repeatable without harm (A1, B1)."""

from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from tests.ledger.make import LEASE, NOW, REALM, begin, context, look, new, polled, seen, sent, state
from worker.core import submission as life
from worker.core.advance import Answer
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Refused, Unknown, Unsent
from worker.core.pins import pin_of
from worker.core.submission import Context
from worker.core.task import Response, Task
from worker.errors import LedgerDown

LOST = InDoubt(Fact("answer lost"))


def claim(ledger):
    return ledger.submissions.claim("finance", 100, LEASE)


def attempts(ledger, key="k"):
    [found] = ledger.queries.find(key)
    return [a["outcome"] for a in ledger.queries.attempts(found.id)]


def events(ledger):
    return [e["type"] for _, e in ledger.queries.events()]


def test_a_look_that_allows_it_begins_an_attempt_and_it_is_in_doubt_before_anyone_may_send(ledger, other):
    [begun] = begin(ledger, new("k"))
    assert (begun.attempt.n, begun.attempt.began_at, begun.attempt.quiet_until) == (1, NOW, NOW + 79)
    assert (state(other, "k"), attempts(other)) == ("in_doubt", [None])
    assert other.queries.find("k")[0].next_at == NOW + LEASE


def test_a_200_ends_it(ledger):
    [begun] = begin(ledger, new("k"))
    settled = ledger.submissions.settle([sent(begun)], context)
    assert ([s.state for s in settled.told], attempts(ledger)) == (["applied"], ["applied"])
    assert events(ledger) == ["submission.accepted", "response.recorded", "step.completed", "step.opened", "submission.applied"]


def test_the_same_answer_twice_is_one_answer(ledger):
    [begun] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(begun)], context)
    before = ledger.queries.events()
    assert ledger.submissions.settle([sent(begun)], context) == ledger.submissions.settle([sent(begun)], context, again=True)
    assert (ledger.queries.events(), attempts(ledger)) == (before, ["applied"])


def test_an_attempt_keeps_its_first_outcome(ledger):
    [begun] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(begun, LOST)], context)
    ledger.submissions.settle([sent(begun, Unsent(Fact("connect")))], context)
    assert (attempts(ledger), state(ledger, "k")) == (["in_doubt"], "in_doubt")


def test_two_answers_of_one_wave_are_both_written(ledger, clock):
    """The second attempt of one and the late answer of its first come in together."""
    [one] = begin(ledger, new("k"))
    clock.pass_(200)
    [again] = claim(ledger)
    [two] = ledger.submissions.settle([seen(again)], context).begun
    ledger.submissions.settle([sent(one, LOST), sent(two, Refused(Fact("answer", 403)))], context)
    assert attempts(ledger) == ["in_doubt", "refused"]


def test_a_look_under_a_lost_claim_only_observes(ledger, other, clock):
    ledger.submissions.accept([new("k")])
    [stale] = claim(ledger)
    clock.pass_(LEASE)
    [fresh] = claim(other)
    assert ledger.submissions.settle([seen(stale)], context).begun == ()
    assert ledger.tasks.known({(REALM, "T")})[REALM, "T"].version == 1
    assert [b.attempt.n for b in other.submissions.settle([seen(fresh)], context).begun] == [1]


def test_a_200_that_comes_late_beats_the_look_that_came_before_it(ledger, other, clock):
    """The look said "changed, and ours is not there"; the answer that a stale settler brings shows it."""
    [begun] = begin(ledger, new("k"))
    clock.pass_(200)
    [again] = claim(other)
    other.submissions.settle([seen(again, look(at=50, title="Edited"))], context)
    assert state(other, "k") == "parked"
    ledger.submissions.settle([sent(begun, Applied(look(first=[ours(begun)], at=60, title="Edited"), Fact("answer", 200)))], context)
    assert (state(ledger, "k"), attempts(ledger)) == ("applied", ["applied"])


def test_whoever_sees_it_first_credits_it(ledger, clock):
    """A poll shows our response while its answer is on its way. The answer then changes nothing."""
    [begun] = begin(ledger, new("k"))
    clock.pass_(1)
    told = ledger.submissions.settle([polled(look(first=[ours(begun)], at=1), begun.version)], context).told
    assert [s.state for s in told] == ["applied"]
    assert ledger.submissions.settle([sent(begun)], context).told == ()
    assert (attempts(ledger), events(ledger).count("submission.applied")) == (["applied"], 1)


def test_what_a_later_answer_of_the_wave_ended_is_not_sent(ledger, clock):
    """A look writes an attempt; another look of the same wave shows that an earlier one has taken effect."""
    [one] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(one, LOST)], context)
    clock.pass_(200)
    [again] = claim(ledger)
    late = polled(look(first=[ours(one)], at=1), again.version)
    settled = ledger.submissions.settle([seen(again), late], context)
    assert (settled.begun, state(ledger, "k"), attempts(ledger)) == ((), "applied", ["in_doubt", None])


def test_an_older_look_takes_no_ones_place(ledger):
    ledger.submissions.settle([], context)
    [begun] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(begun)], context)
    before = ledger.tasks.known({(REALM, "T")})
    settled = ledger.submissions.settle([polled(look(), begun.version)], context)
    assert (settled.events, ledger.tasks.known({(REALM, "T")})) == (0, before)


def test_gone_is_told_once_and_the_way_back_is_news(ledger):
    ledger.tasks.make([Task(REALM, "T", "workiva", "finance")])
    ledger.submissions.settle([polled(look(), 0)], context)
    for version in (1, 2, 2):
        ledger.submissions.settle([replace(polled(look(), version), what=Gone(Fact("answer", 404)))], context)
    ledger.submissions.settle([polled(look(at=5), 2)], context)
    assert events(ledger) == ["task.gone"]
    assert ledger.tasks.known({(REALM, "T")})[REALM, "T"].gone == 2


class TestAgain:
    """It is not known whether the commit took place, and nothing was sent."""

    def test_the_attempt_it_began_was_not_sent_and_a_new_one_may_begin(self, ledger):
        ledger.submissions.accept([new("k")])
        [claimed] = claim(ledger)
        ledger.submissions.settle([seen(claimed)], context)
        settled = ledger.submissions.settle([seen(claimed)], context, again=True)
        assert ([b.attempt.n for b in settled.begun], attempts(ledger)) == ([2], ["unsent", None])

    def test_nothing_is_written_where_nothing_was_begun(self, ledger):
        ledger.submissions.accept([new("k")])
        [claimed] = claim(ledger)
        settled = ledger.submissions.settle([seen(claimed)], context, again=True)
        assert ([b.attempt.n for b in settled.begun], attempts(ledger)) == ([1], [None])

    def test_another_workers_attempt_is_not_called_unsent(self, ledger, other, clock):
        """Our commit came to nothing, our lease ended, another began the attempt of that number and is sending it."""
        ledger.submissions.accept([new("k")])
        [ours_] = claim(ledger)
        clock.pass_(LEASE)
        [theirs] = claim(other)
        other.submissions.settle([seen(theirs)], context)
        assert ledger.submissions.settle([seen(ours_)], context, again=True).begun == ()
        assert (attempts(ledger), state(ledger, "k")) == ([None], "in_doubt")


def test_a_server_that_ends_the_connection_at_the_commit_is_an_outage(ledger, other):
    """The one PostgreSQL process that serves us is ended: our commit comes to nothing, and the next try goes over a new connection."""
    if ledger.database.sqlite:
        pytest.skip("SQLite has no server")
    ledger.submissions.accept([new("k")])
    [claimed] = claim(ledger)
    left = [True]

    @sa.event.listens_for(ledger.database.engine, "commit")
    def _commit(connection):
        if left:
            left.clear()
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            other.database.write(lambda c: c.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid}))

    with pytest.raises(LedgerDown):
        ledger.submissions.settle([seen(claimed)], context)
    assert attempts(ledger) == []
    assert [b.attempt.n for b in ledger.submissions.settle([seen(claimed)], context, again=True).begun] == [1]


def test_a_clean_answer_proves_the_grant_and_a_stranger_stops_it(ledger):
    [one] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(one)], lambda s: context(s, grant="unproven"))
    assert ledger.submissions.standing("finance", REALM).grants == {("jane", "jane"): "proven"}
    [two] = begin(ledger, new("l", task="U"))
    theirs = replace(ours(two), actor="mallory")
    ledger.submissions.settle([sent(two, Applied(look("U", [theirs], at=1), Fact("answer", 200)))], context)
    standing = ledger.submissions.standing("finance", REALM)
    assert standing.grants == {("jane", "jane"): "stopped"}
    assert ("grant.misconfigured", state(ledger, "l")) == (events(ledger)[-1], "parked")
    ledger.submissions.settle([sent(two)], lambda s: context(s, grant="unproven"))
    assert ledger.submissions.standing("finance", REALM).grants == {("jane", "jane"): "stopped"}


def test_an_account_is_wary_while_something_misapplied_is_not_resolved(ledger):
    [one] = begin(ledger, new("k"))
    wrong = replace(ours(one))
    ledger.submissions.settle([sent(one, Applied(look(second=[wrong], at=1), Fact("answer", 200)))], context)
    assert (state(ledger, "k"), ledger.submissions.standing("finance", REALM).wary) == ("misapplied", True)
    decided = Context(now=NOW, dice=0.0, rules=life.Rules(1, 1, 1, 1), acts_as="jane")
    ledger.submissions.change(one.submission.id, lambda s, now: life.resolve(s, "abandoned", "undone by hand", None, decided))
    assert (state(ledger, "k"), ledger.submissions.standing("finance", REALM).wary) == ("abandoned", False)


def test_cancelled_while_it_is_looked_at(ledger):
    """The look that comes back afterwards is nobody's."""
    ledger.submissions.accept([new("k")])
    [claimed] = claim(ledger)
    decided = Context(now=NOW, dice=0.0, rules=life.Rules(1, 1, 1, 1), acts_as="jane")
    ledger.submissions.change(claimed.submission.id, lambda s, now: life.cancel(s, decided))
    assert ledger.submissions.settle([seen(claimed)], context).begun == ()
    assert (state(ledger, "k"), attempts(ledger)) == ("cancelled", [])
    with pytest.raises(life.NotNow, match="cancelled already"):
        ledger.submissions.change(claimed.submission.id, lambda s, now: life.cancel(s, decided))
    assert ledger.submissions.change("nobody", lambda s, now: life.cancel(s, decided)) is None


def test_a_look_that_failed_is_tried_again_and_keeps_its_place(ledger, clock):
    ledger.submissions.accept([new("k")])
    [claimed] = claim(ledger)
    ledger.submissions.settle([seen(claimed, Unknown(Fact("answer", 503, retry_after=7.0)))], context)
    assert claim(ledger) == []
    clock.pass_(8)
    assert len(claim(ledger)) == 1


def ours(begun):
    """The response that *begun* leaves."""
    return Response("jane", "approve", NOW + 1, f"[{begun.submission.mark}]")


def test_a_disputed_task_stays_held_when_the_one_that_had_its_slot_ends(ledger, clock):
    """A9, A12. A is applied by its second attempt and gives the slot back; B takes it; A's first attempt shows up, too. Without: B ends,
    the slot is free, and C acts on a task that a person has to look at first.
    """
    [a] = begin(ledger, new("a"))
    ledger.submissions.settle([sent(a, InDoubt(Fact("answer lost")))], context)
    clock.pass_(200)
    [again] = ledger.submissions.claim("finance", 10, LEASE)
    [a] = ledger.submissions.settle([seen(again)], context).begun
    ledger.submissions.settle([sent(a)], context)
    after = look(first=[ours(a)], at=1)
    pin = pin_of(REALM, after, 2)
    ledger.submissions.accept([replace(new("b", grant="bob", action="approve"), pin=pin)])
    [claimed] = ledger.submissions.claim("finance", 10, LEASE)
    as_bob = partial(context, acts_as="bob")
    [b] = ledger.submissions.settle([seen(claimed, after)], as_bob).begun
    first, twin = ours(a), replace(ours(a), at=NOW + 5)
    doubled = look(first=[first, twin], at=5)
    ledger.submissions.settle([polled(doubled, ledger.tasks.known({(REALM, "T")})[REALM, "T"].version)], context)
    assert (state(ledger, "a"), state(ledger, "b")) == ("duplicated", "in_doubt")
    ledger.submissions.settle([Answer(REALM, "T", 99, Refused(Fact("answer", 403)), b.submission.id, attempt=1, claim=b.claim)], context)
    assert (state(ledger, "b"), ledger.tasks.known({(REALM, "T")})[REALM, "T"].holder) == ("refused", a.submission.id)


def test_a_task_of_two_accounts_tells_each_its_own_submissions(ledger):
    """The row is the first one's; what is said of a submission goes out under the account that asked."""
    ledger.submissions.accept([new("k")])
    ledger.submissions.accept([new("k", account="legal")])
    told = [(e["type"], e["source"], e["data"]["account"]) for _, e in ledger.queries.events()]
    assert told == [("submission.accepted", "/workiva/finance", "finance"), ("submission.accepted", "/workiva/legal", "legal")]


def test_a_stopped_grant_is_an_alarm(ledger):
    [one] = begin(ledger, new("k"))
    theirs = replace(ours(one), actor="mallory")
    settled = ledger.submissions.settle([sent(one, Applied(look(first=[theirs], at=1), Fact("answer", 200)))], context)
    assert [(e.type, e.data["author"]) for e in settled.alarms] == [("grant.misconfigured", "mallory")]


def test_a_frozen_modified_is_known_of_the_whole_upstream(ledger):
    """A5. One task whose response is newer than its `modified`: then `Absent` proves nothing in any account of this upstream."""
    assert not ledger.submissions.standing("legal", REALM).frozen
    ledger.submissions.accept([new("k")])
    late = Response("jane", "approve", NOW + 50)
    ledger.submissions.settle([polled(look(first=[late], at=-100), 0)], context)
    assert ledger.submissions.standing("legal", REALM).frozen
