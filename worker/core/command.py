"""A command: one requested decision as it came in, checked and complete, before it is a submission."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.core.keys import digest

ON_A_STEP = frozenset({"approve", "reject", "skip", "close"})
"""Actions that answer a step and leave a response: they need a pin or a step on a task of more than one. The others move the whole task and
leave no response: they are recognised by `status` and `modified` alone, so they are always exposed (A12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Times in seconds since the epoch. `pin` is the token as it came; `issued_at` says when the requester decided (A7).

    `task` as it came, with the path of a part where the upstream has such; `response`: label or id of one of its responses; `state`: where
    a transition leads, `fields`: what that asks for.
    """

    key: str
    account: str
    grant: str
    task: str
    action: str
    issued_at: float
    pin: str | None = None
    step: int | None = None
    response: str | None = None
    state: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    comment: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    wait_for_turn: bool = False
    requested_by: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """The content that a key stands for (A16): all that changes what is done. When it was issued does not: a repeat may say so anew."""
        content: dict[str, Any] = {
            "account": self.account,
            "grant": self.grant,
            "task": self.task,
            "action": self.action,
            "pin": self.pin,
            "step": self.step,
            "response": self.response,
            "state": self.state,
            "fields": dict(self.fields),
            "comment": self.comment,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "wait_for_turn": self.wait_for_turn,
            "requested_by": self.requested_by,
            "labels": dict(self.labels),
        }
        return digest(content)
