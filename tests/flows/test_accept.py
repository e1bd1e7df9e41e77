"""What is asked for, checked before it is a submission: what is wrong is told at once, what is unclear is asked about once."""

import pytest

from tests.flows.house import UPSTREAMS
from worker.core.pins import pin_of
from worker.core.task import Snapshot, Step
from worker.flows.accept import Accepted, Conflict, Existing, Rejected

pytestmark = pytest.mark.parametrize("upstream", UPSTREAMS)

ACTIONS = {"workiva": "approve, cancel, reject, restart, skip, submit", "autodesk": "approve, close, reject, transition"}


def unclear(house, task, says="say pin or step: the task has 2 steps"):
    """Why a command for a task of two steps says too little."""
    first, second = house.people(task)
    return f"{says}. step 1: {first} ACTIVE; step 2: {second}"


def pin(house, task, step=1):
    look = Snapshot(task, "", "", awaiting=True, done=False, steps=(Step(("jane",), "one"), Step(("bob",), "one")))
    return pin_of(house.rt.accounts["finance"].connector.realm, look, step).token()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"account": "tower"}, "unknown account 'tower': the settings have finance"),
        ({"grant": "mallory"}, "unknown grant 'mallory': account finance has bob, jane"),
        ({"grant": ""}, "say which grant with `as`: account finance has bob, jane"),
        ({"action": "nod"}, "unknown action 'nod': {kind} has {actions}"),
        ({"pin": "nonsense"}, "pin: not a pin: copy it whole from an event or from `approvals task show`"),
    ],
)
def test_what_is_wrong_is_told(house, wrong, reason):
    assert house.accept(house.command("T", **wrong)) == [Rejected(reason.format(kind=house.kind, actions=ACTIONS[house.kind]))]
    assert (house.rung, house.requests()) == ([], {})


def test_a_pin_is_for_its_task_and_its_step(house):
    [elsewhere, disagrees, fits] = house.accept(
        house.command("T", pin=pin(house, "U")),
        house.command("T", pin=pin(house, "T"), step=2),
        house.command("T", pin=pin(house, "T", 2), step=2),
    )
    assert elsewhere == Rejected("pin: the pin was made for another task")
    assert disagrees == Rejected("pin and step disagree: the pin is for step 1, step says 2")
    assert isinstance(fits, Accepted)


def test_accepted_is_rung_for_and_so_is_its_event(house):
    out = house.accept(house.command("T", step=1), house.command("U", step=1))
    assert [type(o) for o in out] == [Accepted, Accepted]
    assert (house.rung, house.requests()) == ([("submit", "finance"), ("emit", "erp")], {})


def test_the_same_key_is_the_same_submission(house):
    [first] = house.accept(house.command("T", step=1))
    house.rung.clear()
    [again, other] = house.accept(house.command("T", step=1), house.command("T", step=2))
    assert again == Existing(first.id, "k-T", "pending", house.clock())
    assert other == Conflict(first.id, "k-T", f"key 'k-T' was used with other content by {first.id} (pending)")
    assert house.rung == []


def test_not_after_is_a_week_from_when_it_was_issued_or_may_begin(house):
    now = house.clock()
    a, b, c = house.accept(
        house.command("T", step=1), house.command("U", step=1, not_before=now + 60), house.command("V", step=1, not_after=now + 5)
    )
    week = 7 * 86_400
    assert [house.found(o.id).command["not_after"] for o in (a, b, c)] == [now + week, now + 60 + week, now + 5]


class TestWithoutPinOrStep:
    def test_a_task_of_one_step_is_clear(self, house):
        [out] = house.accept(house.command(house.task("jane")))
        assert isinstance(out, Accepted)
        assert house.requests() == {"read": house.reads}

    def test_a_task_of_two_is_refused_and_the_steps_are_listed(self, house):
        task = house.task("jane", "bob")
        assert house.accept(house.command(task)) == [Rejected(unclear(house, task))]

    def test_what_the_ledger_knows_is_not_asked_again(self, house):
        one, two = house.task("jane"), house.task("jane", "bob")
        for task in (one, two):
            house.ledger.watches.add("finance", task, 60.0)
        house.poll()
        before = house.requests()
        out = house.accept(house.command(one), house.command(two))
        assert ([type(out[0]), out[1]], house.requests()) == ([Accepted, Rejected(unclear(house, two))], before)

    def test_where_nobody_can_tell_the_first_look_will(self, house):
        task = house.task("jane", "bob")
        house.sandbox.fault("read", "status", status=503)
        [out] = house.accept(house.command(task))
        assert isinstance(out, Accepted)
        house.submit()
        found = house.found(out.id)
        says = "the task has 2 steps: say which one with `pin` or `step`"
        assert (found.state, found.reason) == ("refused", unclear(house, task, says))
        assert house.effects(task) == []

    def test_a_repeat_is_the_one_that_stands_whatever_the_task_looks_like_now(self, house):
        task = house.task("jane", "bob")
        house.sandbox.fault("read", "status", status=503)
        [first] = house.accept(house.command(task))
        before = house.requests()
        [again] = house.accept(house.command(task))
        assert (type(again), again.id, house.requests()) == (Existing, first.id, before)

    def test_one_unclear_command_holds_back_none_of_its_batch(self, house):
        out = house.accept(house.command("T", step=1), house.command(house.task("jane", "bob")), house.command("V", **house.whole))
        assert [type(o) for o in out] == [Accepted, Rejected, Accepted]

    def test_of_one_key_the_first_wins_also_where_it_is_the_unclear_one(self, house):
        """PROTOCOL D. A clear command does not overtake an unclear one of its key while that one is asked about."""
        [first, second] = house.accept(house.command(house.task("jane"), key="k"), house.command("T", key="k", step=1))
        assert (type(first), type(second)) == (Accepted, Conflict)
