"""A submission carried on against a sandbox: what takes effect, once, and what does not."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.flows.house import QUIET, UPSTREAMS
from tests.ledger.make import seen
from worker.core.outcomes import Unknown
from worker.core.pause import ON_HOLD
from worker.core.submission import TURN
from worker.core.task import Snapshot
from worker.engine import Errand
from worker.errors import LedgerDown
from worker.flows.submit import order_of, settle, submit

pytestmark = pytest.mark.parametrize("upstream", UPSTREAMS)


def test_applied(house):
    task = house.task("jane", "bob")
    found = house.submit(task, comment="fine")
    assert (found.state, found.reason, house.effects(task)) == ("applied", "step 1", [("approve", "jane", 1)])
    house.sees_it_through()
    assert house.progress() == ["response.recorded", "step.completed", "step.opened"]
    assert sorted(house.told("submission.")) == ["submission.accepted", "submission.applied"]
    assert house.sends == 1
    comment = house.sandbox.journal(task)[0]["comment"]
    assert comment.startswith("fine [aw:")
    assert ("emit", "erp") in house.rung


def test_many_at_once_each_once(house):
    tasks = [house.task("jane", "bob") for _ in range(150)]
    house.accept(*(house.command(t, step=1) for t in tasks))
    done = [("finance", "applied", 150)]
    for _ in range(600):  # a budget of so many requests a minute may have to be waited for
        submit(house.rt, "finance")
        house.clock.pass_(0.5)
        if house.ledger.queries.states() == done:
            break
    assert house.ledger.queries.states() == done
    assert [house.effects(t) for t in tasks] == [[("approve", "jane", 1)]] * 150


def test_it_waits_for_its_turn_and_then_takes_it(house):
    task = house.task("jane", "bob")
    found = house.submit(task, grant="bob", step=2, wait_for_turn=True)
    assert (found.state, found.reason[:5]) == ("waiting", "turn:")
    house.clock.pass_(TURN)
    house.submit()
    assert house.found(found.id).state == "waiting"
    house.submit(task, key="first")
    house.sees_it_through()
    assert house.found(found.id).state == "applied"
    assert house.effects(task) == [("approve", "jane", 1), ("approve", "bob", 2)]


@pytest.mark.parametrize(
    ("steps", "more", "reason"),
    [
        (("bob", "jane"), {"step": 2}, "Use wait_for_turn to wait for it"),
        (("bob",), {}, "jane "),
        (("jane",), {"step": 2}, "1 steps"),
    ],
)
def test_refused_by_the_look(house, steps, more, reason):
    task = house.task(*steps)
    found = house.submit(task, **more)
    assert (found.state, reason in found.reason, house.effects(task)) == ("refused", True, [])


def test_refused_where_there_is_no_such_task(house):
    found = house.submit("VGFzax41")
    assert (found.state, found.reason[:24]) == ("refused", "the task cannot be seen:")


def test_refused_by_the_upstream(house):
    task = house.task("jane")
    house.sandbox.fault("act", "status", status=403)
    assert (house.submit(task).state, house.effects(task)) == ("refused", [])


def test_a_throttled_send_without_a_time_to_wait_is_sent_again_later_and_once(house):
    """`Retry-After` may be absent [26-lim]."""
    task = house.task("jane")
    house.sandbox.fault("act", "throttle")
    found = house.submit(task)
    assert (found.state, house.effects(task)) == ("pending", [])
    house.clock.pass_(3600)
    house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_superseded_when_somebody_was_first(house):
    """The command waited in a queue; meanwhile a person answered. Without a pin the time of issue tells."""
    task = house.task("jane", "jane")
    command = house.command(task, step=1)
    house.clock.pass_(60)
    house.answers(task, "jane")
    house.clock.pass_(60)
    [out] = house.accept(command)
    house.submit()
    found = house.found(out.id)
    assert (found.state, house.effects(task), house.sends) == ("superseded", [("approve", "jane", 1)], 0)


def test_a_lost_answer_is_found_after_the_lease_and_not_sent_again(house):
    task = house.task("jane", "bob")
    house.sandbox.fault("act", "reset", when="after")
    found = house.submit(task)
    assert (found.state, house.sends) == ("in_doubt", 1)
    house.clock.pass_(QUIET)
    house.submit()
    assert (house.found(found.id).state, house.effects(task), house.sends) == ("applied", [("approve", "jane", 1)], 1)


def test_a_lost_answer_without_an_effect_is_sent_again_after_the_quiet_period_and_no_sooner(house):
    house.submit(house.task("jane"))  # which proves the grant
    task = house.task("jane", "bob")
    house.sandbox.fault("act", "reset", when="before")
    found = house.submit(task)
    house.clock.pass_(QUIET / 2)
    house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("in_doubt", [])
    for _ in range(3):
        house.clock.pass_(QUIET)
        house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_what_is_proven_unsent_is_sent_again_soon(house):
    task = house.task("jane")
    house.sandbox.fault("act", "throttle", retry_after=7)
    found = house.submit(task)
    assert (found.state, house.effects(task)) == ("pending", [])
    house.clock.pass_(9)
    house.submit()
    assert (house.found(found.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


def test_a_grant_that_is_no_more_is_waited_for_and_asks_nobody(house):
    task = house.task("jane")
    [out] = house.accept(house.command(task, step=1))
    account = house.rt.accounts["finance"]
    house.rt.accounts = {"finance": replace(account, grants={"bob": "bob"})}
    house.submit()
    found = house.found(out.id)
    assert (found.state, found.reason) == ("pending", "account finance has no grant jane any more")
    house.rt.accounts = {"finance": account}
    house.clock.pass_(3600)
    house.submit()
    assert house.found(out.id).state == "applied"


def test_lapsed_asks_nobody(house):
    task = house.task("jane")
    [out] = house.accept(house.command(task, step=1, not_after=house.clock() + 60))
    house.clock.pass_(60)
    house.submit()
    assert (house.found(out.id).state, house.requests()) == ("expired", {})


def test_held_is_looked_at_and_never_sent(house):
    task = house.task("jane")
    house.rules(hold=True)
    found = house.submit(task)
    assert (found.state, found.reason, house.effects(task)) == ("pending", f"held: {ON_HOLD}", [])
    house.rules(hold=False)
    house.clock.pass_(3600)
    house.submit()
    assert house.found(found.id).state == "applied"


def test_a_hold_is_lifted_by_a_person_until_the_settings_have_said_on(house):
    tasks = [house.task("jane") for _ in range(3)]
    house.rules(hold=True)
    held = house.submit(tasks[0])
    house.ledger.accounts.resume("finance", "ann", "", hold=True)
    house.submit()
    assert house.found(held.id).state == "applied"
    house.clock.pass_(3600)
    assert house.submit(tasks[1]).state == "applied"  # a restart with the same settings changes nothing
    house.ledger.accounts.obey({"finance"})
    assert house.submit(tasks[2]).state == "pending"


def test_two_for_one_task_follow_each_other(house):
    task = house.task("jane", "bob")
    one, two = house.accept(house.command(task, step=1), house.command(task, key="k2", step=1))
    submit(house.rt, "finance")
    house.sees_it_through()
    assert [house.found(o.id).state for o in (one, two)] in (["applied", "superseded"], ["applied", "refused"])
    assert house.effects(task) == [("approve", "jane", 1)]


def test_an_account_that_is_no_more(house):
    assert submit(house.rt, "tower") is False


def test_a_person_is_told_of_each_end(house):
    ended = []
    house.rt.notice = lambda s: ended.append(s.state)
    house.submit(house.task("jane"))
    house.submit(house.task("bob"))
    assert ended == ["applied", "refused"]


def test_a_claim_that_fails_does_not_leave_those_in_flight(house):
    """Their answers are worth more than what else is due; the outage is told when they are home."""
    task = house.task("jane")
    [out] = house.accept(house.command(task, step=1))
    claims = []

    @sa.event.listens_for(house.ledger.database.engine, "before_cursor_execute")
    def _statement(connection, cursor, statement, *_):
        if "next_at <=" in statement and "submissions" in statement:
            claims.append(connection)
            if len(claims) > 1:
                raise sa.exc.OperationalError(statement, {}, ConnectionError("cut"))

    with pytest.raises(LedgerDown):
        submit(house.rt, "finance")
    assert (house.found(out.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])


class TestACommitThatNobodyKnowsOf:
    """The connection is cut at the commit of "begin": it took place, or it did not. Nothing may be sent on it (A1)."""

    @pytest.mark.parametrize(("took_place", "outcomes"), [(True, ["unsent", None]), (False, [None])])
    def test_the_attempt_that_is_sent_is_one_that_was_surely_written(self, house, took_place, outcomes):
        [out] = house.accept(house.command(house.task("jane"), step=1))
        [claimed] = house.ledger.submissions.claim("finance", 10, 30.0)
        look = _look(house, claimed.submission)
        cut(house.ledger, "attempts", took_place=took_place)
        house.rt.stopping.set()  # so that nothing waits between the tries
        begun = settle(house.rt, house.rt.accounts["finance"], [seen(claimed, look)]).begun
        found = [a["outcome"] for a in house.ledger.queries.attempts(out.id)]
        assert (found, [b.attempt.n for b in begun]) == (outcomes, [len(outcomes)])

    @pytest.mark.parametrize("took_place", [True, False])
    def test_it_takes_effect_once(self, house, took_place):
        task = house.task("jane")
        [out] = house.accept(house.command(task, step=1))
        cut(house.ledger, "attempts", took_place=took_place)
        submit(house.rt, "finance")
        house.clock.pass_(30)  # on a slow machine the gate is shut by now, and it is looked at again
        submit(house.rt, "finance")
        assert (house.found(out.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])

    @pytest.mark.parametrize("took_place", [True, False])
    def test_an_answer_in_hand_is_written_when_the_ledger_is_back(self, house, took_place):
        task = house.task("jane")
        [out] = house.accept(house.command(task, step=1))
        cut(house.ledger, "outcomes", took_place=took_place)
        submit(house.rt, "finance")
        assert (house.found(out.id).state, house.effects(task)) == ("applied", [("approve", "jane", 1)])
        assert house.told().count("submission.applied") == 1


def cut(ledger, table, *, took_place):
    """Cut the connection at the commit of the next transaction that writes into *table*, once."""
    writing: list = []

    @sa.event.listens_for(ledger.database.engine, "before_cursor_execute")
    def _statement(connection, cursor, statement, *_):
        if statement.startswith(f"INSERT INTO {table} ") and writing != ["cut"]:
            writing[:] = [connection]

    @sa.event.listens_for(ledger.database.engine, "commit")
    def _commit(connection):
        if writing == [connection]:
            writing[:] = ["cut"]
            connection.exec_driver_sql("COMMIT" if took_place else "ROLLBACK")
            connection.invalidate()
            raise sa.exc.OperationalError("COMMIT", {}, ConnectionError("cut"))


def _look(house, submission):
    """The task, as the upstream shows it to whoever is to act."""
    account = house.rt.accounts["finance"]
    flow = account.connector.look(order_of(submission, account))
    with house.rt.engine.bag() as bag:
        bag.put(0, Errand(flow, account.connector.credentials("jane"), 25.0, lost=Unknown, unsent=Unknown))
        [(_, look)] = bag.take()
    assert isinstance(look, Snapshot)
    return look
