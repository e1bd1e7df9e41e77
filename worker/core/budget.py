"""How many requests may leave (B3): a bucket for each client and for each user, shared by all processes; a request pays into both.

A bucket is a GCRA: `full_at` is the instant at which all that was taken will have flowed out again, at `rate` a second; what is taken may
run ahead of that by `burst` requests. So in any minute at most `60 * rate + burst` are taken, and that is set below the published limit
(`LEAST_SPARE`). A request leaves within `GOOD_FOR` of its payment or pays again, if need be into the red: the red only delays what comes
after it, so the sum of any minute stands.

Where no limit is published, the rate is found: halved by a 429, at most once in `CALM` seconds, and raised by `GROWTH` of the ceiling every
second after that (AIMD). Submissions may take all there is; watching leaves them `KEPT` of the burst, and so goes without first.

The limit: what other programs send under the same client or user is not seen here, only felt: as a 429.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

LEAST_SPARE = 0.97
"""Of the published limit: clocks differ, and a payment comes up to a second before its request."""

SPREAD = 0.07
"""Of a minute's requests that may leave at once: a look and its send, for a handful of submissions, without waiting."""

LEAST_AT_ONCE = 6.0
"""Requests: half of them, which is what watching may take, are one look at its dearest. Matters below 86 a minute."""

GOOD_FOR = 1.0
"""Seconds."""

KEPT = 0.5
"""Of the burst, for submissions alone."""

CALM = 10.0
"""Seconds after a 429 in which others of the same moment say nothing new."""

GROWTH = 0.01
"""Of the ceiling, a second: after a halving it is back in a minute."""

UNPUBLISHED = 60_000.0
"""Requests a minute where none are published: more than one ledger can carry, so that only a 429 says how many there are."""

SLOWEST = 1.0
"""Requests a second, at least: at none nobody would find out that it is over."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests a minute. `published`: the figure is the upstream's own (or the operator's); else it is a ceiling, and the rate is found."""

    per_minute: float
    published: bool = True

    @property
    def ceiling(self) -> float:
        """Requests a second."""
        return (self.per_minute * LEAST_SPARE - self.burst) / 60.0

    @property
    def burst(self) -> float:
        """Requests that may run ahead."""
        return max(LEAST_AT_ONCE, self.per_minute * SPREAD)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket's row. Times in seconds on the ledger's clock. `shut_until`: nothing leaves before (`Retry-After`); `rate`: what was found
    at `rated_at`, None where no 429 ever came.
    """

    name: str
    full_at: float = 0.0
    shut_until: float = 0.0
    rate: float | None = None
    rated_at: float = 0.0

    def pace(self, limit: Limit, now: float) -> float:
        """Requests a second, now."""
        if limit.published or self.rate is None:
            return limit.ceiling
        return min(limit.ceiling, self.rate + GROWTH * limit.ceiling * max(0.0, now - self.rated_at))

    def affords(self, limit: Limit, now: float, *, watching: bool) -> float:
        """How many requests may be paid for now."""
        if now < self.shut_until:
            return 0.0
        ahead = limit.burst * (1.0 - KEPT if watching else 1.0)
        return max(0.0, ahead - max(0.0, self.full_at - now) * self.pace(limit, now))

    def wait(self, limit: Limit, now: float, requests: float) -> float:
        """Seconds until *requests* may be paid for, if nobody else pays meanwhile."""
        lacking = requests - limit.burst + max(0.0, self.full_at - now) * self.pace(limit, now)
        return max(self.shut_until - now, lacking / self.pace(limit, now), 0.0)

    def pay(self, limit: Limit, now: float, requests: float) -> "Bucket":
        """After *requests* were taken, be it into the red."""
        return replace(self, full_at=max(self.full_at, now) + requests / self.pace(limit, now))

    def throttled(self, limit: Limit, now: float, retry_after: float) -> "Bucket":
        """After a 429: shut for as long as it says, and slower where the rate is found."""
        shut = replace(self, shut_until=max(self.shut_until, now + retry_after))
        if limit.published or (self.rate is not None and now < self.rated_at + CALM):
            return shut
        return replace(shut, rate=max(SLOWEST, self.pace(limit, now) / 2), rated_at=now)


@dataclass(frozen=True, slots=True)
class Price:
    """What an errand costs: so many requests, in each of these buckets."""

    requests: int
    limits: Mapping[str, Limit]
