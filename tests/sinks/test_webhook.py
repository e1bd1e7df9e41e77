"""One try of a webhook, without a network: what is sent, and what each answer comes to."""

import base64
import json
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from worker.core.delivery import LARGEST, Delivery, Left, Policy
from worker.core.outcomes import Fact
from worker.sinks.webhook import Webhook, signature

NOW = 1_700_000_000.0
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def sink(*secrets, excerpt=16):
    return Webhook("erp", "https://erp.example.com/h", secrets or (SECRET,), clock=lambda: NOW, policy=Policy(), excerpt=excerpt)


def delivery(**data):
    return Delivery("e1", "workiva.finance.step.completed", {"specversion": "1.0", "id": "e1", "data": data})


def tried(answer=None, of=None, **data):
    """The request, and what came of it."""
    flow = (of or sink()).deliver(delivery(**data))
    request = next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send(answer or httpx.Response(204))
    return request, end.value.value


def test_the_signature_of_the_specification():
    """The example in the specification of Standard Webhooks, whose secret and signature are published with its reference libraries."""
    body = b'{"test": 2432232314}'
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_request_is_the_cloudevent_with_the_events_id():
    request, result = tried(step=1)
    assert result.left is Left.DELIVERED
    assert (request.method, str(request.url)) == ("POST", "https://erp.example.com/h")
    assert json.loads(request.content) == delivery(step=1).body
    wanted = {"content-type": "application/cloudevents+json", "webhook-id": "e1", "webhook-timestamp": "1700000000"}
    assert {name: request.headers[name] for name in wanted} == wanted


def test_every_secret_signs_the_newest_first():
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    one, two = (tried(of=sink(s))[0].headers["webhook-signature"] for s in (SECRET, other))
    assert tried(of=sink(other, SECRET))[0].headers["webhook-signature"] == f"{two} {one}"


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_only_a_2xx_is_delivered(status):
    assert tried(httpx.Response(status))[1].left is Left.DELIVERED


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
def test_anything_else_is_failed_and_says_what_it_was(status):
    _, result = tried(httpx.Response(status, headers={"location": "http://127.0.0.1/"}))
    assert (result.left, result.status) == (Left.FAILED, status)
    assert str(status) in result.detail
    assert ("redirect is not followed" in result.detail) == (300 <= status < 400)


def test_the_excerpt_is_short_and_on_one_line_and_not_in_the_detail():
    _, result = tried(httpx.Response(500, content=b"\x1b[31mno\x00 \xff\nway, and so on and on"))
    assert result.excerpt == "[31mno � way,"
    assert result.detail == "answered 500"


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (120.0, "120"),
        (60.0, format_datetime(datetime.fromtimestamp(NOW + 60, UTC), usegmt=True)),
        (0.0, format_datetime(datetime.fromtimestamp(NOW - 60, UTC), usegmt=True)),
        (None, "soon"),
        (None, "-5"),
        (None, ""),
    ],
)
def test_retry_after_is_seconds_or_a_date(expected, said):
    assert tried(httpx.Response(429, headers={"retry-after": said}))[1].retry_after == expected


def test_an_event_that_is_too_large_is_set_aside_unsent():
    flow = sink().deliver(delivery(comment="x" * LARGEST))
    with pytest.raises(StopIteration) as end:
        next(flow)
    assert end.value.value.left is Left.DEAD
    assert str(LARGEST) in end.value.value.detail


@pytest.mark.parametrize("what", ["connect", "answer lost", "deadline", "address refused", "engine closed"])
def test_no_answer_is_failed(what):
    result = sink().unanswered(Fact(what, text="10.1.2.3 is a private address"))
    assert result.left is Left.FAILED
    assert result.detail


def test_no_secret_is_shown():
    assert repr(sink()) == "Webhook(erp)"
