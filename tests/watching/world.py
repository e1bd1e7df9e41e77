"""What happens when: one clock for people, upstream, ledger and worker, which goes on only when it is told to."""

import heapq
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

START = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
"""A Monday, midnight: watching begins."""

BEFORE = 7.0
"""Days that have gone before: what is watched first is in the middle of its life."""

DAY = 86_400.0
MORNING, EVENING = 8 * 3600.0, 18 * 3600.0
"""People work from Monday to Friday, between these seconds of a day."""


def working(at: float, seconds: float) -> float:
    """The instant that lies so many seconds of work after *at*."""
    while True:
        day, into = divmod(at - START, DAY)
        into = max(into, MORNING)
        if day % 7 < 5 and into < EVENING:
            if seconds <= EVENING - into:
                return START + day * DAY + into + seconds
            seconds -= EVENING - into
        at = START + (day + 1) * DAY


class World:
    """The clock, and what people have resolved to do."""

    def __init__(self) -> None:
        self.now = START - BEFORE * DAY
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def plan(self, at: float, deed: Callable[[], None]) -> None:
        """*deed* at *at*, on the middle of a second: two that follow from each other are then never at one instant."""
        self.plan_exactly(math.floor(at) + 0.5, deed)

    def plan_exactly(self, at: float, deed: Callable[[], None]) -> None:
        """*deed* at *at*, or now."""
        heapq.heappush(self._plans, (max(at, self.now), next(self._order), deed))

    def to(self, at: float) -> None:
        """Let the time until *at* pass."""
        while self._plans and self._plans[0][0] <= at:
            self.now, _, deed = heapq.heappop(self._plans)
            deed()
        self.now = max(self.now, at)


class Patience(threading.Event):
    """What flows wait with. It is the world that goes on meanwhile."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        """Nobody asks to stop."""
        self._world.to(self._world.now + (timeout or 0.0))
        return False
