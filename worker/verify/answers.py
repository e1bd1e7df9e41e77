"""What an answer shows, read with suspicion: whatever is not as it should be is CannotTell, and never repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from worker.core import times
from worker.core.outcomes import Fact
from worker.upstreams.base import retry_after
from worker.verify.verdict import CannotTell


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body that may be anything: JSON, or None. `raw`: the body as it came."""

    status: int
    body: Any
    retry_after: float | None = None
    raw: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it says no."""
        return 400 <= self.status < 500

    @property
    def needed(self) -> Mapping[str, Any]:
        """The object in it. Raises CannotTell for a refusal, and for what is none."""
        if not self.ok:
            raise CannotTell(f"a request that the check needs was answered {self.status}")
        if not isinstance(self.body, dict):
            raise CannotTell("an answer that should be an object is none")
        return self.body


def answer_of(got: httpx.Response | Fact) -> Answer:
    """An answer as checks see it. Raises CannotTell where there is none, without what the network said: it may name a host."""
    if isinstance(got, Fact):
        if got.status is not None:
            return Answer(got.status, None, got.retry_after)
        raise CannotTell("a request that the check needs was not answered")
    try:
        body = got.json() if got.content else None
    except (ValueError, RecursionError):
        body = None
    return Answer(got.status_code, body, retry_after(got), got.content)


def an_object(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def a_list(value: Any) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def instant(value: Any) -> float:
    """A time, in seconds since the epoch."""
    try:
        return times.parse(value)
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise CannotTell("a time in an answer cannot be read") from None
