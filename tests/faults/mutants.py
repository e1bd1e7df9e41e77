"""Rules taken out of the product one at a time: each must be missed by name, within so many worlds, or the harness proves nothing.

A mutant is one textual replacement in a copy of the package. Its old text must occur exactly once: whoever rewrites the rule moves its
mutant along. The options direct the worlds to where the rule matters; the unmutated copy must pass the same worlds.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    """`breaks`: the invariant of `judge` that must be missed within `worlds`."""

    name: str
    file: str
    old: str
    new: str
    breaks: str
    options: str
    worlds: int = 60

    def apply(self, package: Path) -> None:
        """Replace it in *package*. Raises LookupError where the old text is not there exactly once."""
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise LookupError(
                f"mutant {self.name!r}: its old text occurs {times} times in {self.file}; move the mutant along with the rule"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


PLAIN = "plain=True marks=True frozen=False by_hand=0 stale=0 ledger=0 reads=0"
AGAIN = f"{PLAIN} exposed=True commands=1 when_exposed=resend"
"""One submission that may be sent again and could then reach the next step."""

DOUBT = f"{AGAIN} faults=0.5 late=0.5 people=0 others=0 pauses=0"
PAUSED = f"{AGAIN} faults=0 late=0 people=0 others=0.4 pauses=0.2 crash=0"
KILLED = f"{AGAIN} faults=0 late=1.0 lateness=38 people=0 others=0 pauses=0 crash=0 eager=1.0".replace("ledger=0", "ledger=0.8")
EARLY = f"{PLAIN} exposed=True commands=1 when_exposed=once faults=0 late=0 pauses=0 others=0 crash=0 early=0.7"
RETURNED = f"{PLAIN} exposed=False commands=1 faults=0.5 late=0 people=0.3 others=0 crash=0"
PART = "upstream=autodesk plain=True marks=True by_hand=0 stale=0 ledger=0 reads=0 replaces=True commands=1"
"""One submission for a part that a second close would answer again: where the upstream refuses that, nothing can double."""

SENT_BACK = f"{PART} does=rounds others=0 crash=0 late=0 pauses=0"
"""People take the item back and send it again."""

TWO = f"{PLAIN} exposed=True commands=2 tasks=1 when_exposed=once faults=0.1 late=0.1 people=0 crash=0"

MUTANTS: Final = (
    Mutant(
        "no quiet period",
        "core/submission.py",
        "    if ctx.seen_at < s.quiet_until:\n",
        "    if ctx.seen_at < 0.0:\n",
        "DOUBLED",
        DOUBT,
    ),
    Mutant(
        "sent before it is written",
        "flows/submit.py",
        "    settled = settle(rt, account, [a for a, _ in answers])\n",
        """    rehearsed: list[Settled] = []
    known = contexts(rt, account)

    def rehearse(c: object) -> None:
        rehearsed.append(rt.ledger.submissions._settle(c, [a for a, _ in answers], known, prices(account), again=False))
        raise KeyError

    try:
        rt.ledger.database.write(rehearse)
    except KeyError:
        settled = rehearsed[0]
    for begun in settled.begun:
        _send(rt, account, bag, begun, before + account.rules.lease - account.rules.deadline)
    settle(rt, account, [a for a, _ in answers])
    return
""",
        "DOUBLED",
        KILLED,
    ),
    Mutant("the gate is always open", "core/gate.py", "return now <= leave_by", "return True", "DOUBLED", PAUSED),
    Mutant(
        "pinned to what is seen first",
        "core/submission.py",
        "    number = s.pin.step if s.pin else (s.command.step or (1 if count == 1 else 0))\n",
        "    active_now = look.active()\n    number = active_now if isinstance(active_now, int) else 1\n",
        "NEXT-STEP",
        EARLY,
    ),
    Mutant(
        "nobody asks when it was issued",
        "core/submission.py",
        "    issued, aside = s.command.issued_at, look",
        '    issued, aside = float("inf"), look',
        "WRONG-ROUND",  # not NEXT-STEP: `accept` lets no command without a step through where there are several
        f"{EARLY.replace('exposed=True', 'exposed=False')} pinned=False",
    ),
    Mutant(
        "absent whatever the baseline was",
        "core/submission.py",
        "    if look.shape != base.shape:\n        return Moved(",
        "    if look.shape == base.shape:\n        return Absent(look)\n    if look.shape != base.shape:\n        return Moved(",
        "WRONG-ROUND",
        RETURNED,
    ),
    Mutant(
        "a failed look is an absent effect",
        "core/submission.py",
        "        seen = Unknown(read.fact)\n    if isinstance(seen, Found)",
        "        seen = Absent(s.baseline) if s.baseline else Unknown(read.fact)\n    if isinstance(seen, Found)",
        "DOUBLED",
        f"{AGAIN} faults=0.7 late=0 people=0 others=0 pauses=0.15".replace("reads=0", "reads=0.75"),
    ),
    Mutant(
        "no slot",
        "ledger/submissions.py",
        "            if not free_of_slot and task.holder not in (None, s.id):",
        "            if not free_of_slot and task.holder == s.id and False:",
        "NEXT-STEP",
        TWO,
    ),
    Mutant(
        "whoever answers as we would, was us",
        "core/submission.py",
        "for n, r in fresh if _by_us(s, r) and _marks(s, r)):\n",
        "for n, r in fresh if _by_us(s, r)):\n",
        "FALSE-APPLIED",
        f"{RETURNED} by_hand=1.0",
    ),
    Mutant(
        "misplaced is applied, too",
        "core/submission.py",
        'state, why = "misapplied", f"meant for step',
        'state, why = "applied", f"meant for step',
        "UNTOLD",
        f"{PLAIN} exposed=True commands=1 when_exposed=once faults=0.2 late=0 people=0.4 others=0 crash=0",
    ),
    Mutant(
        "parked, exposed or not",
        "core/submission.py",
        '    if exposed and (ctx.wary or ctx.rules.when_exposed != "resend"):\n',
        '    if ctx.wary or ctx.rules.when_exposed != "resend":\n',
        "PARKED-FOR-NOTHING",
        f"{PLAIN} exposed=False commands=1 when_exposed=once faults=0.7 late=0 people=0 others=0 crash=0",
    ),
    Mutant(
        "an older look counts as a newer one",
        "core/task.py",
        "        if before is None or self.stale(look):\n            return before is None\n",
        "        if before is None:\n            return True\n",
        "EVENTS",
        "plain=True exposed=False marks=True frozen=False faults=0.3 late=0 people=0.2 others=0.1 crash=0 stale=0.7",
    ),
)


def _there(name: str, options: str, breaks: str | None = None) -> Mutant:
    """A mutant of above, on parts."""
    known = next(m for m in MUTANTS if m.name == name)
    return replace(known, name=f"{name}, on parts", options=options, breaks=breaks or known.breaks)


PARTS: Final = (
    _there("no quiet period", f"{PART} faults=0.5 late=0.5 people=0 others=0 pauses=0"),
    _there("sent before it is written", f"{PART} faults=0 late=1.0 lateness=38 people=0 others=0 pauses=0 crash=0 eager=1.0 ledger=0.8"),
    _there("the gate is always open", f"{PART} faults=0 late=0 people=0 others=0.4 pauses=0.2 crash=0"),
    # An upstream whose looks fail is left alone (B4), so that it takes more worlds until one comes of it.
    replace(_there("a failed look is an absent effect", f"{PART} faults=0.8 late=0 people=0 others=0 pauses=0.15 reads=0.3"), worlds=200),
    _there("whoever answers as we would, was us", f"{PART} does=beside faults=0.6 late=0 people=0.15 others=0 crash=0 by_hand=1.0"),
    Mutant(
        "absent whatever the part's round was",
        "core/submission.py",
        "    if not (near(now[1].started, was[1].started, tasks.SAME_MODIFIED) and",
        '    if now[2].state != "complete":\n        return Absent(look)\n'
        "    if not (near(now[1].started, was[1].started, tasks.SAME_MODIFIED) and",
        "WRONG-ROUND",
        f"{SENT_BACK} faults=0.5 people=0.3",
    ),
    Mutant(
        "absent in a review that was sent again and goes on",
        "core/submission.py",
        " and near(look.begun, base.begun, tasks.SAME_MODIFIED)):\n",
        "):\n",
        "WRONG-ROUND",
        f"{SENT_BACK} goes_on=True faults=0.5 people=0.3",
    ),
    Mutant(
        "a pin holds in every round",
        "core/pins.py",
        "            return self._anew(look)\n",
        "            return None\n",
        "WRONG-ROUND",
        f"{SENT_BACK} pinned=True faults=0 people=0 early=0.7",
    ),
    Mutant(
        "nobody asks when the step began",
        "core/submission.py",
        "if at is not None and at > s.command.issued_at), None)\n",
        'if at is not None and at > float("inf")), None)\n',
        "WRONG-ROUND",
        f"{SENT_BACK} pinned=False faults=0 people=0 early=0.7",
    ),
    Mutant(
        "nobody asks when the review began",
        "core/submission.py",
        '    begun = {"review": look.begun, "step"',
        '    begun = {"step"',
        "WRONG-ROUND",
        f"{SENT_BACK} goes_on=True pinned=False faults=0 people=0 early=0.7",
    ),
    Mutant(
        "nobody asks whether the review was begun under an effect",
        "core/submission.py",
        "    return at is None or look.begun <= at\n",
        "    return at is None\n",
        "UNTOLD",
        f"{SENT_BACK} goes_on=True faults=0 people=0.12",
    ),
    Mutant(
        "an effect is right in every round",
        "core/submission.py",
        "        return not same or _begun_between(base, look, hit.at)\n"
        "    return bool(look.gone(base))\n\n\ndef _begun_between(base: Snapshot, look: Snapshot, at: float | None) -> bool:\n",
        "        return False\n"
        "    return bool(look.gone(base))\n\n\ndef _begun_between(base: Snapshot, look: Snapshot, at: float | None) -> bool:\n"
        "    return False\n",
        "UNTOLD",
        f"{SENT_BACK} faults=0.2 people=0.12",
    ),
    Mutant(
        "an answer knows its step's round only",
        "core/submission.py",
        "for a, b in ((now[1], was[1]), (now[2], was[2])))\n        return not same or _begun_between(base, look, hit.at)\n"
        "    return bool(look.gone(base))\n\n\ndef _begun_between(base: Snapshot, look: Snapshot, at: float | None) -> bool:\n",
        "for a, b in ((now[1], was[1]),))\n        return not same\n"
        "    return bool(look.gone(base))\n\n\ndef _begun_between(base: Snapshot, look: Snapshot, at: float | None) -> bool:\n"
        "    return False\n",
        "UNTOLD",
        f"{SENT_BACK} faults=0 people=0.12",
    ),
    Mutant(
        "no look after an answer that shows its part alone",
        "core/advance.py",
        "            return replace(move, submission=life.shown_later(move.submission, ctx.now))\n",
        "            return move\n",
        "EVENTS",
        "upstream=autodesk marks=True watched=False commands=1 tasks=1 faults=0 late=0 people=0 reads=0 stale=0 crash=0 ledger=0 others=0",
    ),
    Mutant(
        "a part counts as exposed",
        "core/submission.py",
        "    if s.part:\n        return False\n",
        "",
        "PARKED-FOR-NOTHING",
        f"{PART} when_exposed=once faults=0.7 late=0 people=0 others=0 crash=0",
    ),
    Mutant(
        "the whole item is compared",
        "core/submission.py",
        "    if s.part:\n        return _part_compared(s, s.part, base, look)\n",
        "",
        "PARKED-FOR-NOTHING",
        f"{PART} does=beside faults=0.7 late=0 people=0.2 others=0 crash=0",
    ),
)

BY_CLASS: Final = Mutant(
    "failures sorted by exception class",
    "engine.py",
    "        except Exception as exc:  # noqa: BLE001  # E7: the class says nothing, the mark does\n",
    "        except aiohttp.ClientConnectionError as exc:\n"
    "            return errand.unsent(gate.fact(exc))\n"
    "        except Exception as exc:\n",
    "test_broken_answer",
    "",
)
"""Not for the simulated engine: the raw sockets of tests/test_engine.py must miss it."""
