"""An event on its way out of one sink, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way out of one sink. `body`: the CloudEvents JSON object. No two of a batch are about one task (C3)."""

    event: str
    routing_key: str
    body: Mapping[str, Any]


class Left(StrEnum):
    """What became of a delivery. `FAILED` includes "nobody knows": it is repeated with the same id (C4)."""

    DELIVERED = "delivered"
    UNBOUND = "unbound"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """`detail`: for people, without secrets. `retry_after`: seconds, where the receiver asked for it."""

    left: Left
    detail: str = ""
    retry_after: float | None = None
