"""What can go wrong between a request and its answer, as data; and the wrapper that makes it go wrong.

    script = Script(random.Random(7))
    upstream = Faulty(Workiva(workspace), script)
    script.add(Fault("act", "reset", when="after"))     # the approval takes effect, its answer is lost
    delivery = upstream(request)                        # Delivery(how="reset", response=Response(200, …))

A fault decides what becomes of one request (it is refused, cut, answered with an error, stalls, comes late), or only bends it (a person
acts in between, the read is stale, the token has just expired). Of the deciding faults that fit a request the first one takes it; those
that bend all apply. `Delivery` says what a transport is to do, so that tests with a virtual clock and the real server share one script.
An effect that is still to come waits in `pending`: `advance()` lets those happen that are due by the clock.
"""

import gzip
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

from worker.sandbox.exchange import Request, Response, Stale, Upstream

CUTOFF = 29.0
"""Seconds a request may take [26-lim]; then 504, while its effect takes place all the same (assumption 28)."""

DECIDING: Mapping[str, str] = {
    "refuse": "no connection can be made; the server closes its port for `seconds`",
    "reset": "the connection is reset, before or after the effect",
    "close": "the connection is closed without an answer, before or after the effect",
    "stall": "no answer for `seconds` (default: an hour), then closed, before or after the effect",
    "status": "answers `status` (any: 5xx, 408, 409, 3xx with `location`), before or after the effect",
    "throttle": "429, with Retry-After where `retry_after` is given; no effect",
    "late": "the connection is reset (or answered with `status`), and the effect comes `seconds` later",
    "slow": "the effect at once (after) or at the end (before), the answer after `seconds`; beyond the cut-off 504 at the cut-off",
    "malformed": "the effect, then a 200 whose body is no JSON",
    "half_body": "the effect, then an answer that ends in its middle",
    "half_head": "the effect, then an answer that ends in its head",
    "garbage": "the effect, then bytes that are no HTTP",
    "bad_gzip": "the effect, then a body that claims to be gzip and is not",
}
BENDING: Mapping[str, str] = {
    "stale": "a read answers the state of `seconds` ago, else of `changes` changes ago (per task)",
    "expire": "the token has just become invalid: 401",
    "person": "`people` act just before or right after the effect",
}
WHATS = frozenset({*DECIDING, *BENDING})

EITHER = frozenset({"reset", "close", "stall", "status", "slow", "person"})
"""The ones for which `when` has a meaning."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, as a test or a JSON file writes it.

    route: an operation (`act`, `read`, `list`, `create`, `change`, `delete`, `token`), one of one upstream (`workiva.act`), a method and
    path (`POST /workiva/tasks/*/actionSubmission`), or `*`. `task`: only this one, or what is inside it. `after`: so many fitting
    requests pass first.
    `times`: how many it strikes (None: all). `p`: how likely it strikes, by the script's own dice.
    people: each {"action", "user"?, "comment"?} or {"patch": [operation, …]}; without a user someone who may, rather not the requester.
    """

    route: str
    what: str
    times: int | None = 1
    after: int = 0
    p: float = 1.0
    when: Literal["before", "after"] = "before"
    status: int | None = None
    seconds: float | None = None
    changes: int = 1
    retry_after: str | float | None = None
    location: str | None = None
    task: str | None = None
    people: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.what not in WHATS:
            raise ValueError(f"no fault {self.what!r}; there are {', '.join(sorted(WHATS))}")
        if self.when not in {"before", "after"}:
            raise ValueError(f"when is before or after, not {self.when!r}")
        if self.what == "person" and not self.people:
            raise ValueError("person needs people: [{'action': 'APPROVE'}]")
        people: tuple[Any, ...] = self.people  # what came from JSON may be anything
        if not all(isinstance(each, Mapping) and ("action" in each or "patch" in each) for each in people):
            raise ValueError("each of the people of a fault needs an action or a patch")
        numbers: dict[str, Any] = {
            "times": self.times,
            "after": self.after,
            "p": self.p,
            "status": self.status,
            "seconds": self.seconds,
            "changes": self.changes,
        }
        for name, value in numbers.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                raise ValueError(f"{name} of a fault is a number, not {value!r}")
        if self.seconds is None and self.what in {"late", "slow"}:
            raise ValueError(f"{self.what} needs seconds")

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Fault":
        """From JSON. Raises ValueError naming what does not exist."""
        known = {f.name for f in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
        if missing := {"route", "what"} - set(data):
            raise ValueError(f"a fault needs {', '.join(sorted(missing))}")
        return cls(**{**data, "people": tuple(data.get("people", ()))})

    def json(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "people": [dict(each) for each in self.people]}

    def fits(self, request: Request, upstream: Upstream) -> bool:
        """Whether it is meant for this request."""
        if self.task is not None and not f"{upstream.task_of(request)}/".startswith(f"{self.task}/"):
            return False  # an item's fault is for its tasks, too
        if " " in self.route:
            return fnmatchcase(f"{request.method} {request.path}", self.route)
        route = upstream.route(request)
        return fnmatchcase(route, self.route) or fnmatchcase(f"{upstream.name}.{route}", self.route)


@dataclass(slots=True)
class _Line:
    """A fault with what has become of it."""

    number: int
    fault: Fault
    met: int = 0
    struck: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times


class Script:
    """The faults to come, in the order they were given, and the dice."""

    def __init__(self, dice: random.Random | None = None, faults: Iterable[Fault] = ()) -> None:
        self._dice = dice or random.Random(0)
        self._lines: list[_Line] = []
        self._given = 0
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> int:
        """One more. Returns its number."""
        self._given += 1
        self._lines.append(_Line(self._given, fault))
        return self._given

    def clear(self) -> None:
        """No faults any more."""
        self._lines.clear()

    def json(self) -> list[dict[str, Any]]:
        """Every fault, also the spent ones, with how often it was met and has struck."""
        return [{"id": line.number, "met": line.met, "struck": line.struck, **line.fault.json()} for line in self._lines]

    def strike(self, request: Request, upstream: Upstream) -> tuple[Fault | None, list[Fault]]:
        """The fault that decides this request, if any, and those that bend it."""
        deciding: Fault | None = None
        bending: list[Fault] = []
        for line in self._lines:
            fault = line.fault
            decides = fault.what in DECIDING
            if line.spent or (decides and deciding is not None) or not fault.fits(request, upstream):
                continue
            line.met += 1
            if line.met <= fault.after or (fault.p < 1 and self._dice.random() >= fault.p):
                continue
            line.struck += 1
            if decides:
                deciding = fault
            else:
                bending.append(fault)
        return deciding, bending


How = Literal["answer", "refuse", "reset", "close", "stall", "half_head", "half_body", "garbage"]


@dataclass(slots=True, eq=False)
class Pending:
    """An effect still to come. `response` is there once it took place."""

    due: float
    request: Request
    arrived: float
    stale: Stale | None = None
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the transport does after `wait` seconds (`refuse`: for so many seconds).

    `response`: what was meant to be answered; only `answer`, `half_head` and `half_body` show any of it.
    """

    how: How
    response: Response | None = None
    wait: float = 0.0
    pending: Pending | None = field(default=None)

    def answer(self) -> Response | None:
        """The response, if the effect has taken place by now."""
        return self.response or (self.pending.response if self.pending else None)


class Faulty:
    """An upstream on the other side of an unreliable network. A call is a request; its `Delivery` is what becomes of it."""

    def __init__(self, upstream: Upstream, script: Script | None = None, *, cutoff: float = CUTOFF) -> None:
        self.upstream = upstream
        self.script = script or Script()
        self.cutoff = cutoff
        self.pending: list[Pending] = []

    def __call__(self, request: Request) -> Delivery:
        """One request. What is overdue happens first."""
        self.advance()
        fault, bending = self.script.strike(request, self.upstream)
        stale = None
        for each in bending:
            if each.what == "stale":
                stale = Stale(each.seconds, each.changes)
            elif each.what == "expire":
                self.upstream.expire(request)
        self._people(request, bending, "before")
        delivery = self._deliver(request, fault, stale)
        self._people(request, bending, "after")  # with a late effect: between the cut and the effect
        return delivery

    def outlasted(self, request: Request) -> Delivery:
        """A request that took longer than the cut-off to come in: 504, whatever becomes of its effect (28)."""
        self.advance()
        if self.upstream.outlasts:
            self.upstream(request)
        return Delivery("answer", self.upstream.error(504, "the request took too long", request))

    def advance(self) -> int:
        """Lets the effects happen that are due by the clock, in their order. Returns how many did."""
        now = self.upstream.now()
        due = sorted((p for p in self.pending if p.due <= now), key=lambda p: p.due)
        for each in due:
            self.land(each)
        return len(due)

    def land(self, pending: Pending) -> None:
        """Lets one effect happen now; nothing if it has."""
        if pending in self.pending:
            self.pending.remove(pending)
            pending.response = self.upstream(pending.request, arrived=pending.arrived, stale=pending.stale)

    def _deliver(self, request: Request, fault: Fault | None, stale: Stale | None) -> Delivery:
        if fault is None:
            return Delivery("answer", self.upstream(request, stale=stale))
        if fault.what == "refuse":
            return Delivery("refuse", wait=1.0 if fault.seconds is None else fault.seconds)
        if fault.what == "throttle":
            after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return Delivery("answer", self.upstream.error(429, "too many requests", request, **after))
        if fault.what == "late":
            later = self._later(request, fault.seconds or 0, stale)
            if fault.status is None:
                return Delivery("reset", pending=later)
            return Delivery("answer", self._status(fault, fault.status, request), pending=later)
        if fault.what == "slow":
            return self._slow(request, fault, stale)
        if fault.what in EITHER and fault.when == "before":
            return self._struck(fault, request, None)
        return self._struck(fault, request, self.upstream(request, stale=stale))

    def _struck(self, fault: Fault, request: Request, done: Response | None) -> Delivery:
        """The effect has taken place (done) or never will (None); this is what the requester gets of it."""
        match fault.what:
            case "reset":
                return Delivery("reset", done)
            case "close":
                return Delivery("close", done)
            case "stall":
                return Delivery("stall", done, 3600.0 if fault.seconds is None else fault.seconds)
            case "status":
                return Delivery("answer", self._status(fault, fault.status or 503, request))
            case "malformed":
                return Delivery("answer", _with_body(done, b"<html>Bad gateway</html"))
            case "bad_gzip":
                # a head that is gzip's and a rest that is not: a reader gets to the middle before it fails
                return Delivery("answer", _with_body(done, gzip.compress(b"{}", mtime=0)[:10] + b"\xff\xff\xff\xff", encoding="gzip"))
            case "half_body":
                return Delivery("half_body", done)
            case "half_head":
                return Delivery("half_head", done)
            case _:
                return Delivery("garbage", done)

    def _slow(self, request: Request, fault: Fault, stale: Stale | None) -> Delivery:
        seconds = fault.seconds or 0.0
        cut = self.upstream.error(504, "the request took too long", request) if seconds > self.cutoff else None
        wait = min(seconds, self.cutoff)
        if fault.when == "after":
            done = self.upstream(request, stale=stale)
            return Delivery("answer", cut or done, wait)
        if cut is not None and not self.upstream.outlasts:
            return Delivery("answer", cut, wait)
        return Delivery("answer", cut, wait, self._later(request, seconds, stale))

    def _later(self, request: Request, seconds: float, stale: Stale | None) -> Pending:
        now = self.upstream.now()
        later = Pending(now + seconds, request, now, stale)
        self.pending.append(later)
        return later

    def _status(self, fault: Fault, status: int, request: Request) -> Response:
        headers = {}
        if fault.location is not None:
            headers["Location"] = fault.location
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        return self.upstream.error(status, "by a fault of the sandbox", request, **headers)

    def _people(self, request: Request, bending: list[Fault], when: str) -> None:
        task = self.upstream.task_of(request)
        for fault in bending:
            if fault.what != "person" or fault.when != when:
                continue
            for each in fault.people:
                about = each.get("task", task)
                if about is None:
                    continue
                if "patch" in each:
                    self.upstream.edit(about, each["patch"])
                else:
                    self.upstream.person(about, each["action"], each.get("user"), each.get("comment"), besides=request)


def _with_body(done: Response | None, body: bytes, *, encoding: str | None = None) -> Response:
    headers = dict(done.headers) if done else {}
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(done.status if done else 200, headers, body)
