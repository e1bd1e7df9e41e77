"""How often to look (B5): proportional to how long nothing has happened, so that news is late by a tenth of the silence before it.

This is not back-off: nothing has failed. What was quiet for an hour is looked at every six minutes; who waited an hour for an answer does
not mind six minutes more. Between one change and the next, *t* seconds later, that makes `10 + ln(t / 10b) / ln(1.1)` looks instead of
`t / b`, *b* apart: for half a minute and ten hours 60 instead of 1,200.
"""

SHARE = 0.1
"""Of the silence. A half costs a fifth of the looks and finds an answer that took a day twelve hours late; a hundredth costs ten times as
many."""

LONGEST = 3600.0
"""Seconds, or the watch's own interval where that is longer: nobody is told of an approval more than an hour late for want of looking."""

NEAR = 86_400.0
"""Seconds before and after a due date in which people answer: a day, because many due dates are only days."""

DUE = 600.0
"""Seconds between two looks near a due date: 144 a day and task, for two days."""

CALM = 5.0
"""Times its interval: a feed is slowed down no further, because one request of it looks at thousands of tasks."""


def interval(base: float, idle: float, due_in: float | None = None) -> float:
    """Seconds until the next look at one task. *base*: at least so many; *idle*: how long nothing has happened; *due_in*: until the nearest
    due date, negative after it, None where there is none.
    """
    longest = LONGEST if due_in is None or abs(due_in) > NEAR else DUE
    return max(base, min(longest, idle * SHARE))


def pass_interval(base: float, idle: float) -> float:
    """Seconds until the next pass over a feed."""
    return max(base, min(base * CALM, idle * SHARE))


def splayed(seconds: float, dice: float) -> float:
    """Give or take a tenth: watches that began together do not stay together. *dice* in [0, 1)."""
    return seconds * (0.9 + dice / 5)
