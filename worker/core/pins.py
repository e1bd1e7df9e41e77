"""Pins: the step and round that a submission is meant for (A7). They come with the command, made of what its requester was shown.

A pin holds the step's number, the fingerprint of all steps, the responses that stood when it was made, and `modified` then. It holds no
longer when any of them has changed without a visible response that explains it. What it cannot tell: a restart of a round without responses
that leaves `modified` alone.
"""

import base64
import json
from dataclasses import dataclass

from worker.core.keys import canonical, digest
from worker.core.task import SAME_INSTANT, Response, Snapshot

MOST_SEEN = 64
"""Responses a pin remembers, the newest: a new round takes them all away, so that any one tells of it, and a token stays below 4 KiB."""


class PinError(ValueError):
    """A text that is not a pin of ours, or the pin of another task."""


@dataclass(frozen=True, slots=True)
class Pin:
    """`seen`: for each response that stood, a short hash of (step, actor, action) and its time in seconds."""

    task: str
    step: int
    shape: str
    modified: float | None
    seen: tuple[tuple[str, float | None], ...]

    def token(self) -> str:
        """The opaque text that events, `task show` and the console print."""
        raw = canonical([1, self.task, self.step, self.shape, self.modified, [list(s) for s in self.seen]])
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def broken(self, look: Snapshot) -> str | None:
        """Why this pin does not hold for *look* any more, or None while it does."""
        if look.shape != self.shape:
            return "the steps are not the same any more (participants, mode or number)"
        standing = [(_hash(number, r), r.at) for number, r in look.responses()]
        for name, at in self.seen:
            twin = next((s for s in standing if s[0] == name and _close(s[1], at)), None)
            if twin is None:
                return "a response that stood when the pin was made is gone: a new round"
            standing.remove(twin)
        if not look.explained(self.modified):
            return "the task was modified after the pin was made, and no visible response explains it"
        return None

    def knew(self, number: int, response: Response) -> bool:
        """Whether this response stood when the pin was made."""
        name = _hash(number, response)
        return any(n == name and _close(at, response.at) for n, at in self.seen)


def pin_of(realm: str, look: Snapshot, step: int) -> Pin:
    """The pin of *step* as *look* shows the task."""
    seen = [(_hash(n, r), r.at) for n, r in look.responses()]
    newest = sorted(seen, key=lambda s: s[1] or 0.0)[-MOST_SEEN:] if len(seen) > MOST_SEEN else seen
    return Pin(_name(realm, look.task), step, look.shape, look.modified, tuple(newest))


def read_pin(token: str, realm: str, task: str) -> Pin:
    """The pin in *token*. Raises PinError where it is none, or was made for another task."""
    try:
        version, name, step, shape, modified, seen = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        pin = Pin(
            str(name),
            int(step),
            str(shape),
            None if modified is None else float(modified),
            tuple((str(n), None if at is None else float(at)) for n, at in seen),
        )
        pin.token()  # a number that JSON does not know (NaN, Infinity) is a ValueError here, not later
    except (ValueError, TypeError, OverflowError, RecursionError) as exc:
        msg = "not a pin: copy it whole from an event or from `approvals task show`"
        raise PinError(msg) from exc
    if version != 1 or pin.step < 1:
        msg = "a pin of a kind this release does not know"
        raise PinError(msg)
    if pin.task != _name(realm, task):
        msg = "the pin was made for another task"
        raise PinError(msg)
    return pin


def _name(realm: str, task: str) -> str:
    return digest([realm, task])[:8]


def _hash(number: int, r: Response) -> str:
    return digest([number, r.actor, r.action])[:8]


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= SAME_INSTANT
