"""Every shape that comes in, and every reason why one does not."""

import json
import pickle

import pytest

from worker.broker import Incoming
from worker.core.command import Command
from worker.core.keys import digest
from worker.wire import Door, Refused, parse, rejected, safe

NOW = 1_800_000_000.0
PLAIN = {"key": "po-1", "account": "finance", "as": "jane", "task": "T1", "action": "approve", "step": 2}
DOOR = Door("staging", 65536)
FIELDS = {"managerDueDate": "2026-12-01", "leadTime": 1.5, "isPrivate": False, "watchers": ["u1", "u2"], "specId": None}


def message(body, content_type="application/json", headers=None, **properties):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(raw, headers or {}, {"content_type": content_type, **properties})


def command(**other):
    return Command(
        **{"key": "po-1", "account": "finance", "grant": "jane", "task": "T1", "action": "approve", "step": 2, "issued_at": NOW, **other}
    )


def event(data=PLAIN, **other):
    return {"specversion": "1.0", "id": "e1", "source": "/erp", "type": "approval.requested", "data": data, **other}


def celery(kwargs=PLAIN, args=(), embed=None, task="approvals.accept", **headers):
    empty = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return message([list(args), kwargs, embed or empty], headers={"lang": "py", "task": task, "id": "c1", **headers})


def without(name):
    return {k: v for k, v in PLAIN.items() if k != name}


TAKEN = {
    "plain": (message(PLAIN), command()),
    "with a byte order mark": (message(b"\xef\xbb\xbf" + json.dumps(PLAIN).encode()), command()),
    "with a charset": (message(PLAIN, "application/json; charset=UTF-8"), command()),
    "no grant named": (message(without("as")), command(grant="")),
    "issued by itself": (message({**PLAIN, "issued_at": "2026-11-22T09:00:00Z"}, timestamp=5), command(issued_at=1795338000.0)),
    "issued by the broker's timestamp": (message(PLAIN, timestamp=1_700_000_000), command(issued_at=1_700_000_000.0)),
    "a timestamp that no clock shows": (message(PLAIN, timestamp=10**400), command()),
    "a clock that goes ahead": (message({**PLAIN, "issued_at": "2126-11-22T09:00:00Z"}), command()),
    "an event": (message(event(), "application/cloudevents+json"), command()),
    "an event's key": (message(event(without("key")), "application/cloudevents+json"), command(key=digest(["/erp", "e1"]))),
    "an event's time": (
        message(event(time="2026-11-22T10:00:00+01:00"), "application/cloudevents+json", timestamp=5),
        command(issued_at=1795338000.0),
    ),
    "an event's extension": (message(event(traceparent="00-a"), "application/cloudevents+json"), command()),
    "Celery": (celery(), command()),
    "Celery in our namespace": (celery(task="staging.accept"), command()),
    "Celery's eta and expires": (
        celery(eta="2026-11-22T09:00:00+00:00", expires="2026-11-22T10:00:00+00:00"),
        command(not_before=1795338000.0, not_after=1795341600.0),
    ),
    "Celery's datetime": (
        celery({**PLAIN, "not_after": {"__type__": "datetime", "__value__": "2026-11-22T09:00:00Z"}}),
        command(not_after=1795338000.0),
    ),
    "all of it": (
        message(
            {
                **PLAIN,
                "pin": "p",
                "response": "Approved",
                "comment": "a\nb",
                "wait_for_turn": True,
                "requested_by": "erp",
                "labels": {"po": "1"},
            }
        ),
        command(pin="p", response="Approved", comment="a\nb", wait_for_turn=True, requested_by="erp", labels={"po": "1"}),
    ),
    "a transition": (
        message({**PLAIN, "step": None, "action": "transition", "state": "sbc-2", "fields": FIELDS}),
        command(step=None, action="transition", state="sbc-2", fields=FIELDS),
    ),
    "Celery's transition": (celery({**PLAIN, "state": "sbc-2", "fields": FIELDS}), command(state="sbc-2", fields=FIELDS)),
}

REFUSED = {
    "malformed": (message(b'{"key": '), "not JSON: Expecting value at line 1 column 9"),
    "empty": (message(b""), "not JSON"),
    "too large": (message({**PLAIN, "comment": "x" * 70000}), "bytes are too many: at most 65536 (intake.max_bytes)"),
    "pickled": (message(pickle.dumps(PLAIN), "application/x-python-serialize"), "never unpickled here"),
    "yaml": (message(b"key: po-1", "application/x-yaml"), "YAML): send JSON with content_type application/json"),
    "no content type": (message(PLAIN, None), "there is no content_type: send JSON"),
    "other content type": (message(PLAIN, "image/png"), "'image/png' is not taken: send JSON"),
    "other charset": (message(PLAIN, "application/json; charset=latin-1"), "JSON is UTF-8"),
    "compressed": (message(PLAIN, content_encoding="gzip"), "compressed"),
    "compressed by kombu": (message(PLAIN, headers={"compression": "application/x-gzip"}), "compressed"),
    "not UTF-8": (message(b'{"key": "\xff"}'), "not UTF-8, at byte 9"),
    "half a surrogate pair": (
        message(b'{"key": "\\ud800", "account": "f", "task": "t", "action": "a"}'),
        "key: must be text that UTF-8 can hold",
    ),
    "a NUL": (message({**PLAIN, "comment": "a\0b"}), "comment: must not hold control characters"),
    "two lines for a key": (message({**PLAIN, "key": "a\nb"}), "key: must be one line"),
    "a list": (message([PLAIN]), "the body must be a JSON object"),
    "a number that is none": (message(b'{"key": NaN}'), "NaN is no number"),
    "nested": (message(b"[" * 4000), "nested too deeply"),
    "a name twice": (message(b'{"action": "approve", "action": "reject"}'), "'action' is given twice"),
    "an unknown field": (message({**PLAIN, "pinn": "x"}), "pinn: unknown field (known: key, account, as, task"),
    "no key": (message(without("key")), "key: is missing"),
    "two faults": (message({**without("task"), "step": "2"}), "task: is missing; step: must be a valid integer"),
    "step zero": (message({**PLAIN, "step": 0}), "step: must be greater than or equal to 1"),
    "a yes that is none": (message({**PLAIN, "wait_for_turn": 1}), "wait_for_turn: must be a valid boolean"),
    "a naive time": (message({**PLAIN, "not_after": "2026-12-01T00:00:00"}), "not_after: must be a time with an offset"),
    "a time as a number": (message({**PLAIN, "issued_at": 5}), "issued_at: must be a text such as"),
    "over before it begins": (
        message({**PLAIN, "not_before": "2026-12-01T00:00:00Z", "not_after": "2026-11-01T00:00:00Z"}),
        "not_after: must be later than not_before",
    ),
    "labels over 4 KiB": (
        message({**PLAIN, "labels": {str(n): "é" * 600 for n in range(4)}}),
        "labels: must not be longer than 4096 bytes",
    ),
    "fields over 16 KiB": (message({**PLAIN, "fields": {"a": "x" * 17000}}), "fields: must not be longer than 16384 bytes"),
    "fields that are a list": (message({**PLAIN, "fields": ["a"]}), "fields: must be a valid dictionary"),
    "a field that is an object": (message({**PLAIN, "fields": {"a": {"b": 1}}}), "fields.a: must be text, a number, true, false, null"),
    "a field that is a list of more than text": (message({**PLAIN, "fields": {"a": [1]}}), "fields.a: must be text, a number"),
    "a field that is no number any more": (message(b'{"fields": {"a": 1e999}}'), "fields.a: must be a number of less than 16 digits"),
    "a field that readers take for another number": (message({**PLAIN, "fields": {"a": 2**53}}), "fields.a: must be a number of less"),
    "a field with a NUL": (message({**PLAIN, "fields": {"a": ["b\0"]}}), "fields.a: must not hold control characters"),
    "a field with half a surrogate pair": (message({**PLAIN, "fields": {"a": "\ud800"}}), "fields.a: must be text that UTF-8 can hold"),
    "a field without a name": (message({**PLAIN, "fields": {" ": 1}}), "fields. : must be one line that says something"),
    "a state of two lines": (message({**PLAIN, "state": "sbc\n2"}), "state: must be one line"),
    "labels that are no text": (message({**PLAIN, "labels": {"n": 1}}), "labels.n: must be a valid string"),
    "an event called JSON": (message(event()), "this looks like a CloudEvent"),
    "another event": (message(event(type="order.paid"), "application/cloudevents+json"), "type: must be 'approval.requested'"),
    "an event without id": (message(event(id=""), "application/cloudevents+json"), "id: a CloudEvent needs one"),
    "an event's naive time": (
        message(event(time="2026-11-22T10:00:00"), "application/cloudevents+json"),
        "time: must be a time with an offset",
    ),
    "an event without data": (message(event(data=None), "application/cloudevents+json"), "data: must be the command"),
    "a batch of events": (message([event()], "application/cloudevents+json"), "must be a JSON object"),
    "another Celery task": (celery(task="erp.pay"), "the Celery task 'erp.pay' is not taken here"),
    "Celery with positions": (celery(args=["po-1"]), "positional arguments are not taken"),
    "Celery with a chain": (celery(embed={"chain": [{"task": "x"}]}), "are not carried out here"),
    "Celery's old protocol": (
        message({"task": "approvals.accept"}, headers={"task": "approvals.accept"}),
        "not Celery's message protocol 2",
    ),
    "Celery's naive eta": (celery(eta="2026-11-22T09:00:00"), "not_before: must be a time with an offset"),
}


@pytest.mark.parametrize(("given", "expected"), TAKEN.values(), ids=TAKEN)
def test_taken(given, expected):
    assert expected == parse(given, DOOR, NOW)


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_in_words(given, reason):
    found = parse(given, DOOR, NOW)
    assert isinstance(found, Refused)
    assert reason in found.reason
    assert len(found.reason) <= 1000


def test_a_refused_one_tells_its_key_where_there_is_one():
    assert parse(message({**PLAIN, "x": 1}), DOOR, NOW).key == "po-1"
    assert parse(message({**PLAIN, "key": 7}), DOOR, NOW).key is None


def test_nothing_is_unpickled():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    for content_type in ("application/x-python-serialize", "application/json", ""):
        assert isinstance(parse(message(pickle.dumps(Bomb()), content_type), DOOR, NOW), Refused)


def test_a_rejection_has_the_same_evidence_when_it_is_delivered_again():
    first = rejected(message(b"\x00\xff bad", message_id="m1"), Refused("because"))
    assert first.evidence == rejected(message(b"\x00\xff bad", message_id="m1"), Refused("because")).evidence
    assert first.evidence != rejected(message(b"\x00\xff bad", message_id="m2"), Refused("because")).evidence
    assert first.evidence != rejected(message(b"\x00\xff bad", message_id="m1", headers={"x-requeued": 1}), Refused("because")).evidence


@pytest.mark.parametrize("body", [b"\x1b[31mred\x00\n", "é".encode() * 5000, b"\xff" * 5000, "\u202e".encode()])
def test_an_excerpt_may_be_shown(body):
    text = safe(body)
    assert len(text.encode()) <= 2048
    assert text.isprintable()
