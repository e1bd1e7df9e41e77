"""An API version that ends is told of once for each mark, however many look and however often they are restarted."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from worker.core.events import Event
from worker.core.pause import Word
from worker.flows.sunset import sunset
from worker.ledger import tables

TYPE = "account.sunset_approaching"


@pytest.fixture
def version():
    """One whose end is published."""
    return "2022-01-01"


def on(house, day):
    house.clock.at = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC).timestamp()
    return int(house.clock() // 3600)


def marks(house):
    return [e["data"]["days_left"] for _, e in house.ledger.queries.events() if e["type"] == TYPE]


def test_it_is_told_once_for_each_mark(house):
    alarms: list[Event] = []
    house.rt.alarm = alarms.append
    for day in ("2026-08-01", "2026-08-04", "2026-10-01", "2026-11-22", "2026-12-24", "2027-01-29", "2027-01-30", "2027-02-02"):
        for process in (house.rt, replace(house.rt, hour=0)):  # another one, and this one after a restart
            sunset(process, on(house, day))
    assert marks(house) == [180, 70, 38, 2, 1, -2]
    assert len(alarms) == 6
    assert ("emit", "erp") in house.rung


def test_a_process_looks_once_an_hour(house):
    hour = on(house, "2026-11-22")
    sunset(house.rt, hour)
    on(house, "2027-01-29")
    sunset(house.rt, hour)
    assert marks(house) == [70]
    sunset(house.rt, hour + 1)
    assert marks(house) == [70, 2]


def test_what_was_told_is_not_told_again_when_its_event_is_pruned(house):
    sunset(house.rt, on(house, "2026-11-22"))
    with house.ledger.database.engine.begin() as c:
        c.execute(sa.delete(tables.deliveries))
        c.execute(sa.delete(tables.events))
    sunset(replace(house.rt, hour=0), on(house, "2026-11-23"))
    assert marks(house) == []


def test_it_leaves_a_pause_as_it_is_and_the_other_way_round(house):
    house.ledger.accounts.pause("finance", "ann", "drill")
    sunset(house.rt, on(house, "2026-11-22"))
    assert house.ledger.accounts.words()["finance"].said == "paused"
    house.ledger.accounts.resume("finance", "ann", "", hold=False)
    sunset(replace(house.rt, hour=0), on(house, "2026-11-23"))
    assert (marks(house), house.ledger.accounts.words()["finance"]) == ([70], Word("resumed", on(house, "2026-11-22") * 3600.0, "ann", ""))


def test_a_version_without_an_end_tells_nothing(house):
    house.speak("2026-01-01")
    sunset(house.rt, on(house, "2027-02-02"))
    assert marks(house) == []


def test_the_account_works_on_after_the_end_as_long_as_the_upstream_answers(house):
    on(house, "2027-02-02")
    assert house.submit(house.task("jane")).state == "applied"
