"""The core: what to do, decided by pure functions on frozen values.

No clock, no randomness, no input or output, no logging; the standard library only. Times are seconds since the epoch (float, UTC) and
always come in from outside. Read in this order: `task`, `outcomes`, `pins`, `submission`, `events`.
"""
