"""What a connector is: generators that yield `httpx.Request`, are sent `httpx.Response`, and return an outcome.

A connector does no input or output and is tested without a network. The shape is that of `httpx.Auth.auth_flow`. A send yields exactly one
request that can have an effect; tokens are fetched before it by the engine, so that a broken token fetch can never become `InDoubt`.

Below the port stands what every upstream's answer has in common: its clock, its `Retry-After`, its error body. What is read from outside is
cleaned here once, because a NUL or half a surrogate pair in a comment would otherwise stop at the database, long after the decision.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import httpx

from worker.core.budget import Limit
from worker.core.outcomes import Fact, InDoubt, Page, Read, Refused, Sent, Unknown, Unsent
from worker.core.renewal import Answer, Renewed
from worker.core.sunset import Sunset
from worker.core.task import Snapshot

T = TypeVar("T")
Flow = Generator[httpx.Request, httpx.Response, T]

EXCERPT = 300
"""Characters of an upstream's own words kept in a fact: enough to act on, too few to copy a task into the logs."""

REFUSALS: Final = frozenset({400, 403, 404, 413, 415, 422})
"""Statuses that say no and mean that nothing happened (A3). 409 is not one of them: Workiva documents it without any cause [OAS], Autodesk
not at all."""


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

    def held(self) -> Token | Fact | None:
        """The token, or what speaks against it, where it is held elsewhere (`vault.Stored`). None: the engine fetches and keeps it."""
        ...

    def refused(self, token: Token) -> None:
        """The upstream answered 401 to *token*, which is held elsewhere."""
        ...


class Renewal(Protocol):
    """How a grant's tokens are renewed by a refresh token that is good for once; `flows.tokens` asks, one process at a time."""

    @property
    def name(self) -> str:
        """What its tokens are kept under, in the ledger and in each process: the same for all accounts that share them."""
        ...

    def ask(self, refresh: str) -> Flow[Answer]:
        """Use the refresh token: exactly one request."""
        ...


class Consent(Protocol):
    """How a person consents that a grant acts as they: `approvals login` leads them through it."""

    @property
    def address(self) -> str:
        """What the browser opens."""
        ...

    def code(self, back: Mapping[str, str]) -> str | Fact:
        """The code in the query that the browser comes back with, or what speaks against it."""
        ...

    def exchange(self, code: str) -> Flow[Renewed | Fact]:
        """The code for tokens: exactly one request."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a command's `task` leads: the upstream's task, and the part of it that is meant, where it names one."""

    task: str
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One decision as a connector looks for it and sends it: `action` in lower case, `comment` with the mark already in it.

    `grant`: who acts, by the settings' name, and `acts_as`: who that is; `step`: the pinned one, where it is known; `part`: the part, as
    soon as it is known; `response`: as the command names it, `choice`: its id, as the look found it; `state` and `fields` of a transition.
    """

    task: str
    action: str
    comment: str | None = None
    response: str | None = None
    grant: str = ""
    acts_as: str = ""
    step: int | None = None
    part: str | None = None
    choice: str | None = None
    state: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


class Connector(Protocol):
    """One account's upstream. A dataclass: `bootstrap` fills each field with the setting of that name."""

    @property
    def realm(self) -> str:
        """Kind, host and path: what task ids are unique in."""
        ...

    @property
    def actions(self) -> frozenset[str]:
        """What a command may ask of it."""
        ...

    @property
    def sunset(self) -> Sunset | None:
        """When the API version that it speaks ends; None where no end is published."""
        ...

    @property
    def look_costs(self) -> int:
        """Requests that one look takes. A send is one more."""
        ...

    def limits(self, grant: str) -> Mapping[str, Limit]:
        """The buckets that each request of that grant pays into (B3): of its client, and of its user where the upstream counts those."""
        ...

    @property
    def silent(self) -> bool:
        """Whether a response may leave the feed as it is: then tasks under approval are read by themselves, too."""
        ...

    def credentials(self, grant: str) -> Credentials:
        """How the grant of that name gets its token."""
        ...

    def address(self, task: str) -> Address:
        """Where a command's `task` leads. Raises ValueError, in words for the requester, for what can be no task's name."""
        ...

    def renewal(self, grant: str) -> Renewal | None:
        """How the tokens of the grant of that name are renewed; None where they are fetched whenever one is needed."""
        ...

    def consent(self, grant: str, redirect: str, state: str, verifier: str) -> Consent | None:
        """How somebody consents to the grant of that name, once; None where a grant needs no consent. *state*, *verifier*: random."""
        ...

    def whoami(self) -> Flow[str | Unknown | None]:
        """Who asks, by the upstream's own word. None: it has no such question, and only an answer to a send shows it (A14)."""
        ...

    def read(self, task: str) -> Flow[Read]:
        """Look at one task."""
        ...

    @property
    def glance_costs(self) -> int:
        """Requests that one glance takes, as a rule: what it takes more is owed."""
        ...

    def glance(self, known: Snapshot) -> Flow[Read]:
        """Look at a task that a feed shows, for what the feed may not. *known*: as it was seen last; the rest stays as there."""
        ...

    def look(self, order: Order) -> Flow[Read]:
        """Look at the order's task as the one who is to act: what is offered to them stands in the snapshot's `offer`."""
        ...

    def send(self, order: Order, seen: Snapshot) -> Flow[Sent]:
        """Send one decision: exactly one request that can have an effect. *seen*: the look that it rests on."""
        ...

    def changes(self, since: float | None, cursor: str | None = None) -> Flow[Page | Unknown]:
        """One page of the tasks changed at or after *since* (None: all), in the order that the upstream's feed is safely read in."""
        ...


def place(base_url: str) -> str:
    """`host[:port][/path]` of an upstream's address, in one spelling. Raises ValueError for what is not such an address."""
    url = httpx.URL(base_url)
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must be https://host[:port][/path] and nothing else")
    port = "" if url.port is None else f":{url.port}"
    return f"{url.host}{port}{url.path.rstrip('/')}"


def proven(answer: httpx.Response) -> Refused | Unsent | InDoubt:
    """What an answer to a send proves that is no success (A3)."""
    if answer.status_code in REFUSALS:
        return Refused(fact_of(answer))
    if answer.status_code in {401, 429}:
        return Unsent(fact_of(answer), token=answer.status_code == 401)
    return InDoubt(fact_of(answer))


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

    Reads Workiva's `{code, message}`, OAuth's `{error, error_description}` [OAS ErrorResponse, IamError], the `{errorCode,
    developerMessage}` of Autodesk's gateway [AUTHERR] and the widespread `{title, detail}`; anything else is quoted as it stands. Of a
    success nothing is quoted: its body is a task, and tasks do not belong in facts.
    """
    code = text = None
    if not response.is_success:
        try:
            body = decoded(response)
        except ValueError:
            body = None
        if isinstance(body, dict):
            code = _first(body, "code", "error", "errorCode", "title")
            text = _first(body, "message", "error_description", "developerMessage", "detail")
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
