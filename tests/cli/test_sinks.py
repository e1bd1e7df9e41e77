"""Ways out as an operator sees them: listed, tried, shut off, let go on, sent again, and each try with its answer."""

import pytest

from tests.sinks.receiver import FINE, receiving
from tests.test_settings import WHSEC
from worker import bootstrap
from worker.flows.emit import emit
from worker.settings import load


@pytest.fixture
def receiver(desk):
    """What the sink `erp` leads to."""
    with receiving() as made:
        text = f"""
[sinks.exchange]
[sinks.erp]
kind = "webhook"
url = "{made.url}?key=hunter2"
allow_http = true
allow = ["127.0.0.1"]
secrets = ["{WHSEC}"]
events = ["submission.*"]
schedule = []
"""
        desk.config.write_text(desk.config.read_text() + text)
        yield made


def let_out(desk, name="erp"):
    rt = bootstrap.runtime(load(desk.config))
    try:
        emit(rt, name)
    finally:
        bootstrap.close(rt)


def row(desk, name="erp"):
    [found] = [r for r in desk.lines("sink", "list") if r["name"] == name]
    return found


def test_a_webhook_is_listed_without_what_its_address_hides(desk, receiver):
    desk.submit(desk.task())
    assert row(desk) == {
        "name": "erp",
        "kind": "webhook",
        "to": receiver.url + "?********",
        "state": "on",
        "due": 1,
        "delivered": 0,
        "unbound": 0,
        "dead": 0,
    }
    shown = desk("sink", "list").output + desk("config").output + desk("doctor").output
    assert "hunter2" not in shown
    assert WHSEC not in shown


def test_what_was_set_aside_is_listed_shown_with_its_answer_and_sent_again(desk, receiver):
    receiver.answer = lambda call: (422, {}, b"unknown po")
    desk.submit(desk.task())
    let_out(desk)
    assert (row(desk)["dead"], row(desk)["due"]) == (1, 0)
    assert "failing since" in row(desk)["state"]
    found = {f["check"]: f for f in desk.lines("doctor")}["sink erp"]
    assert found["verdict"] == "WARN"
    [event] = desk.lines("event", "list")
    about = desk.json("event", "show", event["id"])
    [way] = [d for d in about["deliveries"] if d["sink"] == "erp"]
    assert (about["event"], way["state"]) == (event, "dead")
    assert [(t["status"], t["detail"], t["excerpt"]) for t in way["history"]] == [(422, "answered 422", "unknown po")]
    assert "answered 422: unknown po" in desk("event", "show", event["id"]).stdout
    assert f"erp dead, exchange due\t{event['id']}" in desk("event", "list").stdout
    receiver.answer = lambda call: FINE
    assert desk.json("sink", "replay", "erp", "--missing") == {"sink": "erp", "replayed": 1}
    let_out(desk)
    assert (row(desk)["delivered"], row(desk)["state"]) == (1, "on")
    assert desk.json("sink", "replay", "erp", "--event", event["id"]) == {"sink": "erp", "replayed": 1}
    assert desk.json("sink", "replay", "erp", "--since", "2h", "--until", "1h") == {"sink": "erp", "replayed": 0}


def test_a_sink_is_shut_off_and_let_go_on(desk, receiver):
    assert desk.json("sink", "disable", "erp", "--note", "the ERP moves") == {"sink": "erp", "changed": True}
    desk.submit(desk.task())
    let_out(desk)
    assert receiver.calls == []
    assert "the ERP moves" in row(desk)["state"]
    assert desk("doctor").exit_code == 1
    assert desk.json("sink", "enable", "erp") == {"sink": "erp", "due": 1}
    let_out(desk)
    assert [c.signed_by(WHSEC)["type"] for c in receiver.calls] == ["submission.accepted"]
    desk("sink", "disable", "erp")
    told = desk("sink", "replay", "erp", "--since", "1h").stdout
    assert "1 event will leave by erp again, after `approvals sink enable erp`" in told
    assert "1 event waited" in desk("sink", "enable", "erp").stdout


def test_a_sink_is_tried_with_an_event_that_is_in_no_ledger(desk, receiver):
    told = desk.json("sink", "test", "erp")
    assert (told["result"], told["status"]) == ("delivered", 204)
    [call] = receiver.calls
    assert call.signed_by(WHSEC)["type"] == "sink.test"
    assert (call.event.get_source(), call.event.get_id()) == ("/approvals/erp", told["event"])
    assert desk.lines("event", "list") == []
    receiver.answer = lambda call: (500, {}, b"oh no")
    result = desk("sink", "test", "erp")
    assert result.exit_code == 1
    assert "answered 500" in result.stderr
    assert "oh no" in result.stdout


def test_the_exchange_is_tried_too_and_says_that_nobody_listens(desk, receiver):
    result = desk("sink", "test", "exchange")
    assert (result.exit_code, "no queue is bound" in result.stderr) == (1, True)


def test_an_address_that_may_not_be_called_is_told_in_words(desk, receiver):
    desk.config.write_text(desk.config.read_text().replace('allow = ["127.0.0.1"]', ""))
    result = desk("sink", "test", "erp")
    assert result.exit_code == 1
    assert "refused: 127.0.0.1 is this machine" in result.stderr
    assert receiver.calls == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, ["sink", "replay", "erp", "--event", "e", "--missing"]),
        (2, ["sink", "replay", "erp", "--until", "1h"]),
        (4, ["sink", "replay", "erp", "--event", "nothing"]),
        (4, ["event", "show", "nothing"]),
        (2, ["sink", "test", "nowhere"]),
        (2, ["sink", "enable", "nowhere"]),
        (2, ["sink", "disable", "nowhere"]),
    ],
)
def test_exit_statuses(desk, receiver, status, words):
    assert desk(*words).exit_code == status


def test_the_doctor_tells_of_a_filter_that_no_event_passes(desk, receiver):
    desk.config.write_text(desk.config.read_text().replace('["submission.*"]', '["submission.*", "step.complete"]'))
    told = [f for f in desk.lines("doctor") if f["check"] == "sink erp"]
    assert [(f["verdict"], "step.complete" in f["detail"]) for f in told] == [("WARN", True), ("OK", False)]


def test_what_is_old_is_pruned(desk, receiver):
    desk.submit(desk.task())
    let_out(desk)
    assert desk.json("prune") == {"tries": 0, "deliveries": 0, "events": 0}
    desk.config.write_text(desk.config.read_text() + '[retention]\ntries = "0s"\ndeliveries = "0s"\n')
    assert desk.json("prune") == {"tries": 1, "deliveries": 1, "events": 0}
