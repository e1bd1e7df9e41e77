"""How long, how often."""

from typing import Final

from worker.core.outcomes import Fact
from worker.upstreams.base import retry_after
from worker.verify.answers import answer_of
from worker.verify.verdict import CannotTell, Verdict, told
from worker.verify.workiva.trial import Trial, one

BEYOND: Final = 32.0
"""Seconds that a request is made to last. The limit is 29 s [26-lim]."""


def effect_outlasts_the_limit(t: Trial) -> Verdict:
    """28. From outside a request can be made to last by sending its body slowly, and not otherwise."""
    if not t.slow:
        raise CannotTell(f"takes {BEYOND:.0f} s: --slow")
    comment = t.comment()
    task = t.awaiting(one(t.me))
    got = answer_of(t.wire.slowly(t.action(task, "APPROVE", comment), t.me.grant, BEYOND))
    landed = t.read(task).task.landed(comment) is not None
    if not landed:
        t.pause()
        landed = t.read(task).task.landed(comment) is not None
    if got.status != 504:
        raise CannotTell(f"a body that is sent slowly was answered {got.status} and did not outlast the limit")
    return told(landed, f"504, and the effect {'took place' if landed else 'did not take place'}")


def no_standing_limit(t: Trial) -> Verdict:
    """29. A burst, and whatever was throttled in the whole run."""
    before = t.throttled
    if not t.burst and not before:
        raise CannotTell("no burst was asked for: --burst")
    task = t.make(one(t.me))
    answers = t.wire.burst([t.request("GET", t.url(task.id)) for _ in range(t.burst)], t.me.grant)
    limited = [got for got in answers if (got.status if isinstance(got, Fact) else got.status_code) == 429]
    timed = sum((got.retry_after if isinstance(got, Fact) else retry_after(got)) is not None for got in limited)
    t.wire.wait(max(1.0, t.burst / 10) if limited else 0.0)
    text = f"{len(limited)} of {t.burst} requests at once were throttled, {timed} with Retry-After; {before} before"
    return told(not limited and not before, text)
