"""A request and a response, and what an upstream is: a function from one to the other."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Clock = Callable[[], float]
"""Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived. Header names are lower case; `origin` is scheme and host as the caller wrote them (links are built with it)."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = "http://sandbox"

    @classmethod
    def of(cls, method: str, url: str, headers: Iterable[tuple[str, str]] | Mapping[str, str] = (), body: bytes = b"") -> Self:
        """From a whole URL, or from a path with its query."""
        parts = urlsplit(url)
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lower = {name.lower(): value for name, value in pairs}
        host = parts.netloc or lower.get("host", "sandbox")
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) if parts.query else {}
        path = unquote(parts.path) if "%" in parts.path else parts.path
        return cls(method.upper(), path, query, lower, body, f"{parts.scheme or 'http'}://{host}")


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered, if it arrives."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def answer(status: int, value: Any = None, **headers: str) -> Response:
    """A JSON answer; None is an answer without a body."""
    if value is None:
        return Response(status, headers)
    return Response(status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode())


@dataclass(frozen=True, slots=True)
class Stale:
    """How far behind the truth a read lags: by so many seconds, else by so many changes of each task."""

    seconds: float | None = None
    changes: int = 1


class Upstream(Protocol):
    """What the faults need of a simulated upstream. One call is one instant: nothing waits inside."""

    name: str
    now: Clock

    @property
    def outlasts(self) -> bool:
        """Whether the effect of a request that was cut at the limit takes place all the same (28)."""

    def __call__(self, request: Request, *, arrived: float | None = None, stale: Stale | None = None) -> Response:
        """The effect and its answer. `arrived`: when the request came in, if its effect is late: tokens are checked as of then."""

    def route(self, request: Request) -> str:
        """The operation's name, for example `act`."""

    def task_of(self, request: Request) -> str | None:
        """The task that the request is about."""

    def person(
        self, task: str, action: str, user: str | None = None, comment: str | None = None, *, besides: Request | None = None
    ) -> Response:
        """A person acts in the upstream's own pages. No user: someone who may, rather not the one who sends `besides`."""

    def edit(self, task: str, operations: Any) -> Response:
        """The owner edits the task in the upstream's own pages."""

    def expire(self, request: Request) -> None:
        """The request's token is valid no longer."""

    def error(self, status: int, message: str = "", to: Request | None = None, **headers: str) -> Response:
        """An error in the upstream's own shape, as an answer to that request."""
