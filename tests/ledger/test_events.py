"""Events: born with the state they tell of, once, in order, with the head of their submission's evidence (C1 to C3, A18)."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.ledger.make import NOW, begin, context, fact, look, many, new, polled, sent
from worker.core.evidence import verify
from worker.core.task import Response
from worker.ledger import tables


def sequences(ledger):
    out = defaultdict(list)
    for _, e in ledger.queries.events(limit=100_000):
        out[e["subject"]].append(int(e["sequence"]))
    return out


def test_the_sequence_of_a_task_has_no_gaps(ledger):
    begun = begin(ledger, *many(5))
    ledger.submissions.settle([sent(b) for b in begun], context)
    assert set(map(tuple, sequences(ledger).values())) == {(1, 2, 3, 4, 5)}


def test_two_writers_that_race_leave_no_gap(ledger, other):
    """Accepting takes a sequence, and so does a poll's look. Both race for the same rows."""
    ledger.submissions.accept(many(8, prefix="a"))
    tasks = [f"a-T{i:04}" for i in range(8)]
    ledger.submissions.settle([polled(look(t), 0) for t in tasks], context)

    def polls(_):
        for n in range(1, 11):
            answered = [Response("bob", "approve", NOW + 10 * i, f"{i}") for i in range(1, n + 1)]
            ledger.submissions.settle([polled(look(t, second=answered, at=10 * n), n) for t in tasks], context)

    def accepts(_):
        for n in range(10):
            other.submissions.accept([new(f"b{n}-{t}", task=t) for t in reversed(tasks)])

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(polls, 0), threads.submit(accepts, 0)]:
            done.result()
    assert {t: len(s) for t, s in sequences(ledger).items()} == dict.fromkeys(tasks, 1 + 10 + 10 + 1)
    assert all(s == list(range(1, len(s) + 1)) for s in sequences(ledger).values())


def test_a_fact_is_told_once(ledger, other):
    ledger.outbox.tell([fact("a"), fact("b"), fact("a")])
    other.outbox.tell([fact("b"), fact("c")])
    assert [e["data"]["reason"] for _, e in ledger.queries.events()] == ["a", "b", "c"]
    assert ledger.queries.deliveries() == [("erp", "due", 3)]


def test_what_is_not_committed_is_not_told(ledger):
    with pytest.raises(ZeroDivisionError):
        ledger.database.write(lambda c: ledger.submissions._accept(c, [new()]) and 1 / 0)
    assert (ledger.queries.events(), ledger.queries.listed()) == ([], [])


def test_every_event_of_a_submission_carries_the_head_of_its_chain(ledger):
    [begun] = begin(ledger, new())
    ledger.submissions.settle([sent(begun)], context)
    links, fault = ledger.queries.story(begun.submission.id)
    heads = [e["data"]["evidence"] for _, e in ledger.queries.events() if e["type"].startswith("submission.")]
    assert (fault, heads) == (None, [links[0].digest, links[-1].digest])
    assert [link.kind for link in links] == ["accepted", "attempt", "answer", "state"]


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        ("UPDATE evidence SET at = at + 1 WHERE n = 2", "link 2 (attempt) was changed"),
        ("UPDATE evidence SET kind = 'other' WHERE n = 1", "link 1 (other) was changed"),
        ("UPDATE evidence SET private = '{}' WHERE n = 1", "link 1 (accepted): its private part was changed"),
        ("DELETE FROM evidence WHERE n = 2", "link 2 is missing"),
        ("DELETE FROM evidence WHERE n = 4", "the chain does not end where the submission's row says"),
    ],
)
def test_tampering_is_found(ledger, tamper, told):
    [begun] = begin(ledger, new(comment="fine"))
    ledger.submissions.settle([sent(begun)], context)
    ledger.database.write(lambda c: c.execute(sa.text(tamper)))
    assert told in (ledger.queries.story(begun.submission.id)[1] or "")


def test_what_is_private_can_be_emptied_and_the_chain_still_holds(ledger):
    [begun] = begin(ledger, new(comment="fine"))
    ledger.database.write(lambda c: c.execute(sa.update(tables.evidence).values(private=sa.null(), salt=None)))
    links, fault = ledger.queries.story(begun.submission.id)
    assert (fault, verify(links), {link.private for link in links}) == (None, None, {None})


def test_a_restart_is_told_and_round_is_information(ledger):
    ledger.submissions.accept([new()])
    answered = look(first=[Response("jane", "approve", NOW + 1, "x")], at=1)
    for version, shown in enumerate([look(), answered, look(at=2)]):
        ledger.submissions.settle([polled(shown, version)], context)
    told = [(e["type"], e["data"].get("round")) for _, e in ledger.queries.events()][1:]
    assert told == [("response.recorded", 1), ("step.completed", 1), ("step.opened", 1), ("step.opened", 2), ("task.restarted", 2)]


def test_events_are_listed_by_account_and_nothing_else(ledger):
    """An underscore in a name is no wildcard."""
    ledger.outbox.tell([fact("a", source="/workiva/a_b"), fact("b", source="/workiva/axb")])
    assert [e["data"]["reason"] for _, e in ledger.queries.events(account="a_b")] == ["a"]
