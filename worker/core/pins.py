"""Pins: the step and round that a submission is meant for (A7). They come with the command, made of what its requester was shown.

A pin holds the step's number, the fingerprint of all steps, the responses that stood when it was made, and `modified` then. It holds no
longer when any of them has changed without a visible response that explains it. What it cannot tell: a restart of a round without responses
that leaves `modified` alone. Of an exact task it also holds when the step and the round began: that alone tells a round from the next
there, and an edit of the task breaks no pin of a step.
"""

import base64
import json
from dataclasses import dataclass, replace

from worker.core.keys import canonical, digest
from worker.core.task import SAME_INSTANT, SAME_MODIFIED, Response, Snapshot, near

MOST_SEEN = 64
"""Responses a pin remembers, the newest: a new round takes them all away, so that any one tells of it, and a token stays below 4 KiB."""


class PinError(ValueError):
    """A text that is not a pin of ours, or the pin of another task."""


@dataclass(frozen=True, slots=True)
class Pin:
    """`seen`: for each response that stood, a short hash of its step and fact, and its time in seconds. `exact`: it was made of an exact
    task; then `started` (the step's round) and `begun` (the task's) say which round is meant, as far as they had begun.
    """

    task: str
    step: int
    shape: str
    modified: float | None
    seen: tuple[tuple[str, float | None], ...]
    exact: bool = False
    started: float | None = None
    begun: float | None = None

    def token(self) -> str:
        """The opaque text that events, `task show` and the console print."""
        parts = [1, self.task, self.step, self.shape, self.modified, [list(s) for s in self.seen]]
        raw = canonical([*parts, self.started, self.begun] if self.exact else parts)
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def broken(self, look: Snapshot, *, whole: bool = False) -> str | None:
        """Why this pin does not hold for *look* any more, or None while it does. *whole*: it is meant for the task, not for a step."""
        if look.shape != self.shape:
            return "the steps are not the same any more (participants, mode or number)"
        if self.exact and not whole:
            return self._anew(look)
        standing = [(_hash(number, r), r.at) for number, r in look.responses()]
        for name, at in self.seen:
            twin = next((s for s in standing if s[0] == name and near(s[1], at, SAME_INSTANT)), None)
            if twin is None:
                return "a response that stood when the pin was made is gone: a new round"
            standing.remove(twin)
        if not look.explained(self.modified):
            return "the task was modified after the pin was made, and no visible response explains it"
        return None

    def _anew(self, look: Snapshot) -> str | None:
        """A step that had not begun when the pin was made belongs to the round that was under way, or, before the first, to that. One that
        had may go on in a review that was taken back and begun anew: what its requester saw is not what lies there now.
        """
        if self.started is not None and not near(look.steps[self.step - 1].started, self.started, SAME_MODIFIED):
            return "the step was begun anew after the pin was made: a new round"
        if self.begun is not None and not near(look.begun, self.begun, SAME_MODIFIED):
            return "the review was begun anew after the pin was made: a new round"
        return None

    def knew(self, number: int, response: Response) -> bool:
        """Whether this response stood when the pin was made."""
        name = _hash(number, response)
        return any(n == name and near(at, response.at, SAME_INSTANT) for n, at in self.seen)


def pin_of(realm: str, look: Snapshot, step: int) -> Pin:
    """The pin of *step* as *look* shows the task."""
    seen = [(_hash(n, r), r.at) for n, r in look.responses()]
    newest = sorted(seen, key=lambda s: s[1] or 0.0)[-MOST_SEEN:] if len(seen) > MOST_SEEN else seen
    pin = Pin(_name(realm, look.task), step, look.shape, look.modified, tuple(newest))
    return replace(pin, exact=True, started=look.steps[step - 1].started, begun=look.begun) if look.exact else pin


def read_pin(token: str, realm: str, task: str) -> Pin:
    """The pin in *token*. Raises PinError where it is none, or was made for another task."""
    try:
        version, name, step, shape, modified, seen, *rounds = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        pin = Pin(
            str(name),
            int(step),
            str(shape),
            None if modified is None else float(modified),
            tuple((str(n), None if at is None else float(at)) for n, at in seen),
        )
        if rounds:
            started, begun = (None if at is None else float(at) for at in rounds)
            pin = replace(pin, exact=True, started=started, begun=begun)
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
    return digest([number, *r.fact])[:8]
