"""All chance of a world: a tape of bytes, read once from its beginning. 0 always means "nothing special", and so does the end.

So a world is a value, a shorter tape or a smaller byte is a simpler world, and Hypothesis (or `search.shrunk`) can make a failing one small
by turning bytes to 0.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Tape:
    """See the module."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def spent(self) -> bool:
        """Whether only zeros are left."""
        return self._at >= len(self._data)

    def end(self) -> None:
        """Nothing special happens any more."""
        self._at = len(self._data)

    def byte(self) -> int:
        """The next one."""
        if self.spent:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def happens(self, p: float) -> bool:
        """True with probability *p*; never at 0."""
        return self.byte() >= 256 - 256 * p

    def pick(self, options: Sequence[T]) -> T:
        """One of them, evenly; the first is the plain one."""
        return options[self.byte() * len(options) // 256]

    def event(self, weights: Sequence[tuple[str, float]]) -> str:
        """One of the names with its probability, or "" for none of them."""
        left = (256 - self.byte()) / 256  # in (0, 1]; a 0 on the tape is 1
        for name, weight in weights:
            if left <= weight:
                return name
            left -= weight
        return ""
