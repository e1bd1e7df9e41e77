"""What both proofs of fairness measure: how long submissions take, from acceptance to their end, by the ledger's clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.system.house import House, until
from worker.ledger.queries import Listed


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds of so many submissions."""

    count: int
    median: float
    p95: float
    worst: float

    def __str__(self) -> str:
        return f"median {self.median:6.2f} s, 95 % {self.p95:6.2f} s, worst {self.worst:6.2f} s of {self.count}"


def applied(house: House, keys: Sequence[str], seconds: float) -> list[float]:
    """Wait for all of *keys* to be applied; how long each took."""
    found: dict[str, Listed] = {}

    def there() -> bool:
        for key in keys:
            if key not in found and (rows := house.ledger.queries.find(key)) and rows[0].state not in {"pending", "waiting", "in_doubt"}:
                assert rows[0].state == "applied", (key, rows[0].state, rows[0].reason)
                found[key] = rows[0]
        return len(found) == len(keys)

    until(there, seconds, f"{len(keys)} submissions to be applied; {[house.reason(k) for k in keys if k not in found][:3]}")
    return [found[key].updated_at - found[key].accepted_at for key in keys]


def summed(waits: Sequence[float]) -> Waits:
    """Their figures."""
    ranked = sorted(waits)
    return Waits(len(ranked), median(ranked), ranked[int(0.95 * (len(ranked) - 1))], ranked[-1])


def pass_until(moment: float) -> None:
    """Nothing is to be done before that moment of the monotonic clock."""
    until(lambda: time.monotonic() >= moment, moment - time.monotonic() + 60, "time to pass")
