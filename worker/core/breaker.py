"""Whether an upstream is away (B4): one breaker for each account, shared by all processes.

Closed: all is well, and nothing is written. It opens when `FAILURES` requests in a row came to nothing: no connection, no answer in time,
or a 5xx. An answer below 500 says that the upstream is there, so neither a refusal nor a 429 ever opens it. Open: nothing is asked. After a
while, which doubles each time up to `LONGEST`, one process asks one thing; an answer closes the breaker, and what may be in flight doubles
from one upwards until `SLOW` is over, in each process. Waiting for it is not failing (A15): it uses up no attempt, and `not_after` ends it.

Failures in a row and no window: where half of all requests fail, five in a row come within some sixty; where one in ten does, within some
hundred thousand. A single task that fails by itself opens it only where nothing else is asked meanwhile.

`episode` counts opened, closed, opened, …: odd while open. It names the events (C2).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from worker.core.outcomes import Applied, Gone, Page, Read, Refused, Sent
from worker.core.pause import Shut
from worker.core.task import Snapshot
from worker.core.times import iso

FAILURES: Final = 5
"""In a row. Fewer would be opened by a single cut connection, which takes all the requests on it along; with more, a lone submission
would ask for minutes before anybody is told: its repeats come after 0.5, 1, 2 and 4 seconds."""

FIRST: Final = 1.0
"""Seconds until the first probe: most failures in a row are a restart."""

LONGEST: Final = 300.0
"""Seconds between two probes at most: a request in five minutes harms nobody, and recovery is found soon enough for people."""

STEP: Final = 2.0
"""Seconds after which twice as much may be in flight, after it has closed."""

SLOW: Final = 14.0
"""Seconds that it begins slowly: seven doublings are the 128 that one account may have in flight."""

UNANSWERED: Final = frozenset({"connect", "answer lost", "deadline", "token unanswered"})
"""What facts are called that say that no answer came."""

AWAY: Final = "away: "
"""How the reason of whatever waits for an open breaker begins: closing it finds them by that."""


def trouble(what: Read | Sent | Page) -> str | None:
    """What failed, in words; "" where the upstream has answered; None where the outcome says neither."""
    if isinstance(what, Snapshot | Applied | Gone | Refused | Page):
        return ""
    fact = what.fact
    if fact.status is not None:
        return str(fact) if fact.status >= 500 else ""
    return str(fact) if fact.what in UNANSWERED else None


@dataclass(frozen=True, slots=True)
class Breaker:
    """An account's row. Times in seconds on the ledger's clock. `at`: when it opened or closed last, 0 if it never did; `failed`: failures
    in a row; `tries`: probes in vain; `next_at`: no probe before; `holder`: the process that probes; `detail`: what failed last.
    """

    name: str
    state: Literal["closed", "open"] = "closed"
    at: float = 0.0
    failed: int = 0
    tries: int = 0
    next_at: float = 0.0
    holder: str | None = None
    episode: int = 0
    detail: str = ""

    @property
    def well(self) -> bool:
        """Whether a success changes nothing."""
        return self.state == "closed" and not self.failed

    @property
    def told(self) -> str:
        """Why nothing is asked, for people."""
        return f"no answer from the upstream since {iso(self.at)}: {self.detail}"

    def room(self, now: float, most: int) -> int:
        """How many requests of a process may be in flight. Open: one, for whoever takes it, or none."""
        if self.state == "open":
            return int(now >= self.next_at)
        slow = self.at and now < self.at + SLOW
        return min(most, 1 << int((now - self.at) / STEP)) if slow else most

    def shut(self) -> Shut:
        """Open: why what is due waits, and until when."""
        return Shut(f"{AWAY}{self.told}; tried again at {iso(self.next_at)}", self.next_at)

    def taken(self, holder: str, now: float, lease: float) -> "Breaker":
        """*holder* asks one thing, for *lease* seconds at most."""
        return replace(self, holder=holder, next_at=now + lease)

    def heard(self, answers: Iterable[str], holder: str, now: float, dice: float) -> "Breaker":
        """After *answers* to requests of *holder*, in their order: "" or what failed."""
        found = self
        for failure in answers:
            found = found._failed(failure, holder, now, dice) if failure else found._answered(now)
        return found

    def _answered(self, now: float) -> "Breaker":
        if self.state == "closed":
            return replace(self, failed=0)
        return replace(self, state="closed", at=now, failed=0, holder=None, episode=self.episode + 1)

    def _failed(self, failure: str, holder: str, now: float, dice: float) -> "Breaker":
        if self.state == "open":  # what was under way when it opened says nothing new
            return self._later(replace(self, detail=failure, tries=self.tries + 1), now, dice) if self.holder == holder else self
        if self.failed + 1 < FAILURES:
            return replace(self, failed=self.failed + 1, detail=failure)
        again = self.at and now < self.at + 2 * SLOW  # it was too early to call it well
        opened = replace(
            self, state="open", at=now, failed=0, tries=self.tries + 1 if again else 0, episode=self.episode + 1, detail=failure
        )
        return self._later(opened, now, dice)

    @staticmethod
    def _later(found: "Breaker", now: float, dice: float) -> "Breaker":
        step = min(LONGEST, FIRST * 2.0 ** min(found.tries, 16))
        return replace(found, holder=None, next_at=now + step * (0.5 + dice / 2))


def opens(n: int) -> float:
    """Seconds after it closed when the *n*-th of what waited (0, 1, …) is due: as many in a step as may be in flight in it."""
    return min(SLOW, STEP * ((n + 1).bit_length() - 1))
