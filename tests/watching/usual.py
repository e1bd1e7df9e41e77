"""The usual way: each task is read every so many seconds, as long as somebody wants to know of it. Reckoned on the same happenings.

Each task has its own beginning within the first interval, as programs that poll have. A read costs one request here, whatever it costs in
truth, and what two reads show apart is told, as if the program forgot nothing.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.watching.truth import Happening, Window
from tests.watching.world import START


@dataclass(frozen=True, slots=True)
class Usual:
    """`delays`: seconds, in order; `between`: what came and went between two reads."""

    requests: float
    delays: Sequence[float]
    between: int


def usual(happenings: Iterable[Happening], windows: Mapping[str, Window], interval: float, end: float) -> Usual:
    """Every *interval* seconds, until *end* at most."""
    dice = random.Random(interval)
    first = {task: dice.random() * interval for task in windows}
    delays, between = [], 0
    for h in happenings:
        begun = first[h.key[0]]
        read = begun + math.ceil((h.since - begun) / interval) * interval
        if read < h.until:
            delays.append(read - h.since)
        else:
            between += 1
    return Usual(wanted(windows.values(), end) / interval, sorted(delays), between)


def wanted(windows: Iterable[Window], end: float) -> float:
    """Seconds for which somebody wants to know, of all tasks together."""
    return sum(max(0.0, min(w.until, end) - max(w.since, START)) for w in windows)
