"""How people are, in both upstreams: when they act, and how many of them do what."""

import random
from dataclasses import dataclass

from tests.watching.world import BEFORE, DAY, MORNING, START, World, working

HOUR = 3600.0
AT_ONCE = 45.0
"""Seconds: what follows so soon falls between two looks."""

STOCK = 0.2
"""Of all tasks: those that are there before watching begins."""

RESTARTED = 0.05
"""One in twenty."""

KEPT = DAY
"""Seconds after its end for which somebody still wants to know of a task."""


@dataclass
class Dice:
    """One random number generator for all that people do."""

    random: random.Random
    world: World
    days: float

    def happens(self, p: float) -> bool:
        return self.random.random() < p

    def made_at(self) -> float:
        """When a task is made: in working time, before watching begins, or until three days before its end."""
        since, days = (START - BEFORE * DAY, BEFORE) if self.happens(STOCK) else (START, max(self.days - 3.0, 0.5))
        return working(since + self.random.random() * days * DAY, self.random.random() * HOUR)

    def later(self, median: float) -> float:
        """When somebody gets to it: so many seconds of work from now in half of the cases, much later in some."""
        return working(self.world.now, min(self.random.lognormvariate(0.0, 1.2) * median, 50 * HOUR))

    def soon(self) -> float:
        """Between two looks."""
        return self.world.now + self.random.uniform(2.0, AT_ONCE)

    def due(self) -> float:
        """A due date: the morning of a day within two weeks."""
        return START + (self.world.now - START) // DAY * DAY + self.random.randint(2, 14) * DAY + MORNING

    def people(self, most: int) -> list[str]:
        """One to so many, of two hundred."""
        return [f"u{n}" for n in self.random.sample(range(200), self.random.choices(range(1, most + 1), [6, 3, 1][:most])[0])]
