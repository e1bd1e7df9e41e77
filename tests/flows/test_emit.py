"""Events let out in rounds: at most one of a task at a time, in order, and a failure holds back its own task only (C3, C4)."""

from worker.core.delivery import Left, Result
from worker.flows.emit import emit


def applied(house, count=1):
    """*count* tasks with five events each."""
    tasks = [house.task("jane", "bob") for _ in range(count)]
    house.accept(*(house.command(t, step=1) for t in tasks))
    house.submit()
    return tasks


STORY = ["submission.accepted", "response.recorded", "step.completed", "step.opened", "submission.applied"]


def left(house):
    return house.ledger.queries.deliveries()


def test_one_of_each_task_in_each_round(house):
    applied(house, 3)
    assert emit(house.rt, "erp") is False
    assert house.way.batches == [[type_] * 3 for type_ in STORY]
    assert left(house) == [("erp", "delivered", 15)]


def test_nothing_is_let_out_twice(house):
    applied(house)
    emit(house.rt, "erp")
    emit(house.rt, "erp")
    assert house.way.batches == [[type_] for type_ in STORY]


def test_a_failure_holds_back_what_is_behind_it_until_it_has_left(house):
    applied(house)
    house.way.say = {"step.completed": Result(Left.FAILED, "no answer")}
    emit(house.rt, "erp")
    assert (house.way.batches, left(house)) == ([[t] for t in STORY[:3]], [("erp", "delivered", 2), ("erp", "due", 3)])
    house.way.say = {}
    emit(house.rt, "erp")
    assert len(house.way.batches) == 3
    house.clock.pass_(60)
    emit(house.rt, "erp")
    assert house.way.batches[3:] == [[t] for t in STORY[2:]]


def test_no_answer_at_all_counts_as_failed(house):
    applied(house)
    house.way.publish = lambda batch: {}
    emit(house.rt, "erp")
    assert left(house) == [("erp", "due", 5)]


def test_what_nobody_wants_holds_back_nothing(house):
    applied(house)
    house.way.say = {"step.completed": Result(Left.UNBOUND, "no queue")}
    emit(house.rt, "erp")
    assert left(house) == [("erp", "delivered", 4), ("erp", "unbound", 1)]


def test_lanes_are_given_back(house):
    applied(house)
    emit(house.rt, "erp")
    applied(house)
    assert house.ledger.outbox.lease("erp", "another", 60.0) != []
    house.way.batches.clear()
    emit(house.rt, "erp")
    assert house.way.batches == []


def test_a_way_out_that_is_no_more(house):
    assert emit(house.rt, "crm") is False


def test_who_is_stopping_lets_out_no_more(house):
    applied(house)
    house.rt.stopping.set()
    assert (emit(house.rt, "erp"), house.way.batches) == (True, [])
