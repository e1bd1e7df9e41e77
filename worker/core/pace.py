"""When to try again. Policies only: the time and the dice come in."""

FIRST = 0.5
"""Seconds to the first repeat: most lost answers come of one cut connection, and the effect is visible at once."""

LONGEST = 60.0
"""Seconds. The longest gap between two looks at one submission: a person is waiting for it."""

LONGEST_THROTTLE = 3600.0
"""Seconds. A `Retry-After` beyond this is obeyed only so far: then we ask again."""


def again(tries: int, dice: float) -> float:
    """Seconds until the next try after *tries* fruitless ones; *dice* in [0, 1) spreads them over the upper half of the step."""
    step = min(LONGEST, FIRST * 2.0 ** min(tries, 16))
    return step * (0.5 + dice / 2)


def throttled(retry_after: float | None, tries: int, dice: float) -> float:
    """Seconds to wait after a 429: what it asks for, never sooner; our own step where it names none [26-lim]."""
    if retry_after is None:
        return max(1.0, again(tries + 1, dice))
    return min(LONGEST_THROTTLE, max(0.0, retry_after)) + dice


HELD = 300.0
"""Seconds between two looks, at most, at what waits for a paused account: enough to tell soon what has become pointless meanwhile, and a
queue of thousands does not use up what the upstream allows. The resume itself wakes them.
"""

SLOW = 60.0
"""Seconds that an account begins slowly after a resume: time to see the first effects, and to pause again."""

STEP = 10.0
"""Seconds after which a slow start sends twice as fast: one a second, then two, up to 32."""


def opened(since: float) -> int:
    """How many sends in all a resumed account may have begun *since* seconds after its resume, while that is less than `SLOW`."""
    doublings = int(min(since, SLOW) // STEP)
    return 1 + int(STEP * (2.0**doublings - 1) + (since - STEP * doublings) * 2.0**doublings)


def opens(n: int) -> float:
    """Seconds after a resume when the *n*-th send (0, 1, …) may begin, at `SLOW` the latest: the other way round than `opened`."""
    doublings = int(n / STEP + 1).bit_length() - 1
    return min(SLOW, STEP * doublings + (n - STEP * (2.0**doublings - 1)) / 2.0**doublings)
