"""An HTTP endpoint as a way out: one POST for each event, signed as Standard Webhooks 1.0.0 says, its body the CloudEvent [facts 3.2].

The failure: an endpoint that takes anything for an event of ours, and one that is believed to have an event which it never took. So each
try is signed anew, over id, time and body, with every secret that is in force; and only a 2xx is "delivered": a redirect is not followed,
and an answer that does not come counts as none. An endpoint may see an event twice, with one `webhook-id`.

A generator, as a connector is: it does no I/O. Which addresses may be called at all is for the engine that carries it.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Generator, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx
import orjson

from worker.core.delivery import LARGEST, Delivery, Left, Policy, Result
from worker.core.outcomes import Fact

CONTENT_TYPE = "application/cloudevents+json"

PREFIX = "whsec_"


def signature(secret: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """One part of the header `webhook-signature`."""
    signed = b".".join((id_.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Webhook:
    """Calls *url*. *secrets*: `whsec_` and base64, newest first, each of which signs. *clock*: seconds since the epoch, as receivers count
    them. *excerpt*: bytes of an answer that are kept. *room*: calls under way at a time, in each process.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secrets: Sequence[str],
        *,
        clock: Callable[[], float],
        policy: Policy,
        deadline: float = 15.0,
        room: int = 16,
        excerpt: int = 512,
    ) -> None:
        self.name, self.policy, self.deadline, self.room = name, policy, deadline, room
        self._url, self._excerpt, self._clock = url, excerpt, clock
        self._secrets = [base64.b64decode(s.removeprefix(PREFIX)) for s in secrets]

    def __repr__(self) -> str:
        return f"Webhook({self.name})"

    def deliver(self, delivery: Delivery) -> Generator[httpx.Request, httpx.Response, Result]:
        """One try."""
        body = orjson.dumps(delivery.body)
        if len(body) > LARGEST:
            return Result(Left.DEAD, f"it has {len(body)} bytes, and {LARGEST} is the most that is sent")
        now = int(self._clock())
        headers = {
            "content-type": CONTENT_TYPE,
            "accept-encoding": "identity",
            "webhook-id": delivery.event,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(signature(s, delivery.event, now, body) for s in self._secrets),
        }
        answer = yield httpx.Request("POST", self._url, headers=headers, content=body)
        return self._read(answer)

    def unanswered(self, fact: Fact) -> Result:
        """There was no answer: whether it has arrived is not known, or it cannot have. Either way it is sent again."""
        known = {"deadline": f"no answer within {self.deadline:g} s", "address refused": f"refused: {fact.text} (`allow` lists networks)"}
        return Result(Left.FAILED, known.get(fact.what, str(fact)))

    def close(self) -> None:
        """Nothing: whoever made the engine closes it."""

    def _read(self, answer: httpx.Response) -> Result:
        status = answer.status_code
        excerpt = cleaned(answer.content, self._excerpt)
        detail = f"answered {status}"
        if answer.is_success:
            return Result(Left.DELIVERED, detail, status=status, excerpt=excerpt)
        if 300 <= status < 400:
            detail += ": a redirect is not followed"
        return Result(Left.FAILED, detail, self._retry_after(answer), status, excerpt)

    def _retry_after(self, answer: httpx.Response) -> float | None:
        """Seconds, of a number of them or of a date (RFC 9110 §10.2.3)."""
        said = answer.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit():
            return float(said[:12])
        try:
            when = parsedate_to_datetime(said)
        except ValueError:
            return None
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - self._clock())


def cleaned(content: bytes, most: int) -> str:
    """The beginning of an answer as text on one line, without what a terminal or a database would stumble over."""
    text = content[:most].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
