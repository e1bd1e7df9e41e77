"""A message on its way in, on its way out, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

KEPT = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id", "priority")
"""The properties that a copy keeps. Not `expiration`: a dead message must not vanish. Not `user_id`: the broker refuses another's."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as the wire gave it. Nothing was decoded, decompressed or unpickled."""

    body: bytes
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    tag: Any = None

    def kept(self) -> dict[str, Any]:
        """The properties that a copy of it has."""
        return {name: self.properties[name] for name in KEPT if self.properties.get(name) is not None}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published. Without an exchange the routing key is a queue's name.

    `newest`: where the broker has no time to live, its queue is cut to so many of the newest. 0: never.
    """

    routing_key: str
    body: bytes
    exchange: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    newest: int = 0


class Fate(StrEnum):
    """What became of it. `FAILED`: nobody knows; it may have arrived, or may yet."""

    CONFIRMED = "confirmed"
    UNBOUND = "unbound"
    FAILED = "failed"
