"""How far a feed has been read (B2), and what that has cost.

The watermark is the upstream's own time: the greatest `modified` read, but never later than the answer's `Date` less `OVERLAP`, and moved
only after a whole pass. Once a day, at no fixed hour, a pass begins without it: what it finds has been missed by all the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

OVERLAP = 300.0
"""Seconds that each pass reads again: clocks differ, and a change may become visible after a later one."""

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass under way. `since`: None where it is over all there is; `page`: asks for the next page, None for the first; `pages`: of
    those that were read; `began`: on the ledger's clock; `newest`: the greatest `modified` so far; `news`: rows that told something new,
    and of those `missed`: older than the watermark; `allowed`: pages that it may cost, None for any number.
    """

    began: float
    since: float | None = None
    page: str | None = None
    pages: int = 0
    newest: float = 0.0
    news: int = 0
    missed: int = 0
    allowed: int | None = None

    def on(self, page: str | None, modified: Iterable[float | None], news: int, missed: int) -> "Pass":
        """One page further."""
        newest = max([self.newest, *(at for at in modified if at is not None)])
        return replace(self, page=page, pages=self.pages + 1, newest=newest, news=self.news + news, missed=self.missed + missed)

    @property
    def spent(self) -> bool:
        """Whether it has cost what it may, and is not over."""
        return self.page is not None and self.allowed is not None and self.pages >= self.allowed


@dataclass(frozen=True, slots=True)
class Feed:
    """What is known of a feed between two turns. `news_at`: when a pass last found something new; `pages`: what the last pass cost,
    `whole`: what the last one over all there is did; `whole_at`: when the next such is due; `way`: the pass that is under way.
    """

    watermark: float | None = None
    news_at: float | None = None
    pages: int = 1
    whole: int = 1
    whole_at: float | None = None
    way: Pass | None = None

    @classmethod
    def of(cls, cursor: Mapping[str, Any]) -> "Feed":
        """As it stands in a watch's cursor."""
        way = cursor.get("way")
        return cls(**{**cursor, "way": Pass(**way) if way else None})

    @property
    def cursor(self) -> dict[str, Any]:
        """The inverse of `of`: what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def begin(self, now: float, allowed: int | None = None) -> Pass:
        """A new pass: from the watermark, or over all there is where there is none yet or its day has come."""
        whole = self.watermark is None or (self.whole_at is not None and now >= self.whole_at)
        return Pass(now, None if whole else self.watermark, allowed=allowed)

    def over(self, way: Pass, date: float | None, now: float, dice: float) -> "Feed":
        """After the last page of *way*. *date*: the upstream's clock; *dice* in [0, 1) choose the hour of the next whole pass."""
        mark = max(self.watermark or 0.0, min(way.newest, (now if date is None else date) - OVERLAP))
        after = replace(self, watermark=mark, way=None, news_at=now if way.news or self.news_at is None else self.news_at)
        if way.since is None:
            return replace(after, whole=way.pages, whole_at=now + DAY * (0.5 + dice))
        return replace(after, pages=way.pages)

    def given_up(self) -> "Feed":
        """The pass under way costs more than it may: how much, is not known, but twice of what it has cost is a guess."""
        return replace(self, way=None, whole=2 * self.way.pages if self.way else self.whole)

    def skipped(self) -> "Feed":
        """No pass was worth its cost this time. What the last one cost says the less of the next, the longer it is ago."""
        return replace(self, pages=max(1, self.pages // 2))
