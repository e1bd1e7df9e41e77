"""The same key is the same submission (A16)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

from tests.ledger.make import NOW, many, new, state


def test_a_new_key_is_a_submission(ledger):
    [one] = ledger.submissions.accept([new("po-1")])
    assert (one.mine, one.same, one.state, one.accepted_at, one.key) == (True, True, "pending", NOW, "po-1")
    [listed] = ledger.queries.find("po-1")
    assert (one.id, "finance", "T", "approve", NOW) == (listed.id, listed.account, listed.task, listed.action, listed.next_at)


def test_the_same_key_with_the_same_content_is_the_one_that_stands(ledger, clock):
    [first] = ledger.submissions.accept([new("po-1")])
    clock.pass_(60)
    [again] = ledger.submissions.accept([new("po-1", issued_at=NOW + 60)])
    assert (first.id, False, True, NOW) == (again.id, again.mine, again.same, again.accepted_at)
    assert len(ledger.queries.events()) == 1


def test_the_default_of_not_after_is_no_content(ledger):
    """A repeat tomorrow has another default, and is the same."""
    bare = replace(new("po-1", not_after=None), not_after=NOW + 10)
    [first] = ledger.submissions.accept([bare])
    [again] = ledger.submissions.accept([replace(bare, not_after=NOW + 20)])
    assert (first.id, True) == (again.id, again.same)
    assert ledger.queries.find("po-1")[0].command["not_after"] == NOW + 10


def test_the_same_key_with_other_content_is_told_and_changes_nothing(ledger):
    [first] = ledger.submissions.accept([new("po-1")])
    [other] = ledger.submissions.accept([new("po-1", action="reject")])
    assert (first.id, False, False) == (other.id, other.mine, other.same)
    assert ledger.queries.find("po-1")[0].action == "approve"


def test_of_one_key_in_one_batch_the_first_wins(ledger):
    a, b, c, d = ledger.submissions.accept([new("k"), new("k"), new("k", action="reject"), new("other", task="U")])
    assert [a.mine, b.mine, c.mine, d.mine] == [True, False, False, True]
    assert [a.same, b.same, c.same, d.same] == [True, True, False, True]
    assert len({a.id, b.id, c.id}) == 1


def test_a_key_belongs_to_its_account(ledger):
    a, b = ledger.submissions.accept([new("k"), new("k", account="tower")])
    assert a.mine
    assert b.mine
    assert a.id != b.id


def test_the_same_keys_from_two_connections_at_once(ledger, other):
    """One of the two makes each, whichever comes first, and both are told the same id."""
    batch = many(50, task="T")
    start = Barrier(2)

    def accept(through, items):
        start.wait()
        return {s.key: s for s in through.submissions.accept(items)}

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(accept, (ledger, other), (batch, batch[::-1]))
    assert {k: s.id for k, s in one.items()} == {k: s.id for k, s in two.items()}
    assert all(one[k].mine != two[k].mine for k in one)
    assert list(range(1, 51)) == [int(e["sequence"]) for _, e in ledger.queries.events()]


def test_a_batch_larger_than_any_parameter_list(ledger):
    assert all(s.mine for s in ledger.submissions.accept(many(2500)))


def test_what_is_not_before_is_not_due(ledger, clock):
    ledger.submissions.accept([new("k", not_before=NOW + 60)])
    assert ledger.submissions.claim("finance", 10, 30) == []
    clock.pass_(60)
    assert len(ledger.submissions.claim("finance", 10, 30)) == 1
    assert state(ledger, "k") == "pending"


def test_names_as_long_as_the_wire_takes_them(ledger):
    [one] = ledger.submissions.accept([new("k" * 255, task="t" * 512)])
    assert one.mine


def test_taken_names_those_that_stand(ledger):
    ledger.submissions.accept([new("a")])
    assert {("finance", "a")} == ledger.submissions.taken({("finance", "a"), ("finance", "b"), ("tower", "a")})
    assert set() == ledger.submissions.taken(set())
