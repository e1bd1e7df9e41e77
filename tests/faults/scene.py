"""What a world plays in: one upstream, its tasks and people, and the truth about them in one shape, so that one judge reads all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from worker.core.command import Command
from worker.flows import Account
from worker.sandbox.exchange import Upstream

START = 1_800_000_000.0
NAME = "finance"
ME, OTHER = "jane", "joe"
"""The users that our two grants act as. Everybody else is a person; and jane may act by hand, too."""

GRANTS: Mapping[str, str] = {"me": ME, "other": OTHER}


@dataclass(frozen=True, slots=True)
class Answered:
    """One response that stands."""

    user: str
    action: str
    at: float
    comment: str | None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One step. `complete`: surely; `plain`: as anybody would say; `began`: of its parts, and of itself (None), where it is told."""

    participants: tuple[str, ...]
    answers: tuple[Answered, ...]
    complete: bool
    plain: bool
    began: Mapping[str | None, float | None]


@dataclass(frozen=True, slots=True)
class Truth:
    """A task at one instant, ghost truth included: `round` is how often its review was begun. `active`: the step's number."""

    id: str
    round: int
    active: int | None
    steps: tuple[Stage, ...]
    modified_at: float
    begun: float | None = None

    @property
    def answers(self) -> list[Answered]:
        """All that stand."""
        return [a for s in self.steps for a in s.answers]

    def began(self, step: int | None, part: str | None) -> float | None:
        """When what is meant was begun."""
        return self.steps[step - 1].began.get(part) if step else None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look showed: the task as it was at that instant, or, where it takes several reads, as they put it together."""

    at: float
    task: Truth


@dataclass(frozen=True, slots=True)
class Deed:
    """An entry of the upstream's journal. `part`: where it has parts; `by`: api, person or system; `began`: of what it landed on;
    `begun`: of the review.
    """

    n: int
    at: float
    task: str
    part: str | None
    action: str
    user: str
    step: int | None
    round: int
    comment: str | None
    by: str
    began: float | None = None
    begun: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a requester wants, before it is a command: the step it is for (None: the whole task), and whether it may be pinned."""

    task: str
    step: int | None
    part: str | None
    grant: str
    fields: Mapping[str, Any]
    action: str


class Scene(Protocol):
    """One upstream in a world. `world`: has the tape, the options, `hand` (the clock), `say` and `pass_time`."""

    ids: list[str]

    @property
    def upstream(self) -> Upstream:
        """As a function, without any faults."""

    def draw(self) -> str:
        """Draw its switches; returns them in a few words."""

    def account(self, rules: Any) -> Account:
        """Our account of it."""

    def make(self) -> None:
        """Draw the tasks."""

    def settle(self) -> None:
        """Let happen what the upstream does by itself."""

    def deeds(self, since: int) -> list[Deed]:
        """The journal from entry *since* on."""

    def truth(self, id_: str, behind: float = 0.0) -> Truth:
        """The task as it is, or as it was so many seconds ago."""

    def glance(self, request: httpx.Request, behind: float, before: Look | None) -> tuple[Look | None, bool]:
        """What a read shows, put to what was read *before* it in the same look; and whether the look is whole with it."""

    def person(self, id_: str, *, by_hand: bool) -> None:
        """Somebody acts in the upstream's own pages."""

    def wish(self, id_: str) -> Wish:
        """What is asked for next."""

    def again(self, id_: str, command: Command) -> int | None:
        """The step for which a person asks for a retry now, if there is one."""

    def shows(self, issued: Truth, look: Truth, step: int | None, part: str | None, pinned_at: float | None) -> bool:
        """Whether who decided on *issued* can tell by *look* that a new round has begun. *pinned_at*: when that was, without a pin."""

    def exposed(self, task: str, user: str, step: int | None) -> bool:
        """Whether a race may carry a decision of *user* to another step."""

    def disturbed(self, deeds: Sequence[Deed], step: int | None, part: str | None) -> bool:
        """Whether what people did may make a decision undecidable."""

    def rounds(self, id_: str) -> int:
        """How often something was done that begins a round."""
