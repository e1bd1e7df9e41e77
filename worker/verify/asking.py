"""What the checks of every upstream ask with: who is there, and what is done with answers that are none: throttled, or a token's end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from worker.core.outcomes import Fact
from worker.verify.answers import Answer, answer_of
from worker.verify.verdict import CannotTell
from worker.verify.wire import Wire

PAUSE: Final = 1.1
"""Seconds between two changes whose times are compared: whoever writes whole seconds shows another one."""

PATIENCE: Final = 10
"""Looks, a pause apart, until something shows what was just done: no page promises that it does at once."""

TRIES: Final = 6
"""Times that a throttled request is sent. 429 says that nothing happened."""

LONGEST_WAIT: Final = 60.0
"""Seconds that a Retry-After is obeyed."""


@dataclass(frozen=True, slots=True)
class Person:
    """A grant and the user it acts as."""

    grant: str
    user: str


@dataclass(slots=True)
class Asking:
    """What checks ask with.

    `people`: the grants; the first one does what is not another's. `named`: the task that the user gave. `slow`: what takes a minute or ten
    megabytes is tried, too. `burst`: requests at once.
    """

    wire: Wire
    people: Sequence[Person]
    named: str
    slow: bool = False
    burst: int = 30
    throttled: int = 0
    _comments: int = 0

    @property
    def me(self) -> Person:
        """Who asks, if nobody is named."""
        return self.people[0]

    @property
    def other(self) -> Person:
        """Somebody else. Raises CannotTell where the account has one grant."""
        if len(self.people) < 2:
            raise CannotTell("needs a second grant, of another user")
        return self.people[1]

    def ask(self, request: httpx.Request, who: Person | None = None, *, patient: bool = False) -> Answer:
        """One request by `me`, or by someone else; one that brings a token of its own is sent as it is."""
        grant = None if "Authorization" in request.headers else (who or self.me).grant
        return self.asked(lambda: self.wire.send(request, grant, patient=patient), renews=grant is not None)

    def asked(self, send: Callable[[], httpx.Response | Fact], *, renews: bool = False) -> Answer:
        """What is throttled is sent again, after its time; a 401 once where that `renews` the token."""
        for _ in range(TRIES):
            answer = answer_of(send())
            if answer.status == 401 and renews:
                renews = False
            elif answer.status == 429:
                self.throttled += 1
                self.wire.wait(min(answer.retry_after or 1.0, LONGEST_WAIT))
            else:
                return answer
        raise CannotTell(f"throttled {TRIES} times in a row")

    def comment(self) -> str:
        """A comment that no other response has."""
        self._comments += 1
        return f"verify {self._comments}"

    def pause(self) -> None:
        """Let the upstream's clock move on."""
        self.wire.wait(PAUSE)
