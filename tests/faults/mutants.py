"""Rules taken out of the product one at a time: each must be missed by name, within so many worlds, or the harness proves nothing.

A mutant is one textual replacement in a copy of the package. Its old text must occur exactly once: whoever rewrites the rule moves its
mutant along. The options direct the worlds to where the rule matters; the unmutated copy must pass the same worlds.
"""

from dataclasses import dataclass
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
        rehearsed.append(rt.ledger.submissions._settle(c, [a for a, _ in answers], known, again=False))
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
        "    issued = s.command.issued_at\n",
        '    issued = float("inf")\n',
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
