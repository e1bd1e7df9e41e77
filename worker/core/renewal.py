"""How the tokens of a grant live whose refresh token is good for once [REFRESH]: when they are renewed, and what each end of that comes to.

Whoever uses a refresh token twice, or loses the answer to its only use, may have lost the grant, and then a person has to consent again. So
one process renews for all, by a lease in the tokens' one row, and what it does not know it does not guess:

R1  `tries` counts the requests of this generation whose end is not known. It is raised in the transaction that takes the lease, before the
    request leaves: a process that dies leaves the doubt behind by itself.
R2  A new refresh token counts whoever brings it, as long as no newer generation stands: a holder that was slow may have the only good one.
    A "no" counts only from the holder of the lease.
R3  After a lost answer the old refresh token stays. It is tried again when the lease is over, so that two never use it at once.
R4  The refresh token is not taken any more: nothing but a new consent helps. The grant is degraded and says so, and whether an answer was
    lost before. Refused for another reason (the client, its secret): degraded, and tried again slowly, because settings are mended.
R5  `episode` counts degraded, recovered, degraded, …: odd while degraded. It names the events (C2).

The limit: if the answer to a renewal is lost and the upstream ends the old token at once, no program can have its successor.
Times are seconds on the ledger's clock.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Literal, assert_never

from worker.core import pace
from worker.core.outcomes import Fact

LEASE: Final = 30.0
"""Seconds that one process may renew for all. Its request leaves in the first twenty (`DEADLINE` before the end), or not at all."""

DEADLINE: Final = 10.0
"""Seconds for the whole exchange."""

MARGIN: Final = 600.0
"""Seconds of an access token's life that are left when it is renewed: enough for a few minutes without the endpoint. A quarter of a shorter
life."""

STALE: Final = 3 * 86_400.0
"""Seconds after which a refresh token is renewed though nobody needs it: a fifth of the 15 days after which it is dead [REFRESH]."""

AFRESH: Final = 60.0
"""Seconds: tokens younger than this are not renewed because one was refused. If a new one is refused, a newer one will be, too."""

MENDED: Final = 300.0
"""Seconds until a client that was refused is tried again: somebody may have mended the settings."""

PATIENCE: Final = 10
"""Fruitless renewals in a row after which the grant is degraded, once its access token has ended, too: some five minutes."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """New tokens. `lifetime`, `life`: seconds of the access token and of the refresh token, from when they were asked for. No access token
    that can be used: "" and 0, for the refresh token is worth keeping all the same.
    """

    access: str = field(repr=False)
    lifetime: float
    refresh: str = field(repr=False)
    life: float


@dataclass(frozen=True, slots=True)
class Dead:
    """The refresh token is not taken any more (`invalid_grant`): used, expired, or withdrawn."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Denied:
    """A clear no for another reason, before the refresh token counted: the client, its secret, the request."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows: it may have been used."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Unsent:
    """Proven: it was not used. No byte of the body left, or the answer is 429."""

    fact: Fact


Answer = Renewed | Dead | Denied | Lost | Unsent


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of tokens, without the tokens. `tries`: R1; `fails`: fruitless renewals in a row; `next_at`: they are not renewed before; None:
    nothing but a new consent helps.
    """

    name: str
    generation: int
    access_until: float
    refreshed_at: float
    refresh_until: float
    holder: str | None = None
    lease_until: float = 0.0
    tries: int = 0
    fails: int = 0
    next_at: float | None = 0.0
    state: Literal["good", "degraded"] = "good"
    detail: str = ""
    episode: int = 0

    @property
    def renew_at(self) -> float:
        """When the access token is renewed, if somebody needs one."""
        return self.access_until - min(MARGIN, (self.access_until - self.refreshed_at) / 4)

    @property
    def due_at(self) -> float:
        """When the tokens are renewed though nobody needs them."""
        return 0.0 if self.state == "degraded" else self.refreshed_at + STALE


Verdict = Literal["use", "busy", "early", "over", "take"]
"""What to do for a token: use what is there; wait for another process, or because it is too early; give up; or renew."""


def verdict(kept: Kept, now: float, *, refused: int | None = None, idle: bool = False) -> Verdict:
    """What there is to do. *refused*: the generation whose access token the upstream answered with 401; *idle*: nobody needs a token."""
    if idle:
        due = now >= kept.due_at
    elif refused == kept.generation:
        due = now >= kept.refreshed_at + AFRESH
    else:
        due = now >= kept.renew_at
    if not due:
        return "use"
    if kept.next_at is None:
        return "over"
    if kept.holder is not None and now < kept.lease_until:
        return "busy"
    return "early" if now < kept.next_at else "take"


def taken(kept: Kept, holder: str, now: float) -> Kept:
    """*holder* renews for all, for `LEASE` seconds. Written before its request leaves (R1)."""
    return replace(kept, holder=holder, lease_until=now + LEASE, tries=kept.tries + 1)


def stored(kept: Kept, answer: Renewed, asked_at: float) -> Kept:
    """A new generation, good from now on. Ends are counted from when it was asked for, so that none is thought longer than it is."""
    return replace(
        kept,
        generation=kept.generation + 1,
        access_until=asked_at + answer.lifetime,
        refreshed_at=asked_at,
        refresh_until=asked_at + answer.life,
        holder=None,
        lease_until=0.0,
        tries=0,
        fails=0,
        next_at=0.0 if answer.access else asked_at + AFRESH,
        state="good",
        detail="",
        episode=kept.episode + (kept.state == "degraded"),
    )


def settle(kept: Kept, by: Kept, answer: Answer, now: float, dice: float) -> Kept | None:
    """The row after *answer* came to whoever had taken it as *by*; None: it stays as it is."""
    if kept.generation != by.generation:
        return None  # somebody has stored newer tokens (R2)
    if isinstance(answer, Renewed):
        return stored(kept, answer, by.lease_until - LEASE)
    known = replace(kept, tries=max(0, kept.tries - 1)) if isinstance(answer, Denied | Unsent) else kept
    if kept.holder != by.holder:
        return None if known is kept else known
    free = replace(known, holder=None, lease_until=0.0, fails=kept.fails + 1)
    match answer:
        case Dead(fact):
            return _degraded(replace(free, next_at=None), _ended(kept, fact, now))
        case Denied(fact):
            return _degraded(replace(free, next_at=now + MENDED), f"the client is refused: {fact}. Check its settings")
        case Unsent(fact):
            return _patient(replace(free, next_at=now + pace.throttled(fact.retry_after, kept.fails, dice)), fact, now)
        case Lost(fact):
            return _patient(replace(free, next_at=max(kept.lease_until, now + pace.again(kept.fails, dice))), fact, now)
        case _:
            assert_never(answer)


def _patient(kept: Kept, fact: Fact, now: float) -> Kept:
    if kept.state == "good" and (kept.fails < PATIENCE or now < kept.access_until):
        return replace(kept, detail=f"the last renewal failed: {fact}")
    return _degraded(kept, f"{kept.fails} renewals in a row have failed: {fact}. It is tried again")


def _degraded(kept: Kept, detail: str) -> Kept:
    return replace(kept, state="degraded", detail=detail, episode=kept.episode + (kept.state == "good"))


def _ended(kept: Kept, fact: Fact, now: float) -> str:
    """Why, as far as anybody can know."""
    said = f"the refresh token is not taken any more: {fact}"
    if kept.tries > 1:
        return f"{said}. The answer to an earlier renewal was lost, and the new refresh token with it"
    if now >= kept.refresh_until:
        return f"{said}. It had not been used for {(now - kept.refreshed_at) / 86_400:.0f} days"
    return f"{said}. It was used elsewhere, or the consent was withdrawn"
