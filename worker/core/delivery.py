"""An event on its way out of one sink: who wants it, what became of a try, when the next one is, and what that says about the sink.

S1  What has left is not called back. What failed is tried again with the same id (C4), and what stands behind it waits.
S2  A sink without a schedule tries for ever. One with a schedule sets an event aside when that is used up: its state is `dead`, the next
    events of its task go on and carry a mark, and it leaves again when a person says so.
S3  An answer 429 with a time is obeyed and uses up nothing of the schedule: the endpoint is busy, the event is not refused.
S4  429, 502 and 504 speak of the endpoint, not of the event: nothing is sent there until its pause is over.
    Where nothing was delivered since the last failure, few tries a second are made (`pace_of`).
S5  410, or a time in which nothing at all was delivered, shuts the sink off, until a person enables it. What is written meanwhile waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Protocol

from worker.core import pace
from worker.core.times import iso

LARGEST = 64 * 1024
"""Bytes of an event's JSON: what CloudEvents asks every intermediary to forward."""

SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds between two tries, as Standard Webhooks suggests: ten tries in 75 h 35 min."""

JITTER = 0.1
"""The part of a wait that is added by the dice, so that what failed together does not come again together."""

SOONEST, LATEST = 1.0, 86_400.0
"""Seconds. A `Retry-After` outside of these is taken for the nearer one."""

BUSY = frozenset({429, 502, 504})
"""Answers of an endpoint that has too much to do, or of what stands before one that is away."""

GONE = 410
"""The answer of an endpoint that wants nothing any more."""

PROBES = 10.0
"""Tries a second, at most, of a sink where nothing gets through: enough to see at once that it is back, few enough to cost nobody much."""

LONGEST_PAUSE = 300.0
"""Seconds. The longest that a busy endpoint is left alone which names no time itself."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way out of one sink. `body`: the CloudEvents JSON object. No two under way are about one task (C3)."""

    event: str
    routing_key: str
    body: Mapping[str, Any]


class Left(StrEnum):
    """What became of a delivery. `FAILED` includes "nobody knows": it is repeated with the same id (C4). `DEAD`: it is set aside."""

    DELIVERED = "delivered"
    UNBOUND = "unbound"
    FAILED = "failed"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one try.

    `detail`: for people, in our own words, without secrets. `retry_after`: seconds, where the receiver asked for it. `status`: of an HTTP
    answer. `excerpt`: the receiver's own words, which go into the ledger and into no log. `took`: seconds; where it is measured, the try is
    kept in the history.
    """

    left: Left
    detail: str = ""
    retry_after: float | None = None
    status: int | None = None
    excerpt: str = ""
    took: float | None = None


class Wanted(Protocol):
    """What a sink lets out: globs of types, names of accounts and of upstreams. Empty names: of all of them."""

    @property
    def events(self) -> Sequence[str]:
        """For example `step.*`."""
        ...

    @property
    def accounts(self) -> Sequence[str]:
        """For example `finance`."""
        ...

    @property
    def upstreams(self) -> Sequence[str]:
        """For example `workiva`."""
        ...


@dataclass(frozen=True, slots=True)
class Filter:
    """A `Wanted`; by default everything."""

    events: Sequence[str] = ("*",)
    accounts: Sequence[str] = ()
    upstreams: Sequence[str] = ()


def wants(wanted: Wanted, type_: str, source: str) -> bool:
    """Whether a sink lets an event out. `/workiva/finance` is the source of account `finance` of upstream `workiva`."""
    upstream, _, account = source.strip("/").partition("/")
    return (
        any(fnmatchcase(type_, glob) for glob in wanted.events)
        and (not wanted.accounts or account in wanted.accounts)
        and (not wanted.upstreams or upstream in wanted.upstreams)
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """How a sink tries again, and when it is given up. `schedule`: seconds after each failed try but the last; None: for ever.

    `rate`: tries a second, in all processes together; None: as fast as it takes them. `disable_after`: seconds; None: never.
    """

    schedule: Sequence[float] | None = None
    rate: float | None = None
    disable_after: float | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What a delivery is after a try: its state, the tries that count so far, and seconds until the next one."""

    state: str
    tries: int
    wait: float = 0.0


def after(result: Result, tries: int, policy: Policy, dice: float) -> Next:
    """What follows *result* of a delivery that was tried *tries* times before; *dice* in [0, 1) (S1 to S3)."""
    if result.left is not Left.FAILED:
        return Next(result.left.value, tries + 1)
    if policy.schedule is None:
        return Next("due", tries + 1, pace.throttled(result.retry_after, tries, dice))
    asked = _clamped(result.retry_after)
    if result.status == 429 and asked:
        return Next("due", tries, asked * (1 + JITTER * dice))
    if tries >= len(policy.schedule):
        return Next(Left.DEAD.value, tries + 1)
    return Next("due", tries + 1, max(asked, policy.schedule[tries]) * (1 + JITTER * dice))


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a sink. `off`: why nothing leaves by it, "" while it works. Times in seconds since the epoch: `since` it is off or
    on, `failing` since nothing was delivered any more (None: the last was), `pause_until` it is left alone.
    """

    off: str = ""
    since: float = 0.0
    failing: float | None = None
    pause_until: float = 0.0


def in_words(standing: Standing | None, now: float) -> str:
    """What is known of a sink, for people. None: nothing, so that it works."""
    if standing is None:
        return "on"
    if standing.off:
        return f"off since {iso(standing.since)}: {standing.off}"
    said = "on" if standing.failing is None else f"failing since {iso(standing.failing)}"
    return said + (f", left alone until {iso(standing.pause_until)}" if standing.pause_until > now else "")


def pace_of(policy: Policy, *, failing: bool) -> float | None:
    """Tries a second that may be started; None: as fast as the sink takes them (S4)."""
    if not failing or policy.schedule is None:
        return policy.rate
    return PROBES if policy.rate is None else min(policy.rate, PROBES)


def speaks(result: Result) -> bool:
    """Whether it says something about the sink itself, which every delivery should know of before it is tried."""
    return result.status in BUSY or result.status == GONE


def weigh(standing: Standing, results: Iterable[Result], policy: Policy, now: float) -> Standing:
    """What a sink's standing is after *results* (S4, S5)."""
    seen = [r for r in results if r.left in {Left.DELIVERED, Left.FAILED}]
    failing = standing.failing
    if any(r.left is Left.DELIVERED for r in seen):
        failing = None
    elif seen and failing is None:
        failing = now
    standing = replace(standing, failing=failing)
    if busy := [r for r in seen if r.status in BUSY]:
        own = min(LONGEST_PAUSE, max(SOONEST, (now - (now if failing is None else failing)) / 2))
        pause = max(_clamped(r.retry_after) or own for r in busy)
        standing = replace(standing, pause_until=max(standing.pause_until, now + pause))
    if standing.off:
        return standing
    if any(r.status == GONE for r in seen):
        return replace(standing, off="the endpoint answered 410: it is gone", since=now)
    if failing is not None and policy.disable_after is not None and now - failing >= policy.disable_after:
        return replace(standing, off=f"nothing was delivered for {policy.disable_after / 3600:g} h", since=now)
    return standing


def _clamped(retry_after: float | None) -> float:
    return 0.0 if retry_after is None else min(LATEST, max(SOONEST, retry_after))
