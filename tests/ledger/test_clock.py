"""The ledger's clock (A4): a lease must not end sooner because somebody set a clock."""

import time

import pytest

from tests.ledger.make import new
from worker.ledger import Ledger
from worker.ledger.database import Database, Machine


class Set(Machine):
    """A machine whose clocks are set by hand."""

    def __init__(self):
        self.name, self.up, self.hand = "first", 1000.0, 1_700_000_000.0

    def boot(self):
        return self.name, self.up

    def wall(self):
        return self.hand

    def opened(self, path):
        return Ledger(f"sqlite:///{path}", machine=self)


@pytest.fixture
def machine():
    return Set()


@pytest.fixture
def path(tmp_path, migrated_file):
    (tmp_path / "ledger.db").write_bytes(migrated_file.read_bytes())
    return tmp_path / "ledger.db"


def accepted_at(ledger, key):
    [one] = ledger.submissions.accept([new(key, task=key)])
    return one.accepted_at


def test_it_begins_with_the_wall_clock_and_then_goes_with_the_boot_clock(machine, path):
    ledger = machine.opened(path)
    assert accepted_at(ledger, "a") == 1_700_000_000.0
    machine.up += 10
    assert (accepted_at(ledger, "b"), ledger.queries.now()) == (1_700_000_010.0, 1_700_000_010.0)


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_wall_clock_that_is_set_does_not_move_it(machine, path, jump):
    accepted_at(machine.opened(path), "a")
    machine.hand += jump
    machine.up += 10
    assert accepted_at(machine.opened(path), "b") == 1_700_000_010.0


def test_after_a_restart_of_the_machine_it_is_the_wall_clock_again(machine, path):
    accepted_at(machine.opened(path), "a")
    machine.name, machine.up, machine.hand = "second", 5.0, 1_700_000_060.0
    assert accepted_at(machine.opened(path), "b") == 1_700_000_060.0


def test_a_restart_with_a_wrong_wall_clock_does_not_go_behind_what_was_written(machine, path):
    accepted_at(machine.opened(path), "a")
    machine.name, machine.up, machine.hand = "second", 5.0, 1_600_000_000.0
    assert accepted_at(machine.opened(path), "b") == 1_700_000_000.0
    machine.up += 1
    assert accepted_at(machine.opened(path), "c") == 1_700_000_001.0


def test_a_question_anchors_nothing(machine, path):
    """Else two processes that only asked would go by two clocks."""
    asked, wrote = machine.opened(path), machine.opened(path)
    assert asked.queries.now() == 1_700_000_000.0
    machine.hand += 500
    accepted_at(wrote, "a")
    assert asked.queries.now() == wrote.queries.now() == 1_700_000_500.0


def test_what_is_rolled_back_anchors_nothing(machine, path):
    one, other = machine.opened(path), machine.opened(path)
    with pytest.raises(ZeroDivisionError):
        one.database.write(lambda c: one.database.now(c) and 1 / 0)
    machine.hand += 500
    accepted_at(other, "a")
    assert one.queries.now() == other.queries.now()


def test_the_machines_own_clock(own):
    """Within a minute of this machine's: the server's where there is one."""
    assert abs(own.queries.now() - time.time()) < 60
    assert own.queries.now() <= own.queries.now()


def test_postgresql_tells_the_time_of_the_question_and_not_of_the_transaction(migrated_database):
    database = Database(migrated_database)
    with database.read() as c:
        first, second = database.now(c), database.now(c)
    assert first < second
    database.close()
