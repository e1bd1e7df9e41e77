"""The gate (A11): the one question a request body asks in the moment it leaves.

A predicate of its own, so that the engine and the simulated engine of the fault tests cannot come to disagree about it.
"""


def may_leave(now: float, leave_by: float) -> bool:
    """Whether a body may still leave at *now*. Both on the boot-time clock, which goes on while the machine sleeps.

    `leave_by` = end of the lease minus the deadline of the exchange: whoever leaves by then is home before another may act.
    A clock that cannot be read (NaN) closes the gate.
    """
    return now <= leave_by
