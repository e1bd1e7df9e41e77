"""What a connector is: generators that yield `httpx.Request`, are sent `httpx.Response`, and return an outcome.

A connector does no input or output and is tested without a network. The shape is that of `httpx.Auth.auth_flow`. A send yields exactly one
request that can have an effect; tokens are fetched before it by the engine, so that a broken token fetch can never become `InDoubt`.

Below the port stands what every upstream's answer has in common: its clock, its `Retry-After`, its error body. What is read from outside is
cleaned here once, because a NUL or half a surrogate pair in a comment would otherwise stop at the database, long after the decision.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import httpx

from worker.core.outcomes import Fact, Page, Read, Sent, Unknown
from worker.core.sunset import Sunset

T = TypeVar("T")
Flow = Generator[httpx.Request, httpx.Response, T]

EXCERPT = 300
"""Characters of an upstream's own words kept in a fact: enough to act on, too few to copy a task into the logs."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and for how many seconds it is good."""

    value: str
    lifetime: float

    def __repr__(self) -> str:
        """Never the token itself."""
        return f"Token(lifetime={self.lifetime})"


class Credentials(Protocol):
    """How one grant gets its token. `name` is the cache key: one token for all requests of one grant in a process."""

    @property
    def name(self) -> str:
        """What its token is kept under."""
        ...

    def fetch(self) -> Flow[Token | Fact]:
        """Ask for a token. Returns it, or the fact that speaks against it."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """One decision as a connector sends it: `action` in lower case, `comment` with the mark already in it."""

    task: str
    action: str
    comment: str | None = None
    response: str | None = None


class Connector(Protocol):
    """One account's upstream."""

    @property
    def realm(self) -> str:
        """Kind, host and path: what task ids are unique in."""
        ...

    @property
    def sunset(self) -> Sunset | None:
        """When the API version that it speaks ends; None where no end is published."""
        ...

    def credentials(self, grant: str) -> Credentials:
        """How the grant of that name gets its token."""
        ...

    def read(self, task: str) -> Flow[Read]:
        """Look at one task."""
        ...

    def send(self, order: Order) -> Flow[Sent]:
        """Send one decision: exactly one request that can have an effect."""
        ...

    def changes(self, since: float | None, cursor: str | None = None) -> Flow[Page | Unknown]:
        """One page of the tasks changed at or after *since* (None: all), oldest change first."""
        ...


def clean(text: str) -> str:
    """*text* as every ledger can hold it: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def decoded(response: httpx.Response) -> Any:
    """The JSON value of an answer. Raises ValueError for whatever is none, nesting beyond the parser's depth included."""
    try:
        return response.json()
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def date_of(response: httpx.Response) -> float | None:
    """The upstream's own clock when it answered (its `Date` header), in seconds since the epoch."""
    return _http_date(response.headers.get("date"))


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the upstream asks us to wait. A time is read against its own `Date`: our clocks need not agree."""
    asked = response.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdecimal() and len(asked) < 10:
        return float(asked)
    then, now = _http_date(asked), date_of(response)
    return None if then is None or now is None else max(0.0, then - now)


def fact_of(response: httpx.Response, what: str = "answer", why: str | None = None) -> Fact:
    """What an answer says for itself: status, code and an excerpt of its words; *why* is what we have against it.

    Reads the platform's `{code, message}` and OAuth's `{error, error_description}` [OAS ErrorResponse, IamError]; anything else is
    quoted as it stands. Of a success nothing is quoted: its body is a task, and tasks do not belong in facts.
    """
    code = text = None
    if not response.is_success:
        try:
            body = decoded(response)
        except ValueError:
            body = None
        if isinstance(body, dict):
            code = _first(body, "code", "error")
            text = _first(body, "message", "error_description")
        text = text or " ".join(response.content[: 4 * EXCERPT].decode("utf-8", "replace").split())
    said = ": ".join(part for part in (why, text) if part)
    return Fact(what, response.status_code, code and clean(code)[:80], clean(said)[:EXCERPT] or None, retry_after(response))


def _first(body: dict[str, Any], *names: str) -> str | None:
    return next((body[n] for n in names if isinstance(body.get(n), str) and body[n]), None)


@lru_cache(64)  # one text for all answers of a second
def _http_date(text: str | None) -> float | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else datetime.combine(moment.date(), moment.time(), UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
