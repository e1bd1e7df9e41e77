"""The way out: lanes, order for each task, and what failed (C3, C4)."""

from tests.ledger.make import begin, context, fact, look, many, new, polled, sent
from worker.core.delivery import Left, Result
from worker.core.outcomes import Fact, Gone
from worker.ledger import Ledger
from worker.ledger.outbox import LANES, lane_of

OUT, NOBODY, LOST = Result(Left.DELIVERED), Result(Left.UNBOUND, "no queue"), Result(Left.FAILED, "no answer")


def due(ledger, holder="a", limit=1000):
    return ledger.outbox.due("erp", ledger.outbox.lease("erp", holder, 60.0), limit)


def record(ledger, deliveries, result):
    ledger.outbox.record("erp", {d.position: (d.tries, result) for d in deliveries}, 0.0)


def told(ledger):
    return ledger.queries.deliveries()


def several(ledger, count=3, task="T"):
    """*count* events of one task."""
    ledger.submissions.accept([new(f"{task}-{n}", task=task) for n in range(count)])


def test_an_event_is_due_for_every_sink_and_leaves_each_by_itself(url, clock):
    ledger = Ledger(url, sinks=("erp", "crm"), clock=clock)
    ledger.submissions.accept([new()])
    record(ledger, due(ledger), OUT)
    assert told(ledger) == [("crm", "due", 1), ("erp", "delivered", 1)]
    assert ledger.queries.due() == [("emit", "crm"), ("submit", "finance")]
    ledger.close()


def test_a_sink_that_comes_later_gets_what_is_written_from_then_on(url, clock):
    before, after = Ledger(url, clock=clock), Ledger(url, sinks=("erp",), clock=clock)
    before.submissions.accept([new("k1")])
    after.submissions.accept([new("k2")])
    assert [d.delivery.body["data"]["submission"]["key"] for d in due(after)] == ["k2"]
    before.close()
    after.close()


def test_a_delivery_is_the_cloudevent_and_its_routing_key(ledger):
    ledger.submissions.accept([new("po-1")])
    [one] = due(ledger)
    assert (one.delivery.routing_key, one.delivery.body["type"]) == ("workiva.finance.submission.accepted", "submission.accepted")
    assert (one.delivery.event, one.delivery.body["sequence"]) == (one.delivery.body["id"], "1")


def test_two_relays_lease_different_lanes(ledger, other):
    ledger.submissions.accept(many(200))
    one = ledger.outbox.lease("erp", "a", 60.0)
    ledger.submissions.accept(many(200, prefix="more"))
    two = other.outbox.lease("erp", "b", 60.0)
    assert not set(one) & set(two)
    assert set(one) | set(two) == set(range(LANES))
    assert set(ledger.outbox.lease("erp", "a", 60.0)) == set(one)


def test_a_lane_is_taken_over_when_its_lease_ends_or_it_is_given_back(ledger, clock):
    several(ledger)
    [lane] = ledger.outbox.lease("erp", "a", 60.0)
    assert lane == lane_of("workiva:api.example.com", "T")
    assert ledger.outbox.lease("erp", "b", 60.0) == []
    clock.pass_(60)
    assert ledger.outbox.lease("erp", "b", 60.0) == [lane]
    ledger.outbox.release("erp", "a")
    assert ledger.outbox.lease("erp", "a", 60.0) == []
    ledger.outbox.release("erp", "b")
    assert ledger.outbox.lease("erp", "a", 60.0) == [lane]


def test_a_failed_head_holds_back_its_own_task_and_no_other(ledger, clock):
    several(ledger, task="T")
    several(ledger, task="U")
    record(ledger, [d for d in due(ledger) if d.task == "T"][:1], LOST)
    assert [d.task for d in due(ledger)] == ["U"] * 3
    clock.pass_(30)
    assert [d.delivery.body["sequence"] for d in due(ledger) if d.task == "T"] == ["1", "2", "3"]


def test_a_later_event_never_overtakes(ledger, clock):
    """However many fail, and however short a batch is, what is due of a task begins with its oldest."""
    several(ledger)
    for _ in range(5):
        head = due(ledger, limit=1)
        assert [d.delivery.body["sequence"] for d in head] == ["1"]
        record(ledger, head, LOST)
        several(ledger, task="U", count=1)
        assert [d.task for d in due(ledger)] in ([], ["U"])
        clock.pass_(3600)


def test_events_of_no_task_wait_for_none(ledger):
    ledger.outbox.tell([fact("a"), fact("b"), fact("c")])
    record(ledger, due(ledger)[:1], LOST)
    assert [d.delivery.body["data"]["reason"] for d in due(ledger)] == ["b", "c"]


def test_what_failed_waits_longer_each_time_and_no_less_than_it_is_asked_to(ledger, clock):
    several(ledger, count=1)
    waits = []
    for _ in range(4):
        [one] = due(ledger)
        record(ledger, [one], LOST)
        waits.append(_until_due(ledger, clock))
    record(ledger, due(ledger), Result(Left.FAILED, "busy", retry_after=120.0))
    assert (waits, _until_due(ledger, clock)) == ([1, 1, 2, 4], 120)


def _until_due(ledger, clock):
    seconds = 0
    while not due(ledger):
        clock.pass_(1)
        seconds += 1
    return seconds


def test_what_nobody_wanted_is_marked_holds_back_nothing_and_can_be_sent_again(ledger, clock):
    several(ledger)
    first, *rest = due(ledger)
    record(ledger, [first], NOBODY)
    assert [d.position for d in due(ledger)] == [d.position for d in rest]
    record(ledger, rest, OUT)
    clock.pass_(10)
    assert (ledger.outbox.requeue("erp", since=clock()), ledger.outbox.requeue("erp")) == (0, 1)
    assert [d.delivery.event for d in due(ledger)] == [first.delivery.event]
    assert ledger.outbox.requeue("erp", state="delivered") == 2


def test_a_relay_that_lost_its_lane_does_not_call_back_what_has_left(ledger, other, clock):
    several(ledger)
    slow = due(ledger, "a")
    clock.pass_(60)
    record(other, due(other, "b"), OUT)
    record(ledger, slow, LOST)
    assert told(ledger) == [("erp", "delivered", 3)]


def test_the_order_in_one_transaction_is_response_step_task_submission(ledger):
    several(ledger, count=1)
    ledger.submissions.settle([polled(look(), 0)], lambda s: None)
    gone = polled(look(), 1)
    ledger.submissions.settle([type(gone)(gone.realm, gone.task, 1, Gone(Fact("answer", 404)))], lambda s: None)
    assert [d.delivery.body["type"] for d in due(ledger)] == ["submission.accepted", "task.gone"]


def test_a_sink_lets_out_what_its_globs_name(url, clock):
    """What no sink wants is still in the ledger."""
    ledger = Ledger(url, sinks={"all": ("*",), "steps": ("step.*", "task.*"), "none": ()}, clock=clock)
    [one] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(one)], context)
    due = {name: count for name, _, count in ledger.queries.deliveries()}
    told = [e["type"] for _, e in ledger.queries.events()]
    assert due == {"all": len(told), "steps": sum(1 for t in told if t.startswith(("step.", "task.")))}
    assert "step.completed" in told
    ledger.close()
