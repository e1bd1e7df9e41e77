"""What a send came to, and what a look showed: two closed unions, because a failed question is not the answer "no" (A2).

`Sent = Applied | Refused | Unsent | InDoubt`. Only proof makes `Unsent`: the engine's own mark that no byte of the body was handed to the
transport, or an answer 401 or 429 (A3). `Seen = Found | Absent | Moved | Unknown`. Only `Absent` may lead to another send.
"""

from dataclasses import dataclass

from worker.core.task import Response, Snapshot


@dataclass(frozen=True, slots=True)
class Fact:
    """What an outcome rests on, in words that may be shown and kept: never a token, never a request body.

    `what`: a short name, such as "answer", "connect", "gate closed", "deadline". `text`: an excerpt of the upstream's own message.
    """

    what: str
    status: int | None = None
    code: str | None = None
    text: str | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        parts = [self.what, str(self.status or ""), self.code or "", self.text or ""]
        return " ".join(p for p in parts if p)


@dataclass(frozen=True, slots=True)
class Applied:
    """The upstream answered with success and with the task as it is now. `partial`: with the answered part only; the rest of the snapshot
    is the look before it, so that our effect can be recognised in it and nothing else can.
    """

    snapshot: Snapshot
    fact: Fact
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream said no, and said so in a way that means that nothing happened: 400, 403, 404, 413, 415, 422."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Unsent:
    """Proven: it had no effect and cannot get one. `token`: it was a 401, so the next attempt brings a new token."""

    fact: Fact
    token: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Anything else. It may have taken effect, or may yet."""

    fact: Fact


Sent = Applied | Refused | Unsent | InDoubt


@dataclass(frozen=True, slots=True)
class Found:
    """Responses that are ours, with their steps. More than one: it took effect twice."""

    snapshot: Snapshot
    hits: tuple[tuple[int, Response], ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """The task is exactly as in the baseline: our effect is not there (yet)."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Moved:
    """The task is not as in the baseline, and our response is not there. `others`: the pinned step was completed by others, and that
    explains all of it: every response of the baseline still stands and the shape is the same.
    """

    snapshot: Snapshot
    why: str
    others: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The question failed, or its answer cannot be read as a yes or a no."""

    fact: Fact


Seen = Found | Absent | Moved | Unknown


@dataclass(frozen=True, slots=True)
class Gone:
    """The upstream says that there is no such task, or none that this grant may see (404, 403)."""

    fact: Fact


Read = Snapshot | Gone | Unknown
"""What reading one task came to, before it is compared with anything."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a feed. `cursor` asks for the next page (None: this was the last); `date`: the upstream's clock. `touched`: tasks that
    the feed shows without their steps: those that are news are read by themselves.
    """

    snapshots: tuple[Snapshot, ...]
    cursor: str | None
    date: float | None
    touched: tuple[Snapshot, ...] = ()
