"""The way out: lanes, order for each task, and what failed (C3, C4)."""

import sqlalchemy as sa

from tests.ledger.make import begin, context, fact, look, many, new, polled, sent
from worker.core.delivery import Filter, Left, Policy, Result
from worker.core.events import sink_disabled
from worker.core.outcomes import Fact, Gone
from worker.ledger import Ledger
from worker.ledger.outbox import LANES, Ages, Pruned, lane_of

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
    assert ledger.outbox.requeue("erp", ["delivered"]) == 2


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
    ledger = Ledger(url, sinks={"all": Filter(), "steps": Filter(("step.*", "task.*")), "none": Filter(())}, clock=clock)
    [one] = begin(ledger, new("k"))
    ledger.submissions.settle([sent(one)], context)
    due = {name: count for name, _, count in ledger.queries.deliveries()}
    told = [e["type"] for _, e in ledger.queries.events()]
    assert due == {"all": len(told), "steps": sum(1 for t in told if t.startswith(("step.", "task.")))}
    assert "step.completed" in told
    ledger.close()


SCHEDULED = Policy((10.0, 20.0), disable_after=100.0)
REFUSED = Result(Left.FAILED, "answered 500", status=500, took=0.25, excerpt="no room")


def off(standing):
    return sink_disabled("/approvals/erp", "erp", standing)


def set_aside(ledger, clock):
    """The oldest due delivery, tried until it is."""
    for _ in range(3):
        [head] = due(ledger, limit=1)
        ledger.outbox.record("erp", {head.position: (head.tries, REFUSED)}, 0.0, SCHEDULED)
        clock.pass_(30)
    return head


def test_what_is_set_aside_holds_back_nothing_and_marks_what_comes_after_it(ledger, clock):
    several(ledger, count=4)
    first = due(ledger, limit=1)
    record(ledger, first, OUT)
    second = set_aside(ledger, clock)
    after = due(ledger)
    assert [d.delivery.body["sequence"] for d in after] == ["3", "4"]
    assert [d.delivery.body.get("setaside") for d in (*first, second, *after)] == [None, None, "2", "2"]
    assert ledger.outbox.requeue("erp") == 1
    assert [(d.delivery.body["sequence"], d.delivery.body.get("setaside")) for d in due(ledger)] == [("2", None), ("3", None), ("4", None)]


def test_every_measured_try_is_kept(ledger, clock):
    several(ledger, count=1)
    event = set_aside(ledger, clock).delivery.event
    [way] = ledger.queries.leavings([event])[event]
    assert (way.sink, way.state, way.tries, way.next_at) == ("erp", "dead", 3, None)
    assert [(t.outcome, t.status, t.took, t.excerpt) for t in way.history] == [
        ("failed", 500, 0.25, "no room"),
        ("failed", 500, 0.25, "no room"),
        ("dead", 500, 0.25, "no room"),
    ]


def test_a_sink_that_is_off_or_paused_lets_out_nothing_and_rings_for_nothing(ledger, clock):
    several(ledger)
    [head] = due(ledger, limit=1)
    ledger.outbox.record("erp", {head.position: (0, Result(Left.FAILED, "busy", 60.0, 429))}, 0.0, SCHEDULED)
    clock.pass_(59)
    assert (due(ledger), ("emit", "erp") in ledger.queries.due()) == ([], False)
    clock.pass_(2)
    assert (len(due(ledger)), ("emit", "erp") in ledger.queries.due()) == (3, True)
    assert [ledger.outbox.disable("erp", "by jane"), ledger.outbox.disable("erp", "by bob")] == [True, False]
    assert (due(ledger), ("emit", "erp") in ledger.queries.due()) == ([], False)
    assert ledger.outbox.standings()["erp"].off == "by jane"
    assert ledger.outbox.enable("erp") == 3
    assert len(due(ledger)) == 3


def test_enabling_lets_out_at_once_what_waited_for_its_next_try(ledger, clock):
    several(ledger, count=1)
    [head] = due(ledger)
    ledger.outbox.record("erp", {head.position: (0, REFUSED)}, 0.0, SCHEDULED)
    assert due(ledger) == []
    ledger.outbox.enable("erp")
    assert [d.tries for d in due(ledger)] == [0]


def test_whoever_shuts_a_sink_off_tells_the_others_once(url, clock):
    ledger = Ledger(url, sinks=("erp", "crm"), clock=clock)
    several(ledger, count=2)
    gone = Result(Left.FAILED, "answered 410", status=410)
    told = [ledger.outbox.record("erp", {d.position: (0, gone)}, 0.0, SCHEDULED, off) for d in due(ledger)]
    assert [e and e.type for e in told] == ["sink.disabled", None]
    out = ledger.outbox.due("crm", ledger.outbox.lease("crm", "a", 60.0), 10)
    assert [d.delivery.body["type"] for d in out].count("sink.disabled") == 1
    ledger.outbox.enable("erp")
    assert "sink.disabled" not in [d.delivery.body["type"] for d in due(ledger)]
    ledger.close()


def test_two_processes_share_one_rate(ledger, other, clock):
    """A second that nobody used may be made up for, and no more."""
    assert [ledger.outbox.allow("erp", 9, 10.0), other.outbox.allow("erp", 9, 10.0), ledger.outbox.allow("erp", 9, 10.0)] == [9, 1, 0]
    clock.pass_(0.35)
    assert [other.outbox.allow("erp", 9, 10.0), ledger.outbox.allow("erp", 9, 10.0)] == [3, 0]
    clock.pass_(3600)
    assert ledger.outbox.allow("erp", 99, 10.0) == 10


def test_a_rate_below_one_a_second(ledger, clock):
    counts = []
    for _ in range(8):
        counts.append(ledger.outbox.allow("erp", 5, 0.5))
        clock.pass_(1)
    assert counts == [1, 0, 1, 0, 1, 0, 1, 0]


def test_one_event_or_a_range_is_sent_again(ledger, clock):
    several(ledger, count=1, task="T")
    clock.pass_(100)
    several(ledger, count=1, task="U")
    clock.pass_(100)
    several(ledger, count=1, task="V")
    all_ = due(ledger)
    record(ledger, all_, OUT)
    now = clock()
    assert ledger.outbox.requeue("erp", ["delivered"], since=now - 150, until=now - 50) == 1
    assert [d.task for d in due(ledger)] == ["U"]
    assert ledger.outbox.requeue("erp", ["delivered"], event=all_[0].delivery.event) == 1
    assert [d.task for d in due(ledger)] == ["T", "U"]
    assert ledger.outbox.requeue("erp", ["delivered"], event="nothing") == 0


def test_what_is_old_is_forgotten_by_class_and_what_is_due_stays(ledger, clock):
    several(ledger, count=2, task="T")
    several(ledger, count=1, task="U")
    measured = Result(Left.DELIVERED, "answered 204", status=204, took=0.1)
    first, second, _ = due(ledger)
    record(ledger, [first], measured)
    record(ledger, [second], Result(Left.UNBOUND, "no queue"))
    clock.pass_(100)
    assert ledger.outbox.prune(Ages(200, 200, 200)) == Pruned()
    assert ledger.outbox.prune(Ages(50, 200, 200)) == Pruned(tries=1)
    assert ledger.outbox.prune(Ages(50, 50, 200)) == Pruned(deliveries=1)
    assert told(ledger) == [("erp", "due", 1), ("erp", "unbound", 1)]
    assert ledger.outbox.prune(Ages(50, 50, 50), chunk=1) == Pruned(deliveries=1, events=2)
    assert told(ledger) == [("erp", "due", 1)]
    assert [d.task for d in due(ledger)] == ["U"]
    several(ledger, count=3, task="T")
    assert [d.delivery.body["sequence"] for d in due(ledger) if d.task == "T"] == ["3"]


def test_what_stands_behind_one_that_waits_rings_for_nothing_until_then(ledger, clock):
    """A dead endpoint with a long backlog must not be looked through again each second."""
    several(ledger, count=3)
    [head] = due(ledger, limit=1)
    ledger.outbox.record("erp", {head.position: (0, REFUSED)}, 0.0, SCHEDULED)
    assert due(ledger, limit=1) == []
    assert ("emit", "erp") not in ledger.queries.due()
    clock.pass_(11)
    assert ("emit", "erp") in ledger.queries.due()
    assert [d.delivery.body["sequence"] for d in due(ledger)] == ["1", "2", "3"]


def test_one_that_is_free_is_found_behind_many_that_wait(ledger, clock):
    several(ledger, count=30, task="T")
    [head] = due(ledger, limit=1)
    ledger.outbox.record("erp", {head.position: (0, REFUSED)}, 0.0, SCHEDULED)
    several(ledger, count=1, task="U")
    assert [d.task for d in due(ledger, limit=2)] == ["U"]


def test_what_waits_is_not_read_again_for_each_task_before_any_statistics(postgres_url):
    """PostgreSQL plans by what ANALYZE has counted. Where it has not been yet, right after a burst, every index looks as good."""
    book = Ledger(postgres_url, sinks=("erp",))
    book.migrate()
    with book.database.engine.begin() as c:
        for each in BURST:
            c.execute(sa.text(each))
    asked = []
    sa.event.listen(book.database.engine, "before_cursor_execute", lambda _c, _k, statement, given, *_: asked.append((statement, given)))
    found = due(book)
    looked = [looked_at(book, *each) for each in asked if each[0].startswith("SELECT") and "FROM deliveries" in each[0]]
    book.close()
    assert [d.position for d in found] == [*range(1, 2000, 2)]
    assert sum(looked) < 10 * 4000, looked


EVENTS = """
INSERT INTO events (id, realm, task, sequence, type, source, at, body)
SELECT n, repeat('r', 200), 'T' || n % 1000, n / 1000 + 1, 'step.opened', '/workiva/finance', 1.0, '{}' FROM generate_series(0, 3999) n
"""
DELIVERIES = """
INSERT INTO deliveries (sink, position, realm, task, lane, state, tries, next_at)
SELECT 'erp', position, realm, task, 0, 'due', 0, CASE position % 2 WHEN 0 THEN 1e12 ELSE 1.0 END FROM events
"""
BURST = ("ALTER TABLE deliveries SET (autovacuum_enabled = false)", EVENTS, DELIVERIES)
"""4,000 events of 1,000 tasks; all those of every other task wait."""


def looked_at(book, statement, given):
    """Rows that PostgreSQL looks at to answer."""
    with book.database.engine.connect() as c:
        [plan] = c.connection.dbapi_connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given).fetchone()

    def rows(node):
        scan = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] if "Relation Name" in node else 0
        return scan + sum(rows(each) for each in node.get("Plans", ()))

    return rows(plan[0]["Plan"])
