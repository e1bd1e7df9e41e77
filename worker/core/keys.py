"""Digests, marks, and the keys of commands that bring none: names that are derived from content, so that a repeat derives the same."""

import base64
import hashlib
import json
from functools import lru_cache
from typing import Any

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one content."""
    return _encode(value)


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@lru_cache(1024)  # one submission asks for its mark at each look
def mark(account: str, key: str) -> str:
    """The short reference planted in the comment, for example `aw:7f3k9q` (A10): 30 bits, derived from the submission's own name.

    It has to tell apart only the responses of one person to one task, so that 30 bits are plenty.
    """
    raw = hashlib.sha256(f"{account}\n{key}".encode()).digest()
    return "aw:" + base64.b32encode(raw).decode().lower()[:6]


def marked(comment: str | None, mark_: str | None) -> str | None:
    """The comment as it is sent: the requester's words, then the mark in brackets."""
    if mark_ is None:
        return comment
    return f"{comment} [{mark_}]" if comment else f"[{mark_}]"


def derived_key(*parts: Any) -> str:
    """The key of a command that brought none (INTERFACES §2): the same decision gives the same key."""
    return "d-" + digest(list(parts))[:32]
