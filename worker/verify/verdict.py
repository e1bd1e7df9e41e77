"""What a check may say, and what it may repeat of what it saw."""

from dataclasses import dataclass
from typing import Final, Literal

Held = Literal["holds", "differs", "not tried"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an assumption holds, and what was seen: our own words, numbers, and `word`s."""

    held: Held
    seen: str


class CannotTell(Exception):
    """A check cannot be made here. The text says why, in our own words."""


def told(holds: bool, seen: str) -> Verdict:
    """A verdict from what was seen."""
    return Verdict("holds" if holds else "differs", seen)


STATUSES: Final = frozenset(
    {
        "Approved", "Awaiting Approval", "Cancelled", "Completed", "Created", "Returned", "Reworking", "Staged", "Started",
        "draft", "sbc-1", "mgr-1", "rev", "mgr-2", "sbc-2", "void", "not-started", "in-progress", "completed",
    }
)  # fmt: skip
"""Workiva's [L-obj]; 2026-01-01 publishes no enumeration [OAS]. Autodesk's [ITEM][TASK]."""

CODES: Final = frozenset(
    {
        "400BadRequest", "401Unauthorized", "403Forbidden", "404NotFound", "409Conflict", "429TooManyRequests", "500InternalServerError",
        "503ServiceUnavailable", "BadArgument", "BadRequest", "Unauthorized", "Forbidden", "NotFound", "Conflict", "TooManyRequests",
        "InternalServerError", "ServiceUnavailable", "ERR-001", "ERR-003", "Auth-001", "Auth-006", "Auth-010", "AUTH-006", "AUTH-010",
    }
)  # fmt: skip
"""The published ones [OAS ErrorResponse], the one example of 2022-01-01, and those of 2026-01-01 without their numbers; those of Autodesk's
gateway [AUTHERR], as they are spelled there and in the wild."""


def word(value: object) -> str:
    """A status or an error code, if it is a published one; else only that it is none."""
    return value if isinstance(value, str) and value in STATUSES | CODES else "a word that is not published"
