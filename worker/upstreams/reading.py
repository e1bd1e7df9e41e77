"""Reading JSON from outside: plain values, or a ValueError that names the place.

What decides something is read strictly (`string`, `number`, `flag`, `mapping`, `rows`), the rest leniently (`text`, `when`, `due`, `link`:
None where it is not what it should be). Every text is one that a ledger can hold.
"""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.core import times
from worker.upstreams.base import clean


def mapping(value: Any, where: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")  # noqa: TRY004  # what is wrong is a value from outside
    return value


def optional(value: Any) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Any, where: str) -> list[Any]:
    """A list; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{where} is not a list")  # noqa: TRY004  # as above
    return value


def string(value: Any, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} is not a text")
    return clean(value)


def number(value: Any, where: str) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{where} is not a whole number")  # noqa: TRY004  # as above
    return value


def flag(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{where} is neither true nor false")  # noqa: TRY004  # as above
    return value


def text(value: Any) -> str | None:
    """A text, an empty one included."""
    return clean(value) if isinstance(value, str) else None


def when(value: Any) -> float | None:
    """A time with an offset, in seconds since the epoch."""
    if not isinstance(value, str):
        return None
    try:
        return _sane(times.parse(value))
    except (ValueError, OverflowError):
        return None


def due(value: Any, timezone: str) -> float | None:
    """A time, or a day: a day without a time ends when that day ends in *timezone*."""
    if isinstance(value, str) and len(value.strip()) == 10:
        try:
            end = date.fromisoformat(value.strip()) + timedelta(days=1)
            return _sane(datetime(end.year, end.month, end.day, tzinfo=ZoneInfo(timezone)).timestamp())
        except (ValueError, OverflowError):
            return None
    return when(value)


def link(value: Any) -> str | None:
    """A web address, for a person to follow; `javascript:` and its like are none."""
    shown = text(value)
    return shown if shown and shown.lower().startswith(("https://", "http://")) else None


def segment(name: str) -> bool:
    """Whether *name* can be a path segment. `.` and `..` cannot, however encoded: the request would go to another resource."""
    return bool(name) and name not in {".", ".."} and name == clean(name)


def _sane(seconds: float) -> float | None:
    """A time that can be written down again: 1970 to 9998. Beyond it stand only sentinels."""
    return seconds if 0 <= seconds < 253_370_764_800 else None
