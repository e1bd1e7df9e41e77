"""Times of the outside world, read and written: ISO 8601 with an offset on the wire, seconds since the epoch inside."""

import re
from datetime import UTC, datetime

_FRACTION = re.compile(r"\.(\d+)")


def parse(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time with an offset; 0 to 9 fraction digits (Autodesk sends 7, facts §1.3).

    Raises ValueError for anything else, a time without an offset included: it would mean another instant on each machine.
    """
    trimmed = _FRACTION.sub(lambda m: "." + m.group(1)[:6].ljust(6, "0"), text.strip(), count=1)
    moment = datetime.fromisoformat(trimmed)
    if moment.tzinfo is None:
        msg = f"{text!r} has no offset: write 2026-11-22T09:00:00Z"
        raise ValueError(msg)
    return moment.timestamp()


def iso(seconds: float) -> str:
    """`2026-11-22T09:00:00.123Z`: always UTC, always milliseconds, so that texts sort as times do."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
