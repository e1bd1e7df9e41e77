"""How long, how often."""

from typing import Final

import httpx

from worker.core.outcomes import Fact
from worker.upstreams.base import retry_after
from worker.verify.answers import answer_of
from worker.verify.autodesk.trial import Trial
from worker.verify.verdict import CannotTell, Verdict, told

BEYOND: Final = 63.0
"""Seconds that a request is made to last. No limit is published; the sandbox's is 60 s."""

A_MINUTE: Final = 600
"""Requests [RATE]."""

MINUTE: Final = 61.0
"""Seconds after which a window is over."""

ABOUT: Final = 60
"""Requests more or less: the clock of an answer shows whole seconds, and what another program sends is not ours to count."""


def effect_outlasts_the_limit(t: Trial) -> Verdict:
    """67. From outside a request can be made to last by sending its body slowly, and not otherwise."""
    if not t.slow:
        raise CannotTell(f"takes {BEYOND:.0f} s: --slow")
    review = t.review("has a task in its first step for a user of the grants", lambda look: any(map(t.closer, look.steps[0].tasks)))
    task = next(task for task in review.steps[0].tasks if t.closer(task))
    who = t.closer(task)
    assert who is not None
    got = answer_of(t.wire.slowly(t.closing(review.id, task, t.reply(approves=True)), who.grant, BEYOND))
    landed = t.until(review.id, lambda now: now.task(task).answered).task(task).answered
    if got.status != 504:
        raise CannotTell(f"a body that is sent slowly was answered {got.status} and did not outlast a limit")
    return told(landed, f"504, and the effect {'took place' if landed else 'did not take place'}")


def six_hundred_a_minute(t: Trial) -> Verdict:
    """63. A burst beyond the limit, after a minute in which nothing was sent."""
    if t.throttled and t.burst <= A_MINUTE:
        return told(False, f"{t.throttled} requests of the run were throttled, which sends fewer than {A_MINUTE} a minute")
    if t.burst <= A_MINUTE:
        raise CannotTell(f"takes more than {A_MINUTE} requests at once: --burst {A_MINUTE + ABOUT}")
    t.wire.wait(MINUTE)
    answers = t.wire.burst([httpx.Request("GET", f"{t.root}/users/me") for _ in range(t.burst)], t.me.grant)
    taken = sum(isinstance(got, httpx.Response) and got.is_success for got in answers)
    limited = [got for got in answers if (got.status if isinstance(got, Fact) else got.status_code) == 429]
    ends = [got.retry_after if isinstance(got, Fact) else retry_after(got) for got in limited]
    t.wire.wait(MINUTE if limited else 0.0)
    if not limited:
        return told(False, f"{t.burst} requests at once, and none was throttled")
    timed = all(end is not None and 0 < end <= MINUTE for end in ends)
    asked = "within the minute" if timed else "none, or beyond the minute"
    text = f"{taken} requests of {t.burst} at once were taken; Retry-After is {asked}"
    return told(abs(taken - A_MINUTE) <= ABOUT and timed, text)
