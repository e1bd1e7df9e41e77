"""Whether an account sends: a person paused it, the settings hold it, or it has just been resumed and begins slowly.

A person's word stands over the settings: `pause` stands whatever `writes` says, and a `resume` while it is "hold" lifts that, until the
settings of a worker that starts say "on": the next "hold" holds again. What is shut is not failing: a submission waits without using an
attempt (A15), is looked at now and then, and ends by its `not_after`.
"""

from dataclasses import dataclass
from typing import Literal

from worker.core import pace
from worker.core.times import iso

HELD = "held: "
"""How the reason of whatever waits for a shut account begins: a resume finds it by that."""

ON_HOLD = 'writes = "hold" in the settings: `approvals resume` lifts it'


@dataclass(frozen=True, slots=True)
class Word:
    """What a person said last about an account. `lifts`: the settings held it, and this resume lifted that. `begun`: attempts since a
    resume, counted while it is slow.
    """

    said: Literal["paused", "resumed"]
    at: float
    by: str
    note: str
    lifts: bool = False
    begun: int = 0

    @property
    def told(self) -> str:
        """In a few words, for people."""
        when = "since" if self.said == "paused" else "at"
        return f"account {self.said} by {self.by} {when} {iso(self.at)}" + (f": {self.note}" if self.note else "")

    def slow(self, now: float) -> bool:
        """Whether it was resumed so lately that sending is still counted."""
        return self.said == "resumed" and now < self.at + pace.SLOW


@dataclass(frozen=True, slots=True)
class Shut:
    """Nothing more of this account is sent now. `until`: when to look again."""

    why: str
    until: float


def shut(word: Word | None, hold: bool, now: float, dice: float) -> Shut | None:
    """Why nothing may be sent now, or None. *hold*: the settings say so."""
    later = now + pace.HELD * (0.5 + dice / 2)
    if word and word.said == "paused":
        return Shut(HELD + word.told, later)
    if hold and not (word and word.lifts):
        return Shut(HELD + ON_HOLD, later)
    if word and word.slow(now) and word.begun >= pace.opened(now - word.at):
        end = word.at + pace.SLOW
        return Shut(f"{HELD}{word.told}; it begins slowly, and as usual after {iso(end)}", min(end, now + 1.0) + (end - now) * dice)
    return None
