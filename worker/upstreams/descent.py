"""A feed that is read newest change first, page by page, by offset (B2).

A row that is touched meanwhile moves to the top, and those that were above it move down: pages by offset then show rows twice, and lose
none. Each page begins with the last row of the one before; where it begins with an older one, rows were taken away, and what slipped up
unread is found by beginning again. At the end the first page is read once more, and what is new there is read down to where this descent
began. After the last descent everything up to its own first page has been seen: what came later is newer than any watermark made of it.

The other way round, oldest first, a read row that is touched leaves a hole where it was, and an overlap does not bring back what fell in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from worker.core.keys import digest
from worker.core.task import SAME_INSTANT, SAME_MODIFIED

ROUNDS = 5
"""Descents of one pass. A feed that changes all the time would be read for ever."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pass is: what its cursor says. Times are the rows' `modified`.

    `floor`: rows older than this are known; `last`: the last row's; `top`: the newest of this descent; `page`: the digest of its first
    page; `round`: which descent it is.
    """

    floor: float | None = None
    offset: int = 0
    last: float | None = None
    top: float | None = None
    page: str | None = None
    round: int = 1

    def text(self) -> str:
        """As it is kept between two pages."""
        return json.dumps([self.floor, self.offset, self.last, self.top, self.page, self.round])

    @classmethod
    def of(cls, text: str) -> "Place":
        """The inverse. Raises ValueError."""
        match json.loads(text):
            case [
                float() | int() | None as floor,
                int() as offset,
                float() | int() | None as last,
                float() | int() | None as top,
                str() | None as page,
                int() as n,
            ]:
                return cls(floor, offset, last, top, page, n)
            case _:
                raise ValueError("not a place in this feed")

    @property
    def known(self) -> float | None:
        """Rows older than this need not be told: on the first page, read again, all that this descent began with."""
        return self.top if self.page is not None and self.offset == 0 else self.floor

    def news(self, modified: float | None) -> bool:
        """Whether a row with that time has to be told. A second of grace, for renderings that cut fractions."""
        return self.known is None or modified is None or modified >= self.known - SAME_INSTANT

    def onward(self, rows: Sequence[tuple[str, float | None]], total: int | None) -> "Place | None":
        """The next page, None where the pass is whole. *rows*: ids and times of the page here; *total*: of the feed, where it is told.

        Raises ValueError for a feed that would be read with holes, or for ever.
        """
        times = [time for _, time in rows if time is not None]
        if any(later > earlier + SAME_INSTANT for earlier, later in pairwise(times)):
            raise ValueError("the feed does not obey its order")
        at = self
        if self.offset == 0:
            page = digest([[id_, time] for id_, time in rows])
            if page == self.page:
                return None
            at = replace(self, floor=self.known, page=page, top=max(times, default=self.known))
        elif self.last is not None and times and times[0] < self.last - SAME_MODIFIED:
            if self.round == ROUNDS:
                raise ValueError("the feed loses rows faster than it is read")
            return Place(self.floor, round=self.round + 1)
        if not _ended(at, times, len(rows), total):
            if len(rows) < 2:
                raise ValueError("the feed does not go on")
            return replace(at, offset=at.offset + len(rows) - 1, last=min(times, default=at.last))
        if at.offset == 0 or at.round == ROUNDS:
            return None
        return replace(at, offset=0, last=None, round=at.round + 1)


def _ended(at: Place, times: Sequence[float], count: int, total: int | None) -> bool:
    """Whether nothing further down is news. Without a total, a page with nothing but the row before it is the end."""
    below = at.floor is not None and any(time < at.floor - SAME_INSTANT for time in times)
    return below or (count < 2 if total is None else at.offset + count >= total)
