"""Events out by webhooks, over a real engine, to a receiver that knows only what is published about the wire."""

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Event

import pytest
from aiohttp.abc import AbstractResolver
from standardwebhooks.webhooks import WebhookVerificationError

from tests.sinks.receiver import FINE, receiving
from worker.core.addresses import networks, refusal
from worker.core.delivery import PROBES, Delivery, Filter, Left, Policy
from worker.engine import Engine
from worker.flows.emit import attempt, emit
from worker.flows.turns import turn
from worker.sinks.webhook import Webhook

STORY = ["submission.accepted", "response.recorded", "step.completed", "step.opened", "submission.applied"]
NEW, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
SCHEDULE = (5.0, 300.0, 3600.0)


@pytest.fixture
def hooked(house):
    """Gives the house webhooks: name -> a receiver. *how*: more of `Webhook`; *allow* and *resolver*: of its engine."""
    with ExitStack() as stack:
        house.rt.sinks, house.rt.outside = {}, {}

        def hook(name="erp", url=None, *, secrets=(NEW,), allow=("127.0.0.1",), resolver=None, policy=None, **how):
            receiver = stack.enter_context(receiving())
            sink = Webhook(
                name, url or receiver.url, secrets, clock=time.time, policy=policy or Policy(SCHEDULE, disable_after=86_400.0), **how
            )
            engine = Engine(guard=partial(refusal, allowed=networks(allow)), resolver=resolver, excerpt=512)
            stack.callback(engine.close)
            house.rt.sinks = {**house.rt.sinks, name: sink}
            house.rt.outside = {**house.rt.outside, name: engine}
            house.ledger.outbox._sinks[name] = Filter()
            return receiver

        yield hook


def applied(house, count=1):
    """*count* tasks with five events each."""
    tasks = [house.task("jane", "bob") for _ in range(count)]
    house.accept(*(house.command(t, step=1) for t in tasks))
    house.submit()
    return tasks


def says(status, headers=(), body=b"", when=lambda call: True):
    """An answer to the calls that *when* chooses; the others are taken."""
    return lambda call: (status, dict(headers), body) if when(call) else FINE


def of_type(type_):
    return lambda call: call.event.get_type() == type_


def left(house, sink="erp"):
    return {state: n for name, state, n in house.ledger.queries.deliveries() if name == sink}


def tries(house, type_="*", sink="erp"):
    """What became of each try of the events of a type."""
    told = [e["id"] for _, e in house.ledger.queries.events(limit=1000, type_=type_)]
    ways = house.ledger.queries.leavings(told)
    return [t for id_ in told for way in ways[id_] if way.sink == sink for t in way.history]


def test_every_event_arrives_in_order_for_each_task_signed_and_as_a_cloudevent(house, hooked):
    receiver = hooked()
    tasks = applied(house, 5)
    assert emit(house.rt, "erp") is False
    assert [receiver.told(t) for t in tasks] == [STORY] * 5
    assert left(house) == {"delivered": 25}
    for call in receiver.calls:
        body = call.signed_by(NEW)
        event = call.event
        assert (event.get_id(), event.get_type(), event.get_source()) == (body["id"], body["type"], "/workiva/finance")
        assert event.get_extension("sequence") == body["sequence"]
        assert call.headers["webhook-id"] == body["id"]


def test_a_rotation_of_secrets_loses_no_delivery(house, hooked):
    """A receiver that knows the old secret only, and one that knows the new one only, both verify while both sign."""
    receiver = hooked(secrets=(NEW, OLD))
    applied(house)
    emit(house.rt, "erp")
    assert len(receiver.calls) == 5
    for call in receiver.calls:
        assert call.signed_by(OLD) == call.signed_by(NEW)
    with pytest.raises(WebhookVerificationError):
        receiver.calls[0].signed_by("whsec_" + base64.b64encode(b"another secret, of nobody's").decode())


def test_what_failed_comes_again_signed_anew_with_its_id_and_its_body(house, hooked):
    receiver = hooked()
    receiver.answer = says(500, body=b"no\nroom", when=of_type("step.completed"))
    [task] = applied(house)
    emit(house.rt, "erp")
    assert receiver.told(task) == STORY[:3]
    assert left(house) == {"delivered": 2, "due": 3}
    emit(house.rt, "erp")
    assert receiver.told(task) == STORY[:3]
    receiver.answer = says(204)
    house.clock.pass_(6)
    emit(house.rt, "erp")
    assert receiver.told(task) == [*STORY[:3], *STORY[2:]]
    first, second = (c for c in receiver.calls if of_type("step.completed")(c))
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert second.signed_by(NEW)
    failed, fine = tries(house, "step.completed")
    assert [(failed.outcome, failed.status, failed.excerpt), (fine.outcome, fine.status)] == [
        ("failed", 500, "no room"),
        ("delivered", 204),
    ]
    assert failed.took > 0


def test_a_poison_event_is_set_aside_after_its_schedule_and_the_next_ones_go_on_marked(house, hooked):
    receiver = hooked()
    receiver.answer = says(422, when=of_type("step.completed"))
    [task] = applied(house)
    for wait in (0, *SCHEDULE):
        house.clock.pass_(1.2 * wait)
        emit(house.rt, "erp")
    assert receiver.told(task) == [*STORY[:2], *["step.completed"] * 4, *STORY[3:]]
    assert left(house) == {"delivered": 4, "dead": 1}
    poison = next(c for c in receiver.calls if of_type("step.completed")(c)).event
    marks = [c.event.get_extension("setaside") for c in receiver.calls]
    assert marks == [None] * 6 + [poison.get_extension("sequence")] * 2
    assert all(c.signed_by(NEW) for c in receiver.calls)
    receiver.answer = says(204)
    assert house.ledger.outbox.requeue("erp") == 1
    emit(house.rt, "erp")
    assert receiver.calls[-1].event.get_id() == poison.get_id()
    applied(house)
    emit(house.rt, "erp")
    assert receiver.calls[-1].event.get_extension("setaside") is None


def test_a_slow_task_holds_back_no_other_of_its_sink(house, hooked):
    receiver = hooked(deadline=2.0)
    slow, *others = applied(house, 4)
    receiver.answer = lambda call: receiver.stall(call) if call.event.get_subject() == slow else FINE
    emit(house.rt, "erp")
    assert [receiver.told(t) for t in others] == [STORY] * 3
    assert receiver.told(slow) == STORY[:1]
    assert left(house) == {"delivered": 15, "due": 5}
    assert [t.detail for t in tries(house) if t.outcome == "failed"] == ["no answer within 2 s"]


def test_a_sink_that_stalls_holds_back_no_other(house, hooked):
    stalls, other = hooked("erp"), hooked("crm")
    called, on = Event(), Event()

    def stall(_):
        called.set()
        on.wait(30)
        return FINE

    stalls.answer = stall
    tasks = applied(house, 3)
    with ThreadPoolExecutor() as pool:
        stalled = pool.submit(turn, house.rt, "emit", "erp", emit)
        try:
            assert called.wait(30)
            turn(house.rt, "emit", "crm", emit)
            assert [other.told(t) for t in tasks] == [STORY] * 3
            assert (left(house, "erp"), stalled.done()) == ({"due": 15}, False)
        finally:
            on.set()


def test_a_busy_endpoint_is_left_alone_until_its_time_and_loses_nothing(house, hooked):
    receiver = hooked(room=1)
    receiver.answer = says(429, {"retry-after": "120"})
    tasks = applied(house, 3)
    emit(house.rt, "erp")
    assert len(receiver.calls) == 1
    house.clock.pass_(110)
    emit(house.rt, "erp")
    assert (len(receiver.calls), ("emit", "erp") in house.ledger.queries.due()) == (1, False)
    receiver.answer = says(204)
    house.clock.pass_(30)
    assert ("emit", "erp") in house.ledger.queries.due()
    emit(house.rt, "erp")
    assert {tuple(dict.fromkeys(receiver.told(t))) for t in tasks} == {tuple(STORY)}
    assert left(house) == {"delivered": 15}


def test_gone_shuts_the_sink_off_and_the_others_are_told(house, hooked):
    gone, other = hooked("erp", room=1), hooked("crm")
    gone.answer = says(410)
    alarms: list = []
    house.rt.alarm = alarms.append
    applied(house)
    emit(house.rt, "erp")
    emit(house.rt, "erp")
    assert len(gone.calls) == 1
    assert ("emit", "crm") in house.rung
    assert "410" in house.ledger.outbox.standings()["erp"].off
    assert [e.type for e in alarms] == ["sink.disabled"]
    emit(house.rt, "crm")
    told = [c.event for c in other.calls if of_type("sink.disabled")(c)]
    assert [(e.get_source(), e.get_data()["sink"]) for e in told] == [("/approvals/erp", "erp")]
    gone.answer = says(204)
    assert house.ledger.outbox.enable("erp") == 5
    emit(house.rt, "erp")
    assert [c.event.get_type() for c in gone.calls[1:]] == STORY


def test_a_steady_failure_shuts_the_sink_off_and_what_is_written_meanwhile_waits(house, hooked):
    receiver = hooked(policy=Policy((3600.0,) * 100, disable_after=86_400.0))
    receiver.answer = says(500)
    applied(house)
    for _ in range(25):
        emit(house.rt, "erp")
        house.clock.pass_(1.2 * 3600)
    calls = len(receiver.calls)
    assert house.ledger.outbox.standings()["erp"].off == "nothing was delivered for 24 h"
    applied(house)
    emit(house.rt, "erp")
    assert (len(receiver.calls), left(house)) == (calls, {"due": 10})


def test_a_rate_is_kept_over_turns(house, hooked):
    receiver = hooked(policy=Policy(SCHEDULE, rate=4.0))
    applied(house, 4)
    counts = []
    for _ in range(5):
        emit(house.rt, "erp")
        counts.append(len(receiver.calls))
        house.clock.pass_(1)
    assert counts == [4, 8, 12, 16, 20]


def test_an_endpoint_that_takes_nothing_is_tried_a_few_times_a_second_until_it_takes_one(house, hooked):
    receiver = hooked(policy=Policy((0.0,) * 1000))
    receiver.answer = says(500)
    applied(house, 20)
    emit(house.rt, "erp")
    first = len(receiver.calls)
    for _ in range(3):
        house.clock.pass_(1)
        emit(house.rt, "erp")
    assert len(receiver.calls) == first + 3 * PROBES
    counts = []
    for _ in range(4):
        house.clock.pass_(0.25)
        emit(house.rt, "erp")
        counts.append(len(receiver.calls) - first - 3 * PROBES)
    assert counts == [0, 5, 5, 10]  # events that are written ring: not each of them is worth a turn
    receiver.answer = says(204)
    house.clock.pass_(1)
    emit(house.rt, "erp")
    assert left(house) == {"delivered": 100}


def test_an_answer_of_any_length_is_read_no_further_than_the_excerpt(house, hooked):
    receiver = hooked()
    receiver.answer = lambda call: (200, {"content-encoding": "gzip"}, b"x" * 9_000_000)
    applied(house)
    emit(house.rt, "erp")
    assert left(house) == {"delivered": 5}
    assert {len(t.excerpt) for t in tries(house)} == {512}


# -- safety


class Names(AbstractResolver):
    """Resolves a name to the next of *answers* each time, to the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [{"hostname": host, "host": address, "port": port, "family": kind, "proto": 0, "flags": 0}]

    async def close(self):
        pass


@pytest.mark.parametrize(
    ("url", "resolves", "why"),
    [
        ("http://127.0.0.1:{port}/", None, "127.0.0.1 is this machine"),
        ("http://[::1]:{port}/", None, "::1 is this machine"),
        ("http://169.254.169.254/latest/meta-data/", None, "where a cloud keeps credentials"),
        ("http://10.0.0.1/", None, "10.0.0.1 is a private address"),
        ("http://erp.example.com:{port}/", "127.0.0.1", "127.0.0.1 is this machine"),
        ("http://erp.example.com:{port}/", "::ffff:127.0.0.1", "is this machine"),
        ("http://erp.example.com/", "192.168.7.7", "192.168.7.7 is a private address"),
    ],
)
def test_an_address_that_is_not_public_is_not_connected_to_and_the_history_says_so(house, hooked, url, resolves, why):
    port = hooked("listens").url.split(":")[2].split("/")[0]
    receiver = hooked(url=url.format(port=port), allow=(), resolver=resolves and partial(Names, resolves))
    applied(house)
    emit(house.rt, "erp")
    [failed] = tries(house, "submission.accepted")
    assert failed.outcome == "failed"
    assert failed.detail.startswith("refused: ")
    assert why in failed.detail
    assert receiver.calls == []


@pytest.mark.parametrize("written", ["http://2130706433:{port}/", "http://127.1:{port}/", "http://0x7f000001:{port}/"])
def test_an_odd_way_to_write_an_address_leads_nowhere_else(house, hooked, written):
    receiver = hooked("listens")
    hooked(url=written.format(port=receiver.url.split(":")[2].split("/")[0]), allow=())
    applied(house)
    emit(house.rt, "erp")
    assert left(house) == {"due": 5}
    assert receiver.calls == []


def test_a_name_that_resolves_differently_the_second_time_is_refused_then(house, hooked):
    """The address that is checked is the one that is connected to, at each connection anew."""
    receiver = hooked("listens")
    receiver.answer = says(204, {"connection": "close"})
    port = receiver.url.split(":")[2].split("/")[0]
    names = Names("127.0.0.1", "169.254.169.254")
    hooked(url=f"http://erp.example.com:{port}/", resolver=lambda: names)
    applied(house)
    emit(house.rt, "erp")
    assert [(t.outcome, t.status) for t in tries(house, "submission.accepted")] == [("delivered", 204)]
    [refused] = tries(house, "response.recorded")
    assert (refused.outcome, refused.status) == ("failed", None)
    assert refused.detail == "refused: 169.254.169.254 is where a cloud keeps credentials (`allow` lists networks)"
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/secret", "http://169.254.169.254/", "/elsewhere"])
def test_a_redirect_is_not_followed_and_the_history_says_so(house, hooked, target):
    receiver = hooked()
    port = receiver.url.split(":")[2].split("/")[0]
    receiver.answer = says(307, {"location": target.format(port=port)})
    applied(house)
    emit(house.rt, "erp")
    [failed] = tries(house, "submission.accepted")
    assert (failed.status, failed.detail) == (307, "answered 307: a redirect is not followed")
    assert [c.path for c in receiver.calls] == ["/hook"]


def test_the_host_stays_the_name(house, hooked):
    receiver = hooked("listens")
    number = receiver.url.split(":")[2].split("/")[0]
    hooked(url=f"http://erp.example.com:{number}/x", resolver=partial(Names, "127.0.0.1"))
    result = attempt(house.rt, "erp", Delivery("e1", "a.b.c", {"id": "e1"}))
    assert (result.left, [c.headers["host"] for c in receiver.calls]) == (Left.DELIVERED, [f"erp.example.com:{number}"])
    assert json.loads(receiver.calls[0].body) == {"id": "e1"}
